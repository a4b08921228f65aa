package session

import (
	"context"
	"errors"
	"time"

	"github.com/octobot-run/octobot/internal/container"
)

// performPlanned does one thing that was planned, if it still is to be done. The fate that comes
// back says what became of it, or why it was left.
func (s *ContainerService) performPlanned(ctx context.Context, p planned, l limits) (Fate, error) {
	fate := p.Fate
	unlock, ok := s.locks.TryLock(p.SessionID)
	if !ok {
		fate.Action, fate.Reason = ActionSkip, "it is being worked on"
		return fate, nil
	}
	defer unlock()
	bound := s.workTimeout()
	if p.Action == ActionCreate {
		bound += createTimeout // for a pull
	}
	ctx, cancel := context.WithTimeoutCause(ctx, bound, errOutOfTime)
	defer cancel()
	done, err := s.carryOutIfCurrent(ctx, p, l)
	switch {
	case err == nil && !done:
		fate.Action, fate.Reason = ActionSkip, "it changed meanwhile"
		return fate, nil
	case err == nil:
		s.log.InfoContext(ctx, "Reconciled", "session", p.SessionID, "container", p.ContainerID, "action", p.Action,
			"reason", p.Reason)
		return fate, nil
	}
	if errors.Is(err, errOvertaken) {
		fate.Action, fate.Reason = ActionSkip, "it is being removed"
		return fate, nil
	}
	f := toError(ctx, "reconcile", p.SessionID, err)
	fate.Reason += "; but: " + f.Detail
	s.log.WarnContext(ctx, "Reconciled with trouble", "session", p.SessionID, "container", p.ContainerID,
		"action", p.Action, "reason", p.Reason, "error", errorWithCause(f))
	if isRecordedRefusal(err) {
		return fate, nil
	}
	return fate, f
}

// errOutOfTime is why work about a session ends that has taken all the time that it may.
var errOutOfTime = errors.New("it took too long")

// workTimeout bounds what is done about a session, but for a pull.
func (s *ContainerService) workTimeout() time.Duration {
	return 2*s.cfg.CallTimeout + container.DefaultStopTimeout
}

// isRecordedRefusal reports whether err is an answer that the session's record holds by now, and
// not trouble that leaves something to be done.
func isRecordedRefusal(err error) bool {
	switch CodeOf(err) {
	case CodeContainerLost, CodeForbidden, CodePathNotFound, CodeInvalidArgument:
		return true
	}
	return isRefusal(err)
}

// carryOutIfCurrent reads record and container anew and does what was planned; done is false where
// that is not what they ask for any more. The session's lock is held.
func (s *ContainerService) carryOutIfCurrent(ctx context.Context, p planned, l limits) (done bool, err error) {
	var owner *Session
	switch sess, err := s.store.get(ctx, p.SessionID); {
	case err == nil:
		owner = &sess
	case !errors.Is(err, ErrNotFound):
		return false, err
	}
	c, err := s.inspectContainer(ctx, p.SessionID)
	if err != nil {
		return false, err
	}
	if p.version == 0 {
		return s.removeStray(ctx, p, l, owner, c)
	}
	if owner == nil || owner.Version != p.version {
		return false, nil
	}
	if c != nil {
		c = pickContainer(*owner, []*container.Container{c})
	}
	action, reason := decideAction(*owner, c, s.momentOf(owner.ID))
	if action != p.Action {
		return false, nil
	}
	if action == ActionClose {
		return true, s.carryOutAction(ctx, *owner, c, action, reason)
	}
	wanted, end := s.whileWanted(ctx, *owner)
	return true, end(s.carryOutAction(wanted, *owner, c, action, reason))
}

// removeStray removes a container that no session owns, if that is still so.
func (s *ContainerService) removeStray(
	ctx context.Context, p planned, l limits, owner *Session, c *container.Container,
) (done bool, err error) {
	if c == nil || c.ID != p.ContainerID {
		return false, nil
	}
	w := world{at: now(), allotted: make(map[string]bool)}
	if p.unknown {
		origin := c.Labels[container.LabelOrigin]
		if w.allotted[origin], err = s.store.allotted(ctx, origin); err != nil {
			return false, err
		}
	}
	again := planOne(owner, c, w, memory{stray: map[string]bool{c.ID: true}}, l)
	if again.Action != ActionRemove || again.unknown != p.unknown {
		return false, nil
	}
	return true, s.engineRemove(ctx, p.SessionID)
}

