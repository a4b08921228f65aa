package toybox

import (
	"bytes"
	"context"
	"io"
	"slices"
	"sync"
)

const (
	// terminalBuffer bounds what a terminal holds, in each direction, for a side that does
	// not read; the other side waits then.
	terminalBuffer = 64 << 10
	maxLine        = 4096 // bytes of a line that is being typed, as in the kernel
)

// Terminal is a PTY with the habits of the kernel's: it echoes, gathers input into lines,
// turns LF into CRLF on its way out, and turns ^C into SIGINT and ^D into the end of input.
type Terminal struct {
	system *System
	output io.Writer // nil but for NewTerminal's

	mu         sync.Mutex
	changed    sync.Cond // that has mu: of everything below
	leader     *Process  // nil before it is started
	rows, cols uint
	typed      []byte   // the line that is being typed
	lines      [][]byte // to be read by the process; an empty one is ^D
	held       int      // bytes in lines
	viewers    []*Viewer
	ended      bool
}

// NewTerminal makes a terminal of 24 rows and 80 columns, for a process that is not started yet.
// All of its output is written to output as well, where that is not nil, whoever looks; it must
// take everything at once.
func (s *System) NewTerminal(output io.Writer) *Terminal {
	t := &Terminal{system: s, output: output, rows: 24, cols: 80}
	t.changed.L = &t.mu
	return t
}

// lead makes p the terminal's leader, where there is none yet. The caller holds system.mu.
func (t *Terminal) lead(p *Process) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.leader != nil {
		return false
	}
	t.leader = p
	return true
}

// Size is the size that somebody has set last.
func (t *Terminal) Size() (rows, cols uint) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.rows, t.cols
}

// Resize sets the size; a zero changes nothing.
func (t *Terminal) Resize(rows, cols uint) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if rows > 0 && cols > 0 {
		t.rows, t.cols = rows, cols
	}
}

// wait blocks until ready says so, false where ctx ends first. The caller holds mu.
func (t *Terminal) wait(ctx context.Context, ready func() bool) bool {
	if ready() {
		return true
	}
	stop := context.AfterFunc(ctx, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.changed.Broadcast()
	})
	defer stop()
	for !ready() {
		if ctx.Err() != nil {
			return false
		}
		t.changed.Wait()
	}
	return true
}

// Write is the process's output.
func (t *Terminal) Write(b []byte) (int, error) {
	out := bytes.ReplaceAll(b, []byte("\n"), []byte("\r\n"))
	if t.output != nil {
		_, _ = t.output.Write(out) // as NewTerminal says, it takes everything
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.show(out) {
		return 0, io.ErrClosedPipe
	}
	return len(b), nil
}

// show gives output to whoever looks, and waits for those that are behind. Nobody looking
// is fine. The caller holds mu.
func (t *Terminal) show(out []byte) bool {
	for len(out) > 0 && len(t.viewers) > 0 {
		room := terminalBuffer
		ok := t.wait(t.system.ctx, func() bool {
			room = terminalBuffer
			for _, v := range t.viewers {
				room = min(room, terminalBuffer-len(v.buffer))
			}
			return room > 0 || t.ended
		})
		if !ok || t.ended {
			return false
		}
		n := min(room, len(out))
		for _, v := range t.viewers {
			v.buffer = append(v.buffer, out[:n]...)
		}
		out = out[n:]
		t.changed.Broadcast()
	}
	return !t.ended
}

// KeyEOF is ^D, which ends the input where it begins a line.
const KeyEOF = 0x04

const (
	keyInterrupt = 0x03
	keyBackspace = 0x08
	keyErase     = 0x7f
)

// Input is what somebody types who need not be a [Viewer]. It waits while the process does not
// read, until ctx ends, and gives [io.ErrClosedPipe] where the terminal has ended.
func (t *Terminal) Input(ctx context.Context, b []byte) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, key := range b {
		if !t.wait(ctx, func() bool { return t.held < terminalBuffer || t.ended }) {
			return ctx.Err()
		}
		if t.ended {
			return io.ErrClosedPipe
		}
		t.press(key)
	}
	return nil
}

