// What an administrator does.
import { api, barriers, base, check, number, same, visit } from './rig.mjs';

const fresh = 'new.example'; // the site that is made

export async function administers(page) {
	await visit(page, '/?view=admin&tab=sites');
	await page.fill('input[name=domain]', fresh);
	await page.click('button[type=submit]');
	await page.waitForSelector('.waiting');
	await page.request.post(base + '/api/event', { headers: { 'User-Agent': 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0', 'Content-Type': 'application/json' }, data: { name: 'pageview', domain: fresh, url: `https://${fresh}/` } });
	await page.waitForSelector('p.good', { timeout: 20_000 });

	await visit(page, '/?view=admin&tab=keys');
	await page.fill('input[name=label]', 'from the dashboard');
	await page.click('button[type=submit]');
	const made = await page.textContent('.secret');
	check(made.startsWith('eider_'), `the new key is ${made}`);
}

const days = { '2026-03-01': 9_000, '2026-03-02': 13_000, '2026-03-03': 17_000 }; // lines of the log
const lines = 39_000;

function log() {
	const text = [];
	for (const [day, n] of Object.entries(days)) for (let i = 0; i < n; i++) {
		const at = new Date(Date.parse(day) + i * 5000).toISOString();
		text.push(`192.0.${i % 7}.${i % 251} - - [${day.slice(8)}/Mar/2026:${at.slice(11, 19)} +0000] "GET /page-${i % 40} HTTP/1.1" 200 512 "-" "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"\n`);
	}
	return Buffer.from(text.join(''));
}

const data = `/?view=admin&tab=data&site=${fresh}`;
const file = { name: 'access.log', mimeType: 'text/plain', buffer: log() };

// imports sends a log over a slow line, so that the bar has something to show.
export async function imports(page) {
	await visit(page, data);
	const cdp = await page.context().newCDPSession(page);
	await cdp.send('Network.enable');
	await cdp.send('Network.emulateNetworkConditions', { offline: false, latency: 0, downloadThroughput: -1, uploadThroughput: 3 << 20 });
	await page.evaluate(() => {
		globalThis.bar = [];
		const look = () => { const p = document.querySelector('progress'); if (p && !p.hidden && p.checkVisibility()) globalThis.bar.push(p.value); };
		new MutationObserver(look).observe(document.querySelector('progress'), { attributes: true });
	});
	await page.setInputFiles('input[type=file]', file);
	await page.click('button >> text="Import"');
	await page.waitForFunction(() => document.querySelector('progress').value > 0);
	await barriers(page, 'import');
	await page.waitForSelector(`text="${number(lines)} of ${number(lines)} lines imported, 0 were there already."`, { timeout: 60_000 });
	const bar = await page.evaluate(() => globalThis.bar);
	check(bar.every((v, i) => i === 0 || v >= bar[i - 1]), `the bar goes back: ${bar}`);
	check(bar.some((v) => v > 0 && v < 1) && bar.at(-1) === 1, `the bar shows ${bar}`);
	check(await page.isHidden('progress'), 'the bar stays when the import is over');
	await cdp.detach();

	await page.click('button >> text="Import"');
	await page.waitForSelector(`text="0 of ${number(lines)} lines imported, ${number(lines)} were there already."`, { timeout: 60_000 });
	await visit(page, `/?site=${fresh}&period=custom&from=2026-03-01&to=2026-03-03`);
	same(await page.textContent('.figure[data-metric=pageviews] .value'), new Intl.NumberFormat('en-GB', { notation: 'compact', maximumFractionDigits: 1 }).format(lines), 'pageviews of the log');
}

const eventsOf = async (day) => (await api('/api/stats/main', { site_id: fresh, start_date: day, end_date: day, metrics: 'events,visits' })).results;

// erases a day: nothing goes before the reader has seen how much and said yes.
export async function erases(page) {
	const [first, second] = Object.keys(days);
	const before = await eventsOf(second);
	same(before.events, days[second], 'events of a day');
	await visit(page, data);
	await page.selectOption('select[name=what]', 'days');
	await page.fill('section:has(h2:text-is("Erase")) input[name=from]', second);
	await page.fill('section:has(h2:text-is("Erase")) input[name=to]', second);
	const preview = `${fresh}: ${number(before.events)} events of ${number(before.visits)} visits, and what belongs to them. This cannot be undone.`;
	await page.click('text="Preview…"');
	await page.waitForSelector(`dialog >> text="${preview}"`);
	await barriers(page, 'erase');
	await page.click('dialog >> text="Cancel"');
	await page.waitForSelector('dialog', { state: 'detached' });
	same((await eventsOf(second)).events, before.events, 'events after an erasure that was cancelled');
	await page.click('text="Preview…"');
	await page.click('dialog .danger');
	await page.waitForSelector(`text="${number(before.events)} rows erased."`, { timeout: 30_000 });
	same((await eventsOf(second)).events, 0, 'events of the day that was erased');
	same((await eventsOf(first)).events, days[first], 'events of the day before it');

	await page.selectOption('select[name=what]', 'visitor');
	await page.fill('input[name=id]', 'nobody');
	await page.click('text="Preview…"');
	await page.waitForSelector('text=/The id of a visitor looks like/');
	await page.selectOption('select[name=what]', 'everything');
	await page.click('text="Preview…"');
	await page.waitForSelector(`dialog >> text=/${number(lines - days[second] + 1)} events/`);
	await page.click('dialog .danger');
	await page.waitForSelector(`text="${number(lines - days[second] + 1)} rows erased."`, { timeout: 30_000 });

	await visit(page, '/?view=admin&tab=audit');
	await page.waitForSelector('main >> text=/data\\.erase/');
}
