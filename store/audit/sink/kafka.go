package sink

import (
	"context"
	"encoding/hex"
	"fmt"
	"strconv"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/eider-analytics/eider/store/audit"
)

// Kafka produces a record for every entry, keyed by the origin, so that the entries of
// a chain are in one partition in order. The value is the leaf; the headers are
//
//	origin, seq, link (64 hexadecimal digits)
//
// and, where it was pruned, pruned=1 with a null value. A checkpoint is a record with
// the note as its value and the headers origin and checkpoint (its size).
//
// A batch is taken when all in-sync replicas have it. The producer is idempotent: what
// it sends again itself is there once. After a crash a batch may be there twice, which
// consumers tell by origin and seq.
type Kafka struct {
	client *kgo.Client
	topic  string
	marks  Marks
}

// KafkaOptions adjust a [Kafka].
type KafkaOptions struct {
	Brokers []string // host:port
	Topic   string   // must be there
	Marks   Marks
	Client  []kgo.Opt // TLS, SASL and the like
}

// NewKafka does not connect yet.
func NewKafka(o KafkaOptions) (*Kafka, error) {
	if len(o.Brokers) == 0 || o.Topic == "" {
		return nil, fmt.Errorf("Kafka needs brokers and a topic")
	}
	client, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(o.Brokers...), kgo.ClientID("eider"), kgo.DefaultProduceTopic(o.Topic),
		kgo.RequiredAcks(kgo.AllISRAcks()), kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)),
		kgo.MaxBufferedRecords(maxRows + maxCheckpoints),
	}, o.Client...)...)
	if err != nil {
		return nil, fmt.Errorf("open Kafka: %w", err)
	}
	return &Kafka{client: client, topic: o.Topic, marks: o.Marks}, nil
}

// Name is "kafka".
func (k *Kafka) Name() string { return "kafka" }

// Mark returns what is remembered here.
func (k *Kafka) Mark(ctx context.Context, origin string) (int64, error) {
	return k.marks.Get(ctx, markName(k, origin))
}

// Put produces a batch, waits until it is there, and takes note of it.
func (k *Kafka) Put(ctx context.Context, origin string, rows []audit.Row, checkpoints []audit.Checkpoint) (int, error) {
	if err := k.client.ProduceSync(ctx, records(origin, rows, checkpoints)...).FirstErr(); err != nil {
		return 0, fmt.Errorf("produce: %w", err)
	}
	return len(rows), setMark(ctx, k.marks, markName(k, origin), rows)
}

func records(origin string, rows []audit.Row, checkpoints []audit.Checkpoint) []*kgo.Record {
	list := make([]*kgo.Record, 0, len(rows)+len(checkpoints))
	add := func(value []byte, headers ...string) {
		r := &kgo.Record{Key: []byte(origin), Value: value, Headers: []kgo.RecordHeader{{Key: "origin", Value: []byte(origin)}}}
		for i := 0; i < len(headers); i += 2 {
			r.Headers = append(r.Headers, kgo.RecordHeader{Key: headers[i], Value: []byte(headers[i+1])})
		}
		list = append(list, r)
	}
	for i := range rows {
		link := rows[i].Link()
		headers := []string{"seq", strconv.FormatInt(rows[i].Seq, 10), "link", hex.EncodeToString(link[:])}
		if rows[i].Leaf == nil {
			headers = append(headers, "pruned", "1")
		}
		add(rows[i].Leaf, headers...)
	}
	for _, c := range checkpoints {
		add(c.Note, "checkpoint", strconv.FormatInt(c.Size, 10))
	}
	return list
}

// Close gives up the connections.
func (k *Kafka) Close() error {
	k.client.Close()
	return nil
}
