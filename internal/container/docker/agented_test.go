package docker_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/moby/moby/client"

	"github.com/octobot-run/octobot/internal/agentbin"
	"github.com/octobot-run/octobot/internal/agentproto"
	"github.com/octobot-run/octobot/internal/config"
	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/container/agented"
)

// agentedKit is a session on an engine, with the runtime that has agents and the one below it.
type agentedKit struct {
	rt, below container.Runtime
	id        string
}

// onEngines runs a test on Docker and on Podman with a session that runs.
func onEngines(t *testing.T, cfg agented.Config, opts container.Options, test func(t *testing.T, k agentedKit)) {
	for engine := range engineVariables {
		t.Run(engine, func(t *testing.T) {
			below := open(t, config.Config{Instance: "agented-" + engine,
				Docker: config.Docker{Host: engineHost(t, engine), Network: sharedNetwork(engine)}})
			cfg.Logger = slog.New(slog.DiscardHandler)
			if cfg.Binary == nil {
				cfg.Binary = agentbin.Binary
			}
			k := agentedKit{rt: agented.New(below, cfg), below: below,
				id: strings.NewReplacer("/", "-", " ", "-", "#", "-").Replace(strings.ToLower(t.Name()))}
			t.Cleanup(func() {
				if err := k.rt.(container.Closer).Close(); err != nil {
					t.Error(err)
				}
			})
			opts.Image, opts.Cmd = image, []string{"sleep", "3600"}
			if _, err := k.rt.Create(t.Context(), k.id, opts); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := k.rt.Remove(context.WithoutCancel(t.Context()), k.id); err != nil {
					t.Error(err)
				}
			})
			if err := k.rt.Start(t.Context(), k.id); err != nil {
				t.Fatal(err)
			}
			test(t, k)
		})
	}
}

// sh runs a script, and returns what it wrote.
func (k agentedKit) sh(t *testing.T, rt container.Runtime, script string) string {
	t.Helper()
	r, err := rt.Exec(t.Context(), k.id, []string{"sh", "-c", script}, container.ExecOptions{})
	if err != nil || r.ExitCode != 0 {
		t.Fatalf("%s: %+v, %v", script, r, err)
	}
	return strings.TrimSpace(r.Stdout)
}

// parent is a script that tells which program has started it: the agent, or none of the
// container's.
const parent = `tr '\0' '\n' < /proc/$PPID/cmdline 2>/dev/null | head -n 1`

// TestAgentRunsCommands checks that commands are the agent's children, all of them those of one.
func TestAgentRunsCommands(t *testing.T) {
	onEngines(t, agented.Config{}, container.Options{}, func(t *testing.T, k agentedKit) {
		if got := k.sh(t, k.rt, parent); got != agentproto.Binary {
			t.Errorf("the command's parent is %q", got)
		}
		first := k.sh(t, k.rt, "echo $PPID")
		if again := k.sh(t, k.rt, "echo $PPID"); again != first {
			t.Errorf("another agent: %s, then %s", first, again)
		}
		if got := k.sh(t, k.below, parent); strings.Contains(got, "octobot") {
			t.Errorf("without the wrapper, the command's parent is %q", got)
		}
		pty, err := k.rt.Attach(t.Context(), k.id, container.AttachOptions{Cmd: []string{"sh", "-c",
			parent + "; echo $PPID"}})
		if err != nil {
			t.Fatal(err)
		}
		defer pty.Close()
		shown, err := io.ReadAll(pty)
		if err != nil {
			t.Fatal(err)
		}
		name, pid, _ := strings.Cut(strings.TrimSpace(string(shown)), "\r\n")
		if name != agentproto.Binary || pid == first {
			t.Errorf("a terminal's parent is %q, process %s; that of commands is %s", name, pid, first)
		}
	})
}

