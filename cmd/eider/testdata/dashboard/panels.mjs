// Every figure and every panel shows what the API answers.
import { api, check, number, range, same, settled, site, visit, visitors } from './rig.mjs';

// rows reads a list of a panel: what stands in each of its cells.
export const rows = (page, panel) => page.$$eval(`#panel-${panel} tbody tr`, (list) => list.map((tr) => [tr.querySelector('.text').textContent, ...[...tr.querySelectorAll('td')].map((td) => td.textContent)]));

const unknown = { sources: 'Direct / none', referrers: 'Direct / none', channels: 'Direct' };
const names = { countries: new Intl.DisplayNames(['en'], { type: 'region' }), languages: new Intl.DisplayNames(['en'], { type: 'language' }) };
export function nameOf(dim, value) {
	if (value === null) return unknown[dim] ?? '(none)';
	if (dim === 'devices') return value[0].toUpperCase() + value.slice(1);
	if (dim === 'regions') return value.includes('-') ? `${value} (${names.countries.of(value.split('-')[0])})` : value;
	return names[dim]?.of(value) ?? String(value);
}

export async function figuresEqual(page) {
	await visit(page, `/?site=${site}`);
	const { results: r, comparison } = await api('/api/stats/main', { ...range, compare: 'previous_period' });
	const shown = await page.$$eval('.figure', (list) => Object.fromEntries(list.map((b) => [b.dataset.metric, b.querySelector('.value').textContent])));
	for (const m of ['visitors', 'visits', 'pageviews', 'views_per_visit']) same(shown[m], number(r[m]), m);
	same(shown.bounce_rate, new Intl.NumberFormat('en-GB', { style: 'percent', maximumFractionDigits: 1 }).format(r.bounce_rate / 100), 'bounce rate');
	const change = await page.textContent('.figure[data-metric=pageviews] .change');
	check(change.includes(number(Math.abs(Math.round(comparison.change.pageviews)))), `change of pageviews is shown as ${change}, is ${comparison.change.pageviews}`);

	await page.click('.astable summary');
	await page.waitForSelector('.astable tbody tr');
	const { results: days } = await api('/api/stats/timeseries', { ...range, interval: 'day', metrics: 'visitors' });
	same(await page.$$eval('.astable tbody tr', (l) => l.map((tr) => tr.children[1].textContent)), days.map((d) => number(d.visitors)), 'the chart');
}

export async function panelsEqual(page) {
	const panels = {
		sources: ['sources', 'channels', 'referrers', 'utm-campaigns', 'utm-sources', 'utm-mediums'], pages: ['pages', 'entry-pages', 'exit-pages', 'titles', 'hostnames'],
		places: ['countries', 'regions', 'cities', 'languages'], devices: ['browsers', 'os', 'devices', 'browser-versions', 'os-versions', 'screens'], conversions: ['events'],
	};
	for (const [panel, dims] of Object.entries(panels)) for (const dim of dims) {
		await visit(page, `/?site=${site}&${panel}=${dim}`);
		const { results } = await api('/api/stats/breakdown/' + dim, { ...range, metrics: 'visitors', limit: 9 });
		same(await rows(page, panel), results.map((r) => [nameOf(dim, r.value), number(r.visitors)]), dim);
	}
	await visit(page, `/?site=${site}&conversions=goals`);
	const { results: goals } = await api('/api/stats/goals', range);
	check(goals.length > 1, 'there are no goals to look at');
	same((await rows(page, 'conversions')).map((r) => r.slice(0, 3)), goals.map((g) => [g.name, number(g.visitors), number(g.events)]), 'goals');
	await visit(page, `/?site=${site}&conversions=revenue`);
	const { results: money } = await api('/api/stats/revenue', range);
	same((await rows(page, 'conversions'))[0], [money.by_currency[0].currency, new Intl.NumberFormat('en-GB', { style: 'currency', currency: 'EUR' }).format(money.by_currency[0].total), number(money.by_currency[0].transactions), new Intl.NumberFormat('en-GB', { style: 'currency', currency: 'EUR' }).format(money.by_currency[0].average_order_value)], 'revenue');
	await visit(page, `/?site=${site}&conversions=properties&property=plan`);
	const { results: plans } = await api('/api/stats/property-values', { ...range, key: 'plan' });
	same(await rows(page, 'conversions'), plans.map((p) => [p.value, number(p.visitors), number(p.events)]), 'values of a property');
	await visit(page, `/?site=${site}`);
	const { results: places } = await api('/api/stats/breakdown/countries', { ...range, metrics: 'visitors' });
	await page.waitForSelector('.map svg');
	same((await page.$$eval('.map .some', (l) => l.map((p) => p.dataset.code))).sort(), places.map((p) => p.value).filter(Boolean).sort(), 'countries on the map');
}

// mapWorks clicks on a country: what is looked at is what came from there.
export async function mapWorks(page) {
	await visit(page, `/?site=${site}`);
	await page.waitForSelector('.map svg');
	await page.locator('.map [data-code=CA]').first().hover();
	const { results: places } = await api('/api/stats/breakdown/countries', { ...range, metrics: 'visitors' });
	const here = places.find((p) => p.value === 'CA');
	same(await page.textContent('.mapsay'), `Canada: ${number(here.visitors)}`, 'what the map says of a country');
	const all = await visitors(page);
	await page.locator('.map [data-code=CA]').first().click();
	await page.waitForFunction((all) => document.querySelector('.figure[data-metric=visitors] .value')?.textContent !== all, all);
	await settled(page);
	same(new URL(page.url()).searchParams.get('filters'), 'country==CA', 'the filter after a click on the map');
	same(await visitors(page), number(here.visitors), 'visitors of a country, after a click on the map');
	await page.goBack();
	await page.waitForFunction((all) => document.querySelector('.figure[data-metric=visitors] .value')?.textContent === all, all);
}
