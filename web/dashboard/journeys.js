// Journeys: which way visits go from a page, or came to it. A station can be made
// the start; lines show where those of a station went.

import { h, s, put, options, uid } from './dom.js';
import { report } from './api.js';
import { t, number, percent } from './i18n.js';
import { go, link } from './state.js';
import { base } from './overview.js';
import { frame } from './frame.js';
import { nameOf } from './names.js';

function station(node, dim, chosen) {
	const name = node.kind === 'value' ? nameOf(dim, node.value) : t('flow.' + node.kind);
	const body = [h('span', { class: 'text', title: name }, name), h('span', { class: 'num' }, number(node.visits ?? node.visitors ?? node.users), h('small', { class: 'soft' }, ' ' + percent(node.share)))];
	const attrs = { class: 'station ' + node.kind, css: { '--share': `${node.share}%` } };
	return node.kind === 'value' && node.value && dim === 'pages' && !chosen ? h('a', { ...attrs, href: link({ start: 'page:' + node.value }) }, body) : h('div', attrs, body);
}

// lines draws the links between the columns once they have a place.
function lines(box, columns, steps) {
	const svg = s('svg', { class: 'flowlines', 'aria-hidden': 'true' });
	const place = () => {
		const o = box.getBoundingClientRect();
		svg.setAttribute('viewBox', `0 0 ${box.scrollWidth} ${box.scrollHeight}`);
		svg.style.width = box.scrollWidth + 'px';
		svg.style.height = box.scrollHeight + 'px';
		const at = (el, side) => { const r = el.getBoundingClientRect(); return [r[side] - o.left + box.scrollLeft, r.top + r.height / 2 - o.top]; };
		const most = Math.max(1, ...steps.flatMap((st) => st.links.map((l) => l.visits ?? l.visitors ?? l.users)));
		put(svg, steps.flatMap((st, i) => st.links.map((l) => {
			const [a, b] = [columns[i]?.[l.from], columns[i + 1]?.[l.to]];
			if (!a || !b) return null;
			const [x, y] = at(a, 'right'), [u, v] = at(b, 'left'), mid = (x + u) / 2;
			return s('path', { d: `M${x},${y}C${mid},${y} ${mid},${v} ${u},${v}`, 'stroke-width': String(1 + 9 * (l.visits ?? l.visitors ?? l.users) / most) });
		})));
	};
	box.prepend(svg);
	new ResizeObserver(place).observe(box);
	return svg;
}

function draw(a, backward) {
	const dim = a.dimension, columns = [];
	const steps = a.results.steps.filter((st) => st.nodes.length);
	const column = (nodes, title, first) => {
		const made = nodes.map((n) => station(n, dim, first));
		columns.push(made);
		return h('div', { class: 'column' }, h('h2', null, title), made);
	};
	const box = h('div', { class: 'flow', tabindex: 0, role: 'region', 'aria-label': t('nav.journeys') }, h('div', { class: 'columns' },
		column(a.results.start, t(backward ? 'flow.end' : 'flow.start'), true), steps.map((st, i) => column(st.nodes, t(backward ? 'flow.before' : 'flow.then', { i: i + 1 })))));
	lines(box, columns, steps);
	return box;
}

export function create(ctx) {
	const question = (state) => ({ ...base(ctx, state), start: state.start, direction: state.direction, steps: state.depth ?? '3', limit: 8, unit: 'visit' });
	return frame(ctx, 'nav.journeys', {
		hint: t('empty'), key: question,
		form(state) {
			const data = h('datalist', { id: uid('pages') });
			const start = h('input', { id: 'start', list: data.id, value: (state.start ?? '').replace(/^page:/, ''), placeholder: t('flow.anywhere') });
			start.addEventListener('focus', async () => {
				const { filters: _, segment: __, ...range } = base(ctx, state);
				const a = await report('/api/stats/breakdown/pages', { ...range, metrics: 'visitors', limit: 50 }).catch(() => ({ results: [] }));
				put(data, a.results.filter((r) => r.value).map((r) => h('option', { value: r.value })));
			});
			const choose = (name, values, text, chosen, label) => h('label', { class: 'inline' }, label, h('select', { onchange: (e) => go({ [name]: e.target.value }) }, options(values.map((v) => [v, text(v)]), chosen)));
			return h('form', { class: 'row', onsubmit: (e) => { e.preventDefault(); const v = start.value.trim(); go({ start: v && (v.startsWith('/') ? 'page:' + v : v) }); } },
				h('label', { class: 'inline', for: 'start' }, t('flow.page')), start, data, h('button', { type: 'submit', class: 'quiet' }, t('funnel.show')),
				state.start && h('a', { class: 'quietlink', href: link({ start: '' }) }, t('flow.all')), h('span', { class: 'grow' }),
				choose('direction', ['forward', 'backward'], (v) => t('flow.' + v), state.direction ?? 'forward', t('flow.direction')), choose('depth', ['1', '2', '3', '4', '5', '6'], String, state.depth ?? '3', t('flow.depth')));
		},
		async ask(state, signal) {
			const a = await report('/api/stats/flow', question(state), signal);
			return a.results.start.length ? draw(a, state.direction === 'backward') : null;
		},
	});
}
