package process

import (
	"errors"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// begun is a start under way: its child may end, and be reaped, before its pid is known here.
type begun struct {
	after uint64 // what was reaped up to here is not its
}

// ended is a child that was reaped while starts were under way, and may be one of theirs.
type ended struct {
	pid    int
	status unix.WaitStatus
	at     uint64 // its number among the reaped
	ticks  uint64
}

func (m *Manager) begin() *begun {
	m.mu.Lock()
	defer m.mu.Unlock()
	b := &begun{after: m.reaped}
	m.starting[b] = struct{}{}
	return b
}

// end ends a start; p is nil where it failed.
func (m *Manager) end(b *begun, p *Process) {
	m.mu.Lock()
	delete(m.starting, b)
	m.started++
	var early *ended
	if p != nil {
		i := slices.IndexFunc(m.early, func(e ended) bool { return e.pid == p.pid && e.at > b.after })
		if i >= 0 {
			e := m.early[i]
			early = &e
		} else {
			m.running[p.pid] = p
		}
	}
	// A pid is used again after many thousand others, so an old entry must not wait for it.
	oldest := m.reaped
	for other := range m.starting {
		oldest = min(oldest, other.after)
	}
	m.early = slices.DeleteFunc(m.early,
		func(e ended) bool { return e.at <= oldest || early != nil && e.at == early.at })
	if early != nil {
		p.finish(early.status, early.ticks)
	}
	m.changed.Signal()
	m.mu.Unlock()
	if early != nil {
		p.settle()
	}
}

// reap takes the exits of all children until the Manager is closed and has none.
//
// A child is looked at first and taken with the lock held, so that while somebody else has the lock
// a pid that is not over is certainly that process. [syscall.ForkExec] waits itself for a child
// that could not execute its command: whoever of both comes first takes it, and the other sees that
// it is gone.
func (m *Manager) reap() {
	defer close(m.done)
	for {
		m.mu.Lock()
		started := m.started
		m.mu.Unlock()
		var info unix.Siginfo
		err := unix.Waitid(unix.P_ALL, 0, &info, unix.WEXITED|unix.WNOWAIT, nil)
		switch {
		case err == nil:
			m.take()
		case errors.Is(err, unix.ECHILD):
			m.mu.Lock()
			for m.started == started && !m.closed {
				m.changed.Wait()
			}
			over := m.started == started
			m.mu.Unlock()
			if over {
				return
			}
		}
	}
}

// take reaps every child that has ended.
func (m *Manager) take() {
	for {
		var status unix.WaitStatus
		m.mu.Lock()
		pid, err := unix.Wait4(-1, &status, unix.WNOHANG, nil)
		if err != nil || pid <= 0 {
			m.mu.Unlock()
			if errors.Is(err, unix.EINTR) {
				continue
			}
			return
		}
		m.reaped++
		p := m.running[pid]
		switch {
		case p != nil:
			delete(m.running, pid)
			p.finish(status, ticks())
		case len(m.starting) > 0:
			m.early = append(m.early, ended{pid: pid, status: status, at: m.reaped, ticks: ticks()})
		}
		m.mu.Unlock()
		if p != nil {
			p.settle()
		}
	}
}

// finish notes the end, with m.mu held.
func (p *Process) finish(status unix.WaitStatus, at uint64) {
	p.over, p.overAt = true, at
	p.code = status.ExitStatus()
	if status.Signaled() {
		p.code = 128 + int(status.Signal())
	}
}

// settle tells of the end, without m.mu.
func (p *Process) settle() {
	close(p.done)
	p.timer.Stop()
	p.leaveSlot()
}

// signalOne signals the process alone, if it has not ended.
func (p *Process) signalOne(sig syscall.Signal) {
	p.m.mu.Lock()
	defer p.m.mu.Unlock()
	if !p.over {
		_ = syscall.Kill(p.pid, sig)
	}
}
