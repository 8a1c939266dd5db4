// The range of days that the page shows, and how it goes to the server.

import { h, put, options } from './dom.js';
import { t, range, date } from './i18n.js';
import { go, link } from './state.js';
import { menu, dialog } from './menu.js';

export const periods = ['today', 'yesterday', '24h', '7d', '28d', '30d', '90d', 'month', 'lastmonth', '12mo', 'year', 'all'];
const letters = { today: 'D', yesterday: 'E', '24h': 'H', '7d': 'W', '28d': 'F', '30d': 'T', '90d': 'N', month: 'M', lastmonth: 'P', '12mo': 'L', year: 'Y', all: 'A' };
export const keys = Object.fromEntries(Object.entries(letters).map(([period, letter]) => [letter.toLowerCase(), period]));

const iso = (d) => d.toISOString().slice(0, 10);
const at = (text) => new Date(text + 'T00:00:00Z');
const isDay = (text) => /^\d{4}-\d\d-\d\d$/.test(text ?? '') && !Number.isNaN(at(text).getTime());

export function plus(day, n) {
	const d = at(day);
	d.setUTCDate(d.getUTCDate() + n);
	return iso(d);
}

// today is the day by the clock of the site.
export function today(timezone) {
	return new Intl.DateTimeFormat('sv-SE', { timeZone: timezone || 'UTC', year: 'numeric', month: '2-digit', day: '2-digit' }).format(new Date());
}

function lastMonth(timezone) {
	const end = plus(today(timezone).slice(0, 8) + '01', -1);
	return { start_date: end.slice(0, 8) + '01', end_date: end };
}

// params are those of a request for the range of the state.
export function params(state, timezone) {
	if (state.period === 'custom' && isDay(state.from) && isDay(state.to)) return { start_date: state.from, end_date: state.to };
	if (state.period === 'lastmonth') return lastMonth(timezone);
	return { period: periods.includes(state.period) ? state.period : '28d' };
}

// days are the first and the last day of the state; null: all of time.
export function days(state, timezone) {
	const p = params(state, timezone), now = today(timezone);
	if (p.start_date) return [p.start_date, p.end_date];
	switch (p.period) {
	case 'today': return [now, now];
	case '24h': return null;
	case 'yesterday': return [plus(now, -1), plus(now, -1)];
	case 'month': { const next = at(now.slice(0, 8) + '01'); next.setUTCMonth(next.getUTCMonth() + 1); return [now.slice(0, 8) + '01', plus(iso(next), -1)]; }
	case 'year': return [now.slice(0, 5) + '01-01', now.slice(0, 5) + '12-31'];
	case '12mo': { const first = at(now.slice(0, 8) + '01'); first.setUTCMonth(first.getUTCMonth() - 11); return [iso(first), now]; }
	case 'all': return null;
	default: return [plus(now, 1 - parseInt(p.period, 10)), now];
	}
}

// intervals are those that make sense for so many days, the best first.
export function intervals(state, timezone) {
	const span = days(state, timezone);
	const n = span ? (at(span[1]) - at(span[0])) / 86_400_000 + 1 : state.period === '24h' ? 1 : 10_000;
	if (n <= 1) return ['hour', 'minute'];
	if (n <= 3) return ['day', 'hour', 'minute'];
	if (n <= 31) return ['day', 'hour', 'week'];
	if (n <= 92) return ['day', 'week', 'hour', 'month'];
	if (n <= 800) return ['month', 'week', 'day'];
	return ['month', 'week'];
}

export const comparable = (state) => state.period !== 'all';

// move goes to the range before or after, of the same length.
export function move(state, timezone, by) {
	const span = days(state, timezone);
	if (!span) return;
	const n = Math.round((at(span[1]) - at(span[0])) / 86_400_000) + 1;
	const from = plus(span[0], by * n), to = plus(span[1], by * n), now = today(timezone);
	if (from > now) return;
	if (n === 1 && from === now) return go({ period: 'today', from: '', to: '', interval: '' });
	go({ period: 'custom', from, to: to > now ? now : to, interval: '' });
}

export function label(state) {
	if (state.period === 'custom' && isDay(state.from) && isDay(state.to)) return range(state.from, state.to);
	return t('period.' + (periods.includes(state.period) ? state.period : '28d'));
}

export function customDialog(state, timezone) {
	const span = days(state, timezone) ?? [plus(today(timezone), -27), today(timezone)];
	const from = h('input', { type: 'date', value: span[0], max: today(timezone), required: true, id: 'from' });
	const to = h('input', { type: 'date', value: span[1], required: true, id: 'to' });
	const say = h('p', { class: 'bad', role: 'alert' });
	dialog(t('period.custom'), (close) => h('form', {
		onsubmit: (e) => {
			e.preventDefault();
			if (from.value > to.value) return put(say, t('period.order'));
			close();
			go({ period: 'custom', from: from.value, to: to.value, interval: '' });
		},
	}, h('div', { class: 'row' },
		h('p', { class: 'field' }, h('label', { for: 'from' }, t('period.from')), from),
		h('p', { class: 'field' }, h('label', { for: 'to' }, t('period.to')), to)),
	say, h('p', { class: 'actions' }, h('button', { type: 'submit' }, t('apply')))));
}

// picker is the menu of ranges, with arrows, and the comparison where there is one.
export function picker(state, timezone, comparing = true) {
	const span = days(state, timezone);
	const entries = periods.map((p) => ({ href: link({ period: p, from: '', to: '', interval: '' }), text: t('period.' + p), key: letters[p], on: state.period === p }));
	entries.push({ text: t('period.custom'), key: 'C', on: state.period === 'custom', run: () => customDialog(state, timezone) });
	const compare = h('select', {
		'aria-label': t('compare'), value: state.compare, disabled: !comparable(state),
		onchange: (e) => go({ compare: e.target.value }),
	}, options(['previous_period', 'year_over_year', 'none'].map((v) => [v, t('compare.' + v)]), state.compare));
	return h('div', { class: 'period' },
		span && h('button', { class: 'quiet icon', type: 'button', 'aria-label': t('period.back'), title: t('period.back') + ' (←)', onclick: () => move(state, timezone, -1) }, '‹'),
		menu(label(state), entries, { id: 'period', title: span ? `${date(span[0])} – ${date(span[1])}` : '' }),
		span && h('button', { class: 'quiet icon', type: 'button', 'aria-label': t('period.forward'), title: t('period.forward') + ' (→)', disabled: span[1] >= today(timezone), onclick: () => move(state, timezone, 1) }, '›'),
		comparing && compare);
}