// TestBothPathsAnswerAlike runs a table of commands through the agent and through the engine's
// exec, and compares the answers byte for byte.
func TestBothPathsAnswerAlike(t *testing.T) {
	type command struct {
		cmd  []string
		opts container.ExecOptions
	}
	script := func(s string, opts ...container.ExecOptions) command {
		c := command{cmd: []string{"sh", "-c", s}}
		if len(opts) > 0 {
			c.opts = opts[0]
		}
		return c
	}
	const env = "env | grep -v -e OCTOBOT_EXEC -e ^_= -e ^SHLVL= | sort"
	table := map[string]command{
		"environment":          script(env),
		"environment on top":   script(env, container.ExecOptions{Env: []string{"A=b", "PATH=/bin", "HOME=/x", "A=c"}}),
		"identity":             script("id; pwd; umask; ulimit -n"),
		"exit code":            script("exit 42"),
		"killed":               script("kill -9 $$"),
		"both streams":         script("echo out; echo err >&2"),
		"no newline":           script("printf abc"),
		"bytes":                script(`printf '\000\377\r\n'`),
		"much":                 script("head -c 3000000 /dev/zero | tr '\\0' x"),
		"more than kept":       script("head -c 5000 /dev/zero", container.ExecOptions{MaxOutput: 1000}),
		"input":                script("wc -c", container.ExecOptions{Stdin: strings.NewReader("hello")}),
		"no input":             script("wc -c"),
		"input that is left":   script("head -c 2", container.ExecOptions{Stdin: strings.NewReader("hello")}),
		"directory":            script("pwd", container.ExecOptions{WorkingDir: "/etc"}),
		"directory missing":    script("pwd", container.ExecOptions{WorkingDir: "/nonexistent"}),
		"command missing":      {cmd: []string{"nonexistent"}},
		"command by path":      {cmd: []string{"/bin/echo", "x"}},
		"command no file":      {cmd: []string{"/etc"}},
		"command not runnable": {cmd: []string{"/etc/passwd"}},
		"user missing":         script("id", container.ExecOptions{User: "nobody-here"}),
		"background":           script("sleep 50 >/dev/null 2>&1 & echo started"),
		"background, output":   script("sleep 3 & echo started"),
		"terminal": script("tty; stty size; echo err >&2; "+env,
			container.ExecOptions{Tty: true, Rows: 33, Cols: 77}),
		"terminal, input": script("cat", container.ExecOptions{Tty: true, Stdin: strings.NewReader("a\nb\n")}),
	}
	for _, user := range []string{"root", "user", "0", "1000", "1000:0", "user:root", "4242", "4242:4343"} {
		table["identity of "+user] = script("id; pwd; echo $HOME; "+env, container.ExecOptions{User: user})
	}
	answer := func(t *testing.T, rt container.Runtime, id string, c command) string {
		if stdin, ok := c.opts.Stdin.(*strings.Reader); ok {
			_, _ = stdin.Seek(0, 0)
		}
		r, err := rt.Exec(t.Context(), id, c.cmd, c.opts)
		if err != nil {
			return fmt.Sprintf("error of class %v", container.ClassOf(err))
		}
		return fmt.Sprintf("%+v", *r)
	}
	for _, container := range []container.Options{
		{Env: []string{"FOO=bar", "EMPTY="}, WorkingDir: "/tmp"},
		{Env: []string{"HOME=/elsewhere", "TERM=vt100", "PATH=/bin:/usr/bin"}},
		{User: "user"},
	} {
		onEngines(t, agented.Config{}, container, func(t *testing.T, k agentedKit) {
			for name, c := range table {
				if got, want := answer(t, k.rt, k.id, c), answer(t, k.below, k.id, c); got != want {
					t.Errorf("%s:\n%.600s\nby the engine:\n%.600s", name, got, want)
				}
			}
		})
	}
}

