package daemon

import (
	"bytes"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	v1 "github.com/octobot-run/octobot/api/v1"
	"github.com/octobot-run/octobot/client"
	"github.com/octobot-run/octobot/internal/store/postgres/pgtest"
)

// logBuffer is a log that a test reads while a daemon writes it.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// Two daemons of two data directories, by the same database.
func TestRunBesideOwner(t *testing.T) {
	first, second := testConfig(t), testConfig(t)
	first.DatabaseURL = pgtest.Start(t)
	second.DatabaseURL = first.DatabaseURL
	at, _ := start(t, first)
	c := connect(t, client.Options{Socket: at.Socket})
	if _, err := c.CreateSession(t.Context(), v1.CreateSessionRequest{ID: "kept"}, nil); err != nil {
		t.Fatal(err)
	}
	err := Run(t.Context(), second, Options{Log: t.Output(), Ready: func(Addresses) { t.Error("it became ready") }})
	if err == nil || !strings.Contains(err.Error(), "another octobot is running on the database: octobot ") {
		t.Errorf("the second daemon: %v", err)
	}
	if err := c.Ready(t.Context()); err != nil {
		t.Errorf("the first daemon suffered: %v", err)
	}
}

// A daemon whose database another has got serves what it can read, and says whose it is.
func TestRunWithoutOwnership(t *testing.T) {
	cfg := testConfig(t)
	cfg.DatabaseURL = pgtest.Start(t)
	var log logBuffer
	at, _ := startLogging(t, cfg, &log)
	c := connect(t, client.Options{Socket: at.Socket})
	if _, err := c.CreateSession(t.Context(), v1.CreateSessionRequest{ID: "kept"}, nil); err != nil {
		t.Fatal(err)
	}
	rival, control := connectTo(t, cfg.DatabaseURL), connectTo(t, cfg.DatabaseURL)
	var pid, class, key int64
	if err := control.QueryRow(t.Context(), `SELECT pid, classid::bigint, objid::bigint FROM pg_locks
		WHERE locktype = 'advisory' ORDER BY classid LIMIT 1`).Scan(&pid, &class, &key); err != nil {
		t.Fatal(err)
	}
	queued := make(chan error, 1)
	go func() { // it gets the lock the moment that it is free
		_, err := rival.Exec(t.Context(), `SELECT pg_advisory_lock($1, $2)`, int32(class), int32(uint32(key)))
		queued <- err
	}()
	for waits := false; !waits; time.Sleep(10 * time.Millisecond) {
		if err := control.QueryRow(t.Context(),
			`SELECT count(*) > 0 FROM pg_locks WHERE NOT granted`).Scan(&waits); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := control.Exec(t.Context(), `SELECT pg_terminate_backend($1, 10000)`, pid); err != nil {
		t.Fatal(err)
	}
	if err := <-queued; err != nil {
		t.Fatal(err)
	}
	if _, err := c.CreateSession(t.Context(), v1.CreateSessionRequest{ID: "new"},
		nil); client.CodeOf(err) != v1.CodeStoreUnavailable {
		t.Errorf("create: %v", err)
	}
	if err := c.Ready(t.Context()); err == nil {
		t.Error("the daemon says that it is ready")
	}
	if _, err := c.GetSession(t.Context(), "kept"); err != nil {
		t.Errorf("get: %v", err)
	}
	if !strings.Contains(log.String(), "another octobot is running on the database: octobot elsewhere") {
		t.Errorf("the log does not say who has the database:\n%s", log.String())
	}
	if err := rival.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); c.Ready(t.Context()) != nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the daemon does not get its database back")
		}
	}
	if _, err := c.CreateSession(t.Context(), v1.CreateSessionRequest{ID: "new"}, nil); err != nil {
		t.Errorf("create, when the other is gone: %v", err)
	}
}

func connectTo(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url+"&application_name=octobot%20elsewhere")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(t.Context()) }) // the server closes what is left
	return conn
}
