package cli

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	v1 "github.com/octobot-run/octobot/api/v1"
)

// endless are arguments of a bench that only ends when something ends it.
var endless = []string{"bench", "--count", "10000", "--duration", "5m"}

func TestBench(t *testing.T) {
	dir := startDaemon(t)
	var report benchReport
	decode(t, must(t, dir, "bench", "--count", "30", "--callers", "3", "--duration", "20ms", "-o", "json"), &report)
	e := report.Engine
	if report.Commands != 30 || report.Callers != 3 || e.P50 <= 0 || e.P90 < e.P50 || e.P99 < e.P90 || e.Rate <= 0 {
		t.Errorf("report %+v", report)
	}
	if report.Agent != nil || report.Ratio != nil || report.Reason != noAgents {
		t.Errorf("of an engine without agents: %+v", report)
	}
	r := octobot(t, dir, "bench", "--count", "1", "--duration", "20ms")
	if r.code != 0 || !strings.HasPrefix(r.stdout, "PATH ") || strings.Count(r.stdout, "\n") != 2 ||
		!strings.HasPrefix(r.stderr, "octobot: bench: nothing to compare: ") {
		t.Errorf("as a table: %+v", r)
	}
	if left := must(t, dir, "ls", "-q"); left != "" {
		t.Errorf("sessions left: %s", left)
	}
}

// TestBenchLeavesNothing ends it in every way but a good one.
func TestBenchLeavesNothing(t *testing.T) {
	t.Run("interrupted", func(t *testing.T) {
		dir := startDaemon(t)
		b := startBench(t, dir)
		b.interrupt(signalled{syscall.SIGINT})
		if r := <-b.done; r != (result{exitSignal + int(syscall.SIGINT), "", ""}) {
			t.Errorf("got %+v", r)
		}
		if left := must(t, dir, "ls", "-q"); left != "" {
			t.Errorf("sessions left: %s", left)
		}
	})
	t.Run("a session ends", func(t *testing.T) {
		dir := startDaemon(t)
		b := startBench(t, dir)
		must(t, dir, "stop", "-t", "0", b.sessions[1]) // the one without the agent, which is older
		if r := <-b.done; r.code != exitError || !strings.HasPrefix(r.stderr, "octobot: bench: exec bench-") {
			t.Errorf("got %+v", r)
		}
		if left := must(t, dir, "ls", "-q"); left != "" {
			t.Errorf("sessions left: %s", left)
		}
	})
	t.Run("the daemon ends", func(t *testing.T) {
		dir, stop := runDaemon(t)
		b := startBench(t, dir)
		stop()
		r := <-b.done
		for _, id := range b.sessions {
			if !strings.Contains(r.stderr, "octobot: bench: "+id+` may be left, for "octobot rm -f" to remove: `) {
				t.Errorf("nothing said of %s: %+v", id, r)
			}
		}
	})
	t.Run("no image", func(t *testing.T) {
		dir := startDaemon(t)
		if r := octobot(t, dir, "bench", "--image", "NO IMAGE"); r.code != exitError ||
			!strings.HasPrefix(r.stderr, "octobot: bench: create bench-") || strings.Contains(r.stderr, "may be left") {
			t.Errorf("got %+v", r)
		}
	})
}

// runningBench is a bench under way.
type runningBench struct {
	sessions  []string
	interrupt context.CancelCauseFunc
	done      chan result
}

// startBench starts an endless bench, and waits for its sessions.
func startBench(t *testing.T, dir string) runningBench {
	t.Helper()
	ctx, interrupt := context.WithCancelCause(t.Context())
	b := runningBench{interrupt: interrupt, done: make(chan result, 1)}
	go func() {
		var stdout, stderr bytes.Buffer
		code := run(ctx, append([]string{"--data-dir", dir}, endless...), strings.NewReader(""), &stdout, &stderr)
		b.done <- result{code, stdout.String(), stderr.String()}
	}()
	for late := time.Now().Add(limit); len(b.sessions) < 2; time.Sleep(time.Millisecond) {
		b.sessions = strings.Fields(must(t, dir, "ls", "-q", "--status", "running"))
		if time.Now().After(late) {
			t.Fatal("its sessions do not run")
		}
	}
	return b
}

func TestBenchOnTerminal(t *testing.T) {
	dir := startDaemon(t)
	s := sit(t, dir, endless...)
	s.sees("creating the session bench-")
	s.sees("timing commands: 20 of 10000")
	s.types("\x03")
	s.sees("removing the sessions")
	s.leaves(exitSignal + int(syscall.SIGINT))
	if left := must(t, dir, "ls", "-q"); left != "" {
		t.Errorf("sessions left: %s", left)
	}
}

func TestMeasure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		takes := func(name string, d time.Duration) *measuredPath {
			return &measuredPath{name: name, command: func(ctx context.Context) error { return sleep(ctx, d) }}
		}
		paths := []*measuredPath{takes("engine", 50*time.Millisecond), takes("agent", 2*time.Millisecond)}
		b := &bench{count: 30, callers: 8, duration: 3 * time.Second}
		if err := b.measure(t.Context(), paths); err != nil {
			t.Fatal(err)
		}
		var stdout, stderr bytes.Buffer
		if err := (&app{stdout: &stdout, stderr: &stderr}).printBench(b.report(paths,
			v1.Exec{Path: v1.ExecAgent})); err != nil {
			t.Fatal(err)
		}
		const want = `PATH     P50        P90        P99        COMMANDS/S
engine   50.00 ms   50.00 ms   50.00 ms   160
agent    2.00 ms    2.00 ms    2.00 ms    4000
ratio    25.0 ×     25.0 ×     25.0 ×     25.0 ×
`
		if len(paths[0].times) != 30 || stdout.String() != want || stderr.Len() > 0 {
			t.Errorf("%d timed, %s\n%s, want\n%s", len(paths[0].times), stderr.String(), stdout.String(), want)
		}
	})
}

func TestPercentile(t *testing.T) {
	hundred := make([]time.Duration, 100)
	for i := range hundred {
		hundred[i] = time.Duration(i + 1)
	}
	for _, tt := range []struct {
		sorted []time.Duration
		want   []time.Duration // 50, 90, 99
	}{
		{hundred[:1], []time.Duration{1, 1, 1}},
		{hundred[:2], []time.Duration{1, 2, 2}},
		{hundred[:10], []time.Duration{5, 9, 10}},
		{hundred, []time.Duration{50, 90, 99}},
	} {
		var got []time.Duration
		for _, percent := range []int{50, 90, 99} {
			got = append(got, percentile(tt.sorted, percent))
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("of %d: %v, want %v", len(tt.sorted), got, tt.want)
		}
	}
}
