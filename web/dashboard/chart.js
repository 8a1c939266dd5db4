// The chart: one metric over time, what it was in the range compared with, and
// the annotations. uPlot draws it; a table beside it says the same in words.

import { h, put, options, later } from './dom.js';
import { report, get } from './api.js';
import { t, figure, point, range } from './i18n.js';
import { go } from './state.js';
import { intervals } from './period.js';
import { metricsOf } from './figures.js';
import { retry } from './panel.js';
import { note } from './annotations.js';

// color resolves a colour of the style sheet for the canvas.
function color(name) {
	const probe = h('span', { class: 'probe', css: { color: `var(${name})` } });
	document.body.append(probe);
	const value = getComputedStyle(probe).color;
	probe.remove();
	return value;
}

// The canvas tints with an alpha of its own.
const faint = (c) => c.replace(/^rgb\((.+)\)$/, (_, n) => n.includes(',') ? `rgba(${n},.12)` : `rgb(${n} / .12)`);

function build(box, data, tip, ready) {
	const ink = color('--soft'), line = color('--line'), accent = color('--accent');
	const font = '12px system-ui, sans-serif';
	const spread = (u, from, to) => { // labels of x: as many as fit, at whole points
		const fit = Math.max(1, Math.floor(u.bbox.width / devicePixelRatio / 84));
		const step = Math.max(1, Math.ceil((to - from) / fit));
		const at = [];
		for (let i = Math.ceil(from); i <= to; i += step) at.push(i);
		return at;
	};
	const last = data.points.length - 1;
	return new uPlot({
		width: box.clientWidth, height: box.clientHeight, legend: { show: false },
		scales: { x: { time: false, range: () => last ? [0, last] : [-0.5, 0.5] }, y: { range: (u, min, max) => [0, max > 0 ? max * 1.08 : 1] } },
		cursor: { y: false, drag: { x: false, y: false }, points: { size: 8 } },
		axes: [
			{ stroke: ink, font, grid: { show: false }, ticks: { show: false }, splits: (u, a, min, max) => spread(u, min, max), values: (u, at) => at.map((i) => data.points[i] ? point(data.points[i].date, data.interval) : '') },
			{ stroke: ink, font, size: 58, grid: { stroke: line, width: 1 }, ticks: { show: false }, values: (u, at) => at.map((v) => figure(data.metric, v, data.currency)) },
		],
		series: [{},
			{ stroke: accent, width: 2, fill: faint(accent), points: { show: data.points.length < 2 }, spanGaps: false },
			{ stroke: ink, width: 1.5, dash: [5, 4], points: { show: false } }],
		hooks: { setCursor: [(u) => tip(u)], ready: [ready] },
	}, [data.points.map((_, i) => i), data.points.map((p) => p[data.metric]), data.points.map((_, i) => data.before?.[i]?.[data.metric] ?? null)], box);
}

// notesAt puts each annotation to the point that holds it.
function notesAt(data, notes) {
	const at = new Map();
	for (const n of notes) {
		const when = n.date ?? n.time;
		const i = data.points.findLastIndex((p) => n.date ? p.date.slice(0, 10) <= n.date : p.time <= when || new Date(p.time) <= new Date(when));
		if (i < 0 || data.end && n.date > data.end) continue;
		at.set(i, [...at.get(i) ?? [], n]);
	}
	return at;
}

