package server

import (
	"context"
	"errors"
	"io"
	"math"
	"net/http"
	"strings"
	"time"

	"github.com/eider-analytics/eider/store/audit"
	"github.com/eider-analytics/eider/store/event"
	"github.com/eider-analytics/eider/store/ledger"
)

func (s *Server) auditReport(w http.ResponseWriter, r *http.Request) error {
	if err := taking(r, []string{"from", "to"}); err != nil {
		return err
	}
	from, to, err := timesOf(r)
	if err != nil {
		return err
	}
	if from.IsZero() {
		from = time.Unix(0, 0).UTC()
	}
	if to.IsZero() {
		to = s.now().UTC()
	}
	if err := s.read(r, "report", false); err != nil {
		return err
	}
	report, err := s.o.Custody.Report(r.Context(), from, to)
	if err != nil {
		return absent(err)
	}
	w.Header().Set("Content-Type", noteType)
	_, _ = w.Write(report) // an error means that the client has gone
	return nil
}

// auditExport streams the chain. An export that fails on the way is broken off.
func (s *Server) auditExport(w http.ResponseWriter, r *http.Request) error {
	if err := taking(r, []string{"format"}); err != nil {
		return err
	}
	format, err := param(r, "format", event.FormatNDJSON)
	if err != nil {
		return err
	}
	write := map[string]func(context.Context, io.Writer, audit.Log, int64, int64) error{
		event.FormatNDJSON: audit.WriteNDJSON, event.FormatParquet: audit.WriteParquet,
	}[format]
	if write == nil {
		return refuse(http.StatusBadRequest, "format", "format is ndjson or parquet")
	}
	if r.Method == http.MethodHead {
		return nil
	}
	if err := s.read(r, "export", false); err != nil {
		return err
	}
	w.Header().Set("Content-Type", mediaTypes[format])
	w.Header().Set("Content-Disposition", `attachment; filename="`+fileName("audit")+"."+format+`"`)
	out := newStream(w).paced(s.pace)
	if err := write(r.Context(), out, s.o.Trail, 0, math.MaxInt64); err != nil {
		return s.breakOff(r, out, err)
	}
	return nil
}

type keysJSON struct {
	Origin string   `json:"origin" doc:"Of the checkpoints."`
	Keys   []string `json:"keys" doc:"name+hash+key, the newest first."`
}

func (s *Server) auditKeys(w http.ResponseWriter, r *http.Request) error {
	keys, err := s.o.Custody.Verifiers(r.Context())
	if err != nil {
		return err
	}
	origin, _ := s.o.Acts.AuditHead()
	writeJSON(w, http.StatusOK, keysJSON{origin, append([]string{}, keys...)})
	return nil
}

type adoptRequest struct {
	Reason string `json:"reason" api:"required" doc:"Why the chain is shorter, or another one, than it was: what was restored, and from where."`
}

type adoptedJSON struct {
	Origin string `json:"origin" doc:"Of the new incarnation."`
	Size   int64  `json:"size"`
}

// adopt ends a halt.
func (s *Server) adopt(w http.ResponseWriter, r *http.Request) error {
	var ask adoptRequest
	if err := readJSON(w, r, &ask); err != nil {
		return err
	}
	if ask.Reason = strings.TrimSpace(ask.Reason); ask.Reason == "" || len(ask.Reason) > 1000 {
		return refuse(http.StatusUnprocessableEntity, "invalid", "say the reason, in at most 1,000 bytes")
	}
	err := s.o.Custody.Adopt(r.Context(), ask.Reason)
	if errors.Is(err, ErrNotHalted) {
		return refuse(http.StatusConflict, "not_halted", "%s", ErrNotHalted.Error())
	}
	if err != nil {
		return err
	}
	origin, head := s.o.Acts.AuditHead()
	writeJSON(w, http.StatusOK, adoptedJSON{origin, head.Size})
	return nil
}

type forgetRequest struct {
	Actor   string `json:"actor" doc:"Of the entries, such as key:5b3ef67c00d0."`
	Address string `json:"address" doc:"That they came from."`
	Before  string `json:"before" doc:"A day or a point in time: older entries."`
	Basis   string `json:"basis" api:"required" doc:"Why: it is in the chain for ever, so name nobody."`
}

type forgottenJSON struct {
	Values int `json:"values" doc:"Private values that were destroyed."`
}

// forget destroys private values: addresses, user agents, and what was typed in.
func (s *Server) forget(w http.ResponseWriter, r *http.Request) error {
	var ask forgetRequest
	if err := readJSON(w, r, &ask); err != nil {
		return err
	}
	if ask.Basis = strings.TrimSpace(ask.Basis); ask.Basis == "" || len(ask.Basis) > 200 {
		return refuse(http.StatusUnprocessableEntity, "invalid", "say the basis, in at most 200 bytes")
	}
	f := ledger.PrivateFilter{Actor: ask.Actor, Address: ask.Address}
	if ask.Before != "" {
		at, err := pointOf(ask.Before)
		if err != nil {
			return err
		}
		f.Before = at.UnixMicro()
	}
	if ask.Actor == "" && ask.Address == "" && ask.Before == "" {
		return refuse(http.StatusUnprocessableEntity, "invalid", "say what to erase: of which actor, from which address, or before when")
	}
	n, err := s.o.Custody.ErasePrivate(context.WithoutCancel(r.Context()), f, ask.Basis)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, forgottenJSON{n})
	return nil
}

// pointOf reads a day (UTC) or a point in time.
func pointOf(text string) (time.Time, error) {
	at, err := time.Parse(time.DateOnly, text)
	if err != nil {
		at, err = time.Parse(time.RFC3339Nano, text)
	}
	if err != nil || at.Year() < 1970 || at.Year() > 9999 {
		return at, refuse(http.StatusUnprocessableEntity, "invalid", "before is a day such as 2026-01-31 or a point in time such as 2026-01-31T12:00:00Z")
	}
	return at, nil
}

type pruneRequest struct {
	Before string `json:"before" api:"required" doc:"A day or a point in time: older entries."`
}

type prunedJSON struct {
	Entries int64 `json:"entries" doc:"From the first on, whose leaves are here no more."`
}

// prune deletes leaves that are in every copy.
func (s *Server) prune(w http.ResponseWriter, r *http.Request) error {
	var ask pruneRequest
	if err := readJSON(w, r, &ask); err != nil {
		return err
	}
	at, err := pointOf(ask.Before)
	if err != nil {
		return err
	}
	n, err := s.o.Custody.Prune(context.WithoutCancel(r.Context()), at)
	if errors.Is(err, ErrNotCopied) {
		return refuse(http.StatusConflict, "not_copied", "%s", err)
	}
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, prunedJSON{n})
	return nil
}
