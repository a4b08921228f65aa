package mock

import (
	"context"
	"io"
	"slices"
	"sync"

	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/container/mock/toybox"
)

// Attach connects a terminal; see [container.Runtime].
func (m *MockProvider) Attach(
	ctx context.Context, sessionID string, opts container.AttachOptions,
) (container.PTY, error) {
	var t container.PTY
	err := m.sessionCall(ctx, "attach", sessionID, opts.Validate, func(context.Context) error {
		system, err := m.running(sessionID)
		if err != nil {
			return err
		}
		p, err := attach(system, opts)
		if err != nil {
			return err
		}
		p.sessionID, p.forget = sessionID, m.calls.Forget
		t = p
		return m.keep(p)
	})
	if err != nil {
		return nil, err
	}
	return t, nil
}

func attach(system *toybox.System, opts container.AttachOptions) (*pty, error) {
	p := &pty{closed: make(chan struct{})}
	if t := system.Main().Terminal; t != nil && len(opts.Cmd) == 0 {
		t.Resize(opts.Rows, opts.Cols)
		p.Viewer, p.process, p.main = t.View(), system.Main(), true
		return p, nil
	}
	cmd := opts.Cmd
	if len(cmd) == 0 {
		cmd = []string{"sh"}
	}
	t := system.NewTerminal(nil)
	t.Resize(opts.Rows, opts.Cols)
	p.Viewer = t.View()
	var err error
	p.process, err = spawn(system, toybox.Spec{
		Args: slices.Clone(cmd), Dir: opts.WorkingDir, User: opts.User, Terminal: t,
		Env: opts.TerminalEnv(),
	})
	if err != nil {
		p.Viewer.Close()
		return nil, err
	}
	if opts.NoInput {
		_, _ = p.Viewer.Write([]byte{toybox.KeyEOF}) // a command that has ended needs none
	}
	return p, nil
}

// pty is an attached terminal.
type pty struct {
	*toybox.Viewer
	sessionID string
	process   *toybox.Process
	main      bool // the container's main process: Close only detaches
	forget    func(io.Closer)
	once      sync.Once
	closed    chan struct{}
}

var (
	_ container.PTY       = (*pty)(nil)
	_ container.ExitCoder = (*pty)(nil)
)

func (p *pty) Resize(height, width uint) error {
	p.process.Terminal.Resize(height, width)
	return nil
}

// ExitCode waits for the process.
func (p *pty) ExitCode(ctx context.Context) (int, error) {
	closed := container.Errorf("attach", p.sessionID, container.ErrClosed, "the terminal was closed")
	select {
	case <-p.closed:
		return 0, closed
	case <-ctx.Done():
		return 0, container.Errorf("attach", p.sessionID, ctx.Err(), "")
	case <-p.process.Done():
	}
	select {
	case <-p.closed:
		return 0, closed
	default:
		return p.process.ExitCode(), nil
	}
}

func (p *pty) Close() error {
	p.once.Do(func() {
		close(p.closed)
		p.Viewer.Close()
		p.forget(p)
		if !p.main {
			p.process.Terminal.Hangup()
		}
	})
	return nil
}
