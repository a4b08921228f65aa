package mock

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/container/mock/toybox"
	"github.com/octobot-run/octobot/internal/container/provider"
)

// Exec runs a scripted command; see [container.Runtime].
func (m *MockProvider) Exec(
	ctx context.Context, sessionID string, cmd []string, opts container.ExecOptions,
) (*container.ExecResult, error) {
	return provider.Collect(ctx, opts.MaxOutput, func(stdout, stderr io.Writer) (int, error) {
		return m.ExecStream(ctx, sessionID, cmd, opts, stdout, stderr)
	})
}

// ExecStream implements [container.StreamExecer].
func (m *MockProvider) ExecStream(
	ctx context.Context, sessionID string, cmd []string, opts container.ExecOptions, stdout, stderr io.Writer,
) (code int, err error) {
	err = m.sessionCall(ctx, "exec", sessionID, func() error { return opts.Validate(cmd) },
		func(ctx context.Context) error {
			system, err := m.running(sessionID)
			if err != nil {
				return err
			}
			spec := toybox.Spec{
				Args: slices.Clone(cmd), Env: slices.Clone(opts.Env), Dir: opts.WorkingDir, User: opts.User,
			}
			if opts.Tty {
				code, err = execTerminal(ctx, system, spec, opts, orDiscard(stdout))
			} else {
				code, err = execStreams(ctx, system, spec, opts.Stdin, orDiscard(stdout), orDiscard(stderr))
			}
			return err
		})
	return code, err
}

func orDiscard(w io.Writer) io.Writer {
	if w == nil {
		return io.Discard
	}
	return w
}

// spawn starts a process beside the main one.
func spawn(system *toybox.System, spec toybox.Spec) (*toybox.Process, error) {
	p, err := system.Spawn(spec)
	switch {
	case errors.Is(err, toybox.ErrEnded):
		return nil, refuse(container.ErrContainerStopped, "")
	case err != nil:
		return nil, refuse(container.ErrExecFailed, "%s", err)
	}
	return p, nil
}

// execStreams runs a command and hands its output to the writers from this goroutine.
func execStreams(
	ctx context.Context, system *toybox.System, spec toybox.Spec, stdin io.Reader, stdout, stderr io.Writer,
) (int, error) {
	out := &outlet{chunks: make(chan chunk), taken: make(chan struct{}), done: make(chan struct{}),
		ending: system.Ending()}
	release := sync.OnceFunc(func() { close(out.done) })
	defer release()
	spec.Stdout, spec.Stderr = out.to(stdout), out.to(stderr)
	if stdin != nil {
		pr, pw := io.Pipe()
		defer pr.Close()
		spec.Stdin = pr
		go func() { // ends with stdin's Read, as the contract says
			_, err := io.Copy(pw, stdin)
			pw.CloseWithError(err)
		}()
	}
	p, err := spawn(system, spec)
	if err != nil {
		return 0, err
	}
	for {
		select {
		case c := <-out.chunks:
			if _, err := c.to.Write(c.data); err != nil {
				release()
				p.KillJob()
				return 0, fmt.Errorf("write output: %w", err)
			}
			out.taken <- struct{}{}
		case <-p.Done():
			return result(system, p)
		case <-ctx.Done():
			release()
			p.KillJob()
			return 0, ctx.Err()
		}
	}
}

// execTerminal runs a command on a PTY and hands its output to the writer.
func execTerminal(
	ctx context.Context, system *toybox.System, spec toybox.Spec, opts container.ExecOptions, stdout io.Writer,
) (int, error) {
	spec.Terminal = system.NewTerminal(nil)
	spec.Terminal.Resize(opts.Rows, opts.Cols)
	v := spec.Terminal.View()
	defer v.Close()
	p, err := spawn(system, spec)
	if err != nil {
		return 0, err
	}
	if opts.Stdin != nil {
		go func() { // ends with Stdin's Read, as the contract says
			_, _ = io.Copy(v, opts.Stdin)
			_, _ = v.Write([]byte{toybox.KeyEOF})
		}()
	}
	stop := context.AfterFunc(ctx, v.Close)
	defer stop()
	_, err = io.Copy(stdout, v)
	if ctx.Err() != nil {
		p.KillJob()
		return 0, ctx.Err()
	}
	if err != nil {
		p.KillJob()
		return 0, fmt.Errorf("write output: %w", err)
	}
	return result(system, p)
}

// result is how a command ended that nobody cancelled.
func result(system *toybox.System, p *toybox.Process) (int, error) {
	<-p.Done()
	select {
	case <-system.Ending():
		return 0, refuse(container.ErrContainerStopped, "the container ended before the command")
	default:
		return p.ExitCode(), nil
	}
}

// outlet brings the output of many processes to one goroutine, one write at a time.
type outlet struct {
	chunks chan chunk
	taken  chan struct{}   // after each chunk
	done   chan struct{}   // closed when nobody takes chunks any more
	ending <-chan struct{} // of the container
}

type chunk struct {
	to   io.Writer
	data []byte
}

func (o *outlet) to(w io.Writer) io.Writer { return outletWriter{o, w} }

type outletWriter struct {
	o  *outlet
	to io.Writer
}

// Write returns when the output was taken. After the command's end, a child of it that goes
// on writes into the void.
func (w outletWriter) Write(b []byte) (int, error) {
	select {
	case w.o.chunks <- chunk{w.to, b}:
	case <-w.o.done:
		return len(b), nil
	case <-w.o.ending:
		return 0, io.ErrClosedPipe
	}
	select {
	case <-w.o.taken:
	case <-w.o.done:
	}
	return len(b), nil
}
