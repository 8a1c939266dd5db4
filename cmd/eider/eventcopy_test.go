package main_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"reflect"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/eider-analytics/eider/store/audit/sink/sinktest"
)

// A copied rig has a PostgreSQL server of its own, which the program copies to.
type copiedRig struct {
	*rig
	server *sinktest.Cluster
	url    string
}

func newCopiedRig(t testing.TB, env ...string) *copiedRig {
	t.Helper()
	server, err := sinktest.NewCluster()
	if err != nil {
		t.Fatal(err)
	}
	c := &copiedRig{server: server, url: server.URL("postgres")}
	t.Cleanup(func() {
		c.server.Stop(syscall.SIGQUIT)
		os.RemoveAll(c.server.Dir)
	})
	c.rig = newRig(t, normal, append([]string{"EIDER_POSTGRES_URL=" + c.url, "EIDER_EXPORT_INTERVAL=0.1"}, env...)...)
	return c
}

// restart stops the server, in either way, and starts it.
func (c *copiedRig) restart(meanwhile func()) {
	c.Helper()
	c.server.Stop([]os.Signal{syscall.SIGINT, syscall.SIGQUIT}[c.rnd.IntN(2)].(syscall.Signal))
	meanwhile()
	if err := c.server.Start(); err != nil {
		c.Fatal(err)
	}
}

// A whole event is all its columns that have a value.
type wholeEvent map[string]any

// wholeEvents reads an export.
func wholeEvents(in io.Reader) (list []wholeEvent, err error) {
	for d := json.NewDecoder(in); ; {
		var e wholeEvent
		if err := d.Decode(&e); errors.Is(err, io.EOF) {
			return list, nil
		} else if err != nil {
			return nil, err
		}
		maps.DeleteFunc(e, func(_ string, v any) bool { return v == nil })
		list = append(list, e)
	}
}

// copied reads what is in the database.
func (c *copiedRig) copied(ctx context.Context) (list []wholeEvent, err error) {
	conn, err := pgx.Connect(ctx, c.url)
	if err != nil {
		return nil, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	rows, err := conn.Query(ctx, `SELECT seq, time, site, name, data FROM eider.event ORDER BY seq`)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (e wholeEvent, err error) {
		var seq int64
		var at time.Time
		var site, name string
		var data []byte
		if err := row.Scan(&seq, &at, &site, &name, &data); err != nil {
			return nil, err
		}
		err = json.Unmarshal(data, &e)
		if err == nil {
			e["seq"], e["time"], e["site"], e["name"] = float64(seq), at.UTC().Format("2006-01-02T15:04:05.000000Z"), site, name
		}
		return e, err
	})
}

// differs says how the copy is not what an export has, "" if it is the same.
func (c *copiedRig) differs(ctx context.Context, want []wholeEvent) string {
	got, err := c.copied(ctx)
	if err != nil {
		return err.Error()
	}
	for i := range min(len(got), len(want)) {
		if !reflect.DeepEqual(got[i], want[i]) {
			return fmt.Sprintf("event %d of the copy is %v, want %v", i, got[i], want[i])
		}
	}
	if len(got) != len(want) {
		return fmt.Sprintf("there are %d events, want %d", len(got), len(want))
	}
	return ""
}

// same waits until the copy is what the server has.
func (c *copiedRig) same(d *daemon) {
	c.Helper()
	ctx, cancel := context.WithTimeout(c.Context(), time.Minute)
	defer cancel()
	var why string
	if !until(ctx, 50*time.Millisecond, func() bool {
		status, text, err := d.get("/api/stats/export?format=ndjson&site_id=" + site)
		if err != nil || status != http.StatusOK {
			c.Fatalf("export: status %d, %v", status, err)
		}
		want, err := wholeEvents(strings.NewReader(text))
		if err != nil {
			c.Fatal(err)
		}
		why = c.differs(c.Context(), want)
		return why == ""
	}) {
		_, health, _ := d.get("/health/detailed")
		c.Fatalf("the copy has not become the same: %s\n%s", why, health)
	}
}

