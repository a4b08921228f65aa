package docker_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/octobot-run/octobot/internal/agentproto"
	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/container/agented"
)

// keeper is a script that gives the keeper's process ID, and fails where there is not one of it.
const keeper = `pids=; for p in /proc/[0-9]*; do
	case $(tr '\0' ' ' <$p/cmdline 2>/dev/null) in *octobot-agent\ keep*) pids="$pids${p#/proc/} ";; esac
done; set -- $pids; [ $# = 1 ] && echo $1`

func (k agentedKit) open(t *testing.T, opts container.TerminalOptions) container.Terminal {
	t.Helper()
	terminal, err := k.rt.(container.Terminals).OpenTerminal(t.Context(), k.id, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = terminal.Close() })
	return terminal
}

// shows waits until the terminal shows text, and gives the position after all that it got.
func shows(t *testing.T, terminal container.Terminal, text string) int64 {
	t.Helper()
	var all strings.Builder
	for {
		e, err := terminal.Next()
		if err != nil {
			t.Fatalf("%v after %q; want %q", err, all.String(), text)
		}
		all.Write(e.Data)
		if strings.Contains(all.String(), text) {
			return e.Position
		}
	}
}

func types(t *testing.T, terminal io.Writer, keys string) {
	t.Helper()
	if _, err := io.WriteString(terminal, keys); err != nil {
		t.Fatal(err)
	}
}

// end takes all that there is, and gives why there is no more.
func end(terminal container.Terminal) error {
	for {
		if _, err := terminal.Next(); err != nil {
			return err
		}
	}
}

// TestTerminalOutlivesAgents: a terminal goes on when all agents are killed.
func TestTerminalOutlivesAgents(t *testing.T) {
	onEngines(t, agented.Config{}, container.Options{ReadOnly: true}, func(t *testing.T, k agentedKit) {
		shell := k.open(t, container.TerminalOptions{Name: "main"})
		types(t, shell, "x=ke''pt; echo $x\n")
		at := shows(t, shell, "kept\r\n")
		info, _ := shell.Opened()
		k.sh(t, k.below, "for p in $(pidof octobot-agent); do "+
			`grep -q keep /proc/$p/cmdline || kill -9 $p; done`)
		if err := end(shell); !errors.Is(err, container.ErrUnavailable) {
			t.Errorf("a viewer whose agent was killed gets %v", err)
		}
		again := k.open(t, container.TerminalOptions{Name: "main", ID: info.ID, Since: at})
		types(t, again, "echo $x-$x\n")
		shows(t, again, "kept-kept\r\n")
		k.sh(t, k.below, keeper)
	})
}

// TestKeeperWithoutRoot keeps terminals in a container whose own user is another.
func TestKeeperWithoutRoot(t *testing.T) {
	onEngines(t, agented.Config{}, container.Options{User: "user"}, func(t *testing.T, k agentedKit) {
		shell := k.open(t, container.TerminalOptions{Name: "main"})
		types(t, shell, "id -un; stat -c %U:%a "+agentproto.RunDir+"/*\n")
		shows(t, shell, "user\r\nuser:700\r\n")
		_, err := k.rt.(container.Terminals).OpenTerminal(t.Context(), k.id,
			container.TerminalOptions{Name: "other", AttachOptions: container.AttachOptions{User: "root"}})
		if !errors.Is(err, container.ErrUnsupported) {
			t.Errorf("a terminal of another user: %v", err)
		}
	})
}

// TestOthersCantReachTheKeeper has a user who is not root try.
func TestOthersCantReachTheKeeper(t *testing.T) {
	onEngines(t, agented.Config{}, container.Options{}, func(t *testing.T, k agentedKit) {
		shell := k.open(t, container.TerminalOptions{Name: "main"})
		types(t, shell, "echo be''gun\n")
		shows(t, shell, "begun")
		pid := k.sh(t, k.rt, keeper)
		r, err := k.rt.Exec(t.Context(), k.id, []string{"sh", "-c", `p=` + pid + `
			kill -9 $p && echo killed; kill -STOP $p && echo stopped; ls /proc/$p/fd && echo listed
			cat /proc/$p/environ && echo environment; ls ` + agentproto.RunDir + `/0 && echo entered
			rm -rf ` + agentproto.RunDir + `/0 && echo removed; mv ` + agentproto.RunDir + `/0 /tmp/x && echo moved
			echo x >` + agentproto.RunDir + `/0/keep.sock && echo written`}, container.ExecOptions{User: "user"})
		if err != nil || r.Stdout != "" {
			t.Errorf("got %q, %v", r.Stdout, err)
		}
		types(t, shell, "ls -l /proc/self/fd | grep -c -e '->'; tty; echo \"[$OCTOBOT_X]\"\n")
		shows(t, shell, "4\r\n/dev/pts/") // the standard three and the directory
	})
}

