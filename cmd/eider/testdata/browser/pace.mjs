// Opens the dashboard of a running server in Chromium over and over, and prints
// as JSON how long that took: node pace.mjs SERVER KEY SITE LAST LOADS CROWDED
// OTHERS.
// LAST is the last day of the range, which is about twelve months. What it
// measures, in ms from the beginning of the navigation:
//
//   paint   until something was seen
//   filled  until every figure, the chart, each panel and the map were there
//
// cold is a new browser on a range that nobody has asked for yet, warm the same
// browser on the same range again. crowded is cold while OTHERS more open theirs at
// the same moment, on ranges of their own: they ask what the browser asked, four
// requests at a time as it does, and others is how long that took each of them.
import { chromium } from 'playwright-core'

const [server, key, site, last, loads, crowded, others] = process.argv.slice(2)
const headers = { Authorization: 'Bearer ' + key }
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM || '/usr/bin/chromium', args: ['--no-sandbox', '--disable-dev-shm-usage', '--disable-gpu'] })

let ranges = 0
/** Returns the parameters of a range that was not asked for before. */
function range() {
  const from = new Date(last)
  from.setUTCDate(from.getUTCDate() - 364 + ++ranges)
  return { from: from.toISOString().slice(0, 10), to: last }
}
const address = ({ from, to }) => `${server}/?${new URLSearchParams({ site, period: 'custom', from, to })}`

/** In the page: notes when all of it was there, and forgets that if it goes away again. */
function watch() {
  const there = () => document.querySelectorAll('.panel').length > 4 && document.querySelectorAll('.figure').length > 4 && !document.querySelector('.skeleton, .loading')
    && document.querySelector('.plot canvas') && document.querySelector('.map svg path')
    && [...document.querySelectorAll('.figure .value')].every((v) => v.textContent.trim()) && [...document.querySelectorAll('.panel .body')].every((b) => b.querySelector('td, .empty, svg'))
  new MutationObserver(() => { if (!there()) delete window.filledAt; else window.filledAt ??= performance.now() })
    .observe(document, { subtree: true, childList: true, attributes: true, characterData: true })
}

/** Returns a page of a browser that has nothing yet. */
async function fresh() {
  const context = await browser.newContext({ extraHTTPHeaders: headers, viewport: { width: 1280, height: 900 }, locale: 'en-GB' })
  const page = await context.newPage()
  await page.addInitScript(watch)
  return page
}

/** Opens an address and returns what it took. */
async function open(page, url) {
  const cdp = await page.context().newCDPSession(page)
  await cdp.send('Network.enable')
  let bytes = 0, refused = 0
  const asked = new Map() // of requests that went to the server, by id
  cdp.on('Network.requestWillBeSent', (e) => { if (e.request.url.startsWith(server)) asked.set(e.requestId, e.request.url) })
  cdp.on('Network.requestServedFromCache', (e) => asked.delete(e.requestId))
  cdp.on('Network.responseReceived', (e) => { if (e.response.fromDiskCache) asked.delete(e.requestId); if (e.response.status >= 400) refused++ })
  cdp.on('Network.loadingFinished', (e) => { bytes += e.encodedDataLength })
  await page.goto(url, { waitUntil: 'load' })
  await page.waitForFunction(() => window.filledAt, null, { timeout: 120_000 })
  await page.waitForLoadState('networkidle')
  const took = await page.evaluate(() => ({ paint: performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0, filled: window.filledAt ?? 0 }))
  await cdp.detach()
  return { ...took, bytes, requests: asked.size, refused, urls: [...asked.values()] }
}

/** Asks what a browser asks when the dashboard is opened, on another range. Returns the ms it took, and how many were refused. */
async function another(urls) {
  const { from, to } = range(), waiting = urls.map((url) => {
    const u = new URL(url)
    if (u.searchParams.has('start_date')) {
      u.searchParams.set('start_date', from)
      u.searchParams.set('end_date', to)
    }
    return u
  })
  const began = performance.now()
  let refused = 0
  await Promise.all(Array.from({ length: 4 }, async () => {
    while (waiting.length) {
      const res = await fetch(waiting.shift(), { headers })
      await res.arrayBuffer()
      if (!res.ok) refused++
    }
  }))
  return { ms: performance.now() - began, refused }
}

const result = { cold: [], warm: [], crowded: [], others: [], refused: 0 }
let asks = []
for (let i = 0; i < Number(loads); i++) {
  const page = await fresh(), url = address(range())
  const { urls, ...cold } = await open(page, url)
  asks = urls.filter((u) => new URL(u).pathname.startsWith('/api/'))
  result.cold.push(cold)
  const { urls: _, ...warm } = await open(page, url)
  result.warm.push(warm)
  await page.context().close()
}
for (let i = 0; i < Number(crowded); i++) {
  const page = await fresh()
  const [{ urls: _, ...mine }, ...theirs] = await Promise.all([open(page, address(range())), ...Array.from({ length: Number(others) }, () => another(asks))])
  result.crowded.push(mine)
  for (const o of theirs) { result.others.push(o.ms); result.refused += o.refused }
  await page.context().close()
}
await browser.close()
console.log(JSON.stringify(result))
