// The live stream on the page of who is there now: an event is shown at once, a pause
// and the mouse hold the list, and a server that was away is found again. What the test
// does to the server it does when config.restart is asked for.
import { barriers, base, check, config, open, same, site, visit } from './rig.mjs';

const agent = 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0';

async function send(path, event = {}) {
	const res = await fetch(base + '/api/event', {
		method: 'POST', headers: { 'User-Agent': agent, 'Content-Type': 'application/json' },
		body: JSON.stringify({ name: 'pageview', domain: site, url: `https://${site}${path}`, ...event }),
	});
	if (res.status !== 202) throw new Error(`an event was answered ${res.status}`);
}

const pagesShown = (page) => page.$$eval('.livelist tbody tr', (list) => list.map((tr) => (tr.querySelector('.page') ?? tr).textContent));
const first = (page, path) => page.waitForFunction((path) => document.querySelector('.livelist tbody .page')?.textContent === path, path, { timeout: 10_000 });
const state = (page, text) => page.waitForFunction((text) => document.querySelector('.live-card header p').textContent === text, text, { timeout: 10_000 });

export async function streams(browser) {
	const page = await open(browser);
	await visit(page, `/?site=${site}&view=realtime`);
	await state(page, 'Waiting for the next event…');
	await barriers(page, 'live-empty');
	await send('/one');
	await first(page, '/one');
	await send('/two?utm_source=news', { name: 'Purchase', revenue: { currency: 'EUR', amount: '19.90' } });
	await first(page, '/two');
	same(await page.textContent('.livelist tbody tr .paid'), '€19.90', 'what was paid');
	await state(page, '');
	await barriers(page, 'live');

	await page.click('.live-card header button');
	await send('/three');
	await send('/four');
	await state(page, '2 new events, not shown yet');
	same(await pagesShown(page), ['/two', '/one'], 'what is shown in a pause');
	await barriers(page, 'live-paused');
	await page.click('.live-card header button');
	await first(page, '/four');
	same(await pagesShown(page), ['/four', '/three', '/two', '/one'], 'what is shown after a pause');

	await page.hover('.livelist tbody');
	await send('/five');
	await state(page, '1 new event, not shown yet');
	await page.mouse.move(5, 5);
	await first(page, '/five');

	for (let i = 0; i < 60; i++) await send('/many');
	await page.waitForFunction(() => document.querySelectorAll('.livelist tbody tr').length === 50 && ![...document.querySelectorAll('.livelist .page')].some((td) => td.textContent !== '/many'));

	page.expected.add(503);
	await fetch(config.restart + '?stop');
	await state(page, 'The connection is lost. Trying again…');
	await fetch(config.restart + '?start');
	await page.waitForFunction(() => document.querySelector('.live-card header p').textContent !== 'The connection is lost. Trying again…', null, { timeout: 40_000 });
	await send('/back');
	await first(page, '/back');
	check((await pagesShown(page)).filter((p) => p === '/back').length === 1, 'an event is shown twice');
	page.expected.delete(503);

	await visit(page, `/?site=${site}&view=realtime&filters=page%3D%3D/wanted`);
	await state(page, 'Waiting for the next event…');
	await send('/other');
	await send('/wanted');
	await first(page, '/wanted');
	same(await pagesShown(page), ['/wanted'], 'what a filter leaves');
	await page.context().close();

	for (const [name, options] of Object.entries({ dark: { colorScheme: 'dark' }, phone: { viewport: { width: 360, height: 740 } }, german: { locale: 'de-DE' } })) {
		const other = await open(browser, options);
		await visit(other, `/?site=${site}&view=realtime`);
		await other.waitForFunction(() => document.querySelector('.live-card header p').textContent !== '');
		for (const path of ['/', '/pricing', '/a/very/long/path/that/does/not/fit/into/any/column/of/the/list']) await send(path + '?utm_source=newsletter');
		await send('/cart', { name: 'Purchase', revenue: { currency: 'EUR', amount: '4.20' } });
		await first(other, '/cart');
		await barriers(other, 'live-' + name);
		await other.context().close();
	}
}
