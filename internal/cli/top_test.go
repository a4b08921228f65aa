package cli

import (
	"regexp"
	"strings"
	"testing"
	"time"

	v1 "github.com/octobot-run/octobot/api/v1"
)

func TestTop(t *testing.T) {
	dir := startDaemon(t)
	must(t, dir, "create", "demo", "--", "sleep", "1000")
	must(t, dir, "exec", "-d", "demo", "sleep", "999")
	gaps := regexp.MustCompile(` {2,}`)
	got := gaps.ReplaceAllString(must(t, dir, "top", "demo"), " ")
	if !regexp.MustCompile(`^PID USER CPU % MEMORY STARTED COMMAND
1 root 0.0% 0 B \d seconds? ago sleep 1000
\d+ root 0.0% 0 B \d seconds? ago sleep 999
$`).MatchString(got) {
		t.Errorf("top:\n%s", got)
	}
	var top v1.Top
	decode(t, must(t, dir, "top", "-o", "json", "demo"), &top)
	if len(top.Processes) != 2 || top.Processes[1].Parent != 1 {
		t.Errorf("top: %+v", top)
	}
	if got := must(t, dir, "top", "--format", "{{.pid}} {{.cmd}}", "demo"); !strings.HasPrefix(got, "1 sleep 1000\n") {
		t.Errorf("top by a template:\n%s", got)
	}
	must(t, dir, "stop", "-t", "0", "demo")
	if r := octobot(t, dir, "top", "demo"); r.code != exitError ||
		r.stderr != "octobot: top demo: it does not run; octobot start\n" {
		t.Errorf("of what is stopped: %+v", r)
	}
}

func TestTopForPeople(t *testing.T) {
	var out strings.Builder
	a := &app{stdout: &out}
	err := a.printTop(v1.Top{HostPIDs: true, Processes: []v1.RunningProcess{{PID: 4711, User: "1000",
		CPUTime: v1.Duration(30 * time.Second), Elapsed: v1.Duration(2 * time.Minute), Memory: 3 << 20,
		Cmd: "a\x1b[2J"}}})
	want := "HOST'S PID   USER   CPU %   MEMORY    STARTED         COMMAND\n" +
		"4711         1000   25.0%   3.0 MiB   2 minutes ago   a\uFFFD[2J\n"
	if err != nil || out.String() != want {
		t.Errorf("got\n%s%v, want\n%s", out.String(), err, want)
	}
}
