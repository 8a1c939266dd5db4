// The dashboard: who is there, which site, which view. A view is a module with
// create(ctx), which returns { el, update(state), close() }.

import { h, put, kept } from './dom.js';
import { abandon, get, post, onLost } from './api.js';
import { read, subscribe, go } from './state.js';
import { t } from './i18n.js';
import { shell } from './shell.js';
import { listen } from './keys.js';
import * as share from './share.js';

const app = document.getElementById('app');

const views = {
	overview: () => import('./overview.js'),
	realtime: () => import('./realtime.js'),
	funnels: () => import('./funnels.js'),
	retention: () => import('./retention.js'),
	journeys: () => import('./journeys.js'),
	admin: () => import('./admin/admin.js'),
};

let ctx, current, frame, turn = 0;

async function boot() {
	close();
	if (share.slug) return shared();
	let status;
	try {
		status = await get('/api/auth/status');
	} catch (err) {
		return trouble(err.message);
	}
	if (location.pathname === '/setup' && !status.setup_required) history.replaceState(null, '', '/');
	if (!status.authenticated || location.pathname === '/invite') return login(status);
	await enter(status);
}

async function logout() {
	close();
	abandon();
	await post('/api/auth/logout').catch(() => {});
	boot();
}

// shared is the way in of who has a link: one site, and nothing that changes anything.
async function shared() {
	const shown = await share.open(app, boot);
	if (!shown) return;
	ctx = { status: {}, admin: false, share: shown, sites: [{ domain: shown.site_id, timezone: shown.timezone }], boot, can: () => false };
	frame = shell(ctx);
	put(app, frame.el);
	show(read());
}

async function login(status) {
	close();
	const { form } = await import('./login.js');
	const token = location.hash.slice(1);
	if (location.pathname === '/setup') history.replaceState(null, '', '/setup'); // nobody finds it in the history
	put(app, await form(status, token, boot));
	document.title = t(status.setup_required ? 'setup.title' : 'login.title') + ' · Eider';
}

async function enter(status) {
	const scopes = status.scopes ?? [];
	const admin = status.user ? status.user.role === 'admin' : scopes.includes('admin');
	let sites = [];
	try {
		sites = (await get('/api/sites')).sites;
	} catch (err) {
		if (err.status === 401) return login(status);
		if (err.status !== 403) return trouble(err.message);
	}
	ctx = { status, admin, sites, boot, logout, can: (scope) => scopes.includes(scope) || admin };
	frame = shell(ctx);
	put(app, frame.el);
	show(read());
}

// site is the one of the address, or the one looked at last.
function site(state) {
	if (ctx.share) return ctx.sites[0];
	const find = (domain) => ctx.sites.find((s) => s.domain === domain);
	return find(state.site) ?? (state.site ? null : find(kept.get('site')) ?? ctx.sites[0]);
}

async function show(state) {
	if (!ctx) return;
	const chosen = site(state);
	if (chosen && !ctx.share) kept.set('site', chosen.domain);
	ctx.site = chosen;
	let view = views[state.view] && !(ctx.share && state.view === 'admin') ? state.view : 'overview';
	if (!ctx.sites.length && ctx.admin && view !== 'admin') return go({ view: 'admin', tab: 'sites' }, true);
	document.title = [view === 'admin' ? t('nav.admin') : chosen?.domain ?? state.site, view === 'overview' ? '' : t('nav.' + view)].filter(Boolean).join(' · ') + ' · Eider';
	frame.update(state);
	if (!chosen && view !== 'admin') return replace(null, nowhere(state));
	const id = view === 'admin' ? view : view + ' ' + chosen.domain;
	if (current?.id !== id) {
		const mine = ++turn;
		try {
			const module = await views[view]();
			if (mine !== turn) return;
			const made = module.create(ctx);
			replace({ id, ...made }, made.el);
		} catch (err) {
			return trouble(err.message);
		}
	}
	current?.update(read());
}

const nowhere = (state) => h('div', { class: 'card empty' },
	h('h1', null, state.site ? t('site.unknown', { site: state.site }) : t('site.none')), h('p', null, t('site.unknown.hint')));

function replace(view, el) {
	current?.close?.();
	current = view;
	put(frame.main, el);
	scrollTo(0, 0);
}

function close() {
	current?.close?.();
	current = ctx = undefined;
	turn++;
}

function trouble(text) {
	put(app, h('main', { class: 'narrow' }, h('h1', null, 'Eider'), h('p', { class: 'bad', role: 'alert' }, text),
		h('p', null, h('button', { type: 'button', onclick: boot }, t('again')))));
}

onLost(() => { if (ctx) boot(); });
addEventListener('hashchange', () => { if (!ctx && location.hash) boot(); }); // another link, in the same tab
subscribe(show);
listen(() => ctx);
boot();
