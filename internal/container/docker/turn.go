package docker

import (
	"context"
	"sync"
	"time"

	"github.com/octobot-run/octobot/internal/container/provider"
)

// Podman does not take two changes of one container at a time. It refuses a start while another
// call stops the container, and a kill that waits for the container to end misses the end where a
// start comes right behind it, and then waits for ever. So there each change has the container to
// itself.

// takeTurn waits until no other call changes the session's container, where the engine needs
// that. The caller calls done.
func (c *call) takeTurn() (done func(), err error) {
	if !c.p.podman() {
		return func() {}, nil
	}
	done, err = c.p.turns.Lock(c.Ctx, c.SessionID)
	if err != nil {
		return nil, &provider.WaitError{What: "another change of the container", Err: err}
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
	if done, ok := c.p.turns.TryLock(c.SessionID); ok {
		return done, nil
	}
	patience, cancel := context.WithTimeout(c.Ctx, grace)
	defer cancel()
	if done, err := c.p.turns.Lock(patience, c.SessionID); err == nil {
		return done, nil
	}
	killing, leave := context.WithCancel(c.Ctx)
	var kill sync.WaitGroup
	kill.Go(func() {
		// Where nothing is to be killed, the call whose turn it is ends by itself.
		_ = c.withContainer(func(id string) error { return c.kill(killing, id) })
	})
	defer kill.Wait()
	defer leave()
	return c.takeTurn()
}
