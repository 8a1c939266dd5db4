package main_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eider-analytics/eider/migrations"
	"github.com/eider-analytics/eider/store/event"
	"github.com/eider-analytics/eider/store/ledger"
)

var (
	measure = flag.Bool("claims", false, "measure what README claims")
	into    = flag.String("claims.into", "", "write the table between the markers of this `file` too")
)

// A row is one claim: what was measured, beside what it is held to. Claims are
// never asserted: the machine may be busy with something else. The table says
// what is over.
type claim struct {
	what, got, against string
	ratio              float64 // of the two; 0: the claim has none
	limit              string
	ok                 bool
}

// claims measure the real program.
type claims struct {
	rows []claim
	peak float64 // accepted single events a second
}

func (c *claims) add(what, got, against string, ratio float64, limit string, ok bool) {
	c.rows = append(c.rows, claim{what, got, against, ratio, limit, ok})
}

// TestClaims measures every claim of README and prints the table: make bench.
// It takes about ten minutes, and the machine for itself.
func TestClaims(t *testing.T) {
	if !*measure {
		t.Skip("measures for ten minutes; run it by make bench")
	}
	c := &claims{}
	t.Run("singles", c.singles)
	t.Run("batches", c.batches)
	t.Run("cost", c.cost)
	t.Run("start", c.start)
	t.Run("memory", c.memory)
	t.Run("tail", c.tail)
	t.Run("queries", c.queries)
	t.Run("trackers", c.trackers)
	t.Run("browser", c.browser)
	t.Run("audit", c.audit)
	t.Run("log-ins", c.logIns)
	table := c.table()
	fmt.Printf("\n%s\n", table)
	if *into != "" {
		if err := replaceTable(*into, table); err != nil {
			t.Fatal(err)
		}
	}
}

// table returns the rows as Markdown.
func (c *claims) table() string {
	var b strings.Builder
	b.WriteString("| claim | measured | against | ratio | limit | |\n| --- | --: | --: | --: | --: | --- |\n")
	for _, r := range c.rows {
		ratio, verdict := "", "over"
		if r.ratio != 0 {
			ratio = strconv.FormatFloat(r.ratio, 'f', 2, 64)
		}
		if r.ok {
			verdict = "ok"
		}
		if r.limit == "" {
			verdict = ""
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", r.what, r.got, r.against, ratio, r.limit, verdict)
	}
	return b.String()
}

var tableMarkers = regexp.MustCompile(`(?s)(<!-- bench -->\n).*?(<!-- /bench -->)`)

// replaceTable puts the table between the markers of a file.
func replaceTable(path, table string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if !tableMarkers.Match(text) {
		return fmt.Errorf("%s has no <!-- bench --> and <!-- /bench -->", path)
	}
	return os.WriteFile(path, tableMarkers.ReplaceAll(text, []byte("${1}"+strings.ReplaceAll(table, "$", "$$")+"${2}")), 0o666)
}

// claimRig is a rig with the settings of a server behind a proxy on this machine,
// everything else as it is by default.
func claimRig(t *testing.T, env ...string) *rig {
	return newRig(t, normal, append([]string{
		"EIDER_FLUSH_INTERVAL=1", "EIDER_PUBLISH_INTERVAL=3600", "EIDER_TRUSTED_PROXY=X-Forwarded-For 127.0.0.0/8",
	}, env...)...)
}

func (d *daemon) addr() string { return strings.TrimPrefix(d.url, "http://") }

// details are what GET /health/detailed tells.
type details struct {
	Accepted     int64 `json:"accepted"`
	FlushedSeq   int64 `json:"flushed_seq"`
	DurableSeq   int64 `json:"durable_seq"`
	PublishedSeq int64 `json:"published_seq"`
	Journal      struct{ Events, Bytes int64 }
	Parts        struct{ Count, Rows, Bytes int64 }
}

func (d *daemon) details() (v details) {
	d.must(http.MethodGet, "/health/detailed", nil, &v)
	return v
}

// flushed waits until reports show everything.
func (d *daemon) flushed() {
	d.Helper()
	ctx, cancel := context.WithTimeout(d.Context(), time.Minute)
	defer cancel()
	if !until(ctx, 20*time.Millisecond, func() bool { v := d.details(); return v.FlushedSeq == v.DurableSeq }) {
		d.Fatal("not everything is flushed after a minute")
	}
}

func (d *daemon) publish() { d.must(http.MethodPost, "/api/maintenance/publish", nil, nil) }

// proc reads a figure out of a file of /proc, in the unit that it has there.
func (d *daemon) proc(file, key string) int64 {
	d.Helper()
	n, err := procOf(d.cmd.Process.Pid, file, key)
	if err != nil {
		d.Fatal(err)
	}
	return n
}

func procOf(pid int, file, key string) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, key+":"); ok {
			return strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
		}
	}
	return 0, fmt.Errorf("no %s in /proc/…/%s", key, file)
}

