package cli

import (
	"strings"
	"testing"

	v1 "github.com/octobot-run/octobot/api/v1"
)

// TestDetached starts commands that nobody waits for, and does all that can be done with them.
func TestDetached(t *testing.T) {
	dir := startDaemon(t)
	must(t, dir, "create", "demo")
	if r := octobot(t, dir, "ps", "demo"); !strings.Contains(r.stderr, "octobot exec -d demo") {
		t.Errorf("with no processes: %+v", r)
	}
	start := func(args ...string) string {
		return strings.TrimSpace(must(t, dir, append([]string{"exec", "-d"}, args...)...))
	}
	ended := start("-e", "A=b", "-w", "/tmp", "demo", "--", "sh", "-c", "echo $A; pwd; echo trouble >&2; exit 7")
	if got := must(t, dir, "wait", "demo", ended); got != "7\n" {
		t.Errorf("wait prints %q", got)
	}
	r := octobot(t, dir, "logs", "-f", "--process", ended, "demo")
	if r.stdout != "b\n/tmp\n" || r.stderr != "trouble\n" || r.code != 0 {
		t.Errorf("logs: %+v", r)
	}
	if r := octobot(t, dir, "logs", "--process", ended, "--since", "2", "demo"); r.stdout != "/tmp\n" {
		t.Errorf("logs since a position: %+v", r)
	}
	runs := start("demo", "sleep", "1000")
	var list []v1.Process
	decode(t, must(t, dir, "ps", "-o", "json", "demo"), &list)
	if len(list) != 2 || list[0].ID != ended || *list[0].ExitCode != 7 || !list[1].Running || list[1].ID != runs {
		t.Errorf("processes %+v", list)
	}
	if got := must(t, dir, "ps", "demo"); !strings.Contains(got, "exited (7)") || !strings.Contains(got, "sleep 1000") {
		t.Errorf("processes:\n%s", got)
	}
	must(t, dir, "kill", "demo", runs)
	if got := must(t, dir, "wait", "demo", runs); got != "143\n" {
		t.Errorf("wait prints %q", got)
	}
	much := start("demo", "seq", "400000")
	must(t, dir, "wait", "demo", much)
	r = octobot(t, dir, "logs", "--process", much, "demo")
	if !strings.HasSuffix(r.stdout, "\n400000\n") || !strings.Contains(r.stderr, " bytes of output were not kept") {
		t.Errorf("logs of much: %d bytes, %q", len(r.stdout), r.stderr)
	}
	r = octobot(t, dir, "kill", "demo", "nope", much)
	if r.code != exitError || !strings.Contains(r.stderr, "kill nope: process not found") {
		t.Errorf("kill: %+v", r)
	}
}

// TestWaitConnectsAgain: a wait outlives the connection.
func TestWaitConnectsAgain(t *testing.T) {
	dir := startDaemon(t)
	must(t, dir, "create", "demo")
	process := strings.TrimSpace(must(t, dir, "exec", "-d", "demo", "sleep", "1000"))
	p := newPassage(t, dir)
	s := sit(t, p.dir, "wait", "demo", process)
	p.awaitConnection()
	p.cut()
	must(t, dir, "kill", "-s", "KILL", "demo", process)
	p.mend()
	s.sees("137")
	s.leaves(0)
}
