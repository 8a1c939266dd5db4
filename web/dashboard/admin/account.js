// The reader's own account: password, second factor, passkeys and sessions.

import { h, put, field } from '../dom.js';
import { get, post, change } from '../api.js';
import { t, moment } from '../i18n.js';
import { nameOf } from '../names.js';
import { notice } from '../menu.js';
import { told } from '../login.js';
import { acts, button, card, form, loading, secret, sure, tableOf } from './parts.js';

function password() {
	return card(t('login.password'), form(async (f) => {
		try {
			await post('/api/auth/password', { current: f.current.value, new: f.fresh.value });
		} catch (err) {
			throw new Error(told(err));
		}
		f.current.value = f.fresh.value = '';
		notice(t('password.changed'));
	}, t('password.change'), field(t('password.current'), h('input', { type: 'password', name: 'current', autocomplete: 'current-password', required: true })),
	field(t('password.new'), h('input', { type: 'password', name: 'fresh', autocomplete: 'new-password', minlength: 8, required: true }), t('password.hint'))));
}

function totp(ctx) {
	const body = h('div', null);
	const off = () => put(body, h('p', null, t('totp.off')), button(t('totp.begin'), begin));
	const on = () => put(body, h('p', null, t('totp.on')), form(async (f) => {
		await change('DELETE', '/api/auth/totp', { password: f.password.value });
		ctx.status.user.totp = false;
		off();
	}, t('totp.remove'), field(t('login.password'), h('input', { type: 'password', name: 'password', autocomplete: 'current-password', required: true }))));
	const begin = async () => {
		try {
			const made = await post('/api/auth/totp');
			put(body, h('p', null, t('totp.scan')), made.qr && h('div', { class: 'qr' }, h('img', { alt: t('totp.qr'), src: 'data:image/svg+xml,' + encodeURIComponent(made.qr) })), h('p', null, t('totp.secret'), ' ', h('code', { class: 'secret' }, made.secret)),
				form(async (f) => {
					const { recovery_codes: codes } = await post('/api/auth/totp/confirm', { code: f.code.value.trim() });
					ctx.status.user.totp = true;
					on();
					body.prepend(secret(t('totp.recovery'), codes.join('\n')));
				}, t('totp.confirm'), field(t('login.code'), h('input', { name: 'code', autocomplete: 'one-time-code', inputmode: 'numeric', required: true }))));
		} catch (err) {
			notice(err.message, true);
		}
	};
	if (ctx.status.user.totp) on(); else off();
	return card(t('totp.title'), body);
}

function passkeys() {
	if (!window.PublicKeyCredential?.parseCreationOptionsFromJSON) return null;
	const list = h('div', null);
	const load = () => loading(list, async () => {
		const { passkeys: keys } = await get('/api/auth/passkeys');
		return tableOf([t('name'), t('created'), t('key.used'), ''], keys.map((k) => [k.name || t('passkey'), moment(k.created), k.last_used ? moment(k.last_used) : '–',
			acts(button(t('remove'), () => sure(t('remove'), k.name, t('remove'), async () => { await change('DELETE', '/api/auth/passkeys/' + encodeURIComponent(k.id)); load(); })))]), t('passkey.none'));
	});
	load();
	return card(t('passkeys'), list, h('p', null, button(t('passkey.add'), async () => {
		try {
			const asked = await post('/api/auth/passkeys/begin', { name: navigator.userAgentData?.platform || t('passkey') });
			const credential = await navigator.credentials.create({ publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(asked.publicKey ?? asked) });
			await post('/api/auth/passkeys/finish', credential.toJSON());
			load();
		} catch (err) {
			if (err.name !== 'NotAllowedError') notice(err.message, true);
		}
	})));
}

function sessions() {
	const list = h('div', null);
	const load = () => loading(list, async () => {
		const { sessions: all } = await get('/api/auth/sessions');
		return tableOf([t('session.browser'), t('session.country'), t('created'), t('key.used'), ''], all.map((s) => [h('span', null, s.browser || '–', s.current && h('span', { class: 'tag' }, t('session.this'))), s.country ? nameOf('countries', s.country) : '–', moment(s.created), s.last_used ? moment(s.last_used) : '–',
			acts(!s.current && button(t('session.end'), async () => { await change('DELETE', '/api/auth/sessions/' + encodeURIComponent(s.id)); load(); }))]));
	});
	load();
	return card(t('sessions'), list);
}

export function create(ctx) {
	if (!ctx.status.user) return card(t('nav.account'), h('p', null, t('account.key')));
	return h('div', null, password(), totp(ctx), passkeys(), sessions());
}
