// Package mock is a container runtime in memory: a real fake for tests, and what
// --runtime=mock runs on.
//
// A [MockProvider] keeps every promise of [container.Runtime] on an [Engine] of its own making.
// Containers have honest states, files, logs, ports and processes. What runs in them is the small
// Unix of package toybox, whose shell and commands are enough for demonstrations; others are
// scripted in Go, see [Engine.Handle]. Trouble is made with [Engine.Inject], [Engine.SetDown],
// [Engine.Lose] and [Engine.Exit].
package mock

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"runtime"
	"slices"
	"time"

	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/container/mock/toybox"
	"github.com/octobot-run/octobot/internal/container/provider"
)

// MockProvider is a [container.Runtime] of one instance on an [Engine], with all of the
// optional interfaces.
type MockProvider struct {
	engine   *Engine
	instance string
	calls    *provider.Calls
}

var (
	_ container.Runtime      = (*MockProvider)(nil)
	_ container.Capable      = (*MockProvider)(nil)
	_ container.Closer       = (*MockProvider)(nil)
	_ container.Prober       = (*MockProvider)(nil)
	_ container.Watcher      = (*MockProvider)(nil)
	_ container.LogReader    = (*MockProvider)(nil)
	_ container.StreamExecer = (*MockProvider)(nil)
	_ container.Copier       = (*MockProvider)(nil)
	_ container.StatsReader  = (*MockProvider)(nil)
	_ container.Pauser       = (*MockProvider)(nil)
	_ container.Updater      = (*MockProvider)(nil)
	_ container.Topper       = (*MockProvider)(nil)
	_ container.Signaler     = (*MockProvider)(nil)
	_ container.Terminals    = (*MockProvider)(nil)
	_ container.Processes    = (*MockProvider)(nil)
	_ container.Files        = (*MockProvider)(nil)
	_ container.FileArchiver = (*MockProvider)(nil)
	_ container.FileWatcher  = (*MockProvider)(nil)
	_ container.FileSearcher = (*MockProvider)(nil)
	_ container.PortDialer   = (*MockProvider)(nil)
	_ container.OriginReader = (*MockProvider)(nil)

	_ container.StrangerKeeper = (*MockProvider)(nil)
)

// NewMockProvider makes a provider of the instance "default" on a new engine. For several
// instances, or several providers of one, use [NewEngine] and [Engine.Provider].
func NewMockProvider() *MockProvider { return NewEngine().Provider("") }

func newProvider(e *Engine, instance string) *MockProvider {
	return &MockProvider{engine: e, instance: instance, calls: provider.NewCalls()}
}

// Engine is what the provider's containers are on.
func (m *MockProvider) Engine() *Engine { return m.engine }

// Capabilities implements [container.Capable].
func (m *MockProvider) Capabilities() container.Capabilities {
	return container.Capabilities{Ports: true, KeepsFilesOnStop: true, ReportsOOM: true, UpdatesResources: true,
		KillsExec: true}
}

// refuse makes an error that call completes with the operation and the session.
func refuse(class error, format string, args ...any) error {
	return container.Errorf("", "", class, format, args...)
}

// sessionCall is the frame of a method about one session, whose other arguments check refuses, if
// it is not nil.
func (m *MockProvider) sessionCall(
	ctx context.Context, op, sessionID string, check func() error, do func(context.Context) error,
) error {
	c, err := m.calls.Begin(ctx, op, sessionID, check)
	return m.runCall(c, err, do)
}

// engineCall is the frame of a method about no one session.
func (m *MockProvider) engineCall(ctx context.Context, op string, do func(context.Context) error) error {
	c, err := m.calls.BeginEngine(ctx, op)
	return m.runCall(c, err, do)
}

// runCall does what a call is for, unless it was refused, amid the trouble that was injected.
func (m *MockProvider) runCall(c *provider.Call, refusal error, do func(context.Context) error) error {
	if refusal != nil {
		return refusal
	}
	defer c.Done()
	fault, err := m.engine.meet(c.Ctx, c.Op, c.SessionID)
	if err == nil {
		err = cmp.Or(do(c.Ctx), fault)
	}
	if _, ok := err.(*container.Error); ok || err == nil || c.Ctx.Err() != nil && errors.Is(err, c.Ctx.Err()) {
		return c.Error(err, nil)
	}
	return fmt.Errorf("%s session %q: %w", c.Op, c.SessionID, err) // a writer's or reader's own
}

// Close ends what is under way, terminals among it, and waits for it. Containers and their
// processes go on.
func (m *MockProvider) Close() error { return m.calls.Close() }

