package server

import (
	"net/http"
	"runtime"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/eider-analytics/eider/store/event"
)

// Metrics are what GET /metrics shows. Every label is from a closed set: a route
// is the path of the list, never the one that was asked for. Other parts tell
// it what they did through its methods, which are safe for concurrent use, or
// are asked through [Metrics.Watch].
type Metrics struct {
	registry *prometheus.Registry
	handler  http.Handler

	inFlight prometheus.Gauge
	panics   prometheus.Counter
	requests *prometheus.CounterVec
	elapsed  *prometheus.HistogramVec

	commit  prometheus.Histogram
	group   prometheus.Histogram
	appends prometheus.Histogram
	acts    prometheus.Histogram
	task    *prometheus.HistogramVec
	rows    *prometheus.CounterVec
	queries *prometheus.HistogramVec
	waits   prometheus.Histogram
	logins  *prometheus.CounterVec

	mu       sync.RWMutex // guards counters
	counters map[outcome]counter
}

// Gauges are how things stand now.
type Gauges struct {
	DurableSeq, FlushedSeq, PublishedSeq int64

	OldestUnpublished time.Duration // age of the oldest event that is in no part; 0 if all are
	JournalEvents     int64         // not yet published
	JournalBytes      int64
	HotRows           int64
	Parts             int64
	PartBytes         int64
	DamagedParts      int64
	FreeDisk          int64 // bytes
	DuckDBMemory      int64 // bytes
	LensRebuilt       int64 // times since the start
	RollupSpans       int64 // days and months that there are sums of
	RollupRows        int64 // of these sums
	LensBytes         int64 // of the file that holds them

	QueriesRunning, QueriesWaiting int64

	QueriesRefused int64 // waited in vain, since the start
	CacheEntries   int64 // answers that are kept
	CacheBytes     int64 // of them

	TailStreams int64 // live streams that are open
	TailMissed  int64 // events that a live stream left out, since the start

	CacheHits, CacheMisses, CacheShared, CacheEvictions int64 // since the start
}

// tasks label what the store does by itself.
var tasks = []string{"flush", "publish", "compact", "retain", "erase", "rollup"}

// NewMetrics returns metrics of their own registry.
func NewMetrics(version string) *Metrics {
	fast := prometheus.ExponentialBuckets(0.0001, 2.5, 14) // 0.1 ms to 15 s
	slow := prometheus.ExponentialBuckets(0.001, 3, 12)    // 1 ms to 3 min
	m := &Metrics{
		registry: prometheus.NewRegistry(), counters: map[outcome]counter{},
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{Name: "eider_http_requests_in_flight", Help: "Requests that run now."}),
		panics:   prometheus.NewCounter(prometheus.CounterOpts{Name: "eider_http_panics_total", Help: "Requests that ended in a panic of ours."}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "eider_http_requests_total", Help: "Requests by route, class of method and class of status."}, []string{"route", "method", "code"}),
		elapsed:  prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "eider_http_request_duration_seconds", Help: "How long requests took, by route.", Buckets: fast}, []string{"route"}),
		commit:   prometheus.NewHistogram(prometheus.HistogramOpts{Name: "eider_journal_commit_duration_seconds", Help: "How long a group of events took to become durable.", Buckets: fast}),
		group:    prometheus.NewHistogram(prometheus.HistogramOpts{Name: "eider_journal_group_events", Help: "Events committed at once.", Buckets: prometheus.ExponentialBuckets(1, 4, 8)}),
		appends:  prometheus.NewHistogram(prometheus.HistogramOpts{Name: "eider_audit_append_duration_seconds", Help: "How long a group of acts took to become durable, with their entries.", Buckets: fast}),
		acts:     prometheus.NewHistogram(prometheus.HistogramOpts{Name: "eider_audit_append_acts", Help: "Acts committed at once.", Buckets: prometheus.ExponentialBuckets(1, 2, 10)}),
		task:     prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "eider_store_task_duration_seconds", Help: "How long flush, publish, compact, retain, erase and rollup took.", Buckets: slow}, []string{"task", "result"}),
		rows:     prometheus.NewCounterVec(prometheus.CounterOpts{Name: "eider_store_task_rows_total", Help: "Rows that flush, publish, compact, retain, erase and rollup handled."}, []string{"task"}),
		queries:  prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "eider_query_duration_seconds", Help: "How long questions took, by kind and plan.", Buckets: slow}, []string{"kind", "plan"}),
		logins:   prometheus.NewCounterVec(prometheus.CounterOpts{Name: "eider_logins_total", Help: "Log-ins by how they were tried and what became of them; lockout: the source has to wait from now on."}, []string{"how", "result"}),
		waits:    prometheus.NewHistogram(prometheus.HistogramOpts{Name: "eider_query_wait_seconds", Help: "How long questions waited for a place.", Buckets: slow}),
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{Name: "eider_build_info", Help: "1, labelled with what runs.", ConstLabels: prometheus.Labels{"version": version, "go": runtime.Version()}})
	build.Set(1)
	m.registry.MustRegister(build, m.inFlight, m.panics, m.requests, m.elapsed, m.commit, m.group, m.appends, m.acts, m.task, m.rows, m.queries, m.waits, m.logins,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for _, t := range tasks {
		m.rows.WithLabelValues(t)
	}
	m.handler = promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4, EnableOpenMetrics: true})
	return m
}