// TestSquatter: a user who was quicker to take the keeper's place gains nothing.
func TestSquatter(t *testing.T) {
	onEngines(t, agented.Config{}, container.Options{}, func(t *testing.T, k agentedKit) {
		r, err := k.rt.Exec(t.Context(), k.id,
			[]string{"sh", "-c", "mkdir -m 777 -p " + agentproto.RunDir + "/0/x && touch " +
				agentproto.RunDir + "/0/keep.sock"}, container.ExecOptions{User: "user"})
		if err != nil || r.ExitCode != 0 {
			t.Fatalf("%+v, %v", r, err)
		}
		shell := k.open(t, container.TerminalOptions{Name: "main"})
		types(t, shell, "stat -c %U:%a "+agentproto.RunDir+"/0\n")
		shows(t, shell, "root:700\r\n")
	})
}

// TestKeeperKilled: its terminals end with it, viewers hear of that, and another is started.
func TestKeeperKilled(t *testing.T) {
	onEngines(t, agented.Config{}, container.Options{}, func(t *testing.T, k agentedKit) {
		shell := k.open(t, container.TerminalOptions{Name: "main",
			AttachOptions: container.AttachOptions{Cmd: []string{"sh", "-c", "sleep 4242 & cat"}}})
		types(t, shell, "here\n")
		shows(t, shell, "here\r\nhere\r\n")
		info, _ := shell.Opened()
		k.sh(t, k.rt, "kill -9 $("+keeper+")")
		if err := end(shell); !errors.Is(err, container.ErrUnavailable) {
			t.Errorf("a viewer whose keeper was killed gets %v", err)
		}
		_, err := k.rt.(container.Terminals).OpenTerminal(t.Context(), k.id,
			container.TerminalOptions{Name: "main", ID: info.ID})
		if !errors.Is(err, container.ErrTerminalNotFound) {
			t.Errorf("coming back gives %v", err)
		}
		k.sh(t, k.rt, "while pidof cat; do sleep 0.05; done >/dev/null")
		shell = k.open(t, container.TerminalOptions{Name: "main"})
		if _, made := shell.Opened(); !made {
			t.Error("a terminal of a keeper that was killed was found")
		}
		types(t, shell, "echo aga''in\n")
		shows(t, shell, "again")
	})
}

// TestScratchFull: where the keeper's place is full, that is said, and it is mended by making room.
func TestScratchFull(t *testing.T) {
	onEngines(t, agented.Config{}, container.Options{}, func(t *testing.T, k agentedKit) {
		k.sh(t, k.rt, "rm -rf "+agentproto.RunDir+"/0; i=0; while : 2>/dev/null >"+agentproto.RunDir+
			"/f$i && [ $i -lt 5000 ]; do i=$((i+1)); done; cat /dev/zero >"+agentproto.RunDir+"/f0 2>/dev/null || :")
		terminals := k.rt.(container.Terminals)
		opts := container.TerminalOptions{Name: "main"}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		if terminal, err := terminals.OpenTerminal(ctx, k.id, opts); err == nil {
			// There are file systems on which sockets take no room.
			types(t, terminal, "echo in''side\n")
			shows(t, terminal, "inside")
			_ = terminal.Close()
		} else if !strings.Contains(err.Error(), "space") {
			t.Errorf("with no room: %v", err)
		}
		k.sh(t, k.rt, "rm -f "+agentproto.RunDir+"/f*")
		shell := k.open(t, opts)
		types(t, shell, "echo be''gun\n")
		shows(t, shell, "begun")
	})
}

// TestKeeperEnds when there is nothing to keep, and its memory is the session's again.
func TestKeeperEnds(t *testing.T) {
	onEngines(t, agented.Config{}, container.Options{}, func(t *testing.T, k agentedKit) {
		for i := range 2 {
			name := fmt.Sprint("t", i)
			shell := k.open(t, container.TerminalOptions{Name: name})
			types(t, shell, "echo be''gun\n")
			shows(t, shell, "begun")
			if err := k.rt.(container.Terminals).EndTerminal(t.Context(), k.id, name); err != nil {
				t.Fatal(err)
			}
			k.sh(t, k.rt, "while "+keeper+"; do sleep 0.1; done >/dev/null")
		}
	})
}