// peakRSS returns the most memory that the process ever had, in bytes.
func (d *daemon) peakRSS() int64 { return d.proc("status", "VmHWM") << 10 }

// cpu returns the processor time that the process has used.
func (d *daemon) cpu() time.Duration {
	d.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", d.cmd.Process.Pid))
	if err != nil {
		d.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), ") ") // the name may hold anything
	f := strings.Fields(rest)
	user, err1 := strconv.ParseInt(f[11], 10, 64)
	system, err2 := strconv.ParseInt(f[12], 10, 64)
	if err := errors.Join(err1, err2); err != nil {
		d.Fatal(err)
	}
	return time.Duration(user+system) * (time.Second / 100) // USER_HZ
}

// TestEcho is not a test: it is the server that single events are measured
// against. It reads the body and answers.
func TestEcho(t *testing.T) {
	if os.Getenv("EIDER_CLAIMS_ECHO") == "" {
		t.Skip("is a part of TestClaims")
	}
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("echo %s\n", ln.Addr())
	t.Fatal(http.Serve(ln, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusAccepted)
		_, _ = io.WriteString(w, "ok")
	})))
}

// echo starts the server of TestEcho in a process of its own.
func echo(t *testing.T) (addr string) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run", "^TestEcho$", "-test.timeout", "0")
	cmd.Env = append(os.Environ(), "EIDER_CLAIMS_ECHO=1")
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	for in := bufio.NewScanner(out); in.Scan(); {
		if addr, ok := strings.CutPrefix(in.Text(), "echo "); ok {
			return addr
		}
	}
	t.Fatal("the echo server does not start")
	return ""
}

// singles: durable events over 64 connections, one a request, against a server
// that does nothing with them.
func (c *claims) singles(t *testing.T) {
	const conns, rounds, each = 64, 7, 4 * time.Second
	all := requests(conns, 300)
	d, other := claimRig(t).start(), echo(t)
	fireFor(t, each/2, other, all, 0)
	fireFor(t, each/2, d.addr(), all, 0)
	var ours, theirs, ratios []float64
	var took latencies
	before := d.details().Accepted
	accepted, refused := 0, 0
	for range rounds {
		d.flushed()
		e := fireFor(t, each, other, all, 0)
		s := fireFor(t, each, d.addr(), all, 0)
		ours, theirs, ratios = append(ours, s.rate()), append(theirs, e.rate()), append(ratios, s.rate()/e.rate())
		accepted, refused = accepted+s.accepted, refused+s.refused
		took = append(took, s.within()...)
		t.Logf("eider %.0f/s (p99 %s), echo %.0f/s (p99 %s): %.2f", s.rate(), s.within().at(.99), e.rate(), e.within().at(.99), s.rate()/e.rate())
	}
	slices.Sort(took)
	if n := d.details().Accepted - before; n != int64(accepted) {
		t.Errorf("%d events were answered with 202, and %d accepted", accepted, n)
	}
	c.peak = median(ours)
	ratio := median(ratios)
	c.add(fmt.Sprintf("durable events over HTTP, one a request, %d connections; p50 %s, p99 %s, %d refused", conns, ms(took.at(.5)), ms(took.at(.99)), refused),
		fmt.Sprintf("%.0f /s", c.peak), fmt.Sprintf("echo handler %.0f /s", median(theirs)), ratio, "≥ 0.5", ratio >= .5)
}

func ms(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000) }

