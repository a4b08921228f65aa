package docker

import (
	"context"
	"sync"
	"time"
)

// Podman does not take two changes of one container at a time. It refuses a start while another
// call stops the container, and a kill that waits for the container to end misses the end where a
// start comes right behind it, and then waits for ever. So there each change has the container to
// itself.

// waitError says what a call waited for when its ctx ended.
type waitError struct {
	what string
	err  error // the ctx's
}

func (e *waitError) Error() string { return "waited for " + e.what + ": " + e.err.Error() }
func (e *waitError) Unwrap() error { return e.err }

// waited is the error of a wait that the call's ctx has ended.
func (c *call) waited(what string) error { return &waitError{what: what, err: c.ctx.Err()} }

// sleep waits for a moment of a wait for something.
func (c *call) sleep(moment time.Duration, what string) error {
	select {
	case <-time.After(moment):
		return nil
	case <-c.ctx.Done():
		return c.waited(what)
	}
}

// takeTurn waits until no other call changes the session's container, where the engine needs
// that. The caller calls done.
func (c *call) takeTurn() (done func(), err error) {
	if !c.p.podman() {
		return func() {}, nil
	}
	done, err = c.p.turns.Lock(c.ctx, c.session)
	if err != nil {
		return nil, c.waited("another change of the container")
	}
	return done, nil
}

// takeTurnToEnd is takeTurn for a call that ends the container. A stop that gives the
// container more time than grace may be under way: after grace, the main process is killed, which
// is what that stop waits for.
func (c *call) takeTurnToEnd(grace time.Duration) (done func(), err error) {
	if !c.p.podman() {
		return func() {}, nil
	}
	if done, ok := c.p.turns.TryLock(c.session); ok {
		return done, nil
	}
	patience, cancel := context.WithTimeout(c.ctx, grace)
	defer cancel()
	if done, err := c.p.turns.Lock(patience, c.session); err == nil {
		return done, nil
	}
	killing, leave := context.WithCancel(c.ctx)
	var kill sync.WaitGroup
	kill.Go(func() {
		// Where nothing is to be killed, the call whose turn it is ends by itself.
		_ = c.withContainer(func(id string) error { return c.kill(killing, id) })
	})
	defer kill.Wait()
	defer leave()
	return c.takeTurn()
}