// TestContainersWithoutAgent go on with the engine's exec: those of an image for which there is no
// agent, those that want none or have no room for it, and those whose agent is not to be executed.
func TestContainersWithoutAgent(t *testing.T) {
	none := agented.Config{Binary: func(string) ([]byte, error) { return nil, errors.New("none") }}
	onEngines(t, none, container.Options{}, func(t *testing.T, k agentedKit) {
		if got := k.sh(t, k.rt, parent); strings.Contains(got, "octobot") {
			t.Errorf("the command's parent is %q", got)
		}
	})
	for _, opts := range []container.Options{{NoProgram: true}, {Resources: container.Resources{PIDs: 16}}} {
		onEngines(t, agented.Config{}, opts, func(t *testing.T, k agentedKit) {
			if c, err := k.rt.Get(t.Context(), k.id); err != nil || c.Labels[container.LabelProgram] != "" ||
				c.Exec.Agent {
				t.Errorf("with %+v, the container is %+v, %v", opts, c, err)
			}
			if got := k.sh(t, k.rt, parent); strings.Contains(got, "octobot") {
				t.Errorf("with %+v, the command's parent is %q", opts, got)
			}
		})
	}
	broken := agented.Config{Binary: func(string) ([]byte, error) { return []byte("#!/nonexistent\n"), nil }}
	onEngines(t, broken, container.Options{}, func(t *testing.T, k agentedKit) {
		for range 2 {
			if got := k.sh(t, k.rt, "echo works"); got != "works" {
				t.Errorf("got %q", got)
			}
		}
		if c, err := k.rt.Get(t.Context(), k.id); err != nil || c.Exec.Agent || c.Exec.Reason == "" {
			t.Errorf("the container says of its commands %+v, %v", c.Exec, err)
		}
	})
	liar := agented.Config{Binary: func(string) ([]byte, error) {
		return []byte("#!/bin/sh\nwhile :; do echo I am no agent; done\n"), nil
	}}
	onEngines(t, liar, container.Options{}, func(t *testing.T, k agentedKit) {
		if got := k.sh(t, k.rt, "echo works"); got != "works" {
			t.Errorf("got %q", got)
		}
	})
}

// TestAgentStopped stops the agent: who waits hears by their own time-out, and what comes later has
// another agent, by which what was cancelled meanwhile is killed.
func TestAgentStopped(t *testing.T) {
	onEngines(t, agented.Config{}, container.Options{}, func(t *testing.T, k agentedKit) {
		k.sh(t, k.rt, "true") // so that there is a link
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var waiting sync.WaitGroup
		waiting.Go(func() {
			_, err := k.rt.Exec(ctx, k.id, []string{"sh", "-c", "echo x >> /runs; sleep 777 & wait"},
				container.ExecOptions{})
			if !errors.Is(err, context.Canceled) {
				t.Errorf("a command whose agent was stopped: %v", err)
			}
		})
		eventually(t, func() bool { return k.sh(t, k.below, "ps | grep -c '[s]leep 777' || true") == "2" })
		k.sh(t, k.below, "kill -STOP $(pidof octobot-agent)")
		eventually(t, func() bool {
			brief, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, err := k.rt.Exec(brief, k.id, []string{"sh", "-c", "echo x >> /later"}, container.ExecOptions{})
			return err == nil
		})
		cancel()
		waiting.Wait()
		eventually(t, func() bool { return k.sh(t, k.rt, "ps | grep -c '[s]leep 777' || true") == "0" })
		if got := k.sh(t, k.rt, "cat /runs | wc -l; cat /later | wc -l"); got != "1\n1" {
			t.Errorf("the commands ran %q times", got)
		}
	})
}

