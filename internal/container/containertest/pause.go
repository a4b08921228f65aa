package containertest

import (
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/octobot-run/octobot/internal/container"
)

var pauseCases = []testCase{
	{"pause and unpause", testPause},
	{"not running", testPauseStopped},
	{"stop while paused", testStopPaused},
	{"remove while paused", testRemovePaused},
	{"freezes", testPauseFreezes},
	{"amid starts", testPauseAmidStarts},
}

func testPause(f *fixture) {
	p, ok := optional[container.Pauser](f)
	if !ok {
		return
	}
	id := f.running()
	f.must(p.Unpause(f.ctx, id))
	for range 2 {
		f.must(p.Pause(f.ctx, id))
	}
	c := f.get(id)
	f.equal("status", c.Status, container.StatusRunning)
	f.equal("paused", c.Paused, true)
	list, err := f.rt.List(f.ctx)
	f.must(err)
	f.equal("status in the list", list[0].Status, container.StatusRunning)
	f.equal("paused in the list", list[0].Paused, true)

	_, err = f.rt.Exec(f.ctx, id, []string{"true"}, container.ExecOptions{})
	f.class(err, container.ErrContainerPaused)
	if errors.Is(err, container.ErrContainerStopped) {
		f.Errorf("%v: a paused container has not stopped", err)
	}
	for _, cmd := range [][]string{nil, {"cat"}} {
		_, err = f.rt.Attach(f.ctx, id, container.AttachOptions{Cmd: cmd})
		f.class(err, container.ErrContainerPaused)
	}
	if d, ok := optional[container.Dialer](f); ok {
		_, err = d.Dial(f.ctx, id, "", []string{"cat"})
		f.class(err, container.ErrContainerPaused)
	}
	f.must(f.rt.Start(f.ctx, id))
	f.equal("paused after a start", f.get(id).Paused, true)

	for range 2 {
		f.must(p.Unpause(f.ctx, id))
	}
	f.equal("paused", f.get(id).Paused, false)
	f.equal("output", f.sh(id, "echo awake"), "awake")
}

func testPauseStopped(f *fixture) {
	p, ok := optional[container.Pauser](f)
	if !ok {
		return
	}
	id := f.id("s")
	f.create(id, f.idle())
	f.class(p.Pause(f.ctx, id), container.ErrContainerStopped)
	f.class(p.Unpause(f.ctx, id), container.ErrContainerStopped)
	f.must(f.rt.Start(f.ctx, id))
	f.must(f.rt.Stop(f.ctx, id, 0))
	f.class(p.Pause(f.ctx, id), container.ErrContainerStopped)
	f.class(p.Unpause(f.ctx, id), container.ErrContainerStopped)
}

func testStopPaused(f *fixture) {
	p, ok := optional[container.Pauser](f)
	if !ok {
		return
	}
	for _, timeout := range []time.Duration{0, 2 * time.Second} {
		id := f.id(timeout.String())
		f.start(id, f.idle())
		f.must(p.Pause(f.ctx, id))
		f.mustBePrompt("stop", func() { f.must(f.rt.Stop(f.ctx, id, timeout)) })
		c := f.get(id)
		f.equal("status", c.Status, container.StatusStopped)
		f.equal("paused", c.Paused, false)
	}
}

func testRemovePaused(f *fixture) {
	p, ok := optional[container.Pauser](f)
	if !ok {
		return
	}
	id := f.running()
	f.must(p.Pause(f.ctx, id))
	f.mustBePrompt("remove", func() { f.must(f.rt.Remove(f.ctx, id)) })
	f.equal("containers left", f.count(id), 0)
}

// testPauseFreezes: what runs while it is paused makes no progress.
func testPauseFreezes(f *fixture) {
	p, ok := optional[container.Pauser](f)
	logs, hasLogs := optional[container.LogReader](f)
	if !ok || !hasLogs || !f.caps.RealProcesses {
		return
	}
	id := f.id("s")
	f.start(id, f.script("while :; do echo tick; sleep 0.05; done"))
	lines := func() int {
		var out strings.Builder
		f.must(logs.Logs(f.ctx, id, container.LogOptions{Tail: -1}, &out, &out))
		return strings.Count(out.String(), "\n")
	}
	f.poll("ticks", func() bool { return lines() > 2 })
	f.must(p.Pause(f.ctx, id))
	// What was written before the pause may take a moment to be in the log.
	before := lines()
	f.poll("ticks to end", func() bool {
		last := before
		select {
		case <-f.ctx.Done():
		case <-time.After(300 * time.Millisecond):
		}
		before = lines()
		return before == last
	})
	f.must(p.Unpause(f.ctx, id))
	f.poll("ticks to go on", func() bool { return lines() > before })
}

// testPauseAmidStarts pauses while commands are just being started, which must hold up neither.
func testPauseAmidStarts(f *fixture) {
	p, ok := optional[container.Pauser](f)
	if !ok {
		return
	}
	id := f.running()
	for round := range 10 {
		var commands sync.WaitGroup
		for range 3 {
			commands.Go(func() {
				_, err := f.rt.Exec(f.ctx, id, []string{"true"}, container.ExecOptions{})
				if err != nil && container.ClassOf(err) != container.ErrContainerPaused {
					f.Errorf("exec: %v", err)
				}
			})
		}
		time.Sleep(time.Duration(round) * 5 * time.Millisecond) // a start takes some 50
		f.mustBePrompt("pause", func() { f.must(p.Pause(f.ctx, id)) })
		f.mustBePrompt("unpause", func() { f.must(p.Unpause(f.ctx, id)) })
		commands.Wait()
	}
}

var statsCases = []testCase{
	{"running", testStats},
	{"paused", testStatsPaused},
	{"not running", testStatsStopped},
}

func testStats(f *fixture) {
	s, ok := optional[container.StatsReader](f)
	if !ok {
		return
	}
	id := f.id("s")
	opts := f.idle()
	opts.Resources.Memory = 64 << 20
	f.start(id, opts)
	stats, err := s.Stats(f.ctx, id)
	f.must(err)
	f.equal("memory limit", stats.MemoryLimit, int64(64<<20))
	if stats.Time.IsZero() || stats.PIDs < 1 || stats.MemoryUsed < 0 || stats.CPUTotal < 0 ||
		stats.NetworkReceived < 0 || stats.NetworkSent < 0 || stats.BlockRead < 0 || stats.BlockWritten < 0 {
		f.Fatalf("stats are %+v", stats)
	}
	if !f.caps.RealProcesses {
		return
	}
	f.sh(id, "head -c 30000000 /dev/urandom > /dev/null")
	later, err := s.Stats(f.ctx, id)
	f.must(err)
	if later.CPUTotal <= stats.CPUTotal || later.MemoryUsed <= 0 || !later.Time.After(stats.Time) {
		f.Fatalf("stats after work are %+v; before %+v", later, stats)
	}
}

func testStatsPaused(f *fixture) {
	s, ok := optional[container.StatsReader](f)
	if !ok {
		return
	}
	p, ok := optional[container.Pauser](f)
	if !ok {
		return
	}
	id := f.running()
	f.must(p.Pause(f.ctx, id))
	stats, err := s.Stats(f.ctx, id)
	f.must(err)
	if stats.PIDs < 1 {
		f.Fatalf("stats are %+v", stats)
	}
}

func testStatsStopped(f *fixture) {
	s, ok := optional[container.StatsReader](f)
	if !ok {
		return
	}
	id := f.running()
	f.must(f.rt.Stop(f.ctx, id, 0))
	_, err := s.Stats(f.ctx, id)
	f.class(err, container.ErrContainerStopped)
}
