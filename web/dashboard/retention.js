// Retention: of those who came for the first time, how many came again.

import { h, options } from './dom.js';
import { report } from './api.js';
import { t, number, percent, point } from './i18n.js';
import { go } from './state.js';
import { frame } from './frame.js';

const counts = { day: [7, 14, 30], week: [4, 8, 12], month: [3, 6, 12] };

function grid(a) {
	const { cohorts, total, interval, periods } = a.results;
	const cell = (rate, n) => h('td', { class: 'heat', css: rate === null ? {} : { '--heat': `${Math.round(rate)}%` }, title: n === null ? '' : number(n) }, rate === null ? '' : percent(rate));
	const line = (name, c, kind) => h('tr', { class: kind }, h('th', { scope: 'row' }, name), h('td', { class: 'num' }, number(c.cohort_size)), c.retention_rates.map((r, i) => cell(r, c.retained[i])));
	return h('div', { class: 'scrollx', tabindex: 0, role: 'region', 'aria-label': t('nav.retention') }, h('table', { class: 'retention' },
		h('thead', null, h('tr', null, h('th', { scope: 'col' }, t('retention.cohort')), h('th', { scope: 'col', class: 'num' }, t('retention.size')),
			Array.from({ length: periods }, (_, i) => h('th', { scope: 'col' }, t('retention.' + interval, { i: String(i) }))))),
		h('tbody', null, line(t('retention.all'), total, 'total'), cohorts.map((c) => line(point(c.cohort_date, interval === 'week' ? 'day' : interval, false), c)))));
}

export function create(ctx) {
	const question = (state) => {
		const interval = counts[state.cohort] ? state.cohort : 'week', unit = state.unit === 'visitor' ? 'visitor' : 'user';
		return { site_id: ctx.site.domain, filters: state.filters, segment: state.segment, interval, unit, n: counts[interval].includes(Number(state.n)) ? state.n : counts[interval][1] };
	};
	return frame(ctx, 'nav.retention', {
		dates: false, key: question,
		form(state) {
			const q = question(state);
			const choose = (name, values, text, chosen, label) => h('label', { class: 'inline' }, label, h('select', { onchange: (e) => go({ [name]: e.target.value, ...(name === 'cohort' && { n: '' }) }) }, options(values.map((v) => [String(v), text(v)]), String(chosen))));
			return h('p', { class: 'row' }, choose('cohort', Object.keys(counts), (v) => t('interval.' + v), q.interval, t('chart.interval')), choose('n', counts[q.interval], String, q.n, t('retention.n')),
				choose('unit', ['user', 'visitor'], (v) => t('unit.' + v), q.unit, t('funnel.unit')));
		},
		async ask(state, signal) {
			const a = await report('/api/stats/retention', question(state), signal);
			const some = a.results.total?.cohort_size > 0;
			return h('div', null, some ? grid(a) : h('div', { class: 'empty' }, h('p', null, t('retention.nobody')), h('p', { class: 'soft' }, t('retention.hint'))), some && h('p', { class: 'soft' }, t('retention.note')));
		},
	});
}
