// exclusions.js: pages that are left out, and pages that alone are counted.
// * is any part of a path between slashes, ** any part of it.

const covers = (list) => list.split(',').some((p) =>
  new RegExp('^' + p.trim().replace(/[.+?^${}()|[\]\\]/g, '\\$&').replace(/\*\*/g, '.\t').replace(/\*/g, '[^\\s/]*').replace(/\t/g, '*') + '/?$')
    .test(loc.pathname + (o.hash ? loc.hash : '')))

o.excluded = () => (o.include && !covers(o.include)) || (o.exclude && covers(o.exclude))
