package session

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/octobot-run/octobot/internal/container"
)

// statusOf computes what users see of a session, and why. c is its container as the engine
// has it, nil where the engine answered that there is none; err is set where it did not answer.
func statusOf(s Session, c *container.Container, err error) (Status, string) {
	switch {
	case !engineMatters(s):
		return recordedStatus(s)
	case container.ClassOf(err) == container.ErrRefused:
		return StatusUnknown, "the engine does not show it"
	case err != nil:
		return StatusUnknown, "the engine does not answer"
	case c == nil:
		return StatusFailed, reasonLost
	case !ownsContainer(s, c):
		return StatusUnknown, reasonForeign
	case c.Status == container.StatusRunning && c.Paused:
		return StatusRunning, "paused"
	case c.Status == container.StatusRunning:
		return StatusRunning, ""
	case c.Status == container.StatusCreated:
		return StatusCreated, ""
	case s.Exit != nil:
		return StatusStopped, s.Exit.describe()
	case c.Detailed:
		return StatusStopped, exitOf(c, "").describe()
	}
	return StatusStopped, ""
}

const (
	reasonLost    = "its container is gone"
	reasonForeign = "another container has its name"
)

// engineMatters reports whether a session's status depends on what the engine says now.
func engineMatters(s Session) bool {
	return s.ClosedAt.IsZero() && s.Desired != DesiredClosed && s.Failure == nil &&
		(s.Pending == OperationNone || s.Pending == OperationUpdate)
}

func recordedStatus(s Session) (Status, string) {
	reason := ""
	if s.Failure != nil {
		reason = s.Failure.Detail
	}
	switch {
	case !s.ClosedAt.IsZero():
		return StatusClosed, reason
	case s.Desired == DesiredClosed:
		return StatusClosing, reason
	case s.Failure != nil:
		return StatusFailed, reason
	case s.Pending == OperationCreate:
		return StatusCreating, ""
	case s.Pending == OperationStart:
		return StatusStarting, ""
	case s.Pending == OperationRestart:
		return StatusStarting, "it is being restarted"
	}
	return StatusStopping, ""
}

// ownsContainer reports whether c is the container that s records, and not one that merely has its
// name.
func ownsContainer(s Session, c *container.Container) bool {
	return sameOrigin(s, c) && (s.ContainerID == "" || s.ContainerID == c.ID)
}

// sameOrigin reports whether c was made for this very session, and not for one that had its ID
// before or after.
func sameOrigin(s Session, c *container.Container) bool {
	return s.Origin != "" && c.Labels[container.LabelOrigin] == s.Origin
}

// errForeign is of a session whose container's name leads to another one.
var errForeign = refuse(CodeContainerLost, "octobot reconcile --dry-run says what it is", reasonForeign)

// checkOrigin refuses where the engine shows a container that was not made for this very session: a
// record from a backup must not lead into what has its ID now. That there is none is for the call
// to find that comes next.
func (s *ContainerService) checkOrigin(ctx context.Context, sess Session) error {
	reader, ok := container.As[container.OriginReader](s.rt)
	if !ok {
		return nil
	}
	bounded, cancel := context.WithTimeout(ctx, s.cfg.CallTimeout)
	defer cancel()
	origin, err := reader.Origin(bounded, sess.ID)
	switch {
	case errors.Is(err, container.ErrContainerNotFound):
		return nil
	case err != nil:
		return err
	case origin != sess.Origin:
		s.hintReconcile()
		return errForeign
	}
	return nil
}

// viewOf is a session as seen beside its container; see statusOf.
func viewOf(s Session, c *container.Container, err error) View {
	v := View{Session: s}
	v.Status, v.Reason = statusOf(s, c, err)
	if v.Status == StatusRunning {
		v.Address, v.Ports, v.Paused, v.Exec = c.Address, c.Ports, c.Paused, c.Exec
	}
	return v
}

// startOf gives when a container that runs was started; now where the engine does not say.
func startOf(c *container.Container) time.Time {
	if c == nil || c.StartedAt.IsZero() {
		return now()
	}
	return c.StartedAt.UTC().Truncate(time.Microsecond)
}

// exitOf gives how the main process of a stopped container ended; reason, where not
// empty, goes before the engine's words.
func exitOf(c *container.Container, reason string) *Exit {
	if reason == "" {
		reason = c.Reason
	}
	at := c.FinishedAt.UTC().Truncate(time.Microsecond)
	if c.FinishedAt.IsZero() {
		at = now()
	}
	return &Exit{Code: c.ExitCode, OOMKilled: c.OOMKilled, Reason: reason, At: at}
}

func (e *Exit) describe() string {
	switch {
	case e.Reason != "":
		return e.Reason
	case e.OOMKilled:
		return fmt.Sprintf("ran out of memory (exit code %d)", e.Code)
	}
	return fmt.Sprintf("exited with code %d", e.Code)
}

// withObserved gives the session as it is to be recorded when c is its container now: nothing is
// pending any more, and what c shows is what is desired, for it came about after that was last
// asked for. reason is as exitOf takes it.
func withObserved(s Session, c *container.Container, reason string) Session {
	s.Pending, s.PendingSince = OperationNone, time.Time{}
	s.Failure = nil
	s.ContainerID = c.ID
	switch c.Status {
	case container.StatusRunning:
		if at := startOf(c); !at.Equal(s.StartedAt) {
			s.StartedAt, s.ActiveAt = at, now()
		}
		s.Desired, s.Exit = DesiredRunning, nil
	case container.StatusStopped:
		s.Desired = DesiredStopped
		// An end that is on record keeps its words.
		if exit := exitOf(c, reason); s.Exit == nil || !s.Exit.At.Equal(exit.At) && !c.FinishedAt.IsZero() {
			s.Exit = exit
		}
	default:
		s.Desired = DesiredStopped
	}
	return s
}
