package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/eider-analytics/eider/store/ledger"
)

// A keyRequest is a key to be made: the flags, and the body of POST /api/keys.
type keyRequest struct {
	Name    string   `json:"name"`
	Scopes  []string `json:"scopes"`
	Site    string   `json:"site_id,omitempty"`
	Expires string   `json:"expires,omitempty"` // RFC 3339
}

// A keyInfo is what is told of a key: all but the key itself. Times are RFC 3339;
// one that has not come is empty.
type keyInfo struct {
	ID       string   `json:"id"`
	Name     string   `json:"name"`
	Prefix   string   `json:"prefix"`
	Scopes   []string `json:"scopes"`
	Site     string   `json:"site_id"`
	Created  string   `json:"created"`
	Expires  string   `json:"expires"`
	LastUsed string   `json:"last_used"`
	Revoked  string   `json:"revoked"`
}

func (p *program) keyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "key",
		Short:   "Make, list and revoke keys",
		Example: "  eider key create --name shop --scope ingest\n  eider key list\n  eider key revoke 5b3ef67c00d0",
	}
	cmd.AddCommand(p.keyCreateCommand(), p.keyListCommand(), p.keyRevokeCommand())
	return cmd
}

func (p *program) keyCreateCommand() *cobra.Command {
	var req keyRequest
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "create",
		Short: "Make a key and print it, this once",
		Long: `Make a key and print it on standard output. It is not shown again: only its
hash is kept.

Scopes: ` + strings.Join(ledger.Scopes, ", ") + `.
admin looks after sites, keys and erasures; it does not include the others.`,
		Example: `  eider key create --name shop --scope ingest --site shop.example
  eider key create --name laptop --scope stats --scope sql --expires 90d`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := req.check(time.Now()); err != nil {
				return usageError{err}
			}
			key, info, err := p.createKey(cmd.Context(), req)
			if err != nil {
				return fmt.Errorf("make key: %w", err)
			}
			if asJSON {
				return json.NewEncoder(p.stdout).Encode(struct {
					Key string `json:"key"`
					keyInfo
				}{key, info})
			}
			p.say("keep this key: it is not shown again")
			_, err = fmt.Fprintln(p.stdout, key)
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&req.Name, "name", "", "what to call it (needed)")
	f.StringArrayVar(&req.Scopes, "scope", nil, "what it may do; can be given more than once (needed)")
	f.StringVar(&req.Site, "site", "", "the only site it is good for (default all)")
	f.StringVar(&req.Expires, "expires", "", "when it ends: a date, or after a time such as 12h or 90d (default never)")
	f.BoolVar(&asJSON, "json", false, "print as JSON")
	return cmd
}

// check refuses a request that no key can be made of, and makes a point in time
// of its expiry.
func (r *keyRequest) check(now time.Time) error {
	if r.Name == "" {
		return errors.New("--name is needed: what the key is for")
	}
	if len(r.Scopes) == 0 {
		return fmt.Errorf("--scope is needed: one of %s", strings.Join(ledger.Scopes, ", "))
	}
	for _, s := range r.Scopes {
		if !slices.Contains(ledger.Scopes, s) {
			return fmt.Errorf("--scope %s: must be one of %s", s, strings.Join(ledger.Scopes, ", "))
		}
	}
	if r.Expires == "" {
		return nil
	}
	at, err := expiry(r.Expires, now)
	if err != nil || !at.After(now) {
		return fmt.Errorf("--expires %s: must be a date to come, such as 2030-12-31, or a time such as 12h or 90d", r.Expires)
	}
	r.Expires = at.UTC().Format(time.RFC3339)
	return nil
}

// expiry reads a day (its end, UTC), a point in time, or a time from now.
func expiry(s string, now time.Time) (time.Time, error) {
	if at, err := time.Parse(time.DateOnly, s); err == nil {
		return at.AddDate(0, 0, 1), nil
	}
	if at, err := time.Parse(time.RFC3339, s); err == nil {
		return at, nil
	}
	var days int
	if err := daysValue(&days).set(s); err == nil && strings.HasSuffix(s, "d") {
		return now.AddDate(0, 0, days), nil
	}
	d, err := time.ParseDuration(s)
	return now.Add(d), err
}

