package docker

import (
	"context"
	"errors"
	"io"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/moby/moby/client"

	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/container/provider"
)

const (
	// hangupGrace is how long the process of a closed terminal has after SIGHUP.
	hangupGrace = time.Second
	// resizePace is the least time between two sizes for Podman. Its conmon reads them from a FIFO,
	// 200 bytes at a time, and where more have piled up, parts of two get mixed and the last is
	// lost.
	resizePace = 100 * time.Millisecond
	// redrawPause is how long a size lasts that a process is to notice.
	redrawPause = 20 * time.Millisecond
	// endOfInput is what is typed at a terminal for it.
	endOfInput = 4
	// noDetachKeys is a sequence that nobody types. Without one, engines take ctrl-p ctrl-q out
	// of the input, and hold back every ctrl-p until the next key; so they do with the first key of
	// this, which therefore is a rare one.
	noDetachKeys = "ctrl-^,ctrl-@,ctrl-^,ctrl-@,ctrl-^,ctrl-@,ctrl-^,ctrl-@"
)

// Attach connects a terminal.
func (p *DockerProvider) Attach(
	ctx context.Context, sessionID string, opts container.AttachOptions,
) (container.PTY, error) {
	c, err := p.beginCall(ctx, "attach", sessionID, opts.Validate)
	if err != nil {
		return nil, err
	}
	defer c.Done()
	var t *pty
	err = c.answered(func(c *call) error {
		t, err = c.attach(opts)
		return err
	})
	if err != nil {
		return nil, c.toError(err)
	}
	if !p.calls.Keep(t) {
		_ = t.Close() // what matters is that the provider is closed
		return nil, c.toError(container.ErrClosed)
	}
	return t, nil
}

func (c *call) attach(opts container.AttachOptions) (*pty, error) {
	if len(opts.Cmd) == 0 {
		found, err := c.inspect()
		if err != nil {
			return nil, err
		}
		state := found.Container.State
		switch {
		case state == nil || status(state.Status) != container.StatusRunning:
			return nil, container.Errorf("", "", container.ErrContainerStopped, "")
		case state.Paused:
			return nil, container.Errorf("", "", container.ErrContainerPaused, "")
		}
		if found.Container.Config.Tty {
			return c.attachMain(found.Container.ID, opts)
		}
	}
	r := &process{
		call: c,
		opts: client.ExecCreateOptions{
			User: opts.User, Env: opts.TerminalEnv(), WorkingDir: opts.WorkingDir, DetachKeys: noDetachKeys,
			TTY: true, AttachStdin: true, AttachStdout: true, AttachStderr: true,
		},
		rows: opts.Rows, cols: opts.Cols, noInput: opts.NoInput,
	}
	r.addTag()
	if err := r.startOnTerminal(opts.Cmd); err != nil {
		return nil, errors.Join(err, r.killErr)
	}
	if r.noInput { // there is no shell that could have typed it
		_, _ = r.conn.Write([]byte{endOfInput}) // a command that has ended needs none
	}
	p := c.p
	return newPTY(p, r.conn, ptyOf{
		resize: func(ctx context.Context, height, width uint) error {
			_, err := p.client.ExecResize(ctx, r.execID, client.ExecResizeOptions{Height: height, Width: width})
			return err
		},
		state:  func(ctx context.Context) (execState, error) { return p.inspectExec(ctx, r.execID) },
		hangUp: func(ctx context.Context) error { return p.hangUp(ctx, r) },
	}), nil
}

