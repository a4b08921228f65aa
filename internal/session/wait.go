package session

import (
	"context"
	"time"

	"github.com/octobot-run/octobot/internal/container"
)

const (
	// firstWaitLook is how soon Wait looks at a container for the second time, lastWaitLook how
	// long it leaves between two looks at most.
	firstWaitLook = 50 * time.Millisecond
	lastWaitLook  = time.Second
)

// Wait waits for a session's main process to end, and tells how it did; of one that is stopped, how
// it last did. It waits for a session that is being created or started to run first, and goes on
// where the engine does not answer. It is no use of the session.
//
// A session that never ran, or is not to: session_not_running. One that is closed, or fails,
// meanwhile: the error that says so.
func (s *ContainerService) Wait(ctx context.Context, who Principal, id string) (exit Exit, err error) {
	defer func(start time.Time) { s.finishOperation(ctx, who, "wait", id, start, &err) }(time.Now())
	first, err := s.getReachable(ctx, who, id)
	if err != nil {
		return Exit{}, err
	}
	// Before the first look, so that no end is missed between that and the next one.
	ends := EventSelection{ProjectID: first.ProjectID, SessionIDs: []string{id}}
	events, err := s.Subscribe(who, ends)
	if err != nil {
		return Exit{}, err
	}
	defer func() { events.Close() }()
	var startedAt time.Time // of the run that is waited for
	for look := firstWaitLook; ; look = min(2*look, lastWaitLook) {
		exit, v, err := s.lookForExit(ctx, first)
		if err != nil || exit != nil {
			return valueOf(exit), err
		}
		switch {
		case v.Status != StatusRunning:
		case startedAt.IsZero():
			startedAt = v.StartedAt
		case !v.StartedAt.Equal(startedAt):
			// Who restarts it tells of the end before it starts.
			if exit := queuedExit(events); exit != nil {
				return *exit, nil
			}
			return Exit{}, refuse(CodeSessionNotRunning, "wait again for the run that has begun",
				"the main process has ended and was started again before anybody saw how")
		}
		exit, open, err := awaitExit(ctx, events, look)
		if err != nil || exit != nil {
			return valueOf(exit), err
		}
		if !open { // so much happens; the looks go on
			events.Close()
			if events, err = s.Subscribe(who, ends); err != nil {
				return Exit{}, err
			}
		}
	}
}

func valueOf(exit *Exit) Exit {
	if exit == nil {
		return Exit{}
	}
	return *exit
}

// queuedExit gives the first end that is told of already, nil where none is.
func queuedExit(events *Subscription) *Exit {
	for {
		select {
		case e, ok := <-events.C():
			if e.Exit != nil || !ok {
				return e.Exit
			}
		default:
			return nil
		}
	}
}

// lookForExit gives how the main process of the session ended, nil where it may run yet.
func (s *ContainerService) lookForExit(ctx context.Context, first Session) (*Exit, View, error) {
	defer s.guests.enter(first.ID)()
	sess, err := s.store.get(ctx, first.ID)
	switch {
	case err != nil:
		return nil, View{}, err
	case sess.Origin != first.Origin:
		return nil, View{}, ErrNotFound // the ID is another session's by now
	case sess.Pending == OperationCreate && sess.Desired != DesiredClosed:
		return nil, View{Session: sess}, nil
	}
	if err := checkUsable(sess); err != nil {
		return nil, View{}, err
	}
	if !engineMatters(sess) {
		return nil, View{Session: sess}, nil
	}
	c, err := s.inspectContainer(ctx, sess.ID)
	if ctx.Err() != nil {
		return nil, View{}, ctx.Err()
	}
	if err == nil && (c == nil || !ownsContainer(sess, c)) { // see lookTwice
		current, err := s.store.get(ctx, sess.ID)
		if err != nil || current.Version != sess.Version || current.Origin != sess.Origin {
			return nil, View{Session: sess}, err // the next look tells
		}
	}
	if c != nil && !ownsContainer(sess, c) {
		s.hintReconcile()
		return nil, View{}, errForeign
	}
	v := viewOf(sess, c, err)
	switch v.Status {
	case StatusStopped:
		if sess.Exit != nil {
			return sess.Exit, v, nil
		}
		return exitOf(c, ""), v, nil
	case StatusCreated:
		return nil, v, refuse(CodeSessionNotRunning, "octobot start", "it was never started")
	case StatusFailed:
		s.hintSession(sess.ID)
		return nil, v, container.ErrContainerNotFound
	}
	return nil, v, nil
}

// awaitExit waits until the session's main process ends, something else happens to the session, or
// so much time has gone by; open tells whether there may be more events.
func awaitExit(ctx context.Context, events *Subscription, most time.Duration) (exit *Exit, open bool, err error) {
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case e, ok := <-events.C():
		return e.Exit, ok, nil
	case <-timer.C:
		return nil, true, nil
	case <-ctx.Done():
		return nil, true, ctx.Err()
	}
}
