package cli

import (
	"strings"
	"testing"
	"time"

	v1 "github.com/octobot-run/octobot/api/v1"
)

// TestPastEvents checks what is told of what has happened, and that what is not remembered is said.
func TestPastEvents(t *testing.T) {
	started := time.Now()
	dir := startDaemon(t)
	must(t, dir, "create", "--project", "web", "a")
	must(t, dir, "create", "--no-start", "b")
	must(t, dir, "stop", "-t", "0", "a")
	kinds := func(args ...string) string {
		t.Helper()
		return must(t, dir, append([]string{"events", "--until", "0s",
			"--format", "{{.session_id}} {{.kind}}{{with .exit}} {{.code}}{{end}}"}, args...)...)
	}
	all := "a session.created\na session.started\nb session.created\na session.stopped 137\n"
	for _, tt := range []struct{ args, want string }{
		{"", ""}, {"--since 1h", all}, {"--since 0s", ""},
		{"--since 1h a --kind stopped", "a session.stopped 137\n"},
		{"--since 1h --kind session.created,stopped b", "b session.created\n"},
		{"--since 1h --project web --kind created", "a session.created\n"},
	} {
		if got := kinds(strings.Fields(tt.args)...); got != tt.want {
			t.Errorf("%s:\n%s\nwant:\n%s", tt.args, got, tt.want)
		}
	}
	r := octobot(t, dir, "events", "--since", started.Add(-time.Hour).UTC().Format(time.RFC3339), "--until", "0s")
	if !strings.HasPrefix(r.stderr, "octobot: the daemon remembers events since ") ||
		strings.Count(r.stdout, "\n") != 4 {
		t.Errorf("since before the daemon: %+v", r)
	}
	r = octobot(t, dir, "events", "--kind", "exploded")
	if !strings.Contains(r.stderr, `--kind "exploded" is none; allowed: created, `) {
		t.Errorf("an unknown kind: %+v", r)
	}
	if r := octobot(t, dir, "events", "--until", "soon"); !strings.Contains(r.stderr, "--until \"soon\" is neither") {
		t.Errorf("an unknown time: %+v", r)
	}
	var e v1.Event
	decode(t, must(t, dir, "events", "--since", "1h", "--until", "0s", "--kind", "stopped", "-o", "json"), &e)
	if e.Exit == nil || e.Exit.Code != 137 || e.SessionID != "a" {
		t.Errorf("as JSON: %+v", e)
	}
	// What follows comes behind what has been.
	s := sit(t, dir, "events", "--since", "1h", "b")
	s.sees("b status=creating")
	must(t, dir, "rm", "b")
	s.sees("session.closed b")
	s.types("\x03")
	s.leaves(130)
}
