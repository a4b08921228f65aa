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
	"maps"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/container/mock/toybox"
)

// MockProvider is a [container.Runtime] of one instance on an [Engine], with all of the
// optional interfaces.
type MockProvider struct {
	engine   *Engine
	instance string

	ctx   context.Context // ends with Close
	close context.CancelFunc

	mu     sync.Mutex
	closed bool
	calls  sync.WaitGroup
	ptys   map[*pty]bool
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
)

// NewMockProvider makes a provider of the instance "default" on a new engine. For several
// instances, or several providers of one, use [NewEngine] and [Engine.Provider].
func NewMockProvider() *MockProvider { return NewEngine().Provider("") }

func newProvider(e *Engine, instance string) *MockProvider {
	m := &MockProvider{engine: e, instance: instance, ptys: make(map[*pty]bool)}
	m.ctx, m.close = context.WithCancel(context.Background())
	return m
}

// Engine is what the provider's containers are on.
func (m *MockProvider) Engine() *Engine { return m.engine }

// Capabilities implements [container.Capable].
func (m *MockProvider) Capabilities() container.Capabilities {
	return container.Capabilities{Ports: true, KeepsFilesOnStop: true, ReportsOOM: true, KillsExec: true}
}

// refuse makes an error that call completes with the operation and the session.
func refuse(class error, format string, args ...any) error {
	return container.Errorf("", "", class, format, args...)
}

// call is the frame of every method: what holds before the engine is asked, the trouble that
// was injected, and the operation and the session in every error.
func (m *MockProvider) call(
	ctx context.Context, op, sessionID string, invalid error, do func(context.Context) error,
) error {
	err := m.enter(ctx, op, sessionID, invalid, do)
	if err == nil {
		return nil
	}
	e, ok := err.(*container.Error)
	switch {
	case ok:
	case m.ctx.Err() != nil:
		e = &container.Error{Class: container.ErrClosed}
	case ctx.Err() != nil && errors.Is(err, ctx.Err()):
		e = &container.Error{Class: ctx.Err()}
	default: // a writer's or reader's own
		return fmt.Errorf("%s session %q: %w", op, sessionID, err)
	}
	return &container.Error{Op: op, SessionID: sessionID, Class: e.Class, Detail: e.Detail}
}

func (m *MockProvider) enter(
	ctx context.Context, op, sessionID string, invalid error, do func(context.Context) error,
) error {
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return refuse(container.ErrClosed, "")
	}
	m.calls.Add(1)
	m.mu.Unlock()
	defer m.calls.Done()

	if err := ctx.Err(); err != nil {
		return err
	}
	if invalid != nil {
		return refuse(container.ErrInvalidArgument, "%v", invalid)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(m.ctx, cancel)
	defer stop()

	fault, err := m.engine.meet(ctx, op, sessionID)
	if err != nil {
		return err
	}
	if err := do(ctx); err != nil {
		return err
	}
	return fault
}

// validate checks a session's ID before what else there is to check.
func validate(sessionID string, invalid error) error {
	if err := container.ValidateSessionID(sessionID); err != nil {
		return err
	}
	return invalid
}

// session is call for a method that is about one session.
func (m *MockProvider) session(ctx context.Context, op, sessionID string, do func(context.Context) error) error {
	return m.call(ctx, op, sessionID, validate(sessionID, nil), do)
}

// Close ends what is under way, terminals among it, and waits for it. Containers and their
// processes go on.
func (m *MockProvider) Close() error {
	m.mu.Lock()
	m.closed = true
	ptys := m.ptys
	m.ptys = nil
	m.mu.Unlock()
	m.close()
	for p := range ptys {
		_ = p.Close() // always nil
	}
	m.calls.Wait()
	return nil
}

// keep remembers a terminal, for Close.
func (m *MockProvider) keep(p *pty) error {
	p.forget = func(p *pty) {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.ptys, p)
	}
	m.mu.Lock()
	closed := m.closed
	if !closed {
		m.ptys[p] = true
	}
	m.mu.Unlock()
	if closed {
		_ = p.Close() // always nil
		return refuse(container.ErrClosed, "")
	}
	return nil
}

// own finds a container of this instance. The caller holds the engine's mutex.
func (m *MockProvider) own(sessionID string) (*box, error) {
	b, ok := m.engine.boxes[container.Name(sessionID)]
	if !ok || b.instance != m.instance || b.c.SessionID != sessionID {
		return nil, refuse(container.ErrContainerNotFound, "")
	}
	return b, nil
}

// running finds a container in which commands can be run.
func (m *MockProvider) running(sessionID string) (*toybox.System, error) {
	m.engine.mu.Lock()
	defer m.engine.mu.Unlock()
	b, err := m.own(sessionID)
	switch {
	case err != nil:
		return nil, err
	case b.system == nil:
		return nil, refuse(container.ErrContainerStopped, "")
	case b.c.Paused:
		return nil, refuse(container.ErrContainerStopped, "it is paused")
	}
	return b.system, nil
}

// Create makes a container; see [container.Runtime].
func (m *MockProvider) Create(
	ctx context.Context, sessionID string, opts container.Options,
) (*container.Container, error) {
	var c container.Container
	err := m.call(ctx, "create", sessionID, validate(sessionID, opts.Validate()), func(ctx context.Context) error {
		m.engine.mu.Lock()
		defer m.engine.mu.Unlock()
		name := container.Name(sessionID)
		if _, taken := m.engine.boxes[name]; taken {
			return refuse(container.ErrContainerExists, "")
		}
		if m.engine.images != nil && !m.engine.images[opts.Image] {
			return refuse(container.ErrImageNotFound, "no such image: %s", opts.Image)
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
	return container.Options{
		Image: o.Image, Cmd: slices.Clone(o.Cmd), Env: slices.Clone(o.Env),
		NetworkMode: o.NetworkMode, PortBindings: maps.Clone(o.PortBindings), Tty: o.Tty, WorkingDir: o.WorkingDir,
		User: o.User, Resources: o.Resources,
		ReadOnly: o.ReadOnly, Tmpfs: maps.Clone(o.Tmpfs),
	}
}

// Start runs a container; see [container.Runtime].
func (m *MockProvider) Start(ctx context.Context, sessionID string) error {
	return m.session(ctx, "start", sessionID, func(context.Context) error {
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
	return m.session(ctx, "stop", sessionID, func(ctx context.Context) error {
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
	return m.session(ctx, "remove", sessionID, func(ctx context.Context) error {
		return m.takeDown(ctx, sessionID)
	})
}

// takeDown ends a container, as often as somebody starts it meanwhile, and removes it.
func (m *MockProvider) takeDown(ctx context.Context, sessionID string) error {
	for {
		m.engine.mu.Lock()
		b, err := m.own(sessionID)
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
	err := m.session(ctx, "get", sessionID, func(context.Context) error {
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
	err := m.call(ctx, "list", "", nil, func(context.Context) error {
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
	err := m.call(ctx, "probe", "", nil, func(context.Context) error {
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
	err := m.session(ctx, "stats", sessionID, func(context.Context) error {
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
	return m.session(ctx, op, sessionID, func(context.Context) error {
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
