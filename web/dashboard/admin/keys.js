// Keys for programs.

import { h, put, field, options } from '../dom.js';
import { get, post, change } from '../api.js';
import { t, moment } from '../i18n.js';
import { acts, button, card, form, loading, secret, sure, tableOf } from './parts.js';

const scopes = ['stats', 'ingest', 'export', 'sql', 'backup', 'metrics', 'audit', 'admin'];

export function create(ctx) {
	const list = h('div', null), made = h('div', null);
	const load = () => loading(list, async () => {
		const { keys } = await get('/api/keys');
		return tableOf([t('name'), t('key.scopes'), t('site'), t('created'), t('key.used'), t('key.expires'), ''], keys.map((k) => [h('span', null, k.name, ' ', h('small', { class: 'soft' }, k.prefix + '…')), k.scopes.join(', '), k.site_id || t('key.all'),
			moment(k.created), k.last_used ? moment(k.last_used) : '–', k.revoked ? t('key.revoked') : k.expires ? moment(k.expires) : t('never'),
			acts(!k.revoked && button(t('key.revoke'), () => sure(t('key.revoke'), t('key.revoke.sure', { name: k.name }), t('key.revoke'), async () => { await change('DELETE', '/api/keys/' + k.id); load(); })))]), t('key.none'));
	});
	load();
	return h('div', null, card(t('admin.keys'), list), made, card(t('key.new'), form(async (f) => {
		const body = { name: f.label.value.trim(), scopes: scopes.filter((s) => f['scope-' + s].checked) };
		if (f.site.value) body.site_id = f.site.value;
		if (f.expires.value) body.expires = f.expires.value + 'T00:00:00Z';
		const key = await post('/api/keys', body);
		put(made, secret(t('key.once'), key.key));
		load();
	}, t('key.make'), field(t('name'), h('input', { name: 'label', required: true, maxlength: 100 })),
	h('fieldset', { class: 'checks' }, h('legend', null, t('key.scopes')), scopes.map((s) => h('label', { title: t('scope.' + s) }, h('input', { type: 'checkbox', name: 'scope-' + s, checked: s === 'stats' }), s))),
	field(t('site'), h('select', { name: 'site' }, options([['', t('key.all')], ...ctx.sites.map((s) => [s.domain, s.domain])], ''))),
	field(t('key.expires'), h('input', { type: 'date', name: 'expires' }), t('key.expires.hint')))));
}
