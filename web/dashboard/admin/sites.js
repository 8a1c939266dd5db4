// Sites: the list, a new one, and the settings of one with what to put into its pages.

import { h, put, field, options } from '../dom.js';
import { get, post, change } from '../api.js';
import { follow } from '../stream.js';
import { t, moment, number } from '../i18n.js';
import { link, fresh, visit } from '../state.js';
import { notice } from '../menu.js';
import { box, button, card, copy, form, sure, tableOf, acts } from './parts.js';

const zones = () => { try { return ['UTC', ...Intl.supportedValuesOf('timeZone').filter((z) => z !== 'UTC')]; } catch { return ['UTC']; } };
const here = Intl.DateTimeFormat().resolvedOptions().timeZone;
const zoneSelect = (chosen) => {
	const list = zones();
	return h('select', { name: 'timezone' }, options((list.includes(chosen) ? list : [chosen, ...list]).map((z) => [z, z]), chosen));
};

function list(ctx) {
	return card(t('admin.sites'), tableOf([t('site.domain'), t('site.timezone'), t('created'), ''], ctx.sites.map((s) => [
		h('a', { href: fresh('overview', { site: s.domain }) }, s.domain), s.timezone, moment(s.created), acts(h('a', { href: link({ edit: s.domain, site: s.domain }) }, t('settings')))]), t('site.first')));
}

function add(ctx) {
	return card(t('site.new'), form(async (f) => {
		const made = await post('/api/sites', { domain: f.domain.value.trim(), timezone: f.timezone.value });
		ctx.sites.push(made);
		ctx.sites.sort((a, b) => a.domain < b.domain ? -1 : 1);
		visit(fresh('admin', { tab: 'sites', site: made.domain, edit: made.domain }));
	}, t('site.create'), field(t('site.domain'), h('input', { name: 'domain', required: true, placeholder: 'example.com', autocapitalize: 'none', spellcheck: 'false' }), t('site.domain.hint')),
	field(t('site.timezone'), zoneSelect(zones().includes(here) ? here : 'UTC'), t('site.timezone.hint'))));
}

// waiting asks until the first event is there, and soon after it has come.
function waiting(domain) {
	const line = h('p', { class: 'waiting', role: 'status' }, t('site.waiting'));
	let timer, gone = false;
	const look = async () => {
		try {
			const { results } = await get('/api/stats/main', { site_id: domain, period: 'all', metrics: 'events' });
			if (gone) return;
			if (results.events > 0) {
				stop.abort();
				line.className = 'good';
				return put(line, t('site.receives', { n: number(results.events) }), ' ', h('a', { href: fresh('overview', { site: domain }) }, t('nav.overview')));
			}
		} catch { /* asked again */ }
		if (!gone) timer = setTimeout(look, 3000);
	};
	look();
	const stop = new AbortController();
	follow({ site_id: domain }, { event() { stop.abort(); clearTimeout(timer); timer = setTimeout(look, 1000); } }, stop.signal);
	return { el: line, close() { gone = true; stop.abort(); clearTimeout(timer); } };
}

function snippet(domain) {
	const origin = location.origin;
	const npm = `import { init } from '@plausible-analytics/tracker'\n\ninit({\n  domain: '${domain}',\n  endpoint: '${origin}/api/event',\n})`;
	const script = `<script defer data-domain="${domain}" src="${origin}/js/script.js"></script>`;
	const pixel = `<img src="${origin}/api/event?d=${encodeURIComponent(domain)}&u=https://${domain}/" alt="">`;
	return h('div', null, h('h3', null, t('snippet.script')), h('pre', null, script), copy(script), h('details', null, h('summary', null, t('snippet.other')),
		h('h3', null, t('snippet.npm')), h('pre', null, npm), copy(npm), h('h3', null, t('snippet.pixel')), h('pre', null, pixel), copy(pixel)));
}

const lines = (text) => text.split('\n').map((x) => x.trim()).filter(Boolean);

async function settings(ctx, domain) {
	const s = await get(`/api/sites/${encodeURIComponent(domain)}/settings`);
	const area = (name, label) => field(label, h('textarea', { name, spellcheck: 'false', value: (s[name] ?? []).join('\n') }), t('setting.hint.' + name));
	return form(async (f) => {
		const body = { timezone: f.timezone.value, currency: f.currency.value.trim().toUpperCase(), excluded_paths: lines(f.excluded_paths.value), excluded_addresses: lines(f.excluded_addresses.value),
			excluded_countries: lines(f.excluded_countries.value.toUpperCase()), allowed_hostnames: lines(f.allowed_hostnames.value) };
		const now = await change('PATCH', `/api/sites/${encodeURIComponent(domain)}/settings`, body);
		const site = ctx.sites.find((x) => x.domain === domain);
		if (site) site.timezone = now.timezone;
		notice(t('saved'));
	}, t('save'), field(t('site.timezone'), zoneSelect(s.timezone)), field(t('setting.currency'), h('input', { name: 'currency', maxlength: 3, placeholder: 'EUR', value: s.currency ?? '' })),
	area('excluded_paths', t('setting.excluded_paths')), area('excluded_addresses', t('setting.excluded_addresses')), area('excluded_countries', t('setting.excluded_countries')), area('allowed_hostnames', t('setting.allowed_hostnames')));
}

function one(ctx, domain) {
	const wait = waiting(domain);
	const el = h('div', null, h('p', null, h('a', { href: link({ edit: '' }) }, '‹ ' + t('admin.sites'))),
		card(t('snippet.title', { site: domain }), wait.el, snippet(domain)), card(t('settings'), box(() => settings(ctx, domain))),
		card(t('site.remove'), h('p', null, t('site.remove.hint')), button(t('site.remove'), () => sure(t('site.remove'), t('site.remove.sure', { site: domain }), t('remove'), async () => {
			await change('DELETE', '/api/sites/' + encodeURIComponent(domain));
			ctx.sites = ctx.sites.filter((x) => x.domain !== domain);
			visit(fresh('admin', { tab: 'sites', edit: '', site: '' }));
			ctx.boot();
		}), 'danger')));
	return { el, close: wait.close };
}

export function create(ctx, state) {
	if (ctx.sites.some((s) => s.domain === state.edit)) return one(ctx, state.edit);
	return { el: h('div', null, list(ctx), add(ctx)) };
}
