package cli

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	v1 "github.com/octobot-run/octobot/api/v1"
)

func TestSelectedSessions(t *testing.T) {
	dir := startDaemon(t)
	must(t, dir, "create", "--project", "web", "-l", "tier=front", "-l", "reviewed", "a")
	must(t, dir, "create", "--project", "web", "-l", "tier=back", "b")
	must(t, dir, "create", "-l", "tier=front", "c")
	golden(t, "selection", transcript(t, dir,
		"ls -q -l tier=front", "ls -q -l tier", "ls -q -l tier=front -l reviewed", "ls -q --project web -l tier=back",
		"ls -l tier=none", "ls -l =x", "ls --terminals -l x",
		"rm", "rm --project web a", "rm --project web", "rm -f -l nothing",
		"rm -f --project= -l tier", "rm -f --project= c", "ls -q",
		"rm -f --project web -l tier=front", "ls -q",
		"__complete ls -l t", "__complete rm --project w", "__complete ls --status r", "--version",
	))
	for answer, want := range map[string]string{"n": "c\nb\n", "": "c\nb\n"} {
		s := sit(t, dir, "rm", "-l", "tier")
		s.sees("This removes 2 sessions with all their files: c, b")
		s.types(answer + "\n")
		s.leaves(0)
		if got := must(t, dir, "ls", "-q"); got != want {
			t.Errorf("after the answer %q there are %q", answer, got)
		}
	}
	must(t, dir, "stop", "-t", "0", "b", "c")
	s := sit(t, dir, "rm", "-l", "tier")
	s.sees("[y/N] ")
	s.types("y\n")
	s.leaves(0)
	if got := must(t, dir, "ls", "-q"); got != "" {
		t.Errorf("left: %q", got)
	}
}

func TestFormat(t *testing.T) {
	dir := startDaemon(t)
	must(t, dir, "create", "--idle-timeout", "30m", "-l", "tier=front", "demo", "--", "sleep", "1000")
	must(t, dir, "create", "--no-start", "idle")
	process := strings.TrimSpace(must(t, dir, "exec", "-d", "demo", "sleep", "999"))
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"ls", "--format", "{{.id}} {{.status}}"}, "idle created\ndemo running\n"},
		{[]string{"ls", "--format", `{{.ID}}\t{{.Status | upper}}`}, "idle\tCREATED\ndemo\tRUNNING\n"},
		{[]string{"ls", "--format", `table {{.id}}\t{{.idle_timeout}}\t{{.labels.tier}}`},
			"ID     IDLE TIMEOUT   TIER\nidle                  <no value>\ndemo   30m            front\n"},
		{[]string{"ls", "--format", `{{if eq .status "running"}}{{.id}}{{end}}`}, "\ndemo\n"},
		{[]string{"inspect", "--format", "{{join .cmd \" \"}}, {{.labels.tier}}, {{json .cmd}}, {{len .ports}}",
			"demo"},
			"sleep 1000, front, [\"sleep\",\"1000\"], 1\n"},
		{[]string{"inspect", "--format", "{{with .exit}}{{.code}}{{end}}{{.exit.code}}{{.started_at}}", "idle"},
			"<no value>\n"},
		{[]string{"ps", "--format", "{{.id}} {{.running}}", "demo"}, process + " true\n"},
		{[]string{"stats", "--format", "{{.session_id}} {{gt .pids 1}}", "demo"}, "demo true\n"},
		{[]string{"version", "--format", "{{.server.engine.name}} {{.Client.Version}}"}, "mock devel\n"},
	} {
		if got := must(t, dir, tt.args...); got != tt.want {
			t.Errorf("%q:\n%s\nwant:\n%s", tt.args, got, tt.want)
		}
	}
	var s v1.Session
	if err := json.Unmarshal([]byte(must(t, dir, "inspect", "--format", "{{json .}}", "demo")), &s); err != nil ||
		s.ID != "demo" || time.Duration(*s.IdleTimeout) != 30*time.Minute {
		t.Errorf("as JSON: %+v, %v", s, err)
	}
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"ls", "--format", "{{.name}}"}, "there is no .name; there are: active_at, address, "},
		{[]string{"ls", "--format", "{{if .id}}{{else}}{{.nonsense | json}}{{end}}"}, "there is no .nonsense; "},
		{[]string{"ls", "--format", "{{"}, "unclosed action"},
		{[]string{"ls", "--format", "{{.id}}", "-o", "json"}, "can't be together"},
		{[]string{"inspect", "--format", "{{index .cmd 7}}", "demo"},
			"octobot: --format: 1:2: <index .cmd 7>: error calling index"},
	} {
		r := octobot(t, dir, tt.args...)
		if r.code != exitError || !strings.Contains(r.stderr, tt.want) {
			t.Errorf("%q: %+v, want %q", tt.args, r, tt.want)
		}
	}
}

// TestFormatOnTerminal checks that what others have written does not spoil the terminal.
func TestFormatOnTerminal(t *testing.T) {
	dir := startDaemon(t)
	must(t, dir, "create", "demo", "--", "sleep", "1000", "\x1b[2J")
	if got := must(t, dir, "ls", "--format", "{{.cmd}}"); got != "[sleep 1000 \x1b[2J]\n" {
		t.Errorf("for a program: %q", got)
	}
	s := sit(t, dir, "ls", "--format", "{{.cmd}}")
	s.sees("[sleep 1000 \uFFFD[2J]")
	s.leaves(0)
}
