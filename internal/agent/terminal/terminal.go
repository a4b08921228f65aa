package terminal

import (
	"cmp"
	"context"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/octobot-run/octobot/internal/agent/process"
	"github.com/octobot-run/octobot/internal/agent/pty"
	"github.com/octobot-run/octobot/internal/agentproto"
)

const (
	ringSize = 1 << 20
	// patience is how long a viewer that takes nothing holds up a terminal that it is the only one
	// to look at.
	patience = 10 * time.Second
	// maxInput is how much input waits for a program that does not read it; more waits with whoever
	// types.
	maxInput = 64 << 10
	// maxLeft bounds what is read after a command's end: what it has written is in the kernel's
	// buffers, and those are smaller. What is left behind may write for ever.
	maxLeft = 256 << 10
	// redrawPause is how long a program has to see one size before it is given the other.
	redrawPause = 50 * time.Millisecond

	defaultRows, defaultCols = 24, 80
)

// terminal is a command on a PTY, with the last of its output.
type terminal struct {
	name, id string
	args     []string
	created  time.Time
	linger   time.Duration
	timing   timing

	forgotten chan struct{} // closed when its name is free again
	ready     chan struct{} // closed when it was made, or that has failed
	failed    error         // after ready: why it was not made
	// The following are set before ready is closed, where that has not failed.
	process       *process.Process
	master, slave *os.File      // the slave is kept open, so that only the command's end is the terminal's
	done          chan struct{} // closed when it has ended
	work          sync.WaitGroup

	mu         sync.Mutex
	changed    sync.Cond // of mu: of everything below
	out        history
	viewers    map[*viewer]struct{}
	rows, cols uint16
	input      []byte // waits to be written
	writing    bool   // somebody writes input
	free       bool   // it is being hung up: output waits for nobody
	ended      bool
	endedAt    time.Time
	code       int
	active     time.Time
	expiry     *time.Timer // runs while nobody looks
}

func newTerminal(o *agentproto.OpenTerminal, timing timing) *terminal {
	t := &terminal{
		name: o.Name, id: process.NewID(), timing: timing, created: time.Now(), expiry: time.NewTimer(maxLinger),
		ready: make(chan struct{}), done: make(chan struct{}), forgotten: make(chan struct{}),
		viewers: make(map[*viewer]struct{}), out: newHistory(),
		linger: cmp.Or(time.Duration(o.Linger)*time.Second, defaultLinger),
	}
	t.expiry.Stop()
	t.changed.L = &t.mu
	t.active = t.created
	return t
}

// start starts the command. v is the first viewer, which is there before the first byte.
func (t *terminal) start(ctx context.Context, m *process.Manager, c agentproto.Command, v *viewer) error {
	spec, err := m.Resolve(c, true)
	if err != nil {
		return err
	}
	if len(spec.Args) == 0 {
		spec.Args = []string{process.Shell(&spec)}
	}
	t.rows, t.cols = cmp.Or(c.Rows, defaultRows), cmp.Or(c.Cols, defaultCols)
	if t.master, t.slave, err = pty.Open(); err != nil {
		return err
	}
	if err = pty.SetSize(t.master, t.rows, t.cols); err == nil {
		spec.Terminal = t.slave
		t.process, err = m.Start(ctx, spec)
	}
	if err != nil {
		t.closePTY()
		return err
	}
	t.args = process.Shorten(spec.Args)
	v.t, v.took = t, time.Now()
	t.viewers[v] = struct{}{}
	v.told = t.looks()
	t.work.Go(t.watch)
	t.work.Go(t.read)
	return nil
}

func (t *terminal) closePTY() {
	_ = t.master.Close()
	_ = t.slave.Close()
}

// watch ends the reading when the command has ended.
func (t *terminal) watch() {
	<-t.process.Done()
	_ = t.master.SetReadDeadline(time.Unix(1, 0))
}

// read moves output from the PTY into the ring until the command's end, and what it has written
// before that.
func (t *terminal) read() {
	defer close(t.done)
	buf := make([]byte, 4<<10) // as much as the kernel gives at a time
	for {
		n, err := t.master.Read(buf)
		t.put(buf[:n])
		if err != nil {
			break
		}
		runtime.Gosched() // the viewers first: there is rarely more to read at once
	}
	<-t.process.Done()
	for left := maxLeft; left > 0; {
		n := pty.ReadNow(t.master, buf)
		if n <= 0 {
			break
		}
		t.put(buf[:n])
		left -= n
	}
	t.mu.Lock()
	t.ended, t.endedAt, t.code = true, time.Now(), t.process.Code()
	t.input = nil
	t.changed.Broadcast()
	t.mu.Unlock()
	t.closePTY()
}

