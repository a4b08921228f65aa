package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/octobot-run/octobot/internal/session"
	"github.com/octobot-run/octobot/internal/store/postgres/pgtest"
)

// connectTo gives a connection by which a test meddles with the locks of the database.
func connectTo(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	config, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	config.RuntimeParams["application_name"] = "octobot elsewhere pid 7"
	conn, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeConn(conn) })
	return conn
}

func mustExec(t *testing.T, conn *pgx.Conn, sql string, args ...any) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

const ownerKeys = `($1, hashtext(current_schema()))`

// ownerPID is the server's process that holds the lock.
func ownerPID(t *testing.T, conn *pgx.Conn) (pid int) {
	t.Helper()
	err := conn.QueryRow(t.Context(), `SELECT coalesce(max(pid), 0) FROM pg_locks
		WHERE locktype = 'advisory' AND granted AND classid::bigint = $1`, int64(classOwner)).Scan(&pid)
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// until waits for a condition.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it never came that %s", what)
		}
	}
}

func TestOneOwner(t *testing.T) {
	url := pgtest.Start(t)
	first, err := Open(t.Context(), url, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	second, err := Open(t.Context(), url, slog.New(slog.DiscardHandler))
	if err == nil {
		second.Close()
		t.Fatal("it can be opened twice")
	}
	host, hostErr := os.Hostname()
	if hostErr != nil {
		t.Fatal(hostErr)
	}
	for _, want := range []string{"another octobot", fmt.Sprintf("octobot %s pid %d", host, os.Getpid()), "since "} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error is %q, want %q in it", err, want)
		}
	}
	if took := time.Since(began); took < openPatience || took > openPatience+10*time.Second {
		t.Errorf("it was refused after %v", took)
	}
	if err := first.Ping(t.Context()); err != nil {
		t.Errorf("the one that has it: %v", err)
	}
	if err := first.Close(); err != nil {
		t.Error(err)
	}
	mustOpen(t, url)
}

// Who waits for the lock takes as long as its ctx allows.
func TestOpenCancelledBesideOwner(t *testing.T) {
	url := pgtest.Start(t)
	mustOpen(t, url)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err := Open(ctx, url, slog.New(slog.DiscardHandler))
	if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, errOwned) {
		t.Errorf("error is %v", err)
	}
}

// A daemon that was killed is in the way until the server has seen it.
func TestOpenAfterKilledOwner(t *testing.T) {
	url := pgtest.Start(t)
	conn := connectTo(t, url)
	mustExec(t, conn, `SELECT pg_advisory_lock`+ownerKeys, int32(classOwner))
	release := time.AfterFunc(time.Second, func() { closeConn(conn) })
	defer release.Stop()
	mustOpen(t, url)
}

// Installations in two schemas of one database are two.
func TestOneOwnerOfEachSchema(t *testing.T) {
	url := pgtest.Start(t)
	conn := connectTo(t, url)
	mustExec(t, conn, `CREATE SCHEMA other`)
	mustOpen(t, url)
	mustOpen(t, url+"&search_path=other")
}

// The server ends the connection that holds the lock, and nobody else wants it.
func TestOwnerComesBack(t *testing.T) {
	url := pgtest.Start(t)
	s := mustOpen(t, url)
	conn := connectTo(t, url)
	for range 3 {
		before := ownerPID(t, conn)
		mustExec(t, conn, `SELECT pg_terminate_backend($1, 10000)`, before)
		until(t, "the lock is held again, without a call", func() bool {
			now := ownerPID(t, conn)
			return now != 0 && now != before
		})
		if err := s.Ping(t.Context()); err != nil {
			t.Error(err)
		}
	}
	before := ownerPID(t, conn)
	mustExec(t, conn, `SELECT pg_terminate_backend($1, 10000)`, before)
	if _, err := s.CreateSession(t.Context(), session.Session{ID: "at once"}); err != nil {
		t.Errorf("a write that comes before the lock is back: %v", err)
	}
}

