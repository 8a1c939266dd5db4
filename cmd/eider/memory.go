package main

import (
	"math"
	"os"
	"runtime"
	"runtime/debug"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

// A memory is how the memory of the process is shared out.
type memory struct {
	limit   int64 // what there is
	goLimit int64 // GOMEMLIMIT: heap and stacks of Go, SQLite's cache not among them
	duckdb  int64 // memory_limit of DuckDB
	threads int   // of DuckDB
	publish int64 // bytes of journal at which it is written to Parquet
}

// shareMemory shares out limit bytes among Go, DuckDB and the rest: the pages of
// the binary, thread stacks, SQLite's cache and what DuckDB does not count.
//
//	limit      Go  DuckDB  threads    rest  publish
//	128 MiB    56      40        1      32        4
//	256 MiB   112      80        1      64        8
//	512 MiB   224     160        2     128       16
//	  1 GiB   448     320        5     256       32
//	  4 GiB  1216    2240        35    640       32
//
// Of the first GiB Go gets 7/16 and DuckDB 5/16, of what is above it 1/4 and
// 5/8. A thread of DuckDB takes 64 MiB before it is of use; there are never more
// of them than cores.
//
// Go is given more than it needs at rest (about 30 MiB) because its limit is
// where the collector starts to work harder, while DuckDB's is where a query
// starts to write to disk: neither is memory that is always taken.
//
// What is not published is in DuckDB's memory, and what a publish writes is in
// Go's, beside what comes in: with 32 MiB of it a server with 256 MiB was killed
// at full ingest.
func shareMemory(limit int64, cores int) memory {
	const gib = 1 << 30
	first, above := min(limit, gib), max(limit-gib, 0)
	m := memory{limit: limit, goLimit: first*7/16 + above/4, duckdb: first*5/16 + above*5/8}
	m.publish = min(limit/32, 32<<20)
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
// by GOMEMLIMIT, which the runtime has read by itself.
func (m memory) limitGo() {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(m.goLimit)
	}
}
