// The ways in: password, second factor, recovery code, passkey, invitation.
import { createHmac } from 'node:crypto';
import { barriers, base, check, enter, expecting, logout, open, password, settled, submit, visit } from './rig.mjs';

export async function door(browser) {
	const page = await open(browser, { login: false });
	await page.goto(base + '/');
	await page.waitForSelector('#password');
	await barriers(page, 'login');
	await expecting(page, 401, async () => {
		await submit(page, 'admin', 'not the password');
		await page.waitForSelector('text="The name or the password is wrong."');
	});
	await submit(page, 'admin', password);
	await page.waitForSelector('.shell');
	// What is still asked when the reader leaves is taken back, not refused.
	await settled(page);
	await page.route('**/api/stats/**', async (route) => { await page.waitForTimeout(300); await route.continue().catch(() => {}); });
	await page.route('**/api/auth/logout', async (route) => {
		const response = await route.fetch();
		await page.waitForTimeout(1000);
		await route.fulfill({ response });
	});
	await page.reload();
	await logout(page);
	await page.unrouteAll({ behavior: 'wait' });
	await page.context().close();
}

// code is what an authenticator shows for a secret.
function code(secret) {
	const bits = [...secret.replace(/=+$/, '')].map((c) => 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'.indexOf(c).toString(2).padStart(5, '0')).join('');
	const raw = Buffer.from(bits.match(/.{8}/g).map((b) => parseInt(b, 2)));
	const count = Buffer.alloc(8);
	count.writeBigUInt64BE(BigInt(Math.floor(Date.now() / 30_000)));
	const mac = createHmac('sha1', raw).update(count).digest(), at = mac[19] & 15;
	return String((mac.readUInt32BE(at) & 0x7fffffff) % 1_000_000).padStart(6, '0');
}

// invited comes by an invitation, looks, and gets no further than a viewer may;
// then guards the account with a second factor and with a passkey.
export async function invited(browser) {
	const admin = await open(browser);
	await visit(admin, '/?view=admin&tab=users');
	await admin.fill('input[name=label]', 'vera');
	await admin.click('button[type=submit]');
	const invitation = new URL(await admin.textContent('.secret'));
	await admin.context().close();

	const page = await open(browser, { login: false });
	await page.goto(base + invitation.pathname + invitation.hash);
	await page.fill('#password', 'a password of vera');
	await page.click('button[type=submit]');
	await page.waitForSelector('.figure');
	await settled(page);
	check(new URL(page.url()).pathname === '/', `after an invitation the address is ${page.url()}`);
	check(await page.$('text="+ Note"') === null, 'a viewer is offered to write notes');
	await barriers(page, 'viewer');

	await visit(page, '/?view=admin&tab=keys');
	check(await page.$('input[name=label]') === null, 'a viewer is shown the page of keys');
	await page.click('text="Set up"');
	await page.waitForSelector('.qr img');
	const secret = await page.textContent('code.secret');
	await page.fill('input[name=code]', code(secret));
	await page.click('button >> text="Confirm"');
	await page.waitForSelector('pre.secret');
	const recovery = (await page.textContent('pre.secret')).split('\n')[0];
	await logout(page);
	await expecting(page, 401, async () => {
		await submit(page, 'vera', 'a password of vera');
		await page.waitForSelector('#code:visible');
	});
	await barriers(page, 'code');
	await page.fill('#code', recovery);
	await page.click('button[type=submit]');
	await page.waitForSelector('.shell');
	await page.context().close();
}

export async function passkeys(browser) {
	const here = base.replace('127.0.0.1', 'localhost');
	const page = await open(browser, { login: false });
	const cdp = await page.context().newCDPSession(page);
	await cdp.send('WebAuthn.enable');
	await cdp.send('WebAuthn.addVirtualAuthenticator', { options: { protocol: 'ctap2', transport: 'internal', hasResidentKey: true, hasUserVerification: true, isUserVerified: true, automaticPresenceSimulation: true } });
	await enter(page, { at: here });
	await page.goto(here + '/?view=admin&tab=account');
	await page.click('text="Add a passkey"');
	await page.waitForSelector('section:has(h2:text-is("Passkeys")) tbody tr');
	await logout(page);
	await page.click('text="Use a passkey"');
	await page.waitForSelector('.shell');
	await page.context().close();
}