// batches: the way of a batch through ingest, against decoding it and nothing
// else. The benchmark is the package's own.
func (c *claims) batches(t *testing.T) {
	const runs = 5
	figures := map[string][]float64{}
	for range runs { // so that what is compared was measured side by side
		for name, figure := range benchmarks(t, "../../ingest", "BenchmarkBatch", "120x", 1) {
			figures[name] = append(figures[name], figure...)
		}
	}
	for _, form := range []struct{ key, name string }{{"ndjson", "NDJSON"}, {"array", "JSON array"}} {
		for _, way := range []struct{ key, name, limit string }{{"durable", "durable", "≥ 0.4"}, {"shown", "durable and in every report", ""}} {
			ours, theirs := figures[form.key+"/"+way.key+" ns/event"], figures[form.key+"/decode ns/event"]
			if len(ours) != runs || len(theirs) != runs {
				t.Fatalf("no figures for %s/%s in %v", form.key, way.key, figures)
			}
			var ratios []float64
			for i := range ours {
				ratios = append(ratios, theirs[i]/ours[i])
			}
			ratio := median(ratios)
			c.add(fmt.Sprintf("batches of 1,000 as %s, %s; %.1f µs of processor an event", form.name, way.name, median(figures[form.key+"/"+way.key+" cpu-ns/event"])/1e3),
				fmt.Sprintf("%.0f /s", 1e9/median(ours)), fmt.Sprintf("decoding alone %.0f /s", 1e9/median(theirs)), ratio, way.limit, ratio >= .4)
		}
	}
}

// cost: what a million events take of processor and disk.
func (c *claims) cost(t *testing.T) {
	const n, batch = 1_000_000, 1000
	d := claimRig(t).start()
	before := d.cpu()
	began := time.Now()
	span := 25 * time.Minute // what is older than a visit can be is another case
	bodies := make(chan []byte, 4)
	go func() {
		defer close(bodies)
		tr, first := newTraffic(1), began.Add(-span)
		for i := int64(0); i < n; {
			var body []byte
			for range batch {
				h := tr.next()
				body = append(body, h.line(i, first.Add(time.Duration(i)*(span/n)).UnixMilli())...)
				i++
			}
			bodies <- body
		}
	}()
	var journal float64 // bytes an event
	sent := 0
	for body := range bodies {
		d.batch(body, batch)
		if sent += batch; sent == 100*batch {
			v := d.details()
			journal = float64(v.Journal.Bytes)/float64(v.Journal.Events) + ledger.EntrySize
		}
	}
	d.flushed()
	d.publish()
	all := d.cpu() - before
	v := d.details()
	if v.Parts.Rows != n {
		t.Fatalf("%d rows are in parts, want %d", v.Parts.Rows, n)
	}
	kept := fileSize(t, filepath.Join(d.dir, "ledger.db"))
	per := func(x int64) string { return fmt.Sprintf("%.0f B", float64(x)/n) }
	us := func(x time.Duration) string { return fmt.Sprintf("%.1f µs", float64(x.Microseconds())/n) }
	t.Logf("%d events in %s", n, time.Since(began))
	c.add("processor time an event, of a million in batches over HTTP, until it is in Parquet", us(all), "", 0, "", true)
	c.add("bytes an event takes in the journal until it is published, its id included", fmt.Sprintf("%.0f B", journal), "", 0, "", true)
	c.add("bytes of ledger.db an event, afterwards: the ids of all, and the room of the journal", per(kept), "", 0, "", true)
	gz := d.gzipped()
	ratio := float64(v.Parts.Bytes) / float64(gz)
	c.add("bytes an event takes in Parquet", per(v.Parts.Bytes), "NDJSON export, gzip -6: "+per(gz), ratio, "< 0.5", ratio < .5)
}

// batch sends a batch until it is taken, all of it.
func (d *daemon) batch(body []byte, n int) {
	d.Helper()
	for {
		status, text, err := d.ask(http.MethodPost, "/api/events", "application/x-ndjson", body)
		if err != nil {
			d.Fatal(err)
		}
		if status == http.StatusServiceUnavailable {
			time.Sleep(10 * time.Millisecond)
			continue
		}
		var answer struct{ Accepted int }
		if err := json.Unmarshal([]byte(text), &answer); err != nil || answer.Accepted != n {
			d.Fatalf("%d events were answered with %d %.300s", n, status, text)
		}
		return
	}
}

