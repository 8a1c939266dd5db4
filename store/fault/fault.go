//go:build !fault

// Package fault names the moments at which a crash is most likely to show a
// hole: before and after every effect of a protocol. The crash tests build the
// program with the tag "fault" and kill it at each of them in turn.
//
// In every other build [Point] is empty and costs nothing.
package fault

// Point marks a moment. Its name is one of [Points].
func Point(string) {}

// AckEarly is true in the build that is meant to lose events: the negative
// control of the crash harness.
const AckEarly = false
