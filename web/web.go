// Package web holds what a browser gets: hand-written HTML, CSS and ES modules,
// served as they are. Nothing is built and nothing is loaded from a third party;
// the server sends a policy that would not allow it.
package web

import "embed"

// FS holds the files. The server answers "/" with index.html and "/setup" with
// setup.html.
//
//go:embed *.html *.css *.js *.svg
var FS embed.FS
