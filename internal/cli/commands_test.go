package cli

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	v1 "github.com/octobot-run/octobot/api/v1"
)

func TestHelp(t *testing.T) {
	golden(t, "help", octobot(t, "").stdout)
	for _, c := range (&app{}).root().Commands() {
		if c.Name() == "completion" || c.Name() == "help" {
			continue // cobra's
		}
		golden(t, "help-"+c.Name(), octobot(t, "", c.Name(), "--help").stdout)
	}
}

func TestSessionsLife(t *testing.T) {
	dir := startDaemon(t)
	golden(t, "life", transcript(t, dir,
		"ls",
		"create demo",
		"create --project web --image debian:12 -p 3000 -e A=b -l tier=front --memory 64m --cpus 1.5 --idle-timeout 30m web -- sleep 1000",
		"create --no-start idle",
		"ls", "ls -q", "ls --project web", "ls --status created,stopped", "ls --status nonsense",
		"inspect web",
		"stop -t 0 web", "ls --project web", "start web",
		"rm demo", "rm idle demo", "rm -f demo web", "ls -a", "create demo", "ls -a -o wide",
		"reconcile --dry-run", "reconcile --dry-run --all", "version",
	))
}

func TestPauseAndStats(t *testing.T) {
	dir := startDaemon(t)
	golden(t, "pause", transcript(t, dir,
		"stats", "create --memory 64m demo", "create plain", "create --no-start idle",
		"pause demo", "ls", "pause demo", "exec demo true", "start demo", "rm demo", "stats", "stats plain",
		"unpause demo", "ls", "exec demo echo hello", "unpause demo",
		"pause demo", "stop -t 0 demo", "ls", "pause demo", "unpause demo idle", "stats demo plain nope",
		"pause", "stats -o yaml",
	))
}

func TestStatsJSON(t *testing.T) {
	dir := startDaemon(t)
	if got := must(t, dir, "stats", "-o", "json"); strings.TrimSpace(got) != "[]" {
		t.Errorf("stats of nothing: %s", got)
	}
	must(t, dir, "create", "--memory", "64m", "demo")
	must(t, dir, "create", "--no-start", "idle")
	var uses []sessionUse
	decode(t, must(t, dir, "stats", "-o", "json"), &uses)
	if len(uses) != 1 || uses[0].SessionID != "demo" || uses[0].MemoryLimit != 64<<20 || uses[0].CPUPercent == nil {
		t.Errorf("stats: %+v", uses)
	}
	r := octobot(t, dir, "stats", "-o", "json", "idle", "demo")
	decode(t, r.stdout, &uses)
	if r.code != exitError || len(uses) != 1 || uses[0].SessionID != "demo" ||
		!strings.HasPrefix(r.stderr, "octobot: stats idle: it does not run; ") {
		t.Errorf("with one that does not run: %+v", r)
	}
}

// TestPublishTwice publishes a port at several of the host's.
func TestPublishTwice(t *testing.T) {
	dir := startDaemon(t)
	for id, c := range map[string]struct {
		flags []string
		want  map[string]string
	}{
		"two":     {[]string{"-p", "18001:80", "-p", "18002:80"}, map[string]string{"80": "18001,18002"}},
		"written": {[]string{"-p", "18003:80/tcp", "-p", "18004:80"}, map[string]string{"80": "18003,18004"}},
		"free":    {[]string{"-p", "80", "-p", "18005:80", "-p", "80"}, map[string]string{"80": "0,18005"}},
		"same":    {[]string{"-p", "18006:80", "-p", "18006:80"}, map[string]string{"80": "18006"}},
		"udp": {[]string{"-p", "18007:80/udp", "-p", "18007:80"},
			map[string]string{"80": "18007", "80/udp": "18007"}},
	} {
		var s v1.Session
		decode(t, must(t, dir, append(append([]string{"create", "-o", "json"}, c.flags...), id)...), &s)
		if !maps.Equal(s.PortBindings, c.want) {
			t.Errorf("%v: %v, want %v", c.flags, s.PortBindings, c.want)
		}
		for port, hosts := range c.want {
			if !strings.Contains(port, "/") {
				port += "/tcp"
			}
			for host := range strings.SplitSeq(hosts, ",") {
				if !slices.ContainsFunc(s.Ports, func(p v1.Port) bool {
					return p.Container == port && (host == "0" || fmt.Sprint(p.HostPort) == host)
				}) {
					t.Errorf("%v: %s is not published at %s: %+v", c.flags, port, host, s.Ports)
				}
			}
		}
	}
}

