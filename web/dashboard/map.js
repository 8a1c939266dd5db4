// The map of the world: a country is as dark as it has visitors, and leads to
// the page filtered by it. Screen readers get the list beside it instead.

import { h, s, put } from './dom.js';
import { get } from './api.js';
import { figure, t } from './i18n.js';
import { nameOf } from './names.js';
import { narrowed } from './panel.js';
import { visit } from './state.js';

let shapes; // asked for once

export function worldmap(rows) {
	const counts = new Map(rows.map((r) => [r.value, r.visitors]));
	const most = Math.max(1, ...counts.values());
	const say = h('p', { class: 'mapsay soft', 'aria-hidden': 'true' }, t('map.hint'));
	const box = h('div', { class: 'map', role: 'img', 'aria-label': t('map.label', { n: rows.filter((r) => r.value).length }) });
	shapes ??= get('/vendor/world/world.json');
	shapes.then((world) => {
		const look = (code) => {
			const n = counts.get(code);
			return { 'data-code': code, class: n ? 'some' : '', css: n ? { '--heat': String(Math.round(25 + 75 * Math.sqrt(n / most))) + '%' } : {} };
		};
		const svg = s('svg', { viewBox: `0 0 ${world.width} ${world.height}`, preserveAspectRatio: 'xMidYMid meet' },
			Object.entries(world.paths).map(([code, d]) => s('path', { d, ...look(code) })),
			Object.entries(world.points).filter(([code]) => counts.has(code)).map(([code, [x, y]]) => s('circle', { cx: x, cy: y, r: 9, ...look(code) })));
		svg.addEventListener('pointerover', (e) => {
			const code = e.target.dataset?.code;
			put(say, code ? `${/^[A-Z]{2}$/.test(code) ? nameOf('countries', code) : code}: ${figure('visitors', counts.get(code) ?? 0)}` : t('map.hint'));
		});
		svg.addEventListener('click', (e) => { if (counts.has(e.target.dataset?.code)) visit(narrowed('countries', e.target.dataset.code)); });
		put(box, svg);
	}, () => { shapes = undefined; put(box, h('p', { class: 'soft' }, t('map.missing'))); });
	return h('div', null, box, say);
}
