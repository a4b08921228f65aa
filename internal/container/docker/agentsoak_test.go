package docker_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/container/agented"
)

// TestAgentSoak runs many commands in one container, some of which are cancelled, have a terminal,
// or are killed for want of memory: then both sides hold what they held before. OCTOBOT_TEST_SOAK
// says how many; make soak has 100,000.
func TestAgentSoak(t *testing.T) {
	count := soak(t, 600)
	opts := container.Options{Resources: container.Resources{Memory: 128 << 20}}
	onEngines(t, agented.Config{}, opts, func(t *testing.T, k agentedKit) {
		k.runMany(t, 200) // so that what is made once is there
		before := k.held(t)
		started := time.Now()
		k.runMany(t, count)
		t.Logf("%d commands in %v", count, time.Since(started).Round(time.Millisecond))
		after := k.held(t)
		for end := time.Now().Add(time.Minute); !after.within(before); after = k.held(t) {
			if time.Now().After(end) {
				t.Fatalf("before %+v, after %+v", before, after)
			}
			time.Sleep(100 * time.Millisecond)
		}
		t.Logf("before %+v, after %+v", before, after)
	})
}

// soak is how many of something to do: so many, or what make soak says.
func soak(t *testing.T, few int) int {
	t.Helper()
	s := os.Getenv("OCTOBOT_TEST_SOAK")
	if s == "" {
		return few
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestFirstBytes makes many terminals, of each of which all is seen, from the first byte to the
// exit code. Make soak has 10,000.
func TestFirstBytes(t *testing.T) {
	count := soak(t, 2000) / 10
	onEngines(t, agented.Config{}, container.Options{}, func(t *testing.T, k agentedKit) {
		var next atomic.Int64
		var callers sync.WaitGroup
		for caller := range 8 {
			callers.Go(func() {
				for i := next.Add(1); i <= int64(count) && !t.Failed(); i = next.Add(1) {
					shown, err := k.showAll(t.Context(), fmt.Sprint("t", caller), "echo", fmt.Sprint(i))
					if err != nil || shown != fmt.Sprintf("%d\r\n", i) {
						t.Errorf("terminal %d shows %q, %v", i, shown, err)
					}
				}
			})
		}
		callers.Wait()
	})
}

// showAll makes a terminal and gives all that its command shows.
func (k agentedKit) showAll(ctx context.Context, name string, cmd ...string) (string, error) {
	terminal, err := k.rt.(container.Terminals).OpenTerminal(ctx, k.id, container.TerminalOptions{Name: name,
		AttachOptions: container.AttachOptions{Cmd: cmd}})
	if err != nil {
		return "", err
	}
	defer terminal.Close()
	var shown strings.Builder
	for {
		e, err := terminal.Next()
		shown.Write(e.Data)
		if errors.Is(err, io.EOF) {
			_, err = terminal.ExitCode(ctx)
			return shown.String(), err
		}
		if err != nil {
			return shown.String(), err
		}
	}
}

// runMany runs n commands, 16 at a time.
func (k agentedKit) runMany(t *testing.T, n int) {
	t.Helper()
	var next atomic.Int64
	var callers sync.WaitGroup
	for range 16 {
		callers.Go(func() {
			for i := next.Add(1); i <= int64(n) && !t.Failed(); i = next.Add(1) {
				if err := k.runOne(t.Context(), int(i)); err != nil {
					t.Errorf("command %d: %v", i, err)
				}
			}
		})
	}
	callers.Wait()
}

func (k agentedKit) runOne(ctx context.Context, i int) error {
	run := func(ctx context.Context, script string, want int, opts container.ExecOptions) error {
		r, err := k.rt.Exec(ctx, k.id, []string{"sh", "-c", script}, opts)
		if err == nil && r.ExitCode != want {
			err = fmt.Errorf("%q: exit code %d, want %d: %s", script, r.ExitCode, want, r.Stderr)
		}
		return err
	}
	switch {
	case i%500 == 499:
		// What the kernel ends is the command, or a part of it; tail holds all that has no newline.
		return run(ctx, "head -c 300000000 /dev/zero | tail -n 1 >/dev/null; exit 3", 3, container.ExecOptions{})
	case i%10 == 1:
		brief, cancel := context.WithTimeout(ctx, time.Duration(i%50)*time.Millisecond)
		defer cancel()
		err := run(brief, "sleep 1000 & (setsid sleep 1000 &) ; wait", 0, container.ExecOptions{})
		if !errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("cancelled: %w", err)
		}
		return nil
	case i%10 == 2:
		return run(ctx, "tty >/dev/null; exit 4", 4, container.ExecOptions{Tty: true, Rows: 24, Cols: 80})
	case i%10 == 3:
		return run(ctx, "cat >/dev/null; exit 5", 5, container.ExecOptions{Stdin: strings.NewReader("input")})
	}
	return run(ctx, "exit 6", 6, container.ExecOptions{})
}

// held is what both sides hold.
type held struct {
	goroutines, files                         int // of the daemon's side
	processes, agentFiles, threads, terminals int // in the container
	resident                                  int // the agent's memory, in KiB
}

// within allows for what comes and goes by itself, and for as many threads more as there are
// callers: Go keeps those that were needed at once.
func (h held) within(before held) bool {
	return h.goroutines <= before.goroutines+2 && h.files <= before.files && h.processes <= before.processes &&
		h.agentFiles <= before.agentFiles && h.threads <= before.threads+16 && h.terminals <= before.terminals &&
		h.resident <= before.resident+8<<10
}

func (k agentedKit) held(t *testing.T) held {
	t.Helper()
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	h := held{goroutines: runtime.NumGoroutine(), files: len(files)}
	said := k.sh(t, k.below, `p=$(pidof octobot-agent)
		set -- /proc/[0-9]*; echo $#; ls /proc/$p/fd | wc -l; ls /proc/$p/task | wc -l; ls /dev/pts | wc -l
		sed -n 's/^VmRSS:[^0-9]*\([0-9]*\).*/\1/p' /proc/$p/status`)
	if _, err := fmt.Sscan(said, &h.processes, &h.agentFiles, &h.threads, &h.terminals, &h.resident); err != nil {
		t.Fatalf("%q: %v", said, err)
	}
	return h
}

// TestNothingRunsTwice kills agents at random moments while commands run: who hears of success has
// had the command run, and none runs twice.
func TestNothingRunsTwice(t *testing.T) {
	kills := 15
	if os.Getenv("OCTOBOT_TEST_SOAK") != "" {
		kills = 1000
	}
	onEngines(t, agented.Config{}, container.Options{}, func(t *testing.T, k agentedKit) {
		k.sh(t, k.rt, "mkdir /ran")
		ctx, end := context.WithCancel(t.Context())
		defer end()
		var begun, succeeded atomic.Int64
		var callers sync.WaitGroup
		for range 8 {
			callers.Go(func() {
				for ctx.Err() == nil {
					script := fmt.Sprintf("echo x >>/ran/%d", begun.Add(1))
					_, err := k.rt.Exec(t.Context(), k.id, []string{"sh", "-c", script}, container.ExecOptions{})
					switch {
					case err == nil:
						succeeded.Add(1)
					case !errors.Is(err, container.ErrUnavailable):
						t.Errorf("a command whose agent was killed: %v", err)
					}
				}
			})
		}
		for range kills {
			time.Sleep(time.Duration(rand.IntN(100)) * time.Millisecond)
			k.sh(t, k.below, "kill -9 $(pidof octobot-agent) 2>/dev/null; exit 0")
		}
		end()
		callers.Wait()
		if twice := k.sh(t, k.below, "find /ran -type f -size +2c"); twice != "" {
			t.Errorf("these ran twice: %s", twice)
		}
		var ran int64
		if _, err := fmt.Sscan(k.sh(t, k.below, "ls /ran | wc -l"), &ran); err != nil || ran < succeeded.Load() {
			t.Errorf("%d ran, of %d that succeeded; %v", ran, succeeded.Load(), err)
		}
		t.Logf("%d commands, of which %d succeeded and %d ran", begun.Load(), succeeded.Load(), ran)
	})
}
