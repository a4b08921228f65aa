package toybox

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Signal is a signal's number. As an error it is why a process was killed.
type Signal int

const (
	SIGHUP  Signal = 1
	SIGINT  Signal = 2
	SIGQUIT Signal = 3
	SIGKILL Signal = 9
	SIGTERM Signal = 15
)

var signalNames = map[string]Signal{"HUP": SIGHUP, "INT": SIGINT, "QUIT": SIGQUIT, "KILL": SIGKILL, "TERM": SIGTERM}

func parseSignal(s string) (Signal, bool) {
	if n, err := strconv.Atoi(s); err == nil {
		return Signal(n), slices.Contains(slices.Collect(maps.Values(signalNames)), Signal(n))
	}
	n, ok := signalNames[strings.TrimPrefix(strings.ToUpper(s), "SIG")]
	return n, ok
}

func (s Signal) Error() string { return fmt.Sprintf("killed by signal %d", int(s)) }

func (s Signal) exitCode() int { return 128 + int(s) }

// harmless are the signals that end no process: SIGCHLD, those that would let it go on or stop,
// SIGURG and SIGWINCH.
var harmless = []Signal{17, 18, 19, 20, 21, 22, 23, 28}

// trap is what a process does about a signal instead of ending.
type trap int

const (
	trapIgnore  trap = iota + 1 // and so do its children
	trapDiscard                 // its children do not
)

// Signal delivers a signal: the process ends, unless it has a trap for it, which there is none for
// SIGKILL, or the signal is a harmless one. None stops a process.
func (p *Process) Signal(s Signal) {
	p.system.mu.Lock()
	act := p.receive(s)
	p.system.mu.Unlock()
	act()
}

// receive decides what a signal does to the process, which the caller does when it has let go of
// mu. From here on a process that it ends starts no other.
func (p *Process) receive(s Signal) (act func()) {
	if slices.Contains(harmless, s) || s != SIGKILL && (p.traps[s] != 0 || s == SIGINT && p.background) {
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
func (p *Process) inherited() map[Signal]trap {
	p.system.mu.Lock()
	defer p.system.mu.Unlock()
	var traps map[Signal]trap
	for s, t := range p.traps {
		if t == trapIgnore {
			if traps == nil {
				traps = make(map[Signal]trap)
			}
			traps[s] = t
		}
	}
	return traps
}

func (p *Process) setTrap(s Signal, t trap) {
	p.system.mu.Lock()
	defer p.system.mu.Unlock()
	traps := maps.Clone(p.traps)
	if traps == nil {
		traps = make(map[Signal]trap)
	}
	traps[s] = t
	p.traps = traps
}

// signalJob delivers a signal to every process of a job, and tells which.
func (s *System) signalJob(j *job, sig Signal) []*Process {
	s.mu.Lock()
	j.killed = j.killed || sig == SIGKILL
	var processes []*Process
	var acts []func()
	for _, p := range s.processes {
		if p.job == j {
			processes = append(processes, p)
			acts = append(acts, p.receive(sig))
		}
	}
	s.mu.Unlock()
	for _, act := range acts {
		act()
	}
	return processes
}

// SignalJob delivers a signal to the process and to all that it has started.
func (p *Process) SignalJob(s Signal) { p.system.signalJob(p.job, s) }

// KillJob kills the process with all that it has started, and waits until they have ended. The
// terminal that it leads ends first, so that nobody waits for a viewer.
func (p *Process) KillJob() {
	if p.leader {
		p.Terminal.end()
	}
	for _, q := range p.system.signalJob(p.job, SIGKILL) {
		<-q.ended
	}
}
