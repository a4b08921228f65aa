package session

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/octobot-run/octobot/internal/container"
)

// Exec runs a command in a running session and waits for it, as [container.Runtime].Exec does.
// When ctx ends the command is killed, and what it had written comes back beside the error.
func (s *ContainerService) Exec(
	ctx context.Context, who Principal, id string, cmd []string, opts container.ExecOptions,
) (result *container.ExecResult, err error) {
	defer func(start time.Time) { s.finishOperation(ctx, who, "exec", id, start, &err) }(time.Now())
	if err := opts.Validate(cmd); err != nil {
		return nil, err
	}
	end, err := s.beginCommand(ctx, who, id)
	if err != nil {
		return nil, err
	}
	defer end()
	result, err = s.rt.Exec(ctx, id, cmd, opts)
	return result, s.hintIfChanged(id, err)
}

// ExecStream runs a command as Exec does and writes its output as it comes, see
// [container.StreamExecer]. An engine that can't: unsupported.
func (s *ContainerService) ExecStream(
	ctx context.Context, who Principal, id string, cmd []string, opts container.ExecOptions, stdout, stderr io.Writer,
) (code int, err error) {
	defer func(start time.Time) { s.finishOperation(ctx, who, "exec", id, start, &err) }(time.Now())
	if err := opts.Validate(cmd); err != nil {
		return 0, err
	}
	streams, ok := container.As[container.StreamExecer](s.rt)
	if !ok {
		return 0, container.ErrUnsupported
	}
	end, err := s.beginCommand(ctx, who, id)
	if err != nil {
		return 0, err
	}
	defer end()
	code, err = streams.ExecStream(ctx, id, cmd, opts, stdout, stderr)
	return code, s.hintIfChanged(id, err)
}

// Attach connects a terminal, see [container.Runtime].Attach. The session counts as in use until
// the terminal is closed. It is a [container.ExitCoder], and has IsMain, which reports whether the
// session's main process is on it.
func (s *ContainerService) Attach(
	ctx context.Context, who Principal, id string, opts container.AttachOptions,
) (terminal container.PTY, err error) {
	defer func(start time.Time) { s.finishOperation(ctx, who, "attach", id, start, &err) }(time.Now())
	if err := opts.Validate(); err != nil {
		return nil, err
	}
	sess, end, err := s.markInUse(ctx, who, id)
	if err != nil {
		return nil, err
	}
	pty, err := s.rt.Attach(ctx, id, opts)
	if err != nil {
		end()
		return nil, s.hintIfChanged(id, err)
	}
	return &usedPTY{PTY: pty, used: func() { s.activity.noteUse(id) }, end: sync.OnceFunc(end),
		isMain: len(opts.Cmd) == 0 && sess.Spec.Tty}, nil
}

// Logs writes what the session's main process has written, see [container.LogReader]. The
// session need not run. An engine that can't: unsupported.
func (s *ContainerService) Logs(
	ctx context.Context, who Principal, id string, opts container.LogOptions, stdout, stderr io.Writer,
) (err error) {
	defer func(start time.Time) { s.finishOperation(ctx, who, "logs", id, start, &err) }(time.Now())
	logs, ok := container.As[container.LogReader](s.rt)
	if !ok {
		return container.ErrUnsupported
	}
	defer s.guests.enter(id)()
	if _, err := s.getUsable(ctx, who, id); err != nil {
		return err
	}
	return s.hintIfChanged(id, logs.Logs(ctx, id, opts, stdout, stderr))
}

// getUsable reads a session that who reaches and that has a container to work with, its own. Who
// goes on to work with that by the session's ID, without its lock, is one of its guests before.
func (s *ContainerService) getUsable(ctx context.Context, who Principal, id string) (Session, error) {
	sess, err := s.getReachable(ctx, who, id)
	if err != nil {
		return Session{}, err
	}
	if err := checkUsable(sess); err != nil {
		return Session{}, err
	}
	return sess, s.checkOrigin(ctx, sess)
}

// markInUse marks a session that who reaches as in use; the caller calls end once, when it works
// with the session no longer.
func (s *ContainerService) markInUse(
	ctx context.Context, who Principal, id string,
) (sess Session, end func(), err error) {
	leave := s.guests.enter(id)
	sess, err = s.getUsable(ctx, who, id)
	if err != nil {
		leave()
		return Session{}, nil, err
	}
	s.activity.beginUse(id)
	return sess, func() {
		s.activity.endUse(id)
		leave()
	}, nil
}

// beginCommand is markInUse for a command, which counts for the project's quota.
func (s *ContainerService) beginCommand(ctx context.Context, who Principal, id string) (end func(), err error) {
	sess, leave, err := s.markInUse(ctx, who, id)
	if err != nil {
		return nil, err
	}
	stop, err := s.beginExec(ctx, who, sess.ProjectID)
	if err != nil {
		leave()
		return nil, err
	}
	return func() { stop(); leave() }, nil
}

// hintIfChanged has the record looked at where an error shows that the container is not as
// recorded.
func (s *ContainerService) hintIfChanged(id string, err error) error {
	if errors.Is(err, container.ErrContainerNotFound) || errors.Is(err, container.ErrContainerStopped) {
		s.hintSession(id)
	}
	return err
}

// usedPTY is a terminal that counts as use of its session.
type usedPTY struct {
	container.PTY
	used func()
	end  func() // counts once

	isMain bool
}

// IsMain reports whether the session's main process is on the terminal, rather than a command of
// the terminal's own.
func (p *usedPTY) IsMain() bool { return p.isMain }

func (p *usedPTY) Write(b []byte) (int, error) {
	p.used()
	return p.PTY.Write(b)
}

func (p *usedPTY) Close() error {
	defer p.end()
	return p.PTY.Close()
}

// ExitCode implements [container.ExitCoder].
func (p *usedPTY) ExitCode(ctx context.Context) (int, error) {
	coder, ok := p.PTY.(container.ExitCoder)
	if !ok {
		return 0, container.ErrUnsupported
	}
	return coder.ExitCode(ctx)
}
