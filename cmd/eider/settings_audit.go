package main

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/eider-analytics/eider/store/audit"
)

// auditConfig is what is set of the audit chain and of its copies.
type auditConfig struct {
	key        string // seeds, see [audit.ParseKeys]; "" keeps one in the ledger
	pin        audit.Known
	witness    string // see [audit.ParseWitness]
	sourceDays int    // that addresses and user agents of acts are kept; 0 is for ever

	stdout        bool
	webhook       string
	webhookSecret string
	kafka         kafkaConfig

	postgres string // URL, with a password in it
	events   bool   // are copied too
	interval time.Duration
}

type kafkaConfig struct {
	brokers []string
	topic   string
}

func (k kafkaConfig) String() string {
	if k.topic == "" {
		return ""
	}
	return strings.Join(k.brokers, ",") + "/" + k.topic
}

func (c *config) auditSettings() []setting {
	a := &c.audit
	return []setting{
		{env: "EIDER_AUDIT_KEY", auto: "made once, kept in the ledger", secret: true, value: auditKeyValue(&a.key),
			doc: "Signs the checkpoints of the audit chain; `eider audit key` makes one. Belongs in a secret store: kept beside the chain it proves little. " +
				"To change it, put the new one before the old one, separated by a comma, and take the old one away a day later."},
		{env: "EIDER_AUDIT_PIN", value: pinValue(&a.pin),
			doc: "A head of the audit chain, as `X-Eider-Audit-Head` has it. A chain that is shorter or another one is noticed at the start."},
		{env: "EIDER_AUDIT_WITNESS", value: witnessValue(&a.witness),
			doc: "A witness of C2SP that cosigns the checkpoints: its verifier key and its URL, separated by a space."},
		{env: "EIDER_AUDIT_SOURCE_DAYS", def: "90", value: daysValue(&a.sourceDays),
			doc: "Days that the address and the user agent of an act are kept beside the chain; 0 is for ever."},
		{env: "EIDER_AUDIT_STDOUT", def: "false", value: boolValue(&a.stdout),
			doc: "Write every new entry to standard output, as a line of JSON."},
		{env: "EIDER_AUDIT_WEBHOOK", value: webhookValue(&a.webhook),
			doc: "Where every new entry is posted to, signed with the next one."},
		{env: "EIDER_AUDIT_WEBHOOK_SECRET", secret: true, value: secretValue(&a.webhookSecret),
			doc: "Key of the signature in `X-Eider-Signature`."},
		{env: "EIDER_AUDIT_KAFKA", value: kafkaValue(&a.kafka),
			doc: "Brokers and topic that every entry is written to, such as `kafka-1:9092,kafka-2:9092/eider-audit`."},
		{env: "EIDER_POSTGRES_URL", alias: "DATABASE_URL", secret: true, value: postgresValue(&a.postgres),
			doc: "A PostgreSQL database that gets a copy of the audit chain, in a schema of its own. Nothing waits for it."},
		{env: "EIDER_EXPORT_EVENTS", def: "false", value: boolValue(&a.events),
			doc: "Copy every event to that database too, as it is after enrichment. What is erased here, or is past its days, is erased there."},
		{env: "EIDER_EXPORT_INTERVAL", def: "5s", value: secondsValue(&a.interval, 100*time.Millisecond, time.Hour),
			doc: "How often the copies are looked after, if there is nothing new."},
	}
}

// check returns what is wrong between settings of the chain.
func (a *auditConfig) check() error {
	switch {
	case a.events && a.postgres == "":
		return errors.New("EIDER_EXPORT_EVENTS: there is nowhere to copy them to; set EIDER_POSTGRES_URL too")
	case a.webhook != "" && a.webhookSecret == "":
		return errors.New("EIDER_AUDIT_WEBHOOK: set EIDER_AUDIT_WEBHOOK_SECRET too; make one with: openssl rand -hex 32")
	case a.webhook != "" && len(a.webhookSecret) < goodSecret:
		return fmt.Errorf("EIDER_AUDIT_WEBHOOK_SECRET: must have at least %d bytes; make one with: openssl rand -hex 32", goodSecret)
	}
	return nil
}

// auditKeyValue takes seeds. What is wrong with one is told without it.
func auditKeyValue(p *string) value {
	return value{
		valid: "one seed of 32 bytes in base64 or hexadecimal, or several separated by commas, the newest first",
		set: func(s string) error {
			if _, err := audit.ParseKeys(s); err != nil {
				return err
			}
			*p = s
			return nil
		},
		show: func() string { return *p },
	}
}

func pinValue(p *audit.Known) value {
	return value{
		valid: "a size and a root, as X-Eider-Audit-Head has them",
		set: func(s string) (err error) {
			*p, err = audit.ParsePin("EIDER_AUDIT_PIN", s)
			return err
		},
		show: func() string {
			if p.Where == "" {
				return ""
			}
			return audit.Head{Size: p.Size, Root: p.Root}.String()
		},
	}
}

// witnessValue takes what a witness is asked at, and its key.
func witnessValue(p *string) value {
	return value{
		valid: "the verifier key of a witness and its URL, separated by a space",
		set: func(s string) error {
			if _, err := audit.ParseWitness(s); err != nil {
				return err
			}
			*p = s
			return nil
		},
		show: func() string { return *p },
	}
}

func webhookValue(p *string) value {
	return value{
		valid: "a URL such as https://siem.example.com/eider",
		set: func(s string) error {
			u, err := url.Parse(s)
			if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || u.Fragment != "" {
				return errRange
			}
			*p = s
			return nil
		},
		show: func() string { return *p },
	}
}

func kafkaValue(p *kafkaConfig) value {
	return value{
		valid: "brokers and a topic, such as kafka-1:9092,kafka-2:9092/eider-audit",
		set: func(s string) error {
			list, topic, ok := strings.Cut(s, "/")
			k := kafkaConfig{topic: topic}
			for broker := range strings.SplitSeq(list, ",") {
				if _, _, err := net.SplitHostPort(broker); err != nil {
					return errRange
				}
				k.brokers = append(k.brokers, broker)
			}
			if !ok || topic == "" || len(topic) > 249 || strings.Trim(topic, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") != "" {
				return errRange
			}
			*p = k
			return nil
		},
		show: func() string { return p.String() },
	}
}

// postgresValue takes a URL. Its text is never told: it holds a password.
func postgresValue(p *string) value {
	return value{
		valid: "a URL such as postgres://eider:password@db.example.com/eider?sslmode=verify-full",
		set: func(s string) error {
			u, err := url.Parse(s)
			if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" {
				return errRange
			}
			*p = s
			return nil
		},
		show: func() string { return *p },
	}
}
