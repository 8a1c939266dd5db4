// core.js: what both trackers are made of. The server joins it with the parts
// that a script needs and with one front (plausible.js or eider.js), wraps them
// in one function and makes them small.
//
// It keeps three promises. Nothing it does throws into the page. What was sent
// and not answered is kept, at most 20 events and 24 hours, and sent again under
// the id it had, so that it counts once. Where the browser says that it does not
// want to be tracked (GPC, DNT), nothing is left on the device.

const doc = document
const nav = navigator
const loc = location

/** What the front has set: site, api, hash, manual, local, user, props(name), … */
const o = {}

/** A function like f, of which nothing is thrown. */
const safe = (f) => function () {
  try { return f.apply(this, arguments) } catch (e) { }
}

/** Listens before the page does, so that the page cannot stop it. */
const on = (types, f) => types.split(' ').map((t) => addEventListener(t, safe(f), true))

/** The site's storage; the memory of this page where the browser blocks it. */
let disk = {}
safe(() => { disk = localStorage })()

const quiet = () => nav.globalPrivacyControl || nav.doNotTrack == 1

/** Where events wait that did not leave. */
const store = quiet() ? {} : disk

const hidden = () => doc.visibilityState == 'hidden'
const path = () => loc.pathname + (o.hash ? loc.hash : '')

/** Whether nothing is counted here: a developer's page, a driven browser, an opt-out. */
const ignored = () =>
  (!o.local && /^(|localhost|127.+|\[::1?])$/.test(loc.hostname)) ||
  nav.webdriver ||
  (disk.eider_ignore || disk.plausible_ignore) == 'true' ||
  (o.dnt && quiet())

// Sending. An id begins with the 13 digits of ms since 1970, and a number that
// grows: ids sort in the order of their events, and say how old these are. What is
// kept is kept under prefix and id.

const prefix = 'eider_event.'
let count = 1e4

/** Bodies that have no answer yet, by key. */
const waiting = {}

/** The keys of what is kept, oldest first. */
const kept = () => Object.keys(store).filter((k) => !k.indexOf(prefix)).sort()

const keep = safe((key) => {
  const old = kept()
  if (old.length > 19) delete store[old[0]]
  store[key] = waiting[key]
})

/** Sends a body. done gets the status of the answer, 0 if there was none. */
const send = (key, body, done) => {
  const answered = safe((status) => {
    const final = status && status < 429
    if (final) delete store[key]
    else keep(key)
    delete waiting[key]
    if (final) resend()
    if (done) done({ status })
  })
  // A page that goes away gets no answers: a beacon is sent for it, or is not.
  const beacon = () => answered(nav.onLine && nav.sendBeacon(o.api, body) ? 202 : 0)
  waiting[key] = body
  if (hidden()) return beacon()
  try {
    fetch(o.api, { method: 'POST', body, keepalive: true, credentials: 'omit' }).then((r) => answered(r.status), () => answered(0))
  } catch (e) {
    beacon()
  }
}

/** Sends the oldest kept event; its answer sends the next. */
const resend = safe(() => {
  for (const key of kept()) {
    if (key.slice(12, 25) > Date.now() - 864e5) return waiting[key] || send(key, store[key])
    delete store[key] // it is more than a day old
  }
})

/** Makes a body of an event; nothing if it is not to be sent. */
let encode = JSON.stringify

const tell = (e, done) => {
  const id = e.id = '' + Date.now() + (count++ + Math.random())
  e.d = o.site
  e.h = o.hash
  e.user = o.user
  const body = encode(e)
  if (body) send(prefix + id, body, done)
}

/** What pages call: one event, with props, revenue, url, interactive, callback. */
const track = safe((name, x) => {
  x = x || {}
  const page = name == 'pageview'
  const e = {
    n: name, u: x.url || x.u || loc.href, r: doc.referrer, w: innerWidth,
    p: { ...o.props(name), ...x.props }, $: x.revenue, i: x.interactive
  }
  const no = ignored() || (page && o.excluded && o.excluded())
  if (page) {
    engaged()
    reading = !no && e
    spent = depth = 0
    told = -1
  }
  if (!no) tell(e, x.callback)
  else if (x.callback) x.callback()
})

// Engagement: how long the page was in front of somebody, and how far it was read.

let reading // the event of the page that is read; falsy while no page is counted
let since // when the page came to the front; falsy while it is not there
let spent // ms in front that were not told yet
let depth // percent; the server knows that more than 100 is 100
let told // the depth that was told last

const clock = () => {
  const now = Date.now()
  if (since) spent += now - since
  since = !hidden() && doc.hasFocus() && now
}

const scrolled = safe(() => {
  depth = Math.max(depth, Math.ceil((scrollY + innerHeight) / doc.scrollingElement.scrollHeight * 100))
})

const engaged = () => {
  clock()
  if (reading && (spent >= 3e3 || depth > told)) {
    tell({ n: 'engagement', u: reading.u, p: reading.p, e: spent, sd: told = depth })
    spent = 0
  }
}

// Pages.

let last // path of the page that was counted last

const view = safe(() => {
  if (last != path() && !hidden()) {
    last = path()
    track('pageview')
  }
})

/** Counts what an application makes of the address. */
const follow = (method) => {
  const was = history[method]
  history[method] = function () {
    scrolled() // while the page before is still there
    const result = was.apply(this, arguments)
    view()
    return result
  }
}

/** Follows the page to the front and from it. */
const attend = () => {
  scrolled()
  clock()
  if (!since) engaged()
  if (!last && !o.manual) view() // it was prepared, or opened behind another, or went and came back
}

const start = () => {
  on('scroll', scrolled)
  on('focus blur visibilitychange', attend)
  on('pagehide', () => { // the page is hidden after this, which is when engagement is told
    last = 0
    for (const key in waiting) keep(key)
  })
  on('online', resend)
  if (!o.manual) {
    follow('pushState')
    on('popstate hashchange', view)
    view()
  }
  if (!ignored()) resend()
}

/** Where events go if nobody says otherwise: the host the script came from. */
const home = (script) => new URL(script.src).origin + eventPath
