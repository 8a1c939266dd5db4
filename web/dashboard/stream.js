// The live stream of a site: GET /api/tail, read until told to stop. It is read by
// hand, because EventSource says neither why it ends nor when it was refused.

import { raw, query, Problem } from './api.js';

const SOON = 1000, LATE = 30_000; // ms before it is tried again: at first, at most
const QUIET = 40_000; // ms after which a server that says nothing is gone

const sleep = (ms, signal) => new Promise((done) => {
	const timer = setTimeout(done, ms);
	signal.addEventListener('abort', () => { clearTimeout(timer); done(); }, { once: true });
});

// shown waits until somebody can see the page. A browser has few connections to a
// server, and pages that nobody looks at must not have them all.
const shown = (signal) => new Promise((done) => {
	const look = () => {
		if (document.hidden && !signal.aborted) return;
		document.removeEventListener('visibilitychange', look);
		done();
	};
	document.addEventListener('visibilitychange', look);
	signal.addEventListener('abort', look, { once: true });
	look();
});

// messageOf reads what stands between two empty lines.
function messageOf(text) {
	const m = { kind: '', id: '', data: '' };
	for (const line of text.split('\n')) {
		const at = line.indexOf(':'), value = line.slice(at + 1).trimStart();
		if (line.startsWith('id:')) m.id = value;
		else if (line.startsWith('event:')) m.kind = value;
		else if (line.startsWith('data:')) m.data = value;
	}
	return m;
}

// read calls tell for each message of one answer, until it ends.
async function read(url, tell, signal) {
	const cut = new AbortController(), stop = () => cut.abort(), hide = () => { if (document.hidden) stop(); };
	let quiet;
	const heard = () => { clearTimeout(quiet); quiet = setTimeout(stop, QUIET); };
	signal.addEventListener('abort', stop, { once: true });
	document.addEventListener('visibilitychange', hide);
	try {
		heard();
		const res = await raw(url, { signal: cut.signal });
		const body = res.body.pipeThrough(new TextDecoderStream()).getReader();
		for (let text = ''; ;) {
			const { done, value } = await body.read();
			if (done) return;
			heard();
			text += value;
			for (let at; (at = text.indexOf('\n\n')) >= 0; text = text.slice(at + 2)) tell(messageOf(text.slice(0, at)));
		}
	} finally {
		clearTimeout(quiet);
		signal.removeEventListener('abort', stop);
		document.removeEventListener('visibilitychange', hide);
		stop();
	}
}

// follow calls on.event and on.missed for what the stream says, and on.state with
// live, lost (it is tried again) and over, which comes with the reason. It goes on
// where it was, until the signal.
export async function follow(params, on, signal) {
	let after, wait = SOON;
	const tell = (m) => {
		wait = SOON;
		on.state?.('live');
		if (m.id) after = m.id;
		if (!m.data || m.kind === 'end') return;
		(m.kind === 'missed' ? on.missed : on.event)?.(JSON.parse(m.data));
	};
	for (;;) {
		await shown(signal);
		if (signal.aborted) return;
		try {
			await read('/api/tail' + query({ ...params, after }), tell, signal);
		} catch (err) {
			if (signal.aborted) return;
			if (err instanceof Problem && err.status >= 400 && err.status < 500 && err.status !== 429) {
				on.state?.('over', err);
				return;
			}
		}
		if (document.hidden) continue;
		if (!signal.aborted) on.state?.('lost');
		await sleep(wait * (0.5 + Math.random() / 2), signal);
		wait = Math.min(2 * wait, LATE);
	}
}
