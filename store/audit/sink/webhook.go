package sink

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/eider-analytics/eider/store/audit"
)

// Marks remember how far sinks have come that cannot be asked. They are kept beside the
// chain; if they are lost, all is sent again.
type Marks interface {
	// Get returns what was set, 0 if nothing was.
	Get(ctx context.Context, name string) (int64, error)

	// Set is durable when it returns nil.
	Set(ctx context.Context, name string, next int64) error
}

// Webhook posts batches, as [Lines] has them, to a URL. An answer of 2xx is taken to
// mean that the batch is safe there; everything else, redirects too, has the copier try
// again. Every request has
//
//	Content-Type: application/x-ndjson
//	X-Eider-Origin: eider/<instance>/<incarnation>
//	X-Eider-First: seq of the first entry, if there is one
//	X-Eider-Count: entries; 0 for a batch of checkpoints only
//	X-Eider-Timestamp: seconds since 1970
//	X-Eider-Signature: sha256=<hex of HMAC-SHA-256 with the secret>
//
// What is signed is the timestamp, a full stop, the origin, a full stop and the body. A
// receiver refuses a timestamp more than five minutes from its clock, and takes an entry
// that it has by origin and seq for sent once more: after a crash, or an answer that was
// lost, a batch comes again.
type Webhook struct {
	url    string
	secret []byte
	marks  Marks
	client *http.Client
	now    func() time.Time
}

// WebhookOptions adjust a [Webhook].
type WebhookOptions struct {
	URL    string
	Secret string // at least 16 bytes
	Marks  Marks
	Client *http.Client     // nil means one of its own
	Now    func() time.Time // nil means time.Now
}

// minSecret is how long a secret has to be, in bytes.
const minSecret = 16

// NewWebhook checks the options. Errors have neither the secret nor the URL, which may
// hold another.
func NewWebhook(o WebhookOptions) (*Webhook, error) {
	u, err := url.Parse(o.URL)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return nil, errors.New("the address of the webhook is no URL of http or https")
	}
	if len(o.Secret) < minSecret {
		return nil, fmt.Errorf("the secret of the webhook has less than %d bytes", minSecret)
	}
	w := &Webhook{url: o.URL, secret: []byte(o.Secret), marks: o.Marks, now: o.Now}
	if w.now == nil {
		w.now = time.Now
	}
	client := http.Client{Transport: http.DefaultTransport.(*http.Transport).Clone()}
	if o.Client != nil {
		client = *o.Client
	}
	// A redirect would take the entries to where nobody has allowed them to go.
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	w.client = &client
	return w, nil
}

// Name is "webhook".
func (w *Webhook) Name() string { return "webhook" }

// Mark returns what is remembered here.
func (w *Webhook) Mark(ctx context.Context, origin string) (int64, error) {
	return w.marks.Get(ctx, markName(w, origin))
}

// markName is under which name a mark is kept.
func markName(s Sink, origin string) string { return s.Name() + " " + origin }

// Put posts a batch and takes note of it.
func (w *Webhook) Put(ctx context.Context, origin string, rows []audit.Row, checkpoints []audit.Checkpoint) (int, error) {
	req, err := w.request(ctx, origin, rows, checkpoints)
	if err != nil {
		return 0, err
	}
	answer, err := w.client.Do(req)
	if err != nil {
		return 0, fmt.Errorf("post: %w", withoutURL(err))
	}
	io.Copy(io.Discard, io.LimitReader(answer.Body, 64<<10)) // so that the connection can be used again
	answer.Body.Close()
	if answer.StatusCode/100 != 2 {
		return 0, fmt.Errorf("post: answered %d", answer.StatusCode)
	}
	return len(rows), setMark(ctx, w.marks, markName(w, origin), rows)
}

// setMark remembers that rows were taken.
func setMark(ctx context.Context, m Marks, name string, rows []audit.Row) error {
	if len(rows) == 0 {
		return nil
	}
	if err := m.Set(ctx, name, rows[len(rows)-1].Seq+1); err != nil {
		return fmt.Errorf("remember what was taken: %w", err)
	}
	return nil
}

func (w *Webhook) request(ctx context.Context, origin string, rows []audit.Row, checkpoints []audit.Checkpoint) (*http.Request, error) {
	body := Lines(rows, checkpoints)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("post: %w", withoutURL(err))
	}
	at := strconv.FormatInt(w.now().Unix(), 10)
	req.Header.Set("Content-Type", "application/x-ndjson")
	req.Header.Set("X-Eider-Origin", origin)
	if len(rows) > 0 {
		req.Header.Set("X-Eider-First", strconv.FormatInt(rows[0].Seq, 10))
	}
	req.Header.Set("X-Eider-Count", strconv.Itoa(len(rows)))
	req.Header.Set("X-Eider-Timestamp", at)
	req.Header.Set("X-Eider-Signature", "sha256="+hex.EncodeToString(webhookMAC(w.secret, at, origin, body)))
	return req, nil
}

func webhookMAC(secret []byte, at, origin string, body []byte) []byte {
	mac := hmac.New(sha256.New, secret)
	io.WriteString(mac, at+"."+origin+".")
	mac.Write(body)
	return mac.Sum(nil)
}

// withoutURL returns what went wrong with a request, not where to: a URL may hold a
// token.
func withoutURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// Close gives up the connections.
func (w *Webhook) Close() error {
	w.client.CloseIdleConnections()
	return nil
}
