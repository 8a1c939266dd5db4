package answer_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eider-analytics/eider/store/answer"
	"github.com/eider-analytics/eider/store/event"
)

func question(name string, version int64) answer.Question {
	return answer.Question{Key: answer.KeyOf(name), Version: version}
}

// counting answers with how often it was asked.
type counting struct{ n atomic.Int64 }

func (c *counting) run(context.Context) (int64, error) { return c.n.Add(1), nil }

func must[T any](t *testing.T, d *answer.Desk, q answer.Question, run func(context.Context) (T, error)) T {
	t.Helper()
	v, err := answer.Ask(t.Context(), d, q, run)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestKept goes through what a kept answer is given for and what not.
func TestKept(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var c counting
		d := answer.New(answer.Options{Places: 2, Bytes: 1 << 20, TTL: time.Minute})
		for _, step := range []struct {
			name string
			q    answer.Question
			wait time.Duration
			want int64
		}{
			{"the first", question("a", 1), 0, 1},
			{"the same", question("a", 1), 0, 1},
			{"another", question("b", 1), 0, 2},
			{"just before its time is over", question("a", 1), time.Minute - 1, 1},
			{"when it is", question("a", 1), 1, 3},
			{"after a change", question("a", 2), 0, 4},
			{"of the old version, which nobody has any more", question("a", 1), 0, 5},
			{"the newer one is still there", question("a", 2), 0, 4},
			{"never kept", answer.Question{}, 0, 6},
			{"never kept", answer.Question{}, 0, 7},
		} {
			time.Sleep(step.wait)
			if got := must(t, d, step.q, c.run); got != step.want {
				t.Errorf("%s: answer %d, want %d", step.name, got, step.want)
			}
		}
		if s := d.Stats(); s.Hits != 3 || s.Misses != 5 || s.Entries != 2 || s.Running != 0 || s.Waiting != 0 {
			t.Errorf("stats %+v", s)
		}
	})
}

func TestNothingKept(t *testing.T) {
	t.Parallel()
	for _, o := range []answer.Options{{Bytes: 0, TTL: time.Minute}, {Bytes: 1 << 20, TTL: 0}} {
		var c counting
		d := answer.New(o)
		must(t, d, question("a", 1), c.run)
		if got := must(t, d, question("a", 1), c.run); got != 2 {
			t.Errorf("%+v: answer %d, want 2", o, got)
		}
	}
}

// TestErrorsAreNotKept: what failed once may go well the next time.
func TestErrorsAreNotKept(t *testing.T) {
	t.Parallel()
	d := answer.New(answer.Options{Bytes: 1 << 20, TTL: time.Minute})
	why := errors.New("not now")
	if _, err := answer.Ask(t.Context(), d, question("a", 1), func(context.Context) (int, error) { return 1, why }); !errors.Is(err, why) {
		t.Errorf("got %v", err)
	}
	if got := must(t, d, question("a", 1), func(context.Context) (int, error) { return 2, nil }); got != 2 {
		t.Errorf("got %d", got)
	}
}

// TestRoom asks for texts of random lengths: what is kept stays within the room,
// and of two it is the one asked for later that is there.
func TestRoom(t *testing.T) {
	t.Parallel()
	rnd := seeded(t)
	const room = 64 << 10
	d := answer.New(answer.Options{Bytes: room, TTL: time.Hour})
	for i := range 2000 {
		n := rnd.IntN(room / 4)
		must(t, d, question(fmt.Sprint("random", i%100), int64(i)), func(context.Context) (string, error) { return strings.Repeat("x", n), nil })
		if s := d.Stats(); s.Bytes > room || s.Bytes < 0 || s.Entries == 0 && s.Bytes != 0 {
			t.Fatalf("after %d: %+v in %d bytes of room", i, s, room)
		}
	}
	if s := d.Stats(); s.Evicted == 0 || s.Bytes < room/2 {
		t.Errorf("%+v: the room was never full", s)
	}
	var c counting
	for _, name := range []string{"a", "b"} {
		must(t, d, question(name, 1), c.run)
	}
	for i := range 10 {
		must(t, d, question("a", 1), c.run) // a is asked for, b is not
		must(t, d, question(fmt.Sprint("filler", i), 1), func(context.Context) (string, error) { return strings.Repeat("x", room/8-1024), nil })
	}
	if a, b := must(t, d, question("a", 1), c.run), must(t, d, question("b", 1), c.run); a != 1 || b != 3 {
		t.Errorf("a is answer %d and b %d, want 1 and 3", a, b)
	}
}