// press handles one key. The caller holds mu.
func (t *Terminal) press(key byte) {
	switch key {
	case keyInterrupt:
		t.typed = nil
		t.show([]byte("^C"))
		// Signals take other locks, so they are sent with none held.
		leader := t.leader
		t.mu.Unlock()
		if leader != nil {
			t.system.signalJob(leader.job, SIGINT)
		}
		t.mu.Lock()
	case KeyEOF:
		t.enter()
	case keyBackspace, keyErase:
		if n := len(t.typed); n > 0 {
			t.typed = t.typed[:n-1]
			t.show([]byte("\b \b"))
		}
	case '\r', '\n':
		t.typed = append(t.typed, '\n')
		t.show([]byte("\r\n"))
		t.enter()
	default:
		t.typed = append(t.typed, key)
		t.show([]byte{key})
		if len(t.typed) >= maxLine {
			t.enter()
		}
	}
}

func (t *Terminal) enter() {
	t.lines = append(t.lines, t.typed)
	t.held += len(t.typed)
	t.typed = nil
	t.changed.Broadcast()
}

// terminalInput is the terminal as a process reads it; the process's ctx ends a read.
type terminalInput struct {
	t   *Terminal
	ctx context.Context
}

func (in terminalInput) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	t := in.t
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.wait(in.ctx, func() bool { return len(t.lines) > 0 || t.ended }) {
		return 0, in.ctx.Err()
	}
	if len(t.lines) == 0 {
		return 0, io.EOF
	}
	n := copy(b, t.lines[0])
	t.held -= n
	if t.lines[0] = t.lines[0][n:]; len(t.lines[0]) == 0 {
		t.lines = t.lines[1:]
	}
	t.changed.Broadcast()
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

// end is the end of the process that leads the terminal: viewers read what is left,
// and then EOF.
func (t *Terminal) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended = true
	t.changed.Broadcast()
}

// Hangup ends the terminal as closing its window does: with SIGHUP for its job.
func (t *Terminal) Hangup() {
	t.end()
	t.mu.Lock()
	leader := t.leader
	t.mu.Unlock()
	if leader != nil {
		t.system.signalJob(leader.job, SIGHUP)
	}
}

// Viewer is somebody who looks at a terminal and types: Read gives the output since the viewer
// came, and io.EOF after the last of it, Write types. A viewer that does not read holds the
// terminal's processes up.
//
// Read, Write and Close may be called at the same time.
type Viewer struct {
	t      *Terminal
	ctx    context.Context // ends with Close
	cancel context.CancelFunc

	// Guarded by t.mu.
	buffer []byte
	closed bool
}

// View adds a viewer.
func (t *Terminal) View() *Viewer {
	v := &Viewer{t: t}
	v.ctx, v.cancel = context.WithCancel(context.Background())
	t.mu.Lock()
	t.viewers = append(t.viewers, v)
	leader := t.leader
	t.mu.Unlock()
	if leader != nil {
		leader.wake()
	}
	return v
}

// Read implements [io.Reader]. After Close it gives [io.ErrClosedPipe].
func (v *Viewer) Read(b []byte) (int, error) {
	t := v.t
	t.mu.Lock()
	defer t.mu.Unlock()
	t.wait(context.Background(), func() bool { return len(v.buffer) > 0 || v.closed || t.ended })
	switch {
	case v.closed:
		return 0, io.ErrClosedPipe
	case len(v.buffer) == 0:
		return 0, io.EOF
	}
	n := copy(b, v.buffer)
	v.buffer = append(v.buffer[:0], v.buffer[n:]...)
	t.changed.Broadcast()
	return n, nil
}

// Write types. It waits while the process does not read, and gives [io.ErrClosedPipe] where the
// terminal has ended or the viewer is closed.
func (v *Viewer) Write(b []byte) (int, error) {
	if err := v.t.Input(v.ctx, b); err != nil {
		return 0, io.ErrClosedPipe
	}
	return len(b), nil
}

// Close ends the looking; the terminal goes on. It may be repeated.
func (v *Viewer) Close() {
	v.cancel()
	t := v.t
	t.mu.Lock()
	defer t.mu.Unlock()
	v.closed = true
	t.viewers = slices.DeleteFunc(t.viewers, func(w *Viewer) bool { return w == v })
	t.changed.Broadcast()
}