// attachMain connects to the container's main process, which has a terminal.
func (c *call) attachMain(id string, opts container.AttachOptions) (*pty, error) {
	p := c.p
	resize := func(ctx context.Context, height, width uint) error {
		_, err := p.client.ContainerResize(ctx, id, client.ContainerResizeOptions{Height: height, Width: width})
		return err
	}
	if opts.Rows != 0 && opts.Cols != 0 {
		if err := resize(c.Ctx, opts.Rows, opts.Cols); err != nil {
			return nil, err
		}
	}
	conn, err := p.hijack(c.Ctx, "/containers/"+id+"/attach", url.Values{
		"stream": {"1"}, "stdin": {"1"}, "stdout": {"1"}, "stderr": {"1"}, "detachKeys": {noDetachKeys},
	}, nil)
	if err != nil {
		return nil, err
	}
	t := newPTY(p, conn, ptyOf{
		resize: resize,
		state: func(ctx context.Context) (execState, error) {
			info, err := p.client.ContainerInspect(ctx, id, client.ContainerInspectOptions{})
			if err != nil || info.Container.State == nil {
				return execState{}, err
			}
			state := info.Container.State
			return execState{Running: status(state.Status) == container.StatusRunning, ExitCode: &state.ExitCode}, nil
		},
		hangUp: func(context.Context) error { return nil },
	})
	if opts.Rows != 0 && opts.Cols != 0 {
		if err := t.redraw(c.Ctx, size{opts.Rows, opts.Cols}); err != nil {
			_ = t.Close() // which only disconnects
			return nil, err
		}
	}
	return t, nil
}

// ptyOf is what differs between a process of Attach's own and the main one.
type ptyOf struct {
	resize func(ctx context.Context, height, width uint) error
	state  func(context.Context) (execState, error)
	hangUp func(context.Context) error
}

// pty is a connected terminal.
type pty struct {
	p    *DockerProvider
	conn *stream
	of   ptyOf

	heard   func()          // ends the looking out for the engine's silence
	life    context.Context // ends with Close
	end     context.CancelFunc
	closing sync.Once

	sizing   sync.Mutex // held while a size is sent: the latest wins
	sentAt   time.Time  // guarded by sizing
	pace     time.Duration
	deferred sync.WaitGroup // the sending of a size that came too soon

	silent atomic.Bool // the engine does not answer

	latest  sync.Mutex // guards the rest
	wanted  size
	resizes uint64 // how many there were
	waiting bool   // a size is deferred
}

type size struct{ height, width uint }

func newPTY(p *DockerProvider, conn *stream, of ptyOf) *pty {
	t := &pty{p: p, conn: conn, of: of}
	if p.podman() {
		t.pace = resizePace
	}
	t.life, t.end = context.WithCancel(context.Background())
	t.heard = p.onSilence(func() {
		t.silent.Store(true)
		conn.Close()
	})
	return t
}

// Read gives what the process writes; io.EOF when it has ended or after Close.
func (t *pty) Read(b []byte) (int, error) {
	n, err := t.conn.Read(b)
	if err == nil || err == io.EOF {
		return n, err
	}
	return n, t.broken("read", err)
}

// Write gives the process its input.
func (t *pty) Write(b []byte) (int, error) {
	n, err := t.conn.Write(b)
	if err != nil {
		return n, t.broken("write", err)
	}
	return n, nil
}

func (t *pty) broken(op string, err error) error {
	if t.life.Err() != nil {
		return io.ErrClosedPipe
	}
	if t.silent.Load() {
		err = errors.New(errSilent.Detail)
	}
	return container.Errorf("terminal "+op, "", container.ErrUnavailable, "%v", err)
}

// Resize sets the terminal's size.
func (t *pty) Resize(height, width uint) error {
	t.latest.Lock()
	t.wanted = size{height, width}
	t.resizes++
	mine := t.resizes
	t.latest.Unlock()

	t.sizing.Lock()
	defer t.sizing.Unlock()
	t.latest.Lock()
	superseded := mine != t.resizes
	t.latest.Unlock()
	if superseded {
		return nil
	}
	if early := t.pace - time.Since(t.sentAt); early > 0 {
		t.resizeIn(early)
		return nil
	}
	return t.sendSize(size{height, width})
}

// redraw has the process draw its screen, of that size, which it has: what it drew before somebody
// looked is not shown again, and a process that is told the size that it has does nothing. So it is
// told of a size change, and of one back.
func (t *pty) redraw(ctx context.Context, to size) error {
	t.sizing.Lock()
	defer t.sizing.Unlock()
	other := to
	if other.height--; other.height == 0 {
		other.height = 2
	}
	for _, s := range []size{other, to} {
		if err := provider.Sleep(ctx, "the terminal to take its size", max(t.pace, redrawPause)); err != nil {
			return err
		}
		if err := t.sendSize(s); err != nil {
			return err
		}
	}
	if t.pace == 0 {
		return nil
	}
	// So that it is in force, and the next size need not wait.
	return provider.Sleep(ctx, "the terminal to take its size", t.pace)
}