// carryOutAction does what decideAction said about a session. Its lock is held.
func (s *ContainerService) carryOutAction(
	ctx context.Context, sess Session, c *container.Container, action Action, reason string,
) error {
	var err error
	switch action {
	case ActionCreate:
		err = s.finishCreate(ctx, sess, c)
	case ActionStart:
		err = s.finishStart(ctx, sess)
	case ActionStop:
		_, _, err = s.stopContainer(ctx, sess, container.DefaultStopTimeout, "")
	case ActionRestart:
		err = s.finishRestart(ctx, sess, c)
	case ActionUpdate:
		_, err = s.finishUpdate(ctx, sess)
	case ActionClose:
		_, err = s.closeSession(ctx, sess)
	case ActionRecord:
		if sess.Pending == OperationStart && c.Status == container.StatusRunning && len(sess.Spec.Binds) > 0 {
			// What it got may not have been looked at yet.
			return s.finishStart(ctx, sess)
		}
		_, err = s.recordObserved(ctx, sess, c, "")
	case ActionFail:
		code := CodeContainerLost
		if reason == reasonForeign {
			code = CodeSessionExists
		}
		_, err = s.recordFailure(ctx, sess, code, reason)
	case ActionExpire:
		err = s.expireSession(ctx, sess, c, reason)
	}
	return err
}

// finishCreate finishes a creation that was interrupted. Where it is refused, the session is left
// with the container that it has, or failed where it has none: unlike in Create, there is nobody to
// tell. The same goes for one that an answering engine does not get done in all the time that a
// creation has.
func (s *ContainerService) finishCreate(ctx context.Context, sess Session, c *container.Container) error {
	slot, err := s.acquireStartSlot(ctx)
	if err != nil {
		return err
	}
	defer slot.free()
	made := sess
	if err = checkBinds(s.cfg.BindRoots, sess.Spec.Binds); err == nil {
		made, _, err = s.provision(ctx, sess, c, creation{slot: slot})
	}
	at, line := s.clock.read()
	switch {
	case err == nil:
		if made, err = s.recordOutcome(ctx, made); err == nil {
			s.publishIfStarted(made)
		}
		return err
	case ctx.Err() != nil && !errors.Is(context.Cause(ctx), errOutOfTime):
		return err // it is being removed, or whoever looked is leaving
	case CodeOf(toError(ctx, "", "", err)) == CodeEngineUnavailable, CodeOf(err) == CodeBusy,
		!isRecordedRefusal(err) && line.elapsed(sess.PendingSince, at) < createTimeout:
		return err
	}
	ctx = context.WithoutCancel(ctx) // its time may be up
	c, inspectErr := s.inspectContainer(ctx, sess.ID)
	if inspectErr != nil {
		return inspectErr
	}
	f := toError(ctx, "", sess.ID, err)
	s.log.WarnContext(ctx, "An interrupted creation could not be finished", "session", sess.ID, "error",
		errorWithCause(f))
	if c != nil && ownsContainer(sess, c) {
		_, err = s.recordObserved(ctx, sess, c, "")
	} else {
		_, err = s.recordFailure(ctx, sess, f.Code, f.Detail)
	}
	return err
}

func (s *ContainerService) finishStart(ctx context.Context, sess Session) error {
	if err := checkBinds(s.cfg.BindRoots, sess.Spec.Binds); err != nil {
		sess.Desired = DesiredStopped
		if _, settleErr := s.recordOutcome(ctx, sess); settleErr != nil {
			return settleErr
		}
		return err
	}
	_, _, err := s.startContainer(ctx, sess)
	return err
}

// expireSession ends a session past a limit. Its processes are given the time to end in order, also
// where it is closed then.
func (s *ContainerService) expireSession(
	ctx context.Context, sess Session, c *container.Container, reason string,
) error {
	var err error
	if c != nil && c.Status == container.StatusRunning {
		if sess, err = s.recordIntent(ctx, sess, OperationStop, DesiredStopped); err != nil {
			return err
		}
		if sess, _, err = s.stopContainer(ctx, sess, container.DefaultStopTimeout, reason); err != nil {
			return err
		}
	}
	if sess.Spec.OnExpire != ExpiryClose {
		return nil
	}
	if sess, err = s.recordIntent(ctx, sess, OperationClose, DesiredClosed); err != nil {
		return err
	}
	_, err = s.closeSession(ctx, sess)
	return err
}