// LogIn counts one attempt to log in.
func (m *Metrics) LogIn(how, result string) { m.logins.WithLabelValues(how, result).Inc() }

// Watch asks counts and gauges at every scrape; both must be quick. Call it
// once.
func (m *Metrics) Watch(counts func() event.Counts, gauges func() Gauges) {
	m.registry.MustRegister(&watch{counts, gauges})
}

// Committed counts one group that the journal committed.
func (m *Metrics) Committed(elapsed time.Duration, events, _ int) {
	m.commit.Observe(elapsed.Seconds())
	m.group.Observe(float64(events))
}

// Task counts one flush, publish, compact, retain, erase or rollup.
func (m *Metrics) Task(name string, elapsed time.Duration, rows int64, err error) {
	result := "ok"
	if err != nil {
		result = "error"
	}
	m.task.WithLabelValues(name, result).Observe(elapsed.Seconds())
	m.rows.WithLabelValues(name).Add(float64(rows))
}

// Query counts one question of a kind (aggregate, timeseries, breakdown, funnel,
// sql, …) that the store answered, by its plan (raw, rollup, both).
func (m *Metrics) Query(kind, plan string, elapsed time.Duration) {
	m.queries.WithLabelValues(kind, plan).Observe(elapsed.Seconds())
}

// Waited counts how long one question waited for a place.
func (m *Metrics) Waited(elapsed time.Duration) { m.waits.Observe(elapsed.Seconds()) }

func (m *Metrics) request(pattern, method string, status int, elapsed time.Duration) {
	c := m.counterOf(outcome{pattern, methodClass(method), status / 100})
	c.requests.Inc()
	c.elapsed.Observe(elapsed.Seconds())
}

// An outcome is what requests are counted by. There are as many as there are
// routes, classes of methods and classes of status.
type outcome struct {
	pattern, method string
	status          int // its first digit
}

// A counter is what counts the requests with one outcome.
type counter struct {
	requests prometheus.Counter
	elapsed  prometheus.Observer
}

// counterOf finds the counter of an outcome. Looking the labels up with every
// request would cost more than all else that is done to observe it.
func (m *Metrics) counterOf(o outcome) counter {
	m.mu.RLock()
	c, ok := m.counters[o]
	m.mu.RUnlock()
	if ok {
		return c
	}
	route := routeOf(o.pattern)
	c = counter{m.requests.WithLabelValues(route, o.method, strconv.Itoa(o.status)+"xx"), m.elapsed.WithLabelValues(route)}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.counters[o] = c
	return c
}

// methodClass keeps methods that somebody has made up out of the labels.
func methodClass(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead:
		return "read"
	case http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete:
		return "write"
	case http.MethodOptions:
		return "preflight"
	}
	return "other"
}

// A watch turns what other parts know of themselves into metrics.
type watch struct {
	counts func() event.Counts
	gauges func() Gauges
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("eider_"+name, help, labels, nil)
}

var (
	acceptedDesc      = desc("events_accepted_total", "Events that were made durable.")
	duplicatesDesc    = desc("events_duplicate_total", "Events that had been accepted before.")
	rejectedDesc      = desc("events_rejected_total", "Events that were refused, by reason.", "reason")
	botsDesc          = desc("events_bot_total", "Events of crawlers and tools, by what gave them away.", "reason")
	bufferedDesc      = desc("buffered_events", "Durable events that no report shows yet.")
	bufferedBytesDesc = desc("buffered_bytes", "Memory of the buffered events.")
)