// resizeIn sends what is the latest size in a while. What becomes of it nobody is told.
func (t *pty) resizeIn(while time.Duration) {
	t.latest.Lock()
	defer t.latest.Unlock()
	if t.waiting || t.life.Err() != nil {
		return
	}
	t.waiting = true
	t.deferred.Go(func() {
		select {
		case <-time.After(while):
		case <-t.life.Done():
			return
		}
		t.sizing.Lock()
		defer t.sizing.Unlock()
		t.latest.Lock()
		t.waiting = false
		wanted := t.wanted
		t.latest.Unlock()
		_ = t.sendSize(wanted)
	})
}

// sendSize tells the engine the size. The caller holds sizing.
func (t *pty) sendSize(to size) error {
	if t.life.Err() != nil {
		return nil
	}
	err := t.p.answered(t.life, func(ctx context.Context) error { return t.of.resize(ctx, to.height, to.width) })
	t.sentAt = time.Now()
	if err == nil || t.life.Err() != nil {
		return nil
	}
	if state, stateErr := t.state(t.life); stateErr == nil && !state.Running ||
		isForgotten(stateErr) {
		return nil
	}
	return container.Errorf("terminal resize", "", classify(err), "%s", engineText(err))
}

// state is what the engine says of the process.
func (t *pty) state(ctx context.Context) (state execState, err error) {
	err = t.p.answered(ctx, func(ctx context.Context) error {
		state, err = t.of.state(ctx)
		return err
	})
	return state, err
}

// ExitCode waits for the process to end.
func (t *pty) ExitCode(ctx context.Context) (int, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(t.life, cancel)()
	var state execState
	err := provider.Poll(ctx, "the process to end", 2*time.Millisecond, time.Second, func() (ended bool, err error) {
		state, err = t.state(ctx)
		if err != nil && ctx.Err() == nil {
			return true, container.Errorf("terminal exit code", "", classify(err), "%s", engineText(err))
		}
		return err == nil && !state.Running, nil
	})
	switch {
	case t.life.Err() != nil:
		return 0, container.Errorf("terminal exit code", "", container.ErrClosed, "the terminal was closed")
	case ctx.Err() != nil && err != nil:
		return 0, ctx.Err()
	case err != nil:
		return 0, err
	case state.ExitCode == nil || *state.ExitCode < 0:
		return 0, container.Errorf("terminal exit code", "", container.ErrUnavailable, "the engine told none")
	}
	return *state.ExitCode, nil
}

// Close disconnects, and hangs up the process of a terminal that Attach made.
func (t *pty) Close() (err error) {
	t.closing.Do(func() {
		t.latest.Lock() // so that nothing is deferred from here on
		t.end()
		t.latest.Unlock()
		t.heard()
		t.conn.Close()
		t.deferred.Wait()
		ctx, cancel := cleanupContext(context.Background())
		defer cancel()
		if hangupErr := t.of.hangUp(ctx); hangupErr != nil {
			err = container.Errorf("terminal close", "", container.ErrUnavailable, "its processes may still run: %s",
				engineText(hangupErr))
		}
		t.p.calls.Forget(t)
	})
	return err
}

// hangUp does what the end of a terminal does: SIGHUP to the processes of its session. The first of
// them, which is what the terminal was for, is killed where that does not end it; what has arranged
// to survive a hangup, as nohup does, survives.
func (p *DockerProvider) hangUp(ctx context.Context, r *process) error {
	if state, err := p.inspectExec(ctx, r.execID); err == nil && !state.Running || isForgotten(err) {
		return nil
	}
	if err := p.signalTree(ctx, r, hangUp); err != nil {
		return err
	}
	grace, cancel := context.WithTimeout(ctx, hangupGrace)
	defer cancel()
	if p.awaitEnd(grace, r) == nil {
		return nil
	}
	return p.killTree(ctx, r)
}
