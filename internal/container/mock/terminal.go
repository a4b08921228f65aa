package mock

import (
	"bytes"
	"context"
	"io"
	"slices"
	"sync"

	"github.com/octobot-run/octobot/internal/container"
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
	run *run
	job *job      // of the process that leads it
	log io.Writer // nil but for a main process

	mu         sync.Mutex
	changed    sync.Cond // that has mu: of everything below
	rows, cols uint
	typed      []byte   // the line that is being typed
	lines      [][]byte // to be read by the process; an empty one is ^D
	held       int      // bytes in lines
	viewers    []*viewer
	ended      bool
}

func newTerminal(r *run) *Terminal {
	t := &Terminal{run: r, rows: 24, cols: 80}
	t.changed.L = &t.mu
	return t
}

// Size is the size that somebody has set last.
func (t *Terminal) Size() (rows, cols uint) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.rows, t.cols
}

func (t *Terminal) resize(rows, cols uint) {
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
	if t.log != nil {
		_, _ = t.log.Write(out) // a log takes everything
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
		ok := t.wait(t.run.ctx, func() bool {
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

const (
	keyInterrupt = 0x03
	keyEOF       = 0x04
	keyBackspace = 0x08
	keyErase     = 0x7f
)

// input is what somebody types. It waits while the process does not read, until ctx ends.
func (t *Terminal) input(ctx context.Context, b []byte) error {
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
		t.mu.Unlock()
		t.run.signalJob(t.job, sigInt)
		t.mu.Lock()
	case keyEOF:
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

// viewer is somebody who looks at a terminal. The terminal's mutex guards it.
type viewer struct {
	t      *Terminal
	buffer []byte
	closed bool
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
}

func (t *Terminal) view() *viewer {
	v := &viewer{t: t}
	v.ctx, v.cancel = context.WithCancel(context.Background())
	t.mu.Lock()
	defer t.mu.Unlock()
	t.viewers = append(t.viewers, v)
	return v
}

func (v *viewer) Read(b []byte) (int, error) {
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

func (v *viewer) close() {
	v.cancel()
	t := v.t
	t.mu.Lock()
	defer t.mu.Unlock()
	v.closed = true
	t.viewers = slices.DeleteFunc(t.viewers, func(w *viewer) bool { return w == v })
	t.changed.Broadcast()
}

// pty is an attached terminal.
type pty struct {
	*viewer
	process *Process
	main    bool // the container's main process: Close only detaches
	forget  func(*pty)
	once    sync.Once
}

var (
	_ container.PTY       = (*pty)(nil)
	_ container.ExitCoder = (*pty)(nil)
)

func (p *pty) Write(b []byte) (int, error) {
	if err := p.t.input(p.ctx, b); err != nil {
		return 0, io.ErrClosedPipe
	}
	return len(b), nil
}

func (p *pty) Resize(height, width uint) error {
	p.t.resize(height, width)
	return nil
}

// ExitCode waits for the process.
func (p *pty) ExitCode(ctx context.Context) (int, error) {
	select {
	case <-p.ctx.Done():
	case <-ctx.Done():
		return 0, container.Errorf("attach", p.process.run.box.c.SessionID, ctx.Err(), "")
	case <-p.process.ended:
		if p.ctx.Err() == nil {
			return p.process.code, nil
		}
	}
	return 0, container.Errorf("attach", p.process.run.box.c.SessionID, container.ErrClosed, "the terminal was closed")
}

func (p *pty) Close() error {
	p.once.Do(func() {
		p.close()
		p.forget(p)
		if p.main {
			return
		}
		p.t.end()
		p.process.run.signalJob(p.process.job, sigHup)
	})
	return nil
}
