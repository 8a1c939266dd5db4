// plausible.js: the front of /js/script.js. It takes what Plausible's own script
// takes: the attributes of the element, plausible() and what was queued for it,
// and, where init.js is there, plausible.init().

const me = doc.currentScript || doc.getElementById('plausible')
const attribute = (name) => me && me.getAttribute(name)
const had = window.plausible || {}

const begin = () => {
  for (const f of features) f()
  start()
  for (const args of had.q || []) track(...args)
}

safe(() => {
  if (had.l) return // it is there already
  Object.assign(o, flags)
  o.site = attribute('data-domain')
  o.api = attribute('data-api') || home(me)
  o.include = attribute('data-include')
  o.exclude = attribute('data-exclude')
  if (o.downloads) {
    const more = attribute('add-file-types')
    o.downloads = attribute('file-types') || fileTypes + (more ? ',' + more : '')
  }
  const props = {}
  if (o.pageProps) for (const a of me.attributes) if (!a.name.indexOf('event-')) props[a.name.slice(6)] = a.value
  o.props = () => props
  window.plausible = track
  track.l = true
  if (flags.init) prepare()
  else begin()
})()
