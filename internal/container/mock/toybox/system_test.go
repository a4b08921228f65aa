package toybox_test

import (
	"bytes"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/octobot-run/octobot/internal/container/mock/toybox"
)

// TestVirtualTime: all that waits in a system waits for time as its caller has it.
func TestVirtualTime(t *testing.T) {
	for _, script := range []string{"sleep 3600; true", "sleep 3600 | cat | cat"} {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			boot(t).sh(t, script)
			if took := time.Since(start); took != time.Hour {
				t.Errorf("%s took %v", script, took)
			}
		})
	}
}

// TestEnded: a system tells of its end once, with the main process's code, before it is done and
// after everything else has ended.
func TestEnded(t *testing.T) {
	var codes []int
	var system *toybox.System
	system = toybox.NewSystem(toybox.Config{
		Files: new(toybox.FileSystem), Commands: toybox.NewCommands(),
		Ended: func(code int) {
			if n := system.Count(); n != 0 {
				t.Errorf("%d processes are left", n)
			}
			select {
			case <-system.Done():
				t.Error("the system was done before it told so")
			default:
			}
			codes = append(codes, code)
		},
	})
	script := "sleep 3600 & sleep 3600 | cat & exit 3"
	if err := system.Start(toybox.Spec{Args: []string{"sh", "-c", script}, Stdout: io.Discard,
		Stderr: io.Discard}); err != nil {
		t.Fatal(err)
	}
	<-system.Done()
	if len(codes) != 1 || codes[0] != 3 {
		t.Errorf("codes are %v", codes)
	}
	if _, err := system.Spawn(toybox.Spec{Args: []string{"true"}}); err != toybox.ErrEnded {
		t.Errorf("error is %v; want ErrEnded", err)
	}
}

// TestStdinIsClosed: what a process reads from is closed when it is killed, and so is woken.
func TestStdinIsClosed(t *testing.T) {
	m := boot(t)
	stdin, in := io.Pipe()
	p, err := m.Spawn(toybox.Spec{Args: []string{"cat"}, Stdin: stdin, Stdout: io.Discard, Stderr: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	p.Signal(toybox.SIGTERM)
	<-p.Done()
	if code := p.ExitCode(); code != 143 {
		t.Errorf("exit code is %d", code)
	}
	if _, err := in.Write([]byte("x")); err != io.ErrClosedPipe {
		t.Errorf("error is %v; want that of a closed pipe", err)
	}
}

// TestMaxProcesses: a script that starts itself meets the bound, and ends.
func TestMaxProcesses(t *testing.T) {
	m := boot(t)
	var stderr bytes.Buffer
	p, err := m.Spawn(toybox.Spec{
		Args:   []string{"sh", "-c", "echo sh /tmp/again > /tmp/again; sh /tmp/again"},
		Stdout: io.Discard, Stderr: &stderr,
	})
	if err != nil {
		t.Fatal(err)
	}
	<-p.Done()
	if got, want := stderr.String(), "sh: sh: resource temporarily unavailable\n"; got != want {
		t.Errorf("stderr is %.200q; want %q", got, want)
	}
}
