package session

import (
	"context"
	"time"

	"github.com/octobot-run/octobot/internal/container"
)

// Signal sends a running session's main process a signal, see [container.Signaler]. It does not
// wait for what is under way with the session: one that is being stopped can be killed. It is no
// use of the session, and changes nothing that was asked for: what comes of it is recorded as the
// end of a main process always is. An engine that can't: unsupported.
func (s *ContainerService) Signal(ctx context.Context, who Principal, id string, signal int) (err error) {
	defer func(start time.Time) { s.finishOperation(ctx, who, "signal", id, start, &err) }(time.Now())
	signaler, ok := container.As[container.Signaler](s.rt)
	if !ok {
		return container.ErrUnsupported
	}
	defer s.guests.enter(id)()
	if _, err := s.getUsable(ctx, who, id); err != nil {
		return err
	}
	bounded, cancel := context.WithTimeout(ctx, s.cfg.CallTimeout)
	defer cancel()
	return s.hintIfChanged(id, signaler.Signal(bounded, id, signal))
}
