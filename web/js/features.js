// features.js: parts of /js/script.js wait here until its front knows the options.

const features = []
const feature = (f) => features.push(safe(f))
