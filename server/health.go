package server

import (
	"net/http"
	"strings"
)

// alive says that the process answers, whatever else is wrong: a supervisor that
// restarts it for a full disk would make it worse.
func (s *Server) alive(w http.ResponseWriter, _ *http.Request) error {
	writeText(w, http.StatusOK, "ok\n")
	return nil
}

// ready says whether to send requests here, and if not why, one reason a line.
func (s *Server) ready(w http.ResponseWriter, r *http.Request) error {
	if reasons := s.reasons(r); len(reasons) > 0 {
		w.Header().Set("Retry-After", "1")
		writeText(w, http.StatusServiceUnavailable, strings.Join(reasons, "\n")+"\n")
		return nil
	}
	writeText(w, http.StatusOK, "ready\n")
	return nil
}

func (s *Server) reasons(r *http.Request) []string {
	var reasons []string
	if s.draining.Load() {
		reasons = append(reasons, "draining")
	}
	return append(reasons, s.o.Health.Reasons(r.Context())...)
}

func (s *Server) detailed(w http.ResponseWriter, r *http.Request) error {
	details := map[string]any{"status": "ok"}
	for name, v := range s.o.Health.Details(r.Context()) {
		details[name] = v
	}
	if reasons := s.reasons(r); len(reasons) > 0 {
		details["status"], details["reasons"] = "not ready", reasons
	}
	details["version"] = s.o.Version
	details["uptime"] = int64(s.now().Sub(s.started).Seconds())
	writeJSON(w, http.StatusOK, details)
	return nil
}

func (s *Server) metrics(w http.ResponseWriter, r *http.Request) error {
	s.o.Metrics.handler.ServeHTTP(w, r)
	return nil
}
