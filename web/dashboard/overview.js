// The overview of a site: the figures, the chart and the lists.

import { h, put } from './dom.js';
import { report } from './api.js';
import { t } from './i18n.js';
import { fresh } from './state.js';
import { params, comparable, picker } from './period.js';
import { filterbar } from './filterbar.js';
import { figures } from './figures.js';
import { chart } from './chart.js';
import { panels } from './lists.js';
import { detail } from './detail.js';
import * as filters from './filters.js';

// base are the parameters that all reports of the page have.
export function base(ctx, state) {
	return { site_id: ctx.site.domain, ...params(state, ctx.site.timezone), filters: state.filters, segment: state.segment };
}

const compareOf = (state) => comparable(state) && state.compare !== 'none' ? state.compare : '';

// live shows who is there now, and asks again while the page is looked at.
export function live(ctx, every = 30_000) {
	const link = h('a', { class: 'live', href: fresh('realtime') }, h('span', { class: 'dot', 'aria-hidden': 'true' }), h('span', null, '…'));
	const ask = async () => {
		if (document.hidden) return;
		try {
			const { results } = await report('/api/stats/realtime', { site_id: ctx.site.domain, limit: 1 });
			put(link.lastChild, t('live', { n: results.current_visitors }));
		} catch { /* the figure of a moment ago stays */ }
	};
	ask();
	const timer = setInterval(ask, every);
	return { el: link, close: () => clearInterval(timer) };
}

export function create(ctx) {
	const now = live(ctx);
	const bar = h('div', { class: 'toolbar' });
	const chips = filterbar(ctx);
	const tops = figures(ctx), graph = chart(ctx), lists = panels(ctx);
	const hint = h('p', { class: 'hint', role: 'status', hidden: true });
	const el = h('div', { class: 'overview' },
		h('h1', { class: 'hidden' }, t('overview.title', { site: ctx.site.domain })), bar, chips.el, hint,
		h('section', { class: 'card graph', 'aria-label': t('figures') }, tops.el, graph.el), lists.el);
	let stop = new AbortController(), asked = '';
	return {
		el,
		update(state) {
			put(bar, now.el, h('span', { class: 'grow' }), picker(state, ctx.site.timezone));
			chips.update(state);
			const params = base(ctx, state), compare = compareOf(state);
			const key = JSON.stringify([params, compare]);
			if (key !== asked) {
				stop.abort();
				stop = new AbortController();
				asked = key;
			}
			const q = { params, compare, key, signal: stop.signal, goal: filters.has(filters.parse(state.filters), 'goal') };
			const main = tops.update(state, q);
			main.then((a) => {
				if (asked !== key) return;
				hint.hidden = a.results.visitors > 0;
				put(hint, t('overview.nothing'), ctx.admin && !state.filters && [' ', h('a', { href: fresh('admin', { tab: 'sites', edit: ctx.site.domain }) }, t('overview.setup'))]);
			}, () => { hint.hidden = true; });
			graph.update(state, q, main);
			lists.update(state, q);
			detail(ctx, state, q);
		},
		close() { stop.abort(); now.close(); graph.close(); },
	};
}

