// Texts, numbers and dates as the reader knows them. Texts are in texts/, one
// file for a language; what a language lacks is English.

import en from './texts/en.js';
import { kept } from './dom.js';

export const languages = [['en', 'English'], ['de', 'Deutsch']];

const wanted = kept.get('lang') ?? navigator.language.slice(0, 2);
export const lang = languages.some(([id]) => id === wanted) ? wanted : 'en';
const texts = lang === 'en' ? en : { ...en, ...(await import(`./texts/${lang}.js`)).default };
// Numbers and dates are of the reader's own place, as far as its language is that of the texts.
const locale = navigator.languages.find((l) => l.startsWith(lang)) ?? lang;
document.documentElement.lang = lang;

// t is a text, with what is in braces replaced. {n} of "one | many" chooses.
export function t(key, vars) {
	let text = texts[key];
	if (text === undefined) return key;
	if (vars?.n !== undefined && text.includes(' | ')) text = text.split(' | ')[Number(vars.n) === 1 ? 0 : 1];
	return text.replace(/\{(\w+)\}/g, (all, name) => {
		const v = vars?.[name];
		return v === undefined ? all : typeof v === 'number' ? number(v) : v;
	});
}

export const has = (key) => texts[key] !== undefined;

const plain = new Intl.NumberFormat(locale, { maximumFractionDigits: 1 });
const compact = new Intl.NumberFormat(locale, { notation: 'compact', maximumFractionDigits: 1 });
const percents = new Intl.NumberFormat(locale, { style: 'percent', maximumFractionDigits: 1 });
const signed = new Intl.NumberFormat(locale, { maximumFractionDigits: 0 });

export const number = (n) => plain.format(n);
export const short = (n) => Math.abs(n) < 10_000 ? plain.format(n) : compact.format(n);
export const percent = (n) => percents.format(n / 100);
// A change is percent, that of a rate percentage points.
export const change = (n, rate) => `${signed.format(Math.abs(n))} ${rate ? t('points') : '%'}`;

export function bytes(n) {
	const units = ['byte', 'kilobyte', 'megabyte', 'gigabyte', 'terabyte'];
	const at = n > 0 ? Math.min(4, Math.floor(Math.log10(n) / 3)) : 0;
	return new Intl.NumberFormat(locale, { style: 'unit', unit: units[at], unitDisplay: 'short', maximumFractionDigits: 1 }).format(n / 1000 ** at);
}

export function duration(seconds) {
	const whole = Math.round(seconds), min = Math.floor(whole / 60);
	if (min >= 60) return t('duration.hours', { h: String(Math.floor(min / 60)), m: String(min % 60) });
	return min ? t('duration.minutes', { m: String(min), s: String(whole % 60) }) : t('duration.seconds', { s: String(whole) });
}

export const money = (n, currency) => currency ? new Intl.NumberFormat(locale, { style: 'currency', currency }).format(n) : plain.format(n);

const kinds = {
	visit_duration: duration, time_on_page: duration,
	bounce_rate: percent, conversion_rate: percent, group_conversion_rate: percent, percentage: percent, exit_rate: percent, scroll_depth: percent,
};

// figure writes a metric; null is what nobody knows.
export function figure(metric, value, currency, long = false) {
	if (value === null || value === undefined) return '–';
	if (metric.endsWith('_revenue')) return money(value, currency);
	return (kinds[metric] ?? (long ? number : short))(value);
}

// Days are the site's and not moments: they are written as if of UTC.
const day = (text) => new Date(text + 'T00:00:00Z');
const style = (o) => new Intl.DateTimeFormat(locale, { timeZone: 'UTC', ...o });
const long = style({ weekday: 'short', day: 'numeric', month: 'short', year: 'numeric' });
const medium = style({ day: 'numeric', month: 'short' });
const dated = style({ day: 'numeric', month: 'short', year: 'numeric' });
const month = style({ month: 'long', year: 'numeric' });
const clock = style({ hour: 'numeric', minute: '2-digit' });

export const date = (text) => dated.format(day(text));
export const range = (a, b) => a === b ? long.format(day(a)) : dated.formatRange(day(a), day(b));
export const time = (text) => new Intl.DateTimeFormat(locale, { timeStyle: 'medium' }).format(new Date(text));
export const moment = (text) => new Intl.DateTimeFormat(locale, { dateStyle: 'medium', timeStyle: 'medium' }).format(new Date(text));

// point writes where an interval begins: the date of a timeseries.
export function point(text, interval, full = false) {
	const at = new Date(text.length > 10 ? text.replace(' ', 'T') + 'Z' : text + 'T00:00:00Z');
	if (interval === 'hour' || interval === 'minute') return full ? `${medium.format(at)}, ${clock.format(at)}` : clock.format(at);
	if (interval === 'month') return month.format(at);
	if (!full) return medium.format(at);
	return interval === 'week' ? t('chart.week', { date: dated.format(at) }) : long.format(at);
}

function namer(type) {
	const names = new Intl.DisplayNames([lang], { type, fallback: 'code' });
	return (code) => { try { return names.of(code); } catch { return code; } };
}

export const country = namer('region');
export const language = namer('language');
export const sorted = (list, by) => list.toSorted((a, b) => by(a).localeCompare(by(b), locale));