// gaugeDescs are the metrics that Gauges holds.
var gaugeDescs = []struct {
	desc  *prometheus.Desc
	value func(Gauges) float64
}{
	{desc("durable_seq", "Last event that is durable."), func(g Gauges) float64 { return float64(g.DurableSeq) }},
	{desc("flushed_seq", "Last event that reports show."), func(g Gauges) float64 { return float64(g.FlushedSeq) }},
	{desc("published_seq", "Last event that is in Parquet."), func(g Gauges) float64 { return float64(g.PublishedSeq) }},
	{desc("oldest_unpublished_seconds", "Age of the oldest event that is not in Parquet."), func(g Gauges) float64 { return g.OldestUnpublished.Seconds() }},
	{desc("journal_events", "Events in the journal."), func(g Gauges) float64 { return float64(g.JournalEvents) }},
	{desc("journal_bytes", "Bytes of the events in the journal."), func(g Gauges) float64 { return float64(g.JournalBytes) }},
	{desc("hot_rows", "Rows in DuckDB that are not in Parquet."), func(g Gauges) float64 { return float64(g.HotRows) }},
	{desc("parts", "Parquet parts."), func(g Gauges) float64 { return float64(g.Parts) }},
	{desc("part_bytes", "Bytes of the Parquet parts."), func(g Gauges) float64 { return float64(g.PartBytes) }},
	{desc("damaged_parts", "Parquet parts that are quarantined."), func(g Gauges) float64 { return float64(g.DamagedParts) }},
	{desc("disk_free_bytes", "Free space on the volume."), func(g Gauges) float64 { return float64(g.FreeDisk) }},
	{desc("duckdb_memory_bytes", "Memory that DuckDB holds."), func(g Gauges) float64 { return float64(g.DuckDBMemory) }},
	{desc("rollup_spans", "Days and months of sites that there are rollups of."), func(g Gauges) float64 { return float64(g.RollupSpans) }},
	{desc("rollup_rows", "Rows of the rollups."), func(g Gauges) float64 { return float64(g.RollupRows) }},
	{desc("lens_bytes", "Bytes of lens.duckdb and its log, which hold the rollups."), func(g Gauges) float64 { return float64(g.LensBytes) }},
	{desc("tail_streams", "Live streams that are open."), func(g Gauges) float64 { return float64(g.TailStreams) }},
	{desc("queries_running", "Questions that are being answered."), func(g Gauges) float64 { return float64(g.QueriesRunning) }},
	{desc("queries_waiting", "Questions that wait for a place."), func(g Gauges) float64 { return float64(g.QueriesWaiting) }},
	{desc("cache_entries", "Answers that are kept."), func(g Gauges) float64 { return float64(g.CacheEntries) }},
	{desc("cache_bytes", "Memory of the answers that are kept."), func(g Gauges) float64 { return float64(g.CacheBytes) }},
}

// counterDescs are those that count since the start.
var counterDescs = []struct {
	desc  *prometheus.Desc
	value func(Gauges) int64
}{
	{desc("lens_rebuilds_total", "Times the lens was made anew from the journal."), func(g Gauges) int64 { return g.LensRebuilt }},
	{desc("queries_refused_total", "Questions that waited for a place in vain."), func(g Gauges) int64 { return g.QueriesRefused }},
	{desc("cache_hits_total", "Questions answered by an answer that was kept."), func(g Gauges) int64 { return g.CacheHits }},
	{desc("tail_missed_events_total", "Events that live streams left out, because their clients or the server were too slow."), func(g Gauges) int64 { return g.TailMissed }},
	{desc("cache_misses_total", "Questions that were not."), func(g Gauges) int64 { return g.CacheMisses }},
	{desc("cache_shared_total", "Misses that shared the run of an equal question."), func(g Gauges) int64 { return g.CacheShared }},
	{desc("cache_evictions_total", "Answers that went for want of room."), func(g Gauges) int64 { return g.CacheEvictions }},
}

// rejections are all the reasons, so that each is there with 0 from the start
// and its first rise is seen.
var rejections = []string{
	event.RejectBot, event.RejectSpam, event.RejectSite, event.RejectOrigin, event.RejectExcluded,
	event.RejectInvalid, event.RejectSkew, event.RejectConflict, event.RejectRate, event.RejectKey, event.RejectNoVisit,
	event.RejectPath, event.RejectAddr, event.RejectCountry, event.RejectHost,
}

// Describe implements [prometheus.Collector].
func (w *watch) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{acceptedDesc, duplicatesDesc, rejectedDesc, botsDesc, bufferedDesc, bufferedBytesDesc} {
		ch <- d
	}
	for _, g := range gaugeDescs {
		ch <- g.desc
	}
	for _, c := range counterDescs {
		ch <- c.desc
	}
}

// Collect implements [prometheus.Collector].
func (w *watch) Collect(ch chan<- prometheus.Metric) {
	counter := func(d *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	c := w.counts()
	counter(acceptedDesc, c.Accepted)
	counter(duplicatesDesc, c.Duplicates)
	for _, reason := range rejections {
		counter(rejectedDesc, c.Rejected[reason], reason)
	}
	for reason, n := range c.Bots {
		counter(botsDesc, n, reason)
	}
	ch <- prometheus.MustNewConstMetric(bufferedDesc, prometheus.GaugeValue, float64(c.Buffered))
	ch <- prometheus.MustNewConstMetric(bufferedBytesDesc, prometheus.GaugeValue, float64(c.BufferedBytes))
	g := w.gauges()
	for _, d := range counterDescs {
		counter(d.desc, uint64(d.value(g)))
	}
	for _, d := range gaugeDescs {
		ch <- prometheus.MustNewConstMetric(d.desc, prometheus.GaugeValue, d.value(g))
	}
}
