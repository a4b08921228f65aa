package agented

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"sync"

	"github.com/octobot-run/octobot/internal/agentproto"
	"github.com/octobot-run/octobot/internal/container"
)

// maxUnread is how much a terminal shows ahead of its reader. Beside it, the stream's window is
// full then, and the process waits.
const maxUnread = 64 << 10

// Attach implements [container.Runtime]. A main process's terminal is the engine's.
func (r *Runtime) Attach(
	ctx context.Context, sessionID string, opts container.AttachOptions,
) (container.PTY, error) {
	if container.ValidateSessionID(sessionID) != nil || opts.Validate() != nil {
		return r.Runtime.Attach(ctx, sessionID, opts) // which refuses it
	}
	o, err := r.open(ctx, "attach", place{sessionID, forTerminals},
		&agentproto.Exec{Command: terminalCommand(opts), Attach: true})
	if r.fallBack(err) {
		return r.Runtime.Attach(ctx, sessionID, opts)
	}
	if err != nil {
		return nil, err
	}
	if err := o.awaitStart(); err != nil {
		o.end()
		return nil, err
	}
	t := &terminal{o: o, ended: make(chan struct{})}
	t.more.L = &t.mu
	o.ctx, t.end = context.WithCancel(r.life)
	context.AfterFunc(o.ctx, func() { // pump waits for nobody then
		t.mu.Lock()
		defer t.mu.Unlock()
		t.more.Broadcast()
	})
	if !r.startWork(t.pump) {
		o.end()
		t.end()
		return nil, failed("attach", sessionID, container.ErrClosed)
	}
	if opts.NoInput {
		_, _ = t.Write([]byte{endOfInput}) // a command that has ended needs none
	}
	return t, nil
}

// endOfInput is what is typed at a terminal for it.
const endOfInput = 4

func terminalCommand(opts container.AttachOptions) agentproto.Command {
	return agentproto.Command{
		Args: opts.Cmd, Env: opts.TerminalEnv(), Dir: opts.WorkingDir, User: opts.User,
		Rows: uint16(opts.Rows), Cols: uint16(opts.Cols),
	}
}

// awaitStart returns when the command runs. From then on, the end of the operation's context does
// not cut it any more.
func (o *operation) awaitStart() error {
	err := o.Receive(&agentproto.Started{})
	o.silence.Stop()
	if err != nil {
		return o.fail(err)
	}
	if !o.stop() {
		return o.fail(o.ctx.Err())
	}
	return nil
}

// terminal is a [container.PTY] of the agent's.
type terminal struct {
	o   *operation
	end context.CancelFunc // of o.ctx

	mu     sync.Mutex
	more   sync.Cond    // of mu: something has changed
	shown  bytes.Buffer // and not read yet
	over   bool         // nothing comes any more
	err    error        // why, where the process did not say how it ended
	code   int
	closed bool
	ended  chan struct{} // closed with over
}

// pump takes what the process writes until the end, also where nobody reads: how it ended comes
// last.
func (t *terminal) pump() {
	code, err := t.show()
	t.o.Reset() // what is typed from now on goes nowhere
	t.mu.Lock()
	defer t.mu.Unlock()
	t.over, t.code, t.err = true, code, err
	t.more.Broadcast()
	close(t.ended)
}

func (t *terminal) show() (code int, err error) {
	for {
		frame, err := t.o.Next()
		if err != nil {
			return 0, t.o.fail(cutShort(err))
		}
		if frame.Kind != agentproto.KindStdout {
			code, err := exitCode(frame)
			if err != nil {
				return 0, t.o.fail(err)
			}
			return code, nil
		}
		t.mu.Lock()
		for t.shown.Len() > maxUnread && t.o.ctx.Err() == nil {
			t.more.Wait()
		}
		t.shown.Write(frame.Payload)
		t.more.Broadcast()
		t.mu.Unlock()
	}
}

// Read implements [container.PTY].
func (t *terminal) Read(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for t.shown.Len() == 0 && !t.over && !t.closed && len(b) > 0 {
		t.more.Wait()
	}
	switch {
	case t.closed:
		return 0, io.ErrClosedPipe
	case t.shown.Len() > 0 || len(b) == 0:
		n, _ := t.shown.Read(b)
		t.more.Broadcast()
		return n, nil
	case t.err == nil || errors.Is(t.err, container.ErrContainerStopped):
		return 0, io.EOF
	}
	return 0, t.err
}

// Write implements [container.PTY].
func (t *terminal) Write(b []byte) (int, error) {
	if t.isOver() {
		return 0, io.ErrClosedPipe
	}
	if len(b) == 0 {
		return 0, nil
	}
	if err := t.o.SendData(agentproto.KindData, b); err != nil {
		if t.isOver() {
			return 0, io.ErrClosedPipe
		}
		return 0, container.Errorf("terminal write", t.o.sessionID, container.ErrUnavailable, "%v", err)
	}
	return len(b), nil
}

// Resize implements [container.PTY].
func (t *terminal) Resize(height, width uint) error {
	err := t.o.Send(&agentproto.Resize{Rows: uint16(min(height, math.MaxUint16)),
		Cols: uint16(min(width, math.MaxUint16))})
	if err != nil && !t.isOver() {
		return container.Errorf("terminal resize", t.o.sessionID, container.ErrUnavailable, "%v", err)
	}
	return nil
}

func (t *terminal) isOver() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.over || t.closed
}

// ExitCode implements [container.ExitCoder].
func (t *terminal) ExitCode(ctx context.Context) (int, error) {
	select {
	case <-t.ended:
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return 0, container.Errorf("terminal exit code", t.o.sessionID, container.ErrClosed, "the terminal was closed")
	}
	return t.code, t.err
}

// Close implements [container.PTY]. The agent hangs up the processes, also where nobody waits for
// it.
func (t *terminal) Close() error {
	t.mu.Lock()
	t.closed = true
	t.more.Broadcast()
	t.mu.Unlock()
	t.end()
	t.o.end()
	<-t.ended
	return nil
}
