package mock

import (
	"context"
	"crypto/rand"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/container/mock/toybox"
)

const (
	maxTerminals = 64
	// keepEnded is how long a terminal that has ended is kept for viewers that come back.
	keepEnded = 10 * time.Minute
)

// OpenTerminal implements [container.Terminals].
func (m *MockProvider) OpenTerminal(
	ctx context.Context, sessionID string, opts container.TerminalOptions,
) (container.Terminal, error) {
	var v *viewer
	err := m.sessionCall(ctx, "openterminal", sessionID, opts.Validate, func(context.Context) error {
		kept, err := m.terminalsOf(sessionID)
		if err != nil {
			return err
		}
		opened := &viewer{
			sessionID: sessionID, forget: m.calls.Forget, readOnly: opts.ReadOnly, rows: opts.Rows, cols: opts.Cols,
		}
		opened.life, opened.leave = context.WithCancel(context.Background())
		if err := kept.open(opened, opts); err != nil {
			opened.leave()
			return err
		}
		v = opened
		return m.keep(v)
	})
	if err != nil {
		if v != nil { // the answer was lost
			_ = v.Close() // always nil
		}
		return nil, err
	}
	return v, nil
}

// ListTerminals implements [container.Terminals].
func (m *MockProvider) ListTerminals(ctx context.Context, sessionID string) ([]container.TerminalInfo, error) {
	var list []container.TerminalInfo
	err := m.sessionCall(ctx, "listterminals", sessionID, nil, func(context.Context) error {
		kept, err := m.terminalsOf(sessionID)
		if err != nil {
			return err
		}
		list = kept.list()
		return nil
	})
	if err != nil {
		return nil, err
	}
	return list, nil
}

// EndTerminal implements [container.Terminals].
func (m *MockProvider) EndTerminal(ctx context.Context, sessionID, name string) error {
	return m.sessionCall(ctx, "endterminal", sessionID, func() error { return container.ValidateTerminalName(name) },
		func(ctx context.Context) error {
			kept, err := m.terminalsOf(sessionID)
			if err != nil {
				return err
			}
			return kept.end(ctx, name)
		})
}

// terminalsOf finds what keeps terminals in a container that runs.
func (m *MockProvider) terminalsOf(sessionID string) (*terminals, error) {
	m.engine.mu.Lock()
	defer m.engine.mu.Unlock()
	b, err := m.ownRunning(sessionID)
	if err != nil {
		return nil, err
	}
	return b.kept, nil
}

// terminals are those of one run of a container. Its mutex may be held when a terminal's is taken,
// never the other way about.
type terminals struct {
	system *toybox.System
	work   sync.WaitGroup // of the terminals' goroutines

	mu     sync.Mutex
	kept   []*terminal // in the order of their making
	closed bool
}

func newTerminals(system *toybox.System) *terminals { return &terminals{system: system} }

// open connects a viewer with the terminal that opts name, which is made where need be.
func (r *terminals) open(v *viewer, opts container.TerminalOptions) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return refuse(container.ErrContainerStopped, "")
	}
	t := r.named(opts.Name)
	switch {
	case t == nil && (opts.ID != "" || opts.ReadOnly):
		return noTerminal(opts.Name)
	case t == nil:
		return r.make(v, opts)
	case opts.ID != "" && opts.ID != t.id:
		return refuse(container.ErrTerminalNotFound, "the terminal %q is another one now", opts.Name)
	case opts.ID != "" || opts.ReadOnly:
		return t.join(v, opts)
	}
	if _, ended := t.over(); ended {
		return r.make(v, opts)
	}
	if opts.New {
		return refuse(container.ErrTerminalExists, "%q", opts.Name)
	}
	return t.join(v, opts)
}

// make makes a terminal, in place of one of its name that has ended. The caller holds mu.
func (r *terminals) make(v *viewer, opts container.TerminalOptions) error {
	before := r.kept
	r.kept = slices.DeleteFunc(slices.Clone(before), func(t *terminal) bool { return t.name == opts.Name })
	if len(r.kept) >= maxTerminals && !r.evict() {
		return refuse(container.ErrLimitReached, "there are %d terminals, and no more may be; end one first",
			maxTerminals)
	}
	t, err := r.start(v, opts)
	if err != nil {
		r.kept = before
		return err
	}
	r.kept = append(r.kept, t)
	return nil
}

// evict forgets the terminal that has ended first, if any has. The caller holds mu.
func (r *terminals) evict() bool {
	first, when := -1, time.Time{}
	for i, t := range r.kept {
		if at, ended := t.over(); ended && (first < 0 || at.Before(when)) {
			first, when = i, at
		}
	}
	if first < 0 {
		return false
	}
	r.kept = slices.Delete(r.kept, first, first+1)
	return true
}

// named finds a terminal; nil where there is none. The caller holds mu.
func (r *terminals) named(name string) *terminal {
	r.forgetOld()
	i := slices.IndexFunc(r.kept, func(t *terminal) bool { return t.name == name })
	if i < 0 {
		return nil
	}
	return r.kept[i]
}

// forgetOld forgets what ended long ago. The caller holds mu.
func (r *terminals) forgetOld() {
	r.kept = slices.DeleteFunc(r.kept, func(t *terminal) bool {
		at, ended := t.over()
		return ended && time.Since(at) >= keepEnded
	})
}

func (r *terminals) list() []container.TerminalInfo {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forgetOld()
	list := make([]container.TerminalInfo, len(r.kept))
	for i, t := range r.kept {
		list[i] = t.info()
	}
	return list
}

// end hangs a terminal up, waits for its command and forgets it.
func (r *terminals) end(ctx context.Context, name string) error {
	r.mu.Lock()
	t := r.named(name)
	r.mu.Unlock()
	if t == nil {
		return noTerminal(name)
	}
	t.hangUp()
	select {
	case <-t.done:
	case <-ctx.Done():
		return ctx.Err()
	}
	r.forget(t)
	return nil
}

func (r *terminals) forget(t *terminal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.kept = slices.DeleteFunc(r.kept, func(u *terminal) bool { return u == t })
}

// close waits until the terminals have ended, whose processes all have.
func (r *terminals) close() {
	r.mu.Lock()
	r.closed = true
	kept := r.kept
	r.kept = nil
	r.mu.Unlock()
	for _, t := range kept {
		t.release()
	}
	r.work.Wait()
}

func noTerminal(name string) error {
	return refuse(container.ErrTerminalNotFound, "there is no terminal %q", name)
}

func newTerminalID() string { return strings.ToLower(rand.Text()[:16]) }
