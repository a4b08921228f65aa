package session

import (
	"context"
	"errors"
	"io/fs"
	"syscall"

	"github.com/octobot-run/octobot/internal/container"
)

// HostMounts mounts what binds name on paths that nobody but the daemon can change, for the engine
// to mount from there. An engine follows a path itself, some time after it was looked at, and
// whoever can write to a directory on the way could have it lead elsewhere by then.
//
// Mounts last from before a container is made until its session is closed, or for as long as the
// daemon runs; each start makes them anew.
type HostMounts interface {
	// Mount mounts what source leads to now as the session's mount n, from 0 on, and in the place
	// of what that was before, and gives the path of the mount. The source is absolute. Where a
	// name in it is a symbolic link: [syscall.ELOOP]. Where it does not exist: [fs.ErrNotExist].
	// Where it must not be mounted or can't be reached: [fs.ErrPermission].
	Mount(sessionID string, n int, source string) (path string, err error)
	// Verify compares what a container has on the targets of the session's binds, in their order,
	// with the mounts. pid is its main process. An error means that they are not the same, or could
	// not be compared; [fs.ErrNotExist], that nothing is mounted for the session.
	Verify(sessionID string, pid int, targets []string) error
	// Unmount removes the session's mounts. It has none: nil.
	Unmount(sessionID string) error
	// Mounted lists the sessions that have mounts.
	Mounted() ([]string, error)
}

// checkMounting refuses binds where there is nothing to mount them by.
func (s *ContainerService) checkMounting(binds []string) error {
	if len(binds) == 0 || s.cfg.Mounts != nil {
		return nil
	}
	reason := s.cfg.NoMounts
	if reason == "" {
		reason = "this daemon has nothing to mount them by"
	}
	return refuse(CodeUnsupported, "octobot doctor says what the daemon needs for it", "binds can't be mounted: %s",
		reason)
}

// mountBinds mounts what the session's binds name, for the engine to follow the paths after, and
// gives the binds that the engine is to make.
func (s *ContainerService) mountBinds(sess Session) ([]string, error) {
	if len(sess.Spec.Binds) == 0 {
		return nil, nil
	}
	if err := s.checkMounting(sess.Spec.Binds); err != nil {
		return nil, err
	}
	if err := checkBinds(s.cfg.BindRoots, sess.Spec.Binds); err != nil {
		return nil, err
	}
	mounted := make([]string, len(sess.Spec.Binds))
	for n, text := range sess.Spec.Binds {
		bind, err := container.ParseBind(text)
		if err != nil {
			return nil, err
		}
		path, err := s.cfg.Mounts.Mount(sess.ID, n, bind.Source)
		switch {
		case err == nil:
		case errors.Is(err, syscall.ELOOP):
			return nil, errBecameLink(n, text)
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
			return nil, refuse(CodePathNotFound, "", "binds[%d]: %.200q does not exist", n, bind.Source)
		case errors.Is(err, fs.ErrPermission):
			return nil, refuse(CodeForbidden, bindHint, "binds[%d]: %.200q may not be mounted", n, bind.Source)
		default:
			return nil, err
		}
		bind.Source = path
		if _, err := container.ParseBind(bind.String()); err != nil {
			return nil, refuse(CodeUnsupported, "choose another data directory",
				"binds can't be mounted: containers may mount nothing from where the data directory is")
		}
		mounted[n] = bind.String()
	}
	return mounted, nil
}

// mountForStart does so for a container that is about to be started. One that runs has its mounts,
// and keeps them. It gives the container, nil where it was not asked for.
func (s *ContainerService) mountForStart(ctx context.Context, sess Session) (*container.Container, error) {
	if len(sess.Spec.Binds) == 0 {
		return nil, nil
	}
	c, err := s.inspectContainer(ctx, sess.ID)
	if err != nil || c == nil {
		return nil, err // where it is gone, the start says so
	}
	if c.Status != container.StatusRunning {
		_, err = s.mountBinds(sess)
	}
	return c, err
}