func fileSize(t testing.TB, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// gzipped returns how large an export of everything is, compressed.
func (d *daemon) gzipped() int64 {
	d.Helper()
	cmd := exec.Command("gzip", "-6")
	out := new(counter)
	cmd.Stdout = out
	in, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		d.Fatal(err)
	}
	req, err := http.NewRequest(http.MethodGet, d.url+"/api/stats/export?format=ndjson&site_id="+claimSite, nil)
	if err != nil {
		d.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+apiKey)
	res, err := http.DefaultTransport.RoundTrip(req) // it may last
	if err != nil {
		d.Fatal(err)
	}
	defer res.Body.Close()
	_, err = io.Copy(in, res.Body)
	if err = errors.Join(err, in.Close(), cmd.Wait()); err != nil {
		d.Fatal(err)
	}
	return int64(*out)
}

// A counter counts what is written to it.
type counter int64

func (c *counter) Write(b []byte) (int, error) {
	*c += counter(len(b))
	return len(b), nil
}

// start: from exec to the first 200 of /health/ready.
func (c *claims) start(t *testing.T) {
	t.Run("empty", func(t *testing.T) {
		var took []float64
		for range 5 {
			took = append(took, secondsToReady(claimRig(t)))
		}
		c.started("start on an empty volume", took, 1)
	})
	t.Run("journal", func(t *testing.T) {
		r := claimRig(t)
		d := r.start()
		seed(d, 100_000, 0, 0)
		d.kill()
		fillJournal(r, 64<<20)
		var took []float64
		for range 3 { // killed before it can publish
			took = append(took, secondsToReady(r))
		}
		c.started("start with 64 MiB of journal", took, 2)
	})
	t.Run("parts", func(t *testing.T) {
		r := claimRig(t)
		d := r.start()
		importDays(d, 1000, 1, 5)
		d.stop()
		var took []float64
		for range 3 {
			took = append(took, secondsToReady(r))
		}
		c.started("start with 1,000 parts", took, 0)
	})
}

func (c *claims) started(what string, took []float64, limit float64) {
	m := median(took)
	if limit == 0 {
		c.add(what, fmt.Sprintf("%.2f s", m), "", 0, "", true)
		return
	}
	c.add(what, fmt.Sprintf("%.2f s", m), fmt.Sprintf("%.0f s", limit), m/limit, "< 1", m < limit)
}

// secondsToReady starts the program and kills it as soon as it is ready. It returns the
// seconds that this took.
func secondsToReady(r *rig) float64 {
	r.Helper()
	d := r.start()
	took := time.Since(d.started).Seconds()
	d.kill()
	return took
}

// seed sends n pageviews in batches, all as old as that, with ids from first on.
// Each is a visitor of its own: a visit that old may be closed already.
func seed(d *daemon, n int, first int64, old time.Duration) {
	d.Helper()
	tr, at := newTraffic(uint64(first)+9), time.Now().Add(-old)
	for sent := 0; sent < n; sent += 1000 {
		var body []byte
		for i := range 1000 {
			g := tr.arrive()
			h := tr.step(&g)
			body = append(body, h.line(first+int64(sent+i), at.Add(time.Duration(sent+i)*time.Millisecond/100).UnixMilli())...)
		}
		d.batch(body, 1000)
	}
}

// fillJournal appends the events of a ledger to it again, as new ones, until its
// journal has the size.
func fillJournal(r *rig, size int64) {
	r.Helper()
	l, err := ledger.Open(r.Context(), filepath.Join(r.dir, "ledger.db"), migrations.FS, ledger.Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		r.Fatal(err)
	}
	defer l.Close()
	var groups []ledger.Group
	if err := l.Groups(r.Context(), 0, func(g ledger.Group) error {
		groups = append(groups, g)
		return nil
	}); err != nil {
		r.Fatal(err)
	}
	for i := 0; l.Journal().Bytes < size; i++ {
		g := groups[i%len(groups)]
		events, err := event.Decode(string(g.Payload))
		if err != nil {
			r.Fatal(err)
		}
		next := l.LastSeq() + 1
		for j := range events {
			events[j].Seq, events[j].Dedupe = next+int64(j), event.ID{}
		}
		g.First, g.Last, g.IDs = next, next+int64(len(events))-1, nil
		g.Payload = event.Encode(nil, events)
		if err := l.Append(g); err != nil {
			r.Fatal(err)
		}
	}
}

