package mock

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/container/mock/toybox"
)

const (
	// keptOutput is how much of its output a terminal keeps.
	keptOutput = 1 << 20
	// patience is how long a viewer that takes nothing holds a terminal up.
	patience = time.Second
	// hangUpTime is how long a command has to end that was hung up, until it is killed.
	hangUpTime = time.Second
)

// terminal is a command on a PTY, kept for viewers that come and go. It is itself the one who looks
// at the PTY.
type terminal struct {
	registry *terminals
	name, id string
	cmd      []string
	created  time.Time
	linger   time.Duration
	screen   *toybox.Terminal
	process  *toybox.Process
	done     chan struct{} // closed when it has ended

	mu      sync.Mutex
	changed sync.Cond // of mu: of everything below
	out     tail
	viewers map[*viewer]struct{}
	active  time.Time
	free    bool // its end has begun: output waits for no viewer
	expired bool // it is to be forgotten with its end
	ended   bool
	endedAt time.Time
	code    int
	cut     bool        // by the container's end: the code says nothing
	timer   *time.Timer // to its end, while nobody looks or since it was hung up; may be nil
}

// tail is the last of an output, at most keptOutput.
type tail struct {
	data []byte
	end  int64 // position of the byte after data
}

func (o *tail) start() int64 { return o.end - int64(len(o.data)) }

// write adds at most keptOutput.
func (o *tail) write(b []byte) {
	o.data = append(o.data[max(0, len(o.data)+len(b)-keptOutput):], b...)
	o.end += int64(len(b))
}

// between gives what lies between two positions that are kept.
func (o *tail) between(from, to int64) []byte {
	return o.data[from-o.start() : to-o.start()]
}

// start starts the command. v is the first viewer, which is there before the first byte. The caller
// holds r.mu.
func (r *terminals) start(v *viewer, opts container.TerminalOptions) (*terminal, error) {
	cmd := slices.Clone(opts.Cmd)
	if len(cmd) == 0 {
		cmd = []string{"sh"}
	}
	screen := r.system.NewTerminal(nil)
	screen.Resize(opts.Rows, opts.Cols)
	output := screen.View()
	process, err := spawn(r.system, toybox.Spec{
		Args: cmd, Env: opts.TerminalEnv(), Dir: opts.WorkingDir, User: opts.User, Terminal: screen,
	})
	if err != nil {
		output.Close()
		return nil, err
	}
	now := time.Now()
	t := &terminal{
		registry: r, name: opts.Name, id: newTerminalID(), cmd: cmd, created: now, active: now,
		linger: cmp.Or(opts.Linger, container.TerminalLinger), screen: screen, process: process,
		done: make(chan struct{}), viewers: make(map[*viewer]struct{}),
	}
	t.changed.L = &t.mu
	t.mu.Lock()
	defer t.mu.Unlock()
	t.add(v)
	v.made = true
	r.work.Go(func() { t.read(output) })
	return t, nil
}

// read takes the command's output until its end.
func (t *terminal) read(output *toybox.Viewer) {
	buf := make([]byte, 4<<10)
	for {
		n, err := output.Read(buf)
		t.put(buf[:n])
		if err != nil {
			break
		}
	}
	output.Close()
	<-t.process.Done()
	t.end()
}

// put adds output, as soon as viewers let it.
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
			if v.pos == t.out.end {
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

// room tells how much may be added so that the viewer who is furthest, of those who have not stood
// still for long, loses nothing. Without room, again is when one of them will have. The caller
// holds mu.
func (t *terminal) room(now time.Time) (room int, again time.Duration) {
	furthest := int64(-1)
	for v := range t.viewers {
		if idle := now.Sub(v.took); idle < patience {
			furthest = max(furthest, v.pos)
			again = max(again, patience-idle)
		}
	}
	if t.free || furthest < 0 {
		return keptOutput, 0
	}
	return int(max(0, furthest+keptOutput-t.out.end)), again
}

// wait waits for a change, at most so long. The caller holds mu.
func (t *terminal) wait(most time.Duration) {
	timer := time.AfterFunc(most, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.changed.Broadcast()
	})
	defer timer.Stop()
	t.changed.Wait()
}

