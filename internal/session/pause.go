package session

import (
	"context"
	"time"

	"github.com/octobot-run/octobot/internal/container"
)

// Pause freezes every process of a running session, where it stands and with its memory. One that
// is paused: nil. One that does not run: session_not_running. An engine that can't: unsupported.
//
// A paused session is running still, and its View says that it is paused. New commands and
// terminals are refused; Start lets it go on, as Unpause does; Stop and Delete work as on any
// other. It goes on to age and to be idle, and so expires.
//
// Pausing is nothing that is recorded or that reconciliation sees to. It lasts until Unpause or the
// end of the main process, and a session that is started anew is not paused. Where the engine does
// not answer, or ctx ends meanwhile, it may be paused or not; Get tells.
func (s *ContainerService) Pause(ctx context.Context, who Principal, id string) (v View, err error) {
	defer func(start time.Time) { s.finishOperation(ctx, who, "pause", id, start, &err) }(time.Now())
	return s.changePaused(ctx, who, id, container.Pauser.Pause)
}

// Unpause lets the processes of a paused session go on. One that is not paused: nil. One that does
// not run: session_not_running. An engine that can't: unsupported.
//
// It counts as use of the session, as Start does, so that a session that was paused for long is not
// found idle before anybody could use it.
func (s *ContainerService) Unpause(ctx context.Context, who Principal, id string) (v View, err error) {
	defer func(start time.Time) { s.finishOperation(ctx, who, "unpause", id, start, &err) }(time.Now())
	return s.changePaused(ctx, who, id, func(p container.Pauser, ctx context.Context, id string) error {
		err := p.Unpause(ctx, id)
		if err == nil {
			s.activity.noteUse(id)
		}
		return err
	})
}

// unpauseStarted lets the processes of a container go on that was to run and is paused.
func (s *ContainerService) unpauseStarted(ctx context.Context, c *container.Container) error {
	pauser, ok := container.As[container.Pauser](s.rt)
	if c == nil || !c.Paused || !ok {
		return nil
	}
	bounded, cancel := context.WithTimeout(ctx, s.cfg.CallTimeout)
	defer cancel()
	if err := pauser.Unpause(bounded, c.SessionID); err != nil {
		return err
	}
	c.Paused = false
	return nil
}

func (s *ContainerService) changePaused(
	ctx context.Context, who Principal, id string, change func(container.Pauser, context.Context, string) error,
) (View, error) {
	pauser, ok := container.As[container.Pauser](s.rt)
	if !ok {
		return View{}, container.ErrUnsupported
	}
	sess, unlock, err := s.lockSettled(ctx, who, id, urgency{})
	if err != nil {
		return View{}, err
	}
	defer unlock()
	wanted, end := s.whileWanted(ctx, sess)
	bounded, cancel := context.WithTimeout(wanted, s.cfg.CallTimeout)
	defer cancel()
	if err := end(change(pauser, bounded, id)); err != nil {
		return View{}, s.hintIfChanged(id, err)
	}
	return s.viewAfterChange(ctx, sess, nil), nil
}