// writes are the calls that another owner's database must not see.
func writes(s session.Store) map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"create": func(ctx context.Context) error {
			_, err := s.CreateSession(ctx, session.Session{ID: "new"})
			return err
		},
		"update": func(ctx context.Context) error {
			kept, err := s.GetSession(ctx, "kept")
			if err != nil {
				return fmt.Errorf("a read failed: %w", err)
			}
			_, err = s.UpdateSession(ctx, kept)
			return err
		},
		"touch": func(ctx context.Context) error {
			return s.TouchSessions(ctx, map[string]time.Time{"kept": time.Now()})
		},
		"prune": func(ctx context.Context) error { _, err := s.PruneSessions(ctx, time.Now()); return err },
		"create token": func(ctx context.Context) error {
			return s.CreateToken(ctx,
				session.Token{Name: "t", Hash: []byte{1}})
		},
		"delete token": func(ctx context.Context) error { return s.DeleteToken(ctx, "t") },
		"ping":         s.Ping,
	}
}

func TestOwnerReplaced(t *testing.T) {
	url := pgtest.Start(t)
	s := mustOpen(t, url)
	if _, err := s.CreateSession(t.Context(), session.Session{ID: "kept"}); err != nil {
		t.Fatal(err)
	}
	control, rival := connectTo(t, url), connectTo(t, url)
	queued := make(chan error, 1)
	go func() { // it gets the lock the moment that it is free
		_, err := rival.Exec(t.Context(), `SELECT pg_advisory_lock`+ownerKeys, int32(classOwner))
		queued <- err
	}()
	until(t, "the rival is in the queue", func() (waits bool) {
		err := control.QueryRow(t.Context(), `SELECT count(*) > 0 FROM pg_locks
			WHERE locktype = 'advisory' AND NOT granted AND classid::bigint = $1`, int64(classOwner)).Scan(&waits)
		if err != nil {
			t.Fatal(err)
		}
		return waits
	})
	mustExec(t, control, `SELECT pg_terminate_backend($1, 10000)`, ownerPID(t, control))
	if err := <-queued; err != nil {
		t.Fatal(err)
	}
	for range 2 {
		for name, write := range writes(s) {
			err := write(t.Context())
			if !errors.Is(err, errOwned) || !strings.Contains(err.Error(), "octobot elsewhere pid 7") {
				t.Errorf("%s: error is %v", name, err)
			}
		}
		if _, err := s.GetSession(t.Context(), "kept"); err != nil {
			t.Errorf("get: %v", err)
		}
		if all, err := s.AllSessions(t.Context()); err != nil || len(all) != 1 {
			t.Errorf("all: %d, %v", len(all), err)
		}
	}
	closeConn(rival)
	until(t, "the lock is held again", func() bool { return ownerPID(t, control) != 0 })
	for _, name := range []string{"create", "update", "touch", "prune", "create token", "delete token", "ping"} {
		if err := writes(s)[name](t.Context()); err != nil {
			t.Errorf("%s, when the rival is gone: %v", name, err)
		}
	}
}

// A process that has not heard yet that its connection has ended, as behind a broken network, must
// not write either.
func TestOwnerDoesNotKnowYet(t *testing.T) {
	url := pgtest.Start(t)
	control := connectTo(t, url)
	config, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	// It does not watch its connection.
	o := &owner{config: config, wake: make(chan struct{}, 1), done: make(chan struct{}), tried: make(chan struct{})}
	h, err := o.take(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer closeConn(h.conn)
	o.held = h
	close(o.done)
	db := stdlib.OpenDB(*config)
	defer db.Close()

	tx, err := o.begin(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	mustExec(t, control, `SELECT pg_terminate_backend($1, 10000)`, ownerPID(t, control))
	// The next owner waits for what has begun.
	next := &owner{config: config}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if early, err := next.take(ctx); err == nil {
		closeConn(early.conn)
		t.Error("the next owner did not wait for a transaction that writes")
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	var taken *hold
	until(t, "the next owner has it", func() bool {
		taken, err = next.take(t.Context())
		return err == nil
	})
	defer closeConn(taken.conn)
	if tx, err := o.begin(t.Context(), db); err == nil {
		_ = tx.Rollback()
		t.Error("a transaction of the one before begins")
	}
}
