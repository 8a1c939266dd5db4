// Shared links: made in the administration, and what others see by them.
import { createServer } from 'node:http';
import path from 'node:path';
import { api, barriers, base, check, config, number, open, range, same, settled, site, visit, visitors } from './rig.mjs';
import { nameOf, rows } from './panels.mjs';

// tab is a page of somebody who has only a link: no session, no key.
const tab = (browser, options) => open(browser, { login: false, ...options });

async function seen(page, url) {
	await page.goto(url);
	await page.waitForSelector('.shell');
	await settled(page);
}

// shares makes links in the administration, and looks at what others see by them.
export async function shares(browser) {
	const page = await open(browser);
	await visit(page, `/?view=admin&tab=links&site=${site}`);
	const make = async (name, fill = async () => {}) => {
		await page.waitForSelector('input[name=label]');
		await page.fill('input[name=label]', name);
		await fill();
		await page.click('form button[type=submit]');
		return new URL(await page.getAttribute(`main tbody a:text-is("${name}")`, 'href'), base).href;
	};
	const all = await make('for everybody', async () => { await page.check('input[name=embed]'); await page.check('input[name=badge]'); });
	const part = await make('for the buyers', async () => { await page.selectOption('select[name=segment]', { label: 'Buyers abroad' }); await page.check('input[name=embed]'); });
	const locked = await make('with a password', async () => { await page.fill('input[name=secret]', 'open sesame'); await page.check('input[name=embed]'); });
	await barriers(page, 'links');

	// Everything, and what a click makes of it.
	const reader = await tab(browser);
	await seen(reader, all);
	const { results } = await api('/api/stats/main', range);
	same(await visitors(reader), number(results.visitors), 'visitors by a link');
	check((await reader.textContent('.about')).includes(site), 'the page does not say whose figures it shows');
	check(await reader.$('text="Administration"') === null && await reader.$('text="+ Note"') === null && await reader.$('#site') === null, 'a shared page offers what only operators may');
	same((await reader.context().cookies()).length, 0, 'cookies of a shared page');
	await reader.click('#panel-pages tbody a >> text="/pricing"');
	await reader.waitForSelector('.chip');
	await settled(reader);
	same(await visitors(reader), number((await api('/api/stats/main', { ...range, filters: 'page==/pricing' })).results.visitors), 'visitors of a page by a link');
	check(new URL(reader.url()).pathname === new URL(all).pathname, `a click leaves the link: ${reader.url()}`);
	for (const view of ['realtime', 'funnels&steps=page:/,page:/pricing', 'retention', 'journeys']) {
		await seen(reader, `${all}?view=${view}`);
		await barriers(reader, 'shared-' + view.split('&')[0]);
	}
	await seen(reader, all + '?view=admin');
	check(await reader.$('.figure') !== null, 'the administration by a link is not the overview');

	// A part: as the API says with its filters, and no way around it.
	const filters = JSON.stringify([['is', 'event:page', ['/pricing']], ['not', ['is', 'visit:country', ['GB']]]]);
	await seen(reader, part);
	same(await visitors(reader), number((await api('/api/stats/main', { ...range, filters })).results.visitors), 'visitors by a link to a segment');
	same((await rows(reader, 'sources')), (await api('/api/stats/breakdown/sources', { ...range, filters, metrics: 'visitors', limit: 9 })).results.map((r) => [nameOf('sources', r.value), number(r.visitors)]), 'sources by a link to a segment');
	check((await reader.textContent('.about')).includes('Buyers abroad'), 'the page does not say that it shows a part');
	await barriers(reader, 'shared-part');

	// The password.
	await reader.goto(locked);
	await reader.waitForSelector('#password');
	await barriers(reader, 'shared-password');
	reader.expected.add(401);
	await reader.fill('#password', 'something else');
	await reader.click('button[type=submit]');
	await reader.waitForSelector('text="The password is wrong."');
	await reader.fill('#password', 'open sesame');
	await reader.click('button[type=submit]');
	await reader.waitForSelector('.shell');
	await settled(reader);
	reader.expected.clear();
	await reader.reload();
	await reader.waitForSelector('.shell'); // the tab remembers

	// No link.
	reader.expected = new Set([401, 404]);
	await reader.goto(base + '/share/' + 'a'.repeat(26));
	await reader.waitForSelector('text="This link shows nothing"');
	await barriers(reader, 'shared-gone');
	await reader.context().close();

	for (const [name, options] of Object.entries({ light: {}, dark: { colorScheme: 'dark' }, phone: { viewport: { width: 360, height: 740 } }, german: { locale: 'de-DE' } })) {
		const other = await tab(browser, options);
		await seen(other, all);
		await barriers(other, 'shared-' + name);
		if (name === 'german') check((await other.textContent('.about')).includes('Zahlen von ' + site), 'the shared page is not in German');
		await other.context().close();
	}
	await embeds(browser, page, all, part, locked);

	// Revoked, at once.
	await visit(page, `/?view=admin&tab=links&site=${site}`);
	await page.click('tr:has(a:text-is("for everybody")) >> text="Revoke"');
	await page.click('dialog .danger');
	await page.waitForFunction(() => ![...document.querySelectorAll('tbody a')].some((a) => a.textContent === 'for everybody'));
	const late = await tab(browser);
	late.expected = new Set([401, 404]);
	await late.goto(all);
	await late.waitForSelector('text="This link shows nothing"');
	await late.context().close();
	await page.context().close();
}

