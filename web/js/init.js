// init.js: plausible.init() of Plausible's newer snippet. Where the element says
// data-domain, as in the older one, nobody needs to call it.

let started

const prepare = () => {
  track.init = safe((x) => {
    if (started) return
    started = 1
    x = x || {}
    o.site = x.domain || o.site || loc.hostname
    o.api = x.endpoint || o.api
    o.hash = x.hashBasedRouting
    o.outbound = x.outboundLinks
    o.downloads = x.fileDownloads && (x.fileDownloads.fileExtensions || 1)
    o.forms = x.formSubmissions
    o.local = x.captureOnLocalhost
    o.manual = x.autoCapturePageviews === false
    o.props = typeof x.customProperties == 'function' ? x.customProperties : () => x.customProperties
    if (x.transformRequest) encode = (e) => (e = x.transformRequest(e)) && JSON.stringify(e)
    o.tagged = 1
    begin()
  })
  if (had.o) track.init(had.o)
  else if (started = o.site) begin()
}