// verifyBinds looks whether the container, which was just started, has got what was mounted for it,
// and stops it at once where it has not. It is a second net: what an engine mounts from can't be
// led elsewhere. before is the container as it was before, nil where that is not known.
func (s *ContainerService) verifyBinds(ctx context.Context, sess Session, before *container.Container) error {
	if len(sess.Spec.Binds) == 0 || s.cfg.Mounts == nil {
		return nil
	}
	processes, ok := container.As[container.HostProcesses](s.rt)
	if !ok {
		return nil // nothing of it is to be seen from here
	}
	targets := make([]string, len(sess.Spec.Binds))
	for n, text := range sess.Spec.Binds {
		bind, err := container.ParseBind(text)
		if err != nil {
			return err
		}
		targets[n] = bind.Target
	}
	for {
		pid, err := processes.MainPID(ctx, sess.ID)
		switch {
		case errors.Is(err, container.ErrContainerStopped), errors.Is(err, container.ErrUnsupported):
			return nil // it has ended already, or is not to be seen from here
		case err != nil:
			return err
		}
		mismatch := s.cfg.Mounts.Verify(sess.ID, pid, targets)
		if mismatch == nil || errors.Is(mismatch, fs.ErrNotExist) && s.stillRuns(ctx, sess.ID, before) {
			return nil
		}
		// It may have ended under the look.
		if again, err := processes.MainPID(ctx, sess.ID); err == nil && again == pid {
			return s.stopMismatched(ctx, sess, mismatch)
		}
	}
}

// stillRuns reports whether the container ran before, and was not started since. Its mounts may be
// gone from the host with the daemon that made them.
func (s *ContainerService) stillRuns(ctx context.Context, id string, before *container.Container) bool {
	if before == nil || before.Status != container.StatusRunning {
		return false
	}
	c, err := s.inspectContainer(ctx, id)
	return err == nil && c != nil && c.ID == before.ID && c.StartedAt.Equal(before.StartedAt)
}

// stopMismatched ends a container that did not get what it was to, and says so.
func (s *ContainerService) stopMismatched(ctx context.Context, sess Session, mismatch error) error {
	s.log.ErrorContext(ctx, "A container did not get what its binds name, as far as can be seen, and is stopped",
		"session", sess.ID, "error", mismatch)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.CallTimeout)
	defer cancel()
	if err := s.rt.Stop(ctx, sess.ID, 0); err != nil && !errors.Is(err, container.ErrContainerNotFound) {
		return err // and so not a refusal: a pass looks again
	}
	return &Error{
		Code:   CodeForbidden,
		Detail: "the container got something else than its binds name, or what it got could not be seen; it was stopped",
		Hint:   "see the daemon's log: do the engine and the daemon see the same files and processes?",
		cause:  mismatch,
	}
}

// unmountBinds removes what was mounted for a session that is closed. What fails is left for the
// next pass.
func (s *ContainerService) unmountBinds(ctx context.Context, id string) {
	if s.cfg.Mounts == nil {
		return
	}
	if err := s.cfg.Mounts.Unmount(id); err != nil {
		s.log.WarnContext(ctx, "A closed session's binds could not be unmounted yet", "session", id, "error", err)
	}
}

// unmountLeftovers removes what is mounted for sessions that are closed or unknown. That takes
// nothing from anybody: a container keeps what it has, and a start mounts anew.
func (s *ContainerService) unmountLeftovers(ctx context.Context, w world) {
	if s.cfg.Mounts == nil {
		return
	}
	mounted, err := s.cfg.Mounts.Mounted()
	if err != nil {
		s.log.WarnContext(ctx, "It could not be listed what is mounted for sessions", "error", err)
		return
	}
	open := make(map[string]bool, len(w.sessions))
	for _, sess := range w.sessions {
		open[sess.ID] = sess.ClosedAt.IsZero()
	}
	for _, id := range mounted {
		if open[id] {
			continue
		}
		unlock, ok := s.locks.TryLock(id)
		if !ok {
			continue
		}
		sess, err := s.store.get(ctx, id)
		if errors.Is(err, ErrNotFound) || err == nil && !sess.ClosedAt.IsZero() {
			s.unmountBinds(ctx, id)
		}
		unlock()
	}
}
