// The page of a shared link: who comes by one sees the reports of a site and
// nothing else. What the link is stands in the address; what was made of its
// password is kept for the tab, but not in every browser for a frame in a page of
// others, where it may be asked for again. No cookie is needed: browsers keep
// those from such frames too.

import { h, put, field } from './dom.js';
import { get, post, shownBy } from './api.js';
import { t } from './i18n.js';

export const slug = /^\/share\/([^/]+)$/.exec(location.pathname)?.[1] ?? '';

const asked = new URLSearchParams(location.search);
export const embedded = !!slug && asked.get('embed') === 'true';

const key = 'eider.pass.' + slug;
let pass = '';
try { pass = sessionStorage.getItem(key) ?? ''; } catch { /* storage is off: it holds for this page */ }

function keep(value) {
	pass = value;
	try { sessionStorage.setItem(key, value); } catch { /* see above */ }
}

if (slug) shownBy(() => pass ? `${slug}.${pass}` : slug);

function passwordForm(done) {
	const password = h('input', { id: 'password', type: 'password', autocomplete: 'off', required: true, autofocus: !embedded });
	const say = h('p', { class: 'bad', role: 'alert' }), button = h('button', { type: 'submit' }, t('share.open'));
	return h('form', {
		class: 'stack',
		onsubmit: async (e) => {
			e.preventDefault();
			button.disabled = true;
			put(say);
			try {
				keep((await post('/api/share', { link: slug, password: password.value })).pass);
				return done();
			} catch (err) {
				if (err.code === 'locked') return (await import('./login.js')).hold(say, button, err.retry);
				put(say, err.code === 'bad_login' ? t('share.bad') : err.message);
				password.select();
			}
			button.disabled = false;
		},
	}, h('h2', null, t('share.password')), h('p', null, t('share.password.hint')), field(t('login.password'), password), say, h('p', { class: 'actions' }, button));
}

const page = (...kids) => h('main', { class: 'narrow' }, h('h1', null, h('img', { src: '/icon.svg', alt: '', width: 32, height: 32 }), 'Eider'), kids);

// open returns what the link shows. If it cannot be told yet, or at all, it returns
// null and says why in box; done is called when there is something to see.
export async function open(box, done) {
	document.title = t('share.title') + ' · Eider';
	try {
		const shown = await get('/api/share');
		if (!shown.password_required) return shown;
		put(box, page(passwordForm(done)));
	} catch (err) {
		if (err.code === 'bad_link') put(box, page(h('h2', null, t('share.gone')), h('p', null, t('share.gone.hint'))));
		else put(box, page(h('p', { class: 'bad', role: 'alert' }, err.message), h('p', null, h('button', { type: 'button', onclick: done }, t('again')))));
	}
	return null;
}

// about says whose figures these are.
export const about = (share) => h('p', { class: 'about' }, t('share.about', { site: share.site_id }),
	share.segment && [' ', h('span', { class: 'tag' }, t('share.segment', { name: share.segment }))]);

// The page around may have asked for another background, and makes the frame as
// high as what is in it.
if (embedded) {
	const background = asked.get('background') ?? '';
	if (background && CSS.supports('color', background)) document.body.style.background = background;
	document.documentElement.classList.add('embedded');
	const tell = () => parent.postMessage({ eider: 'height', height: document.body.getBoundingClientRect().height }, '*');
	new ResizeObserver(tell).observe(document.body);
	addEventListener('message', (e) => { if (e.source === parent && e.data?.eider === 'height?') tell(); });
}
