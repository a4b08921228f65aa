package containertest

import (
	"time"

	"github.com/octobot-run/octobot/internal/container"
)

var signalCases = []testCase{
	{"ends the main process", testSignal},
	{"is heeded", testSignalHeeded},
	{"amid a stop", testSignalAmidStop},
}

func testSignal(f *fixture) {
	s, ok := optional[container.Signaler](f)
	if !ok {
		return
	}
	id := f.id("s")
	f.class(s.Signal(f.ctx, id, 9), container.ErrContainerNotFound)
	f.create(id, f.idle())
	f.class(s.Signal(f.ctx, id, 9), container.ErrContainerStopped)
	f.must(f.rt.Start(f.ctx, id))
	for _, none := range []int{-1, 0, 65} {
		f.class(s.Signal(f.ctx, id, none), container.ErrInvalidArgument, none)
	}
	f.must(s.Signal(f.ctx, id, 28)) // SIGWINCH, which ends nothing
	f.equal("status", f.get(id).Status, container.StatusRunning)
	if p, ok := container.As[container.Pauser](f.rt); ok {
		f.must(p.Pause(f.ctx, id))
		for _, signal := range []int{28, 9} {
			f.class(s.Signal(f.ctx, id, signal), container.ErrContainerPaused, signal)
		}
		f.equal("paused", f.get(id).Paused, true)
		f.must(p.Unpause(f.ctx, id))
	}
	f.mustBePrompt("SIGKILL", func() { f.must(s.Signal(f.ctx, id, 9)) })
	c := f.get(id)
	f.equal("status", c.Status, container.StatusStopped)
	f.equal("exit code", c.ExitCode, 137)
	f.class(s.Signal(f.ctx, id, 9), container.ErrContainerStopped)
	f.must(f.rt.Start(f.ctx, id))
	f.equal("status", f.get(id).Status, container.StatusRunning)
}

// testSignalHeeded: what the main process does about a signal is its own business.
func testSignalHeeded(f *fixture) {
	s, ok := optional[container.Signaler](f)
	if !ok || !f.caps.RealProcesses {
		return
	}
	id := f.id("s")
	f.start(id, f.script(`trap "exit 7" USR1; echo > /tmp/ready; while :; do sleep 0.05; done`))
	f.awaitReady(id)
	f.must(s.Signal(f.ctx, id, 10))
	f.equal("exit code", f.stopped(id).ExitCode, 7)
}

// testSignalAmidStop: a stop that waits for the main process is no reason to wait.
func testSignalAmidStop(f *fixture) {
	s, ok := optional[container.Signaler](f)
	if !ok {
		return
	}
	id := f.id("s")
	f.start(id, f.script(stubborn))
	f.awaitReady(id)
	stopped := make(chan error, 1)
	go func() { stopped <- f.rt.Stop(f.ctx, id, time.Minute) }()
	select {
	case err := <-stopped:
		f.Fatalf("a stubborn process was stopped: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	f.mustBePrompt("SIGKILL", func() {
		f.must(s.Signal(f.ctx, id, 9))
		f.must(<-stopped)
	})
	f.equal("exit code", f.get(id).ExitCode, 137)
}
