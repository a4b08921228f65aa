package mock

import (
	"cmp"
	"context"
	"crypto/rand"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/container/mock/toybox"
)

// maxProcesses is how many processes a container keeps, those that have ended among them.
const maxProcesses = 256

// keepTimes are how long processes are kept that have ended: since then, and since somebody who
// waited was told so.
type keepTimes struct{ ended, waited time.Duration }

// KeepProcesses sets how long containers that start from now on keep processes that have ended, for
// tests that can't wait: ten minutes, and ten seconds where somebody has waited for the end.
func (e *Engine) KeepProcesses(ended, waited time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.keepTimes = keepTimes{ended, waited}
}

// StartProcess implements [container.Processes].
func (m *MockProvider) StartProcess(
	ctx context.Context, sessionID string, cmd []string, opts container.ProcessOptions,
) (container.ProcessInfo, error) {
	var info container.ProcessInfo
	err := m.processCall(ctx, "startprocess", sessionID, func() error { return opts.Validate(cmd) },
		func(_ context.Context, r *processes) error {
			p, err := r.start(cmd, opts)
			if err == nil {
				info = p.info()
			}
			return err
		})
	if err != nil {
		return container.ProcessInfo{}, err
	}
	return info, nil
}

// ListProcesses implements [container.Processes].
func (m *MockProvider) ListProcesses(ctx context.Context, sessionID string) ([]container.ProcessInfo, error) {
	var list []container.ProcessInfo
	err := m.processCall(ctx, "listprocesses", sessionID, nil, func(_ context.Context, r *processes) error {
		list = r.list()
		return nil
	})
	if err != nil {
		return nil, err
	}
	return list, nil
}

// SignalProcess implements [container.Processes].
func (m *MockProvider) SignalProcess(ctx context.Context, sessionID, processID string, signal int) error {
	check := func() error {
		return cmp.Or(container.ValidateProcessID(processID), container.ValidateSignal(signal))
	}
	return m.processCall(ctx, "signalprocess", sessionID, check, func(ctx context.Context, r *processes) error {
		p, err := r.find(processID)
		if err != nil {
			return err
		}
		return p.signal(ctx, toybox.Signal(signal))
	})
}

// WaitProcess implements [container.Processes].
func (m *MockProvider) WaitProcess(
	ctx context.Context, sessionID, processID string,
) (info container.ProcessInfo, err error) {
	check := func() error { return container.ValidateProcessID(processID) }
	err = m.processCall(ctx, "waitprocess", sessionID, check, func(ctx context.Context, r *processes) error {
		p, err := r.find(processID)
		if err != nil {
			return err
		}
		info, err = p.wait(ctx)
		return err
	})
	if err != nil {
		return container.ProcessInfo{}, err
	}
	return info, nil
}

// ReadProcess implements [container.Processes].
func (m *MockProvider) ReadProcess(
	ctx context.Context, sessionID, processID string, opts container.OutputOptions, stdout, stderr io.Writer,
) (info container.ProcessInfo, missed int64, err error) {
	check := func() error { return cmp.Or(container.ValidateProcessID(processID), opts.Validate()) }
	err = m.processCall(ctx, "readprocess", sessionID, check, func(ctx context.Context, r *processes) error {
		p, err := r.find(processID)
		if err != nil {
			return err
		}
		info, missed, err = p.read(ctx, opts, orDiscard(stdout), orDiscard(stderr))
		return err
	})
	return info, missed, err
}

// processCall is the frame of a method about the processes of a container that runs.
func (m *MockProvider) processCall(
	ctx context.Context, op, sessionID string, check func() error, do func(context.Context, *processes) error,
) error {
	return m.sessionCall(ctx, op, sessionID, check, func(ctx context.Context) error {
		m.engine.mu.Lock()
		b, err := m.ownRunning(sessionID)
		if err != nil {
			m.engine.mu.Unlock()
			return err
		}
		r := b.processes
		m.engine.mu.Unlock()
		return do(ctx, r)
	})
}

// processes are those of one run of a container. Its mutex may be held when a process's is taken,
// never the other way about.
type processes struct {
	system *toybox.System
	disk   bool // there is one that can be written
	keep   keepTimes
	work   sync.WaitGroup // of the processes' goroutines

	mu     sync.Mutex
	kept   []*process // in the order of their start
	closed bool
}

// start starts a process, in place of the one that has ended first where there is no other room.
func (r *processes) start(cmd []string, opts container.ProcessOptions) (*process, error) {
	most := cmp.Or(opts.Keep, container.DefaultKeep)
	if most > container.DefaultKeep && !r.disk {
		return nil, refuse(container.ErrUnsupported,
			"the container has no disk that can be written, for more than %d bytes of output", container.DefaultKeep)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, refuse(container.ErrContainerStopped, "")
	}
	r.forgetOld()
	victim, full := -1, len(r.kept) >= maxProcesses
	if full {
		if victim = r.endedFirst(); victim < 0 {
			return nil, refuse(container.ErrLimitReached, "there are %d processes, and no more may be; end one first",
				maxProcesses)
		}
	}
	p := &process{
		id: strings.ToLower(rand.Text()[:16]), cmd: slices.Clone(cmd), started: time.Now(), system: r.system,
		done: make(chan struct{}), out: output{most: most},
	}
	running, err := spawn(r.system, toybox.Spec{
		Args: slices.Clone(cmd), Env: slices.Clone(opts.Env), Dir: opts.WorkingDir, User: opts.User,
		Stdout: processWriter{p, stdout}, Stderr: processWriter{p, stderr},
	})
	if err != nil {
		return nil, err
	}
	p.running = running
	r.work.Go(p.follow)
	if full {
		r.kept = slices.Delete(r.kept, victim, victim+1)
	}
	r.kept = append(r.kept, p)
	return p, nil
}

// endedFirst finds the process that has ended first; -1 where none has. The caller holds mu.
func (r *processes) endedFirst() int {
	first, when := -1, time.Time{}
	for i, p := range r.kept {
		if at, ended := p.over(); ended && (first < 0 || at.Before(when)) {
			first, when = i, at
		}
	}
	return first
}

// forgetOld forgets what need not be kept any more. The caller holds mu.
func (r *processes) forgetOld() {
	r.kept = slices.DeleteFunc(r.kept, func(p *process) bool { return p.old(r.keep) })
}

func (r *processes) list() []container.ProcessInfo {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forgetOld()
	list := make([]container.ProcessInfo, len(r.kept))
	for i, p := range r.kept {
		list[i] = p.info()
	}
	return list
}

func (r *processes) find(id string) (*process, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forgetOld()
	i := slices.IndexFunc(r.kept, func(p *process) bool { return p.id == id })
	if i < 0 {
		return nil, refuse(container.ErrProcessNotFound, "there is no process %q", id)
	}
	return r.kept[i], nil
}

// close forgets the processes, all of which have ended.
func (r *processes) close() {
	r.mu.Lock()
	r.closed = true
	r.kept = nil
	r.mu.Unlock()
	r.work.Wait()
}
