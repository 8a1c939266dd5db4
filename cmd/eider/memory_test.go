package main

import (
	"slices"
	"testing"
)

func TestShareMemory(t *testing.T) {
	t.Parallel()
	const mib = 1 << 20
	for _, c := range []struct {
		limit int64 // this and all that follow but threads in MiB
		cores int
		want  memory
	}{ // the table of shareMemory's comment
		{128, 64, memory{goLimit: 40, duckdb: 40, threads: 1, publish: 4, answers: 4, singles: 2, batches: 5, buffer: 8}},
		{256, 64, memory{goLimit: 80, duckdb: 80, threads: 1, publish: 8, answers: 8, singles: 4, batches: 10, buffer: 16}},
		{512, 64, memory{goLimit: 160, duckdb: 160, threads: 2, publish: 16, answers: 16, singles: 8, batches: 21, buffer: 32}},
		{1024, 64, memory{goLimit: 320, duckdb: 320, threads: 5, publish: 32, answers: 32, singles: 16, batches: 40, buffer: 64}},
		{4096, 64, memory{goLimit: 1088, duckdb: 2240, threads: 35, publish: 32, answers: 64, singles: 64, batches: 40, buffer: 128}},
		{4096, 2, memory{goLimit: 1088, duckdb: 2240, threads: 2, publish: 32, answers: 64, singles: 64, batches: 40, buffer: 128}}, // never more threads than cores
	} {
		got := shareMemory(c.limit*mib, c.cores)
		c.want.limit = c.limit
		for _, bytes := range []*int64{&got.limit, &got.goLimit, &got.duckdb, &got.publish, &got.answers, &got.singles, &got.batches, &got.buffer} {
			*bytes /= mib
		}
		if got != c.want {
			t.Errorf("got %+v, want %+v", got, c.want)
		}
	}
}

func TestThriftyEnv(t *testing.T) {
	t.Parallel()
	one := memory{threads: 1}
	env, again := one.thrifty([]string{"HOME=/"})
	if want := []string{"HOME=/", "DUCKDB_JE_MALLOC_CONF=narenas:1,dirty_decay_ms:100,muzzy_decay_ms:0", "MALLOC_ARENA_MAX=1"}; !again || !slices.Equal(env, want) {
		t.Errorf("%v, %v, want %v", env, again, want)
	}
	for _, had := range [][]string{env, {"MALLOC_ARENA_MAX=4"}, {"DUCKDB_JE_MALLOC_CONF="}} {
		if _, again := one.thrifty(had); again {
			t.Errorf("with %v it begins again", had)
		}
	}
	if _, again := (memory{threads: 2}).thrifty(nil); again {
		t.Error("with two threads it begins again")
	}
}

func TestMachineMemory(t *testing.T) {
	t.Parallel()
	const mib, gib = 1 << 20, 1 << 30
	for _, c := range []struct {
		name           string
		cgroup, system uint64
		want           int64
	}{
		{"container", 256 * mib, 64 * gib, 256 * mib},
		{"container, system unknown", 256 * mib, 0, 256 * mib},
		{"virtual machine of one container", 0, 213 * mib, 213 * mib},
		{"cgroup above the machine is none", 64 * gib, 213 * mib, 213 * mib},
		{"small server", 0, 1536 * mib, gib},
		{"server", 0, 8 * gib, 4 * gib},
		{"large server", 0, 512 * gib, 8 * gib},
		{"nothing known", 0, 0, gib},
	} {
		if got := machineMemory(c.cgroup, c.system); got != c.want {
			t.Errorf("%s: got %d MiB, want %d MiB", c.name, got/mib, c.want/mib)
		}
	}
}