// TestVolumeIsFilledAgain removes the agent's volume, as cleaning up on an engine does.
func TestVolumeIsFilledAgain(t *testing.T) {
	// One that is nobody else's.
	binary, err := agentbin.Binary(runtime.GOARCH)
	if err != nil {
		t.Fatal(err)
	}
	binary = append(binary, t.Name()...)
	volume := fmt.Sprintf("octobot-agent-%s-%s", container.ProgramHash(binary), runtime.GOARCH)
	own := agented.Config{Binary: func(string) ([]byte, error) { return binary, nil }}
	onEngines(t, own, container.Options{}, func(t *testing.T, k agentedKit) {
		cli := engineClient(t, engineHost(t, path.Base(t.Name())))
		t.Cleanup(func() { _, _ = cli.VolumeRemove(context.Background(), volume, client.VolumeRemoveOptions{}) })
		if err := k.rt.Remove(t.Context(), k.id); err != nil {
			t.Fatal(err)
		}
		if _, err := cli.VolumeRemove(t.Context(), volume, client.VolumeRemoveOptions{}); err != nil {
			t.Fatal(err)
		}
		if _, err := k.rt.Create(t.Context(), k.id, container.Options{Image: image,
			Cmd: []string{"sleep", "3600"}}); err != nil {
			t.Fatal(err)
		}
		if err := k.rt.Start(t.Context(), k.id); err != nil {
			t.Fatal(err)
		}
		if got := k.sh(t, k.rt, parent); got != agentproto.Binary {
			t.Errorf("the command's parent is %q", got)
		}
	})
}

// TestReadOnlyRoot has the agent in a container whose root file system can't be written.
func TestReadOnlyRoot(t *testing.T) {
	onEngines(t, agented.Config{}, container.Options{ReadOnly: true, User: "user"},
		func(t *testing.T, k agentedKit) {
			if got := k.sh(t, k.rt, parent); got != agentproto.Binary {
				t.Errorf("the command's parent is %q", got)
			}
			if got := k.sh(t, k.rt, "id -un; touch /.octobot/bin/x 2>&1 || echo refused"); !strings.HasPrefix(got,
				"user\n") ||
				!strings.HasSuffix(got, "refused") {
				t.Errorf("got %q", got)
			}
		})
}

// TestAgentKilled kills the agent amid commands: their callers hear of it, nothing runs twice, none
// of their processes is left, although nobody runs another command, what finished ones have left in
// the background is, and the next command has another agent.
func TestAgentKilled(t *testing.T) {
	onEngines(t, agented.Config{}, container.Options{}, func(t *testing.T, k agentedKit) {
		k.sh(t, k.rt, "sleep 888 >/dev/null 2>&1 &") // and so there is a link
		var running sync.WaitGroup
		for i := range 5 {
			running.Go(func() {
				_, err := k.rt.Exec(t.Context(), k.id, []string{"sh", "-c",
					fmt.Sprintf("echo x >> /runs%d; setsid sleep 777 & sleep 777", i)}, container.ExecOptions{})
				if !errors.Is(err, container.ErrUnavailable) {
					t.Errorf("a command whose agent was killed: %v", err)
				}
			})
		}
		eventually(t, func() bool { return k.sh(t, k.below, "ls / | grep -c runs || true") == "5" })
		const count = "ps | grep -c '[s]leep %d' || true"
		eventually(t, func() bool { return k.sh(t, k.below, fmt.Sprintf(count, 777)) == "10" })
		k.sh(t, k.below, "kill -9 $(pidof octobot-agent)")
		running.Wait()
		eventually(t, func() bool { return k.sh(t, k.below, fmt.Sprintf(count, 777)) == "0" })
		if got := k.sh(t, k.below, fmt.Sprintf(count, 888)); got != "1" {
			t.Errorf("of what a finished command has left, %s are there", got)
		}
		if got := k.sh(t, k.rt, "cat /runs* | wc -l"); got != "5" {
			t.Errorf("5 commands ran %s times", got)
		}
		if got := k.sh(t, k.rt, parent); got != agentproto.Binary {
			t.Errorf("then the command's parent is %q", got)
		}
	})
}

// eventually waits until something holds.
func eventually(t *testing.T, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it does not come to hold")
		}
	}
}
