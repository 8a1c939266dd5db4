// Elements without innerHTML, which the page's policy does not allow.

const SVG = 'http://www.w3.org/2000/svg';

function fill(el, attrs, kids) {
	for (const [name, value] of Object.entries(attrs ?? {})) {
		if (value === undefined || value === null || value === false) continue;
		if (name.startsWith('on')) el.addEventListener(name.slice(2), value);
		else if (name === 'css') for (const [k, v] of Object.entries(value)) el.style.setProperty(k, v);
		else if (name === 'value' && 'value' in el) el.value = value;
		else el.setAttribute(name, value === true ? '' : String(value));
	}
	append(el, kids);
	return el;
}

function append(el, kids) {
	for (const kid of kids.flat(Infinity)) {
		if (kid === undefined || kid === null || kid === false) continue;
		el.append(kid);
	}
}

// h makes an element: attributes, on… listeners, css: custom properties, children.
export const h = (tag, attrs, ...kids) => {
	const el = fill(document.createElement(tag), attrs, kids);
	if (tag === 'select' && attrs?.value !== undefined) el.value = attrs.value; // its options are there only now
	return el;
};

// s makes an element of SVG.
export const s = (tag, attrs, ...kids) => fill(document.createElementNS(SVG, tag), attrs, kids);

// put replaces what is in an element.
export function put(el, ...kids) {
	el.replaceChildren();
	append(el, kids);
	return el;
}

let ids = 0;
export const uid = (prefix) => `${prefix}-${++ids}`;

// field is a labelled input; hint is read out with it.
export function field(label, input, hint) {
	const id = input.id || (input.id = uid('f'));
	if (!hint) return h('p', { class: 'field' }, h('label', { for: id }, label), input);
	const about = uid('hint');
	input.setAttribute('aria-describedby', about);
	return h('p', { class: 'field' }, h('label', { for: id }, label), input, h('small', { id: about, class: 'soft' }, hint));
}

// options makes those of a select out of [value, text] pairs.
export const options = (pairs, chosen) => pairs.map(([value, text]) => h('option', { value, selected: value === chosen }, text));

export function later(fn, ms) {
	let timer;
	return (...args) => { clearTimeout(timer); timer = setTimeout(() => fn(...args), ms); };
}

// save gives the reader a file.
export function save(name, parts, type) {
	const url = URL.createObjectURL(new Blob(parts, { type }));
	h('a', { href: url, download: name }).click();
	setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

// storage may be off, or full: then what was chosen holds for this page.
export const kept = {
	get(key) { try { return localStorage.getItem('eider.' + key); } catch { return null; } },
	set(key, value) {
		try {
			if (value === null || value === '') localStorage.removeItem('eider.' + key);
			else localStorage.setItem('eider.' + key, value);
		} catch { /* see above */ }
	},
};
