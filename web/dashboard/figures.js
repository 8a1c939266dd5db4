// The figures above the chart. Each is a button that shows it in the chart.

import { h, put } from './dom.js';
import { report } from './api.js';
import { t, figure, change, range } from './i18n.js';
import { go } from './state.js';
import { retry } from './panel.js';

const usual = ['visitors', 'visits', 'pageviews', 'views_per_visit', 'bounce_rate', 'visit_duration'];
const ofGoal = ['visitors', 'events', 'conversion_rate', 'visits', 'bounce_rate', 'visit_duration'];
const fewerIsBetter = new Set(['bounce_rate']);

export const metricsOf = (q) => q.goal ? ofGoal : usual;

function changeOf(metric, n) {
	if (n === null || n === undefined) return h('span', { class: 'change soft' }, ' ');
	const rounded = Math.round(n);
	const good = rounded === 0 ? 'soft' : (rounded > 0) === !fewerIsBetter.has(metric) ? 'good' : 'bad';
	const arrow = rounded === 0 ? '→' : rounded > 0 ? '↗' : '↘';
	return h('span', { class: 'change ' + good },
		h('span', { class: 'hidden' }, t(rounded < 0 ? 'change.down' : rounded > 0 ? 'change.up' : 'change.same')), h('span', { 'aria-hidden': 'true' }, arrow), ' ', change(n, metric.endsWith('_rate')));
}

export function figures(ctx) {
	const el = h('div', { class: 'figures', role: 'group', 'aria-label': t('figures') });
	let shown = '', answer = null;
	const draw = (state, q) => {
		const before = answer?.comparison;
		const title = before ? t('compared', { range: range(before.start_date, before.end_date) }) : null;
		put(el, metricsOf(q).map((m) => h('button', {
			type: 'button', class: 'figure', 'data-metric': m, 'aria-pressed': String(state.metric === m), onclick: () => go({ metric: m }), title,
		}, h('span', { class: 'name' }, t('metric.' + m)),
		h('span', { class: 'value' }, answer ? figure(m, answer.results[m], answer.currency) : ' '),
		changeOf(m, answer?.comparison?.change?.[m]))));
	};
	return {
		el,
		// update returns the answer, which the chart wants too.
		update(state, q) {
			if (shown === q.key && answer) { draw(state, q); }
			const mine = q.key;
			if (shown !== mine) { shown = mine; el.classList.add('loading'); if (!answer) draw(state, q); }
			const asked = report('/api/stats/main', { ...q.params, compare: q.compare, metrics: metricsOf(q).join(',') }, q.signal);
			asked.then((a) => {
				if (shown !== mine) return;
				answer = a;
				el.classList.remove('loading');
				draw(state, q);
			}, (err) => {
				if (q.signal.aborted || shown !== mine) return;
				answer = null;
				shown = '';
				el.classList.remove('loading');
				put(el, retry(err));
			});
			return asked;
		},
	};
}
