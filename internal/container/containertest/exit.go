package containertest

import (
	"time"

	"github.com/octobot-run/octobot/internal/container"
)

var exitCases = []testCase{
	{"code", testExitCode},
	{"zero", testExitZero},
	{"signal", testExitSignal},
	{"stop", testExitStop},
	{"stop now", testExitStopNow},
	{"stop escalates", testStopEscalates},
	{"out of memory", testExitOOM},
	{"start again", testExitStartAgain},
	{"command missing", testMainMissing},
}

// stubborn is a main process that does not end for SIGTERM, and says when it is ready.
const stubborn = `trap "" TERM; echo > /tmp/ready; sleep 3600; sleep 3600`

// awaitReady waits until the container's script has made /tmp/ready.
func (f *fixture) awaitReady(id string) {
	f.Helper()
	f.poll("the script to be ready", func() bool {
		return f.exec(id, container.ExecOptions{}, "cat", "/tmp/ready").ExitCode == 0
	})
}

func testExitCode(f *fixture) {
	id := f.id("s")
	f.create(id, f.script("exit 7"))
	f.must(f.rt.Start(f.ctx, id))
	c := f.stopped(id)
	f.equal("exit code", c.ExitCode, 7)
	f.equal("out of memory", c.OOMKilled, false)
	// An engine may note the start of what ends at once a moment after its end.
	if c.FinishedAt.IsZero() || c.FinishedAt.Before(c.StartedAt.Add(-time.Second)) {
		f.Fatalf("started %v, finished %v", c.StartedAt, c.FinishedAt)
	}
}

func testExitZero(f *fixture) {
	id := f.id("s")
	f.create(id, f.script("true"))
	f.must(f.rt.Start(f.ctx, id))
	f.equal("exit code", f.stopped(id).ExitCode, 0)
}

func testExitSignal(f *fixture) {
	id := f.id("s")
	f.create(id, f.script("kill -9 $$; sleep 3600"))
	f.must(f.rt.Start(f.ctx, id))
	f.equal("exit code", f.stopped(id).ExitCode, 137)
}

func testExitStop(f *fixture) {
	id := f.running()
	f.mustBePrompt("stop", func() { f.must(f.rt.Stop(f.ctx, id, time.Hour)) })
	c := f.get(id)
	f.equal("status", c.Status, container.StatusStopped)
	f.equal("exit code", c.ExitCode, 143)
}

func testExitStopNow(f *fixture) {
	id := f.running() // which would heed the stop signal
	f.mustBePrompt("stop", func() { f.must(f.rt.Stop(f.ctx, id, 0)) })
	c := f.get(id)
	f.equal("status", c.Status, container.StatusStopped)
	f.equal("exit code", c.ExitCode, 137)
}

func testStopEscalates(f *fixture) {
	id := f.id("s")
	f.start(id, f.script(stubborn))
	f.awaitReady(id)
	start := time.Now()
	f.mustBePrompt("stop", func() { f.must(f.rt.Stop(f.ctx, id, time.Second)) })
	if took := time.Since(start); took < 900*time.Millisecond {
		f.Fatalf("SIGKILL came after %v", took)
	}
	c := f.get(id)
	f.equal("status", c.Status, container.StatusStopped)
	f.equal("exit code", c.ExitCode, 137)
}

func testExitOOM(f *fixture) {
	if !f.caps.ReportsOOM || !f.caps.EnforcesResources {
		return
	}
	id := f.id("s")
	opts := container.Options{Image: f.h.Image, Cmd: []string{"tail", "/dev/zero"}}
	opts.Resources.Memory = 16 << 20
	f.create(id, opts)
	f.must(f.rt.Start(f.ctx, id))
	c := f.stopped(id)
	f.equal("exit code", c.ExitCode, 137)
	f.equal("out of memory", c.OOMKilled, true)
}

// testExitStartAgain: the end of the last run is no property of the next.
func testExitStartAgain(f *fixture) {
	id := f.id("s")
	f.create(id, f.script(`cat /tmp/again && sleep 3600; echo > /tmp/again; exit 9`))
	f.must(f.rt.Start(f.ctx, id))
	first := f.stopped(id)
	f.equal("exit code", first.ExitCode, 9)
	if !f.caps.KeepsFilesOnStop {
		return
	}
	f.must(f.rt.Start(f.ctx, id))
	c := f.get(id)
	f.equal("status", c.Status, container.StatusRunning)
	if !c.FinishedAt.IsZero() && !c.FinishedAt.Before(c.StartedAt) {
		f.Fatalf("started %v, finished %v", c.StartedAt, c.FinishedAt)
	}
	if !c.StartedAt.After(first.StartedAt) {
		f.Fatalf("started %v, and again %v", first.StartedAt, c.StartedAt)
	}
}

// testMainMissing: a main process that can't be executed is told by Start, and leaves
// the container as it was.
func testMainMissing(f *fixture) {
	id := f.id("s")
	opts := f.idle()
	opts.Cmd = []string{"/no/such/program"}
	f.create(id, opts)
	f.class(f.rt.Start(f.ctx, id), container.ErrExecFailed)
	c := f.get(id)
	if c.Status == container.StatusRunning {
		f.Fatal("a container without a process runs")
	}
	f.equal("address", c.Address, "")
	f.must(f.rt.Remove(f.ctx, id))
}
