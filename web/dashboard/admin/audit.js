// The audit chain: what was done here, by whom, and how far it is verified.

import { h, field } from '../dom.js';
import { get, query } from '../api.js';
import { t, moment, number } from '../i18n.js';
import { go, link } from '../state.js';
import { dialog } from '../menu.js';
import { button, box, card, tableOf, acts } from './parts.js';

const names = ['kind', 'actor', 'object', 'request_id', 'afrom', 'ato'];

// question is that of the state; from and to have names of their own there,
// because those of the reports stay.
function question(state) {
	const { kind, actor, object, request_id, afrom, ato, before } = state;
	return { kind, actor, object, request_id, from: afrom, to: ato, before, limit: 50 };
}

function show(entry) {
	const rows = Object.entries({ ...entry, detail: undefined, source: undefined, private: undefined, ...entry.source, ...entry.private, ...entry.detail }).filter(([, v]) => v !== undefined && v !== null && v !== '');
	dialog(`${number(entry.seq)} · ${entry.kind}`, (close) => h('div', null,
		h('dl', { class: 'facts' }, rows.map(([k, v]) => h('div', null, h('dt', null, k), h('dd', null, typeof v === 'object' ? JSON.stringify(v) : String(v))))),
		h('p', { class: 'actions' }, entry.request_id && h('a', { href: link({ ...clear(), request_id: entry.request_id }), onclick: close }, t('audit.chain')),
			h('a', { href: '/api/audit/proof/' + entry.seq, download: `entry-${entry.seq}.tlog-proof` }, t('audit.proof')))), { class: 'wide' });
}

const clear = () => Object.fromEntries([...names, 'before'].map((n) => [n, '']));

async function verified() {
	const { audit } = await get('/health/detailed');
	if (!audit) return null;
	const v = audit.verified;
	return h('div', null, h('p', { class: v?.status === 'sound' ? 'good' : 'bad' }, v ? t('audit.verified', { n: v.entries, at: moment(v.at), status: v.status }) : t('audit.unverified')),
		h('p', { class: 'soft' }, t('audit.head', { size: audit.size, origin: audit.origin, checkpoint: audit.checkpoint })));
}

// known returns the names that users and keys have now, by what entries call them.
async function known() {
	const [{ users }, { keys }] = await Promise.all([get('/api/users'), get('/api/keys')]);
	return new Map([...users.map((u) => ['user:' + u.id, u.name]), ...keys.map((k) => ['key:' + k.id, k.name])]);
}

const called = (id, name) => name ? h('span', { title: id }, `${id.split(':', 1)[0]} ${name}`) : id;

async function entries(state) {
	const [a, who] = await Promise.all([get('/api/audit', question(state)), known()]);
	return h('div', { class: 'audit' }, tableOf([t('audit.entry'), t('audit.when'), t('audit.what'), t('audit.who'), t('audit.object'), t('audit.outcome'), ''], a.entries.map((e) => [
		number(e.seq), moment(e.time), h('a', { href: link({ kind: e.kind, before: '' }) }, e.kind), h('td', { class: 'wrap' }, e.actor && h('a', { href: link({ actor: e.actor, before: '' }) }, called(e.actor, who.get(e.actor)))), h('td', { class: 'wrap' }, called(e.object, who.get(e.object) ?? e.private?.name)),
		h('span', { class: e.outcome === 'refused' || e.outcome === 'failed' ? 'bad' : '' }, e.outcome, e.count > 1 && ` × ${number(e.count)}`), acts(button(t('details'), () => show(e)))])),
	h('p', { class: 'actions' }, state.before && h('a', { href: link({ before: '' }) }, t('audit.newest')), a.next !== null && h('a', { href: link({ before: a.next }) }, t('audit.older'))));
}

export function create(ctx, state) {
	const form = h('form', {
		class: 'row',
		onsubmit: (e) => { e.preventDefault(); go({ before: '', ...Object.fromEntries(names.map((n) => [n, form.elements[n].value.trim()])) }); },
	}, field(t('audit.what'), h('input', { name: 'kind', value: state.kind, placeholder: 'key.create' })), field(t('audit.who'), h('input', { name: 'actor', value: state.actor })), field(t('audit.object'), h('input', { name: 'object', value: state.object })),
	field(t('audit.request'), h('input', { name: 'request_id', value: state.request_id })), field(t('period.from'), h('input', { type: 'date', name: 'afrom', value: state.afrom })), field(t('period.to'), h('input', { type: 'date', name: 'ato', value: state.ato })),
	h('button', { type: 'submit' }, t('filter')), h('a', { class: 'quietlink', href: link(clear()) }, t('filter.clear')));
	return h('div', null, card(t('admin.audit'), box(verified), h('p', { class: 'row' }, h('a', { href: '/api/audit/report' + query({ from: state.afrom, to: state.ato }), download: 'audit-report.txt' }, t('audit.report')), h('a', { href: '/api/audit/export?format=ndjson', download: 'audit.ndjson' }, t('audit.export')), h('a', { href: '/api/audit/checkpoint', download: 'checkpoint.txt' }, t('audit.checkpoint')))),
		card('', form, box(() => entries(state))));
}
