package mock_test

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/container/mock"
)

func startProcess(t testing.TB, m *mock.MockProvider, cmd ...string) container.ProcessInfo {
	t.Helper()
	info, err := m.StartProcess(t.Context(), "s", cmd, container.ProcessOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return info
}

func waitProcess(t testing.TB, m *mock.MockProvider, id string) {
	t.Helper()
	if _, err := m.WaitProcess(t.Context(), "s", id); err != nil {
		t.Fatal(err)
	}
}

// commands are the commands of the processes there are.
func commands(t testing.TB, m *mock.MockProvider) string {
	t.Helper()
	list, err := m.ListProcesses(t.Context(), "s")
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, p := range list {
		fmt.Fprintf(&b, "%s:%t ", strings.Join(p.Cmd, "_"), p.Running)
	}
	return strings.TrimSpace(b.String())
}

// TestProcessTimes: how long processes are kept that have ended.
func TestProcessTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := start(t, container.Options{})
		after := func(d time.Duration, want string) {
			t.Helper()
			time.Sleep(d)
			synctest.Wait()
			if got := commands(t, m); got != want {
				t.Fatalf("%v later there are %q; want %q", d, got, want)
			}
		}
		startProcess(t, m, "sleep", "infinity")
		startProcess(t, m, "echo", "unwaited")
		waited := startProcess(t, m, "echo", "waited")
		after(5*time.Minute, "sleep_infinity:true echo_unwaited:false echo_waited:false")
		waitProcess(t, m, waited.ID)
		after(9*time.Second, "sleep_infinity:true echo_unwaited:false echo_waited:false")
		waitProcess(t, m, waited.ID) // does not begin its time once more
		after(time.Second, "sleep_infinity:true echo_unwaited:false")
		after(5*time.Minute-11*time.Second, "sleep_infinity:true echo_unwaited:false")
		after(time.Second, "sleep_infinity:true")

		// Who has left before the end has not been told.
		left := startProcess(t, m, "sleep", "60")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := m.WaitProcess(ctx, "s", left.ID)
		wantClass(t, err, context.DeadlineExceeded)
		after(5*time.Minute, "sleep_infinity:true sleep_60:false")

		m.Engine().KeepProcesses(time.Minute, time.Second)
		if err := m.Stop(t.Context(), "s", 0); err != nil {
			t.Fatal(err)
		}
		if err := m.Start(t.Context(), "s"); err != nil {
			t.Fatal(err)
		}
		startProcess(t, m, "true")
		waitProcess(t, m, startProcess(t, m, "false").ID)
		after(0, "true:false false:false")
		after(time.Second, "true:false")
		after(59*time.Second, "")
	})
}

// TestProcessLimit: what has ended first makes room first.
func TestProcessLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := start(t, container.Options{})
		for range 254 {
			startProcess(t, m, "sleep", "infinity")
		}
		startProcess(t, m, "sleep", "2")
		startProcess(t, m, "sleep", "1")
		time.Sleep(5 * time.Second)
		synctest.Wait()
		_, err := m.StartProcess(t.Context(), "s", []string{"no-such-program"}, container.ProcessOptions{})
		wantClass(t, err, container.ErrExecFailed)
		for _, want := range []string{
			"sleep_2:false sleep_1:false", "sleep_infinity:true sleep_2:false sleep_infinity:true",
			"sleep_infinity:true sleep_infinity:true",
		} {
			if got := commands(t, m); !strings.HasSuffix(got, want) {
				t.Fatalf("there are %s; want %s at the end", got, want)
			}
			_, err = m.StartProcess(t.Context(), "s", []string{"sleep", "infinity"}, container.ProcessOptions{})
		}
		wantClass(t, err, container.ErrLimitReached)
	})
}

func TestProcessFaults(t *testing.T) {
	m := start(t, container.Options{})
	p := startProcess(t, m, "echo", "out")
	calls := map[string]func() error{
		"startprocess": func() error {
			_, err := m.StartProcess(t.Context(), "s", []string{"true"}, container.ProcessOptions{})
			return err
		},
		"listprocesses": func() error { _, err := m.ListProcesses(t.Context(), "s"); return err },
		"signalprocess": func() error { return m.SignalProcess(t.Context(), "s", p.ID, 9) },
		"waitprocess":   func() error { _, err := m.WaitProcess(t.Context(), "s", p.ID); return err },
		"readprocess": func() error {
			_, _, err := m.ReadProcess(t.Context(), "s", p.ID, container.OutputOptions{Follow: true}, io.Discard, nil)
			return err
		},
	}
	for op, call := range calls {
		before := m.Engine().Calls(op)
		remove := m.Engine().Inject(mock.Fault{Op: op, Err: container.ErrUnavailable})
		wantClass(t, call(), container.ErrUnavailable)
		remove()
		if n := m.Engine().Calls(op) - before; n != 1 {
			t.Errorf("%d calls of %s were counted", n, op)
		}
	}

	// The answer is lost, the process runs.
	remove := m.Engine().Inject(mock.Fault{Op: "startprocess", Err: container.ErrUnavailable, Done: true})
	wantClass(t, calls["startprocess"](), container.ErrUnavailable)
	remove()
	if got := strings.Count(commands(t, m), ":"); got != 2 {
		t.Fatalf("there are %s", commands(t, m))
	}

	// So is that of a read, but not what it wrote.
	remove = m.Engine().Inject(mock.Fault{Op: "readprocess", Err: container.ErrUnavailable, Done: true})
	defer remove()
	var out strings.Builder
	info, _, err := m.ReadProcess(t.Context(), "s", p.ID, container.OutputOptions{Follow: true}, &out, nil)
	wantClass(t, err, container.ErrUnavailable)
	if out.String() != "out\n" || info.Position != 4 {
		t.Fatalf("%q was read; the process is %+v", out.String(), info)
	}
}

// TestProcessDisk: what is not kept in memory needs a disk that can be written.
func TestProcessDisk(t *testing.T) {
	tmpfs := map[string]string{"/tmp": ""}
	for _, c := range []struct {
		opts container.Options
		keep int64
		want error
	}{
		{container.Options{}, container.DefaultKeep + 1, nil},
		{container.Options{ReadOnly: true}, 0, nil},
		{container.Options{ReadOnly: true}, container.DefaultKeep, nil},
		{container.Options{ReadOnly: true}, container.DefaultKeep + 1, container.ErrUnsupported},
		{container.Options{ReadOnly: true, Tmpfs: tmpfs}, container.DefaultKeep + 1, nil},
	} {
		m := start(t, c.opts)
		_, err := m.StartProcess(t.Context(), "s", []string{"true"}, container.ProcessOptions{Keep: c.keep})
		if container.ClassOf(err) != c.want {
			t.Errorf("keep %d with %+v: error is %v; want class %v", c.keep, c.opts, err, c.want)
		}
	}
}

// TestProcessIsCheap: a quiet process holds little memory, whatever may be kept of it.
func TestProcessIsCheap(t *testing.T) {
	m := start(t, container.Options{})
	before := heap()
	for range 50 {
		_, err := m.StartProcess(t.Context(), "s", []string{"sleep", "infinity"},
			container.ProcessOptions{Keep: container.MaxKeep})
		if err != nil {
			t.Fatal(err)
		}
	}
	if used := (heap() - before) / 50; used > 64<<10 {
		t.Errorf("a quiet process holds %d bytes", used)
	}
}