// end makes the command's end known.
func (t *terminal) end() {
	t.mu.Lock()
	t.ended, t.endedAt = true, time.Now()
	t.code = t.process.ExitCode()
	select {
	case <-t.registry.system.Ending():
		t.cut = true
	default:
	}
	t.stopTimer()
	expired := t.expired
	t.changed.Broadcast()
	t.mu.Unlock()
	if expired {
		t.registry.forget(t)
	}
	close(t.done)
}

func (t *terminal) stopTimer() {
	if t.timer != nil {
		t.timer.Stop()
		t.timer = nil
	}
}

// hangUp ends the terminal as the closing of its window does. It does not wait.
func (t *terminal) hangUp() {
	t.mu.Lock()
	if !t.ended && !t.free {
		t.stopTimer()
		t.timer = time.AfterFunc(hangUpTime, func() { t.process.Signal(toybox.SIGKILL) })
	}
	t.mu.Unlock()
	t.release()
	t.screen.Hangup()
}

// release lets output wait for no viewer any more.
func (t *terminal) release() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.free = true
	t.changed.Broadcast()
}

// expire ends a terminal that nobody has looked at for long.
func (t *terminal) expire() {
	t.mu.Lock()
	t.expired = t.expired || len(t.viewers) == 0
	expired := t.expired
	t.mu.Unlock()
	if expired {
		t.hangUp()
	}
}

// join adds a viewer to a terminal that is there.
func (t *terminal) join(v *viewer, opts container.TerminalOptions) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case opts.ID == "", opts.Since == container.ShowAgain:
		v.pos, v.replayTo = t.out.start(), t.out.end
		v.showing = v.replayTo > 0
	case opts.Since > t.out.end:
		return refuse(container.ErrInvalidArgument, "the terminal has written %d bytes so far: there is no position %d",
			t.out.end, opts.Since)
	default:
		v.pos = max(opts.Since, t.out.start())
		v.missed = v.pos - opts.Since
	}
	t.claim(v)
	t.add(v)
	return nil
}

// add adds a viewer. The caller holds mu.
func (t *terminal) add(v *viewer) {
	v.t, v.took = t, time.Now()
	t.viewers[v] = struct{}{}
	v.told = t.looks()
	if !t.free {
		t.stopTimer()
	}
	v.opened = t.infoLocked()
	v.opened.Position = max(v.pos, v.replayTo)
	t.changed.Broadcast()
}

// remove removes a viewer; with the last, the time to its end begins.
func (t *terminal) remove(v *viewer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.viewers, v)
	if len(t.viewers) == 0 && !t.ended && !t.free {
		t.timer = time.AfterFunc(t.linger, t.expire)
	}
	t.changed.Broadcast()
}

// claim gives the terminal the size of a viewer who does something. The caller holds mu.
func (t *terminal) claim(v *viewer) {
	if !v.readOnly && !t.ended {
		t.screen.Resize(v.rows, v.cols)
		t.changed.Broadcast() // viewers are told
	}
}

func (t *terminal) info() container.TerminalInfo {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.infoLocked()
}

func (t *terminal) infoLocked() container.TerminalInfo {
	rows, cols := t.screen.Size()
	return container.TerminalInfo{
		Name: t.name, ID: t.id, Cmd: slices.Clone(t.cmd), PID: t.process.PID, Created: t.created,
		Rows: rows, Cols: cols, Viewers: len(t.viewers), Position: t.out.end, Active: t.active,
		Running: !t.ended, ExitCode: t.code,
	}
}

// over tells whether the terminal has ended, and when.
func (t *terminal) over() (time.Time, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.endedAt, t.ended
}
