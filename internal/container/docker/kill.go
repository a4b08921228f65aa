package docker

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"time"

	dockercontainer "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/octobot-run/octobot/internal/container/provider"
)

// tagName is the variable in a command's environment by which it and its children
// are found again.
const tagName = "OCTOBOT_EXEC"

//go:embed kill.sh
var killScript string

const (
	killAll     = "kill"
	hangUp      = "hup"
	findOutputs = "outputs"
)

// errNoShell is about an image, so it is the same after every attempt.
var errNoShell = errors.New("the image has no /bin/sh, without which the processes in it can't be found")

// kill kills the process and its children, once, although the caller has gone, and keeps the
// trouble that had.
func (r *process) kill() {
	if r.killed {
		return
	}
	r.killed = true
	ctx, cancel := cleanupContext(r.Ctx)
	defer cancel()
	if r.silent != nil { // it is given no more time than before, where that is less
		ctx, cancel = context.WithTimeout(ctx, r.p.answerTime)
		defer cancel()
	}
	r.killErr = r.p.killTree(ctx, r)
}

// killTree kills the process and its children, and returns when the engine says that it has ended.
func (p *DockerProvider) killTree(ctx context.Context, r *process) error {
	var signalErr error
	ended := false
	err := provider.Poll(ctx, "the processes to be signalled", 10*time.Millisecond, time.Second, func() (bool, error) {
		if signalErr = p.signalTree(ctx, r, killAll); signalErr == nil || errors.Is(signalErr, errNoShell) {
			return true, nil
		}
		// The container may be at its limit of processes, or on its way out.
		ended = !p.running(ctx, r.containerID)
		return ended, nil
	})
	switch {
	case ended:
		return nil
	case signalErr != nil:
		return signalErr
	case err != nil:
		return err
	}
	return p.awaitEnd(ctx, r)
}

// awaitEnd returns when the engine says that the process has ended, or does not know it any more.
func (p *DockerProvider) awaitEnd(ctx context.Context, r *process) error {
	var last error
	look := func() (ended bool, _ error) {
		state, err := p.inspectExec(ctx, r.execID)
		last = err
		return isForgotten(err) || err == nil && !state.Running, nil
	}
	err := provider.Poll(ctx, "the command to have ended", 2*time.Millisecond, 250*time.Millisecond, look)
	if err != nil {
		return errors.Join(last, err)
	}
	return nil
}

// signalTree runs the script to its good end.
func (p *DockerProvider) signalTree(ctx context.Context, r *process, mode string) error {
	code, said, err := p.runScript(ctx, r, mode)
	switch {
	case err != nil:
		return err
	case code == 0:
		return nil
	case code == 126 || code == 127:
		return errNoShell
	}
	return fmt.Errorf("the shell that looks for the processes ended with %d: %s", code, said)
}

// runScript runs the script in the container, as the user that the process runs as and with no more
// rights: the shell there is the session's own and not to be trusted. It gives 0 where the
// container does not run.
func (p *DockerProvider) runScript(ctx context.Context, r *process, mode string) (code int, said []byte, _ error) {
	made, err := p.client.ExecCreate(ctx, r.containerID, client.ExecCreateOptions{
		User:         r.opts.User,
		AttachStdout: true,
		AttachStderr: true,
		WorkingDir:   "/",
		Cmd:          []string{"/bin/sh", "-c", killScript, "sh", r.tag, mode},
	})
	if err != nil {
		if !p.running(ctx, r.containerID) {
			return 0, nil, nil
		}
		return 0, nil, err
	}
	conn, err := p.startExec(ctx, r.SessionID, made.ID, dockercontainer.ExecStartRequest{})
	if err != nil {
		return 0, nil, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	head := &provider.Head{Most: 1 << 10}
	if err := copyOutput(false, conn, head, io.Discard); err != nil {
		return 0, nil, err
	}
	look := func() (ended bool, err error) {
		state, err := p.inspectExec(ctx, made.ID)
		if err != nil || state.Running || state.ExitCode == nil {
			return err != nil, err
		}
		code = *state.ExitCode
		return true, nil
	}
	err = provider.Poll(ctx, "the shell that looks for the processes", time.Millisecond, 250*time.Millisecond, look)
	return code, head.Kept, err
}

// running is false only where the engine said so.
func (p *DockerProvider) running(ctx context.Context, id string) bool {
	info, err := p.client.ContainerInspect(ctx, id, client.ContainerInspectOptions{})
	if err != nil {
		return !isNoContainer(err)
	}
	return info.Container.State != nil && info.Container.State.Running
}
