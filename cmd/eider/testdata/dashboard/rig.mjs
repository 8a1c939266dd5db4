// What every part of the driver uses: the browser's pages, which watch themselves,
// the API beside them, and the list of what is wrong.
import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';
import path from 'node:path';

// What the test has started: base is where the pages are, api where the figures are
// asked for, key one with every scope; password, link, lockout, sites and others are
// of single parts. Pictures go into a directory, or nowhere.
export const config = JSON.parse(process.env.DASHBOARD);
export const { base, password } = config;
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
export const site = 'shop.example';
export const range = { period: '28d' };
export const wrong = [];
export let checks = 0;

export function check(ok, what) {
	checks++;
	if (!ok) wrong.push(what);
}
export const same = (got, want, what) => check(JSON.stringify(got) === JSON.stringify(want), `${what}: got ${JSON.stringify(got)}, want ${JSON.stringify(want)}`);

export async function api(path, params) {
	const res = await fetch(`${config.api}${path}?${new URLSearchParams({ site_id: site, ...params })}`, { headers: { Authorization: 'Bearer ' + config.key } });
	if (!res.ok) throw new Error(`${path}: ${res.status} ${await res.text()}`);
	return res.json();
}

// open makes a page that watches itself: console, other hosts, policy, busy server.
export async function open(browser, { login = true, ...options } = {}) {
	const context = await browser.newContext({ locale: 'en-GB', viewport: { width: 1280, height: 900 }, reducedMotion: 'reduce', ...options });
	const page = await context.newPage();
	page.expected = new Set(); // statuses that a step provokes
	page.around = ''; // the page of another site in which a step shows ours
	page.on('console', (m) => { if (m.type() === 'error' && !(m.text().startsWith('Failed to load resource') && page.expected.size)) wrong.push(`console on ${page.url()}: ${m.text()}`); });
	page.on('pageerror', (e) => wrong.push(`error on ${page.url()}: ${e.stack}`));
	page.on('request', (r) => { if (!r.url().startsWith(base) && !r.url().startsWith(base.replace('127.0.0.1', 'localhost')) && !/^(data|blob):/.test(r.url()) && !(page.around && r.url().startsWith(page.around))) wrong.push(`a request to another host: ${r.url()}`); });
	page.on('response', (r) => { if (r.status() >= 400 && !page.expected.has(r.status())) wrong.push(`${r.status()} for ${r.url()}`); });
	await page.addInitScript(() => addEventListener('securitypolicyviolation', (e) => console.error('policy violated: ' + e.violatedDirective + ' ' + e.blockedURI)));
	if (login) await enter(page);
	return page;
}

// expecting lets a step provoke a status.
export async function expecting(page, status, step) {
	page.expected.add(status);
	await step();
	page.expected.delete(status);
}

export async function enter(page, { at = base, name = 'admin', secret = password } = {}) {
	await page.goto(at + '/');
	await submit(page, name, secret);
	await page.waitForSelector('.shell');
}

export async function submit(page, name, secret) {
	await page.fill('#username', name);
	await page.fill('#password', secret);
	await page.click('button[type=submit]');
}

export const logout = async (page) => {
	await page.click('.bar .menubox:last-child > button');
	await page.click('text="Log out"');
	await page.waitForSelector('#password');
};

export const settled = (page) => page.waitForFunction(() => !document.querySelector('.loading, .skeleton') && document.querySelector('.shell, form'), null, { timeout: 30_000 });

export async function visit(page, url) {
	await page.goto(base + url);
	await page.waitForSelector('.shell');
	await settled(page);
}

// barriers looks for what shuts somebody out, and takes a picture.
export async function barriers(page, name) {
	await page.evaluate(axe);
	const found = await page.evaluate(async () => (await globalThis.axe.run(document, { resultTypes: ['violations'] })).violations
		.filter((v) => v.impact === 'serious' || v.impact === 'critical').map((v) => `${v.id} at ${v.nodes[0].target.join(' ')}`));
	same(found, [], `axe on ${name}`);
	check(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `${name} is wider than its window`);
	if (config.pictures) await page.screenshot({ path: path.join(config.pictures, name + '.png'), fullPage: true });
}

export const number = (n) => new Intl.NumberFormat('en-GB', { maximumFractionDigits: 1 }).format(n);

export const visitors = (page) => page.textContent('.figure[data-metric=visitors] .value');
