// What is clicked, typed and chosen is in the address, and means the same to the API.
import { readFileSync } from 'node:fs';
import { api, barriers, check, number, range, same, settled, site, visit, visitors } from './rig.mjs';

export async function filtersWork(page) {
	await visit(page, `/?site=${site}`);
	const all = await visitors(page);
	await page.click('#panel-pages tbody a >> text="/pricing"');
	await page.waitForFunction((all) => document.querySelector('.figure[data-metric=visitors] .value').textContent !== all, all);
	await settled(page);
	const { results } = await api('/api/stats/main', { ...range, filters: 'page==/pricing' });
	same(await visitors(page), number(results.visitors), 'visitors of a page, after a click');
	check(new URL(page.url()).searchParams.get('filters') === 'page==/pricing', `the address has no filter: ${page.url()}`);
	await page.reload();
	await page.waitForSelector('.chip');
	await settled(page);
	same(await visitors(page), number(results.visitors), 'visitors after a reload');
	await page.goBack();
	await page.waitForFunction((all) => document.querySelector('.figure[data-metric=visitors] .value')?.textContent === all, all);
	same(await page.$$('.chip').then((l) => l.length), 0, 'filters after going back');
	await page.goForward();
	await page.waitForSelector('.chip');

	// The editor: two pages, either of which will do, and not from one country.
	await visit(page, `/?site=${site}`);
	await page.click('#addfilter');
	const first = page.locator('dialog .condition').first();
	await first.locator('.valuebox input').fill('/pricing');
	await first.locator('.valuebox input').press('Enter');
	await page.click('dialog >> text="+ Group with “or”"');
	const group = page.locator('dialog fieldset').nth(1);
	await group.locator('legend select').selectOption('notany');
	await group.locator('.condition select').first().selectOption('country');
	await group.locator('.valuebox input').fill('GB');
	await group.locator('.valuebox input').press('Enter');
	await barriers(page, 'filters');
	await page.click('dialog button[type=submit]');
	await page.waitForSelector('.chip >> nth=1');
	await settled(page);
	const complex = JSON.stringify([['is', 'event:page', ['/pricing']], ['not', ['is', 'visit:country', ['GB']]]]);
	const want = await api('/api/stats/main', { ...range, filters: complex });
	same(await visitors(page), number(want.results.visitors), 'visitors with an edited filter');

	// As a segment it counts the same.
	await page.click('text="Save as segment"');
	await page.fill('dialog input', 'Buyers abroad');
	await page.click('dialog button[type=submit]');
	await page.waitForFunction(() => new URLSearchParams(location.search).has('segment'));
	await settled(page);
	same(await visitors(page), number(want.results.visitors), 'visitors of a segment');
}

export async function detailsWork(page) {
	await visit(page, `/?site=${site}`);
	await page.click('#panel-pages .more');
	await page.waitForSelector('dialog tbody tr');
	await settled(page);
	const read = () => page.$$eval('dialog tbody .text', (l) => l.map((x) => x.textContent));
	const metrics = 'visitors,pageviews,bounce_rate,time_on_page,scroll_depth';
	same(await read(), (await api('/api/stats/breakdown/pages', { ...range, metrics, limit: 50 })).results.map((r) => r.value), 'all pages');
	await page.click('dialog th a >> text="Bounce rate"');
	await page.waitForFunction(() => location.search.includes('sort=bounce_rate'));
	await page.waitForTimeout(50);
	await settled(page);
	same(await read(), (await api('/api/stats/breakdown/pages', { ...range, metrics, sort: 'bounce_rate', limit: 50 })).results.map((r) => r.value), 'pages by bounce rate');
	await page.fill('dialog input[type=search]', 'blog');
	await page.waitForFunction(() => location.search.includes('search=blog'));
	await page.waitForFunction(() => [...document.querySelectorAll('dialog tbody .text')].every((x) => x.textContent.includes('blog')));
	const [file] = await Promise.all([page.waitForEvent('download'), page.click('dialog >> text="CSV"')]);
	const lines = readFileSync(await file.path(), 'utf8').trim().split('\r\n');
	same(lines.length - 1, (await api('/api/stats/breakdown/pages', { ...range, search: 'blog' })).total_rows, 'rows of the CSV file');
	await barriers(page, 'details');
	await page.keyboard.press('Escape');
	await page.waitForFunction(() => !document.querySelector('dialog') && !location.search.includes('detail'));
}

export async function keysWork(page) {
	await visit(page, `/?site=${site}`);
	await page.keyboard.press('w');
	await page.waitForFunction(() => location.search.includes('period=7d'));
	await page.keyboard.press('x');
	await page.waitForFunction(() => location.search.includes('compare=none'));
	await page.keyboard.press('ArrowLeft');
	await page.waitForFunction(() => location.search.includes('period=custom'));
	await page.keyboard.press('?');
	await page.waitForSelector('dialog kbd');
	await barriers(page, 'keys');
	await page.keyboard.press('Escape');
	await page.waitForSelector('dialog', { state: 'detached' });
	await page.keyboard.press('r');
	await page.waitForFunction(() => location.search.includes('view=realtime'));
	await page.keyboard.press('Tab');
	check(await page.evaluate(() => document.activeElement.classList.contains('skip')), 'the first stop of the keyboard is not the way to the content');
}
