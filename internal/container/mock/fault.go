package mock

import (
	"context"
	"slices"

	"github.com/octobot-run/octobot/internal/container"
)

// Fault is trouble that calls of providers meet.
type Fault struct {
	Op        string // the method in lower case: "create", "exec"; empty for any
	SessionID string // empty for any
	// Nth says which of the matching calls meets it, 1 the first after Inject; 0 for each.
	Nth int
	// Wait holds the call up until it is closed, or the call's ctx or the provider ends.
	Wait <-chan struct{}
	// Err is the class of error that the call gives; nil for none.
	Err error
	// Done lets the engine do the work first: only its answer is lost.
	Done bool

	met int
}

// Inject makes trouble until remove is called.
func (e *Engine) Inject(f Fault) (remove func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	fault := &f
	e.faults = append(e.faults, fault)
	return func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.faults = slices.DeleteFunc(e.faults, func(g *Fault) bool { return g == fault })
	}
}

// SetDown lets the engine answer no call at all, with [container.ErrUnavailable], or answer
// again. Its containers go on meanwhile; its event streams break.
func (e *Engine) SetDown(down bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.down = down
	if down {
		for w := range e.watchers {
			e.unwatch(w)
		}
	}
}

// Calls tells how often providers have asked the engine for an operation ("create", "exec"; empty
// for any), calls that were refused beforehand apart. A call that a Fault holds up is counted.
func (e *Engine) Calls(op string) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	if op != "" {
		return e.calls[op]
	}
	n := 0
	for _, calls := range e.calls {
		n += calls
	}
	return n
}

// meet counts a call and lets it meet the first fault that is meant for it. It returns what
// the call gives before (err) or after the engine has done its work.
func (e *Engine) meet(ctx context.Context, op, sessionID string) (after, err error) {
	e.mu.Lock()
	e.calls[op]++
	down := e.down
	var fault Fault
	for _, f := range e.faults {
		if f.Op != "" && f.Op != op || f.SessionID != "" && f.SessionID != sessionID {
			continue
		}
		if f.met++; f.Nth == 0 || f.Nth == f.met {
			fault = *f
			break
		}
	}
	e.mu.Unlock()

	if down {
		return nil, refuse(container.ErrUnavailable, "the engine is down")
	}
	if fault.Wait != nil {
		select {
		case <-fault.Wait:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	switch {
	case fault.Err == nil:
		return nil, nil
	case fault.Done:
		return refuse(fault.Err, "injected, after the fact"), nil
	}
	return nil, refuse(fault.Err, "injected")
}
