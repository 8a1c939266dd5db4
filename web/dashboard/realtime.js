// Who is there now, minute by minute, and what they do.

import { h, put } from './dom.js';
import { get } from './api.js';
import { t, figure, number } from './i18n.js';
import { table, nothing, retry } from './panel.js';
import { live } from './live.js';

const every = 10_000; // ms between questions
const fresh = 5000; // the same, when something has happened
const settled = 1500; // ms after which the figures have what has happened

function bars(minutes) {
	const most = Math.max(1, ...minutes.map((m) => m.pageviews));
	const clock = new Intl.DateTimeFormat(undefined, { hour: 'numeric', minute: '2-digit' });
	return h('div', { class: 'minutes', role: 'img', 'aria-label': t('realtime.minutes', { n: number(minutes.reduce((sum, m) => sum + m.pageviews, 0)) }) },
		minutes.map((m) => h('i', { css: { height: `${Math.max(1, 100 * m.pageviews / most)}%` }, title: `${clock.format(new Date(m.time))}: ${m.pageviews}` })));
}

export function create(ctx) {
	const now = h('p', { class: 'big' }, '…'), chart = h('div', null), lists = h('div', { class: 'panels' });
	const stream = ctx.share ? null : live(() => nudge()); // a link shows figures, and nobody's single steps
	const el = h('div', null, h('h1', { class: 'title' }, t('realtime.title')),
		h('section', { class: 'card pad' }, h('div', { class: 'now' }, h('div', { 'aria-live': 'polite' }, now, h('p', { class: 'soft' }, t('realtime.now'))), chart)), stream?.el ?? [], lists);
	const stop = new AbortController();
	const card = (title, dim, rows) => h('section', { class: 'card panel', 'aria-label': title }, h('header', null, h('h2', null, title)),
		h('div', { class: 'body' }, rows.length ? table(dim, rows, ['visitors']) : nothing(t('realtime.empty'))));
	let filters, segment, timer, followed, asked = 0, nudged = false;
	const ask = async () => {
		const site_id = ctx.site.domain;
		try {
			const [a, places, events] = await Promise.all([
				get('/api/stats/realtime', { site_id, minutes: 30, filters, segment, limit: 10 }, stop.signal),
				get('/api/stats/breakdown/countries', { site_id, period: '30m', filters, segment, metrics: 'visitors', limit: 10 }, stop.signal),
				get('/api/stats/breakdown/events', { site_id, period: '30m', filters, segment, metrics: 'visitors', limit: 10 }, stop.signal),
			]);
			const five = await get('/api/stats/realtime', { site_id, filters, segment, limit: 1 }, stop.signal);
			const text = figure('visitors', five.results.current_visitors);
			if (text !== now.textContent) put(now, text); // it is read out
			put(chart, bars(a.results.per_minute));
			put(lists, card(t('dim.pages'), 'pages', a.results.top_pages), card(t('dim.sources'), 'sources', a.results.top_sources),
				card(t('dim.countries'), 'countries', places.results), card(t('dim.events'), 'events', events.results));
		} catch (err) {
			if (!stop.signal.aborted) put(lists, retry(err, ask));
		}
	};
	const tick = async () => {
		[asked, nudged] = [Date.now(), false];
		if (!document.hidden) await ask();
		if (stop.signal.aborted || nudged) return;
		clearTimeout(timer); // of another one that has run meanwhile
		timer = setTimeout(tick, every);
	};
	const nudge = () => {
		if (nudged) return;
		nudged = true;
		clearTimeout(timer);
		timer = setTimeout(tick, Math.max(settled, asked + fresh - Date.now()));
	};
	return {
		el,
		update(state) {
			[filters, segment] = [state.filters, state.segment];
			clearTimeout(timer);
			tick();
			const params = { site_id: ctx.site.domain, filters, segment }, key = JSON.stringify(params);
			if (key === followed) return;
			followed = key;
			stream?.update(params);
		},
		close() { stop.abort(); stream?.close(); clearTimeout(timer); },
	};
}
