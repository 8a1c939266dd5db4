// more.js: the front of /js/eider.js?more. The server puts it before the parts,
// which find here what they else have from the core.

const doc = document
const loc = location
const feature = (f) => safe(f)()

for (const name of (o.auto || '').split(/[\s,]+/)) o[name] = o[name] || 1
