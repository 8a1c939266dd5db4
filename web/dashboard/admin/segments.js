// The saved segments of a site.

import { h } from '../dom.js';
import { get, change } from '../api.js';
import { t, moment } from '../i18n.js';
import { fresh } from '../state.js';
import { words } from '../filterbar.js';
import { fromV2, toV2 } from '../filters.js';
import { editor } from '../filtereditor.js';
import { notice } from '../menu.js';
import { acts, button, card, loading, sure, tableOf } from './parts.js';

export function create(ctx) {
	const site_id = ctx.site?.domain, list = h('div', null);
	const act = async (method, s, body) => {
		try {
			await change(method, `/api/segments/${s.id}`, body, { site_id });
			load();
		} catch (err) {
			notice(err.message, true);
		}
	};
	const load = () => loading(list, async () => {
		const { segments } = await get('/api/segments', { site_id });
		return tableOf([t('name'), t('filters'), t('changed'), ''], segments.map((s) => [h('a', { href: fresh('overview', { segment: s.id, filters: '' }) }, s.name), s.filters.map((f) => words(fromV2(f))).join(` ${t('and')} `), moment(s.updated),
			acts(button(t('edit'), () => editor(ctx, s.filters.map(fromV2), (made) => act('PATCH', s, { filters: made.map(toV2) }))), button(t('remove'), () => sure(t('remove'), s.name, t('remove'), () => act('DELETE', s))))]), t('segment.none'));
	});
	load();
	return card(t('segment.of', { site: site_id }), list);
}
