// The shared links of a site, and what to put into other pages to show them.

import { h, put, field, options, later } from '../dom.js';
import { get, post, change } from '../api.js';
import { t, moment } from '../i18n.js';
import { dialog } from '../menu.js';
import { acts, button, card, copy, form, loading, sure, tableOf } from './parts.js';

const noon = (day) => day + 'T00:00:00Z';

// inputs are those of a link: of a new one if link is undefined.
function inputs(segments, link) {
	const check = (name) => h('label', null, h('input', { type: 'checkbox', name, checked: !!link?.[name] }), t('link.' + name));
	return [
		field(t('name'), h('input', { name: 'label', required: true, maxlength: 200, value: link?.name }), t('link.name.hint')),
		field(t('link.segment'), h('select', { name: 'segment' }, options([['', t('link.segment.none')], ...segments.map((s) => [String(s.id), s.name])], String(link?.segment ?? ''))), t('link.segment.hint')),
		field(t('link.password'), h('input', { name: 'secret', type: 'password', autocomplete: 'new-password', minlength: 8 }), t(link?.password ? 'link.password.keep' : 'link.password.hint')),
		link?.password && h('p', { class: 'checks' }, h('label', null, h('input', { type: 'checkbox', name: 'open' }), t('link.password.remove'))),
		field(t('link.expires'), h('input', { type: 'date', name: 'expires', value: link?.expires?.slice(0, 10) }), t('key.expires.hint')),
		h('fieldset', { class: 'checks' }, h('legend', null, t('link.elsewhere')), check('embed'), check('badge')),
	];
}

// bodyOf reads the inputs.
const bodyOf = (f) => ({ name: f.label.value.trim(), segment: Number(f.segment.value), embed: f.embed.checked, badge: f.badge.checked });

function changing(link, segments, site_id, changed) {
	dialog(t('link.change'), (close) => form(async (f) => {
		const body = bodyOf(f), day = f.expires.value;
		if (f.secret.value || f.open?.checked) body.password = f.open?.checked ? '' : f.secret.value;
		if (day !== (link.expires?.slice(0, 10) ?? '')) body.expires = day && noon(day);
		await change('PATCH', '/api/links/' + link.id, body, { site_id });
		close();
		changed();
	}, t('save'), inputs(segments, link)));
}

const quote = (text) => text.replaceAll('&', '&amp;').replaceAll('"', '&quot;');

function embedding(link) {
	const theme = h('select', { name: 'theme' }, options([['system', t('embed.system')], ['light', t('theme.light')], ['dark', t('theme.dark')]], 'system'));
	const background = h('input', { name: 'background', placeholder: 'transparent', spellcheck: 'false' });
	const snippet = h('div', null), preview = h('iframe', { class: 'preview', title: t('embed.preview'), loading: 'lazy' });
	const draw = () => {
		const url = new URL(link.link);
		url.searchParams.set('embed', 'true');
		url.searchParams.set('theme', theme.value);
		if (background.value.trim()) url.searchParams.set('background', background.value.trim());
		const code = `<iframe eider-embed src="${quote(url.href)}" loading="lazy" style="width: 100%; height: 1600px; border: 0"></iframe>\n<script async src="${url.origin}/js/embed.host.js"></script>`;
		put(snippet, h('pre', null, code), copy(code));
		// The preview is of where this page is: no other host may be asked.
		const here = url.pathname + url.search;
		if (preview.getAttribute('src') !== here) preview.src = here;
	};
	theme.addEventListener('change', draw);
	background.addEventListener('input', later(draw, 400));
	draw();
	return card(t('embed.title', { name: link.name }), field(t('embed.theme'), theme), field(t('embed.background'), background, t('embed.background.hint')), h('p', null, t('embed.snippet')), snippet, preview);
}

function badge(link) {
	const url = link.badge_url + '?label=' + encodeURIComponent(t('badge.label')), at = new URL(url);
	const code = `<img src="${quote(url)}" alt="${quote(t('badge.alt'))}" height="20">`;
	return card(t('badge.title', { name: link.name }), h('p', { class: 'soft' }, t('badge.hint')), h('p', null, h('img', { class: 'badge', src: at.pathname + at.search, alt: t('badge.alt'), height: 20 })), h('pre', null, code), copy(code));
}

export function create(ctx) {
	const site_id = ctx.site?.domain, list = h('div', null), more = h('div', null), add = h('div', null);
	const limits = (link, segments) => {
		const segment = segments.find((s) => s.id === link.segment);
		return [segment ? t('link.locked', { name: segment.name }) : t('link.all'), link.password && h('span', { class: 'tag' }, t('link.password'))].filter(Boolean).flatMap((x) => [x, ' ']);
	};
	const load = () => loading(list, async () => {
		const [{ links }, { segments }] = await Promise.all([get('/api/links', { site_id }), get('/api/segments', { site_id })]);
		const show = (what) => { put(more, what); more.scrollIntoView({ block: 'nearest' }); };
		put(add, card(t('link.new'), form(async (f) => {
			const body = bodyOf(f);
			if (f.secret.value) body.password = f.secret.value;
			if (f.expires.value) body.expires = noon(f.expires.value);
			await post('/api/links', body, { site_id });
			load();
		}, t('link.make'), inputs(segments))));
		const revoke = (k) => sure(t('link.revoke'), t('link.revoke.sure', { name: k.name }), t('link.revoke'), async () => {
			await change('DELETE', '/api/links/' + k.id, undefined, { site_id });
			put(more);
			load();
		});
		return tableOf([t('name'), t('link.shows'), t('link.expires'), ''], links.map((k) => [
			k.link ? h('a', { href: new URL(k.link).pathname, target: '_blank', rel: 'noopener' }, k.name) : h('span', { title: t('link.lost') }, k.name, h('small', { class: 'bad' }, ' ' + t('link.lost'))),
			h('span', null, limits(k, segments)), !k.expires ? t('never') : new Date(k.expires) < new Date() ? h('span', { class: 'bad' }, t('link.expired')) : moment(k.expires),
			acts(k.link && copy(k.link), k.link && k.embed && button(t('link.embedding'), () => show(embedding(k))), k.badge_url && button(t('link.badging'), () => show(badge(k))),
				button(t('edit'), () => changing(k, segments, site_id, load)), button(t('link.revoke'), () => revoke(k)))]), t('link.none'));
	});
	load();
	return h('div', null, card(t('link.of', { site: site_id }), list), more, add);
}
