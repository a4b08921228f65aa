package session

import (
	"context"
	"errors"
	"time"

	"github.com/octobot-run/octobot/internal/container"
)

// maxStopTimeout bounds how long a caller may have a main process waited for.
const maxStopTimeout = time.Hour

// Start runs the session's main process. One that runs: nil, and where it is paused it goes on, as
// after Unpause. A session whose container is gone is refused with container_lost; it is never made
// anew.
//
// Where the engine does not answer, or ctx ends meanwhile, the session stays "starting" and
// reconciliation finishes it. Where the engine refuses for a reason of its own, and the container
// is seen not to run, the session stays as it was.
func (s *ContainerService) Start(ctx context.Context, who Principal, id string) (v View, err error) {
	defer func(start time.Time) { s.finishOperation(ctx, who, "start", id, start, &err) }(time.Now())
	sess, unlock, err := s.lockSettled(ctx, who, id, urgency{})
	if err != nil {
		return View{}, err
	}
	defer unlock()
	wanted, end := s.whileWanted(ctx, sess)
	defer func() { err = end(err) }()
	// Links may have changed since the session was made. Here a refusal changes nothing yet.
	if err := checkBinds(s.cfg.BindRoots, sess.Spec.Binds); err != nil {
		return View{}, err
	}
	slot, err := s.acquireStartSlot(wanted)
	if err != nil {
		return View{}, err
	}
	defer slot.free()
	running := sess
	running.Desired = DesiredRunning
	sess, err = s.withinQuota(wanted, who, running, func() (Session, error) {
		return s.recordIntent(wanted, sess, OperationStart, DesiredRunning)
	})
	if err != nil {
		return View{}, err
	}
	sess, c, err := s.startContainer(wanted, sess)
	if err != nil {
		return View{}, err
	}
	return s.viewAfterChange(ctx, sess, c), nil
}

// Stop ends the session's main process: its stop signal, then SIGKILL after
// timeout; 0 kills at once, a negative one means [container.DefaultStopTimeout].
// Files stay. A paused session is stopped as well. One that does not run: nil. A stop that is under
// way and gives it more time is cut short.
//
// Where the engine does not answer or refuses, or ctx ends meanwhile, the session stays "stopping"
// and reconciliation finishes it.
func (s *ContainerService) Stop(
	ctx context.Context, who Principal, id string, timeout time.Duration,
) (v View, err error) {
	defer func(start time.Time) { s.finishOperation(ctx, who, "stop", id, start, &err) }(time.Now())
	if timeout, err = stopTimeout(timeout); err != nil {
		return View{}, err
	}
	sess, unlock, err := s.lockUsable(ctx, who, id, urgency{stopBy: time.Now().Add(timeout)})
	if err != nil {
		return View{}, err
	}
	defer unlock()
	if sess, err = s.recordIntent(ctx, sess, OperationStop, DesiredStopped); err != nil {
		return View{}, err
	}
	sess, c, err := s.stopContainer(ctx, sess, timeout, "")
	if err != nil {
		return View{}, err
	}
	return viewOf(sess, c, nil), nil
}

// Delete closes the session and removes its container with all its files. It may be
// repeated, and the container may be gone already: nil. What is being done with the session is cut
// short: a creation is undone, a stop becomes a kill, and the rest is given up; whoever asked for
// that hears session_closed.
//
// Where the engine does not answer or refuses, or ctx ends meanwhile, the session stays "closing"
// and reconciliation finishes it.
func (s *ContainerService) Delete(ctx context.Context, who Principal, id string) (err error) {
	defer func(start time.Time) { s.finishOperation(ctx, who, "delete", id, start, &err) }(time.Now())
	sess, unlock, err := s.lockSession(ctx, who, id, urgency{removal: true, stopBy: time.Now()})
	if err != nil {
		return err
	}
	defer unlock()
	if !sess.ClosedAt.IsZero() {
		return nil
	}
	if sess, err = s.recordIntent(ctx, sess, OperationClose, DesiredClosed); err != nil {
		return err
	}
	_, err = s.closeSession(ctx, sess)
	return err
}

