// The way in: name and password, the second factor when the server asks for it,
// a passkey; and what an invitation or the set-up link leads to.

import { h, put, field } from './dom.js';
import { post } from './api.js';
import { t, duration } from './i18n.js';

// form is the page. token is of the link that led here, or "". done is called when
// the reader is in.
export async function form(status, token, done) {
	const page = h('main', { class: 'narrow' }, h('h1', null, h('img', { src: '/icon.svg', alt: '', width: 32, height: 32 }), 'Eider'));
	if (location.pathname === '/invite' && token) page.append(invite(token, done));
	else if (!status.setup_required) page.append(login(done));
	else if (location.pathname === '/setup' && token) page.append((await import('./setup.js')).setup(token, done));
	else page.append(h('p', null, t('login.setup')), h('p', { class: 'soft' }, t('login.setup.hint')));
	return page;
}

// choose is the field of a new password.
export const choose = (name) => field(t('login.password'), h('input', { id: 'password', name, type: 'password', autocomplete: 'new-password', minlength: 8, maxlength: 512, required: true }), t('password.hint'));

// told is what is said of an error, in the reader's language where it is known.
export const told = (err) => err.code === 'common_password' ? t('password.common') : err.message;

// hold lets nobody try before the server would look at it, and counts the time down.
export function hold(say, button, seconds) {
	const timer = h('span', { role: 'timer' }); // is not read out each second
	const end = Date.now() + seconds * 1000;
	put(say, t('login.locked'), ' ', timer);
	button.disabled = true;
	(function tick() {
		if (!say.isConnected) return;
		const left = Math.ceil((end - Date.now()) / 1000);
		if (left > 0) {
			put(timer, t('login.wait', { time: duration(left) }));
			return setTimeout(tick, 250);
		}
		put(say, t('login.again'));
		button.disabled = false;
	})();
}

function login(done) {
	const name = h('input', { id: 'username', name: 'username', autocomplete: 'username webauthn', value: 'admin', required: true, autocapitalize: 'none', spellcheck: 'false' });
	const password = h('input', { id: 'password', name: 'password', type: 'password', autocomplete: 'current-password', required: true, autofocus: true });
	const code = h('input', { id: 'code', name: 'code', autocomplete: 'one-time-code', inputmode: 'text', spellcheck: 'false' });
	const second = h('div', { hidden: true }, field(t('login.code'), code, t('login.code.hint')));
	const say = h('p', { class: 'bad', role: 'alert' });
	const button = h('button', { type: 'submit' }, t('login.in'));
	const refused = (err) => {
		button.disabled = false;
		if (err.code === 'locked') return hold(say, button, err.retry);
		if (err.code === 'code_needed') {
			const wrong = !second.hidden;
			second.hidden = false;
			code.required = true;
			code.value = '';
			code.focus();
			return put(say, wrong ? t('login.code.wrong') : '');
		}
		put(say, err.code === 'bad_login' ? t('login.bad') : err.message);
		password.select();
	};
	const attempt = async (e) => {
		e.preventDefault();
		button.disabled = true;
		put(say);
		try {
			await post('/api/auth/login', { username: name.value.trim(), password: password.value, ...(code.value && { code: code.value.trim() }) });
			done();
		} catch (err) {
			refused(err);
		}
	};
	return h('form', { class: 'stack', onsubmit: attempt },
		h('h2', null, t('login.title')), field(t('login.name'), name), field(t('login.password'), password), second, say,
		h('p', { class: 'actions' }, window.PublicKeyCredential && h('button', { type: 'button', class: 'quiet', onclick: () => passkey(say, button, done) }, t('login.passkey')), button));
}

async function passkey(say, button, done) {
	put(say);
	try {
		const asked = await post('/api/auth/passkey/begin');
		const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(asked.publicKey ?? asked);
		const credential = await navigator.credentials.get({ publicKey });
		await post('/api/auth/passkey/finish', credential.toJSON());
		done();
	} catch (err) {
		if (err.code === 'locked') return hold(say, button, err.retry);
		put(say, err.name === 'NotAllowedError' ? t('login.passkey.none') : err.message);
	}
}

function invite(token, done) {
	const say = h('p', { class: 'bad', role: 'alert' });
	return h('form', {
		class: 'stack',
		onsubmit: async (e) => {
			e.preventDefault();
			try {
				await post('/api/auth/invite', { token, password: e.target.elements.password.value });
				history.replaceState(null, '', '/');
				done();
			} catch (err) {
				put(say, told(err));
			}
		},
	}, h('h2', null, t('invite.title')), h('p', null, t('invite.text')), choose('password'), say,
	h('p', { class: 'actions' }, h('button', { type: 'submit' }, t('invite.in'))));
}
