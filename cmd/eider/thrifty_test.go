package main_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestThrifty starts a server with one thread for DuckDB: it has begun again, as the same
// process, with allocators that keep little. With two it goes on as it is.
func TestThrifty(t *testing.T) {
	t.Parallel()
	for threads, want := range map[int]bool{1: true, 2: false} {
		d := newRig(t, normal, fmt.Sprintf("EIDER_DUCKDB_THREADS=%d", threads)).start()
		env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", d.cmd.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		for _, set := range []string{"DUCKDB_JE_MALLOC_CONF=narenas:1,dirty_decay_ms:100,muzzy_decay_ms:0", "MALLOC_ARENA_MAX=1"} {
			if got := strings.Contains("\x00"+string(env), "\x00"+set+"\x00"); got != want {
				t.Errorf("%d threads: %s is there: %v, want %v", threads, set, got, want)
			}
		}
		d.stop()
	}
}
