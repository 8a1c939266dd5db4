package main_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/eider-analytics/eider/store/fault"
)

// A faultRun is one death: at a point, when it is reached for the nth time, in a
// life that begins with a certain work.
type faultRun struct {
	point string
	n     int
	first string // publish, compact, erase, retain or acts
}

func (f faultRun) String() string { return fmt.Sprintf("%s@%d, %s first", f.point, f.n, f.first) }

// shared are the points that more than one work passes. An erasure and a
// retention publish first, which is one part and one commit here: so they reach
// the points of a publish for the second time.
var shared = map[string][]faultRun{
	"history: directory made":       {{n: 1, first: "compact"}, {n: 2, first: "erase"}},
	"history: directory synced":     {{n: 1, first: "compact"}, {n: 2, first: "erase"}},
	"history: read back":            {{n: 1, first: "compact"}, {n: 2, first: "erase"}},
	"history: renamed":              {{n: 1, first: "compact"}, {n: 2, first: "erase"}},
	"history: temp created":         {{n: 1, first: "compact"}, {n: 2, first: "erase"}},
	"history: temp synced":          {{n: 1, first: "compact"}, {n: 2, first: "erase"}},
	"history: temp written":         {{n: 1, first: "compact"}, {n: 2, first: "erase"}},
	"history: remove":               {{n: 1, first: "erase"}, {n: 1, first: "retain"}},
	"history: removed":              {{n: 2, first: "erase"}, {n: 2, first: "retain"}},
	"discard: before unlink":        {{n: 2, first: "erase"}, {n: 1, first: "retain"}},
	"discard: unlinked":             {{n: 1, first: "erase"}, {n: 2, first: "retain"}},
	"replace: before commit":        {{n: 1, first: "erase"}, {n: 1, first: "retain"}},
	"replace: committed":            {{n: 1, first: "erase"}, {n: 1, first: "retain"}},
	"ledger: before history commit": {{n: 1, first: "compact"}, {n: 2, first: "erase"}, {n: 2, first: "retain"}},
	"ledger: after history commit":  {{n: 1, first: "compact"}, {n: 2, first: "erase"}, {n: 2, first: "retain"}},
	"act: before entry":             {{n: 3, first: "acts"}, {n: 6, first: "acts"}},
	"act: entry written":            {{n: 3, first: "acts"}, {n: 9, first: "acts"}},
	"act: before commit":            {{n: 3, first: "acts"}, {n: 5, first: "acts"}, {n: 3, first: "erase"}},
	"act: committed":                {{n: 3, first: "acts"}, {n: 5, first: "acts"}, {n: 3, first: "erase"}},
	"ledger: before checkpoint":     {{n: 2, first: "publish"}},
	"ledger: after checkpoint":      {{n: 2, first: "publish"}},
}

// TestFaultPoints lets the program die at every point of store/fault, before and
// after every effect, in a life in which everything happens: events on several
// days, late ones among them, flushes, publishes, a compaction, an erasure, a
// retention, acts of several operators at once and a stop. Whatever it leaves, the next
// start has every event that was acknowledged, once, no file that nobody lists, and
// every act with its entry: never the one without the other.
func TestFaultPoints(t *testing.T) {
	t.Parallel()
	before := newRig(t, faulty)
	before.prepare()
	var runs []faultRun
	for _, point := range fault.Points {
		runs = append(runs, faultRun{point, 1, "publish"})
		for _, more := range shared[point] {
			if more.point = point; !testing.Short() {
				runs = append(runs, more)
			}
		}
	}
	t.Run("points", func(t *testing.T) { // waits for its own, for which before is there
		for _, run := range runs {
			t.Run(run.String(), func(t *testing.T) {
				t.Parallel()
				r := before.copy(t)
				if strings.HasPrefix(run.point, "quarantine:") {
					r.dieDamaged(run)
					return
				}
				r.die(run)
				r.recover()
			})
		}
	})
}

// prepare makes the data directory that every life begins with: parts of several
// days, events in the journal, and what earlier crashes may have left.
func (r *rig) prepare() {
	r.Helper()
	d := r.start()
	for range 2 { // two parts a day make a compaction
		d.mustSend(d.events.next(20, again), d.events.next(5, again|leaver),
			d.events.next(20, again|logged), d.events.next(5, again|logged|old))
		d.must(http.MethodPost, "/api/maintenance/publish", nil, nil)
	}
	for range 10 { // of today: the next publish makes one part
		if err := d.sendOne(); err != nil {
			r.Fatal(err)
		}
	}
	d.kill()
	for _, name := range []string{"events/date=2001-09-09/1-2.parquet", "tmp/part-1.parquet"} {
		path := filepath.Join(r.dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte("left over"), 0o600)); err != nil {
			r.Fatal(err)
		}
	}
	if err := os.Remove(filepath.Join(r.dir, "ballast")); err != nil { // it is big
		r.Fatal(err)
	}
}

func (d *daemon) mustSend(groups ...[]int) {
	d.Helper()
	for _, numbers := range groups {
		if _, err := d.send(numbers); err != nil {
			d.Fatal(err)
		}
	}
}

// copy returns a rig of its own that stands where r does.
func (r *rig) copy(t testing.TB) *rig {
	t.Helper()
	c := newRig(t, func() (string, error) { return r.program, nil })
	if err := os.CopyFS(c.dir, os.DirFS(r.dir)); err != nil {
		t.Fatal(err)
	}
	c.events.now, c.events.marks = r.events.now, slices.Clone(r.events.marks)
	return c
}

