package session

import (
	"context"
	"errors"
	"sync"
	"time"
)

// errOvertaken is what becomes of an operation on a session that somebody removes meanwhile.
var errOvertaken = refuse(CodeSessionClosed, "create it again: octobot create", "it was removed meanwhile")

// urgency is what somebody who waits for a session wants of whoever works on it. The zero value is
// patience.
type urgency struct {
	removal bool      // it is to be removed, so that anything else is in vain
	stopBy  time.Time // a stop that is under way is to be over by then; zero: whenever
}

// sooner reports whether a stop that ends by then is to end earlier.
func (u urgency) sooner(than time.Time) bool { return !u.stopBy.IsZero() && u.stopBy.Before(than) }

// urgencies bring those who wait for sessions together with those who work on them. They go by the
// sessions' origin, for an ID may become another session's, and another project's, in between. The
// zero value is ready.
type urgencies struct {
	mu sync.Mutex
	of map[string]*crowd // guarded by mu
}

// crowd is who has to do with one session now. The urgencies' mutex guards it.
type crowd struct {
	asking  map[*urgency]struct{}
	heeding map[*func(urgency)]struct{}
}

// ask has whoever heeds the session hear of u, until withdraw is called, once.
func (a *urgencies) ask(origin string, u urgency) (withdraw func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	c, key := a.join(origin), &u
	c.asking[key] = struct{}{}
	for f := range c.heeding {
		(*f)(c.most())
	}
	return func() { a.leave(origin, func(c *crowd) { delete(c.asking, key) }) }
}

// heed has f called now and whenever somebody asks, with the most that is asked for, until leave is
// called, once. It must not block.
func (a *urgencies) heed(origin string, f func(urgency)) (leave func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	c, key := a.join(origin), &f
	c.heeding[key] = struct{}{}
	f(c.most())
	return func() { a.leave(origin, func(c *crowd) { delete(c.heeding, key) }) }
}

// join gives those of a session; mu is held.
func (a *urgencies) join(origin string) *crowd {
	c := a.of[origin]
	if c == nil {
		c = &crowd{asking: make(map[*urgency]struct{}), heeding: make(map[*func(urgency)]struct{})}
		if a.of == nil {
			a.of = make(map[string]*crowd)
		}
		a.of[origin] = c
	}
	return c
}

func (a *urgencies) leave(origin string, remove func(*crowd)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	c := a.of[origin]
	if remove(c); len(c.asking)+len(c.heeding) == 0 {
		delete(a.of, origin)
	}
}

// most is all that is asked for.
func (c *crowd) most() (most urgency) {
	for u := range c.asking {
		most.removal = most.removal || u.removal
		if most.stopBy.IsZero() || u.sooner(most.stopBy) {
			most.stopBy = u.stopBy
		}
	}
	return most
}

// whileWanted gives a ctx for work on a session that ends when somebody wants to remove it. The
// caller calls end once, with the error of the work, which gives errOvertaken in its place where
// that is why.
func (s *ContainerService) whileWanted(
	ctx context.Context, sess Session,
) (wanted context.Context, end func(error) error) {
	wanted, cancel := context.WithCancelCause(ctx)
	leave := s.urgencies.heed(sess.Origin, func(u urgency) {
		if u.removal {
			cancel(errOvertaken)
		}
	})
	return wanted, func(err error) error {
		leave()
		defer cancel(nil)
		if err != nil && isOvertaken(wanted) {
			return errOvertaken
		}
		return err
	}
}

// isOvertaken reports whether a ctx of whileWanted ended because somebody removes the session.
func isOvertaken(ctx context.Context) bool { return errors.Is(context.Cause(ctx), errOvertaken) }

// engineStop stops a session's container, giving it that time, or less where somebody who waits for
// the session wants it over sooner.
func (s *ContainerService) engineStop(ctx context.Context, sess Session, timeout time.Duration) error {
	by := time.Now().Add(timeout)
	for {
		attempt, cancel := context.WithTimeout(ctx, timeout+s.cfg.CallTimeout)
		sooner := by
		leave := s.urgencies.heed(sess.Origin, func(u urgency) {
			if u.sooner(sooner) {
				sooner = u.stopBy
				cancel()
			}
		})
		err := s.rt.Stop(attempt, sess.ID, timeout)
		leave()
		cancel()
		if err == nil || isRefusal(err) || ctx.Err() != nil || !sooner.Before(by) {
			return err
		}
		by, timeout = sooner, max(0, time.Until(sooner))
	}
}