// keep has Close close a terminal, whose own Close calls m.calls.Forget.
func (m *MockProvider) keep(t io.Closer) error {
	if !m.calls.Keep(t) {
		_ = t.Close() // always nil
		return refuse(container.ErrClosed, "")
	}
	return nil
}

// own finds a container of this instance. The caller holds the engine's mutex.
func (m *MockProvider) own(sessionID string) (*box, error) {
	owns := func(b *box) bool { return b.instance == m.instance && b.c.SessionID == sessionID }
	if b, ok := m.engine.boxes[container.Name(sessionID)]; ok && owns(b) {
		return b, nil
	}
	for _, b := range m.engine.boxes { // somebody may have changed its name
		if owns(b) {
			return b, nil
		}
	}
	return nil, refuse(container.ErrContainerNotFound, "")
}

// running finds a container in which commands can be run.
func (m *MockProvider) running(sessionID string) (*toybox.System, error) {
	m.engine.mu.Lock()
	defer m.engine.mu.Unlock()
	b, err := m.ownRunning(sessionID)
	if err != nil {
		return nil, err
	}
	return b.system, nil
}

// ownRunning finds a container of this instance that runs and is not paused. The caller holds the
// engine's mutex.
func (m *MockProvider) ownRunning(sessionID string) (*box, error) {
	b, err := m.own(sessionID)
	switch {
	case err != nil:
		return nil, err
	case b.system == nil:
		return nil, refuse(container.ErrContainerStopped, "")
	case b.c.Paused:
		return nil, refuse(container.ErrContainerPaused, "")
	}
	return b, nil
}

