// Keyboard shortcuts, those of Plausible where it has one, and the sheet that ? shows.

import { h } from './dom.js';
import { t } from './i18n.js';
import { read, go, link, fresh, visit } from './state.js';
import { keys as periodKeys, move, customDialog } from './period.js';
import { dialog } from './menu.js';

const others = { '←': 'keys.back', '→': 'keys.forward', C: 'keys.custom', X: 'keys.compare', '/': 'keys.filter', S: 'keys.site', '1–9': 'keys.sites', R: 'keys.realtime', O: 'keys.overview', Esc: 'keys.clear', '?': 'keys.title' };

export function sheet() {
	const row = (key, text) => h('tr', null, h('td', null, h('kbd', null, key)), h('td', null, text));
	dialog(t('keys.title'), () => h('div', { class: 'twocolumns' },
		h('table', null, Object.entries(periodKeys).map(([key, p]) => row(key.toUpperCase(), t('period.' + p)))),
		h('table', null, Object.entries(others).map(([key, text]) => row(key, t(text))))));
}

const typing = (e) => e.target.closest?.('input, select, textarea, dialog, [contenteditable]');

function press(key, ctx) {
	const state = read(), timezone = ctx.site?.timezone;
	if (key === '?') return sheet();
	if (key === 's') return document.getElementById('site')?.click();
	if (/^[1-9]$/.test(key)) return ctx.sites[key - 1] && go({ site: ctx.sites[key - 1].domain, filters: '', segment: '', detail: '', steps: '' });
	if (state.view === 'admin' || !ctx.site) return false;
	if (key === 'r') return visit(fresh('realtime'));
	if (key === 'o') return visit(fresh('overview'));
	if (key === 'ArrowLeft') return move(state, timezone, -1);
	if (key === 'ArrowRight') return move(state, timezone, 1);
	if (key === 'c') return customDialog(state, timezone);
	if (key === 'x') return go({ compare: state.compare === 'none' ? 'previous_period' : 'none' });
	if (key === '/') return document.getElementById('addfilter')?.click();
	if (key === 'Escape') return go({ filters: '', segment: '' });
	if (periodKeys[key]) return visit(link({ period: periodKeys[key], from: '', to: '', interval: '' }));
	return false;
}

export function listen(context) {
	document.addEventListener('keydown', (e) => {
		const ctx = context();
		if (!ctx || e.ctrlKey || e.metaKey || e.altKey || e.defaultPrevented || typing(e) || document.querySelector('dialog[open]')) return;
		const key = e.key.length === 1 ? e.key.toLowerCase() : e.key;
		if (press(key, ctx) !== false) e.preventDefault();
	});
}
