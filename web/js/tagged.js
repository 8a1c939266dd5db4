// tagged.js: elements that say which event a click on them is. tag, of classes.js
// or attributes.js, reads what an element says: name, props, revenue, or nothing.

/** What an element says, or one of the three around it. */
const tagOf = (el) => {
  for (let i = 0; el && i < 4; i++, el = el.parentElement) {
    const t = tag(el)
    if (t) {
      t.form = el.tagName == 'FORM'
      if (el.href) t.props.url = el.href
      return t
    }
  }
}

feature(() => {
  if (!o.tagged) return
  o.claimed = tagOf
  const click = (e) => {
    const t = (e.type == 'click' || e.button == 1) && tagOf(e.target)
    if (t && !t.form) track(t.name, t)
  }
  on('click auxclick', click)
  on('submit', (e) => {
    const t = tag(e.target)
    if (t) track(t.name, t)
  })
})
