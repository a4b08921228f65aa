package process

import (
	"context"
	"fmt"
	"os"
	"syscall"
	"time"
)

const (
	// firstWait and lastWait are how long the death of what was killed is waited for before looking
	// again.
	firstWait = 500 * time.Microsecond
	lastWait  = 50 * time.Millisecond
	// hangUpWait is how long a command has to end when its terminal has.
	hangUpWait = time.Second
	// emptyLooks is how often more to look where nothing is found, but a process with an empty
	// environment is there all the time: it may have been executing a program whenever it was
	// looked at.
	emptyLooks = 4
	// execTime is how long a process may take to execute a program, for which a busy machine may
	// interrupt it. What shows neither environment nor arguments for longer is something else.
	execTime = time.Second
)

// Kill kills it and every descendant, those in sessions of their own too, and returns when they
// have ended, or ctx has. It finds what descends from the command, is in its session or in one that
// a process it found leads, or has the command's tag in its environment. A process that has left
// all of these behind is not provably the command's, and is left alone.
func (p *Process) Kill(ctx context.Context) error {
	if err := kill(ctx, p.leads, []string{p.tag}); err != nil {
		return fmt.Errorf("kill process %d and its descendants: %w", p.pid, err)
	}
	return p.await(ctx)
}

// KillAgents kills those of the processes that are agents as this one is, one that is stopped too.
// What they run ends with them, or has a tag.
func KillAgents(pids []int) {
	own, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return
	}
	for _, pid := range pids {
		if pid <= 1 || pid == os.Getpid() {
			continue
		}
		if program, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid)); err == nil && program == own {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

// KillTagged kills, as [Process.Kill] does, what is left of commands that are known by their tags
// alone: those of an agent that has been killed.
func KillTagged(ctx context.Context, tags []string) error {
	if len(tags) == 0 {
		return nil
	}
	variables := make([]string, len(tags))
	for i, tag := range tags {
		variables[i] = tagName + "=" + tag
	}
	if err := kill(ctx, func(entry) bool { return false }, variables); err != nil {
		return fmt.Errorf("kill what an agent has left behind: %w", err)
	}
	return nil
}

// kill kills until nothing is left of what leads names, or has one of the variables.
func kill(ctx context.Context, leads func(entry) bool, tags []string) error {
	var r remains
	for wait := firstWait; ; wait = min(2*wait, lastWait) {
		h, err := killRound(leads, tags)
		if err != nil {
			return err
		}
		if len(h.found) > 0 {
			r = remains{}
		} else if !r.again(h.unknown) {
			return nil
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("%d are left: %w", len(h.found), ctx.Err())
		}
	}
}

// unknown is a process of which it is not known whether it is the command's.
type unknown struct {
	started uint64
	doubt   doubt
}

// remains are what no look could tell, by pid, since one has found nothing else.
type remains struct {
	pids  map[int]unknown
	looks int
	since time.Time
}

// again tells whether to look once more, after one that has found nothing but these.
func (r *remains) again(now map[int]unknown) bool {
	if r.looks++; r.looks == 1 {
		r.pids, r.since = now, time.Now()
	}
	executing := false
	for pid, u := range r.pids {
		if is, ok := now[pid]; ok && is.started == u.started {
			executing = executing || is.doubt == amidExec
		} else {
			delete(r.pids, pid)
		}
	}
	return executing && time.Since(r.since) < execTime || len(r.pids) > 0 && r.looks <= emptyLooks
}

// await waits for the command to be reaped.
func (p *Process) await(ctx context.Context) error {
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// killRound stops all that there is, so that it makes no more, and kills it.
func killRound(leads func(entry) bool, tags []string) (*hunt, error) {
	h := &hunt{leads: leads, tags: tags, found: map[int]entry{}, sessions: map[int]bool{},
		strangers: map[int]uint64{}, buf: make([]byte, 16<<10)}
	for {
		fresh, err := h.scan()
		if err != nil {
			return nil, err
		}
		if len(fresh) == 0 {
			break
		}
		for _, e := range fresh {
			h.signal(e, syscall.SIGSTOP)
		}
	}
	for _, e := range h.found {
		h.signal(e, syscall.SIGKILL)
	}
	return h, nil
}

// hunt is the search for a command's processes.
type hunt struct {
	leads     func(entry) bool // whether it is the command's for another reason than what follows
	tags      []string         // variables
	found     map[int]entry
	sessions  map[int]bool    // led by what was found
	strangers map[int]uint64  // whose environment was looked at: pid and start
	unknown   map[int]unknown // in the last scan
	buf       []byte
}

// scan adds what is not found yet.
func (h *hunt) scan() ([]entry, error) {
	all, err := pids()
	if err != nil {
		return nil, err
	}
	h.unknown = map[int]unknown{}
	self := os.Getpid()
	var fresh []entry
	// A child may stand before its parent in the list: as long as something comes, more may.
	for again := true; again; {
		again = false
		for _, pid := range all {
			if pid == self || pid == 1 {
				continue
			}
			if _, ok := h.found[pid]; ok {
				continue
			}
			e, ok := look(pid, h.buf)
			if !ok || e.dead || !h.belongs(e) {
				continue
			}
			h.found[pid] = e
			if e.session == pid {
				h.sessions[pid] = true
			}
			fresh = append(fresh, e)
			again = true
		}
	}
	return fresh, nil
}

func (h *hunt) belongs(e entry) bool {
	if _, ok := h.found[e.parent]; ok || h.sessions[e.session] {
		return true
	}
	if h.leads(e) {
		return true
	}
	if started, ok := h.strangers[e.pid]; ok && started == e.started {
		return false
	}
	if e.kernel {
		return false
	}
	has, d := tagged(e.pid, h.tags, h.buf)
	if has {
		return true
	}
	if d != certain {
		h.unknown[e.pid] = unknown{e.started, d}
		return false
	}
	h.strangers[e.pid] = e.started
	return false
}

// leads tells whether a process is the command, or of its session. After the command's end its
// number may lead another session; what started before that end, or in the same tick, in which the
// kernel doesn't get through all numbers, can only be of the command's.
func (p *Process) leads(e entry) bool {
	if e.session != p.pid {
		return false
	}
	p.m.mu.Lock()
	defer p.m.mu.Unlock()
	return !p.over || e.pid != p.pid && e.started <= p.overAt
}

// signal signals the process that was found, not one that has its number meanwhile.
func (h *hunt) signal(e entry, sig syscall.Signal) {
	if now, ok := look(e.pid, h.buf); ok && now.started == e.started && !now.dead {
		_ = syscall.Kill(e.pid, sig)
	}
}

// HangUp does what the end of a terminal does: SIGHUP and SIGCONT to its session, and SIGKILL to
// the command where that does not end it within a second, or until ctx ends. What arranged to
// survive a hangup survives. It returns when the command has ended, which is all that it does after
// that end.
func (p *Process) HangUp(ctx context.Context) error {
	select {
	case <-p.done:
		return nil
	default:
	}
	h := hunt{buf: make([]byte, 4<<10)}
	all, err := pids()
	var session []entry // whole before the first hears of it, since the command's end makes it harder to tell
	for _, pid := range all {
		if e, ok := look(pid, h.buf); ok && !e.dead && p.leads(e) {
			session = append(session, e)
		}
	}
	for _, e := range session {
		h.signal(e, syscall.SIGHUP)
		h.signal(e, syscall.SIGCONT)
	}
	if err != nil {
		// Without /proc only the command's own process group is known.
		_ = p.Signal(syscall.SIGHUP)
		_ = p.Signal(syscall.SIGCONT)
	}
	timer := time.NewTimer(hangUpWait)
	defer timer.Stop()
	select {
	case <-p.done:
		return nil
	case <-timer.C:
	case <-ctx.Done():
	}
	p.signalOne(syscall.SIGKILL)
	return p.await(ctx)
}