export function chart(ctx) {
	const box = h('div', { class: 'plot', role: 'img' });
	const tipBox = h('div', { class: 'tip', hidden: true });
	const marks = h('div', { class: 'marks' });
	const tools = h('div', { class: 'charttools' });
	const table = h('details', { class: 'astable' });
	const el = h('div', { class: 'chart' }, tools, h('div', { class: 'plotbox' }, box, tipBox, marks), table);
	let plot, data, notes = [], shown = '', size;

	const tip = (u) => {
		const i = u.cursor.idx;
		if (i === null || i === undefined || !data.points[i]) { tipBox.hidden = true; return; }
		const p = data.points[i], b = data.before?.[i];
		put(tipBox, h('b', null, point(p.date, data.interval, true)), p.partial && h('small', null, ' ' + t('chart.partial')),
			h('div', null, `${figure(data.metric, p[data.metric], data.currency, true)} ${t('metric.' + data.metric)}`),
			b && h('div', { class: 'soft' }, `${point(b.date, data.interval, true)}: ${figure(data.metric, b[data.metric], data.currency, true)}`),
			(notesAt(data, notes).get(i) ?? []).map((n) => h('div', { class: 'note' }, '⚑ ' + n.text)));
		tipBox.hidden = false;
		const left = u.over.offsetLeft + u.cursor.left;
		tipBox.style.left = Math.max(0, Math.min(left + 14, el.clientWidth - tipBox.offsetWidth - 4)) + 'px';
	};

	const flags = (u) => {
		put(marks, [...notesAt(data, notes)].map(([i, list]) => {
			const mark = h('button', { type: 'button', class: 'mark', 'aria-label': list.map((n) => n.text).join('; '), title: list.map((n) => n.text).join('\n'), onclick: () => note(ctx, list[0], refresh) }, '⚑');
			mark.style.left = u.over.offsetLeft + u.valToPos(i, 'x') + 'px';
			return mark;
		}));
	};

	const draw = () => {
		plot?.destroy();
		plot = undefined;
		tipBox.hidden = true;
		put(box);
		put(marks);
		if (!data || !box.clientWidth) return;
		plot = build(box, data, tip, flags);
		const values = data.points.map((p) => p[data.metric] ?? 0);
		box.setAttribute('aria-label', t('chart.summary', { metric: t('metric.' + data.metric), points: data.points.length, most: figure(data.metric, Math.max(0, ...values), data.currency) }));
	};

	const words = () => {
		const rows = () => h('table', null, h('thead', null, h('tr', null, h('th', null, t('chart.time')), h('th', null, t('metric.' + data.metric)), data.before && h('th', null, t('chart.before')))),
			h('tbody', null, data.points.map((p, i) => h('tr', null, h('td', null, point(p.date, data.interval, true)), h('td', { class: 'num' }, figure(data.metric, p[data.metric], data.currency, true)),
				data.before && h('td', { class: 'num' }, figure(data.metric, data.before[i]?.[data.metric], data.currency, true))))));
		const body = h('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': t('chart.table') });
		put(table, h('summary', null, t('chart.table')), body);
		table.ontoggle = () => { if (table.open && data) put(body, rows()); };
		if (table.open) put(body, rows());
	};

	const refresh = async () => {
		try {
			notes = ctx.share ? [] : (await get('/api/annotations', { site_id: ctx.site.domain })).annotations;
		} catch { notes = []; }
		draw();
	};

	const observer = new ResizeObserver(later(() => {
		if (!plot || size === box.clientWidth) return;
		size = box.clientWidth;
		draw();
	}, 60));
	observer.observe(box);
	addEventListener('themechange', draw);
	const dark = matchMedia('(prefers-color-scheme: dark)');
	dark.addEventListener('change', draw);
	refresh();

	async function ask(q, main, metric, interval) {
		const path = '/api/stats/timeseries', more = { metrics: metric, interval };
		const [now, answer] = await Promise.all([report(path, { ...q.params, ...more }, q.signal), main]);
		const c = answer.comparison;
		let before;
		if (c) {
			const { period: _, ...params } = q.params;
			before = await report(path, { ...params, start_date: c.start_date, end_date: c.end_date, ...more }, q.signal);
		}
		return { metric, interval: now.interval, currency: now.currency ?? answer.currency, points: now.results, before: before?.results, end: now.end_date, range: c && range(c.start_date, c.end_date) };
	}

	return {
		el,
		update(state, q, main) {
			const all = metricsOf(q), metric = all.includes(state.metric) ? state.metric : 'visitors';
			const choice = intervals(state, ctx.site.timezone), interval = choice.includes(state.interval) ? state.interval : choice[0];
			put(tools, h('label', null, h('span', { class: 'hidden' }, t('chart.metric')), h('select', { id: 'metric', value: metric, onchange: (e) => go({ metric: e.target.value }) }, options(all.map((m) => [m, t('metric.' + m)]), metric))),
				h('label', null, h('span', { class: 'hidden' }, t('chart.interval')), h('select', { id: 'interval', value: interval, onchange: (e) => go({ interval: e.target.value }) }, options(choice.map((i) => [i, t('interval.' + i)]), interval))),
				ctx.admin && h('button', { type: 'button', class: 'quiet', onclick: () => note(ctx, null, refresh) }, t('note.add')));
			const key = q.key + metric + interval;
			if (key === shown) return;
			shown = key;
			box.classList.add('loading');
			ask(q, main, metric, interval).then((d) => {
				if (shown !== key) return;
				data = d;
				box.classList.remove('loading');
				size = box.clientWidth;
				draw();
				words();
			}, (err) => {
				if (q.signal.aborted || shown !== key) return;
				shown = '';
				plot?.destroy();
				plot = data = undefined;
				box.classList.remove('loading');
				put(box, retry(err));
			});
		},
		close() {
			observer.disconnect();
			removeEventListener('themechange', draw);
			dark.removeEventListener('change', draw);
			plot?.destroy();
		},
	};
}
