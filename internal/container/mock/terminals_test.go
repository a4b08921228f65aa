package mock_test

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/container/mock"
)

func open(t testing.TB, m *mock.MockProvider, name string, cmd ...string) container.Terminal {
	t.Helper()
	terminal, err := m.OpenTerminal(t.Context(), "s", container.TerminalOptions{
		Name: name, AttachOptions: container.AttachOptions{Cmd: cmd},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = terminal.Close() })
	return terminal
}

// rest reads a terminal to its end.
func rest(t testing.TB, terminal container.Terminal) (shown string, missed int64) {
	t.Helper()
	var b strings.Builder
	for {
		e, err := terminal.Next()
		if errors.Is(err, io.EOF) {
			return b.String(), missed
		}
		if err != nil {
			t.Fatal(err)
		}
		b.Write(e.Data)
		missed += e.Missed
	}
}

func names(t testing.TB, m *mock.MockProvider) string {
	t.Helper()
	list, err := m.ListTerminals(t.Context(), "s")
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, i := range list {
		fmt.Fprintf(&b, "%s:%t ", i.Name, i.Running)
	}
	return strings.TrimSpace(b.String())
}

// TestTerminalTimes: how long terminals live without viewers, how long those that have ended are
// kept, and that a command which ignores the hangup is killed.
func TestTerminalTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := start(t, container.Options{})
		after := func(d time.Duration, want string) {
			t.Helper()
			time.Sleep(d)
			synctest.Wait()
			if got := names(t, m); got != want {
				t.Fatalf("%v later there are %q; want %q", d, got, want)
			}
		}
		looked := open(t, m, "looked", "cat")
		_ = open(t, m, "left", "cat").Close()
		_ = open(t, m, "stubborn", "sh", "-c", "trap '' HUP; sleep 1000000; true").Close()
		rest(t, open(t, m, "ended", "true"))
		after(9*time.Minute, "looked:true left:true stubborn:true ended:false")
		after(time.Minute, "looked:true left:true stubborn:true")
		after(23*time.Hour, "looked:true left:true stubborn:true")
		_ = open(t, m, "stubborn").Close() // its time begins once more
		after(time.Hour, "looked:true stubborn:true")
		after(23*time.Hour-time.Minute, "looked:true stubborn:true")
		after(2*time.Minute, "looked:true")
		_ = looked.Close()
		after(25*time.Hour, "")
	})
}

// TestTerminalWaits: output waits for the only viewer, for a while.
func TestTerminalWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := start(t, container.Options{})
		v := open(t, m, "t", "head", "-c", "3000000", "/dev/zero")
		time.Sleep(900 * time.Millisecond)
		synctest.Wait()
		if got := names(t, m); got != "t:true" {
			t.Fatalf("there are %q: the output did not wait", got)
		}
		if shown, missed := rest(t, v); len(shown) != 3_000_000 || missed != 0 {
			t.Fatalf("%d bytes are shown, %d missed", len(shown), missed)
		}

		v = open(t, m, "t", "head", "-c", "3000000", "/dev/zero")
		time.Sleep(1100 * time.Millisecond)
		synctest.Wait()
		if got := names(t, m); got != "t:false" {
			t.Fatalf("there are %q: the output waits", got)
		}
		if shown, missed := rest(t, v); len(shown) != 1<<20 || missed != 3_000_000-1<<20 {
			t.Fatalf("%d bytes are shown, %d missed", len(shown), missed)
		}
	})
}

// TestTerminalLimit: what has ended first makes room first.
func TestTerminalLimit(t *testing.T) {
	m := start(t, container.Options{})
	for i := range 62 {
		open(t, m, fmt.Sprint("t", i), "cat")
	}
	for _, name := range []string{"second", "first"} {
		open(t, m, name, "cat")
	}
	for _, name := range []string{"first", "second"} {
		v := open(t, m, name)
		if _, err := v.Write([]byte("\x04")); err != nil {
			t.Fatal(err)
		}
		rest(t, v)
	}
	open(t, m, "another", "cat")
	if got := names(t, m); strings.Contains(got, "first") || !strings.Contains(got, "second:false") {
		t.Fatalf("there are %s", got)
	}
	_, err := m.OpenTerminal(t.Context(), "s", container.TerminalOptions{
		Name: "bad", AttachOptions: container.AttachOptions{Cmd: []string{"no-such-program"}},
	})
	wantClass(t, err, container.ErrExecFailed)
	if got := names(t, m); !strings.Contains(got, "second:false") {
		t.Fatalf("for nothing was one forgotten: there are %s", got)
	}
	open(t, m, "yet-another", "cat")
	_, err = m.OpenTerminal(t.Context(), "s", container.TerminalOptions{Name: "one-more"})
	wantClass(t, err, container.ErrLimitReached)
}

func TestTerminalFaults(t *testing.T) {
	m := start(t, container.Options{})
	calls := map[string]func() error{
		"openterminal": func() error {
			_, err := m.OpenTerminal(t.Context(), "s", container.TerminalOptions{Name: "t"})
			return err
		},
		"listterminals": func() error { _, err := m.ListTerminals(t.Context(), "s"); return err },
		"endterminal":   func() error { return m.EndTerminal(t.Context(), "s", "t") },
	}
	for op, call := range calls {
		remove := m.Engine().Inject(mock.Fault{Op: op, Err: container.ErrUnavailable})
		wantClass(t, call(), container.ErrUnavailable)
		remove()
	}
	if got := names(t, m); got != "" {
		t.Fatalf("there are %s", got)
	}

	// The answer is lost, the terminal is made, and nobody looks at it.
	remove := m.Engine().Inject(mock.Fault{Op: "openterminal", Err: container.ErrUnavailable, Done: true})
	wantClass(t, calls["openterminal"](), container.ErrUnavailable)
	remove()
	list, err := m.ListTerminals(t.Context(), "s")
	if err != nil || len(list) != 1 || list[0].Viewers != 0 {
		t.Fatalf("there are %+v, %v", list, err)
	}
}

// TestTerminalIsCheap: a quiet terminal holds little memory.
func TestTerminalIsCheap(t *testing.T) {
	m := start(t, container.Options{})
	before := heap()
	for i := range 50 {
		_ = open(t, m, fmt.Sprint("t", i)).Close()
	}
	if used := (heap() - before) / 50; used > 64<<10 {
		t.Errorf("a quiet terminal holds %d bytes", used)
	}
}
