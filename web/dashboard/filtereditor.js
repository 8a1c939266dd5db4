// The editor of filters. What it makes is groups, all of which must hold; in a
// group all or any of the conditions must hold, or, with "not", not.

import { h, put, options, uid, later } from './dom.js';
import { report } from './api.js';
import { t } from './i18n.js';
import { read } from './state.js';
import { params } from './period.js';
import { dialog } from './menu.js';
import { nameOf, plural } from './names.js';
import * as filters from './filters.js';

const empty = () => ({ dim: 'page', op: '==', values: [] });

// groupsOf reads a list of filters into groups; what does not fit is kept as it is.
function groupsOf(list) {
	const groups = [], plain = { not: false, any: false, of: [] }, rest = [];
	for (const tree of list) {
		const inner = tree.not ?? tree, of = inner.any ?? inner.all ?? [inner];
		if (tree.dim) plain.of.push({ ...tree });
		else if (of.every((x) => x.dim)) groups.push({ not: tree.not !== undefined, any: inner.any !== undefined, of: of.map((x) => ({ ...x })) });
		else rest.push(tree);
	}
	if (plain.of.length || !groups.length) groups.unshift(plain);
	return { groups, rest };
}

function listOf({ groups, rest }) {
	const list = [];
	for (const g of groups) {
		const of = g.of.filter((c) => c.values.length && c.dim !== 'prop:');
		if (!of.length) continue;
		if (!g.not && (!g.any || of.length === 1)) { list.push(...of); continue; }
		const inner = of.length === 1 ? of[0] : g.any ? { any: of } : { all: of };
		list.push(g.not ? { not: inner } : inner);
	}
	return [...list, ...rest];
}

// valuesInput takes several values; what there is in the range is suggested.
function valuesInput(ctx, c) {
	const list = h('datalist', { id: uid('values') });
	const chips = h('span', { class: 'values' });
	const input = h('input', { list: list.id, 'aria-label': t('filter.value'), placeholder: t('filter.value') });
	const draw = () => put(chips, c.values.map((v) => h('span', { class: 'chip' }, nameOf(plural(c.dim), v), h('button', { type: 'button', 'aria-label': t('filter.remove', { filter: v }), onclick: () => { c.values = c.values.filter((x) => x !== v); draw(); } }, '×'))));
	const suggest = async () => {
		if (c.dim === 'prop:' || c.op.endsWith('~')) return put(list);
		const dim = plural(c.dim);
		try {
			const { results } = await report('/api/stats/breakdown/' + encodeURIComponent(dim), {
				site_id: ctx.site.domain, ...params(read(), ctx.site.timezone), limit: 30, metrics: 'visitors', ...(dim !== 'goals' && { search: input.value.length > 1 && dim !== 'countries' && dim !== 'languages' ? input.value : '' }),
			});
			put(list, results.filter((r) => !c.values.includes(r.value)).map((r) => h('option', { value: r.value ?? filters.unknown }, nameOf(dim, r.value))));
		} catch { put(list); }
	};
	const take = () => {
		const v = input.value.trim();
		if (!v) return;
		if (!c.values.includes(v)) c.values = [...c.values, v];
		input.value = '';
		draw();
	};
	input.addEventListener('focus', suggest);
	input.addEventListener('input', later(suggest, 250));
	input.addEventListener('change', take);
	input.addEventListener('keydown', (e) => { if (e.key === 'Enter' && input.value.trim()) { e.preventDefault(); take(); } });
	draw();
	return h('span', { class: 'valuebox' }, chips, input, list);
}

function condition(ctx, group, c, redraw) {
	const prop = c.dim.startsWith('prop:');
	const dims = [...filters.dimensions.map((d) => [d, t('dim1.' + d)]), ['prop:', t('property')]];
	const ops = c.dim === 'goal' ? ['==', '!='] : filters.operators;
	return h('div', { class: 'condition' },
		h('select', { 'aria-label': t('filter.dimension'), onchange: (e) => { c.dim = e.target.value; c.values = []; if (!ops.includes(c.op)) c.op = '=='; redraw(); } }, options(dims, prop ? 'prop:' : c.dim)),
		prop && h('input', { 'aria-label': t('property'), placeholder: t('property'), value: c.dim.slice(5), required: true, onchange: (e) => { c.dim = 'prop:' + e.target.value.trim(); } }),
		h('select', { 'aria-label': t('filter.operator'), onchange: (e) => { c.op = e.target.value; } }, options(ops.map((o) => [o, t('op.' + o)]), c.op)),
		valuesInput(ctx, c),
		h('button', { type: 'button', class: 'quiet icon', 'aria-label': t('remove'), onclick: () => { group.of.splice(group.of.indexOf(c), 1); redraw(); } }, '×'));
}

// editor shows the dialog; apply gets the new list.
export function editor(ctx, list, apply) {
	const model = groupsOf(structuredClone(list));
	for (const g of model.groups) if (!g.of.length) g.of.push(empty());
	const body = h('div', { class: 'groups' });
	const draw = () => put(body, model.groups.map((g, i) => [i > 0 && h('p', { class: 'soft between' }, t('and')), h('fieldset', null,
		h('legend', null, h('select', { 'aria-label': t('filter.match'), onchange: (e) => { [g.not, g.any] = [e.target.value.startsWith('not'), e.target.value.endsWith('any')]; } },
			options(['all', 'any', 'notall', 'notany'].map((m) => [m, t('match.' + m)]), (g.not ? 'not' : '') + (g.any ? 'any' : 'all')))),
		g.of.map((c) => condition(ctx, g, c, draw)),
		h('button', { type: 'button', class: 'quiet', onclick: () => { g.of.push(empty()); draw(); } }, '+ ' + t('filter.condition')))]),
	model.rest.map((tree) => h('p', { class: 'soft' }, JSON.stringify(filters.toV2(tree)))));
	draw();
	dialog(t('filters'), (close) => h('form', {
		class: 'stack',
		onsubmit: (e) => { e.preventDefault(); close(); apply(listOf(model)); },
	}, body, h('p', { class: 'actions' },
		h('button', { type: 'button', class: 'quiet', onclick: () => { model.groups.push({ not: false, any: true, of: [empty()] }); draw(); } }, '+ ' + t('filter.group')),
		h('span', { class: 'grow' }), h('button', { type: 'submit' }, t('apply')))), { class: 'wide' });
}