// lockSession locks a session that who reaches, and reads it. Until then, who works on it heeds u.
// The caller calls unlock once, unless there is an error.
func (s *ContainerService) lockSession(
	ctx context.Context, who Principal, id string, u urgency,
) (sess Session, unlock func(), err error) {
	// Before the lock too: to wait for what another project's session is busy with would tell of
	// it.
	if !who.Admin || u != (urgency{}) {
		before, err := s.getReachable(ctx, who, id)
		if err != nil {
			return Session{}, nil, err
		}
		defer s.urgencies.ask(before.Origin, u)()
	}
	if err := container.ValidateSessionID(id); err != nil {
		return Session{}, nil, err
	}
	unlock, err = s.locks.Lock(ctx, id)
	if err != nil {
		return Session{}, nil, err
	}
	// Meanwhile the ID may have become another session's.
	sess, err = s.getReachable(ctx, who, id)
	if err != nil {
		unlock()
		return Session{}, nil, err
	}
	return sess, unlock, nil
}

// lockUsable is lockSession for one that has a container to work with, and not another one of its
// name. Where the engine does not say, what comes next meets the same trouble.
func (s *ContainerService) lockUsable(
	ctx context.Context, who Principal, id string, u urgency,
) (sess Session, unlock func(), err error) {
	sess, unlock, err = s.lockSession(ctx, who, id, u)
	if err != nil {
		return Session{}, nil, err
	}
	err = checkUsable(sess)
	if err == nil {
		wanted, end := s.whileWanted(ctx, sess)
		if err = end(s.checkOrigin(wanted, sess)); !errors.Is(err, errForeign) && !errors.Is(err, errOvertaken) {
			err = nil
		}
	}
	if err != nil {
		unlock()
		return Session{}, nil, err
	}
	return sess, unlock, nil
}

// lockSettled is lockUsable, and finishes an update that was interrupted. Where the engine does not
// answer that, it may answer all else: what comes next goes before it.
func (s *ContainerService) lockSettled(
	ctx context.Context, who Principal, id string, u urgency,
) (sess Session, unlock func(), err error) {
	sess, unlock, err = s.lockUsable(ctx, who, id, u)
	if err != nil {
		return Session{}, nil, err
	}
	wanted, end := s.whileWanted(ctx, sess)
	sess, err = s.settleUpdate(wanted, sess)
	if err = end(err); err != nil {
		unlock()
		return Session{}, nil, err
	}
	return sess, unlock, nil
}

// checkUsable refuses a session without a container to work with.
func checkUsable(sess Session) error {
	switch {
	case !sess.ClosedAt.IsZero():
		return refuse(CodeSessionClosed, "create it again: octobot create", "it is closed")
	case sess.Desired == DesiredClosed:
		return refuse(CodeSessionClosed, "create it again once it is closed", "it is being closed")
	case sess.Failure != nil && sess.Failure.Code == CodeContainerLost:
		return refuse(CodeContainerLost, lostHint, "%s", sess.Failure.Detail)
	case sess.Failure != nil:
		return refuse(sess.Failure.Code, "remove the session (octobot rm) and create it again", "%s",
			sess.Failure.Detail)
	case sess.Pending == OperationCreate:
		return refuse(CodeBusy, "try again in a moment", "it is still being created")
	}
	return nil
}

// recordIntent records what is about to be done. An update that is not finished is kept for after
// it.
func (s *ContainerService) recordIntent(
	ctx context.Context, sess Session, op Operation, desired Desired,
) (Session, error) {
	sess.Pending, sess.PendingSince, sess.Desired = op, now(), desired
	if op == OperationClose {
		sess.Next = nil
	}
	recorded, err := s.store.update(ctx, sess)
	if err != nil {
		return sess, err
	}
	return recorded, nil
}

