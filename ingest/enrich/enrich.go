// Package enrich tells what a request says about its visitor: browser, system
// and device, whether a machine sent it, the page, where the visitor came from,
// the country, the language, and what money was spent.
//
// # Promise
//
// Everything here is a pure function of its arguments and of data that is built
// into the program, but for [Places], which may read a file. Nothing is sent
// anywhere and nothing is kept of a visitor: caches hold parsed user agents,
// accepted languages and the hosts of referrers, never an address. Every cache
// has a fixed number of entries and every key a greatest length, so that a
// million distinct keys cost no more memory than the first few thousand. All of
// it is safe for concurrent use. No input makes it panic.
//
// The strings it returns do not share memory with its arguments, so that a
// caller may keep them without keeping the request.
//
// # On disk
//
// Nothing is written. The data sets, with their versions and licences, are in
// data/README.md.
package enrich
