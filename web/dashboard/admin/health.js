// How the server is.

import { h, put } from '../dom.js';
import { get } from '../api.js';
import { t, bytes, number, moment, duration } from '../i18n.js';
import { retry } from '../panel.js';
import { card } from './parts.js';

const every = 5000; // ms

// What there is to say of the copies of the audit chain and of the events.
function copies(audit) {
	const list = (audit?.copies ?? []).map((c) => [t('health.copy', { sink: c.sink }), c.alarm ? t('health.stopped') : t('health.behind', { n: c.lag_rows })]);
	if (audit?.erasures_waiting) list.push([t('health.erasures'), number(audit.erasures_waiting)]);
	return list;
}

function facts(d, rate) {
	const last = d.last_shutdown;
	return [
		[t('health.version'), d.version], [t('health.uptime'), duration(d.uptime)], [t('health.rate'), rate === null ? '…' : t('health.persecond', { n: rate })],
		[t('health.accepted'), number(d.accepted)], [t('health.buffered'), number(d.buffered)], [t('health.lag'), t('health.events', { n: d.durable_seq - d.flushed_seq })],
		[t('health.unpublished'), t('health.events', { n: d.durable_seq - d.published_seq })], [t('health.journal'), bytes(d.journal.bytes)], [t('data.parts'), `${number(d.parts.count)} · ${bytes(d.parts.bytes)}`],
		[t('health.disk'), t('health.free', { free: bytes(d.disk.free_bytes), total: bytes(d.disk.total_bytes) })], [t('health.duckdb'), `${bytes(d.duckdb.memory_bytes)} · ${t('health.spilled', { bytes: bytes(d.duckdb.spilled_bytes) })}`], [t('health.durability'), d.durability],
		[t('health.geoip'), d.geoip?.type ?? '–'], [t('health.audit'), d.audit ? `${number(d.audit.size)} · ${d.audit.verified?.status ?? '–'}` : '–'],
		...copies(d.audit),
		[t('health.shutdown'), last ? `${last.clean ? t('health.clean') : t('health.crash')}${last.stopped ? ' · ' + moment(last.stopped) : ''}` : '–'],
	];
}

export function create() {
	const body = h('div', null, '…');
	let timer, gone = false, before;
	const ask = async () => {
		try {
			const d = await get('/health/detailed'), now = Date.now();
			const rate = before ? Math.round(10 * (d.accepted - before.n) / ((now - before.at) / 1000)) / 10 : null;
			before = { n: d.accepted, at: now };
			const bad = [...d.degraded ?? [], ...(d.disk.free_bytes < d.disk.floor_bytes ? [t('health.full')] : [])];
			put(body, h('p', { class: d.status === 'ok' && !bad.length ? 'good' : 'bad' }, t('health.status', { status: d.status })), bad.map((x) => h('p', { class: 'bad' }, typeof x === 'string' ? x : JSON.stringify(x))),
				h('dl', { class: 'facts' }, facts(d, rate).map(([k, v]) => h('div', null, h('dt', null, k), h('dd', null, v)))));
		} catch (err) {
			put(body, retry(err, ask));
		}
		if (!gone) timer = setTimeout(ask, every);
	};
	ask();
	return { el: card(t('admin.health'), body), close() { gone = true; clearTimeout(timer); } };
}