func TestErrors(t *testing.T) {
	dir := startDaemon(t)
	golden(t, "errors", transcript(t, dir,
		"lss", "run", "delete", "nonsense", "token lss", "ls extra", "ls --nonsense", "ls -o yaml", "inspect",
		"inspect nope",
		"start nope also-nope",
		"create a b", "create --memory lots", "create --agent on", "create -p 127.0.0.1:1:2", "create ../x",
		"create --env-file /nonexistent",
		"create -v /etc:/etc", "exec", "exec nope", "exec nope true", "exec --nonsense nope", "exec -t -i nope sh",
		"exec --timeout 0s nope true", "exec --timeout 1s -t nope sh", "exec --timeout soon nope sh",
		"attach", "attach nope", "attach --new --read-only nope", "ls --terminals -a",
		"exec -d -i nope sh", "exec --keep 3m nope true", "exec -d --keep lots nope true", "exec -d nope true",
		"ps", "ps nope", "kill nope", "kill nope x", "wait nope x", "logs --process x --tail 3 nope",
		"logs --process x --since 10m nope",
		"attach --detach-keys ctrl-% nope", "logs --tail x nope", "logs --since x nope", "logs nope", "stop -t -5 nope",
		"token create", "token rm nope", "project set web", "project set web --max-sessions 0", "project unset nope",
		"bench --count 0", "bench --callers 1000", "bench --duration 0s",
		"serve --runtime podman", "serve --listen 0.0.0.0:80 --log-level loud", "--url nonsense ls",
	))
}

func TestUnreachable(t *testing.T) {
	golden(t, "unreachable", transcript(t, "/nonexistent", "ls", "version", "exec a true", "completion nonsense"))
}

func TestOutputJSON(t *testing.T) {
	dir := startDaemon(t)
	var created v1.Session
	decode(t, must(t, dir, "create", "-o", "json", "demo"), &created)
	if created.ID != "demo" || created.Status != v1.StatusRunning {
		t.Errorf("create: %+v", created)
	}
	for _, args := range [][]string{{"ls", "-o", "json"}, {"inspect", "demo"}, {"inspect", "-o", "json", "demo"},
		{"pause", "-o", "json", "demo"}, {"unpause", "-o", "json", "demo"},
		{"stop", "-t", "0", "-o", "json", "demo"}, {"start", "-o", "json", "demo"}} {
		var sessions []v1.Session
		decode(t, must(t, dir, args...), &sessions)
		if len(sessions) != 1 || sessions[0].ID != "demo" {
			t.Errorf("%v: %+v", args, sessions)
		}
	}
	var token v1.CreatedToken
	decode(t, must(t, dir, "token", "create", "--project", "web", "--ttl", "1h", "-o", "json", "ci"), &token)
	if token.Secret == "" || token.ExpiresAt == nil || token.Project != "web" {
		t.Errorf("token create: %+v", token)
	}
	must(t, dir, "project", "set", "web", "--max-sessions", "40", "--max-memory", "64g")
	must(t, dir, "project", "set", "web", "--max-cpus", "none", "--max-memory", "default")
	var projects []v1.Project
	decode(t, must(t, dir, "project", "ls", "-o", "json"), &projects)
	if len(projects) != 1 || *projects[0].Quota.MaxSessions != 40 || *projects[0].Quota.MaxCPUs != 0 ||
		projects[0].Quota.MaxMemory != nil || projects[0].Limits.MaxCPUs != nil {
		t.Errorf("project ls: %+v", projects)
	}
	if out := must(t, dir, "project", "ls"); !strings.Contains(out, "0 / 40") {
		t.Errorf("project ls:\n%s", out)
	}
	must(t, dir, "project", "unset", "web")
	var tokens []v1.Token
	decode(t, must(t, dir, "token", "ls", "-o", "json"), &tokens)
	if len(tokens) != 1 || tokens[0].Name != "ci" {
		t.Errorf("token ls: %+v", tokens)
	}
	var v versions
	decode(t, must(t, dir, "version", "-o", "json"), &v)
	if v.Server == nil || v.Server.Engine == nil || v.Server.Engine.Name != "mock" || v.Client.Agents == nil {
		t.Errorf("version: %+v", v)
	}
	var report v1.ReconcileReport
	decode(t, must(t, dir, "reconcile", "-o", "json"), &report)
	if report.Sessions != 1 || report.Containers != 1 {
		t.Errorf("reconcile: %+v", report)
	}
	must(t, dir, "rm", "-f", "demo")
	if got := must(t, dir, "ls", "-o", "json"); strings.TrimSpace(got) != "[]" {
		t.Errorf("ls of nothing: %s", got)
	}
}

