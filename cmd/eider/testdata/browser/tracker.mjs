// Drives pages with a tracker in a real Chromium: node tracker.mjs SCENARIO PAGES
// SERVER. The pages are those of trackerweb_test.go. It prints what the pages'
// own scripts complained of, as JSON; there must be nothing.
import { chromium } from 'playwright-core'

const [scenario, pages, server] = process.argv.slice(2)
// A page that goes away sends what Chromium itself says it is, whatever the context says.
const userAgent = 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36'
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-dev-shm-usage', '--disable-blink-features=AutomationControlled', '--host-resolver-rules=MAP *.example 127.0.0.1', '--user-agent=' + userAgent],
})
const context = await browser.newContext({ userAgent })
const complaints = []
context.on('weberror', (e) => complaints.push(String(e.error())))
const page = await context.newPage()
let posts = 0
page.on('request', (r) => { if (r.method() == 'POST' && r.url().startsWith(server)) posts++ })

/** Waits until so many events were sent from this page since the start. */
const sent = async (n) => { while (posts < n) await page.waitForEvent('request', { timeout: 20000 }).catch(() => { throw Error(`${posts} events sent, not ${n}`) }) }
/** Requests that have no answer yet. One that a page left behind is not told of. */
const asked = new Set()
context.on('request', (r) => asked.add(r))
context.on('requestfinished', (r) => asked.delete(r))
context.on('requestfailed', (r) => asked.delete(r))
/** Waits until nothing was asked for a while and the answers are in. */
const settled = async () => {
  for (let quiet = 0, n = 0; quiet < 4 && n < 60; n++) {
    await page.waitForTimeout(100)
    quiet = asked.size ? 0 : quiet + 1
  }
}
const open = (path) => page.goto(pages + path)
/** Makes the page believe that it went to the back. */
const hide = () => page.evaluate(() => {
  Object.defineProperty(document, 'visibilityState', { value: 'hidden', configurable: true })
  document.dispatchEvent(new Event('visibilitychange', { bubbles: true }))
})

const scenarios = {
  async pages() { // a site of many pages: each counts, and so does the way back
    await open('/a')
    await sent(1)
    await page.click('#b')
    await page.waitForURL('**/b')
    await sent(2)
    await settled()
    await page.goBack()
    await page.waitForURL('**/a')
    await settled()
  },
  async app() { // pushState counts a new path once, and no path twice
    await open('/app')
    await settled() // with data-exclude no page counts before the second file is there
    await page.evaluate(() => {
      history.pushState(null, '', '/app/one')
      history.pushState(null, '', '/app/one?x=1')
      history.replaceState(null, '', '/app/two')
    })
    await settled()
    await page.goBack()
    await settled()
  },
  async hash() {
    await open('/app#/first')
    await page.evaluate(() => { location.hash = '#/second' })
    await settled()
  },
  async offline() { // what was done offline comes, once, when there is a network again
    await open('/app')
    await settled()
    await context.setOffline(true)
    await page.evaluate(() => {
      const f = window.eider || window.plausible
      for (let i = 0; i < 5; i++) f('Offline', { props: { i } })
    })
    await page.waitForFunction(() => Object.keys(localStorage).length == 5)
    await context.setOffline(false)
    await page.waitForFunction(() => Object.keys(localStorage).length == 0)
    // And once more over a change of pages: answers that nobody waited for.
    await context.route(server + '/api/event', async (route) => { await route.fetch().catch(() => {}); await route.abort() })
    await page.evaluate(() => (window.eider || window.plausible)('Unheard'))
    await page.waitForFunction(() => Object.keys(localStorage).length > 0)
    await context.unrouteAll({ behavior: 'wait' })
    await open('/b')
    await page.waitForFunction(() => Object.keys(localStorage).length == 0)
    await settled()
  },
  async full() { // only the last 20 are kept
    await open('/app')
    await settled()
    await context.setOffline(true)
    await page.evaluate(() => { for (let i = 0; i < 30; i++) (window.eider || window.plausible)('Many', { props: { i } }) })
    await page.waitForFunction(() => Object.keys(localStorage).length == 20 && Object.values(localStorage).some((v) => v.includes('"i":29')))
    await page.evaluate(() => {
      localStorage['eider_event.1000000000000' + '10000.5'] = '{"n":"Old","d":"shop.example","u":"https://shop.example/"}'
      localStorage.mine = 'untouched'
    })
    await context.setOffline(false)
    await page.waitForFunction(() => Object.keys(localStorage).join() == 'mine')
    await settled()
  },
  async clicks() {
    await open('/clicks')
    await page.waitForTimeout(0)
    await page.waitForFunction(() => !window.eider || performance.getEntriesByType('resource').some((r) => r.name.endsWith('?more')))
    await settled()
    for (const id of ['out', 'file', 'inside', 'tagged', 'send', 'wrong', 'taggedsend']) await page.click('#' + id)
    await page.click('#out', { button: 'middle' })
    await settled()
  },
  async missing() {
    await open('/missing')
    await settled()
  },
  async events() { // revenue, properties, a queue, and a callback that is called
    await open('/events')
    await page.waitForFunction(() => window.called)
    await settled()
  },
  async reading() {
    await open('/long')
    await settled()
    await page.evaluate(() => window.scrollTo(0, (document.documentElement.scrollHeight - innerHeight) / 2))
    await page.waitForFunction(() => scrollY > 0)
    await page.waitForTimeout(300)
    await hide()
    await settled()
  },
  async broken() { // a page that has broken what scripts rely on
    await open('/broken')
    await page.waitForFunction(() => window.done)
  },
  async blocked() { // no storage
    await open('/blocked')
    await settled()
    await page.evaluate(() => (window.eider || window.plausible)('Here'))
    await settled()
  },
  async ignored() { // an opt-out, and the older one
    await open('/app')
    await settled()
    await page.evaluate(() => { localStorage.eider_ignore = 'true' })
    await page.evaluate(() => (window.eider || window.plausible)('Ignored'))
    await open('/b')
    await page.evaluate(() => { localStorage.clear(); localStorage.plausible_ignore = 'true' })
    await open('/a')
    await settled()
  },
  async private() { // GPC: nothing stays on the device; the page itself remembers
    await context.addInitScript(() => Object.defineProperty(Navigator.prototype, 'globalPrivacyControl', { value: true }))
    await context.setExtraHTTPHeaders({ 'Sec-GPC': '1' })
    await open('/app')
    await settled()
    await context.setOffline(true)
    await page.evaluate(() => window.eider('Late'))
    await page.waitForTimeout(200)
    if (await page.evaluate(() => Object.keys(localStorage).length)) complaints.push('something stayed on the device')
    await context.setOffline(false)
    await settled()
    await open('/dnt')
    await settled()
  },
  async vitals() {
    await open('/vitals')
    await page.waitForFunction(() => performance.getEntriesByType('resource').some((r) => r.name.endsWith('?more')))
    // What was painted is told to observers a little later, to those of the tracker before this one.
    await page.evaluate(() => new Promise((done) => new PerformanceObserver(() => setTimeout(done, 500)).observe({ type: 'largest-contentful-paint', buffered: true })))
    await page.click('#b').catch(() => {})
    await settled()
  },
  async local() { // what a developer does at home is not counted, unless he says so
    await open('/a')
    await settled()
    await open('/local')
    await settled()
  },
}
try {
  await scenarios[scenario]()
} finally {
  await page.goto('about:blank').catch(() => {})
  await context.close()
  await browser.close()
}
console.log(JSON.stringify(complaints))
