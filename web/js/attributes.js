// attributes.js: tags as Eider has them:
// data-eider="Sign up" data-eider-plan="pro" data-eider-revenue="9.99 EUR".

const tag = (el) => {
  const name = el.getAttribute('data-eider')
  if (!name) return
  const t = { name, props: {} }
  for (const a of el.attributes) {
    const key = a.name.slice(11)
    if (a.name.indexOf('data-eider-')) continue
    if (key != 'revenue') t.props[key] = a.value
    else t.revenue = { amount: a.value.split(' ')[0], currency: a.value.split(' ')[1] }
  }
  return t
}