// TestEventCopy kills the program at random under load, and has the database stop and
// start, and people erased and days removed, in the middle: in the end all that is here
// is there once, and nothing else.
func TestEventCopy(t *testing.T) {
	t.Parallel()
	r := newCopiedRig(t, "EIDER_EXPORT_EVENTS=true", "EIDER_RETENTION_DAYS=30")
	n := rounds(t, 12)
	for round := range n {
		d := r.start()
		d.settle()
		if round%4 == 3 {
			r.same(d)
		}
		if _, err := d.send(d.events.next(30, again|leaver)); err != nil {
			t.Fatal(err)
		}
		if _, err := d.send(d.events.next(5, again|logged|old)); err != nil {
			t.Fatal(err)
		}
		load := d.load(8)
		chaos := make(chan struct{})
		down, erases := round%4 == 1 || r.rnd.IntN(3) == 0, r.rnd.IntN(3) > 0
		go func() {
			defer close(chaos)
			if erases {
				time.Sleep(rand.N(300 * time.Millisecond))
				_, _ = d.post("/api/gdpr/erase", "application/json", `{"site_id":"`+site+`","user":"leaver"}`) // unless it is killed
			}
		}()
		if down {
			r.restart(func() {
				time.Sleep(r.upTo(600 * time.Millisecond))
				if status, reasons, err := d.get("/health/ready"); status != http.StatusOK {
					t.Errorf("without PostgreSQL readiness is %d %s %v", status, reasons, err)
				}
			})
		}
		time.Sleep(r.upTo(900 * time.Millisecond))
		<-chaos
		if round%4 == 1 { // the same process has to catch up
			load.stop("/api/import", "/api/stats/main")
			d.settle()
			r.same(d)
			d.kill()
			continue
		}
		d.kill()
		load.wait("/api/import", "/api/stats/main") // as the site is not there yet
	}
	d := r.start()
	d.settle()
	if _, err := d.post("/api/gdpr/erase", "application/json", `{"site_id":"`+site+`","user":"leaver"}`); err != nil {
		t.Fatal(err)
	}
	r.same(d)
	var health struct {
		Audit struct {
			Waiting int `json:"erasures_waiting"`
			Copies  []struct {
				Sink  string
				Alarm bool
			}
		}
	}
	d.must(http.MethodGet, "/health/detailed", nil, &health)
	if health.Audit.Waiting != 0 || len(health.Audit.Copies) != 2 || health.Audit.Copies[1].Sink != "postgres_events" || health.Audit.Copies[1].Alarm {
		t.Errorf("health is %+v", health.Audit)
	}
	if _, metrics, _ := d.get("/metrics"); !strings.Contains(metrics, `eider_export_alarm{sink="postgres_events"} 0`) {
		t.Error("the metrics do not tell of the copy")
	}
	if err := d.sendOne(); err != nil {
		t.Fatal(err)
	}
	d.stop() // ends with a last try
	want, err := wholeEvents(strings.NewReader(r.run("export", "--site", site, "--format", "ndjson")))
	if err != nil || len(want) == 0 {
		t.Fatalf("%d events are exported, %v", len(want), err)
	}
	if why := r.differs(t.Context(), want); why != "" {
		t.Error(why)
	}
	if code, out := r.exit(nil, "audit", "verify", "--postgres", r.url); code != 0 {
		t.Errorf("the copy of the chain: exit code %d: %s", code, out)
	}
	t.Logf("%d rounds, %d events", n, len(want))
}

