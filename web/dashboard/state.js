// The address bar is the state: whoever has the address sees the same page.
// Only what differs from the defaults is written.

export const defaults = { view: 'overview', period: '28d', compare: 'previous_period', metric: 'visitors' };

const listeners = new Set();

export function read() {
	return { ...defaults, ...Object.fromEntries(new URLSearchParams(location.search)) };
}

function address(state) {
	const q = new URLSearchParams();
	for (const [k, v] of Object.entries(state)) {
		if (v === undefined || v === null || v === '' || v === defaults[k]) continue;
		q.set(k, v);
	}
	// What needs no escaping in a query stays as it is: the address is read by people.
	const text = q.toString().replaceAll('%2F', '/').replaceAll('%3A', ':').replaceAll('%2C', ',').replaceAll('%7C', '|').replaceAll('%3B', ';').replaceAll('%21', '!').replaceAll('%7E', '~');
	return location.pathname + (text ? '?' + text : '');
}

export const link = (patch) => address({ ...read(), ...patch });

// fresh is the address of another view: site and dates go with the reader, and how a
// page of others shows it in a frame.
export function fresh(view, patch = {}) {
	const { site, period, from, to, compare, filters, segment, embed, theme, background } = read();
	return address({ view, site, period, from, to, compare, filters, segment, embed, theme, background, ...patch });
}

// go changes the state. With replace there is no new entry in the history: for
// what is typed.
export function go(patch, replace = false) { visit(link(patch), replace); }

export function visit(url, replace = false) {
	if (url === location.pathname + location.search) return;
	history[replace ? 'replaceState' : 'pushState'](null, '', url);
	tell();
}

export function subscribe(fn) {
	listeners.add(fn);
	return () => listeners.delete(fn);
}

function tell() {
	const state = read();
	for (const fn of [...listeners]) fn(state);
}

addEventListener('popstate', tell);

// Links to the page itself change the state without loading it again.
document.addEventListener('click', (e) => {
	const a = e.target.closest?.('a[href]');
	if (!a || e.defaultPrevented || e.button || e.metaKey || e.ctrlKey || e.shiftKey || e.altKey || a.target || a.hasAttribute('download')) return;
	const url = new URL(a.href);
	if (url.origin !== location.origin || url.pathname !== location.pathname || url.hash) return;
	e.preventDefault();
	visit(url.pathname + url.search);
});
