package server

import (
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// AuditGauges are how things stand with the audit chain.
type AuditGauges struct {
	Size           int64 // entries
	Bytes          int64 // that they take, roughly
	CheckpointSize int64 // of the newest checkpoint
	Failures       int64 // to sign or keep one, since the start
	UnknownKinds   int64 // entries of kinds that this version does not know, since the start
	Halted         bool

	Verified   int64     // entries that the last verification has read
	VerifiedAt time.Time // when that ended; zero before the first
	Sound      bool      // what it said

	Copies []CopyGauges

	ErasuresWaiting int64     // for the copy of the events
	ErasuresSince   time.Time // when the oldest of them was made; zero if there is none
}

// CopyGauges are how far a copy of the chain, or of the events, has come.
type CopyGauges struct {
	Sink string // one of Sinks

	Attempted, Inserted, Bytes, Errors int64 // since the start; Inserted as the sink says
	Refilled                           int64 // times that it had lost rows and got them again

	LagRows int64
	Lag     time.Duration // age of the oldest row that it lacks
	Last    time.Duration // how long the last batch took
	Alarm   bool          // it holds something else than we do, and takes no more
}

// Sinks are where copies can be. They are a label, so that there are no others.
var Sinks = []string{"postgres", "ndjson", "webhook", "kafka", "postgres_events"}

// WatchAudit asks how things stand with the chain at every scrape; it must be
// quick. Call it once.
func (m *Metrics) WatchAudit(gauges func() AuditGauges) {
	m.registry.MustRegister(auditWatch{gauges})
}

// Recorded counts one commit that has made acts durable, with their entries.
func (m *Metrics) Recorded(elapsed time.Duration, acts int) {
	m.appends.Observe(elapsed.Seconds())
	m.acts.Observe(float64(acts))
}

type auditWatch struct{ gauges func() AuditGauges }

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// seconds is a point in time as Prometheus has it; 0 for none.
func seconds(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMicro()) / 1e6
}

// A reading is one metric: what it is of, and how it is read from there.
type reading[T any] struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(T) float64
}

var auditReadings = []reading[AuditGauges]{
	{desc("audit_size", "Entries of the audit chain."), prometheus.GaugeValue, func(g AuditGauges) float64 { return float64(g.Size) }},
	{desc("audit_bytes", "Bytes that the audit chain takes, roughly."), prometheus.GaugeValue, func(g AuditGauges) float64 { return float64(g.Bytes) }},
	{desc("audit_checkpoint_size", "Entries that the newest checkpoint covers."), prometheus.GaugeValue, func(g AuditGauges) float64 { return float64(g.CheckpointSize) }},
	{desc("audit_checkpoint_failures_total", "Checkpoints that were not signed or not kept."), prometheus.CounterValue, func(g AuditGauges) float64 { return float64(g.Failures) }},
	{desc("audit_unknown_kinds_total", "Entries of a kind that this version does not know."), prometheus.CounterValue, func(g AuditGauges) float64 { return float64(g.UnknownKinds) }},
	{desc("audit_halted", "1 while the audit chain takes no entries, so that nothing can be changed."), prometheus.GaugeValue, func(g AuditGauges) float64 { return truth(g.Halted) }},
	{desc("audit_verified_size", "Entries that the last verification has read."), prometheus.GaugeValue, func(g AuditGauges) float64 { return float64(g.Verified) }},
	{desc("audit_verified_timestamp_seconds", "When the last verification ended."), prometheus.GaugeValue, func(g AuditGauges) float64 { return seconds(g.VerifiedAt) }},
	{desc("export_erasures_waiting", "Erasures that the copy of the events has yet to follow."), prometheus.GaugeValue, func(g AuditGauges) float64 { return float64(g.ErasuresWaiting) }},
	{desc("export_erasures_since_timestamp_seconds", "When the oldest of these was made, 0 if there is none."), prometheus.GaugeValue, func(g AuditGauges) float64 { return seconds(g.ErasuresSince) }},
	{desc("audit_verify_result", "1 if the last verification found the chain sound."), prometheus.GaugeValue, func(g AuditGauges) float64 { return truth(g.Sound) }},
}

var copyReadings = []reading[CopyGauges]{
	{desc("export_attempted_rows_total", "Rows that were sent to a copy.", "sink"), prometheus.CounterValue, func(g CopyGauges) float64 { return float64(g.Attempted) }},
	{desc("export_inserted_rows_total", "Rows that a copy says it has taken.", "sink"), prometheus.CounterValue, func(g CopyGauges) float64 { return float64(g.Inserted) }},
	{desc("export_bytes_total", "Bytes that were sent to a copy.", "sink"), prometheus.CounterValue, func(g CopyGauges) float64 { return float64(g.Bytes) }},
	{desc("export_errors_total", "Batches that a copy has not taken.", "sink"), prometheus.CounterValue, func(g CopyGauges) float64 { return float64(g.Errors) }},
	{desc("export_refills_total", "Times that a copy had lost rows, and got them again.", "sink"), prometheus.CounterValue, func(g CopyGauges) float64 { return float64(g.Refilled) }},
	{desc("export_lag_rows", "Rows that a copy lacks.", "sink"), prometheus.GaugeValue, func(g CopyGauges) float64 { return float64(g.LagRows) }},
	{desc("export_lag_seconds", "Age of the oldest row that a copy lacks.", "sink"), prometheus.GaugeValue, func(g CopyGauges) float64 { return g.Lag.Seconds() }},
	{desc("export_last_duration_seconds", "How long the last batch took.", "sink"), prometheus.GaugeValue, func(g CopyGauges) float64 { return g.Last.Seconds() }},
	{desc("export_alarm", "1 if a copy holds something else than there is here, and takes no more.", "sink"), prometheus.GaugeValue, func(g CopyGauges) float64 { return truth(g.Alarm) }},
}

// Describe implements [prometheus.Collector].
func (w auditWatch) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range auditReadings {
		ch <- m.desc
	}
	for _, m := range copyReadings {
		ch <- m.desc
	}
}

// Collect implements [prometheus.Collector].
func (w auditWatch) Collect(ch chan<- prometheus.Metric) {
	g := w.gauges()
	for _, m := range auditReadings {
		ch <- prometheus.MustNewConstMetric(m.desc, m.kind, m.value(g))
	}
	for _, c := range g.Copies {
		if !slices.Contains(Sinks, c.Sink) {
			continue
		}
		for _, m := range copyReadings {
			ch <- prometheus.MustNewConstMetric(m.desc, m.kind, m.value(c), c.Sink)
		}
	}
}
