package agented

import (
	"cmp"
	"context"
	"io"
	"time"

	"github.com/octobot-run/octobot/internal/agentproto"
	"github.com/octobot-run/octobot/internal/container"
)

var _ container.Processes = (*Runtime)(nil)

// StartProcess implements [container.Processes].
func (r *Runtime) StartProcess(
	ctx context.Context, sessionID string, cmd []string, opts container.ProcessOptions,
) (container.ProcessInfo, error) {
	const op = "startprocess"
	if err := cmp.Or(container.ValidateSessionID(sessionID), opts.Validate(cmd)); err != nil {
		return container.ProcessInfo{}, failed(op, sessionID, err)
	}
	o, err := r.askKeeper(ctx, op, sessionID, &agentproto.StartProcess{
		Command: agentproto.Command{Args: cmd, Env: opts.Env, Dir: opts.WorkingDir, User: opts.User}, Keep: opts.Keep,
	}, container.ErrProcessNotFound)
	if err != nil {
		return container.ProcessInfo{}, err
	}
	return o.receiveProcess("")
}

// ListProcesses implements [container.Processes].
func (r *Runtime) ListProcesses(ctx context.Context, sessionID string) ([]container.ProcessInfo, error) {
	const op = "listprocesses"
	if err := container.ValidateSessionID(sessionID); err != nil {
		return nil, failed(op, sessionID, err)
	}
	o, err := r.askKeeper(ctx, op, sessionID, &agentproto.ListProcesses{}, container.ErrProcessNotFound)
	if err != nil {
		return nil, err
	}
	defer o.end()
	var answer agentproto.Processes
	if err := o.Receive(&answer); err != nil {
		return nil, o.fail(err)
	}
	list := make([]container.ProcessInfo, 0, len(answer.List))
	for i := range answer.List[:min(len(answer.List), maxListed)] {
		if info, valid := processInfo(&answer.List[i]); valid { // else nobody could ask for it
			list = append(list, info)
		}
	}
	return list, nil
}

// SignalProcess implements [container.Processes].
func (r *Runtime) SignalProcess(ctx context.Context, sessionID, processID string, signal int) error {
	const op = "signalprocess"
	if err := cmp.Or(container.ValidateSessionID(sessionID), container.ValidateProcessID(processID),
		container.ValidateSignal(signal)); err != nil {
		return failed(op, sessionID, err)
	}
	o, err := r.askKeeper(ctx, op, sessionID, &agentproto.SignalProcess{ID: processID, Signal: signal},
		container.ErrProcessNotFound)
	if err != nil {
		return err
	}
	defer o.end()
	if err := o.Receive(&agentproto.Done{}); err != nil {
		return o.fail(err)
	}
	return nil
}

// WaitProcess implements [container.Processes].
func (r *Runtime) WaitProcess(ctx context.Context, sessionID, processID string) (container.ProcessInfo, error) {
	const op = "waitprocess"
	if err := cmp.Or(container.ValidateSessionID(sessionID), container.ValidateProcessID(processID)); err != nil {
		return container.ProcessInfo{}, failed(op, sessionID, err)
	}
	o, err := r.askKeeper(ctx, op, sessionID, &agentproto.WaitProcess{ID: processID}, container.ErrProcessNotFound)
	if err != nil {
		return container.ProcessInfo{}, err
	}
	return o.receiveProcess(processID)
}

// ReadProcess implements [container.Processes].
func (r *Runtime) ReadProcess(
	ctx context.Context, sessionID, processID string, opts container.OutputOptions, stdout, stderr io.Writer,
) (info container.ProcessInfo, missed int64, err error) {
	const op = "readprocess"
	err = cmp.Or(container.ValidateSessionID(sessionID), container.ValidateProcessID(processID), opts.Validate())
	if err != nil {
		return info, 0, failed(op, sessionID, err)
	}
	o, err := r.askKeeper(ctx, op, sessionID,
		&agentproto.ReadProcess{ID: processID, Since: opts.Since, Follow: opts.Follow}, container.ErrProcessNotFound)
	if err != nil {
		return info, 0, err
	}
	defer o.end()
	info = container.ProcessInfo{ID: processID, Position: opts.Since}
	for {
		frame, err := o.Next()
		if err != nil {
			return info, missed, o.fail(cutShort(err))
		}
		var to io.Writer
		switch frame.Kind {
		case agentproto.KindStdout:
			to = stdout
		case agentproto.KindStderr:
			to = stderr
		case agentproto.KindMissed:
			var m agentproto.Missed
			if err := frame.Decode(&m); err != nil {
				return info, missed, o.fail(err)
			}
			if m.Bytes < 0 || m.Bytes > 1<<62-info.Position {
				return info, missed, o.fail(agentproto.ErrFrame)
			}
			missed += m.Bytes
			info.Position += m.Bytes
			continue
		default:
			last, err := o.processOf(frame, processID)
			if err != nil {
				return info, missed, err
			}
			last.Position = info.Position
			return last, missed, nil
		}
		n := len(frame.Payload)
		if to != nil {
			n, err = to.Write(frame.Payload)
		}
		if info.Position += int64(n); err != nil {
			return info, missed, err
		}
	}
}

// receiveProcess takes the answer that is a process, of this ID unless that is empty, and ends the
// operation.
func (o *operation) receiveProcess(id string) (container.ProcessInfo, error) {
	defer o.end()
	frame, err := o.Next()
	if err != nil {
		return container.ProcessInfo{}, o.fail(cutShort(err))
	}
	return o.processOf(frame, id)
}

func (o *operation) processOf(frame agentproto.Frame, id string) (container.ProcessInfo, error) {
	var p agentproto.ProcessInfo
	if err := frame.Decode(&p); err != nil {
		return container.ProcessInfo{}, o.fail(err)
	}
	info, valid := processInfo(&p)
	if !valid || id != "" && info.ID != id {
		return container.ProcessInfo{}, o.fail(agentproto.ErrFrame)
	}
	return info, nil
}

// processInfo makes what an agent says of a process safe to use; false where it can be of none.
func processInfo(p *agentproto.ProcessInfo) (info container.ProcessInfo, valid bool) {
	if container.ValidateProcessID(p.ID) != nil || p.Position < 0 || p.ExitCode < 0 || p.ExitCode > 255 {
		return info, false
	}
	info = container.ProcessInfo{ID: p.ID, Cmd: printableArgs(p.Args), PID: p.PID, Started: time.Unix(0, p.Started),
		Position: p.Position, Kept: min(max(0, p.Kept), p.Position), Running: p.Ended == 0, ExitCode: p.ExitCode}
	if !info.Running {
		info.Ended = time.Unix(0, p.Ended)
	}
	return info, true
}

// printableArgs makes a command line from an agent safe to show.
func printableArgs(args []string) []string {
	const most = 64
	shown := make([]string, min(len(args), most))
	for i := range shown {
		shown[i] = container.Printable(args[i])
	}
	return shown
}
