package containertest

import (
	"context"
	"errors"
	"time"

	"github.com/octobot-run/octobot/internal/container"
)

var cancelCases = []testCase{
	{"before the call", testCancelledBefore},
	{"deadline before the call", testDeadlineBefore},
	{"mid-create", testCancelMidCreate},
	{"stop", testCancelStop},
	{"stop, then stop", testCancelStopStop},
}

// testCancelledBefore: a ctx that has ended has no side effect.
func testCancelledBefore(f *fixture) {
	running, created := f.running(), f.id("created")
	f.create(created, f.idle())
	live := f.ctx
	cancelled, cancel := context.WithCancel(live)
	cancel()

	f.ctx = cancelled
	for _, id := range []string{running, created, f.id("missing")} {
		f.each(f.everyCall(f.rt, id), context.Canceled)
	}
	_, err := f.rt.Create(f.ctx, f.id("new"), f.idle())
	f.class(err, context.Canceled)
	_, err = f.rt.List(f.ctx)
	f.class(err, context.Canceled)
	if w, ok := optional[container.Watcher](f); ok {
		_, err = w.Watch(f.ctx)
		f.class(err, context.Canceled)
	}

	f.ctx = live
	f.equal("status", f.get(running).Status, container.StatusRunning)
	f.equal("status", f.get(created).Status, container.StatusCreated)
	f.equal("containers of the new session", f.count(f.id("new")), 0)
}

func testDeadlineBefore(f *fixture) {
	ctx, cancel := context.WithDeadline(f.ctx, time.Now().Add(-time.Second))
	defer cancel()
	_, err := f.rt.Create(ctx, f.id("s"), f.idle())
	f.class(err, context.DeadlineExceeded)
	f.equal("containers left", f.count(f.id("s")), 0)
}

// testCancelMidCreate: whatever moment the caller leaves at, there is either the container
// that Create returned, or, once the provider has closed, none.
func testCancelMidCreate(f *fixture) {
	rt := f.h.New(f.T, f.instance)
	made := make(map[string]bool)
	for i, after := range []time.Duration{0, 1, 2, 5, 10, 20, 40, 60, 80, 120} {
		id := f.id(string(rune('a' + i)))
		ctx, cancel := context.WithCancel(f.ctx)
		timer := time.AfterFunc(after*time.Millisecond, cancel)
		_, err := rt.Create(ctx, id, f.idle())
		timer.Stop()
		cancel()
		made[id] = err == nil
		if err != nil {
			f.class(err, context.Canceled)
		}
	}
	closeRuntime(f.T, rt)
	for id, want := range made {
		if got := f.count(id) == 1; got != want {
			f.Errorf("session %s: container there: %t; want %t", id, got, want)
		}
	}
}

// leaveStop makes a container whose main process ignores the signal, and leaves a stop that
// would wait for it.
func (f *fixture) leaveStop() (id string) {
	f.Helper()
	id = f.id("s")
	f.start(id, f.script(stubborn))
	f.awaitReady(id)
	ctx, cancel := context.WithTimeout(f.ctx, 300*time.Millisecond)
	defer cancel()
	f.mustBePrompt("stop", func() {
		err := f.rt.Stop(ctx, id, time.Hour)
		f.class(err, context.DeadlineExceeded)
	})
	return id
}

func testCancelStop(f *fixture) {
	id := f.leaveStop()
	if _, err := f.rt.Get(f.ctx, id); err != nil && !errors.Is(err, container.ErrContainerNotFound) {
		f.Fatal(err)
	}
	f.mustBePrompt("remove", func() { f.must(f.rt.Remove(f.ctx, id)) })
}

// testCancelStopStop: a stop that was left, and may go on in the engine, is not in the way of a
// quicker one.
func testCancelStopStop(f *fixture) {
	id := f.leaveStop()
	f.mustBePrompt("stop", func() { f.must(f.rt.Stop(f.ctx, id, time.Second)) })
	c := f.get(id)
	f.equal("status", c.Status, container.StatusStopped)
	f.equal("exit code", c.ExitCode, 137)
	f.must(f.rt.Start(f.ctx, id))
	f.equal("status", f.get(id).Status, container.StatusRunning)
}