// recordOutcome records what came of it. Where that fails the intent stays, for reconciliation.
func (s *ContainerService) recordOutcome(ctx context.Context, sess Session) (Session, error) {
	sess.Pending, sess.PendingSince = OperationNone, time.Time{}
	switch {
	case sess.Failure != nil || !sess.ClosedAt.IsZero():
		sess.Next = nil
	case sess.Next != nil: // of an update that this went before
		sess.Pending, sess.PendingSince = OperationUpdate, now()
	}
	recorded, err := s.store.updateOutcome(ctx, sess)
	if err != nil {
		f := toError(ctx, "", "", err)
		f.Hint = "the engine did it; it will be recorded as soon as the store answers"
		return sess, f
	}
	s.deadlines.note(recorded)
	s.expiring.forget(recorded.ID)
	return recorded, nil
}

// startContainer carries out the recorded intent to start. After an error that leaves open what
// the engine did, the intent stays. The container is nil where the engine did not show it.
func (s *ContainerService) startContainer(ctx context.Context, sess Session) (Session, *container.Container, error) {
	c, err := s.mountForStart(ctx, sess)
	if err == nil {
		err = s.engineStart(ctx, sess, c)
	}
	started := sess
	if err == nil {
		started, c = s.withStart(ctx, sess)
		err = s.unpauseStarted(ctx, c)
	}
	switch {
	case err == nil:
	case errors.Is(err, container.ErrContainerNotFound):
		sess, err = s.recordLost(ctx, sess, err)
		return sess, nil, err
	case isRecordedRefusal(err):
		sess.Desired = DesiredStopped
		sess, settleErr := s.recordOutcome(ctx, sess)
		if settleErr != nil {
			err = settleErr
		}
		return sess, nil, err
	default:
		return sess, nil, unfinished(ctx, err)
	}
	before := sess.StartedAt
	if sess, err = s.recordOutcome(ctx, started); err != nil {
		return sess, nil, err
	}
	if !sess.StartedAt.Equal(before) {
		s.publishChange(EventStarted, sess, StatusRunning, "")
	}
	return sess, c, nil
}

// withStart notes in a session that the engine has started it, or that it ran already, and gives
// its container, nil where the engine does not show it.
func (s *ContainerService) withStart(ctx context.Context, sess Session) (Session, *container.Container) {
	bounded, cancel := context.WithTimeout(ctx, inspectTimeout)
	defer cancel()
	c, err := s.inspectContainer(bounded, sess.ID)
	if err != nil || c == nil {
		c = nil
	}
	sess.StartedAt = startOf(c)
	sess.ActiveAt, sess.Exit = now(), nil
	return sess, c
}

// engineStart starts a session's container, and has it stopped again where it did not get what its
// binds name. c is the container as it was before, nil where that is not known.
func (s *ContainerService) engineStart(ctx context.Context, sess Session, c *container.Container) error {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.CallTimeout)
	defer cancel()
	if err := s.rt.Start(ctx, sess.ID); err != nil {
		return s.settle(ctx, sess.ID, err, func(c *container.Container) bool {
			return c != nil && c.Status != container.StatusRunning
		})
	}
	return s.verifyBinds(ctx, sess, c)
}

func (s *ContainerService) engineRemove(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.CallTimeout)
	defer cancel()
	return s.rt.Remove(ctx, id)
}

// stopContainer carries out the recorded intent to stop; reason says why it ended, where that was
// not asked for.
func (s *ContainerService) stopContainer(
	ctx context.Context, sess Session, timeout time.Duration, reason string,
) (Session, *container.Container, error) {
	c, err := s.stopAndLook(ctx, sess, timeout)
	switch {
	case errors.Is(err, container.ErrContainerNotFound):
		sess, err = s.recordLost(ctx, sess, err)
		return sess, nil, err
	case err != nil:
		return sess, nil, unfinished(ctx, err)
	case c.Status == container.StatusRunning:
		// Somebody else started it at once; the intent stays.
		return sess, nil, unfinished(ctx,
			refuse(CodeBusy, "try again", "it was started again while it was being stopped"))
	}
	sess, err = s.recordObserved(ctx, sess, c, reason)
	return sess, c, err
}

// stopAndLook has the engine stop a session's container, and gives it as it is then.
func (s *ContainerService) stopAndLook(
	ctx context.Context, sess Session, timeout time.Duration,
) (*container.Container, error) {
	if err := s.engineStop(ctx, sess, timeout); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.CallTimeout)
	defer cancel()
	return s.rt.Get(ctx, sess.ID)
}