// TestOneRun asks the same a hundred times at once.
func TestOneRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := answer.New(answer.Options{Places: 4})
		var runs atomic.Int64
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				got := must(t, d, question("a", 1), func(context.Context) (int64, error) {
					time.Sleep(time.Second)
					return runs.Add(1), nil
				})
				if got != 1 {
					t.Errorf("answer %d", got)
				}
			})
		}
		wg.Wait()
		if runs.Load() != 1 || d.Stats().Shared != 99 {
			t.Errorf("%d runs, %+v", runs.Load(), d.Stats())
		}
	})
}

// TestNewerVersionRunsAlone: whoever comes after a change is not given what was
// read before it.
func TestNewerVersionRunsAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := answer.New(answer.Options{Places: 4, Bytes: 1 << 20, TTL: time.Minute})
		ask := func(version int64, takes time.Duration) {
			got := must(t, d, question("a", version), func(context.Context) (int64, error) {
				time.Sleep(takes)
				return version, nil
			})
			if got != version {
				t.Errorf("asked for version %d, got %d", version, got)
			}
		}
		var wg sync.WaitGroup
		wg.Go(func() { ask(1, 2*time.Second) }) // begins first and ends last
		synctest.Wait()
		wg.Go(func() { ask(2, time.Second) })
		wg.Wait()
		ask(2, time.Second)
		if d.Stats().Hits != 1 {
			t.Errorf("the old run took the place of the new answer: %+v", d.Stats())
		}
	})
}

// TestCancel lets those who share a run go, one after the other: the run ends
// with the last, and its place is free.
func TestCancel(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := answer.New(answer.Options{Places: 1})
		var ended error
		run := func(ctx context.Context) (int, error) {
			<-ctx.Done()
			ended = ctx.Err()
			return 0, ended
		}
		var cancels []context.CancelFunc
		errs := make(chan error, 3)
		for range 3 {
			ctx, cancel := context.WithCancel(t.Context())
			cancels = append(cancels, cancel)
			go func() {
				_, err := answer.Ask(ctx, d, question("a", 1), run)
				errs <- err
			}()
			synctest.Wait()
		}
		for i, cancel := range cancels {
			if ended != nil {
				t.Fatalf("cancelled while %d waited", 3-i)
			}
			cancel()
			synctest.Wait()
			if err := <-errs; !errors.Is(err, context.Canceled) {
				t.Errorf("asker %d got %v", i, err)
			}
		}
		if !errors.Is(ended, context.Canceled) || d.Stats().Running != 0 {
			t.Errorf("the run ended with %v; %+v", ended, d.Stats())
		}
		if got := must(t, d, question("a", 1), func(context.Context) (int, error) { return 7, nil }); got != 7 {
			t.Errorf("then got %d", got)
		}
	})
}

// TestClose closes a desk while one run goes on whose asker has gone and another
// whose asker waits: both are over when Close returns.
func TestClose(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := answer.New(answer.Options{Places: 2})
		var ended atomic.Int64
		slow := func(ctx context.Context) (int, error) {
			<-ctx.Done()
			time.Sleep(time.Second) // it does not hear at once
			ended.Add(1)
			return 0, ctx.Err()
		}
		gone, leave := context.WithCancel(t.Context())
		errs := make(chan error, 2)
		for name, ctx := range map[string]context.Context{"gone": gone, "there": t.Context()} {
			go func() {
				_, err := answer.Ask(ctx, d, question(name, 1), slow)
				errs <- err
			}()
		}
		synctest.Wait()
		leave()
		synctest.Wait()
		if err := d.Close(); err != nil || ended.Load() != 2 {
			t.Errorf("Close = %v when %d of 2 runs had ended", err, ended.Load())
		}
		for range 2 {
			if err := <-errs; !errors.Is(err, context.Canceled) {
				t.Errorf("an asker got %v", err)
			}
		}
		if _, err := answer.Ask(t.Context(), d, question("late", 1), slow); !errors.Is(err, event.ErrStopped) {
			t.Errorf("after Close got %v", err)
		}
	})
}

