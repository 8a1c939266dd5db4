// classes.js: tags as Plausible has them, in the names of classes:
// plausible-event-name=Sign+up, plausible-event-plan--pro, plausible-revenue-amount=9.

const tag = (el) => {
  const t = { props: {} }
  for (const c of el.classList) {
    const m = /^plausible-(event|revenue)-(.+?)(?:=|--)(.+)$/.exec(c)
    if (!m) continue
    const value = m[3].replace(/\+/g, ' ')
    if (m[1] == 'revenue') (t.revenue = t.revenue || {})[m[2]] = value
    else if (m[2].toLowerCase() == 'name') t.name = value
    else t.props[m[2]] = value
  }
  return t.name && t
}