// stopTimeout checks a caller's timeout of a stop; a negative one is the default.
func stopTimeout(asked time.Duration) (time.Duration, error) {
	switch {
	case asked > maxStopTimeout:
		return 0, invalid("timeout: %v is longer than %v", asked, maxStopTimeout)
	case asked < 0:
		return container.DefaultStopTimeout, nil
	}
	return asked, nil
}

// recordObserved writes what the engine shows of a session's container, and tells of what is news.
func (s *ContainerService) recordObserved(
	ctx context.Context, sess Session, c *container.Container, reason string,
) (Session, error) {
	seen := withObserved(sess, c, reason)
	started, ended := !seen.StartedAt.Equal(sess.StartedAt), seen.Exit != nil && seen.Exit != sess.Exit
	seen, err := s.recordOutcome(ctx, seen)
	switch {
	case err != nil:
		return seen, err
	case started:
		s.publishChange(EventStarted, seen, StatusRunning, "")
	case ended:
		s.publishChange(EventStopped, seen, StatusStopped, seen.Exit.describe())
	}
	return seen, nil
}

// closeSession carries out the recorded intent to close. A container of the same name that was not
// made for this session is none of its business, and stays.
func (s *ContainerService) closeSession(ctx context.Context, sess Session) (Session, error) {
	c, err := s.inspectContainer(ctx, sess.ID)
	if err == nil && c != nil && sameOrigin(sess, c) {
		err = s.engineRemove(ctx, sess.ID)
	}
	if err != nil && !errors.Is(err, container.ErrContainerNotFound) {
		return sess, unfinished(ctx, err)
	}
	s.unmountBinds(ctx, sess.ID)
	sess.ClosedAt = now()
	sess, err = s.recordOutcome(ctx, sess)
	if err == nil {
		_, reason := recordedStatus(sess)
		s.publishChange(EventClosed, sess, StatusClosed, reason)
	}
	return sess, err
}

// recordLost records that the engine has no container of the session any more, and gives the error
// that says so.
func (s *ContainerService) recordLost(ctx context.Context, sess Session, cause error) (Session, error) {
	lost := toError(ctx, "", sess.ID, cause)
	sess, err := s.recordFailure(ctx, sess, lost.Code, lost.Detail)
	if err != nil {
		return sess, err
	}
	return sess, lost
}

// recordFailure records that the session failed.
func (s *ContainerService) recordFailure(ctx context.Context, sess Session, code Code, detail string) (Session, error) {
	sess.Failure = &Failure{Code: code, Detail: detail, At: now()}
	sess.Desired = DesiredStopped
	sess, err := s.recordOutcome(ctx, sess)
	if err == nil {
		s.publishChange(EventFailed, sess, StatusFailed, detail)
	}
	return sess, err
}

// unfinished makes an error say that the change is not given up.
func unfinished(ctx context.Context, err error) error {
	f := toError(ctx, "", "", err)
	f.Hint = "nothing is lost: it will be finished as soon as the engine answers"
	if f.Code == CodeEngineRefused {
		f.Hint = "it is not given up: it will be tried again until the engine does it"
	}
	return f
}

// viewAfterChange gives the view of a session that was just changed. c, where not nil, is its
// container; else the engine is asked.
func (s *ContainerService) viewAfterChange(ctx context.Context, sess Session, c *container.Container) View {
	if c != nil || !engineMatters(sess) {
		return viewOf(sess, c, nil)
	}
	ctx, cancel := context.WithTimeout(ctx, inspectTimeout)
	defer cancel()
	c, err := s.inspectContainer(ctx, sess.ID)
	return viewOf(sess, c, err)
}

// inspectTimeout bounds how long a question about a session waits for the engine.
const inspectTimeout = 2 * time.Second

// inspectContainer asks the engine for a session's container: nil where it answers that there is
// none.
func (s *ContainerService) inspectContainer(ctx context.Context, id string) (*container.Container, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.CallTimeout)
	defer cancel()
	c, err := s.rt.Get(ctx, id)
	if errors.Is(err, container.ErrContainerNotFound) {
		return nil, nil
	}
	return c, err
}
