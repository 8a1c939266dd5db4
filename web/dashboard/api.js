// Everything the page asks the server goes through here: a few requests at a
// time, first come, first served, so that a page never overloads its server, and
// a server that says when to come again is asked again then.

import { t } from './i18n.js';

const MOST = 4; // requests at a time
const TRIES = 4;
const FRESH = 20_000; // ms that an answer to a report is used again
const KEPT = 120; // answers

let running = 0;
const waiting = [];
const answers = new Map(); // url → { at, promise }
let lost = () => {};
let life = new AbortController(); // of what was asked for this reader
let link = null; // returns the shared link that the page is shown by, if it is

// onLost is called when the session has ended.
export function onLost(fn) { lost = fn; }

// abandon takes back all that is asked: the reader leaves, and a server that is asked
// after that would refuse it.
export function abandon() {
	forget();
	life.abort();
	life = new AbortController();
}

// shownBy says that every request is that of a shared link's visitor, and no one
// else's: the session that the browser may have is left out.
export function shownBy(fn) { link = fn; }

export class Problem extends Error {
	constructor(status, code, text, retry) {
		super(text);
		this.status = status;
		this.code = code;
		this.retry = retry; // seconds, or 0
	}
}

const sentence = (text) => text ? text[0].toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? '' : '.') : '';

function place(signal) {
	return new Promise((resolve, reject) => {
		const enter = () => { running++; resolve(); };
		if (running < MOST) return enter();
		waiting.push(enter);
		signal.addEventListener('abort', () => {
			const at = waiting.indexOf(enter);
			if (at < 0) return;
			waiting.splice(at, 1);
			reject(signal.reason);
		}, { once: true });
	});
}

function leave() {
	running--;
	waiting.shift()?.();
}

function pause(seconds, signal) {
	return new Promise((resolve, reject) => {
		const timer = setTimeout(resolve, seconds * 1000);
		signal.addEventListener('abort', () => { clearTimeout(timer); reject(signal.reason); }, { once: true });
	});
}

async function problemOf(res) {
	let body = {};
	try { body = await res.json(); } catch { /* not of ours */ }
	const retry = Number(res.headers.get('Retry-After')) || 0;
	return new Problem(res.status, body.code ?? '', sentence(body.error) || t('error.status', { status: res.status }), retry);
}

// send asks once there is a place, and again when the server says so.
async function send(url, { signal: own, raw: whole, ...init }) {
	const signal = own ? AbortSignal.any([own, life.signal]) : life.signal;
	if (link) init = { ...init, credentials: 'omit', headers: { ...init.headers, 'X-Eider-Share': link() } };
	for (let n = 1; ; n++) {
		await place(signal);
		let res;
		try {
			res = await fetch(url, { ...init, signal });
			if (res.ok) return whole ? res : res.status === 204 ? null : await res.json();
		} catch (err) {
			if (signal.aborted) throw err;
			throw new Problem(0, 'offline', t('error.offline'), 0);
		} finally {
			leave();
		}
		const problem = await problemOf(res);
		const busy = res.status === 429 || res.status === 503;
		const again = busy && n < TRIES && (init.method ?? 'GET') === 'GET' && problem.retry <= 30;
		if (!again) {
			if (res.status === 401 && !/^\/api\/(auth\/|share)/.test(url)) lost();
			throw problem;
		}
		await pause(Math.max(problem.retry, 0.5) + Math.random() * 0.5, signal);
	}
}

export function query(params) {
	const q = new URLSearchParams();
	for (const [k, v] of Object.entries(params ?? {})) if (v !== undefined && v !== null && v !== '') q.set(k, v);
	const text = q.toString();
	return text ? '?' + text : '';
}

// get asks for something of now.
export const get = (path, params, signal) => send(path + query(params), { signal });

// report asks for a report. An answer of a moment ago is used again, and equal
// questions are asked once.
export function report(path, params, signal) {
	const url = path + query(params);
	const old = answers.get(url);
	if (old && Date.now() - old.at < FRESH) return old.promise;
	const promise = send(url, { signal });
	answers.set(url, { at: Date.now(), promise });
	const drop = () => { if (answers.get(url)?.promise === promise) answers.delete(url); };
	signal?.addEventListener('abort', drop, { once: true });
	promise.then(() => signal?.removeEventListener('abort', drop), drop);
	if (answers.size > KEPT) answers.delete(answers.keys().next().value);
	return promise;
}

// forget makes the next questions be asked anew.
export function forget() { answers.clear(); }

export function change(method, path, body, params) {
	forget();
	const init = { method };
	if (body !== undefined) {
		init.headers = { 'Content-Type': 'application/json' };
		init.body = JSON.stringify(body);
	}
	return send(path + query(params), init);
}

export const post = (path, body, params) => change('POST', path, body ?? {}, params);
export const raw = (path, init) => send(path, { ...init, raw: true });
