package docker_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/octobot-run/octobot/internal/agentproto"
	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/container/agented"
)

// TestForkBomb has a session at its limit of processes: what can't be started says so, what runs
// goes on, and all is well when the bomb is cancelled.
func TestForkBomb(t *testing.T) {
	opts := container.Options{Resources: container.Resources{PIDs: 64}}
	onEngines(t, agented.Config{}, opts, func(t *testing.T, k agentedKit) {
		agent := k.sh(t, k.rt, "echo $PPID")
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		ended := make(chan error, 2)
		go func() {
			_, err := k.rt.Exec(ctx, k.id, []string{"sh", "-c", "echo on >/on; while [ -e /on ]; do read -t 1 x; done"},
				container.ExecOptions{Tty: true})
			ended <- err
		}()
		eventually(t, func() bool { return k.sh(t, k.rt, "cat /on 2>/dev/null || true") == "on" })
		bomb, defuse := context.WithCancel(t.Context())
		defer defuse()
		go func() {
			_, err := k.rt.Exec(bomb, k.id, []string{"sh", "-c",
				// a shell that can't fork ends
				"(while :; do sleep 1000 & done); exec sleep 1000"}, container.ExecOptions{})
			ended <- err
		}()
		eventually(t, func() bool {
			brief, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			r, err := k.rt.Exec(brief, k.id, []string{"sh", "-c", "true | true"}, container.ExecOptions{})
			if errors.Is(err, context.DeadlineExceeded) {
				t.Error("a command at the limit of processes does not end")
			}
			return err != nil || r.ExitCode != 0
		})
		select {
		case err := <-ended:
			t.Errorf("what ran has ended: %v", err)
		default:
		}
		defuse()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("the bomb: %v", err)
		}
		eventually(t, func() bool {
			r, err := k.rt.Exec(t.Context(), k.id, []string{"sh", "-c", "ps | grep -c '[s]leep 1000'"},
				container.ExecOptions{})
			return err == nil && r.Stdout == "0\n"
		})
		if again := k.sh(t, k.rt, "echo $PPID; rm /on"); again != agent {
			t.Errorf("the agent was %s, and is %s", agent, again)
		}
		if err := <-ended; err != nil {
			t.Errorf("what ran beside it: %v", err)
		}
	})
}

// TestOutOfMemory has the kernel end a command for want of memory, not the agent.
func TestOutOfMemory(t *testing.T) {
	opts := container.Options{Resources: container.Resources{Memory: 48 << 20}}
	onEngines(t, agented.Config{}, opts, func(t *testing.T, k agentedKit) {
		agent := k.sh(t, k.rt, "echo $PPID")
		for range 3 {
			r, err := k.rt.Exec(t.Context(), k.id, []string{"sh", "-c",
				"head -c 200000000 /dev/zero | tail -n 1 >/dev/null; exit 3"}, container.ExecOptions{})
			if err != nil || r.ExitCode != 3 && r.ExitCode != 137 {
				t.Errorf("got %+v, %v", r, err)
			}
		}
		if again := k.sh(t, k.rt, "echo $PPID"); again != agent {
			t.Errorf("the agent was %s, and is %s", agent, again)
		}
	})
}

// TestOthersCantReachTheAgent: who is not root in the container can do nothing to it, and reads
// nothing of what it has open.
func TestOthersCantReachTheAgent(t *testing.T) {
	onEngines(t, agented.Config{}, container.Options{}, func(t *testing.T, k agentedKit) {
		agent := k.sh(t, k.rt, "echo $PPID")
		r, err := k.rt.Exec(t.Context(), k.id, []string{"sh", "-c", `p=$PPID
			kill -9 $p && echo killed; kill -STOP $p && echo stopped
			ls /proc/$p/fd && echo listed; cat /proc/$p/fd/0 && echo read; cat /proc/$p/mem && echo seen
			cat /proc/$p/environ && echo environment; echo x >/proc/$p/fd/1 && echo written
			echo x >` + agentproto.Binary + ` && echo replaced; mount -o remount,rw ` + agentproto.BinDir + ` && echo mounted
			ls -l /proc/self/fd | grep -c -e '->' `}, container.ExecOptions{User: "user"})
		// The standard three, and nothing of the agent's.
		if err != nil || r.Stdout != "3\n" {
			t.Errorf("got %q, %v", r.Stdout, err)
		}
		if again := k.sh(t, k.rt, "echo $PPID"); again != agent {
			t.Errorf("the agent was %s, and is %s", agent, again)
		}
		// Root is in its own container, and what the daemon says is no secret there. But no command
		// has a descriptor of it by mistake.
		if got := k.sh(t, k.rt, "ls -l /proc/self/fd | grep -c -e '->'"); got != "3" {
			t.Errorf("a command has %s descriptors", got)
		}
		if got := k.sh(t, k.rt, "touch "+agentproto.BinDir+"/x 2>&1 || true"); got == "" {
			t.Error("root can write where the agent is")
		}
	})
}
