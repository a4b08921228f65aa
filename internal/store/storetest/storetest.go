// Package storetest states the contract of session.Store as tests, which every
// store passes on its real database.
package storetest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/octobot-run/octobot/internal/session"
)

// Database is one database, at first empty.
type Database struct {
	DSN string
	// Open opens the store in the database at dsn, for this process alone until it is closed. One
	// that is open is refused.
	Open OpenFunc
	// Save keeps a copy of the database as it is, and returns a function that
	// puts the copy back in its place. Both work under an open store.
	Save func(t *testing.T) (restore func())
	// Exec runs a statement in the database past the store.
	Exec func(t *testing.T, statement string)
}

// OpenFunc opens the store in a database.
type OpenFunc func(ctx context.Context, dsn string) (session.Store, error)

// Run tests the contract. Each call of fresh gives a new database. The test
// binary's TestMain has to call [Child] first.
func Run(t *testing.T, fresh func(t *testing.T) Database) {
	for _, group := range []struct {
		name  string
		tests map[string]func(*testing.T, Database)
	}{
		{"sessions", sessionTests},
		{"list", listTests},
		{"origins", originTests},
		{"tokens", tokenTests},
		{"projects", projectTests},
		{"lifecycle", lifecycleTests},
	} {
		t.Run(group.name, func(t *testing.T) {
			for name, test := range group.tests {
				t.Run(name, func(t *testing.T) { test(t, fresh(t)) })
			}
		})
	}
}

// open opens the store until the test ends.
func (d Database) open(t *testing.T) session.Store {
	t.Helper()
	s, err := d.Open(t.Context(), d.DSN)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() { closeStore(t, s) })
	return s
}

// on makes a test of the contract from one of an open store.
func on(test func(*testing.T, session.Store)) func(*testing.T, Database) {
	return func(t *testing.T, d Database) { test(t, d.open(t)) }
}

func closeStore(t *testing.T, s session.Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}

// start is when the sessions of the tests begin.
var start = time.Date(2026, 2, 3, 4, 5, 6, 789012000, time.UTC)

func create(t *testing.T, s session.Store, sess session.Session) session.Session {
	t.Helper()
	created, err := s.CreateSession(t.Context(), sess)
	if err != nil {
		t.Fatalf("create %q: %v", sess.ID, err)
	}
	return created
}

func get(t *testing.T, s session.Store, id string) session.Session {
	t.Helper()
	got, err := s.GetSession(t.Context(), id)
	if err != nil {
		t.Fatalf("get %q: %v", id, err)
	}
	return got
}

func update(t *testing.T, s session.Store, sess session.Session) session.Session {
	t.Helper()
	updated, err := s.UpdateSession(t.Context(), sess)
	if err != nil {
		t.Fatalf("update %q: %v", sess.ID, err)
	}
	return updated
}

func wantError(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("error is %v, want %v", err, want)
	}
}

// wantFailure checks that err says that the store did not answer.
func wantFailure(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		t.Error("no error")
	}
	for _, answer := range []error{session.ErrNotFound, session.ErrExists, session.ErrConflict} {
		if errors.Is(err, answer) {
			t.Errorf("error %v is an answer, %v", err, answer)
		}
	}
}
