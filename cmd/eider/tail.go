package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

const (
	tailQuiet = time.Minute      // a server is heard of four times a minute
	tailLater = 30 * time.Second // longest time between two tries
)

// tailFlags are the flags of eider tail.
type tailFlags struct {
	site, filters string
	asJSON        bool
}

func (p *program) tailCommand() *cobra.Command {
	var f tailFlags
	cmd := &cobra.Command{
		Use:   "tail --site SITE",
		Short: "Show events as they happen",
		Long: `Show the events of a site at the moment they are durable, one a line, until
stopped: time, name, page, source, country, browser and device. What was too much
to show is counted in a line of its own. When the connection is lost it is tried
again, from where it was.

It asks the running server that EIDER_URL names, with a key of the scope stats.`,
		Example: `  eider tail --site example.com
  eider tail --site example.com --filters 'event==Signup' --json | jq .props.plan`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.site == "" {
				return usageError{errors.New("--site is needed")}
			}
			r, err := p.remote()
			if err != nil {
				return err
			}
			if r == nil {
				return errors.New("tail: only a running server has something to show; set EIDER_URL and EIDER_API_KEY")
			}
			if err := p.tail(cmd.Context(), r, f); err != nil && cmd.Context().Err() == nil {
				return fmt.Errorf("tail: %w", err)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&f.site, "site", "", "the site (needed)")
	cmd.Flags().StringVar(&f.filters, "filters", "", "only events for which they hold, such as page~/blog/;country==DE")
	cmd.Flags().BoolVar(&f.asJSON, "json", false, "one JSON object a line")
	return cmd
}

// tail shows a stream, and goes on where it was when it breaks off. It ends when ctx
// does, or when the server says that it will not show any more.
func (p *program) tail(ctx context.Context, r *remote, f tailFlags) error {
	var after string
	wait := time.Second
	for {
		seen, err := p.tailOnce(ctx, r, f, &after)
		var rejected *rejectedError
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.As(err, &rejected) && rejected.status/100 == 4 && rejected.status != http.StatusTooManyRequests, errors.Is(err, errTailOver):
			return err
		case after == "": // it has never worked: nobody is helped by trying for ever
			return err
		case seen:
			wait = time.Second
		}
		p.say("%v; trying again in %s", err, wait)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
		wait = min(2*wait, tailLater)
	}
}

// errTailOver is in the error of a stream that the server has ended for good.
var errTailOver = errors.New("the server shows nothing more")

// tailOnce shows one stream to its end. It keeps in after up to which event everything
// was seen, and says whether anything came.
func (p *program) tailOnce(ctx context.Context, r *remote, f tailFlags, after *string) (seen bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silent := time.AfterFunc(tailQuiet, func() { cancel(errors.New("the server is not heard of any more")) })
	defer silent.Stop()
	q := url.Values{"site_id": {f.site}}
	if f.filters != "" {
		q.Set("filters", f.filters)
	}
	if *after != "" {
		q.Set("after", *after)
	}
	res, err := r.do(ctx, http.MethodGet, "/api/tail", q, nil)
	if err != nil {
		return false, err
	}
	defer res.Body.Close()
	err = readStream(res.Body, func(m streamed) error {
		silent.Reset(tailQuiet)
		seen = true
		if err := p.showStreamed(m, f.asJSON); err != nil {
			return err
		}
		if m.id != "" {
			*after = m.id
		}
		return nil
	})
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	return seen, err
}

// A streamed is one message of a stream of server-sent events.
type streamed struct{ id, kind, data string }

// readStream calls fn for the messages of a stream, and for what is none, as a
// heartbeat, with the zero message. It ends with an error, at the latest with that of
// a stream that has no more.
func readStream(body io.Reader, fn func(streamed) error) error {
	in := bufio.NewScanner(body)
	in.Buffer(nil, 1<<20)
	var m streamed
	for in.Scan() {
		name, value, _ := strings.Cut(in.Text(), ":")
		switch value = strings.TrimPrefix(value, " "); name {
		case "id":
			m.id = value
		case "event":
			m.kind = value
		case "data":
			m.data = value
		case "":
			if in.Text() != "" { // a comment
				continue
			}
			if err := fn(m); err != nil {
				return err
			}
			m = streamed{}
		}
	}
	if err := in.Err(); err != nil {
		return fmt.Errorf("read the stream: %w", err)
	}
	return errors.New("the server has ended the stream")
}

// showStreamed prints a message.
func (p *program) showStreamed(m streamed, asJSON bool) error {
	switch {
	case m.data == "":
		return nil
	case m.kind == "end":
		var why struct{ Error string }
		if err := json.Unmarshal([]byte(m.data), &why); err != nil {
			return fmt.Errorf("read the end of the stream: %w", err)
		}
		return fmt.Errorf("%w: %s", errTailOver, why.Error)
	case asJSON && m.kind == "missed":
		_, err := fmt.Fprintf(p.stdout, "{\"missed\":%s}\n", m.data)
		return err
	case asJSON:
		_, err := fmt.Fprintln(p.stdout, m.data)
		return err
	}
	line, err := tailLine(m)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(p.stdout, line)
	return err
}

// tailLine writes a message for a person.
func tailLine(m streamed) (string, error) {
	var e struct {
		Time, Name, Path, Source, Country, Browser, Device, Currency string
		Revenue                                                      json.Number
		Events                                                       int64
		Exact                                                        bool
	}
	if err := json.Unmarshal([]byte(m.data), &e); err != nil {
		return "", fmt.Errorf("read an event: %w", err)
	}
	if m.kind == "missed" {
		switch {
		case e.Exact:
			return fmt.Sprintf("… %d events not shown", e.Events), nil
		case e.Events > 0:
			return fmt.Sprintf("… %d events not shown, perhaps more", e.Events), nil
		}
		return "… perhaps some events not shown", nil
	}
	when := e.Time
	if t, err := time.Parse(time.RFC3339, e.Time); err == nil {
		when = t.Format(time.TimeOnly)
	}
	line := fmt.Sprintf("%s  %-12s  %-32s  %-16s  %-2s  %-10s  %s", when, printable(e.Name), printable(e.Path), printable(e.Source),
		printable(e.Country), printable(e.Browser), printable(e.Device))
	if e.Currency != "" {
		line += fmt.Sprintf("  %s %s", e.Revenue, printable(e.Currency))
	}
	return strings.TrimRight(line, " "), nil
}
