package systemtest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	v1 "github.com/octobot-run/octobot/api/v1"
	"github.com/octobot-run/octobot/client"
)

var binary string // the octobot under test, built by TestMain

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "octobot-systemtest-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		binary = filepath.Join(dir, "octobot")
		build := exec.Command("go", "build", "-race", "-o", binary, "github.com/octobot-run/octobot/cmd/octobot")
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build octobot: %v\n%s", err, out)
			return 1
		}
		return m.Run()
	}())
}

// daemon is an installation of Octobot: a data directory, and the process that
// serves it, which may be killed and started again.
type daemon struct {
	t    *testing.T
	dir  string
	args []string // further flags of serve
	wrap []string // a program that starts serve, with its arguments; empty: none
	cmd  *exec.Cmd
	done chan struct{}
	log  *bytes.Buffer // of the last process; not to be read while it runs
	api  *client.Client
}

// newDaemon makes an installation that uses the engine at dockerHost. It is not started. Its
// sessions' containers are removed when the test ends.
func newDaemon(t *testing.T, dockerHost string, args ...string) *daemon {
	t.Helper()
	dir, err := os.MkdirTemp("", "octobot-data-") // short: a socket's path is limited
	if err != nil {
		t.Fatal(err)
	}
	d := &daemon{t: t, dir: dir, args: append([]string{"--docker-host", dockerHost, "--listen", "", "--default-image",
		testImage()}, args...)}
	d.api, err = client.New(client.Options{Socket: filepath.Join(dir, "octobot.sock")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		d.api.Close()
		d.kill()
		if t.Failed() && d.log != nil {
			t.Logf("log of the last daemon:\n%s", tail(d.log.Bytes(), 8<<10))
		}
		unmountBelow(dir) // or what sessions mount would be removed too
		os.RemoveAll(dir)
	})
	return d
}

// start starts serve and waits until the API answers.
func (d *daemon) start() {
	d.t.Helper()
	d.log = new(bytes.Buffer)
	line := slices.Concat(d.wrap, []string{binary, "serve", "--data-dir", d.dir}, d.args)
	d.cmd = exec.Command(line[0], line[1:]...)
	d.cmd.Env = append(os.Environ(), "GORACE=halt_on_error=1")
	d.cmd.Stdout, d.cmd.Stderr = d.log, d.log
	if err := d.cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	d.done = make(chan struct{})
	go func(cmd *exec.Cmd, done chan struct{}) { _ = cmd.Wait(); close(done) }(d.cmd, d.done)
	deadline := time.After(30 * time.Second)
	for {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(d.t.Context()), 5*time.Second)
		_, err := d.api.ListSessions(ctx, client.ListOptions{Limit: 1})
		cancel()
		if err == nil || client.CodeOf(err) != "" {
			return // it answers, if only with a problem
		}
		select {
		case <-d.done:
			d.t.Fatalf("the daemon ended: %s", d.log)
		case <-deadline:
			d.kill()
			d.t.Fatalf("the daemon does not answer: %v\n%s", err, d.log)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// kill ends the daemon as a crash does.
func (d *daemon) kill() { d.signal(syscall.SIGKILL) }

// stop ends it in order.
func (d *daemon) stop() { d.signal(syscall.SIGTERM) }

func (d *daemon) signal(s syscall.Signal) {
	if d.cmd == nil {
		return
	}
	_ = d.cmd.Process.Signal(s)
	<-d.done
	d.cmd = nil
}

func (d *daemon) database() string { return filepath.Join(d.dir, "octobot.db") }

// instance is the installation's ID.
func (d *daemon) instance() string {
	d.t.Helper()
	info, err := d.api.Info(d.t.Context())
	if err != nil {
		d.t.Fatal(err)
	}
	return info.Instance
}

// create makes and starts a session whose main process does nothing for long.
func (d *daemon) create(ctx context.Context, id string) error {
	_, err := d.api.CreateSession(ctx, v1.CreateSessionRequest{ID: id, Spec: v1.Spec{
		Cmd: []string{"sleep", "3600"}, Resources: v1.Resources{PIDs: new(int64(64))}}}, nil)
	return err
}

func tail(b []byte, n int) []byte { return b[max(0, len(b)-n):] }
