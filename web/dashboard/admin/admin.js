// The administration: its pages, one at a time.

import { h, put } from '../dom.js';
import { t } from '../i18n.js';
import { fresh } from '../state.js';
import { retry } from '../panel.js';

const pages = {
	sites: () => import('./sites.js'), goals: () => import('./goals.js'), segments: () => import('./segments.js'), links: () => import('./links.js'), keys: () => import('./keys.js'), users: () => import('./users.js'),
	account: () => import('./account.js'), data: () => import('./data.js'), health: () => import('./health.js'), audit: () => import('./audit.js'),
};
const perSite = ['goals', 'segments', 'links', 'data'];

export function create(ctx) {
	const nav = h('nav', { 'aria-label': t('nav.admin') }), body = h('div', null);
	const el = h('div', null, h('h1', { class: 'title' }, t('nav.admin')), h('div', { class: 'admin' }, nav, body));
	let shown, close, turn = 0;
	return {
		el,
		async update(state) {
			const mine = ctx.admin ? Object.keys(pages) : ['account'];
			const tab = mine.includes(state.tab) ? state.tab : mine[0];
			put(nav, mine.filter((id) => id !== 'account' || ctx.status.user).map((id) => h('a', { href: fresh('admin', { tab: id, filters: '', segment: '' }), 'aria-current': id === tab ? 'page' : null }, t('admin.' + id))));
			const key = JSON.stringify([tab, perSite.includes(tab) && ctx.site?.domain, tab === 'audit' && state, tab === 'sites' && state.edit]);
			if (key === shown) return;
			shown = key;
			const now = ++turn;
			try {
				const page = await pages[tab]();
				if (now !== turn) return;
				close?.();
				const made = page.create(ctx, state);
				close = made.close;
				put(body, made.el ?? made);
			} catch (err) {
				put(body, retry(err));
			}
		},
		close() { close?.(); turn++; },
	};
}
