package web

import "embed"

// Tracker holds the parts of the scripts that sites put into their pages. Unlike
// the other files they are not served as they are: the server joins them and
// makes them small.
//
//go:embed js/*.js
var Tracker embed.FS
