// links.js: clicks that lead to another host, and to files.

/** Files that are downloads if nobody says otherwise. */
const fileTypes = 'pdf,xlsx,docx,txt,rtf,csv,exe,key,pps,ppt,pptx,7z,pkg,rar,gz,zip,avi,mov,mp4,mpeg,wmv,midi,mp3,wav,wma,dmg'

feature(() => {
  const types = o.downloads ? (o.downloads == 1 ? fileTypes : '' + o.downloads).split(/[\s,]+/) : []
  const click = (e) => {
    if (e.type == 'auxclick' && e.button != 1) return
    const a = e.target.closest('a[href]')
    if (!a || !a.host || (o.claimed && o.claimed(a))) return
    const file = a.href.split(/[?#]/)[0]
    if (o.outbound && a.host != loc.host) track('Outbound Link: Click', { props: { url: a.href } })
    else if (types.indexOf(file.split('.').pop().toLowerCase()) >= 0) track('File Download', { props: { url: file } })
  }
  on('click auxclick', click)
})
