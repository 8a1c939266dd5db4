package main

import (
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

// A memory is how the memory of the process is shared out.
type memory struct {
	limit   int64 // what there is
	goLimit int64 // GOMEMLIMIT: heap and stacks of Go, SQLite's cache not among them
	duckdb  int64 // memory_limit of DuckDB
	threads int   // of DuckDB
	publish int64 // bytes of journal at which it is written to Parquet
	answers int64 // bytes of answers that are kept; of what Go has
	singles int64 // bytes of single events that are being taken in, as they were sent
	batches int64 // the same of batches; one is taken in any case
	buffer  int64 // bytes of events that are durable and in no report yet
}

// shareMemory shares out limit bytes among Go, DuckDB and the rest: the pages of
// the binary, thread stacks, SQLite's cache and what DuckDB does not count.
//
//	limit      Go  DuckDB  threads    rest  publish  answers  singles  batches  buffer
//	128 MiB    40      40        1      48        4        4        2        5       8
//	256 MiB    80      80        1      96        8        8        4       10      16
//	512 MiB   160     160        2     192       16       16        8       21      32
//	  1 GiB   320     320        5     384       32       32       16       40      64
//	  4 GiB  1088    2240       35     768       32       64       64       40     128
//
// Of the first GiB Go and DuckDB get 5/16 each, of what is above it 1/4 and
// 5/8. A thread of DuckDB takes 64 MiB before it is of use; there are never more
// of them than cores.
//
// Go is given more than it needs at rest (about 30 MiB) because its limit is
// where the collector starts to work harder, while DuckDB's is where a query
// starts to write to disk: neither is memory that is always taken. The rest is
// taken as well: with 7/16 for Go a server with 256 MiB was killed when it was
// asked for all that it does at once.
//
// What is not published is in DuckDB's memory, and what a publish writes is in
// Go's, beside what comes in: with 32 MiB of it a server with 256 MiB was killed
// at full ingest.
//
// An event takes several times its bytes on its way, in the forms that it goes through,
// and one batch may have 10 MiB: without a limit on bytes a few clients that
// send the largest bodies there are ended a server with 256 MiB in seconds.
func shareMemory(limit int64, cores int) memory {
	const gib = 1 << 30
	first, above := min(limit, gib), max(limit-gib, 0)
	m := memory{limit: limit, goLimit: first*5/16 + above/4, duckdb: first*5/16 + above*5/8}
	m.publish, m.answers = min(limit/32, 32<<20), min(limit/32, 64<<20)
	m.singles, m.batches, m.buffer = min(limit/64, 64<<20), min(limit/24, 40<<20), min(limit/16, 128<<20)
	m.threads = min(cores, max(1, int(m.duckdb/(64<<20))))
	return m
}

// machineMemory returns how much memory this process may use: the limit of its
// cgroup, or a part of a machine that it shares with others. A machine of up to
// 1 GiB is taken to be there for Eider alone: a virtual machine that runs one
// container has no cgroup limit.
func machineMemory(cgroup, system uint64) int64 {
	const alone, most = 1 << 30, 8 << 30
	if cgroup != 0 && cgroup < max(system, 1) || system == 0 && cgroup != 0 && cgroup < math.MaxInt64 {
		return int64(cgroup)
	}
	if system == 0 {
		return alone
	}
	return int64(min(max(min(system, alone), system/2), most))
}

// memory shares out the memory of this machine as the settings say.
func (c *config) memory() memory {
	cgroup, err := memlimit.FromCgroup()
	if err != nil { // no cgroup, or no limit in it
		cgroup = 0
	}
	system, err := memlimit.FromSystem()
	if err != nil {
		system = 0
	}
	m := shareMemory(machineMemory(cgroup, system), runtime.GOMAXPROCS(0))
	if c.duckdbMemoryLimit != 0 {
		m.duckdb = c.duckdbMemoryLimit
	}
	if c.duckdbThreads != 0 {
		m.threads = c.duckdbThreads
	}
	return m
}

// limitGo sets the memory limit of Go's runtime, unless the operator has set it
// by GOMEMLIMIT, which the runtime has read by itself; likewise GOGC.
//
// Where there is plenty the heap may grow to four times what is in use before it
// is collected, since that costs a tenth of the processor at full ingest; where
// memory is scarce by no more than half of it. The limit holds all the same.
func (m memory) limitGo() {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(m.goLimit)
	}
	if os.Getenv("GOGC") != "" {
		return
	}
	switch {
	case m.limit >= plenty:
		debug.SetGCPercent(300)
	case m.limit <= scarce:
		debug.SetGCPercent(50)
	}
}

// plenty is as much memory as lets the heap grow further, and scarce as little as keeps it
// smaller.
const (
	plenty = 1 << 30
	scarce = 256 << 20
)

// thrifty returns an environment for the process to begin again with, so that its
// allocators keep little of what was freed, if it should and has not.
//
// DuckDB brings jemalloc, and the C library beside it has its own allocator. Each has
// several arenas, lest threads wait for each other, and an arena keeps for itself what
// was freed in it, jemalloc for ten seconds. With one thread of DuckDB nobody waits, and
// where memory is scarce a tenth of a second is enough. Both read their settings before
// main begins.
func (m memory) thrifty(env []string) ([]string, bool) {
	has := func(name string) bool {
		return slices.ContainsFunc(env, func(kv string) bool { return strings.HasPrefix(kv, name+"=") })
	}
	const duckdb, libc = "DUCKDB_JE_MALLOC_CONF", "MALLOC_ARENA_MAX"
	if m.threads > 1 || has(duckdb) || has(libc) {
		return nil, false
	}
	return append(slices.Clone(env), duckdb+"=narenas:1,dirty_decay_ms:100,muzzy_decay_ms:0", libc+"=1"), true
}
