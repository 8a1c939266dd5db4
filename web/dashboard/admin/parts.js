// What the pages of the administration are made of.

import { h, put } from '../dom.js';
import { t } from '../i18n.js';
import { retry } from '../panel.js';
import { ask, notice } from '../menu.js';

export const card = (title, ...kids) => h('section', { class: 'card pad' }, title && h('h2', null, title), kids);

// tableOf writes rows under heads; a row is a list of cells. What is empty says so.
export function tableOf(heads, rows, none) {
	if (!rows.length) return h('p', { class: 'soft' }, none ?? t('empty'));
	return h('div', { class: 'scrollx', tabindex: 0, role: 'region', 'aria-label': heads[0] }, h('table', { class: 'figurestable' },
		h('thead', null, h('tr', null, heads.map((x) => h('th', { scope: 'col' }, x || h('span', { class: 'hidden' }, t('actions')))))),
		h('tbody', null, rows.map((cells) => h('tr', null, cells.map((c, i) => i === 0 ? h('th', { scope: 'row' }, c) : c instanceof Node && c.tagName === 'TD' ? c : h('td', null, c)))))));
}

export const acts = (...kids) => h('td', { class: 'acts' }, kids);
export const button = (text, onclick, kind = 'quiet') => h('button', { type: 'button', class: kind, onclick }, text);

// loading fills a box with what load returns, or with what went wrong.
export async function loading(box, load) {
	try {
		put(box, await load());
	} catch (err) {
		put(box, retry(err, () => loading(box, load)));
	}
	return box;
}

export const box = (load) => { const el = h('div', null, h('p', { class: 'soft' }, '…')); loading(el, load); return el; };

// form is one that does what act says and tells what went wrong.
export function form(act, submit, ...kids) {
	const say = h('p', { class: 'bad', role: 'alert' });
	const go = h('button', { type: 'submit' }, submit);
	return h('form', {
		class: 'stack',
		onsubmit: async (e) => {
			e.preventDefault();
			go.disabled = true;
			put(say);
			try {
				await act(e.target.elements);
			} catch (err) {
				put(say, err.message);
			}
			go.disabled = false;
		},
	}, kids, say, h('p', { class: 'actions' }, go));
}

// sure does something once the reader has said yes.
export async function sure(title, text, yes, act) {
	if (!await ask(title, text, yes)) return;
	try {
		await act();
	} catch (err) {
		notice(err.message, true);
	}
}

// secret shows what is shown once, with a way to copy it.
export function secret(title, value) {
	return h('div', { class: 'card pad', role: 'status' }, h('p', null, h('strong', null, title)), h('pre', { class: 'secret' }, value), copy(value));
}

export const copy = (text) => button(t('copy'), async () => {
	try {
		await navigator.clipboard.writeText(text);
		notice(t('copied'));
	} catch {
		notice(t('copy.failed'), true);
	}
});
