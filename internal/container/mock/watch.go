package mock

import (
	"context"
	"time"

	"github.com/octobot-run/octobot/internal/container"
)

// watchBuffer bounds the events that a watcher is behind with; the stream of one that is
// further behind breaks.
const watchBuffer = 1024

// watcher is a subscription. The engine's mutex guards it.
type watcher struct {
	instance string
	events   chan container.Event
}

// Watch implements [container.Watcher].
func (m *MockProvider) Watch(ctx context.Context) (<-chan container.Event, error) {
	w := &watcher{instance: m.instance, events: make(chan container.Event, watchBuffer)}
	err := m.engineCall(ctx, "watch", func(context.Context) error {
		m.engine.mu.Lock()
		defer m.engine.mu.Unlock()
		m.engine.watchers[w] = true
		return nil
	})
	if err != nil {
		m.engine.mu.Lock()
		defer m.engine.mu.Unlock()
		m.engine.unwatch(w)
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(m.calls.Life(), cancel)
	context.AfterFunc(ctx, func() {
		stop()
		m.engine.mu.Lock()
		defer m.engine.mu.Unlock()
		m.engine.unwatch(w)
	})
	return w.events, nil
}

// unwatch ends a subscription. The caller holds the engine's mutex.
func (e *Engine) unwatch(w *watcher) {
	if e.watchers[w] {
		delete(e.watchers, w)
		close(w.events)
	}
}

// publish tells the watchers of a container's instance. The caller holds the engine's mutex.
func (e *Engine) publish(b *box, kind string) {
	for w := range e.watchers {
		if b.instance != w.instance {
			continue
		}
		select {
		case w.events <- container.Event{SessionID: b.c.SessionID, ContainerID: b.c.ID, Kind: kind, Time: time.Now()}:
		default:
			e.unwatch(w)
		}
	}
}