// TestAuditPrune: leaves can go that the database has and a checkpoint covers, no others,
// and the chain is sound without them.
func TestAuditPrune(t *testing.T) {
	t.Parallel()
	r := newCopiedRig(t)
	d := r.start()
	publish := func() { d.must(http.MethodPost, "/api/maintenance/publish", nil, nil) }
	for range 5 {
		publish()
	}
	key := strings.TrimSpace(r.run("audit", "key", "show")) // the leaf that names it is about to go
	ask := []byte(`{"before":"` + time.Now().AddDate(0, 0, 2).Format(time.DateOnly) + `"}`)
	prune := func() (entries int64) {
		t.Helper()
		status, body, err := d.ask(http.MethodPost, "/api/audit/prune", "application/json", ask)
		var answer struct{ Entries int64 }
		if err != nil || status != http.StatusConflict && (status != http.StatusOK || json.Unmarshal([]byte(body), &answer) != nil) {
			t.Fatalf("%d %s %v", status, body, err)
		}
		return answer.Entries
	}
	var pruned int64
	d.seen(func() bool { pruned = prune(); return pruned >= 10 }) // the checkpoint comes within 10 s

	r.server.Stop(syscall.SIGQUIT)
	publish()
	d.seen(func() bool { // signed, and nowhere else
		status, note, err := d.get("/api/audit/checkpoint")
		if err != nil || status != http.StatusOK {
			t.Fatalf("%d %s %v", status, note, err)
		}
		size, err := strconv.ParseInt(strings.Split(note, "\n")[1], 10, 64)
		_, list, _ := d.get("/api/audit?limit=1")
		var newest struct{ Size int64 }
		return err == nil && json.Unmarshal([]byte(list), &newest) == nil && size == newest.Size
	})
	if n := prune(); n < pruned {
		t.Errorf("%d entries have no leaf, and %d had none", n, pruned)
	}
	if _, list, _ := d.get("/api/audit?kind=server.maintenance"); !strings.Contains(list, `"server.maintenance"`) {
		t.Errorf("what the database never had is gone: %s", list)
	}
	if err := r.server.Start(); err != nil {
		t.Fatal(err)
	}
	d.stop()
	if report := r.run("audit", "verify", "--key", key); !strings.Contains(report, "pruned") { // run fails for a chain that is not sound
		t.Error(report)
	}
	if report := r.run("audit", "verify", "--postgres", r.url); strings.Contains(report, "pruned") {
		t.Error(report)
	}
}

// TestEventCopyEnds erases after the copying has ended: the database that is still known
// follows, and where it is not, the erasure waits.
func TestEventCopyEnds(t *testing.T) {
	t.Parallel()
	r := newCopiedRig(t)
	d := r.start("EIDER_EXPORT_EVENTS=true")
	for _, name := range []string{"leaver", "stayer", "stayer"} {
		if _, err := d.post("/api/events", "application/x-ndjson", fmt.Sprintf(`{"name":"pageview","domain":%q,"url":"https://x/","user":%q}`, site, name)); err != nil {
			t.Fatal(err)
		}
	}
	d.settle()
	r.same(d)
	d.stop()
	erase := func(d *daemon, what string) {
		t.Helper()
		if _, err := d.post("/api/gdpr/erase", "application/json", `{"site_id":"`+site+`",`+what+`}`); err != nil {
			t.Fatal(err)
		}
	}
	d = r.start() // knows the database, and copies no events
	erase(d, `"user":"leaver"`)
	r.same(d)
	d.stop()
	d = r.start("EIDER_POSTGRES_URL=")
	erase(d, `"everything":true`)
	if _, metrics, _ := d.get("/metrics"); !strings.Contains(metrics, "eider_export_erasures_waiting 1\n") {
		t.Error("the metrics do not tell that an erasure waits")
	}
	d.stop()
	if got, err := r.copied(t.Context()); err != nil || len(got) != 2 {
		t.Fatalf("there are %d events (%v), want 2", len(got), err)
	}
	d = r.start("EIDER_POSTGRES_URL=")
	d.stop()
	if !d.log.has("erasures wait for a copy of the events") {
		t.Error("the start does not tell that an erasure waits")
	}
	d = r.start()
	r.same(d)
	d.stop()
	kinds := r.run("audit", "show", "--limit", "1000")
	if strings.Count(kinds, "data.withdraw") != 2 || strings.Count(kinds, "data.copy") != 1 {
		t.Errorf("the entries are\n%s", kinds)
	}
}
