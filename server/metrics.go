package server

import (
	"net/http"
	"runtime"
	"strconv"
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
	task    *prometheus.HistogramVec
	rows    *prometheus.CounterVec
	queries *prometheus.HistogramVec
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
}

// tasks label what the store does by itself.
var tasks = []string{"flush", "publish", "compact", "retain", "erase"}

// NewMetrics returns metrics of their own registry.
func NewMetrics(version string) *Metrics {
	fast := prometheus.ExponentialBuckets(0.0001, 2.5, 14) // 0.1 ms to 15 s
	slow := prometheus.ExponentialBuckets(0.001, 3, 12)    // 1 ms to 3 min
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{Name: "eider_http_requests_in_flight", Help: "Requests that run now."}),
		panics:   prometheus.NewCounter(prometheus.CounterOpts{Name: "eider_http_panics_total", Help: "Requests that ended in a panic of ours."}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "eider_http_requests_total", Help: "Requests by route, class of method and class of status."}, []string{"route", "method", "code"}),
		elapsed:  prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "eider_http_request_duration_seconds", Help: "How long requests took, by route.", Buckets: fast}, []string{"route"}),
		commit:   prometheus.NewHistogram(prometheus.HistogramOpts{Name: "eider_journal_commit_duration_seconds", Help: "How long a group of events took to become durable.", Buckets: fast}),
		group:    prometheus.NewHistogram(prometheus.HistogramOpts{Name: "eider_journal_group_events", Help: "Events committed at once.", Buckets: prometheus.ExponentialBuckets(1, 4, 8)}),
		task:     prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "eider_store_task_duration_seconds", Help: "How long flush, publish, compact, retain and erase took.", Buckets: slow}, []string{"task", "result"}),
		rows:     prometheus.NewCounterVec(prometheus.CounterOpts{Name: "eider_store_task_rows_total", Help: "Rows that flush, publish, compact, retain and erase handled."}, []string{"task"}),
		queries:  prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "eider_query_duration_seconds", Help: "How long questions took, by kind and plan.", Buckets: slow}, []string{"kind", "plan"}),
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{Name: "eider_build_info", Help: "1, labelled with what runs.", ConstLabels: prometheus.Labels{"version": version, "go": runtime.Version()}})
	build.Set(1)
	m.registry.MustRegister(build, m.inFlight, m.panics, m.requests, m.elapsed, m.commit, m.group, m.task, m.rows, m.queries,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for _, t := range tasks {
		m.rows.WithLabelValues(t)
	}
	m.handler = promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4, EnableOpenMetrics: true})
	return m
}

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

// Task counts one flush, publish, compact, retain or erase.
func (m *Metrics) Task(name string, elapsed time.Duration, rows int64, err error) {
	result := "ok"
	if err != nil {
		result = "error"
	}
	m.task.WithLabelValues(name, result).Observe(elapsed.Seconds())
	m.rows.WithLabelValues(name).Add(float64(rows))
}

// Query counts one question of a kind (main, timeseries, breakdown, export,
// sql) by its plan (rollup, raw).
func (m *Metrics) Query(kind, plan string, elapsed time.Duration) {
	m.queries.WithLabelValues(kind, plan).Observe(elapsed.Seconds())
}

func (m *Metrics) request(pattern, method string, status int, elapsed time.Duration) {
	route := routeOf(pattern)
	m.requests.WithLabelValues(route, methodClass(method), strconv.Itoa(status/100)+"xx").Inc()
	m.elapsed.WithLabelValues(route).Observe(elapsed.Seconds())
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
	rebuildsDesc      = desc("lens_rebuilds_total", "Times the lens was made anew from the journal.")
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
}

// rejections are all the reasons, so that each is there with 0 from the start
// and its first rise is seen.
var rejections = []string{
	event.RejectBot, event.RejectSpam, event.RejectSite, event.RejectOrigin, event.RejectExcluded,
	event.RejectInvalid, event.RejectSkew, event.RejectConflict, event.RejectRate, event.RejectKey, event.RejectNoVisit,
}

// Describe implements [prometheus.Collector].
func (w *watch) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{acceptedDesc, duplicatesDesc, rejectedDesc, botsDesc, rebuildsDesc, bufferedDesc, bufferedBytesDesc} {
		ch <- d
	}
	for _, g := range gaugeDescs {
		ch <- g.desc
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
	counter(rebuildsDesc, uint64(g.LensRebuilt))
	for _, d := range gaugeDescs {
		ch <- prometheus.MustNewConstMetric(d.desc, prometheus.GaugeValue, d.value(g))
	}
}
