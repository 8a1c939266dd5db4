// vitals.js: how fast the page was for this visitor, once, when it is left: one
// event "Web Vitals" with lcp, fcp, ttfb and inp in ms, and cls.

feature(() => {
  if (!o.vitals) return
  const found = {}
  let sent
  const watch = (type, f, more) => safe(() => {
    new PerformanceObserver(safe((list) => list.getEntries().forEach(f))).observe(Object.assign({ type, buffered: true }, more))
  })()
  // The greatest sum of shifts in a window: 1 s apart at most, 5 s long at most.
  let sum = 0, begun = 0, latest = 0
  watch('largest-contentful-paint', (e) => { found.lcp = e.startTime })
  watch('paint', (e) => { if (e.name == 'first-contentful-paint') found.fcp = e.startTime })
  watch('event', (e) => { if (e.interactionId) found.inp = Math.max(found.inp || 0, e.duration) }, { durationThreshold: 16 })
  watch('layout-shift', (e) => {
    if (e.hadRecentInput) return
    if (e.startTime - latest > 1e3 || e.startTime - begun > 5e3) {
      sum = 0
      begun = e.startTime
    }
    latest = e.startTime
    sum += e.value
    found.cls = Math.max(found.cls || 0, sum)
  })
  const report = () => {
    const n = performance.getEntriesByType('navigation')[0]
    if (sent || found.lcp == null) return
    sent = 1
    const props = { cls: Math.round((found.cls || 0) * 1e4) / 1e4 }
    for (const k of ['lcp', 'fcp', 'inp']) if (found[k] != null) props[k] = Math.round(found[k])
    if (n) props.ttfb = Math.round(n.responseStart)
    track('Web Vitals', { props, interactive: false, url: first })
  }
  const first = loc.href
  on('visibilitychange', () => { if (doc.visibilityState == 'hidden') report() })
  on('pagehide', report)
})
