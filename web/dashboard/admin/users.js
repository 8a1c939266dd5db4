// Who may log in.

import { h, put, field, options } from '../dom.js';
import { get, post, change } from '../api.js';
import { t, moment } from '../i18n.js';
import { acts, button, card, form, loading, secret, sure, tableOf } from './parts.js';

const roles = () => ['viewer', 'admin'].map((r) => [r, t('role.' + r)]);

export function create(ctx) {
	const list = h('div', null), made = h('div', null), me = ctx.status.user?.id;
	const load = () => loading(list, async () => {
		const { users } = await get('/api/users');
		return tableOf([t('name'), t('role'), t('user.factor'), t('user.last'), ''], users.map((u) => [h('span', null, u.name, u.id === me && h('span', { class: 'soft' }, ' ' + t('user.you'))),
			u.id === me ? t('role.' + u.role) : h('select', { 'aria-label': t('role'), onchange: (e) => sure(t('role'), `${u.name}: ${t('role.' + e.target.value)}`, t('save'), () => change('PATCH', '/api/users/' + u.id, { role: e.target.value })).then(load) }, options(roles(), u.role)),
			u.invited ? t('user.invited') : [u.totp && 'TOTP', u.passkeys && t('user.passkeys', { n: u.passkeys })].filter(Boolean).join(', ') || '–', u.last_used ? moment(u.last_used) : '–',
			acts(u.id !== me && button(t('remove'), () => sure(t('remove'), t('user.remove.sure', { name: u.name }), t('remove'), async () => { await change('DELETE', '/api/users/' + u.id); load(); })))]));
	});
	load();
	return h('div', null, card(t('admin.users'), list), made, card(t('user.new'), form(async (f) => {
		const { link } = await post('/api/users', { name: f.label.value.trim(), role: f.role.value });
		put(made, secret(t('user.link'), new URL(link, location.origin).href));
		f.label.value = '';
		load();
	}, t('user.invite'), field(t('name'), h('input', { name: 'label', required: true, maxlength: 100, autocapitalize: 'none' })), field(t('role'), h('select', { name: 'role' }, options(roles(), 'viewer')), t('role.hint')))));
}
