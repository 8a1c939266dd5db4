// A view with a form of its own above what it asks for: funnels, retention and
// journeys are made of it.

import { h, put } from './dom.js';
import { t } from './i18n.js';
import { picker } from './period.js';
import { filterbar } from './filterbar.js';
import { retry } from './panel.js';

// frame returns a view. form(state) makes the form; ask(state, signal) asks and
// returns what to show, or null if there is nothing to ask for yet.
export function frame(ctx, title, { dates = true, hint, form, ask, key }) {
	const bar = h('div', { class: 'toolbar' }), chips = filterbar(ctx), controls = h('div', { class: 'controls' }), body = h('div', { class: 'answer' });
	const el = h('div', null, bar, chips.el, h('section', { class: 'card pad' }, controls, body));
	let stop = new AbortController(), shown;
	const load = (state) => {
		stop.abort();
		stop = new AbortController();
		const { signal } = stop;
		body.classList.add('loading');
		Promise.resolve().then(() => ask(state, signal)).then((made) => {
			if (signal.aborted) return;
			put(body, made ?? h('div', { class: 'empty' }, h('p', { class: 'soft' }, hint)));
			body.classList.remove('loading');
		}, (err) => {
			if (signal.aborted) return;
			put(body, retry(err, () => load(state)));
			body.classList.remove('loading');
		});
	};
	return {
		el,
		update(state) {
			put(bar, h('h1', { class: 'title' }, t(title)), h('span', { class: 'grow' }), dates && picker(state, ctx.site.timezone, false));
			chips.update(state);
			put(controls, form(state));
			const now = JSON.stringify(key(state));
			if (now === shown) return;
			shown = now;
			load(state);
		},
		close() { stop.abort(); },
	};
}
