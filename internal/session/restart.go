package session

import (
	"context"
	"errors"
	"time"

	"github.com/octobot-run/octobot/internal/container"
)

// Restart ends the session's main process as Stop does, and starts it anew as Start does, with
// nobody else's change in between. One that does not run is started. The intent is one: where the
// engine does not answer, ctx ends, or the process dies in the middle, reconciliation finishes what
// is left of it, and the session runs in the end.
func (s *ContainerService) Restart(
	ctx context.Context, who Principal, id string, timeout time.Duration,
) (v View, err error) {
	defer func(start time.Time) { s.finishOperation(ctx, who, "restart", id, start, &err) }(time.Now())
	if timeout, err = stopTimeout(timeout); err != nil {
		return View{}, err
	}
	sess, unlock, err := s.lockSettled(ctx, who, id, urgency{stopBy: time.Now().Add(timeout)})
	if err != nil {
		return View{}, err
	}
	defer unlock()
	wanted, end := s.whileWanted(ctx, sess)
	defer func() { err = end(err) }()
	// As in Start; here a refusal leaves the session running.
	if err := checkBinds(s.cfg.BindRoots, sess.Spec.Binds); err != nil {
		return View{}, err
	}
	running := sess
	running.Desired = DesiredRunning
	sess, err = s.withinQuota(wanted, who, running, func() (Session, error) {
		return s.recordIntent(wanted, sess, OperationRestart, DesiredRunning)
	})
	if err != nil {
		return View{}, err
	}
	if sess, err = s.stopForRestart(wanted, sess, timeout); err != nil {
		return View{}, err
	}
	// Not before: a main process may take an hour to end.
	slot, err := s.acquireStartSlot(wanted)
	if err != nil {
		return View{}, unfinished(ctx, err)
	}
	defer slot.free()
	sess, c, err := s.startContainer(wanted, sess)
	if err != nil {
		return View{}, err
	}
	return s.viewAfterChange(ctx, sess, c), nil
}

// stopForRestart carries out the first half of the recorded intent to restart, which stays.
func (s *ContainerService) stopForRestart(ctx context.Context, sess Session, timeout time.Duration) (Session, error) {
	c, err := s.stopAndLook(ctx, sess, timeout)
	switch {
	case errors.Is(err, container.ErrContainerNotFound):
		return s.recordLost(ctx, sess, err)
	case err != nil:
		return sess, unfinished(ctx, err)
	}
	// One that somebody else has started at once has been restarted.
	if seen := withObserved(sess, c, ""); seen.Exit != nil && seen.Exit != sess.Exit {
		sess.Exit = seen.Exit
		s.publishChange(EventStopped, sess, StatusStopped, sess.Exit.describe())
	}
	return sess, nil
}

// finishRestart finishes a restart that was interrupted; c is the container, which runs.
func (s *ContainerService) finishRestart(ctx context.Context, sess Session, c *container.Container) error {
	// The run that was to end is the one on record. Where the engine did not show that when it
	// began, its time on record is a guess, but it began before the restart was asked for.
	if at := startOf(c); at.Equal(sess.StartedAt) || at.Before(sess.PendingSince) {
		var err error
		if sess, err = s.stopForRestart(ctx, sess, container.DefaultStopTimeout); err != nil {
			return err
		}
	}
	return s.finishStart(ctx, sess)
}
