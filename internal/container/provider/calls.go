// Package provider is what every provider of containers needs around its calls to an engine: which
// calls are admitted, that they end with their caller or with the provider, what their errors say,
// and how they wait.
//
// A method of a provider begins a call, does its work under the call's Ctx, and makes its error the
// call's:
//
//	c, err := p.calls.Begin(ctx, "start", sessionID, nil)
//	if err != nil {
//		return err
//	}
//	defer c.Done()
//	return c.Error(p.start(c.Ctx, sessionID), classify)
package provider

import (
	"context"
	"errors"
	"io"
	"sync"

	"github.com/octobot-run/octobot/internal/container"
)

// Calls admits the calls to one provider, and owns what they leave running. NewCalls makes one.
type Calls struct {
	life context.Context // ends with Close
	end  context.CancelFunc

	mu     sync.Mutex // guards closed, open, and the first Add on under
	closed bool
	under  sync.WaitGroup // calls, and what Go runs
	open   map[io.Closer]struct{}
}

// NewCalls returns what admits every call until Close.
func NewCalls() *Calls {
	c := &Calls{open: make(map[io.Closer]struct{})}
	c.life, c.end = context.WithCancel(context.Background())
	return c
}

// Call is one method's run.
type Call struct {
	Op, SessionID string          // for its errors; SessionID is empty where it is about no one session
	Caller        context.Context // as the caller gave it
	Ctx           context.Context // ends with Caller, with the provider, and with Done
	Done          func()          // ends the call; to be called once

	life context.Context
}

// Begin admits a call about a session: not after Close ([container.ErrClosed]), not with arguments
// that [container.ValidateSessionID] or check, which may be nil, refuse, and not with a ctx that
// has ended. After an error there is no call, and Done is not to be called.
func (c *Calls) Begin(ctx context.Context, op, sessionID string, check func() error) (*Call, error) {
	return c.admit(&Call{Op: op, SessionID: sessionID, Caller: ctx}, func() error {
		if err := container.ValidateSessionID(sessionID); err != nil || check == nil {
			return err
		}
		return check()
	})
}

// BeginEngine is Begin for a call about no one session.
func (c *Calls) BeginEngine(ctx context.Context, op string) (*Call, error) {
	return c.admit(&Call{Op: op, Caller: ctx}, func() error { return nil })
}

func (c *Calls) admit(call *Call, check func() error) (*Call, error) {
	call.life = c.life
	if !c.add() {
		return nil, call.Error(container.ErrClosed, nil)
	}
	ctx, cancel := context.WithCancel(call.Caller)
	stop := context.AfterFunc(c.life, cancel)
	call.Ctx = ctx
	call.Done = func() {
		stop()
		cancel()
		c.under.Done()
	}
	err := check()
	if err == nil {
		err = call.Caller.Err()
	}
	if err != nil {
		err = call.Error(err, nil)
		call.Done()
		return nil, err
	}
	return call, nil
}

// add counts one more call, unless the provider is closed.
func (c *Calls) add() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.under.Add(1)
	return true
}

// Life ends with Close.
func (c *Calls) Life() context.Context { return c.life }

// Go runs f, for which Close waits. It is for use during a call.
func (c *Calls) Go(f func()) { c.under.Go(f) }

// Keep has Close close what outlives its call, such as a terminal, unless Forget comes first. It is
// false where Close has been called, which then does not know of it.
func (c *Calls) Keep(open io.Closer) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.open[open] = struct{}{}
	}
	return !c.closed
}

// Forget takes back a Keep.
func (c *Calls) Forget(open io.Closer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.open, open)
}

// Close ends the calls under way, which give [container.ErrClosed], closes what was kept, and waits
// for all of it and for what Go runs. The errors are those of what was kept. A repeated call waits
// as well: nil.
func (c *Calls) Close() error {
	c.mu.Lock()
	c.closed = true
	open := make([]io.Closer, 0, len(c.open))
	for o := range c.open {
		open = append(open, o)
	}
	clear(c.open)
	c.mu.Unlock()
	c.end()
	errs := make([]error, len(open))
	var closing sync.WaitGroup
	for i, o := range open {
		closing.Go(func() { errs[i] = o.Close() })
	}
	closing.Wait()
	c.under.Wait()
	return errors.Join(errs...)
}

// Error makes err the error of the call. An error of this seam keeps its class and its detail.
// Where Close or the caller's ctx ended the call, that is the class; else it is what classify makes
// of an error of the engine. A nil err is nil.
func (c *Call) Error(err error, classify func(error) (detail string, class error)) error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*container.Error](err); ok {
		return c.Fail(e.Class, e.Detail)
	}
	class, detail := container.ClassOf(err), err.Error()
	if class == nil || errors.Is(class, context.Canceled) || errors.Is(class, context.DeadlineExceeded) {
		class = container.ErrUnavailable
		if classify != nil {
			detail, class = classify(err)
		}
	}
	waited := ""
	if w, ok := errors.AsType[*WaitError](err); ok {
		waited = "waiting for " + w.What
	}
	switch {
	case class == container.ErrClosed || c.Caller.Err() == nil && c.life.Err() != nil:
		class, detail = container.ErrClosed, waited
	case class == container.ErrInvalidArgument:
	case c.Caller.Err() != nil:
		class, detail = c.Caller.Err(), waited
	}
	return c.Fail(class, detail)
}

// Fail makes an error of a class of the call.
func (c *Call) Fail(class error, detail string) error {
	return container.Errorf(c.Op, c.SessionID, class, "%s", detail)
}