// TestTurns has one asker with fifty questions and another who comes after him
// with three.
func TestTurns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := answer.New(answer.Options{Places: 1, Wait: time.Hour})
		var order []string
		var mu sync.Mutex
		var wg sync.WaitGroup
		ask := func(who string) {
			wg.Go(func() {
				must1(t, event.WithAsker(t.Context(), who), d, answer.Question{}, func(context.Context) (int, error) {
					time.Sleep(time.Second)
					mu.Lock()
					defer mu.Unlock()
					order = append(order, who)
					return 0, nil
				})
			})
			synctest.Wait()
		}
		for range 50 {
			ask("greedy")
		}
		for range 3 {
			ask("modest")
		}
		wg.Wait()
		want := []string{"greedy", "greedy", "modest", "greedy", "modest", "greedy", "modest", "greedy"}
		if !slices.Equal(order[:len(want)], want) || len(order) != 53 {
			t.Errorf("got  %v\nwant %v", order[:len(want)], want)
		}
	})
}

func must1(t *testing.T, ctx context.Context, d *answer.Desk, q answer.Question, run func(context.Context) (int, error)) {
	if _, err := answer.Ask(ctx, d, q, run); err != nil {
		t.Error(err)
	}
}

// TestHeavy: questions that take for ever leave half of the places to others.
func TestHeavy(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ places, heavy int }{{1, 1}, {2, 1}, {3, 1}, {4, 2}, {8, 4}} {
		synctest.Test(t, func(t *testing.T) {
			d := answer.New(answer.Options{Places: c.places, Wait: time.Minute, Deadline: time.Hour})
			ctx, cancel := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			for range 20 {
				wg.Go(func() {
					_, _ = answer.Ask(ctx, d, answer.Question{Heavy: true}, func(ctx context.Context) (int, error) {
						<-ctx.Done()
						return 0, ctx.Err()
					})
				})
			}
			synctest.Wait()
			if s := d.Stats(); s.Running != c.heavy {
				t.Errorf("%d places: %d heavy questions run, want %d", c.places, s.Running, c.heavy)
			}
			if c.places > 1 {
				start := time.Now()
				must1(t, t.Context(), d, answer.Question{}, func(context.Context) (int, error) { return 1, nil })
				if waited := time.Since(start); waited != 0 {
					t.Errorf("%d places: a light question waited %v", c.places, waited)
				}
			}
			cancel()
			wg.Wait()
			if s := d.Stats(); s.Running != 0 || s.Waiting != 0 {
				t.Errorf("at the end %+v", s)
			}
		})
	}
}

// TestBusy fills the places and checks that who waits in vain is told so after
// ten seconds, and that it goes well if he comes again when he was told to.
func TestBusy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var waits []time.Duration
		d := answer.New(answer.Options{Places: 2, Deadline: time.Hour, Waited: func(w time.Duration) {
			mu.Lock()
			defer mu.Unlock()
			waits = append(waits, w)
		}})
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				must1(t, t.Context(), d, answer.Question{}, func(context.Context) (int, error) {
					time.Sleep(16 * time.Second)
					return 1, nil
				})
			})
		}
		synctest.Wait()
		start := time.Now()
		_, err := answer.Ask(t.Context(), d, answer.Question{}, func(context.Context) (int, error) { return 1, nil })
		var busy *event.BusyError
		if !errors.As(err, &busy) || !errors.Is(err, event.ErrBusy) || time.Since(start) != 10*time.Second {
			t.Fatalf("got %v after %v", err, time.Since(start))
		}
		if busy.RetryAfter != 5*time.Second { // two that have run for 10 s, two places, one who asks
			t.Errorf("told to wait %v", busy.RetryAfter)
		}
		time.Sleep(busy.RetryAfter + time.Second)
		start = time.Now()
		must1(t, t.Context(), d, answer.Question{}, func(context.Context) (int, error) { return 1, nil })
		if time.Since(start) > time.Second {
			t.Errorf("then waited %v", time.Since(start))
		}
		wg.Wait()
		if s := d.Stats(); s.Refused != 1 || !slices.Equal(waits, []time.Duration{0, 0, 10 * time.Second, 0}) {
			t.Errorf("%+v, waits %v", s, waits)
		}
	})
}

func TestDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := answer.New(answer.Options{Deadline: 3 * time.Second})
		start := time.Now()
		_, err := answer.Ask(t.Context(), d, question("a", 1), func(ctx context.Context) (int, error) {
			<-ctx.Done()
			return 0, errors.New("interrupted") // as DuckDB says it
		})
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 3*time.Second || d.Stats().Running != 0 {
			t.Errorf("got %v after %v, %+v", err, time.Since(start), d.Stats())
		}
	})
}

// TestPanic: a panic comes out where the question was asked, and nowhere else.
func TestPanic(t *testing.T) {
	t.Parallel()
	d := answer.New(answer.Options{Places: 1})
	func() {
		defer func() {
			if p := fmt.Sprint(recover()); !strings.HasPrefix(p, "boom\n") || !strings.Contains(p, "answer_test.go") {
				t.Errorf("recovered %s", p)
			}
		}()
		_, _ = answer.Ask(t.Context(), d, question("a", 1), func(context.Context) (int, error) { panic("boom") })
	}()
	if got := must(t, d, question("a", 1), func(context.Context) (int, error) { return 3, nil }); got != 3 {
		t.Errorf("then got %d", got)
	}
}

// TestCrowd lets random askers ask, share, wait and go, and checks after each run
// that no more ran than there are places, and at the end that nothing is left.
func TestCrowd(t *testing.T) {
	t.Parallel()
	rnd := seeded(t)
	var answered atomic.Int64
	for range 50 {
		seed := rnd.Uint64()
		synctest.Test(t, func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 0))
			places := 1 + rnd.IntN(4)
			d := answer.New(answer.Options{Places: places, Bytes: 4096, TTL: 3 * time.Second, Wait: 4 * time.Second, Deadline: 5 * time.Second})
			var running, most atomic.Int64
			var wg sync.WaitGroup
			for range 200 {
				ctx, cancel := context.WithTimeout(event.WithAsker(t.Context(), fmt.Sprint(rnd.IntN(3))), time.Duration(1+rnd.IntN(20000))*time.Millisecond)
				n, takes := rnd.IntN(20), time.Duration(rnd.IntN(7000))*time.Millisecond
				q := question(fmt.Sprint(n), int64(rnd.IntN(2)))
				q.Heavy = rnd.IntN(3) == 0
				wg.Go(func() {
					defer cancel()
					got, err := answer.Ask(ctx, d, q, func(ctx context.Context) (int, error) {
						defer running.Add(-1)
						if now := running.Add(1); now > most.Load() {
							most.Store(now)
						}
						began := time.Now()
						select {
						case <-ctx.Done():
							if errors.Is(ctx.Err(), context.DeadlineExceeded) && time.Since(began) != 5*time.Second || q.Heavy && ctx.Err() != context.Canceled {
								t.Errorf("ended after %v", time.Since(began))
							}
							return 0, ctx.Err()
						case <-time.After(takes):
							return n, nil
						}
					})
					switch {
					case err == nil && got == n:
						answered.Add(1)
					case err == nil:
						t.Errorf("asked %d, got %d", n, got)
					case !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, event.ErrBusy):
						t.Error(err)
					}
				})
				time.Sleep(time.Duration(rnd.IntN(300)) * time.Millisecond)
			}
			wg.Wait()
			time.Sleep(10 * time.Second) // runs that nobody waits for end too
			s := d.Stats()
			if most.Load() > int64(places) || running.Load() != 0 || s.Running != 0 || s.Waiting != 0 {
				t.Errorf("seed %d: %d ran at once in %d places; at the end %d run, %+v", seed, most.Load(), places, running.Load(), s)
			}
		})
	}
	if answered.Load() < 1000 {
		t.Errorf("%d of 10,000 questions were answered", answered.Load())
	}
}

func seeded(t testing.TB) *rand.Rand {
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("EIDER_SEED"); s != "" {
		fmt.Sscan(s, &seed)
	}
	t.Logf("EIDER_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}
