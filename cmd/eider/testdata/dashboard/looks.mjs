// Every page, light, dark, on a phone and in German: no barrier, nothing too wide.
import { figuresEqual } from './panels.mjs';
import { barriers, check, open, site, visit } from './rig.mjs';

const pages = { overview: '', realtime: 'view=realtime', funnels: 'view=funnels&steps=page:/,page:/pricing,event:Signup&by=sources', retention: 'view=retention&cohort=day', journeys: 'view=journeys' };
for (const tab of ['sites', 'goals', 'segments', 'links', 'keys', 'users', 'account', 'data', 'health', 'audit']) pages['admin-' + tab] = `view=admin&tab=${tab}`;
pages['admin-site'] = `view=admin&tab=sites&edit=${site}`;

export async function looks(browser) {
	for (const [name, options] of Object.entries({ light: {}, dark: { colorScheme: 'dark' }, phone: { viewport: { width: 360, height: 740 } }, german: { locale: 'de-DE' } })) {
		const page = await open(browser, options);
		for (const [id, q] of Object.entries(pages)) {
			if (name === 'german' && id !== 'overview' && id !== 'admin-data') continue;
			await visit(page, `/?site=${site}&${q}`);
			await page.waitForFunction(() => ![...document.querySelectorAll('p.soft')].some((p) => p.textContent === '…'));
			await barriers(page, `${id}-${name}`);
		}
		if (name === 'german') check((await page.textContent('body')).includes('Verwaltung'), 'the page is not in German');
		if (name === 'dark') check(await page.evaluate(() => getComputedStyle(document.body).backgroundColor !== 'rgb(251, 250, 248)'), 'dark is not dark');
		await page.context().close();
	}
}

// glance is one page, looked at as all of them are.
export async function glance(page) {
	await figuresEqual(page);
	await barriers(page, 'glance');
}
