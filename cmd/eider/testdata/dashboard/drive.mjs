// Drives the dashboard of a running server in Chromium, as a reader would, and says
// what is not as it should be. The argument is the part: one of those below.
import { chromium } from 'playwright-core';
import { checks, config, open, wrong } from './rig.mjs';
import { figuresEqual, mapWorks, panelsEqual } from './panels.mjs';
import { detailsWork, filtersWork, keysWork } from './filters.mjs';
import { administers, erases, imports } from './admin.mjs';
import { appears } from './live.mjs';
import { shares } from './links.mjs';
import { door, invited, passkeys } from './door.mjs';
import { lockedOut, setsUp, setsUpKey } from './first.mjs';
import { streams } from './stream.mjs';
import { glance, looks } from './looks.mjs';

// A step is given the browser, or if it stands under "page" a page that has logged in.
const parts = {
	dashboard: { before: { door }, page: { figuresEqual, panelsEqual, mapWorks, filtersWork, detailsWork, keysWork, administers, imports, erases }, after: { appears, shares, invited, passkeys, looks } },
	setup: { before: { setsUp } },
	key: { before: { setsUpKey } },
	lockout: { before: { lockedOut } },
	stream: { before: { streams } },
	glance: { page: { glance } },
};

// A page that goes away sends what Chromium itself says it is, whatever the context says.
const agent = 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/139.0.0.0 Safari/537.36';
const browser = await chromium.launch({
	executablePath: config.browser,
	args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--disable-blink-features=AutomationControlled', '--host-resolver-rules=MAP *.example 127.0.0.1', '--user-agent=' + agent],
});
try {
	const { before = {}, page: onPage = {}, after = {} } = parts[process.argv[2]];
	const guard = async (name, fn) => { try { await fn(); } catch (e) { wrong.push(`${name}: ${e.stack}`); } };
	for (const [name, fn] of Object.entries(before)) await guard(name, () => fn(browser));
	if (Object.keys(onPage).length) {
		const page = await open(browser);
		for (const [name, fn] of Object.entries(onPage)) await guard(name, () => fn(page));
		await page.context().close();
	}
	for (const [name, fn] of Object.entries(after)) await guard(name, () => fn(browser));
} finally {
	await browser.close();
}
for (const w of wrong) console.log(w);
console.log(`${checks} checks, ${wrong.length} wrong`);
process.exitCode = wrong.length ? 1 : 0;