// embeds shows links in a frame of another site, as the snippets say, and the badge.
async function embeds(browser, page, all, part, locked) {
	await visit(page, `/?view=admin&tab=links&site=${site}`);
	await page.click('tr:has(a:text-is("for everybody")) >> text="Embed"');
	await page.selectOption('select[name=theme]', 'dark');
	await page.fill('input[name=background]', 'transparent');
	await page.waitForFunction(() => document.querySelector('iframe.preview')?.src.includes('background=transparent'));
	const preview = page.frameLocator('iframe.preview');
	await preview.locator('.figure').first().waitFor();
	const snippet = await page.textContent('section:has(iframe.preview) pre');
	await barriers(page, 'embed');
	await page.click('tr:has(a:text-is("for everybody")) >> text="Badge"');
	await page.waitForFunction(() => document.querySelector('img.badge')?.naturalWidth > 60);
	const badge = await page.textContent('section:has(img.badge) pre');
	check(!badge.includes(new URL(all).pathname.split('/')[2]), 'the badge gives its link away');
	await barriers(page, 'badge');

	const paths = { '/': snippet + badge, '/part': `<iframe src="${part}?embed=true&theme=light"></iframe>`, '/locked': `<iframe src="${locked}?embed=true"></iframe>`, '/not': `<iframe src="${all}"></iframe><iframe src="${base}/?embed=true"></iframe>` };
	const host = createServer((q, a) => { a.setHeader('Content-Type', 'text/html; charset=utf-8'); a.end(`<!doctype html><html lang="en"><title>Another site</title><main><h1>Ours in another site</h1>${paths[q.url] ?? ''}</main>`); });
	await new Promise((done) => host.listen(0, '127.0.0.1', done));
	try {
		const other = await tab(browser);
		other.around = `http://localhost:${host.address().port}`;
		await other.goto(other.around + '/');
		const frame = other.frameLocator('iframe');
		await frame.locator('.figure .value').first().waitFor();
		same(await frame.locator('.figure[data-metric=visitors] .value').textContent(), number((await api('/api/stats/main', range)).results.visitors), 'visitors in a frame');
		same(await frame.locator('html').getAttribute('data-theme'), 'dark', 'theme in a frame');
		same(await frame.locator('body').evaluate((b) => getComputedStyle(b).backgroundColor), 'rgba(0, 0, 0, 0)', 'background in a frame');
		check(await frame.locator('.logo').count() === 0, 'a frame shows our bar');
		await frame.locator('.panel tbody tr').first().waitFor();
		await other.waitForFunction(() => { const f = document.querySelector('iframe'); return f.offsetHeight !== 1600 && f.offsetHeight > 900; });
		const most = await frame.locator('html').evaluate((e) => e.scrollHeight - e.clientHeight);
		check(most <= 2, `the frame is ${most} px too low for what is in it`);
		check(await other.$eval('img', (i) => i.decode().then(() => i.naturalWidth > 60)), 'the badge is not shown by another site');
		if (config.pictures) await other.screenshot({ path: path.join(config.pictures, 'embedded.png'), fullPage: true });
		await other.goto(other.around + '/part');
		await other.frameLocator('iframe').locator('.figure .value').first().waitFor();
		check((await other.frameLocator('iframe').locator('.about').textContent()).includes('Buyers abroad'), 'a frame does not say that it shows a part');
		await other.goto(other.around + '/locked');
		await other.frameLocator('iframe').locator('#password').fill('open sesame');
		await other.frameLocator('iframe').locator('button[type=submit]').click();
		await other.frameLocator('iframe').locator('.figure .value').first().waitFor();
		await other.context().close();

		// What does not ask to be in a frame, or may not, is not shown in one.
		const refused = await browser.newContext().then((c) => c.newPage());
		await refused.goto(other.around + '/not');
		for (const f of await refused.$$('iframe')) {
			const inner = await f.contentFrame();
			await inner.waitForLoadState();
			check(await inner.$('#app') === null, `${await f.getAttribute('src')} is shown in a frame of another site`);
		}
		await refused.context().close();
	} finally {
		host.close();
	}
}
