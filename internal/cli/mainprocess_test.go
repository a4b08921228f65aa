package cli

import (
	"strings"
	"testing"

	v1 "github.com/octobot-run/octobot/api/v1"
)

// TestMainProcess restarts a session, waits for it and kills it.
func TestMainProcess(t *testing.T) {
	dir := startDaemon(t)
	must(t, dir, "create", "demo")
	if got := must(t, dir, "restart", "-t", "0", "demo"); got != "demo\n" {
		t.Errorf("restart prints %q", got)
	}
	var restarted []v1.Session
	decode(t, must(t, dir, "restart", "-t", "0", "-o", "json", "demo"), &restarted)
	if len(restarted) != 1 || restarted[0].Status != v1.StatusRunning {
		t.Errorf("restart: %+v", restarted)
	}
	must(t, dir, "kill", "-s", "WINCH", "demo") // ends nothing
	p := newPassage(t, dir)
	s := sit(t, p.dir, "wait", "demo")
	p.awaitConnection()
	p.cut() // a wait outlives the connection
	if got := must(t, dir, "kill", "demo"); got != "demo\n" {
		t.Errorf("kill prints %q", got)
	}
	p.mend()
	s.sees("137")
	s.leaves(0)
	for _, tt := range []struct{ args, want string }{
		{"kill demo", "octobot: kill demo: it does not run; octobot start"},
		{"kill -s nonsense demo", "octobot: kill demo: signal: \"nonsense\" is no signal"},
		{"kill demo other", "octobot: kill other: "},
		{"wait demo other", "octobot: wait other: "},
		{"wait nope", "octobot: wait nope: there is no such session"},
		{"restart -t -1 demo", "octobot: restart: --time -1 is not between"},
		{"restart nope", "octobot: restart nope: there is no such session"},
	} {
		r := octobot(t, dir, strings.Fields(tt.args)...)
		if r.code != exitError || !strings.HasPrefix(r.stderr, tt.want) {
			t.Errorf("%s: %+v", tt.args, r)
		}
	}
}
