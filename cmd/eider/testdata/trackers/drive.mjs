// Drives one of the trackers in package.json against the server named on the
// command line, as a page would, and prints nothing if all went well.
//
//	node drive.mjs PACKAGE SERVER
import { createRequire } from 'node:module'

import { JSDOM } from 'jsdom'

const require = createRequire(import.meta.url)
const [name, server] = process.argv.slice(2)
const userAgent = 'Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0'

const dom = new JSDOM('<!doctype html><title>Shop</title>', {
  url: 'https://shop.example/cart?utm_source=news',
  referrer: 'https://www.google.com/',
  pretendToBeVisual: true,
})
const { window } = dom
window.ResizeObserver = class { observe() {} disconnect() {} }

const sent = []
const realFetch = globalThis.fetch
const post = (url, options) => {
  const answer = realFetch(url, { ...options, keepalive: false, headers: { ...options?.headers, 'User-Agent': userAgent } })
  sent.push(answer)
  return answer
}
window.fetch = globalThis.fetch = post

// The older tracker uses XMLHttpRequest. jsdom's own would ask for the browser's
// permission to cross origins, which is tested in a real browser.
window.XMLHttpRequest = class {
  headers = {}
  open(method, url) { Object.assign(this, { method, url }) }
  setRequestHeader(key, value) { this.headers[key] = value }
  send(body) {
    post(this.url, { method: this.method, headers: this.headers, body }).then(() => {
      this.readyState = 4
      this.onreadystatechange?.()
    })
  }
}
for (const key of ['window', 'document', 'location', 'history', 'localStorage', 'ResizeObserver', 'XMLHttpRequest']) {
  Object.defineProperty(globalThis, key, { value: key === 'window' ? window : window[key], configurable: true })
}

const drivers = {
  async '@plausible-analytics/tracker'() {
    const { init, track } = await import('@plausible-analytics/tracker')
    init({ domain: 'shop.example', endpoint: server + '/api/event', customProperties: { plan: 'pro' } })
    track('Purchase', { props: { item: 'book' }, revenue: { amount: 15.99, currency: 'USD' }, interactive: false })
  },
  async 'plausible-tracker'() {
    const { default: Plausible } = require('plausible-tracker')
    const plausible = Plausible({ domain: 'shop.example', apiHost: server })
    plausible.trackPageview()
    plausible.trackEvent('Purchase', { props: { item: 'book' } })
  },
  async 'plausible-client'() {
    const { Plausible } = require('plausible-client')
    const plausible = new Plausible({ domain: 'shop.example', apiHost: server })
    await plausible.sendEvent('pageview')
    await plausible.sendEvent('Purchase', { props: { item: 'book', none: null }, revenue: { currency: 'USD', amount: 15.99 } })
  },
}
await drivers[name]()
await new Promise((resolve) => setTimeout(resolve, 50))
for (const answer of await Promise.all(sent)) {
  const body = answer.bodyUsed ? 'ok' : await answer.text()
  if (answer.status !== 202 || body !== 'ok' || answer.headers.get('x-plausible-dropped')) {
    throw new Error(`${name}: ${answer.status} ${body}, dropped ${answer.headers.get('x-plausible-dropped')}`)
  }
}
if (sent.length !== 2) throw new Error(`${name} sent ${sent.length} events, want 2`)
process.exit(0)