func decode(t *testing.T, text string, v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), v); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
}

func TestExec(t *testing.T) {
	dir := startDaemon(t)
	must(t, dir, "create", "demo")
	t.Setenv("FROM_OUTSIDE", "seen")
	for _, tt := range []struct {
		name  string
		stdin string
		args  []string
		want  result
	}{
		{"streams apart", "", []string{"demo", "--", "sh", "-c", "echo out; echo err >&2; exit 43"},
			result{43, "out\n", "err\n"}},
		{"without dashes", "", []string{"demo", "echo", "-n", "a"}, result{0, "a", ""}},
		{"flags of the command", "", []string{"demo", "echo", "--help"}, result{0, "--help\n", ""}},
		{"no stdin", "ignored", []string{"demo", "cat"}, result{0, "", ""}},
		{"stdin", "a\x00\xff\n", []string{"-i", "demo", "--", "cat"}, result{0, "a\x00\xff\n", ""}},
		{"environment", "", []string{"-e", "A=1", "-e", "FROM_OUTSIDE", "-e", "NOT_THERE", "demo", "--", "sh", "-c",
			"echo $A $FROM_OUTSIDE"}, result{0, "1 seen\n", ""}},
		{"working directory", "", []string{"-w", "/tmp", "demo", "pwd"}, result{0, "/tmp\n", ""}},
		{"terminal without stdin", "", []string{"-t", "demo", "echo", "hi"}, result{0, "hi\r\n", ""}},
		{"terminal without stdin, which is read", "", []string{"-t", "demo", "--", "sh", "-c", "cat; echo over"},
			result{0, "over\r\n", ""}},
		{"signal", "", []string{"demo", "--", "sh", "-c", "kill -9 $$"}, result{137, "", ""}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := octobotWith(t, dir, tt.stdin, append([]string{"exec"}, tt.args...)...); got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
	if r := octobot(t, dir, "exec", "demo", "nosuch"); r.code != exitNotFound || !strings.Contains(r.stderr, "nosuch") {
		t.Errorf("missing command: %+v", r)
	}
	r := octobot(t, dir, "exec", "--timeout", "100ms", "demo", "--", "sh", "-c", "echo out; echo err >&2; sleep 1000")
	if r.code != exitTimeout || r.stdout != "out\n" || !strings.HasPrefix(r.stderr, "err\noctobot: exec demo: ") ||
		!strings.Contains(r.stderr, "100ms") {
		t.Errorf("out of time: %+v", r)
	}
	if r := octobot(t, dir, "exec", "--timeout", "1h", "demo", "--", "sh", "-c", "exit 3"); r.code != 3 {
		t.Errorf("in time: %+v", r)
	}
	must(t, dir, "stop", "-t", "0", "demo")
	if r := octobot(t, dir, "exec", "demo", "true"); r.code != exitOwnError || !strings.Contains(r.stderr, "start") {
		t.Errorf("stopped session: %+v", r)
	}
}

func TestEnvFile(t *testing.T) {
	dir := startDaemon(t)
	file := filepath.Join(t.TempDir(), "env")
	if err := os.WriteFile(file, []byte("# comment\n\n  A=1 with spaces \nFROM_OUTSIDE\nNOT_THERE\n"),
		0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("FROM_OUTSIDE", "seen")
	must(t, dir, "create", "--env-file", file, "-e", "B=2", "demo")
	var sessions []v1.Session
	decode(t, must(t, dir, "inspect", "demo"), &sessions)
	if want := []string{"A=1 with spaces ", "FROM_OUTSIDE=seen", "B=2"}; !slices.Equal(sessions[0].Env, want) {
		t.Errorf("env = %q, want %q", sessions[0].Env, want)
	}
}

func TestLogs(t *testing.T) {
	dir := startDaemon(t)
	must(t, dir, "create", "demo", "--", "sh", "-c", "echo one; echo two >&2; echo three; exit 5")
	if got := octobot(t, dir, "logs", "-f", "demo"); got != (result{0, "one\nthree\n", "two\n"}) {
		t.Errorf("logs -f: %+v", got)
	}
	if got := octobot(t, dir, "logs", "--tail", "1", "demo"); got != (result{0, "three\n", ""}) {
		t.Errorf("logs --tail: %+v", got)
	}
	if got := must(t, dir, "logs", "-t", "--since", "1h", "demo"); !strings.Contains(got, "Z one\n") {
		t.Errorf("logs -t: %q", got)
	}
}

func TestParseSince(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for s, want := range map[string]time.Time{
		"10m": now.Add(-10 * time.Minute), "2026-01-02T03:04:05Z": now,
		"2026-01-02": time.Date(2026, 1, 2, 0, 0, 0, 0, time.Local),
	} {
		if got, err := parseSince(s, now); err != nil || !got.Equal(want) {
			t.Errorf("parseSince(%q) = %v, %v, want %v", s, got, err, want)
		}
	}
}

func TestCompletion(t *testing.T) {
	dir := startDaemon(t)
	must(t, dir, "create", "demo")
	must(t, dir, "create", "--no-start", "idle")
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"stop", ""}, "idle\tcreated\ndemo\trunning\n:4\n"},
		{[]string{"stop", "idle", ""}, "demo\trunning\n:4\n"},
		{[]string{"pause", "idle", ""}, "demo\trunning\n:4\n"},
		{[]string{"unpause", ""}, "idle\tcreated\ndemo\trunning\n:4\n"},
		{[]string{"stats", "demo", ""}, "idle\tcreated\n:4\n"},
		{[]string{"exec", ""}, "idle\tcreated\ndemo\trunning\n:4\n"},
		{[]string{"ls", "-o", ""}, "json\nwide\n:4\n"},
		{[]string{"create", "--on-expire", ""}, "stop\nclose\n:4\n"},
		{[]string{"create", "--agent", ""}, "auto\noff\n:4\n"},
	} {
		args := append([]string{cobra.ShellCompRequestCmd}, tt.args...)
		if got := octobot(t, "", append(args[:1:1],
			append([]string{"--data-dir", dir}, args[1:]...)...)...).stdout; got != tt.want {
			t.Errorf("%v: %q, want %q", tt.args, got, tt.want)
		}
	}
}

