// Menus and dialogs: a button with a list under it, and what lies over the page.

import { h, put, uid } from './dom.js';
import { t } from './i18n.js';

// menu is a button that shows a list of links and buttons: { text, href or run,
// on, key }. Escape and a click elsewhere close it; the arrows move in it.
export function menu(label, entries, { id, title, class: kind = 'quiet' } = {}) {
	const list = h('ul', { class: 'menu', hidden: true, id: uid('menu') });
	const button = h('button', { type: 'button', class: kind + ' drop', 'aria-expanded': 'false', 'aria-controls': list.id, id, title }, label);
	const box = h('div', { class: 'menubox' }, button, list);
	const open = (yes) => {
		list.hidden = !yes;
		button.setAttribute('aria-expanded', String(yes));
		if (!yes) return;
		list.classList.toggle('left', box.getBoundingClientRect().left + list.offsetWidth > innerWidth - 8);
		(list.querySelector('[aria-current]') ?? list.querySelector('a, button'))?.focus();
	};
	put(list, entries.map((e) => e === null ? h('li', { role: 'separator' }) : h('li', null, h(e.href ? 'a' : 'button', {
		href: e.href, type: e.href ? null : 'button', 'aria-current': e.on ? 'true' : null,
		onclick: () => { open(false); button.focus(); e.run?.(); },
	}, h('span', null, e.text), e.key && h('kbd', { 'aria-hidden': 'true' }, e.key)))));
	button.addEventListener('click', () => open(list.hidden));
	box.addEventListener('keydown', (e) => {
		if (list.hidden) return;
		if (e.key === 'Escape') { open(false); button.focus(); e.stopPropagation(); return; }
		const step = { ArrowDown: 1, ArrowUp: -1 }[e.key];
		if (!step) return;
		e.preventDefault();
		const all = [...list.querySelectorAll('a, button')];
		all.at((all.indexOf(document.activeElement) + step) % all.length).focus();
	});
	box.addEventListener('focusout', (e) => { if (e.relatedTarget && !box.contains(e.relatedTarget)) open(false); });
	document.addEventListener('pointerdown', function away(e) {
		if (!box.isConnected) return document.removeEventListener('pointerdown', away);
		if (!box.contains(e.target)) open(false);
	});
	return box;
}

// dialog shows what fill makes over the page. It is gone when it is closed.
export function dialog(title, fill, { class: kind = '', onclose } = {}) {
	const heading = uid('title');
	const box = h('dialog', { class: kind, 'aria-labelledby': heading });
	const close = () => box.close();
	put(box, h('header', null, h('h2', { id: heading }, title),
		h('button', { type: 'button', class: 'quiet icon', 'aria-label': t('close'), onclick: close }, '×')), fill(close, box));
	box.addEventListener('click', (e) => { if (e.target === box) close(); });
	box.addEventListener('close', () => { box.remove(); onclose?.(); });
	document.body.append(box);
	box.showModal();
	return { box, close };
}

// ask shows a question and says whether the answer was yes.
export function ask(title, text, yes) {
	return new Promise((resolve) => {
		let answer = false;
		dialog(title, (close) => h('div', null, h('p', null, text), h('p', { class: 'actions' },
			h('button', { type: 'button', class: 'quiet', onclick: close }, t('cancel')),
			h('button', { type: 'button', class: 'danger', onclick: () => { answer = true; close(); } }, yes))), { onclose: () => resolve(answer) });
	});
}

// notice says for a moment what was done; screen readers say it too.
export function notice(text, bad = false) {
	let box = document.getElementById('notices');
	if (!box) document.body.append(box = h('div', { id: 'notices', role: 'status', 'aria-live': 'polite' }));
	const line = h('p', { class: bad ? 'bad' : '' }, text);
	box.append(line);
	setTimeout(() => line.remove(), 6000);
}
