package sink

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// A session is one connection to PostgreSQL, made when it is first needed and again
// when it has broken.
type session struct {
	config *pgx.ConnConfig
	turn   chan struct{} // holds a value while a call uses what follows

	conn  *pgx.Conn // nil before the first call and after a failure
	fresh func()    // called when a connection has been made, before it is used
}

// errURL says what is expected, and nothing of what was given: that has a password.
var errURL = errors.New("the address of PostgreSQL is no URL such as postgres://user:password@host/database?sslmode=verify-full")

// newSession checks a URL. Statements end after 10 s where it does not say otherwise.
func newSession(url string) (*session, error) {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, errURL
	}
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = 10 * time.Second
	}
	for name, value := range map[string]string{
		"application_name": "eider", "statement_timeout": "10s",
		"idle_in_transaction_session_timeout": "60s", "default_transaction_isolation": "read committed",
	} {
		if _, ok := config.RuntimeParams[name]; !ok {
			config.RuntimeParams[name] = value
		}
	}
	return &session{config: config, turn: make(chan struct{}, 1), fresh: func() {}}, nil
}

// do calls fn with a connection. A connection is used again only after a call that
// went well, or found the difference that it looks for: what another refuses, a new one
// may be let do. One to a server that took no writes stays read-only when the server
// takes them again, and when another has taken its place.
func (s *session) do(ctx context.Context, fn func(*pgx.Conn) error) error {
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-s.turn }()
	if s.conn == nil || s.conn.IsClosed() {
		if err := s.connect(ctx); err != nil {
			return err
		}
	}
	err := fn(s.conn)
	if err != nil && !errors.Is(err, ErrFork) && !errors.Is(err, ErrGap) {
		s.drop()
	}
	return err
}

func (s *session) connect(ctx context.Context) error {
	conn, err := pgx.ConnectConfig(ctx, s.config)
	if err != nil {
		return fmt.Errorf("connect to PostgreSQL: %w", err)
	}
	if err = usable(ctx, conn); err == nil {
		err = migrate(ctx, conn)
	}
	if err != nil {
		closeConn(conn)
		return err
	}
	s.conn = conn
	s.fresh()
	return nil
}

func (s *session) drop() {
	closeConn(s.conn)
	s.conn = nil
}

// closeConn says good-bye, for a short time only.
func closeConn(conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	conn.Close(ctx) // nothing depends on it
}

// close waits for the call under way.
func (s *session) close() error {
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	if s.conn != nil {
		s.drop()
	}
	return nil
}
