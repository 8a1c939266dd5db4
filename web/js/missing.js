// missing.js: pages that are not there, for browsers that tell a page its status.

feature(() => {
  if (o.auto && o[404] && performance.getEntriesByType('navigation')[0].responseStatus == 404) track('404', { props: { path: loc.pathname } })
})
