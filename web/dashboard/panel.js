// A card with lists: tabs, rows with bars, a way to all of the rows.

import { h, put } from './dom.js';
import { report, Problem } from './api.js';
import { t, figure, number } from './i18n.js';
import { go, link, read } from './state.js';
import { nameOf, signOf, singular } from './names.js';
import * as filters from './filters.js';

export const few = 9; // rows of a list

// retry says what went wrong, and what to do.
export function retry(err, again) {
	const hint = err instanceof Problem && err.status === 429 ? t('error.busy') : err instanceof Problem && err.status === 403 ? t('error.forbidden') : '';
	return h('div', { class: 'empty', role: 'alert' }, h('p', { class: 'bad' }, err.message), hint && h('p', { class: 'soft' }, hint),
		h('p', null, h('button', { type: 'button', class: 'quiet', onclick: again ?? (() => location.reload()) }, t('again'))));
}

export const nothing = (hint) => h('div', { class: 'empty' }, h('p', null, t('empty')), hint && h('p', { class: 'soft' }, hint));

// narrowed is the address with one more filter.
export function narrowed(dim, value) {
	const list = filters.add(filters.parse(read().filters), singular(dim), value);
	return link({ filters: filters.print(list), detail: '', sort: '', search: '', page: '' });
}

// row is a line of a list: its name leads to the page filtered by it.
export function row(dim, r, metrics, most, currency) {
	const name = nameOf(dim, r.value), sign = signOf(dim, r.value);
	return h('tr', null,
		h('th', { scope: 'row' }, h('a', { href: narrowed(dim, r.value), title: name, css: { '--share': most ? `${100 * r[metrics[0]] / most}%` : '0%' } },
			sign && h('span', { class: 'sign', 'aria-hidden': 'true' }, sign), h('span', { class: 'text' }, name))),
		metrics.map((m) => h('td', { class: 'num', title: figure(m, r[m], currency, true) }, figure(m, r[m], currency))));
}

export function table(dim, rows, metrics, currency) {
	const most = Math.max(...rows.map((r) => r[metrics[0]] ?? 0), 0);
	return h('table', { class: 'list' },
		h('thead', null, h('tr', null, h('th', { scope: 'col' }, t('dim.' + (dim.startsWith('prop:') ? 'prop' : dim))), metrics.map((m) => h('th', { scope: 'col', class: 'num' }, t('metric.' + m))))),
		h('tbody', null, rows.map((r) => row(dim, r, metrics, most, currency))));
}

// skeleton holds the place of a list that is on its way.
export const skeleton = () => h('div', { class: 'skeleton', 'aria-hidden': 'true' }, Array.from({ length: few }, (_, i) => h('i', { css: { width: `${92 - i * 8}%` } })));

// tabbar writes tabs whose choice is in the address. More than a few are a select.
export function tabbar(name, tabs, chosen, label) {
	return h('div', { class: 'tabs', role: 'group', 'aria-label': label }, tabs.map((tab) => Array.isArray(tab.of)
		? h('select', {
			'aria-label': tab.text, class: tab.of.some(([id]) => id === chosen) ? 'on' : '', onchange: (e) => go({ [name]: e.target.value }),
		}, !tab.of.some(([id]) => id === chosen) && h('option', { value: '', selected: true }, tab.text), tab.of.map(([id, text]) => h('option', { value: id, selected: id === chosen }, text)))
		: h('button', { type: 'button', 'aria-pressed': String(tab.id === chosen), onclick: () => go({ [name]: tab.id }) }, tab.text)));
}

// listOf asks for the rows of a dimension and shows them in box.
export function listOf(box, dim, q, { metrics = ['visitors'], draw } = {}) {
	const asked = report('/api/stats/breakdown/' + encodeURIComponent(dim), { ...q.params, metrics: metrics.join(','), limit: draw ? 300 : few }, q.signal);
	return asked.then((a) => {
		put(box, !a.results.length ? nothing() : draw ? draw(a) : table(dim, a.results, metrics, a.currency));
		return a;
	});
}

// panel is a card. tabs are [{ id, text, show(box, q, state) → promise, detail }];
// the one that is open is in the address under the panel's name.
export function panel(name, title, tabs, note) {
	const head = h('header', null), body = h('div', { class: 'body' }, skeleton()), foot = h('footer', null);
	const el = h('section', { class: 'card panel', id: 'panel-' + name, 'aria-label': title }, head, body, foot);
	let shown = '';
	const flat = tabs.flatMap((tab) => tab.group ?? [tab]);
	return {
		el,
		update(state, q) {
			const tab = flat.find((x) => x.id === state[name]) ?? flat[0];
			put(head, h('h2', null, title), tabbar(name, tabs.map((x) => x.group ? { text: x.text, of: x.group.map((g) => [g.id, g.text]) } : x), tab.id, title));
			const key = q.key + tab.id + (tab.extra?.(state) ?? '');
			put(foot, tab.detail && h('a', { class: 'more', href: link({ detail: tab.detail(state), sort: '', search: '', page: '' }) }, t('details')), note?.(state));
			if (key === shown) return;
			shown = key;
			body.classList.add('loading');
			const box = h('div', null);
			const load = () => tab.show(box, q, state).then((a) => {
				if (shown !== key) return;
				put(body, box);
				body.classList.remove('loading');
				if (a?.degraded?.length) body.append(h('p', { class: 'bad' }, t('degraded', { n: number(a.degraded.length) })));
			}, (err) => {
				if (q.signal.aborted || shown !== key) return;
				body.classList.remove('loading');
				put(body, retry(err, () => { put(body, skeleton()); load(); }));
			});
			load();
		},
	};
}