// put adds output to the ring, as soon as its viewers let it.
func (t *terminal) put(b []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(b) > 0 {
		now := time.Now()
		room, again := t.room(now)
		if room == 0 {
			t.wait(again)
			continue
		}
		for v := range t.viewers {
			if v.pos == t.out.End() {
				v.took = now // it had all that there was
			}
		}
		n := min(room, len(b))
		t.out.write(b[:n])
		b = b[n:]
		t.active = now
		t.changed.Broadcast()
	}
}

// room tells how much output may be added to the ring: half a ring more than the most advanced
// viewer was sent, of those that have not stood still for long. The other half is for what is on
// its way to it, and would be gone if it were cut off now and came back. Without room, again is
// when one of them will have. The caller holds mu.
func (t *terminal) room(now time.Time) (room int, again time.Duration) {
	best, held := int64(0), false
	for v := range t.viewers {
		idle := now.Sub(v.took)
		if idle >= t.timing.patience {
			continue
		}
		held, best = true, max(best, v.pos)
		again = max(again, t.timing.patience-idle)
	}
	if t.free || !held {
		return ringSize, 0
	}
	return int(max(0, best+t.out.Limit()/2-t.out.End())), again
}

// wait waits for a change, at most so long. The caller holds mu.
func (t *terminal) wait(most time.Duration) {
	timer := time.AfterFunc(most, t.wake)
	defer timer.Stop()
	t.changed.Wait()
}

func (t *terminal) wake() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.changed.Broadcast()
}

// write moves what waits as input to the PTY, until there is none. One goroutine at a time does.
func (t *terminal) write() {
	for {
		t.mu.Lock()
		b := t.input
		t.input = nil
		if len(b) == 0 {
			t.writing = false
			t.mu.Unlock()
			return
		}
		t.changed.Broadcast()
		t.mu.Unlock()
		if _, err := t.master.Write(b); err != nil {
			t.mu.Lock()
			t.input, t.writing = nil, false // it has ended
			t.mu.Unlock()
			return
		}
	}
}

// resize gives the terminal the size of a viewer that has done something; false where it has that
// already. The caller holds mu.
func (t *terminal) resize(v *viewer) bool {
	same := t.rows == v.rows && t.cols == v.cols
	if v.readOnly || v.rows == 0 || v.cols == 0 || same || t.ended {
		return false
	}
	if pty.SetSize(t.master, v.rows, v.cols) != nil {
		return false
	}
	t.rows, t.cols = v.rows, v.cols
	t.changed.Broadcast() // viewers are told
	return true
}

// looks is how many look, and at which size; the caller holds mu.
func (t *terminal) looks() agentproto.Viewers {
	return agentproto.Viewers{Count: len(t.viewers), Rows: t.rows, Cols: t.cols}
}

// redraw makes a program of the whole screen draw it, as a change of the size does.
func (t *terminal) redraw() {
	t.mu.Lock()
	rows, cols := t.rows, t.cols
	t.mu.Unlock()
	if rows < 2 || pty.SetSize(t.master, rows-1, cols) != nil {
		return
	}
	pause := time.NewTimer(redrawPause)
	defer pause.Stop()
	select {
	case <-pause.C:
	case <-t.done:
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	_ = pty.SetSize(t.master, t.rows, t.cols) // of one that has ended: nothing
}

// hangUp ends the terminal as closing its window would, and returns when it has ended: true, or ctx
// has.
func (t *terminal) hangUp(ctx context.Context) bool {
	t.mu.Lock()
	t.free = true
	t.changed.Broadcast()
	t.mu.Unlock()
	_ = t.process.HangUp(ctx)
	select {
	case <-t.done:
		return true
	case <-ctx.Done():
		return false
	}
}

// info tells of the terminal, which is ready.
func (t *terminal) info() agentproto.TerminalInfo {
	t.mu.Lock()
	defer t.mu.Unlock()
	return agentproto.TerminalInfo{
		Name: t.name, ID: t.id, Args: t.args, PID: t.process.Pid(), Created: t.created.UnixNano(),
		Rows: t.rows, Cols: t.cols, Viewers: len(t.viewers), Position: t.out.End(), Active: t.active.UnixNano(),
		Running: !t.ended, ExitCode: t.code,
	}
}

// abandoned tells whether nobody looks.
func (t *terminal) abandoned() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.viewers) == 0
}

// over tells whether the terminal has ended, and when.
func (t *terminal) over() (time.Time, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.endedAt, t.ended
}
