// Funnels: how many did one thing after the other. The steps are in the address.

import { h, put, options, uid } from './dom.js';
import { get, report } from './api.js';
import { t, number, percent, duration } from './i18n.js';
import { go } from './state.js';
import { base } from './overview.js';
import { frame } from './frame.js';
import { nameOf } from './names.js';

const windows = ['30 minutes', '1 hour', '1 day', '7 days', '30 days'];
const units = ['visitor', 'visit', 'user'];
const by = ['', 'sources', 'channels', 'countries', 'devices', 'browsers', 'utm-campaigns', 'entry-pages'];

// parseSteps reads steps=page:/a,event:B; a backslash takes the meaning from a comma.
export function parseSteps(text) {
	const steps = (text ?? '').match(/(?:\\.|[^\\,])+/g) ?? [];
	return steps.map((s) => { const at = s.indexOf(':'); return { kind: s.slice(0, at), value: s.slice(at + 1).replace(/\\,/g, ',') }; });
}
export const printSteps = (steps) => steps.filter((s) => s.value).map((s) => `${s.kind}:${s.value.replace(/,/g, '\\,')}`).join(',');

const stepName = (s) => `${t('step.' + s.kind)} ${s.value}`;

function barsOf(steps, key) {
	const first = steps[0][key] || 1;
	return h('ol', { class: 'funnel' }, steps.map((s, i) => h('li', null,
		h('div', { class: 'funnelname' }, h('b', null, stepName(parseSteps(s.name)[0] ?? { kind: 'page', value: s.name })), h('span', { class: 'num' }, number(s[key]), ' · ', percent(s.conversion_rate))),
		h('div', { class: 'track' }, h('i', { css: { width: `${100 * s[key] / first}%` } })),
		i > 0 && h('p', { class: 'soft' }, t('funnel.kept', { rate: percent(s.kept_rate ?? 0), lost: s.dropped_off ?? 0 }), s.took && ` · ${t('funnel.took', { median: duration(s.took.median), p90: duration(s.took.p90) })}`))));
}

const keyOf = (unit) => ({ visit: 'visits', user: 'users' })[unit] ?? 'visitors';

function segmentsOf(a, key) {
	if (!a.results.segments) return null;
	return h('div', { class: 'scrollx', tabindex: 0, role: 'region', 'aria-label': t('funnel.by') }, h('table', { class: 'figurestable' },
		h('thead', null, h('tr', null, h('th', null, t('dim.' + a.dimension)), a.results.steps.map((s, i) => h('th', { class: 'num' }, `${i + 1}`)))),
		h('tbody', null, a.results.segments.map((seg) => h('tr', null, h('th', { scope: 'row' }, nameOf(a.dimension, seg.value)),
			seg.steps.map((s) => h('td', { class: 'num' }, number(s[key]), h('small', { class: 'soft' }, ' ' + percent(s.conversion_rate)))))))));
}

export function create(ctx) {
	let draft; // steps in the form: an empty one is not in the address
	let goals = [];
	// A shared link shows no more of the goals than their report does.
	(ctx.share ? report('/api/stats/goals', { site_id: ctx.site.domain, period: '28d' }).then((a) => a.results.filter((g) => g.id)) : get('/api/goals', { site_id: ctx.site.domain }).then((a) => a.goals))
		.then((list) => { goals = list; }, () => {});

	const form = (state) => {
		const steps = parseSteps(state.steps);
		if (!draft || printSteps(draft) !== printSteps(steps)) draft = steps;
		while (draft.length < 2) draft.push({ kind: draft.length ? 'event' : 'page', value: '' });
		const list = h('ol', { class: 'steps' });
		const apply = () => go({ steps: draft.filter((s) => s.value).length > 1 ? printSteps(draft) : '' });
		const suggest = async (kind, datalist) => {
			if (kind === 'goal') return put(datalist, goals.map((g) => h('option', { value: g.name })));
			const dim = kind === 'page' ? 'pages' : 'events';
			const { filters: _, segment: __, ...range } = base(ctx, state);
			const a = await report('/api/stats/breakdown/' + dim, { ...range, metrics: 'visitors', limit: 50 }).catch(() => ({ results: [] }));
			put(datalist, a.results.filter((r) => r.value && r.value !== 'pageview').map((r) => h('option', { value: r.value })));
		};
		const draw = () => put(list, draft.map((s, i) => {
			const data = h('datalist', { id: uid('steps') });
			return h('li', null, h('select', { 'aria-label': t('step.kind', { n: i + 1 }), onchange: (e) => { s.kind = e.target.value; s.value = ''; draw(); } }, options(['page', 'event', 'goal'].map((k) => [k, t('step.' + k)]), s.kind)),
				h('input', { 'aria-label': t('step.value', { n: i + 1 }), list: data.id, value: s.value, placeholder: t('step.hint.' + s.kind), onfocus: () => suggest(s.kind, data), onchange: (e) => { s.value = e.target.value.trim(); } }), data,
				h('button', { type: 'button', class: 'quiet icon', 'aria-label': t('remove'), disabled: draft.length <= 2, onclick: () => { draft.splice(i, 1); draw(); } }, '×'));
		}));
		draw();
		const choose = (name, values, text, chosen) => h('label', { class: 'inline' }, t(`funnel.${name}`), h('select', { onchange: (e) => go({ [name]: e.target.value }) }, options(values.map((v) => [v, text(v)]), chosen)));
		return h('form', { onsubmit: (e) => { e.preventDefault(); apply(); } }, list, h('p', { class: 'row' },
			h('button', { type: 'button', class: 'quiet', onclick: () => { draft.push({ kind: 'page', value: '' }); draw(); } }, '+ ' + t('step.add')), h('button', { type: 'submit' }, t('funnel.show')), h('span', { class: 'grow' }),
			choose('window', windows, (v) => t('window.' + v), state.window ?? '1 day'), choose('unit', units, (v) => t('unit.' + v), state.unit ?? 'visitor'), choose('by', by, (v) => v ? t('dim.' + v) : '–', state.by ?? '')));
	};

	const question = (state) => ({ ...base(ctx, state), steps: state.steps, window: state.window ?? '1 day', unit: state.unit, by: state.by, ...(state.by && { limit: 10 }) });
	return frame(ctx, 'nav.funnels', {
		hint: t('funnel.hint'), form, key: question,
		async ask(state, signal) {
			if (parseSteps(state.steps).length < 2) return null;
			const a = await report('/api/stats/funnel', question(state), signal), key = keyOf(state.unit);
			return h('div', null, a.results.steps[0]?.[key] ? barsOf(a.results.steps, key) : h('div', { class: 'empty' }, h('p', null, t('funnel.nobody'))), segmentsOf(a, key), a.meta?.caveat && h('p', { class: 'soft' }, a.meta.caveat));
		},
	});
}
