package session

import (
	"context"
	"time"

	"github.com/octobot-run/octobot/internal/container"
)

// Top lists all processes of a running session, see [container.Topper]. It does not count as use of
// the session, and does not wait for what is under way with it. One that does not run:
// session_not_running. An engine that can't: unsupported.
func (s *ContainerService) Top(ctx context.Context, who Principal, id string) (top *container.Top, err error) {
	defer func(start time.Time) { s.finishOperation(ctx, who, "top", id, start, &err) }(time.Now())
	topper, ok := container.As[container.Topper](s.rt)
	if !ok {
		return nil, container.ErrUnsupported
	}
	defer s.guests.enter(id)()
	if _, err := s.getUsable(ctx, who, id); err != nil {
		return nil, err
	}
	bounded, cancel := context.WithTimeout(ctx, s.cfg.CallTimeout)
	defer cancel()
	top, err = topper.Top(bounded, id)
	return top, s.hintIfChanged(id, err)
}
