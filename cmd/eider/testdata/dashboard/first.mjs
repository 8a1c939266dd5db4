// The first visit to a new server, and the door when somebody has guessed too often.
import { barriers, base, check, config, enter, expecting, logout, open, password, same, submit, visit } from './rig.mjs';

const looks = { light: {}, dark: { colorScheme: 'dark' }, phone: { viewport: { width: 360, height: 740 } }, german: { locale: 'de-DE' } };

// setsUp follows the link that the server has printed.
export async function setsUp(browser) {
	for (const [name, options] of Object.entries(looks)) {
		const page = await open(browser, { login: false, ...options });
		await page.goto(config.link);
		await page.waitForSelector('#username');
		same(await page.textContent('h2'), name === 'german' ? 'Eider einrichten' : 'Set up Eider', 'the title of the set-up page');
		same(new URL(page.url()).hash, '', 'the token in the address');
		await barriers(page, 'setup-' + name);
		await page.context().close();
	}
	const page = await open(browser, { login: false });
	for (const path of ['/', '/setup']) {
		await page.goto(base + path);
		await page.waitForSelector('text="Nobody has set this server up yet."');
	}
	await expecting(page, 401, async () => {
		await page.goto(config.link.replace(/#.*/, '#' + 'A'.repeat(26)));
		await page.waitForSelector('#username');
		await submit(page, 'admin', password);
		await page.waitForSelector('text=/This link is wrong or too old/');
	});
	await page.goto('about:blank');
	await page.goto(config.link);
	await page.waitForSelector('#username');
	await submit(page, 'jo', 'short');
	check(await page.$eval('#password', (i) => !i.validity.valid), 'a short password is sent');
	await expecting(page, 422, async () => {
		await submit(page, 'jo', 'password123');
		await page.waitForSelector('text=/Too many people use this password/');
	});
	await barriers(page, 'setup-common');
	await submit(page, 'jo', password);
	await page.waitForSelector('text="No site yet. Add the first one below."');
	same(new URL(page.url()).pathname, '/', 'where the set-up leads');
	await page.fill('input[name=domain]', 'first.example');
	await page.click('button[type=submit]');
	await page.waitForSelector('.waiting');
	await barriers(page, 'first-site');
	await logout(page);
	await enter(page, { name: 'jo' });
	await logout(page);
	await page.goto('about:blank');
	await page.goto(config.link); // it is used up
	await page.waitForSelector('text="Log in"');
	same(await page.$('text="Set up"'), null, 'the set-up page after the set-up');
	await page.context().close();
}

// setsUpKey makes a key instead of a user.
export async function setsUpKey(browser) {
	const page = await open(browser, { login: false });
	await page.goto(config.link);
	await page.click('summary');
	await page.click('text="Make the key"');
	const key = await page.textContent('.secret');
	await barriers(page, 'setup-key');
	const res = await fetch(base + '/api/keys', { headers: { Authorization: 'Bearer ' + key } });
	same(res.status, 200, 'the answer to the first key');
	await page.context().close();
}

const left = async (page) => Number((await page.textContent('[role=timer]')).match(/(\d+)s/)[1]);

// lockedOut guesses until the door stays shut, is told for how long, and is let in then.
// Meanwhile the browser that has been here before waits for nobody.
export async function lockedOut(browser) {
	const owner = await open(browser);
	await logout(owner);
	const page = await open(browser, { login: false });
	await page.goto(base + '/');
	page.expected.add(401);
	for (let i = 0; i < config.attempts; i++) {
		await submit(page, 'admin', 'a guess');
		await page.waitForSelector('text="The name or the password is wrong."');
		await page.waitForSelector('button[type=submit]:enabled');
	}
	page.expected.clear();
	await expecting(page, 429, async () => {
		await submit(page, 'admin', password);
		await page.waitForSelector('text="Too many attempts have failed."');
	});
	const first = await left(page);
	check(first > 0 && first <= config.lockout, `the page says ${first} s of ${config.lockout}`);
	check(await page.isDisabled('button[type=submit]'), 'one can try while nobody would look');
	await barriers(page, 'locked');
	await enter(owner);
	await owner.context().close();
	await page.waitForFunction((n) => Number(document.querySelector('[role=timer]').textContent.match(/(\d+)s/)[1]) < n, first);
	await page.waitForSelector('text="You can try again now."', { timeout: (config.lockout + 10) * 1000 });
	check(await page.isEnabled('button[type=submit]'), 'one cannot try when the time is over');
	await submit(page, 'admin', password);
	await page.waitForSelector('.shell');
	await visit(page, '/?view=admin&tab=audit');
	await page.waitForSelector('main >> text=/login\\.lockout/');
	await page.context().close();
}
