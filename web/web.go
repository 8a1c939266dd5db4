// Package web holds what a browser gets: hand-written HTML, CSS and ES modules,
// served as they are. Nothing is built and nothing is loaded from a third party;
// the server sends a policy that would not allow it.
//
// index.html is the dashboard, and the way in: one page, whose modules are in
// dashboard/, one file for one thing. Its address bar is its state (dashboard/state.js). What
// others wrote is in vendor/, with versions and licences.
package web

import "embed"

// FS holds the files. The server answers "/", "/setup" and "/invite" with index.html.
//
//go:embed *.html *.css *.svg dashboard vendor
var FS embed.FS
