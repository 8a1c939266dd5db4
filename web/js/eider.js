// eider.js: the front of /js/eider.js. What it does is said by attributes:
//
//	<script defer src="https://stats.example.com/js/eider.js" data-site="example.com" data-auto="outbound downloads"></script>
//
// What data-auto, data-include and data-exclude ask for is in a second file, at
// the same path with ?more, which is loaded only for them. API.md lists all.

safe(() => {
  const me = doc.currentScript
  const had = window.eider || {}
  const props = {}
  if (had.more) return // it is there already
  for (const { name, value } of me.attributes) {
    const key = name.slice(5) // data-
    if (key.indexOf('prop-')) o[key] = value == 'false' ? 0 : value || 1
    else props[key.slice(5)] = value
  }
  o.api = o.api || home(me)
  o.props = () => props
  window.eider = track
  if (!o.manual) follow('replaceState')
  track.identify = (id) => { o.user = id }
  track.more = (part) => part(o, on, track, safe)
  const only = o.include || o.exclude // then no page counts before it is known which do
  if (only || o.auto) import(me.src + '?more').then(only && start, () => {})
  if (!only) start()
  ;(had.q || []).map((args) => track(...args))
})()
