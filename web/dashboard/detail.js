// All rows of a list, in a dialog: search, sorting, paging and CSV. What it shows
// is in the address, so that it can be linked to.

import { h, put, later, save } from './dom.js';
import { report } from './api.js';
import { t, number } from './i18n.js';
import { go, link } from './state.js';
import { row, nothing, retry, skeleton } from './panel.js';

const size = 50;
const most = 10_000; // rows of a CSV file
const keys = { detail: '', sort: '', search: '', page: '' };

let open; // { dim, close, update }

function metricsOf(dim, q) {
	if (q.goal) return ['visitors', 'group_conversion_rate', 'events'];
	if (dim === 'pages') return ['visitors', 'pageviews', 'bounce_rate', 'time_on_page', 'scroll_depth'];
	if (dim === 'exit-pages') return ['visitors', 'visits', 'exit_rate'];
	if (dim === 'events' || dim.startsWith('prop:')) return ['visitors', 'events'];
	return ['visitors', 'visits', 'bounce_rate', 'visit_duration'];
}

// quote writes a field of CSV. A text that a spreadsheet would take for a formula
// gets an apostrophe.
function quote(v) {
	let text = v === null || v === undefined ? '' : String(v);
	if (typeof v === 'string' && /^[=+\-@\t\r]/.test(text)) text = "'" + text;
	return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

async function csv(dim, ask, metrics, name) {
	const lines = [['value', ...metrics].join(',')];
	for (let page = 1; lines.length <= most; page++) {
		const { results, total_rows: total } = await ask(page, 1000);
		for (const r of results) lines.push([r.value, ...metrics.map((m) => r[m])].map(quote).join(','));
		if (!results.length || lines.length > total) break;
	}
	save(name, ['\ufeff', lines.join('\r\n'), '\r\n'], 'text/csv;charset=utf-8');
}

// detail shows the dialog that the state asks for, or takes it away.
export function detail(ctx, state, q) {
	if (open && open.dim !== state.detail) { open.silent = true; open.close(); open = undefined; }
	if (!state.detail) return;
	open ??= make(ctx, state.detail, state);
	open.update(state, q);
}

function make(ctx, dim, first) {
	const title = dim.startsWith('prop:') ? dim.slice(5) : t('dim.' + dim);
	const search = h('input', { type: 'search', 'aria-label': t('search'), placeholder: t('search'), value: first.search, oninput: later(() => go({ search: search.value, page: '' }, true), 250) });
	const body = h('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': title }, skeleton());
	const foot = h('footer', { class: 'row' }), download = h('button', { type: 'button', class: 'quiet' }, 'CSV');
	const heading = h('h2', { id: 'detail-title' }, title);
	const box = h('dialog', { class: 'detail', 'aria-labelledby': 'detail-title' }, h('header', null, heading, search, download,
		h('button', { type: 'button', class: 'quiet icon', 'aria-label': t('close'), onclick: () => box.close() }, '×')), body, foot);
	const self = { dim, silent: false, close: () => box.close(), update: (state, q) => show(self, state, q) };
	Object.assign(self, { ctx, search, body, foot, download, shown: '' });
	box.addEventListener('click', (e) => { if (e.target === box) box.close(); });
	box.addEventListener('close', () => {
		box.remove();
		if (self.silent) return;
		open = undefined;
		go(keys);
	});
	document.body.append(box);
	box.showModal();
	return self;
}

function head(metrics, state, dim) {
	const [by, way] = (state.sort || metrics[0]).split(':');
	const column = (m, text, kind) => {
		const on = by === m, down = on && (way ? way === 'desc' : m !== 'value');
		const next = m === 'value' ? (on && !down ? 'value:desc' : 'value') : on && down ? m + ':asc' : m;
		return h('th', { scope: 'col', class: kind, 'aria-sort': on ? (down ? 'descending' : 'ascending') : null },
			h('a', { href: link({ sort: next === metrics[0] ? '' : next, page: '' }) }, text, on && h('span', { 'aria-hidden': 'true' }, down ? ' ↓' : ' ↑')));
	};
	return h('thead', null, h('tr', null, column('value', dim.startsWith('prop:') ? dim.slice(5) : t('dim.' + dim), ''), metrics.map((m) => column(m, t('metric.' + m), 'num'))));
}

async function show(self, state, q) {
	const { dim, ctx, body, foot, download, search } = self;
	const metrics = metricsOf(dim, q), page = Math.max(1, Number(state.page) || 1);
	const key = q.key + [state.sort, state.search, page];
	if (key === self.shown) return;
	self.shown = key;
	if (document.activeElement !== search) search.value = state.search ?? '';
	body.classList.add('loading');
	const ask = (n, limit) => report('/api/stats/breakdown/' + encodeURIComponent(dim), { ...q.params, metrics: metrics.join(','), search: state.search, sort: state.sort, page: n, limit }, q.signal);
	download.onclick = async () => {
		download.disabled = true;
		try {
			await csv(dim, ask, metrics, `${ctx.site.domain}-${dim.replace(/\W+/g, '-')}.csv`);
		} catch (err) {
			put(foot, h('p', { class: 'bad', role: 'alert' }, err.message));
		}
		download.disabled = false;
	};
	try {
		const a = await ask(page, size);
		if (self.shown !== key) return;
		const top = Math.max(0, ...a.results.map((r) => r[metrics[0]] ?? 0));
		put(body, a.results.length ? h('table', { class: 'list' }, head(metrics, state, dim), h('tbody', null, a.results.map((r) => row(dim, r, metrics, top, a.currency)))) : nothing());
		const pages = Math.max(1, Math.ceil((a.total_rows ?? 0) / size));
		put(foot, h('span', { class: 'soft', role: 'status' }, t('rows', { n: a.total_rows ?? a.results.length })), h('span', { class: 'grow' }),
			pages > 1 && [page > 1 ? h('a', { href: link({ page: page > 2 ? page - 1 : '' }) }, '‹ ' + t('previous')) : null, h('span', null, `${number(page)} / ${number(pages)}`),
				page < pages ? h('a', { href: link({ page: page + 1 }) }, t('next') + ' ›') : null]);
	} catch (err) {
		if (q.signal.aborted || self.shown !== key) return;
		put(body, retry(err, () => { self.shown = ''; show(self, state, q); }));
	}
	body.classList.remove('loading');
}

