// Pages with each tracker, at a host of their own: the visit appears on the page of
// who is there now, which is not touched meanwhile.
import { api, base, check, config, open, same, visit } from './rig.mjs';

const at = 'live.example';

export async function appears(browser) {
	const page = await open(browser);
	await visit(page, `/?site=${at}&view=realtime`);
	await page.waitForSelector('.big >> text="0"');
	const overview = await open(browser);
	await visit(overview, `/?site=${at}`);
	for (const [n, tracker] of config.trackers.entries()) {
		const reader = await browser.newContext({ userAgent: `Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/${120 + n}.0.0.0 Safari/537.36` });
		const shop = await reader.newPage();
		shop.on('pageerror', (e) => check(false, `error on a page with ${tracker}: ${e}`));
		await shop.goto(`${config.sites.replace('127.0.0.1', at)}/with-${tracker}#${base}`);
		await page.waitForSelector(`.panels >> text="/with-${tracker}"`, { timeout: 40_000 });
		same(await page.textContent('.big'), String(n + 1), `visitors once the page with ${tracker} was seen`);
		await reader.close();
	}
	const { results } = await api('/api/stats/realtime', { site_id: at });
	same(results.current_visitors, config.trackers.length, 'visitors of the API');
	await overview.waitForFunction((n) => document.querySelector('.live').textContent === `${n} visitors now`, config.trackers.length, { timeout: 60_000 });
	await page.context().close();
	await overview.context().close();
}