func TestDoctor(t *testing.T) {
	dir := startDaemon(t)
	// The daemon that runs counts, and not what this environment would make of one.
	t.Setenv("OCTOBOT_RUNTIME", "docker")
	t.Setenv("OCTOBOT_DOCKER_HOST", "unix:///nonexistent.sock")
	t.Setenv("OCTOBOT_LOG_LEVEL", "loud")
	sound := octobot(t, dir, "doctor")
	for _, want := range []string{"mode 0600", "store: SQLite at " + dir, "engine: mock", "No problem"} {
		if sound.code != 0 || !strings.Contains(sound.stdout, want) {
			t.Errorf("doctor of a sound daemon does not say %q: %+v", want, sound)
		}
	}
	if strings.Contains(sound.stdout, "nonexistent") || strings.Contains(sound.stdout, "LOG_LEVEL") {
		t.Errorf("doctor of a sound daemon: %s", sound.stdout)
	}
	t.Setenv("OCTOBOT_LOG_LEVEL", "info")
	r := octobot(t, "/nonexistent", "doctor", "-o", "json")
	var findings []map[string]string
	decode(t, r.stdout, &findings)
	problems := map[string]bool{}
	for _, f := range findings {
		if f["grade"] == "problem" {
			problems[f["what"]] = true
			if f["do"] == "" {
				t.Errorf("%v: nothing to do about it", f)
			}
		}
	}
	if r.code != 1 || !problems["engine"] || !problems["daemon"] {
		t.Errorf("doctor without engine and daemon: exit code %d, %v", r.code, findings)
	}
}
