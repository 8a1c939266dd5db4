// The list of what happens just now: the newest events first, as they come.

import { h, put } from './dom.js';
import { t, time, money } from './i18n.js';
import { nameOf, signOf } from './names.js';
import { narrowed } from './panel.js';
import { follow } from './stream.js';

const MOST = 50; // rows
const TOLD = 15_000; // ms between two words to who does not see the list

const cell = (dim, value, cls) => h('td', { class: cls }, value !== null && h('a', { href: narrowed(dim, value), title: nameOf(dim, value) },
	signOf(dim, value) && h('span', { class: 'sign', 'aria-hidden': 'true' }, signOf(dim, value), ' '), nameOf(dim, value)));

function rowOf(e) {
	const paid = e.revenue !== null && money(e.revenue, e.currency);
	return h('tr', null, h('td', { class: 'num' }, time(e.time)),
		h('th', { scope: 'row' }, e.name === 'pageview' ? t('live.pageview') : h('a', { class: 'tag', href: narrowed('events', e.name) }, e.name), paid && [' ', h('span', { class: 'paid' }, paid)]),
		cell('pages', e.path, 'page'), cell('sources', e.source, 'wide'), cell('countries', e.country, 'wide'), cell('devices', e.device, 'wide'));
}

const gap = (m) => h('tr', { class: 'gap' }, h('td', { colspan: 6 }, m.events ? t(m.exact ? 'live.missed' : 'live.missed.least', { n: m.events }) : t('live.missed.some')));

// live is a card that follows a site from update on, and shows nothing new while it is
// paused, pointed at, or the keyboard is in it. It calls happened for each event.
export function live(happened) {
	const body = h('tbody', null), state = h('p', { class: 'waiting soft' }), told = h('p', { class: 'hidden', 'aria-live': 'polite' });
	const pause = h('button', { type: 'button', class: 'quiet', 'aria-pressed': 'false' });
	const scroll = h('div', { class: 'livebox' }, h('table', { class: 'livelist' }, h('caption', { class: 'hidden' }, t('live.title')),
		h('thead', null, h('tr', null, h('th', { scope: 'col', class: 'num' }, t('live.time')), h('th', { scope: 'col' }, t('dim1.event')), h('th', { scope: 'col' }, t('dim1.page')),
			h('th', { scope: 'col', class: 'wide' }, t('dim1.source')), h('th', { scope: 'col', class: 'wide country' }, t('dim1.country')), h('th', { scope: 'col', class: 'wide' }, t('dim1.device')))), body));
	const el = h('section', { class: 'card pad live-card', 'aria-label': t('live.title') }, h('header', null, h('h2', null, t('live.title')), state, h('span', { class: 'grow' }), pause), scroll, told);

	let held = [], came = 0, untold = 0, paused = false, pointed = false, inside = false, how = '', problem, teller, stop;
	const holding = () => paused || pointed || inside;
	const say = () => {
		const n = held.filter((x) => x.name).length;
		state.classList.toggle('still', paused || how === 'over');
		put(state, how === 'over' ? problem.message : how === 'lost' ? t('live.lost') : holding() && (paused || n) ? t('live.held', { n }) : came ? '' : t('live.waiting'));
		state.hidden = !state.textContent;
		put(pause, t(paused ? 'live.go' : 'live.pause'));
		pause.setAttribute('aria-pressed', String(paused));
	};
	const show = () => {
		if (!holding()) {
			for (const x of held.splice(0)) body.prepend(x.name ? rowOf(x) : gap(x));
			while (body.rows.length > MOST) body.lastChild.remove();
		}
		scroll.hidden = !body.rows.length;
		say();
	};
	const add = (x) => {
		held.push(x);
		if (held.length > MOST) held.shift(); // it would go from the list too
		came++;
		show();
	};
	const tell = () => {
		if (untold) put(told, t('live.new', { n: untold }));
		untold = 0;
	};
	pause.addEventListener('click', () => { paused = !paused; show(); });
	scroll.addEventListener('pointerenter', (e) => { pointed = e.pointerType === 'mouse'; show(); });
	scroll.addEventListener('pointerleave', () => { pointed = false; show(); });
	scroll.addEventListener('focusin', () => { inside = true; show(); });
	scroll.addEventListener('focusout', () => { inside = false; show(); });

	const close = () => { stop?.abort(); clearInterval(teller); };
	return {
		el,
		update(params) {
			close();
			stop = new AbortController();
			teller = setInterval(tell, TOLD);
			[held, came, untold, how, problem] = [[], 0, 0, '', undefined];
			body.replaceChildren();
			show();
			follow(params, {
				event(e) {
					if (e.name === 'engagement') return; // it says how the page before it was read
					untold++;
					add(e);
					happened();
				},
				missed: add,
				state(s, why) {
					if (s === how) return;
					[how, problem] = [s, why];
					say();
				},
			}, stop.signal);
		},
		close,
	};
}
