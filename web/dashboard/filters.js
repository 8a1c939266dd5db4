// Filters. In the address they are in the short form of /api/stats
// (country==DE|AT;page~/blog/), or, once there is an "or" or a "not" around
// several, JSON as of POST /api/v2/query. Here they are a tree:
//
//	{ dim, op, values }    op is == != ~ or !~; the value (unknown) is nothing known
//	{ all: [tree…] }  { any: [tree…] }  { not: tree }
//	{ raw: … }             a filter of v2 that this page cannot edit

// v2 is what a dimension is called in the grammar of v2, and what it calls that nothing is known.
const v2 = {
	page: ['event:page', '(not set)'], 'entry-page': ['visit:entry_page', '(not set)'], 'exit-page': ['visit:exit_page', '(not set)'],
	hostname: ['event:hostname', '(not set)'], 'entry-hostname': ['visit:entry_page_hostname', '(not set)'], 'exit-hostname': ['visit:exit_page_hostname', '(not set)'],
	title: ['event:title', '(not set)'], source: ['visit:source', 'Direct / None'], channel: ['visit:channel', 'Direct'],
	referrer: ['visit:referrer', 'Direct / None'], 'utm-source': ['visit:utm_source', '(not set)'], 'utm-medium': ['visit:utm_medium', '(not set)'],
	'utm-campaign': ['visit:utm_campaign', '(not set)'], 'utm-content': ['visit:utm_content', '(not set)'], 'utm-term': ['visit:utm_term', '(not set)'],
	country: ['visit:country', '(not set)'], region: ['visit:region', '(not set)'], 'region-name': ['visit:region_name', '(not set)'],
	city: ['visit:city_name', '(not set)'], language: ['visit:language', '(not set)'], device: ['visit:device', '(not set)'],
	browser: ['visit:browser', '(not set)'], 'browser-version': ['visit:browser_version', '(not set)'], os: ['visit:os', '(not set)'],
	'os-version': ['visit:os_version', '(not set)'], event: ['event:name', ''], goal: ['event:goal', ''],
};
const ours = Object.fromEntries(Object.entries(v2).map(([dim, [name]]) => [name, dim]));

export const unknown = '(unknown)';
export const dimensions = Object.keys(v2);
export const operators = ['==', '!=', '~', '!~'];
const words = { '==': 'is', '!=': 'is_not', '~': 'contains', '!~': 'contains_not' };
const signs = Object.fromEntries(Object.entries(words).map(([sign, word]) => [word, sign]));

const isLeaf = (tree) => tree.dim !== undefined;

// cut splits at a separator that no backslash stands before.
function cut(text, separator) {
	const parts = [''];
	for (let i = 0; i < text.length; i++) {
		if (text[i] === '\\' && i + 1 < text.length) parts[parts.length - 1] += text[i] + text[++i];
		else if (text[i] === separator) parts.push('');
		else parts[parts.length - 1] += text[i];
	}
	return parts;
}

const unescape = (text) => text.replace(/\\(.)/g, '$1');
const escape = (text) => text === unknown ? text : text.replace(/[\\;|=!~,*]/g, '\\$&');
const escapeDim = (text) => text.replace(/[\\;|=!~]/g, '\\$&');

function leaf(text) {
	const m = /^((?:[^\\=!~]|\\.)+?)(==|!=|!~|~)(.*)$/s.exec(text);
	return m && { dim: unescape(m[1]), op: m[2], values: cut(m[3], '|').map(unescape) };
}

// parse reads what the address has. What is no filter is left out: an address is
// typed by people.
export function parse(text) {
	if (!text) return [];
	if (text[0] !== '[') return cut(text, ';').map(leaf).filter(Boolean);
	try {
		return JSON.parse(text).map(fromV2);
	} catch {
		return [];
	}
}

// print writes it, in the short form if that is enough.
export function print(list) {
	if (!list.length) return '';
	if (list.every((tree) => isLeaf(tree))) {
		return list.map(({ dim, op, values }) => escapeDim(dim) + op + values.map(escape).join('|')).join(';');
	}
	return JSON.stringify(list.map(toV2));
}

export function toV2(tree) {
	if (tree.raw) return tree.raw;
	if (tree.all) return ['and', tree.all.map(toV2)];
	if (tree.any) return ['or', tree.any.map(toV2)];
	if (tree.not) return ['not', toV2(tree.not)];
	const { dim, op, values } = tree;
	const [name, missing] = dim.startsWith('prop:') ? ['event:props:' + dim.slice(5), '(none)'] : v2[dim] ?? [dim, ''];
	const value = (v) => v === unknown ? missing : dim === 'device' ? (v === 'tv' ? 'TV' : v[0].toUpperCase() + v.slice(1)) : v;
	return [words[op], name, values.map(value), ...(op.endsWith('~') ? [{ case_sensitive: false }] : [])];
}

export function fromV2(clause) {
	const [op, what, values, more] = clause;
	if (op === 'and') return { all: what.map(fromV2) };
	if (op === 'or') return { any: what.map(fromV2) };
	if (op === 'not') return { not: fromV2(what) };
	const dim = String(what).startsWith('event:props:') ? 'prop:' + what.slice(12) : ours[what];
	const insensitive = more?.case_sensitive === false;
	if (!dim || !signs[op] || !Array.isArray(values) || insensitive !== op.startsWith('contains')) return { raw: clause };
	const missing = dim.startsWith('prop:') ? '(none)' : v2[dim][1];
	const value = (v) => v === missing ? unknown : dim === 'device' ? String(v).toLowerCase() : String(v);
	return { dim, op: signs[op], values: values.map(value) };
}

// has says whether a filter at the top is on a dimension.
export const has = (list, dim) => list.some((tree) => tree.dim === dim && !tree.op.startsWith('!'));

// add puts a condition to a list; one that asks the same of the same dimension
// is widened by the value.
export function add(list, dim, value, op = '==') {
	const v = value ?? unknown;
	const old = list.find((tree) => tree.dim === dim && tree.op === op);
	if (!old) return [...list, { dim, op, values: [v] }];
	if (old.values.includes(v)) return list;
	return list.map((tree) => tree === old ? { ...old, values: [...old.values, v] } : tree);
}

export const without = (list, tree) => list.filter((other) => other !== tree);
