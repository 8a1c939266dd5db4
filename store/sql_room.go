package store

import (
	"bytes"
	"context"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/eider-analytics/eider/store/event"
)

// BUG(sql): DuckDB looks whether it is to stop between vectors of 2,048 rows. A
// statement that makes a megabyte of text of each row can take two gigabytes
// before it is ended. Give the scope sql to those only who may stop the process.

// errRoom is why a statement is ended before its time.
var errRoom = &event.QueryError{Message: "the query needs more memory than it may have; ask for less"}

// statements are the SQL statements that run. DuckDB has one memory for all, and
// what its functions make of texts it does not count: so statements give way when
// a flush finds no room, and are ended when the process grows by more than DuckDB
// may have.
type statements struct {
	mu      sync.Mutex // guards the fields below
	running map[*statement]bool
	shut    bool // a flush looks for room: no other may begin
}

// errShut is why a statement is not begun.
var errShut = &event.BusyError{RetryAfter: time.Second}

type statement struct {
	end  context.CancelCauseFunc
	done chan struct{} // closed when it has ended
}

// begin notes a statement. Call the function that it returns at its end.
func (st *statements) begin(ctx context.Context, most int64) (context.Context, func()) {
	ctx, end := context.WithCancelCause(ctx)
	s := &statement{end: end, done: make(chan struct{})}
	st.mu.Lock()
	if st.running == nil {
		st.running = map[*statement]bool{}
	}
	st.running[s] = true
	if st.shut {
		end(errShut)
	}
	st.mu.Unlock()
	var watching sync.WaitGroup
	watching.Go(func() { watch(ctx, end, most) })
	return ctx, func() {
		end(nil)
		watching.Wait()
		st.mu.Lock()
		delete(st.running, s)
		st.mu.Unlock()
		close(s.done)
	}
}

// keepOut says whether statements may begin.
func (st *statements) keepOut(out bool) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.shut = out
}

// giveWay ends all statements and waits until they have, but not for ever: one
// that is inside of a function does not hear.
func (st *statements) giveWay() {
	st.mu.Lock()
	var ending []*statement
	for s := range st.running {
		s.end(errRoom)
		ending = append(ending, s)
	}
	st.mu.Unlock()
	timeout := time.After(time.Second)
	for _, s := range ending {
		select {
		case <-s.done:
		case <-timeout:
			return
		}
	}
}

// watchEvery is how often the memory of the process is looked at while a
// statement runs: how far one can get past its limit.
const watchEvery = 20 * time.Millisecond

// watch ends a statement when the process has grown by more than most bytes.
func watch(ctx context.Context, end context.CancelCauseFunc, most int64) {
	before := residentMemory()
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if residentMemory() > before+most {
			end(errRoom)
			return
		}
	}
}

// residentMemory returns how many bytes of memory the process has; 0 where that
// is not known, and nothing is ended.
func residentMemory() int64 {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	fields := bytes.Fields(b)
	if len(fields) < 2 {
		return 0
	}
	pages, err := strconv.ParseInt(string(fields[1]), 10, 64)
	if err != nil {
		return 0
	}
	return pages * int64(os.Getpagesize())
}
