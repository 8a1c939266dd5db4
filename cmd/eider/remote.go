package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
)

// A remote is a server that commands ask.
type remote struct {
	base   *url.URL
	key    string
	client *http.Client
}

// remote returns the server that EIDER_URL names, or nil if it names none.
func (p *program) remote() (*remote, error) {
	base := p.getenv("EIDER_URL")
	if base == "" {
		return nil, nil
	}
	u, err := url.Parse(strings.TrimSuffix(base, "/"))
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, fmt.Errorf("EIDER_URL=%q: must be the URL of a server, such as https://stats.example.com", base)
	}
	key := p.getenv("EIDER_API_KEY")
	if path := p.getenv("EIDER_API_KEY_FILE"); key == "" && path != "" {
		b, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("EIDER_API_KEY_FILE: read the key: %w", err)
		}
		key = strings.TrimSpace(string(b))
	}
	if key == "" {
		return nil, errors.New("EIDER_URL is set but EIDER_API_KEY is not: make a key with eider key create, where the server runs and while it is stopped")
	}
	return &remote{base: u, key: key, client: http.DefaultClient}, nil
}

// getenv returns a variable of the process's environment.
func (p *program) getenv(name string) string {
	for _, kv := range p.env {
		if value, ok := strings.CutPrefix(kv, name+"="); ok {
			return value
		}
	}
	return ""
}

// say tells on a terminal what a command works on.
func (p *program) say(format string, args ...any) {
	if interactive(p.stderr) {
		fmt.Fprintf(p.stderr, format+"\n", args...)
	}
}

// do sends a request and returns the answer if its status is 2xx. The caller
// closes its body.
func (r *remote) do(ctx context.Context, method, path string, query url.Values, body io.Reader) (*http.Response, error) {
	u := r.base.JoinPath(path)
	u.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, method, u.String(), body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+r.key)
	if body != nil {
		req.Header.Set("Content-Type", "application/octet-stream")
		if _, ok := body.(*bytes.Reader); ok {
			req.Header.Set("Content-Type", "application/json")
		}
	}
	res, err := r.client.Do(req)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return nil, fmt.Errorf("no server answers at %s, which EIDER_URL says: %w", r.base, syscall.ECONNREFUSED)
	}
	if err != nil {
		return nil, err
	}
	if res.StatusCode/100 == 2 {
		return res, nil
	}
	defer res.Body.Close()
	return nil, &rejectedError{status: res.StatusCode, text: fmt.Sprintf("%s (%s)", reason(res.Body), res.Status)}
}

// A rejectedError is a request that the server has answered, and not with 2xx.
type rejectedError struct {
	status int
	text   string
}

func (e *rejectedError) Error() string { return e.text }

// reason returns what the body of a refusal says.
func reason(body io.Reader) string {
	b, err := io.ReadAll(io.LimitReader(body, 4096))
	if err != nil {
		return err.Error()
	}
	var answer struct{ Error string }
	if json.Unmarshal(b, &answer) == nil && answer.Error != "" {
		return answer.Error
	}
	return strings.TrimSpace(string(b))
}

// call sends in as JSON, if it is not nil, and reads the answer into out, if that
// is not nil.
func (r *remote) call(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	res, err := r.do(ctx, method, path, nil, body)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(res.Body).Decode(out); err != nil {
		return fmt.Errorf("%s %s: read the answer: %w", method, path, err)
	}
	return nil
}
