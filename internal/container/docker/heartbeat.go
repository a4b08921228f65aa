package docker

import (
	"context"
	"sync"
	"time"

	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/container/provider"
)

// A stream that says nothing may be one that has nothing to say, for hours, or that of an engine
// that is frozen. So while there are such streams, the engine is asked beside them whether it is
// there.

const (
	// beatEvery is the pause between two questions, beatTimeout how long one may take, and
	// maxMisses after how many in a row that were not answered the engine is given up: a busy one
	// may miss one.
	beatEvery   = 5 * time.Second
	beatTimeout = 5 * time.Second
	maxMisses   = 3
)

// errSilent ends what waits for an engine that does not answer.
var errSilent = &container.Error{Class: container.ErrUnavailable,
	Detail: "the engine has stopped answering; if its process is there, it hangs"}

// heartbeat asks the engine whether it is there while somebody wants to know.
type heartbeat struct {
	every, timeout time.Duration

	mu      sync.Mutex
	waiting map[*func()]struct{} // to be called when the engine is silent
	beating bool                 // there is a goroutine that asks
}

// onSilence has dead called, once, when the engine does not answer any more, unless stop comes
// first. It is for use during a call.
func (p *DockerProvider) onSilence(dead func()) (stop func()) {
	h := &p.heart
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.waiting == nil {
		h.waiting = make(map[*func()]struct{})
	}
	h.waiting[&dead] = struct{}{}
	if !h.beating {
		h.beating = true
		p.calls.Go(p.beat)
	}
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.waiting, &dead)
	}
}

// beat asks until nobody wants to know any more.
func (p *DockerProvider) beat() {
	h := &p.heart
	for misses := 0; ; {
		over := provider.Sleep(p.calls.Life(), "the next question", h.every) != nil
		h.mu.Lock()
		if over || len(h.waiting) == 0 {
			h.beating = false
			h.mu.Unlock()
			return
		}
		h.mu.Unlock()
		if p.answers() {
			misses = 0
			continue
		}
		if misses++; misses < maxMisses || p.calls.Life().Err() != nil {
			continue
		}
		misses = 0
		h.mu.Lock()
		waiting := h.waiting
		h.waiting = nil
		h.mu.Unlock()
		for dead := range waiting {
			(*dead)()
		}
	}
}

// answers reports whether the engine says anything.
func (p *DockerProvider) answers() bool {
	ctx, cancel := context.WithTimeout(p.calls.Life(), p.heart.timeout)
	defer cancel()
	_, err := p.get(ctx, p.pingURL(), nil)
	return err == nil || isEngineAnswer(err)
}

// watched is the call with a Ctx that ends, for [errSilent], when the engine does not answer any
// more. The caller calls stop when it waits for the engine no longer.
func (c *call) watched() (_ *call, stop func()) {
	ctx, cancel := context.WithCancelCause(c.Ctx)
	forget := c.p.onSilence(func() { cancel(errSilent) })
	watched := *c.Call
	watched.Ctx = ctx
	return &call{Call: &watched, p: c.p}, func() {
		forget()
		cancel(nil)
	}
}
