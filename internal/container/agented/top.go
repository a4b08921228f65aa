package agented

import (
	"context"
	"errors"
	"time"

	"github.com/octobot-run/octobot/internal/agentproto"
	"github.com/octobot-run/octobot/internal/container"
)

var _ container.Topper = (*Runtime)(nil)

// Top implements [container.Topper]. An agent tells what the container itself sees; where none
// does, one of an older version and that of a paused container among them, the engine is asked.
func (r *Runtime) Top(ctx context.Context, sessionID string) (*container.Top, error) {
	const op = "top"
	if err := container.ValidateSessionID(sessionID); err != nil {
		return nil, failed(op, sessionID, err)
	}
	top, err := r.topOfAgent(ctx, op, sessionID)
	if err == nil || !errors.Is(err, container.ErrUnsupported) && !errors.Is(err, container.ErrContainerStopped) &&
		!errors.Is(err, container.ErrContainerPaused) {
		return top, err
	}
	topper, ok := container.As[container.Topper](r.Runtime)
	if !ok {
		return nil, err
	}
	return topper.Top(ctx, sessionID)
}

func (r *Runtime) topOfAgent(ctx context.Context, op, sessionID string) (*container.Top, error) {
	o, err := r.ask(ctx, op, place{sessionID, forCommands}, &agentproto.ListRunning{}, nil)
	if err != nil {
		return nil, err
	}
	defer o.end()
	var answer agentproto.Running
	if err := o.Receive(&answer); err != nil {
		return nil, o.fail(err)
	}
	top := &container.Top{}
	last := 0
	for _, p := range answer.List {
		if p.PID <= last || len(top.Processes) == agentproto.MaxRunning {
			return nil, o.fail(agentproto.ErrFrame)
		}
		last = p.PID
		top.Processes = append(top.Processes, container.RunningProcess{
			PID: p.PID, Parent: max(0, p.Parent), User: container.Printable(p.User),
			CPUTime: time.Duration(max(0, p.CPUTime)),
			Elapsed: time.Duration(max(0, p.Elapsed)), Memory: max(0, p.Memory), Cmd: container.Printable(p.Cmd),
		})
	}
	return top, nil
}
