package audit_test

import (
	"bufio"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/octobot-run/octobot/internal/audit"
	"github.com/octobot-run/octobot/internal/session"
)

func lines(t *testing.T, path string) []map[string]any {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	var all []map[string]any
	for s := bufio.NewScanner(f); s.Scan(); {
		var one map[string]any
		if err := json.Unmarshal(s.Bytes(), &one); err != nil {
			t.Fatalf("%q: %v", s.Text(), err)
		}
		all = append(all, one)
	}
	return all
}

func TestRecord(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	l, err := audit.Open(path, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	l.Record(session.AuditEntry{Time: at, By: session.Principal{Name: "socket", Admin: true, Address: "unix"},
		Operation: "create", SessionID: "s"})
	l.Record(session.AuditEntry{Time: at, By: session.Principal{Name: "t", ProjectID: "p", Address: "192.0.2.1:7"},
		Operation: "create", Code: session.CodePolicyDenied, Detail: "line\nbreak"})
	want := []map[string]any{
		{"time": "2026-01-02T03:04:05Z", "principal": "socket", "admin": true, "address": "unix",
			"operation": "create", "session": "s", "outcome": "ok"},
		{"time": "2026-01-02T03:04:05Z", "principal": "t", "project": "p", "address": "192.0.2.1:7",
			"operation": "create", "outcome": "failed", "code": "policy_denied", "detail": "line\nbreak"},
	}
	got := lines(t, path) // nothing was closed: it is there
	for i := range want {
		for key, value := range want[i] {
			if len(got) != len(want) || got[i][key] != value || len(got[i]) != len(want[i]) {
				t.Fatalf("got %v, want %v", got, want)
			}
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	// Another daemon goes on where this one ended.
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := audit.Open(path, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = again.Close() }()
	again.Record(session.AuditEntry{Time: at, Operation: "delete"})
	if n := len(lines(t, path)); n != 3 {
		t.Errorf("%d lines", n)
	}
}

// TestStrangersDoNotFillTheDisk has callers without a token refused many times a second.
func TestStrangersDoNotFillTheDisk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	l, err := audit.Open(path, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	at := time.Now()
	for range 1000 {
		l.Record(session.AuditEntry{Time: at, Operation: "authenticate", Code: session.CodeUnauthenticated})
	}
	l.Record(session.AuditEntry{Time: at, Operation: "create"})
	got := lines(t, path)
	if last := got[len(got)-1]; len(got) != 21 || last["left_out"] != float64(980) || last["operation"] != "create" {
		t.Errorf("%d lines, the last %v", len(got), last)
	}
}

// TestFullDisk says once that nothing can be written.
func TestFullDisk(t *testing.T) {
	var log strings.Builder
	l, err := audit.Open("/dev/full", slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	for range 3 {
		l.Record(session.AuditEntry{Operation: "create"})
	}
	if n := strings.Count(log.String(), "can't be written"); n != 1 {
		t.Errorf("said %d times: %s", n, &log)
	}
}
