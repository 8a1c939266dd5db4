//go:build fault

package fault

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
)

// hits counts down to the moment at which the process dies.
var hits atomic.Int64

// Point kills the process with SIGKILL, as a power cut would end it, if name is
// the one that EIDER_FAULT asks for: "name" for the first time it is reached,
// "name@3" for the third. It panics for a name that is not in [Points].
func Point(name string) {
	if !slices.Contains(Points, name) {
		panic("fault: internal error: point not listed: " + name)
	}
	want, times, _ := strings.Cut(os.Getenv("EIDER_FAULT"), "@")
	if name != want {
		return
	}
	n, err := strconv.ParseInt(times, 10, 64)
	if err != nil {
		n = 1
	}
	if hits.Add(1) == n {
		syscall.Kill(syscall.Getpid(), syscall.SIGKILL)
		select {} // the signal is on its way
	}
}

// AckEarly makes ingest say 202 before the commit. The crash harness must find
// the losses, or it would find none of ours.
var AckEarly = os.Getenv("EIDER_FAULT_ACK_EARLY") != ""
