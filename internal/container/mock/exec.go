package mock

import (
	"context"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/octobot-run/octobot/internal/container"
)

// Exec runs a scripted command; see [container.Runtime].
func (m *MockProvider) Exec(ctx context.Context, sessionID string, cmd []string, opts container.ExecOptions) (*container.ExecResult, error) {
	limit := opts.MaxOutput
	if limit == 0 {
		limit = container.DefaultMaxOutput
	}
	out, errs := bounded{limit: limit}, bounded{limit: limit}
	code, err := m.ExecStream(ctx, sessionID, cmd, opts, &out, &errs)
	if err != nil && ctx.Err() == nil {
		return nil, err
	}
	return &container.ExecResult{
		ExitCode: code,
		Stdout:   string(out.data), StdoutTruncated: out.cut,
		Stderr: string(errs.data), StderrTruncated: errs.cut,
	}, err
}

// bounded keeps the beginning of what is written.
type bounded struct {
	data  []byte
	limit int64
	cut   bool
}

func (b *bounded) Write(p []byte) (int, error) {
	n := min(int64(len(p)), b.limit-int64(len(b.data)))
	b.data = append(b.data, p[:n]...)
	b.cut = b.cut || n < int64(len(p))
	return len(p), nil
}

// ExecStream implements [container.StreamExecer].
func (m *MockProvider) ExecStream(ctx context.Context, sessionID string, cmd []string, opts container.ExecOptions, stdout, stderr io.Writer) (code int, err error) {
	err = m.call(ctx, "exec", sessionID, validate(sessionID, opts.Validate(cmd)), func(ctx context.Context) error {
		r, err := m.running(sessionID)
		if err != nil {
			return err
		}
		s := spec{
			args: slices.Clone(cmd), env: slices.Clone(opts.Env),
			dir: opts.WorkingDir, user: opts.User,
		}
		if opts.Tty {
			code, err = r.execTerminal(ctx, s, opts, orDiscard(stdout))
		} else {
			code, err = r.execStreams(ctx, s, opts.Stdin, orDiscard(stdout), orDiscard(stderr))
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

// execStreams runs a command and hands its output to the writers from this goroutine.
func (r *run) execStreams(ctx context.Context, s spec, stdin io.Reader, stdout, stderr io.Writer) (int, error) {
	out := &outlet{chunks: make(chan chunk), taken: make(chan struct{}), done: make(chan struct{}), run: r.ctx}
	release := sync.OnceFunc(func() { close(out.done) })
	defer release()
	s.stdout, s.stderr = out.to(stdout), out.to(stderr)
	if stdin != nil {
		pr, pw := io.Pipe()
		defer pr.Close()
		s.stdin = pr
		go func() { // ends with stdin's Read, as the contract says
			_, err := io.Copy(pw, stdin)
			pw.CloseWithError(err)
		}()
	}
	p, err := r.spawn(s)
	if err != nil {
		return 0, err
	}
	// A command that waits for its input is woken by its end.
	if pr, ok := s.stdin.(*io.PipeReader); ok {
		stop := context.AfterFunc(p.ctx, func() { _ = pr.CloseWithError(errEnded) })
		defer stop()
	}
	for {
		select {
		case c := <-out.chunks:
			if _, err := c.to.Write(c.data); err != nil {
				release()
				r.abandon(p)
				return 0, fmt.Errorf("write output: %w", err)
			}
			out.taken <- struct{}{}
		case <-p.ended:
			return r.result(p)
		case <-ctx.Done():
			release()
			r.abandon(p)
			return 0, ctx.Err()
		}
	}
}

// execTerminal runs a command on a PTY and hands its output to the writer.
func (r *run) execTerminal(ctx context.Context, s spec, opts container.ExecOptions, stdout io.Writer) (int, error) {
	t := newTerminal(r)
	t.resize(opts.Rows, opts.Cols)
	v := t.view()
	defer v.close()
	s.terminal = t
	p, err := r.spawn(s)
	if err != nil {
		return 0, err
	}
	if opts.Stdin != nil {
		go func() { // ends with Stdin's Read, as the contract says
			_, _ = io.Copy(typist{v}, opts.Stdin)
			_, _ = typist{v}.Write([]byte{keyEOF})
		}()
	}
	stop := context.AfterFunc(ctx, v.close)
	defer stop()
	_, err = io.Copy(stdout, v)
	if ctx.Err() != nil {
		r.abandon(p)
		return 0, ctx.Err()
	}
	if err != nil {
		r.abandon(p)
		return 0, fmt.Errorf("write output: %w", err)
	}
	return r.result(p)
}

// typist types what is written to it.
type typist struct{ v *viewer }

func (t typist) Write(b []byte) (int, error) {
	if err := t.v.t.input(t.v.ctx, b); err != nil {
		return 0, err
	}
	return len(b), nil
}

// abandon kills a command with all that it has started.
func (r *run) abandon(p *Process) {
	if p.Terminal != nil {
		p.Terminal.end()
	}
	r.killJob(p.job)
}

// result is how a command ended that nobody cancelled.
func (r *run) result(p *Process) (int, error) {
	<-p.ended
	if r.ctx.Err() != nil {
		return 0, refuse(container.ErrContainerStopped, "the container ended before the command")
	}
	return p.code, nil
}

// outlet brings the output of many processes to one goroutine, one write at a time.
type outlet struct {
	chunks chan chunk
	taken  chan struct{}   // after each chunk
	done   chan struct{}   // closed when nobody takes chunks any more
	run    context.Context // of the container
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
	case <-w.o.run.Done():
		return 0, io.ErrClosedPipe
	}
	select {
	case <-w.o.taken:
	case <-w.o.done:
	}
	return len(b), nil
}

// Attach connects a terminal; see [container.Runtime].
func (m *MockProvider) Attach(ctx context.Context, sessionID string, opts container.AttachOptions) (container.PTY, error) {
	var t container.PTY
	err := m.call(ctx, "attach", sessionID, validate(sessionID, opts.Validate()), func(context.Context) error {
		r, err := m.running(sessionID)
		if err != nil {
			return err
		}
		p, err := r.attach(opts)
		if err != nil {
			return err
		}
		t = p
		return m.keep(p)
	})
	if err != nil {
		return nil, err
	}
	return t, nil
}

func (r *run) attach(opts container.AttachOptions) (*pty, error) {
	if len(opts.Cmd) == 0 && r.main.Terminal != nil {
		t := r.main.Terminal
		t.resize(opts.Rows, opts.Cols)
		p := &pty{viewer: t.view(), process: r.main, main: true}
		r.main.wake()
		return p, nil
	}
	cmd := opts.Cmd
	if len(cmd) == 0 {
		cmd = []string{"sh"}
	}
	t := newTerminal(r)
	t.resize(opts.Rows, opts.Cols)
	v := t.view()
	process, err := r.spawn(spec{
		args: slices.Clone(cmd), dir: opts.WorkingDir, user: opts.User, terminal: t,
		env: append([]string{"TERM=xterm-256color"}, opts.Env...),
	})
	if err != nil {
		v.close()
		return nil, err
	}
	return &pty{viewer: v, process: process}, nil
}
