package session

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/octobot-run/octobot/internal/container"
)

// maxLooks is how many sessions are asked about at once, beside the passes.
const maxLooks = 64

// background is work on sessions that nobody waits for: looks at one session each, and what passes
// leave behind. It lives while Run does. The zero value has yet to begin.
type background struct {
	asking chan struct{} // holds an element for each look that asks store or engine

	mu     sync.Mutex
	ctx    context.Context // of Run; nil without. Guarded by mu
	work   sync.WaitGroup  // Go is called with mu held and ctx set
	looks  map[string]bool // by the session that is being looked at: whether once more. Guarded by mu
	passes map[*work]bool  // what passes have begun and is not done; guarded by mu
}

// begin lets work be done until ctx ends; wait is called then.
func (b *background) begin(ctx context.Context) (wait func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ctx, b.asking = ctx, make(chan struct{}, maxLooks)
	b.looks, b.passes = make(map[string]bool), make(map[*work]bool)
	return func() {
		b.mu.Lock()
		b.ctx = nil
		b.mu.Unlock()
		b.work.Wait()
	}
}

// start has f called, with a ctx that ends when Run is to return; false where Run does not run.
func (b *background) start(f func(ctx context.Context)) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ctx == nil || b.ctx.Err() != nil {
		return false
	}
	ctx := b.ctx
	b.work.Go(func() { f(ctx) })
	return true
}

// hintSession has one session looked at now, where Run runs: else the first pass does. A session
// that is looked at already is so again, a little later.
func (s *ContainerService) hintSession(id string) {
	b := &s.background
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ctx == nil || b.ctx.Err() != nil {
		return
	}
	if _, looking := b.looks[id]; looking {
		b.looks[id] = true
		return
	}
	b.looks[id] = false
	ctx := b.ctx
	b.work.Go(func() { s.lookUntilSettled(ctx, id) })
}

// lookUntilSettled looks at a session, and again as long as there are hints meanwhile, or a look
// met a change.
func (s *ContainerService) lookUntilSettled(ctx context.Context, id string) {
	b := &s.background
	for {
		missed, err := s.lookAt(ctx, id)
		if err != nil && ctx.Err() == nil {
			s.hintReconcile() // passes try again until all is well
		}
		select {
		case <-ctx.Done():
		case <-time.After(minSpacing):
		}
		b.mu.Lock()
		if !missed && !b.looks[id] || ctx.Err() != nil {
			delete(b.looks, id)
			b.mu.Unlock()
			return
		}
		b.looks[id] = false
		b.mu.Unlock()
	}
}

// lookAt does for one session what a pass does for all, with what the engine says of its container
// alone. Containers without a session are left to passes. missed tells that the session changed
// meanwhile, so that nothing was done about what was seen.
func (s *ContainerService) lookAt(ctx context.Context, id string) (missed bool, err error) {
	if err := container.ValidateSessionID(id); err != nil {
		return false, nil // of whoever labels containers so
	}
	// Who works on it may have caused the hint, and sees to it.
	unlock, err := s.locks.Lock(ctx, id)
	if err != nil {
		return false, err
	}
	unlock()
	p, err := s.planOneSession(ctx, id)
	if err != nil || p.Action == ActionKeep || p.Action == ActionHold {
		return false, err
	}
	fate, err := s.performPlanned(ctx, p, limits{})
	return fate.Action == ActionSkip, err
}

// planOneSession asks about a session, without its lock: nobody is to wait for an engine that hangs
// where there is nothing to be done. What is to be done is decided again under the lock.
func (s *ContainerService) planOneSession(ctx context.Context, id string) (planned, error) {
	nothing := planned{Fate: Fate{SessionID: id, Action: ActionKeep}}
	select {
	case s.background.asking <- struct{}{}:
		defer func() { <-s.background.asking }()
	case <-ctx.Done():
		return nothing, ctx.Err()
	}
	sess, err := s.store.get(ctx, id)
	switch {
	case errors.Is(err, ErrNotFound), err == nil && !sess.ClosedAt.IsZero():
		return nothing, nil
	case err != nil:
		return nothing, err
	}
	c, err := s.inspectContainer(ctx, id)
	if err != nil {
		return nothing, err
	}
	var found []*container.Container
	if c != nil {
		found = append(found, c)
	}
	p := planSession(sess, pickContainer(sess, found), s.momentOf(id), s.expiring.has(id))
	s.expiring.note(p)
	return p, nil
}

// patience is how long a pass waits for what it does about a session. A graceful stop or a pull may
// take longer, and an engine may hang with one container and answer about all others.
const patience = 2 * time.Second

// work is what a pass does about a session.
type work struct {
	planned
	done chan struct{} // closed when the rest is set
	fate Fate
	err  error
}

// performPatiently is performPlanned, where Run does not run. Where it does, what takes long goes
// on by itself, with the session's lock, so that other passes leave it alone; it may not be done
// yet then.
func (s *ContainerService) performPatiently(ctx context.Context, p planned, l limits) *work {
	w := &work{planned: p, done: make(chan struct{})}
	detached := make(chan func() bool, 1)
	started := s.background.start(func(life context.Context) {
		own, cancel := context.WithCancel(life)
		defer cancel()
		detached <- context.AfterFunc(ctx, cancel)
		s.background.perform(w, func() { w.fate, w.err = s.performPlanned(own, p, l) })
	})
	if !started {
		w.fate, w.err = s.performPlanned(ctx, p, l)
		close(w.done)
		return w
	}
	detach := <-detached
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-w.done:
		detach()
	case <-timer.C:
		if !detach() { // the pass has ended, and with it this
			<-w.done
		}
	}
	return w
}

// perform does work, which awaitPasses waits for.
func (b *background) perform(w *work, do func()) {
	b.mu.Lock()
	b.passes[w] = true
	b.mu.Unlock()
	do()
	close(w.done)
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.passes, w)
}

// awaitPasses waits for what passes have begun until now.
func (b *background) awaitPasses(ctx context.Context) {
	b.mu.Lock()
	begun := slices.Collect(maps.Keys(b.passes))
	b.mu.Unlock()
	for _, w := range begun {
		w.await(ctx)
	}
}

func (w *work) await(ctx context.Context) {
	select {
	case <-w.done:
	case <-ctx.Done():
	}
}

// outcome gives what became of it until now.
func (w *work) outcome() (Fate, error) {
	select {
	case <-w.done:
		return w.fate, w.err
	default:
		fate := w.planned.Fate
		fate.Action = ActionSkip
		fate.Reason += "; that takes long, and goes on by itself"
		return fate, nil
	}
}