// importDays imports a log of the days between so many days ago, and publishes it: a part
// for each day.
func importDays(d *daemon, from, to, each int) {
	d.Helper()
	var log bytes.Buffer
	tr := newTraffic(5)
	today := time.Now().UTC().Truncate(24 * time.Hour)
	for day := from; day >= to; day-- {
		for i := range each {
			h := tr.next()
			at := today.AddDate(0, 0, -day).Add(time.Duration(i) * 24 * time.Hour / time.Duration(each))
			path := strings.TrimPrefix(h.guest.page, "https://www."+claimSite)
			fmt.Fprintf(&log, "%s - - [%s] \"GET %s HTTP/1.1\" 200 512 \"%s\" \"%s\"\n",
				h.addr, at.Format("02/Jan/2006:15:04:05 -0700"), path, h.source, h.agent)
		}
	}
	status, text, err := d.ask(http.MethodPost, "/api/import?format=combined&site_id="+claimSite, "text/plain", log.Bytes())
	if err != nil || status != http.StatusOK || !strings.Contains(text, `"report"`) {
		d.Fatalf("import: %d %.300s %v", status, text, err)
	}
	d.publish()
}

// memory: the most that the process ever had, with 256 MiB for everything. Of the days
// that went before, parts are merged and rollups there, as they would be by then; but for
// those of yesterday, which are worked out while it is measured.
func (c *claims) memory(t *testing.T) {
	const mib = 1 << 20
	confined := func(t *testing.T) (*rig, string) {
		r := claimRig(t)
		d := r.start()
		importDays(d, 30, 2, 10_000)
		d.must(http.MethodPost, "/api/maintenance/compact", nil, nil)
		d.stop()
		r.run("parts", "rollup")
		return r, confine(r, 256*mib)
	}
	t.Run("day", func(t *testing.T) {
		r, how := confined(t)
		d := r.start()
		importDays(d, 1, 1, 10_000)
		const n, during = 10_000, 2 * time.Minute
		ctx, cancel := context.WithTimeout(t.Context(), during)
		defer cancel()
		var wg sync.WaitGroup
		wg.Go(func() { d.reports(ctx) })
		s := fire(ctx, t, d.addr(), requests(8, 2000), n/during.Seconds())
		wg.Wait()
		rss := d.peakRSS()
		t.Logf("%d events accepted, %d refused, peak RSS %d MiB", s.accepted, s.refused, rss/mib)
		d.stop()
		const limit = 200e6
		c.add("peak RSS, 10,000 events in 2 minutes and a report on 30 such days each second, "+how,
			fmt.Sprintf("%.0f MB", float64(rss)/1e6), "200 MB", float64(rss)/limit, "≤ 1", rss <= limit)
	})
	t.Run("full", func(t *testing.T) {
		r, how := confined(t)
		d := r.start()
		s := fireFor(t, time.Minute, d.addr(), requests(64, 300), 0)
		rss := d.peakRSS()
		t.Logf("%d events accepted, %d refused, peak RSS %d MiB", s.accepted, s.refused, rss/mib)
		d.stop() // it is there still
		c.add(fmt.Sprintf("peak RSS at full ingest for a minute, %.0f events/s, %d refused, %s", s.rate(), s.refused, how),
			fmt.Sprintf("%.0f MB", float64(rss)/1e6), "", 0, "stays up", true)
	})
}

