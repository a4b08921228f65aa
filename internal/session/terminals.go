package session

import (
	"context"
	"sync"
	"time"

	"github.com/octobot-run/octobot/internal/container"
)

// OpenTerminal connects a viewer with a terminal that has a name, see
// [container.Terminals].OpenTerminal. The session counts as in use until the viewer is closed; a
// terminal alone is no use of it. An engine that keeps no terminals: unsupported.
func (s *ContainerService) OpenTerminal(
	ctx context.Context, who Principal, id string, opts container.TerminalOptions,
) (terminal container.Terminal, err error) {
	defer func(start time.Time) { s.finishOperation(ctx, who, "attach", id, start, &err) }(time.Now())
	if err := opts.Validate(); err != nil {
		return nil, err
	}
	terminals, err := s.terminals()
	if err != nil {
		return nil, err
	}
	sess, end, err := s.markInUse(ctx, who, id)
	if err != nil {
		return nil, err
	}
	setDefault(&opts.Linger, max(time.Second, s.cfg.TerminalLinger.Truncate(time.Second)))
	t, err := terminals.OpenTerminal(ctx, id, opts)
	if err != nil {
		end()
		return nil, s.hintIfChanged(id, err)
	}
	info, _ := t.Opened()
	s.recordTerminal(sess, info)
	return &usedTerminal{Terminal: t, used: func() { s.activity.noteUse(id) }, end: sync.OnceFunc(end)}, nil
}

// ListTerminals gives the session's terminals, in the order of their making.
func (s *ContainerService) ListTerminals(
	ctx context.Context, who Principal, id string,
) (list []container.TerminalInfo, err error) {
	defer func(start time.Time) { s.finishOperation(ctx, who, "list terminals", id, start, &err) }(time.Now())
	terminals, err := s.terminals()
	if err != nil {
		return nil, err
	}
	defer s.guests.enter(id)()
	if _, err := s.getUsable(ctx, who, id); err != nil {
		return nil, err
	}
	bounded, cancel := context.WithTimeout(ctx, s.cfg.CallTimeout)
	defer cancel()
	list, err = terminals.ListTerminals(bounded, id)
	return list, s.hintIfChanged(id, err)
}

// EndTerminal hangs a terminal's processes up, see [container.Terminals].EndTerminal.
func (s *ContainerService) EndTerminal(ctx context.Context, who Principal, id, name string) (err error) {
	defer func(start time.Time) { s.finishOperation(ctx, who, "end terminal", id, start, &err) }(time.Now())
	if err := container.ValidateTerminalName(name); err != nil {
		return err
	}
	terminals, err := s.terminals()
	if err != nil {
		return err
	}
	_, end, err := s.markInUse(ctx, who, id)
	if err != nil {
		return err
	}
	defer end()
	bounded, cancel := context.WithTimeout(ctx, s.cfg.CallTimeout)
	defer cancel()
	return s.hintIfChanged(id, terminals.EndTerminal(bounded, id, name))
}

func (s *ContainerService) terminals() (container.Terminals, error) {
	terminals, ok := container.As[container.Terminals](s.rt)
	if !ok {
		return nil, container.Errorf("terminals", "", container.ErrUnsupported,
			"terminals are kept by Octobot's agent, which the daemon does not use")
	}
	return terminals, nil
}

// usedTerminal is a viewer that counts as use of its session.
type usedTerminal struct {
	container.Terminal
	used func()
	end  func() // counts once
}

func (t *usedTerminal) Write(b []byte) (int, error) {
	t.used()
	return t.Terminal.Write(b)
}

func (t *usedTerminal) Close() error {
	defer t.end()
	return t.Terminal.Close()
}
