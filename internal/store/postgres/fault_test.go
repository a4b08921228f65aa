package postgres

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/octobot-run/octobot/internal/session"
	"github.com/octobot-run/octobot/internal/store/postgres/pgtest"
	"github.com/octobot-run/octobot/internal/store/sqlstore"
)

func mustOpen(t *testing.T, url string) *sqlstore.Store {
	t.Helper()
	s, err := Open(t.Context(), url, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// wantFailures makes calls that must fail, soon, without an answer.
func wantFailures(t *testing.T, s session.Store) {
	t.Helper()
	for name, call := range map[string]func(context.Context) error{
		"get": func(ctx context.Context) error { _, err := s.GetSession(ctx, "none"); return err },
		"create": func(ctx context.Context) error {
			_, err := s.CreateSession(ctx, session.Session{ID: "kept"})
			return err
		},
		"all":  func(ctx context.Context) error { _, err := s.AllSessions(ctx); return err },
		"ping": s.Ping,
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		began := time.Now()
		err := call(ctx)
		cancel()
		if err == nil || errors.Is(err, session.ErrNotFound) || errors.Is(err, session.ErrExists) ||
			errors.Is(err, session.ErrConflict) {
			t.Errorf("%s: error is %v", name, err)
		}
		if took := time.Since(began); took > 10*time.Second { // the deadline and a lot of patience with the machine
			t.Errorf("%s: took %v", name, took)
		}
	}
}

// wantRecovery finds the store as it was, without opening it again.
func wantRecovery(t *testing.T, s session.Store) {
	t.Helper()
	var err error
	for range 20 { // more than there are connections, each of which may have to find out
		if err = s.Ping(t.Context()); err == nil {
			break
		}
	}
	if err != nil {
		t.Fatalf("no recovery: %v", err)
	}
	if _, err := s.GetSession(t.Context(), "kept"); err != nil {
		t.Error(err)
	}
	_, err = s.CreateSession(t.Context(), session.Session{ID: "kept"})
	if !errors.Is(err, session.ErrExists) {
		t.Errorf("error is %v", err)
	}
}

func TestOutages(t *testing.T) {
	server := pgtest.StartServer(t)
	s := mustOpen(t, server.URL(t))
	if _, err := s.CreateSession(t.Context(), session.Session{ID: "kept"}); err != nil {
		t.Fatal(err)
	}
	for _, outage := range []struct {
		name       string
		begin, end func(testing.TB)
		during     func(*testing.T, session.Store)
	}{
		{"crash", server.Stop, server.Start, wantFailures},
		{"hang", server.Hang, server.Resume, wantFailures},
		{"read-only", readOnly(server, "on"), readOnly(server, "off"), wantReadOnly},
	} {
		t.Run(outage.name, func(t *testing.T) {
			outage.begin(t)
			outage.during(t, s)
			outage.end(t)
			wantRecovery(t, s)
		})
	}
}

func readOnly(server *pgtest.Server, value string) func(testing.TB) {
	return func(t testing.TB) {
		server.Exec(t, "ALTER SYSTEM SET default_transaction_read_only = "+value, "SELECT pg_reload_conf()",
			// Connections see it from their next transaction on, new ones at once.
			"SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE application_name LIKE 'octobot %'")
	}
}

func wantReadOnly(t *testing.T, s session.Store) {
	t.Helper()
	var err error
	for range 20 { // until the broken connections are gone
		if err = s.Ping(t.Context()); err != nil && strings.Contains(err.Error(), "read-only") {
			break
		}
	}
	if err == nil || !strings.Contains(err.Error(), "read-only") {
		t.Errorf("ping: error is %v", err)
	}
	if _, err := s.GetSession(t.Context(), "kept"); err != nil {
		t.Errorf("get: %v", err)
	}
}

func TestHangingServer(t *testing.T) {
	server := pgtest.StartServer(t)
	url := server.URL(t)
	s, err := Open(t.Context(), url, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	server.Hang(t)
	defer server.Resume(t)

	began := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := Open(ctx, url, slog.New(slog.DiscardHandler)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("open: error is %v", err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("open and close took %v", took)
	}
}

func TestOpenRefuses(t *testing.T) {
	newer := pgtest.Start(t)
	used, err := Open(t.Context(), newer, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := used.Close(); err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.Connect(t.Context(), newer)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(),
		"INSERT INTO goose_db_version (version_id, is_applied) VALUES (99999, true)"); err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ name, url, want string }{
		{"a newer schema", newer, "newer octobot"},
		{"nobody there", "postgres://user:s3cret@/db?host=/nowhere", "/nowhere"},
		{"no URL", "postgres://user:s3cret@[/db", "parse"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, err := Open(t.Context(), tc.url, slog.New(slog.DiscardHandler))
			if err == nil {
				s.Close()
				t.Fatal("it can be opened")
			}
			if said := err.Error(); !strings.Contains(said, tc.want) || strings.Contains(said, "s3cret") {
				t.Errorf("error is %q, want %q and no password in it", said, tc.want)
			}
		})
	}
}

// Several processes meet a new database: one has it at a time, and it becomes one installation.
func TestConcurrentOpens(t *testing.T) {
	url := pgtest.Start(t)
	var mu sync.Mutex
	instances := make(map[string]int)
	var open atomic.Int32
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			s, err := Open(t.Context(), url, slog.New(slog.DiscardHandler))
			for errors.Is(err, errOwned) { // by the others, for longer than it waits
				s, err = Open(t.Context(), url, slog.New(slog.DiscardHandler))
			}
			if err != nil {
				t.Error(err)
				return
			}
			defer s.Close()
			if open.Add(1) > 1 {
				t.Error("two have it open")
			}
			defer open.Add(-1)
			instance, err := s.Instance(t.Context())
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			instances[instance]++
		})
	}
	wg.Wait()
	if len(instances) != 1 {
		t.Errorf("instances are %v", instances)
	}
}
