// What values are called: countries and languages have names in the reader's
// language, and what is not known has a name too.

import { t, country, language } from './i18n.js';
import { unknown } from './filters.js';

const noValue = { sources: 'none.source', referrers: 'none.source', channels: 'none.channel' };

// plural finds the dimension of a breakdown by that of a filter.
export const plural = (dim) => dim.startsWith('prop:') || dim === 'os' ? dim : dim.endsWith('y') ? dim.slice(0, -1) + 'ies' : dim + 's';
export const singular = (dim) => dim.startsWith('prop:') || dim === 'os' ? dim : dim.endsWith('ies') ? dim.slice(0, -3) + 'y' : dim.replace(/s$/, '');

const flag = (code) => /^[A-Z]{2}$/.test(code) ? String.fromCodePoint(...[...code].map((c) => 0x1F1A5 + c.charCodeAt(0))) : '';

// nameOf writes a value of a dimension of breakdown.
export function nameOf(dim, value) {
	if (value === null || value === undefined || value === unknown) return t(noValue[dim] ?? 'none');
	if (value === '') return t('none');
	switch (dim) {
	case 'countries': return country(value);
	case 'languages': return language(value);
	case 'devices': return t('device.' + value) === 'device.' + value ? value : t('device.' + value);
	case 'regions': { const [of, rest] = value.split('-'); return rest ? `${value} (${country(of)})` : value; }
	default: return String(value);
	}
}

export const signOf = (dim, value) => dim === 'countries' && value ? flag(value) : '';
