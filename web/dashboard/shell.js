// What stands around every view: the site, the views, the reader's own menu.

import { h, put, kept } from './dom.js';
import { fresh, link } from './state.js';
import { t, languages, lang } from './i18n.js';
import { menu } from './menu.js';
import { sheet } from './keys.js';
import { about, embedded } from './share.js';

const views = ['overview', 'realtime', 'funnels', 'retention', 'journeys'];

export function theme(choice) {
	kept.set('theme', choice);
	if (choice) document.documentElement.dataset.theme = choice;
	else delete document.documentElement.dataset.theme;
	dispatchEvent(new Event('themechange'));
}

function own(ctx, state) {
	const chosen = kept.get('theme') ?? '';
	return menu(ctx.status.user?.name ?? t('nav.menu'), [
		ctx.admin && { text: t('nav.admin'), href: fresh('admin', { filters: '', segment: '' }), on: state.view === 'admin' },
		ctx.status.user && { text: t('nav.account'), href: fresh('admin', { tab: 'account', filters: '', segment: '' }) },
		null,
		...['', 'light', 'dark'].map((v) => ({ text: t('theme.' + (v || 'auto')), run: () => theme(v), on: chosen === v })),
		null,
		...languages.map(([id, name]) => ({ text: name, on: lang === id, run: () => { kept.set('lang', id); location.reload(); } })),
		null,
		{ text: t('keys.title'), key: '?', run: sheet },
		ctx.status.user && { text: t('nav.logout'), run: ctx.logout },
	].filter((e) => e !== false && e !== undefined));
}

function picker(ctx) {
	if (ctx.share) return h('strong', { class: 'site' }, ctx.site.domain);
	if (!ctx.sites.length) return null;
	const entries = ctx.sites.map((s, i) => ({ text: s.domain, href: link({ site: s.domain, filters: '', segment: '', detail: '', steps: '' }), on: s === ctx.site, key: i < 9 ? String(i + 1) : '' }));
	if (ctx.admin) entries.push(null, { text: t('site.add'), href: fresh('admin', { tab: 'sites', filters: '', segment: '' }) });
	return menu(ctx.site?.domain ?? t('site.choose'), entries, { id: 'site', class: 'quiet strong' });
}

export function shell(ctx) {
	const bar = h('header', { class: 'bar' });
	const main = h('main', { id: 'main', tabindex: -1 }, h('div', { class: 'skeleton' }));
	const el = h('div', { class: 'shell' }, h('a', { class: 'skip', href: '#main', onclick: (e) => { e.preventDefault(); main.focus(); } }, t('nav.skip')), bar, ctx.share && about(ctx.share), main);
	return {
		el, main,
		update(state) {
			put(bar, !embedded && h('a', { class: 'logo', href: fresh('overview'), 'aria-label': 'Eider' }, h('img', { src: '/icon.svg', alt: '', width: 26, height: 26 })),
				picker(ctx),
				ctx.site && h('nav', { 'aria-label': t('nav.views') }, views.map((v) => h('a', { href: fresh(v), 'aria-current': state.view === v ? 'page' : null }, t('nav.' + v)))),
				h('span', { class: 'grow' }), !embedded && own(ctx, state));
		},
	};
}
