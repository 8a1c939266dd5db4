// The lists of the overview: which panels there are, and what is in their tabs.

import { h, put } from './dom.js';
import { report } from './api.js';
import { t, figure, money } from './i18n.js';
import { go } from './state.js';
import { panel, listOf, nothing, few, narrowed } from './panel.js';
import { worldmap } from './map.js';
import { slug } from './share.js';

const list = (dim) => ({
	id: dim, text: t('dim.' + dim), detail: () => dim,
	show: (box, q) => listOf(box, dim, q, { metrics: q.goal ? ['visitors', 'group_conversion_rate'] : ['visitors'] }),
});
const group = (text, dims) => ({ text, group: dims.map(list) });

const map = {
	id: 'map', text: t('map'), detail: () => 'countries',
	show: (box, q) => listOf(box, 'countries', q, { draw: (a) => worldmap(a.results) }),
};

const cells = (...values) => values.map((v) => h('td', { class: 'num' }, v));
const columns = (first, ...rest) => h('thead', null, h('tr', null, h('th', { scope: 'col' }, first), rest.map((x) => h('th', { scope: 'col', class: 'num' }, x))));
const bar = (n, most) => ({ '--share': most ? `${100 * n / most}%` : '0%' });

function goalTable(a) {
	const rows = a.results.filter((g) => g.visitors || g.kind !== 'custom_event');
	if (!rows.length) return null;
	const most = Math.max(...rows.map((g) => g.visitors)), paid = rows.some((g) => g.revenue);
	return h('table', { class: 'list' }, columns(t('dim.goals'), t('metric.visitors'), t('metric.events'), t('short.conversion_rate'), ...(paid ? [t('metric.total_revenue')] : [])),
		h('tbody', null, rows.map((g) => h('tr', null,
			h('th', { scope: 'row' }, h('a', { href: narrowed(g.kind === 'custom_event' ? 'events' : 'goals', g.name), title: g.name, css: bar(g.visitors, most) }, h('span', { class: 'text' }, g.name))),
			cells(figure('visitors', g.visitors), figure('events', g.events), figure('conversion_rate', g.conversion_rate)),
			paid && cells(g.revenue ? money(g.revenue.total, g.revenue.currency) : '–')))));
}

const goals = {
	id: 'goals', text: t('dim.goals'),
	async show(box, q) {
		const { metrics: _, ...params } = q.params;
		const a = await report('/api/stats/goals', params, q.signal);
		put(box, goalTable(a) ?? nothing(slug ? '' : t('empty.goals')));
		return a;
	},
};

const properties = {
	id: 'properties', text: t('properties'), extra: (state) => state.property, detail: (state) => state.property && 'prop:' + state.property,
	async show(box, q, state) {
		if (state.property) return values(box, q, state.property);
		const a = await report('/api/stats/properties', { ...q.params, limit: few }, q.signal);
		const most = Math.max(0, ...a.results.map((p) => p.visitors));
		put(box, !a.results.length ? nothing(t('empty.properties')) : h('table', { class: 'list' }, columns(t('property'), t('metric.visitors'), t('metric.events')),
			h('tbody', null, a.results.map((p) => h('tr', null, h('th', { scope: 'row' }, h('button', { type: 'button', class: 'rowlink', css: bar(p.visitors, most), onclick: () => go({ property: p.name }) }, h('span', { class: 'text' }, p.name))),
				cells(figure('visitors', p.visitors), figure('events', p.events)))))));
		return a;
	},
};

async function values(box, q, key) {
	const a = await report('/api/stats/property-values', { ...q.params, key, limit: few - 1 }, q.signal);
	const most = Math.max(0, ...a.results.map((p) => p.visitors));
	put(box, h('p', { class: 'crumb' }, h('button', { type: 'button', class: 'quiet', onclick: () => go({ property: '' }) }, '‹ ' + t('properties'))),
		!a.results.length ? nothing() : h('table', { class: 'list' }, columns(key, t('metric.visitors'), t('metric.events')),
			h('tbody', null, a.results.map((p) => h('tr', null,
				h('th', { scope: 'row' }, h('a', { href: narrowed('prop:' + key, p.value), css: bar(p.visitors, most) }, h('span', { class: 'text' }, String(p.value)))),
				cells(figure('visitors', p.visitors), figure('events', p.events)))))));
	return a;
}

const revenue = {
	id: 'revenue', text: t('revenue'),
	async show(box, q) {
		const a = await report('/api/stats/revenue', { ...q.params, limit: few }, q.signal), r = a.results;
		const part = (title, rows, name) => h('table', { class: 'list plain' }, columns(title, t('metric.total_revenue'), t('transactions'), t('metric.average_revenue')),
			h('tbody', null, rows.map((x) => h('tr', null, h('th', { scope: 'row' }, h('span', { class: 'text' }, name(x))), cells(money(x.total, x.currency), figure('events', x.transactions), money(x.average_order_value, x.currency))))));
		put(box, !r.by_currency.length ? nothing(t('empty.revenue')) : [part(t('dim.currencies'), r.by_currency, (x) => x.currency), part(t('dim.events'), r.by_event.slice(0, 5), (x) => x.value ?? t('none'))]);
		return a;
	},
};

const shape = [
	['sources', 'panel.sources', [list('sources'), list('channels'), list('referrers'), group(t('campaigns'), ['utm-campaigns', 'utm-sources', 'utm-mediums', 'utm-contents', 'utm-terms'])]],
	['pages', 'panel.pages', [list('pages'), list('entry-pages'), list('exit-pages'), group(t('more'), ['titles', 'hostnames'])]],
	['places', 'panel.places', [map, list('countries'), list('regions'), list('cities'), list('languages')]],
	['devices', 'panel.devices', [list('browsers'), list('os'), list('devices'), group(t('more'), ['browser-versions', 'os-versions', 'screens'])]],
	['conversions', 'panel.conversions', [goals, properties, revenue, list('events')]],
];

export function panels() {
	const made = shape.map(([name, title, tabs]) => panel(name, t(title), tabs));
	made.at(-1).el.classList.add('wide');
	return {
		el: h('div', { class: 'panels' }, made.map((p) => p.el)),
		update(state, q) { for (const p of made) p.update(state, q); },
	};
}

