package session

import (
	"context"
	"io"
	"time"

	"github.com/octobot-run/octobot/internal/container"
)

// StartProcess starts a command that nobody waits for, see [container.Processes]. It is no use of
// the session beyond its start, and no command that counts for a quota.
func (s *ContainerService) StartProcess(
	ctx context.Context, who Principal, id string, cmd []string, opts container.ProcessOptions,
) (info container.ProcessInfo, err error) {
	defer func(start time.Time) { s.finishOperation(ctx, who, "start process", id, start, &err) }(time.Now())
	if err := opts.Validate(cmd); err != nil {
		return info, err
	}
	processes, end, err := s.beginProcess(ctx, who, id)
	if err != nil {
		return info, err
	}
	defer end()
	bounded, cancel := context.WithTimeout(ctx, s.cfg.CallTimeout)
	defer cancel()
	info, err = processes.StartProcess(bounded, id, cmd, opts)
	return info, s.hintIfChanged(id, err)
}

// ListProcesses gives what StartProcess has started, in that order.
func (s *ContainerService) ListProcesses(
	ctx context.Context, who Principal, id string,
) (list []container.ProcessInfo, err error) {
	defer func(start time.Time) { s.finishOperation(ctx, who, "list processes", id, start, &err) }(time.Now())
	processes, err := s.processes()
	if err != nil {
		return nil, err
	}
	defer s.guests.enter(id)()
	if _, err := s.getUsable(ctx, who, id); err != nil {
		return nil, err
	}
	bounded, cancel := context.WithTimeout(ctx, s.cfg.CallTimeout)
	defer cancel()
	list, err = processes.ListProcesses(bounded, id)
	return list, s.hintIfChanged(id, err)
}

// SignalProcess sends a process a signal, see [container.Processes].
func (s *ContainerService) SignalProcess(
	ctx context.Context, who Principal, id, processID string, signal int,
) (err error) {
	defer func(start time.Time) { s.finishOperation(ctx, who, "signal process", id, start, &err) }(time.Now())
	processes, end, err := s.beginProcess(ctx, who, id)
	if err != nil {
		return err
	}
	defer end()
	bounded, cancel := context.WithTimeout(ctx, s.cfg.CallTimeout)
	defer cancel()
	return s.hintIfChanged(id, processes.SignalProcess(bounded, id, processID, signal))
}

// WaitProcess waits for a process to end. The session counts as in use meanwhile.
func (s *ContainerService) WaitProcess(
	ctx context.Context, who Principal, id, processID string,
) (info container.ProcessInfo, err error) {
	defer func(start time.Time) { s.finishOperation(ctx, who, "wait for process", id, start, &err) }(time.Now())
	processes, end, err := s.beginProcess(ctx, who, id)
	if err != nil {
		return info, err
	}
	defer end()
	info, err = processes.WaitProcess(ctx, id, processID)
	return info, s.hintIfChanged(id, err)
}

// ReadProcess reads what a process has written, see [container.Processes]. The session counts as
// in use meanwhile.
func (s *ContainerService) ReadProcess(
	ctx context.Context, who Principal, id, processID string, opts container.OutputOptions, stdout, stderr io.Writer,
) (info container.ProcessInfo, missed int64, err error) {
	defer func(start time.Time) { s.finishOperation(ctx, who, "read process", id, start, &err) }(time.Now())
	processes, end, err := s.beginProcess(ctx, who, id)
	if err != nil {
		return info, 0, err
	}
	defer end()
	info, missed, err = processes.ReadProcess(ctx, id, processID, opts, stdout, stderr)
	return info, missed, s.hintIfChanged(id, err)
}

// beginProcess is markInUse for what is done with processes.
func (s *ContainerService) beginProcess(
	ctx context.Context, who Principal, id string,
) (processes container.Processes, end func(), err error) {
	if processes, err = s.processes(); err != nil {
		return nil, nil, err
	}
	_, end, err = s.markInUse(ctx, who, id)
	return processes, end, err
}

func (s *ContainerService) processes() (container.Processes, error) {
	processes, ok := container.As[container.Processes](s.rt)
	if !ok {
		return nil, container.Errorf("processes", "", container.ErrUnsupported,
			"processes that nobody waits for are kept by Octobot's agent, which the daemon does not use")
	}
	return processes, nil
}
