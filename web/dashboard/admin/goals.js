// The goals of a site.

import { h, put, field, options } from '../dom.js';
import { get, post, change } from '../api.js';
import { t } from '../i18n.js';
import { acts, button, card, form, loading, sure, tableOf } from './parts.js';

const about = (g) => g.kind === 'page' ? g.path : g.kind === 'scroll' ? `${g.path} · ${g.scroll} %` : [g.event, ...Object.entries(g.props ?? {}).map(([k, v]) => `${k} = ${v}`), g.currency].filter(Boolean).join(' · ');

export function create(ctx) {
	const site_id = ctx.site?.domain, list = h('div', null), more = h('div', null);
	const load = () => loading(list, async () => {
		const { goals } = await get('/api/goals', { site_id });
		return tableOf([t('name'), t('kind'), t('goal.when'), ''], goals.map((g) => [g.name, t('goal.' + g.kind), about(g), acts(button(t('remove'), () => sure(t('remove'), g.name, t('remove'), async () => {
			await change('DELETE', `/api/goals/${g.id}`, undefined, { site_id });
			load();
		})))]), t('goal.none'));
	});
	const kinds = { page: [['path', t('goal.path'), t('goal.path.hint')]], scroll: [['path', t('goal.path'), t('goal.path.hint')], ['scroll', t('goal.percent')]], event: [['event', t('dim1.event')], ['currency', t('goal.currency'), t('goal.currency.hint')]] };
	const optional = new Set(['currency']);
	const kind = h('select', { name: 'kind', onchange: () => fields() }, options(Object.keys(kinds).map((k) => [k, t('goal.' + k)]), 'page'));
	const fields = () => put(more, kinds[kind.value].map(([name, label, hint]) => field(label, h('input', { name, required: !optional.has(name), ...(name === 'scroll' && { type: 'number', min: 1, max: 100, value: 75 }) }), hint)));
	fields();
	load();
	return h('div', null, card(t('goal.of', { site: site_id }), list), card(t('goal.new'), form(async (f) => {
		const body = { kind: kind.value };
		for (const [name] of kinds[kind.value]) if (f[name].value.trim()) body[name] = name === 'scroll' ? Number(f[name].value) : f[name].value.trim();
		if (f.label.value.trim()) body.name = f.label.value.trim();
		await post('/api/goals', body, { site_id });
		fields();
		f.label.value = '';
		load();
	}, t('add'), field(t('kind'), kind), more, field(t('goal.name'), h('input', { name: 'label' }), t('goal.name.hint')))));
}