func (p *program) createKey(ctx context.Context, req keyRequest) (key string, info keyInfo, err error) {
	r, err := p.remote()
	if err != nil {
		return "", keyInfo{}, err
	}
	if r != nil {
		var answer struct {
			Key string `json:"key"`
			keyInfo
		}
		err := r.call(ctx, http.MethodPost, "/api/keys", req, &answer)
		return answer.Key, answer.keyInfo, err
	}
	err = p.withLedger(ctx, "key create", askServer, func(ctx context.Context, _ *config, l *ledger.Ledger) error {
		var expires int64
		if req.Expires != "" {
			at, err := time.Parse(time.RFC3339, req.Expires)
			if err != nil {
				return err
			}
			expires = at.UnixMicro()
		}
		k, secret, err := ledger.NewKey(req.Name, req.Scopes, req.Site, expires)
		if err != nil {
			return err
		}
		k.Created = time.Now().UnixMicro()
		key, info = secret, infoOf(k)
		return l.AddKey(ctx, k)
	})
	return key, info, err
}

func infoOf(k ledger.Key) keyInfo {
	return keyInfo{
		ID: k.ID, Name: k.Name, Prefix: k.Prefix, Scopes: k.Scopes, Site: k.Site,
		Created: timeText(k.Created), Expires: timeText(k.Expires), LastUsed: timeText(k.LastUsed), Revoked: timeText(k.Revoked),
	}
}

// timeText is a time in µs as RFC 3339, or "" for 0.
func timeText(micros int64) string {
	if micros == 0 {
		return ""
	}
	return time.UnixMicro(micros).UTC().Format(time.RFC3339)
}

func (p *program) keyListCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the keys, without the keys themselves",
		Example: "  eider key list\n  eider key list --json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, err := p.listKeys(cmd.Context())
			if err != nil {
				return fmt.Errorf("list keys: %w", err)
			}
			if asJSON {
				return json.NewEncoder(p.stdout).Encode(list)
			}
			return writeKeys(p.stdout, list)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	return cmd
}

func (p *program) listKeys(ctx context.Context) ([]keyInfo, error) {
	r, err := p.remote()
	if err != nil {
		return nil, err
	}
	if r != nil {
		var answer struct {
			Keys []keyInfo `json:"keys"`
		}
		err := r.call(ctx, http.MethodGet, "/api/keys", nil, &answer)
		return answer.Keys, err
	}
	list := []keyInfo{}
	err = p.withLedger(ctx, "key list", askServer, func(ctx context.Context, _ *config, l *ledger.Ledger) error {
		keys, err := l.Keys(ctx)
		for _, k := range keys {
			list = append(list, infoOf(k))
		}
		return err
	})
	return list, err
}

func writeKeys(w io.Writer, list []keyInfo) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "ID\tNAME\tKEY\tSCOPES\tSITE\tCREATED\tEXPIRES\tLAST USED\tREVOKED")
	for _, k := range list {
		cells := []string{k.ID, k.Name, k.Prefix + "…", strings.Join(k.Scopes, ","), k.Site, toSecond(k.Created), toSecond(k.Expires), toSecond(k.LastUsed), toSecond(k.Revoked)}
		for i, cell := range cells {
			if cell == "" {
				cells[i] = "-"
			}
		}
		fmt.Fprintln(tw, strings.Join(cells, "\t"))
	}
	return tw.Flush()
}

// toSecond leaves the fraction out of a time, as a table has no use for it.
func toSecond(s string) string {
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return s
	}
	return at.Format(time.RFC3339)
}

func (p *program) keyRevokeCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "revoke ID",
		Short:   "Make a key good for nothing",
		Example: "  eider key revoke 5b3ef67c00d0",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := p.revokeKey(cmd.Context(), args[0]); err != nil {
				return fmt.Errorf("revoke key %s: %w", args[0], err)
			}
			p.say("revoked %s", args[0])
			return nil
		},
	}
}

func (p *program) revokeKey(ctx context.Context, id string) error {
	r, err := p.remote()
	if err != nil {
		return err
	}
	if r != nil {
		return r.call(ctx, http.MethodDelete, "/api/keys/"+url.PathEscape(id), nil, nil)
	}
	return p.withLedger(ctx, "key revoke", askServer, func(ctx context.Context, _ *config, l *ledger.Ledger) error {
		return l.RevokeKey(ctx, id, time.Now().UnixMicro())
	})
}
