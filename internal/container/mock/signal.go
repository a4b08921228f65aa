package mock

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// signal is a signal's number. As an error it is why a process was killed.
type signal int

const (
	sigHup  signal = 1
	sigInt  signal = 2
	sigQuit signal = 3
	sigKill signal = 9
	sigTerm signal = 15
)

var signalNames = map[string]signal{"HUP": sigHup, "INT": sigInt, "QUIT": sigQuit, "KILL": sigKill, "TERM": sigTerm}

func parseSignal(s string) (signal, bool) {
	if n, err := strconv.Atoi(s); err == nil {
		return signal(n), slices.Contains(slices.Collect(maps.Values(signalNames)), signal(n))
	}
	n, ok := signalNames[strings.TrimPrefix(strings.ToUpper(s), "SIG")]
	return n, ok
}

func (s signal) Error() string { return fmt.Sprintf("killed by signal %d", int(s)) }

func (s signal) exitCode() int { return 128 + int(s) }

// trap is what a process does about a signal instead of ending.
type trap int

const (
	trapIgnore  trap = iota + 1 // and so do its children
	trapDiscard                 // its children do not
)

// signal delivers a signal.
func (p *Process) signal(s signal) {
	p.run.mu.Lock()
	act := p.receive(s)
	p.run.mu.Unlock()
	act()
}

// receive decides what a signal does to the process, which the caller does when it has let go of
// mu. From here on a process that it ends starts no other.
func (p *Process) receive(s signal) (act func()) {
	if s != sigKill && (p.traps[s] != 0 || s == sigInt && p.background) {
		return func() {}
	}
	p.doomed = true
	if p.idle {
		p.idle = false
		return func() { p.finish(s.exitCode()) }
	}
	return func() { p.cancel(s) }
}

// inherited are the traps of a child.
func (p *Process) inherited() map[signal]trap {
	p.run.mu.Lock()
	defer p.run.mu.Unlock()
	var traps map[signal]trap
	for s, t := range p.traps {
		if t == trapIgnore {
			if traps == nil {
				traps = make(map[signal]trap)
			}
			traps[s] = t
		}
	}
	return traps
}

func (p *Process) setTrap(s signal, t trap) {
	p.run.mu.Lock()
	defer p.run.mu.Unlock()
	traps := maps.Clone(p.traps)
	if traps == nil {
		traps = make(map[signal]trap)
	}
	traps[s] = t
	p.traps = traps
}

// signalJob delivers a signal to every process of a job, and tells which.
func (r *run) signalJob(j *job, s signal) []*Process {
	r.mu.Lock()
	j.killed = j.killed || s == sigKill
	var processes []*Process
	var acts []func()
	for _, p := range r.processes {
		if p.job == j {
			processes = append(processes, p)
			acts = append(acts, p.receive(s))
		}
	}
	r.mu.Unlock()
	for _, act := range acts {
		act()
	}
	return processes
}

// killJob ends every process of a job and waits for them.
func (r *run) killJob(j *job) {
	for _, p := range r.signalJob(j, sigKill) {
		<-p.ended
	}
}