// die lives until the point is reached.
func (r *rig) die(run faultRun) {
	r.Helper()
	works := []string{"send", "publish", "rollup", "send late", "publish", "compact", "acts", "erase", "rollup", "send again",
		"publish", "rollup", "rollup", "retain"}
	if run.first != "publish" { // which needs something to publish
		works = append([]string{run.first}, works...)
	}
	d := r.launch(fmt.Sprintf("EIDER_FAULT=%s@%d", run.point, run.n), "EIDER_RETENTION_DAYS=30", "EIDER_PUBLISH_INTERVAL=1h")
	if d.ready() && d.live(works...) == nil {
		d.signal(os.Interrupt)
	}
	if code := d.wait(startTime); code != -1 {
		r.Fatalf("exit code %d: the point was not reached; take it out of fault.Points, or make the life reach it", code)
	}
}

// live does one work after the other until one fails.
func (d *daemon) live(works ...string) error {
	for _, work := range works {
		if err := d.work(work); err != nil {
			return fmt.Errorf("%s: %w", work, err)
		}
	}
	return nil
}

func (d *daemon) work(name string) (err error) {
	switch name {
	case "send":
		_, err = d.send(d.events.next(30, again))
		return errors.Join(err, d.sendOne())
	case "send late":
		_, err = d.send(d.events.next(30, again|logged))
	case "send again":
		_, err = d.send(d.events.list(again, leaver|old|logged))
	case "acts":
		err = d.actAtOnce()
	case "publish", "compact", "rollup":
		err = d.maintain(name)
	case "erase":
		_, err = d.post("/api/gdpr/erase", "application/json", `{"site_id":"`+site+`","user":"leaver"}`)
	case "retain":
		err = d.retained()
	default:
		panic(name)
	}
	return err
}

// retained waits until no part is older than the retention.
func (d *daemon) retained() error {
	oldest := d.events.now.AddDate(0, 0, -40).Format(time.DateOnly)
	for range 6000 {
		status, answer, err := d.get("/api/parts")
		if err != nil {
			return err
		}
		var list struct{ Parts []struct{ Day string } }
		if err := json.Unmarshal([]byte(answer), &list); err != nil || status != http.StatusOK {
			return fmt.Errorf("status %d: %s", status, answer)
		}
		if !slices.ContainsFunc(list.Parts, func(p struct{ Day string }) bool { return p.Day < oldest }) {
			return nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	return errors.New("days that are too old are still there")
}

// recover starts the program after its death, checks, lets it do everything
// again, and checks again.
func (r *rig) recover() {
	r.Helper()
	d := r.start()
	v := d.check()
	v.wholly(d.events, leaver)
	v.wholly(d.events, old)
	if err := v.err(); err != nil {
		r.Fatalf("after the death: %v", err)
	}
	if err := d.checkDeeds(); err != nil {
		r.Fatalf("after the death: %v", err)
	}
	d.leftovers()
	d.settle()
	if err := d.live("send", "publish", "acts", "send late", "publish", "compact", "erase", "send again"); err != nil {
		r.Fatalf("in the next life: %v", err)
	}
	d.stop()

	d = r.start("EIDER_RETENTION_DAYS=30")
	if err := d.retained(); err != nil {
		r.Fatal(err)
	}
	v = d.checkAll()
	v.wholly(d.events, leaver)
	v.wholly(d.events, old)
	if err := v.err(); err != nil {
		r.Fatalf("at the end: %v", err)
	}
	if left := append(d.events.list(leaver|found, 0), d.events.list(old|found, 0)...); len(left) > 0 {
		r.Errorf("%d events are there that were erased or too old: %v", len(left), first(left))
	}
	if err := d.checkDeeds(); err != nil {
		r.Errorf("at the end: %v", err)
	}
	d.leftovers()
	d.stop()
	r.run("parts", "verify")
	r.verifyDeeds()
}

// wholly takes a group of events out of those that are lost, if the whole group
// is: an erasure and a retention are done or not done.
func (v *verdict) wholly(y *tally, group mark) {
	lost := y.list(group|acked, found)
	if len(lost) < len(y.list(group|acked, 0)) {
		return
	}
	v.lost = slices.DeleteFunc(v.lost, func(n int) bool { return slices.Contains(lost, n) })
}

// dieDamaged dies while a part that is missing goes into quarantine. Its events
// are missing until it is back, and no longer.
func (r *rig) dieDamaged(run faultRun) {
	r.Helper()
	parts, err := filepath.Glob(filepath.Join(r.dir, "events", "date=*", "*.parquet"))
	if err != nil || len(parts) < 3 {
		r.Fatalf("parts are %q, %v", parts, err)
	}
	part, aside := parts[len(parts)/2], filepath.Join(filepath.Dir(r.dir), "aside.parquet")
	if err := os.Rename(part, aside); err != nil {
		r.Fatal(err)
	}
	r.die(run)
	d := r.start()
	var health struct{ Degraded []string }
	d.must(http.MethodGet, "/health/detailed", nil, &health)
	if len(health.Degraded) != 1 || !strings.HasSuffix(part, health.Degraded[0]) {
		r.Errorf("degraded is %q, want %s", health.Degraded, part)
	}
	if v := d.checkAll(); len(v.lost) == 0 || len(v.doubled)+len(v.strange) > 0 || v.counted != v.rows {
		r.Errorf("without a part: %v, want that some are lost", v.err())
	}
	d.kill()
	if err := os.Rename(aside, part); err != nil {
		r.Fatal(err)
	}
	r.last, r.rows = 0, 0
	r.events.forget()
	r.recover()
}
