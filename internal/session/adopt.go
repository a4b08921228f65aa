package session

import (
	"strings"
	"time"

	"github.com/octobot-run/octobot/internal/container"
)

// Adopted gives the session of a container whose record is lost, as far as the container tells:
// which it is, and what it does now. Not told are limits, ports and binds. ok is false where the
// container does not say which session it was made for.
func Adopted(c *container.Container) (s Session, ok bool) {
	origin := c.Labels[container.LabelOrigin]
	if origin == "" || container.ValidateSessionID(c.SessionID) != nil {
		return Session{}, false
	}
	s = Session{
		ID: c.SessionID, ProjectID: c.Labels[container.LabelProject], Origin: origin,
		Spec:      Spec{Image: c.Image, Tty: c.Tty, User: c.User, OnExpire: ExpiryStop},
		CreatedAt: c.CreatedAt.UTC().Truncate(time.Microsecond), ActiveAt: now(),
	}
	for k, v := range c.Labels {
		if strings.HasPrefix(k, container.LabelPrefix) {
			continue
		}
		if s.Spec.Labels == nil {
			s.Spec.Labels = make(map[string]string)
		}
		s.Spec.Labels[k] = v
	}
	if c.Labels[container.LabelProgram] == "" {
		s.Spec.Agent = AgentOff
	}
	return withObserved(s, c, ""), true
}