// Create makes a container; see [container.Runtime].
func (m *MockProvider) Create(
	ctx context.Context, sessionID string, opts container.Options,
) (*container.Container, error) {
	var c container.Container
	err := m.sessionCall(ctx, "create", sessionID, opts.Validate, func(ctx context.Context) error {
		m.engine.mu.Lock()
		defer m.engine.mu.Unlock()
		name := container.Name(sessionID)
		holder, err := m.own(sessionID)
		if err != nil {
			holder = m.engine.boxes[name]
		}
		if holder != nil {
			return container.NameTaken(m.instance, &holder.c)
		}
		if m.engine.images != nil && !m.engine.images[opts.Image] {
			return refuse(container.ErrImageNotFound, "no such image: %s", opts.Image)
		}
		if own := "linux/" + runtime.GOARCH; opts.Platform != "" && opts.Platform != own {
			return refuse(container.ErrImageNotFound, "%s is there for %s, not for %s", opts.Image, own, opts.Platform)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		b := m.engine.add(name, keepOptions(opts))
		b.label(container.Labels(m.instance, sessionID, opts))
		m.engine.publish(b, container.EventCreated)
		c = b.report()
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &c, nil
}

// keepOptions copies what a container needs of its options, so that the caller may change them.
func keepOptions(o container.Options) container.Options {
	o.Cmd, o.Env, o.Binds = slices.Clone(o.Cmd), slices.Clone(o.Env), slices.Clone(o.Binds)
	o.Labels, o.PortBindings, o.Tmpfs = maps.Clone(o.Labels), maps.Clone(o.PortBindings), maps.Clone(o.Tmpfs)
	o.Credentials, o.Progress, o.Pulling, o.Program = nil, nil, nil, nil // of the create alone
	return o
}

// Start runs a container; see [container.Runtime].
func (m *MockProvider) Start(ctx context.Context, sessionID string) error {
	return m.sessionCall(ctx, "start", sessionID, nil, func(context.Context) error {
		m.engine.mu.Lock()
		defer m.engine.mu.Unlock()
		b, err := m.own(sessionID)
		if err != nil || b.system != nil {
			return err
		}
		if err := b.start(); err != nil {
			b.c.Reason = err.(*container.Error).Detail
			return err
		}
		return nil
	})
}

// Stop ends a container; see [container.Runtime].
func (m *MockProvider) Stop(ctx context.Context, sessionID string, timeout time.Duration) error {
	return m.sessionCall(ctx, "stop", sessionID, nil, func(ctx context.Context) error {
		m.engine.mu.Lock()
		b, err := m.own(sessionID)
		if err != nil || b.system == nil {
			m.engine.mu.Unlock()
			return err
		}
		system := b.system
		m.engine.mu.Unlock()
		return stop(ctx, system, timeout)
	})
}

func stop(ctx context.Context, system *toybox.System, timeout time.Duration) error {
	if timeout < 0 {
		timeout = container.DefaultStopTimeout
	}
	if timeout > 0 {
		system.Main().Signal(toybox.SIGTERM)
		timer := time.NewTimer(timeout)
		defer timer.Stop()
		select {
		case <-system.Done():
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
		}
	}
	system.Main().Signal(toybox.SIGKILL)
	select {
	case <-system.Done():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Remove removes a container; see [container.Runtime].
func (m *MockProvider) Remove(ctx context.Context, sessionID string) error {
	return m.sessionCall(ctx, "remove", sessionID, nil, func(ctx context.Context) error {
		return m.takeDown(ctx, func() (*box, error) { return m.own(sessionID) })
	})
}

// takeDown ends a container, as often as somebody starts it meanwhile, and removes it. find is
// called with the engine's mutex held.
func (m *MockProvider) takeDown(ctx context.Context, find func() (*box, error)) error {
	for {
		m.engine.mu.Lock()
		b, err := find()
		if err == nil && b.system == nil {
			delete(m.engine.boxes, b.name)
			m.engine.publish(b, container.EventRemoved)
		}
		if err != nil || b.system == nil {
			m.engine.mu.Unlock()
			return err
		}
		system := b.system
		m.engine.mu.Unlock()
		if err := stop(ctx, system, 0); err != nil {
			return err
		}
	}
}

// Get reports a container; see [container.Runtime].
func (m *MockProvider) Get(ctx context.Context, sessionID string) (*container.Container, error) {
	var c container.Container
	err := m.sessionCall(ctx, "get", sessionID, nil, func(context.Context) error {
		m.engine.mu.Lock()
		defer m.engine.mu.Unlock()
		b, err := m.own(sessionID)
		if err != nil {
			return err
		}
		c = b.report()
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &c, nil
}

// List reports this instance's containers; see [container.Runtime].
func (m *MockProvider) List(ctx context.Context) ([]*container.Container, error) {
	var list []*container.Container
	err := m.engineCall(ctx, "list", func(context.Context) error {
		m.engine.mu.Lock()
		defer m.engine.mu.Unlock()
		var boxes []*box
		for _, b := range m.engine.boxes {
			if b.instance == m.instance {
				boxes = append(boxes, b)
			}
		}
		slices.SortFunc(boxes, func(a, b *box) int { return cmp.Compare(a.serial, b.serial) })
		list = make([]*container.Container, len(boxes))
		reports := make([]container.Container, len(boxes))
		for i, b := range boxes {
			reports[i] = b.report()
			list[i] = &reports[i]
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return list, nil
}

// Probe implements [container.Prober].
func (m *MockProvider) Probe(ctx context.Context) (container.EngineInfo, error) {
	var info container.EngineInfo
	err := m.engineCall(ctx, "probe", func(context.Context) error {
		info = container.EngineInfo{
			Name: "mock", Version: "1", APIVersion: "1", Host: "memory:",
			OS: runtime.GOOS, Arch: runtime.GOARCH,
			Warnings: []string{"Sessions are simulated: their commands are scripted and nothing is isolated."},
		}
		return nil
	})
	return info, err
}

// Stats implements [container.StatsReader]. Scripted commands use no CPU time that could be
// told apart; memory is that of the container's files.
func (m *MockProvider) Stats(ctx context.Context, sessionID string) (*container.Stats, error) {
	var stats *container.Stats
	err := m.sessionCall(ctx, "stats", sessionID, nil, func(context.Context) error {
		m.engine.mu.Lock()
		defer m.engine.mu.Unlock()
		b, err := m.own(sessionID)
		if err != nil {
			return err
		}
		if b.system == nil {
			return refuse(container.ErrContainerStopped, "")
		}
		stats = &container.Stats{
			Time:        time.Now(),
			MemoryUsed:  b.files.Size(),
			MemoryLimit: b.opts.Resources.Memory,
			PIDs:        int64(b.system.Count()),
		}
		return nil
	})
	return stats, err
}

// Pause implements [container.Pauser]. Commands that run already go on; new ones are refused.
func (m *MockProvider) Pause(ctx context.Context, sessionID string) error {
	return m.setPaused(ctx, "pause", sessionID, true)
}

// Unpause implements [container.Pauser].
func (m *MockProvider) Unpause(ctx context.Context, sessionID string) error {
	return m.setPaused(ctx, "unpause", sessionID, false)
}

func (m *MockProvider) setPaused(ctx context.Context, op, sessionID string, paused bool) error {
	return m.sessionCall(ctx, op, sessionID, nil, func(context.Context) error {
		m.engine.mu.Lock()
		defer m.engine.mu.Unlock()
		b, err := m.own(sessionID)
		if err != nil {
			return err
		}
		if b.system == nil {
			return refuse(container.ErrContainerStopped, "")
		}
		b.c.Paused = paused
		return nil
	})
}
