// What the one-time set-up link leads to: the first account, or only the first key.
// The token was in the fragment, which a browser sends to nobody.

import { h, put, field } from './dom.js';
import { post } from './api.js';
import { t } from './i18n.js';
import { form, secret } from './admin/parts.js';
import { choose, told } from './login.js';

const known = { bad_token: 'setup.bad', set_up: 'setup.over' };

export function setup(token, done) {
	const trade = async (more) => {
		try {
			return await post('/api/auth/setup', { token, ...more });
		} catch (err) {
			throw new Error(known[err.code] ? t(known[err.code]) : told(err));
		}
	};
	const account = form(async (f) => {
		await trade({ username: f.username.value.trim(), password: f.password.value });
		history.replaceState(null, '', '/');
		done();
	}, t('setup.in'), field(t('login.name'), h('input', { id: 'username', name: 'username', value: 'admin', autocomplete: 'username', autocapitalize: 'none', spellcheck: 'false', required: true, maxlength: 64 })), choose('password'));
	const key = form(async () => {
		const made = await trade({});
		put(box, h('h2', null, t('setup.key')), secret(t('key.once'), made.key), h('p', null, t('setup.key.use')),
			h('pre', { tabindex: 0 }, `export EIDER_URL=${location.origin}\nexport EIDER_API_KEY=eider_…\neider user create admin`));
	}, t('key.make'));
	const box = h('div', null, h('h2', null, t('setup.title')), h('p', null, t('setup.text')), account,
		h('details', { class: 'aside' }, h('summary', null, t('setup.key')), h('p', { class: 'soft' }, t('setup.key.hint')), key));
	return box;
}