// reports asks for a report each second, as an open dashboard does.
func (d *daemon) reports(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	paths := []string{"main?", "timeseries?", "breakdown/pages?", "breakdown/sources?", "breakdown/countries?", "breakdown/browsers?"}
	for i := 0; ; i++ {
		path := paths[i%len(paths)]
		status, text, err := d.get("/api/stats/" + path + "site_id=" + claimSite + "&period=30d")
		if err != nil || status != http.StatusOK {
			d.Errorf("report %s: %d %.200s %v", path, status, text, err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// confine gives the program of a rig a cgroup with so much memory, or where that
// cannot be done, settings as if it had one. It says which.
func confine(r *rig, limit int64) string {
	r.Helper()
	for _, at := range []struct{ root, file string }{
		{"/sys/fs/cgroup/memory", "memory.limit_in_bytes"},
		{"/sys/fs/cgroup", "memory.max"},
	} {
		group, err := os.MkdirTemp(at.root, "eider-claims-")
		if err != nil {
			continue
		}
		r.Cleanup(func() { _ = os.Remove(group) })
		if err := os.WriteFile(filepath.Join(group, at.file), []byte(strconv.FormatInt(limit, 10)), 0); err != nil {
			_ = os.Remove(group)
			continue
		}
		script := filepath.Join(r.TempDir(), "eider")
		text := fmt.Sprintf("#!/bin/sh\necho $$ > %s/cgroup.procs && exec %s \"$@\"\n", group, r.program)
		if err := os.WriteFile(script, []byte(text), 0o755); err != nil {
			r.Fatal(err)
		}
		r.program = script
		return fmt.Sprintf("in a cgroup of %d MiB", limit>>20)
	}
	r.env = append(r.env, fmt.Sprintf("GOMEMLIMIT=%d", limit*5/16), fmt.Sprintf("EIDER_DUCKDB_MEMORY_LIMIT=%d", limit*5/16), "EIDER_DUCKDB_THREADS=1")
	return fmt.Sprintf("with the settings of a cgroup of %d MiB", limit>>20)
}

// tail: the slowest of a hundred requests while the store is at work, against
// while it is not, at three tenths of the greatest load.
func (c *claims) tail(t *testing.T) {
	const conns, rounds, each = 64, 5, 8 * time.Second
	all := requests(conns, 300)
	quiet := claimRig(t, "EIDER_FLUSH_INTERVAL=60", "EIDER_FLUSH_COUNT=1000000", "EIDER_MAX_BUFFERED_EVENTS=10000000").start()
	if c.peak == 0 {
		c.peak = fireFor(t, 3*time.Second, quiet.addr(), all, 0).rate()
	}
	pace := .3 * c.peak
	flushing := claimRig(t, "EIDER_FLUSH_INTERVAL=0.01").start()
	storing := claimRig(t).start()
	var calm, flush, publish, compact []float64
	p99 := func(s *shot, spans ...span) float64 { return s.within(spans...).at(.99).Seconds() }
	for round := range rounds {
		for i := range 20 { // small parts of yesterday, to be compacted
			seed(storing, 2000, int64(round*20+i)*2000, 23*time.Hour-time.Duration(i)*time.Second)
			storing.publish()
		}
		calm = append(calm, p99(fireFor(t, each, quiet.addr(), all, pace)))
		flush = append(flush, p99(fireFor(t, each, flushing.addr(), all, pace)))
		s, spans := storing.while(each, all, pace, "publish", each*2/5)
		publish = append(publish, p99(s, spans...))
		s, spans = storing.while(each, all, pace, "compact", each*2/5)
		compact = append(compact, p99(s, spans...))
		t.Logf("p99 in s: calm %.4f flush %.4f publish %.4f compact %.4f", calm, flush, publish, compact)
	}
	base := median(calm)
	for _, x := range []struct {
		what string
		p99  float64
	}{{"flushes run without a pause", median(flush)}, {"a publish runs", median(publish)}, {"a compaction runs", median(compact)}} {
		c.add(fmt.Sprintf("p99 of an event at %.0f /s while %s", pace, x.what), fmt.Sprintf("%.1f ms", x.p99*1e3),
			fmt.Sprintf("quiet %.1f ms", base*1e3), x.p99/base, "≤ 3", x.p99 <= 3*base)
	}
}

// while fires, and in the middle of it has the store do something. It returns
// when that ran.
func (d *daemon) while(dur time.Duration, all [][][]byte, pace float64, task string, after time.Duration) (*shot, []span) {
	d.Helper()
	var sp span
	var wg sync.WaitGroup
	wg.Go(func() {
		time.Sleep(after)
		sp.from = time.Now()
		if status, text, err := d.ask(http.MethodPost, "/api/maintenance/"+task, "", nil); err != nil || status != http.StatusOK {
			d.Errorf("%s: %d %s %v", task, status, text, err)
		}
		sp.to = time.Now()
	})
	s := fireFor(d, dur, d.addr(), all, pace)
	wg.Wait()
	d.Logf("%s took %s", task, sp.to.Sub(sp.from))
	return s, []span{sp}
}
