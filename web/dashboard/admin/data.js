// The data of a site: what there is, export, import with its progress, erasure
// with a preview.

import { h, put, field, options } from '../dom.js';
import { get, post, query, forget } from '../api.js';
import { t, bytes, number, date } from '../i18n.js';
import { card, form, sure, tableOf, loading, button } from './parts.js';

async function parts() {
	const { parts: all } = await get('/api/parts');
	const sum = (key) => all.reduce((n, p) => n + p[key], 0), days = new Set(all.map((p) => p.day));
	const facts = [[t('data.parts'), number(all.length)], [t('data.days'), number(days.size)], [t('data.rows'), number(sum('rows'))], [t('data.bytes'), bytes(sum('bytes'))], [t('data.damaged'), number(all.filter((p) => p.damaged).length)]];
	return [h('dl', { class: 'facts' }, facts.map(([k, v]) => h('div', null, h('dt', null, k), h('dd', null, v)))),
		h('details', null, h('summary', null, t('data.latest')), tableOf([t('data.day'), t('data.rows'), t('data.bytes'), t('data.sites'), t('data.file')], all.toSorted((a, b) => a.day < b.day ? 1 : -1).slice(0, 60).map((p) => [date(p.day), number(p.rows), bytes(p.bytes), (p.sites ?? []).join(', '), p.damaged ? h('span', { class: 'bad' }, p.damaged) : p.path])))];
}

function exporting(site_id) {
	const out = h('a', { download: '', class: 'buttonlink' }, t('export.start'));
	const form = h('form', { class: 'row', onchange: () => aim() },
		field(t('export.format'), h('select', { name: 'format' }, options(['csv', 'ndjson', 'json', 'parquet', 'arrow'].map((f) => [f, f]), 'csv'))),
		field(t('period.from'), h('input', { type: 'date', name: 'from' })), field(t('period.to'), h('input', { type: 'date', name: 'to' })), out);
	const aim = () => {
		const { format, from, to } = form.elements, both = from.value && to.value;
		out.href = '/api/stats/export' + query({ site_id, format: format.value, ...(both && { start_date: from.value, end_date: to.value }) });
		out.download = `${site_id}.${format.value}`;
	};
	aim();
	return card(t('export.title'), h('p', { class: 'soft' }, t('export.hint')), form);
}

// send uploads a log and tells how far it is, as only XMLHttpRequest does.
function send(site_id, format, file, tell) {
	return new Promise((resolve, reject) => {
		const xhr = new XMLHttpRequest();
		xhr.upload.onprogress = (e) => { if (e.lengthComputable) tell(e.loaded / e.total); };
		xhr.onerror = () => reject(new Error(t('error.offline')));
		xhr.onload = () => {
			let answer = {};
			try { answer = JSON.parse(xhr.responseText); } catch { /* a proxy's page */ }
			forget();
			if (answer.report) resolve(answer.report); else reject(new Error(answer.error ?? t('error.status', { status: xhr.status })));
		};
		xhr.open('POST', '/api/import' + query({ site_id, format }));
		xhr.setRequestHeader('Content-Type', 'text/plain');
		xhr.send(file);
	});
}

function importing(site_id, done) {
	const bar = h('progress', { max: 1, value: 0, hidden: true, 'aria-label': t('import.title') }), say = h('p', { role: 'status' });
	return card(t('import.title'), h('p', { class: 'soft' }, t('import.hint')), form(async (f) => {
		bar.hidden = false;
		bar.value = 0;
		put(say);
		try {
			const r = await send(site_id, f.format.value, f.file.files[0], (share) => { bar.value = share; });
			const skipped = Object.entries(r.skipped ?? {}).filter(([, n]) => n).map(([why, n]) => `${why} ${number(n)}`).join(', ');
			put(say, t('import.done', { n: r.imported, lines: r.lines, duplicates: r.duplicates }), skipped && ' ' + t('import.skipped', { skipped }));
			done();
		} finally {
			bar.hidden = true;
		}
	}, t('import.start'), field(t('import.file'), h('input', { type: 'file', name: 'file', required: true })), field(t('export.format'), h('select', { name: 'format' }, options([['combined', 'combined'], ['common', 'common']], 'combined'))), bar, say));
}

// preview says how much an erasure would take, as far as figures tell it.
async function preview(site_id, ask) {
	if (ask.user) return t('erase.user');
	if (ask.visitor) {
		if (!/^[0-9a-f-]{36}$/i.test(ask.visitor)) throw new Error(t('erase.visitor'));
		const { rows } = await post('/api/sql', { query: `SELECT count(*) FROM events WHERE site = '${site_id.replaceAll("'", "''")}' AND visitor = '${ask.visitor}'` });
		return t('erase.rows', { n: rows[0][0] });
	}
	const { results } = await get('/api/stats/main', { site_id, ...(ask.everything ? { period: 'all' } : { start_date: ask.start_date, end_date: ask.end_date }), metrics: 'events,visits' });
	return t('erase.events', { n: results.events, visits: results.visits });
}

function erasing(site_id, done) {
	const say = h('p', { role: 'status' });
	const days = h('div', { class: 'row' }, field(t('period.from'), h('input', { type: 'date', name: 'from' })), field(t('period.to'), h('input', { type: 'date', name: 'to' })));
	const id = h('div', { hidden: true }, field(t('erase.id.name'), h('input', { name: 'id', autocapitalize: 'none' }), t('erase.id.hint')));
	const need = (what) => { days.hidden = what !== 'days'; id.hidden = what !== 'user' && what !== 'visitor'; };
	return card(t('erase.title'), h('p', { class: 'soft' }, t('erase.hint')), form(async (f) => {
		const ask = { site_id };
		if (f.what.value === 'everything') ask.everything = true;
		else if (f.what.value === 'days') { ask.start_date = f.from.value; ask.end_date = f.to.value; if (!ask.start_date || !ask.end_date) throw new Error(t('erase.days')); }
		else { ask[f.what.value] = f.id.value.trim(); if (!f.id.value.trim()) throw new Error(t('erase.id')); }
		const words = await preview(site_id, ask);
		await sure(t('erase.title'), `${site_id}: ${words} ${t('erase.sure')}`, t('erase.now'), async () => {
			const { rows } = await post('/api/gdpr/erase', ask);
			put(say, t('erase.done', { n: rows }));
			done();
		});
	}, t('erase.preview'), field(t('erase.what'), h('select', { name: 'what', onchange: (e) => need(e.target.value) }, options(['days', 'user', 'visitor', 'everything'].map((w) => [w, t('erase.' + w + '.name')]), 'days'))),
	days, id, say));
}

export function create(ctx) {
	const site_id = ctx.site?.domain;
	const facts = h('div', null), load = () => loading(facts, parts);
	load();
	return h('div', null, card(t('admin.data'), facts, button(t('data.reload'), load)), site_id && [exporting(site_id), importing(site_id, load), erasing(site_id, load)]);
}

