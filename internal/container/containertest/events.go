package containertest

import (
	"context"

	"github.com/octobot-run/octobot/internal/container"
)

var eventCases = []testCase{
	{"life", testEvents},
	{"only this instance", testEventsInstance},
	{"channel closes with ctx", testEventsClose},
	{"channel closes with the runtime", testEventsRuntimeClose},
}

// awaitEvents reads until the kinds have come, in that order; others may come between.
func (f *fixture) awaitEvents(events <-chan container.Event, id string, kinds ...string) {
	f.Helper()
	for len(kinds) > 0 {
		select {
		case e, ok := <-events:
			if !ok {
				f.Fatalf("the channel closed before %v", kinds)
			}
			f.equal("event's session", e.SessionID, id)
			if e.ContainerID == "" || e.Time.IsZero() {
				f.Fatalf("incomplete event %+v", e)
			}
			if e.Kind == kinds[0] {
				kinds = kinds[1:]
			}
		case <-f.ctx.Done():
			f.Fatalf("no event %v", kinds)
		}
	}
}

func testEvents(f *fixture) {
	w, ok := optional[container.Watcher](f)
	if !ok {
		return
	}
	events, err := w.Watch(f.ctx)
	f.must(err)
	id := f.running()
	f.must(f.rt.Stop(f.ctx, id, 0))
	f.must(f.rt.Start(f.ctx, id))
	f.must(f.rt.Remove(f.ctx, id))
	f.awaitEvents(events, id, container.EventCreated, container.EventStarted, container.EventStopped,
		container.EventStarted, container.EventStopped, container.EventRemoved)
}

func testEventsInstance(f *fixture) {
	w, ok := optional[container.Watcher](f)
	if !ok {
		return
	}
	events, err := w.Watch(f.ctx)
	f.must(err)
	other := f.open(f.instance + "-other")
	elsewhere := f.id("elsewhere")
	_, err = other.Create(f.ctx, elsewhere, f.idle())
	f.must(err)
	f.must(other.Remove(f.ctx, elsewhere))

	id := f.id("s")
	f.create(id, f.idle())
	// awaitEvents fails on any other session's event, and those would have come before.
	f.awaitEvents(events, id, container.EventCreated)
}

// awaitClosed drains a channel until it closes.
func (f *fixture) awaitClosed(events <-chan container.Event) {
	f.Helper()
	for {
		select {
		case _, ok := <-events:
			if !ok {
				return
			}
		case <-f.ctx.Done():
			f.Fatal("the channel does not close")
		}
	}
}

func testEventsClose(f *fixture) {
	w, ok := optional[container.Watcher](f)
	if !ok {
		return
	}
	ctx, cancel := context.WithCancel(f.ctx)
	events, err := w.Watch(ctx)
	f.must(err)
	cancel()
	f.awaitClosed(events)
}

func testEventsRuntimeClose(f *fixture) {
	w, ok := optional[container.Watcher](f)
	if !ok {
		return
	}
	events, err := w.Watch(f.ctx)
	f.must(err)
	closeRuntime(f.T, f.rt)
	f.awaitClosed(events)
}
