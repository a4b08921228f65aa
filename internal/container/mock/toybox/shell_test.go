package toybox_test

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/octobot-run/octobot/internal/container/mock/toybox"
)

func TestShell(t *testing.T) {
	for script, want := range map[string]string{
		`echo one; echo two`:                                            "one\ntwo\n",
		`true && echo yes || echo no`:                                   "yes\n",
		`false && echo yes || echo no`:                                  "no\n",
		`echo "$A" '$A' ${A}c \$A`:                                      "a b $A a bc $A\n",
		`B=1; echo $B; B=2 env | tail -n 1`:                             "1\nB=2\n",
		`false; echo $?`:                                                "1\n",
		`sh -c 'exit 4'; echo $?`:                                       "4\n",
		`cd /tmp; echo x > f; echo y >> f; cat /tmp/f`:                  "x\ny\n",
		`cd /home/user; pwd; echo x > f; cat < f`:                       "/home/user\nx\n",
		`yes | head -n 2`:                                               "y\ny\n",
		`seq 2; seq 9 11; seq 2 1; seq x 2> /dev/null || echo no`:       "1\n2\n9\n10\n11\nno\n",
		`echo a | cat | cat`:                                            "a\n",
		`echo quiet > /dev/null; echo done # not so`:                    "done\n",
		`nope 2>&1; echo $?`:                                            "sh: nope: not found\n127\n",
		`/etc/passwd 2> /dev/null; echo $?`:                             "126\n",
		`mkdir -p /tmp/d/e; touch /tmp/d/x; ls /tmp/d`:                  "e\nx\n",
		`touch /tmp/d; rm /tmp/d; cat /tmp/d || true`:                   "",
		`cd /tmp; echo x > f; ln -s f l; cat l; readlink l; mv l m; ls`: "x\nf\nf\nm\n",
		`cd /tmp; echo x > f; ln f g; echo y >> g; rm f; cat g`:         "x\ny\n",
		`cd /tmp; echo x > f; cat f/x 2> /dev/null || echo no; cd f 2> /dev/null || echo no`:          "no\nno\n",
		`cd /tmp; mkdir d; touch d/f; rm d 2> /dev/null; rmdir d 2> /dev/null; ls; rm -rf d none; ls`: "d\n",
		`cd /tmp; mkdir a/b 2> /dev/null || echo no; mkdir -p a/b; mkdir a 2> /dev/null || echo no`:   "no\nno\n",
		`cd /tmp; mkfifo f; cat f 2> /dev/null || echo no; echo x > f 2> /dev/null || echo no`:        "no\nno\n",
		`head -c 3 /dev/zero | wc -c; ln -s /dev/null /tmp/n; echo x > /tmp/n; cat /tmp/n`:            "3\n",
		`id -u; whoami; uname`: "0\nroot\nLinux\n",
		"echo a\necho b":       "a\nb\n",
		``:                     "",
		`exit 0`:               "",
	} {
		got := boot(t, "A=a b").sh(t, script)
		if got.stdout != want || got.code != 0 {
			t.Errorf("%s: %+v; want %q", script, got, want)
		}
	}
}

// TestShellRefuses: what the shell cannot do it says, rather than doing something else.
func TestShellRefuses(t *testing.T) {
	m := boot(t)
	for _, script := range []string{"if true; then echo x; fi", "while true; do true; done", "echo $(date)", "(echo x)",
		"echo `date`", "'", `"`, "| cat", "echo >", "&&", "; ;"} {
		if got := m.sh(t, script); got.code != 2 || got.stdout != "" || !strings.Contains(got.stderr, "syntax error") {
			t.Errorf("%s: %+v", script, got)
		}
	}
}

// TestShellBounds: a script that would have all of the memory is refused.
func TestShellBounds(t *testing.T) {
	const doublings = 60
	for _, script := range []string{
		"x=0123456789" + strings.Repeat("; x=$x$x", doublings) + "; echo end",
		"x=0123456789" + strings.Repeat("; export x=$x$x", doublings) + "; echo end",
		"x=0123456789" + strings.Repeat("; x=$x$x", 15) + "; echo " + strings.Repeat("$x", 5000) + "; echo end",
	} {
		got := boot(t).sh(t, script)
		if got.stdout != "end\n" || !strings.Contains(got.stderr, "argument list too long") {
			t.Errorf("%.40s…: code %d, %d bytes, stderr %.200q", script, got.code, len(got.stdout), got.stderr)
		}
	}
}

func FuzzShell(f *testing.F) {
	for _, s := range []string{"echo a | cat; b=c && d || e & f > g 2>&1", `'"'\"$x${y}`, "a#b # c\n;"} {
		f.Add(s)
	}
	m := boot(f)
	for _, name := range []string{"yes", "sleep", "tail"} {
		m.commands.Handle(name, func(context.Context, *toybox.Process) int { return 0 })
	}
	f.Fuzz(func(t *testing.T, script string) {
		if strings.Contains(script, "\x00") {
			t.Skip("no argument holds a zero byte")
		}
		p, err := m.Spawn(toybox.Spec{Args: []string{"sh", "-c", script}, Stdout: io.Discard, Stderr: io.Discard})
		if err != nil {
			t.Fatal(err)
		}
		defer p.KillJob()
		select {
		case <-p.Done():
		case <-time.After(time.Minute):
			t.Errorf("%q does not end", script)
		}
	})
}
