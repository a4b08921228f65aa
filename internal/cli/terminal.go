package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"golang.org/x/term"
)

// terminal is the one the user sits at.
type terminal struct {
	in, out *os.File // nil where stdin or stdout is something else
	once    sync.Once
	state   *term.State // what to give back; nil unless raw
}

// terminalOf finds the user's terminal behind stdin and stdout.
func terminalOf(stdin io.Reader, stdout io.Writer) *terminal {
	t := &terminal{}
	if f, ok := stdin.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		t.in = f
	}
	if f, ok := stdout.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		t.out = f
	}
	return t
}

// raw lets every key through to the session. The caller restores the terminal.
func (t *terminal) raw() error {
	if t.in == nil {
		return nil
	}
	state, err := term.MakeRaw(int(t.in.Fd()))
	if err != nil {
		return fmt.Errorf("the terminal can't be put into raw mode: %w", err)
	}
	t.state = state
	return nil
}

// restore gives the terminal back as it was. It may be repeated, and called from any goroutine.
func (t *terminal) restore() {
	t.once.Do(func() {
		if t.state != nil {
			_ = term.Restore(int(t.in.Fd()), t.state) // a terminal that is gone needs nothing
		}
	})
}

// guard restores the terminal where a goroutine panics, which ends the process
// without any other goroutine's deferred calls.
func (t *terminal) guard() {
	if r := recover(); r != nil {
		t.restore()
		panic(r)
	}
}

// size gives the terminal's size; zeroes where there is none.
func (t *terminal) size() (rows, cols uint16) {
	f := t.out
	if f == nil {
		f = t.in
	}
	if f == nil {
		return 0, 0
	}
	width, height, err := term.GetSize(int(f.Fd()))
	if err != nil || width <= 0 || height <= 0 {
		return 0, 0
	}
	return uint16(min(height, 65535)), uint16(min(width, 65535))
}

// follow calls resize with each new size of the terminal, and returns when ctx ends.
func (t *terminal) follow(ctx context.Context, resize func(rows, cols uint16) error) {
	changes := make(chan os.Signal, 1)
	signal.Notify(changes, syscall.SIGWINCH)
	defer signal.Stop(changes)
	// A change between the attaching and now was not signalled to us.
	for {
		if rows, cols := t.size(); rows > 0 && resize(rows, cols) != nil {
			return // the session has ended, which its reader finds out
		}
		select {
		case <-ctx.Done():
			return
		case <-changes:
		}
	}
}

// input reads the user's input, and can be told to stop while it waits for some.
type input struct {
	f *os.File
	// A pipe: closing stop makes wake readable. wake is left to the garbage collector, for
	// a Read may be waiting for it still.
	wake, stop *os.File
}

// newInput makes stdin interruptible. What is not a file is used as it is: its Read must not block
// for ever.
func newInput(stdin io.Reader) (io.ReadCloser, error) {
	f, ok := stdin.(*os.File)
	if !ok {
		return io.NopCloser(stdin), nil
	}
	wake, stop, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	return &input{f: f, wake: wake, stop: stop}, nil
}

// Read waits for input or Close, after which it gives io.EOF.
func (in *input) Read(p []byte) (int, error) {
	ready, err := readable(in.f, in.wake)
	if err != nil {
		return 0, err
	}
	if !ready {
		return 0, io.EOF
	}
	n, err := in.f.Read(p)
	if errors.Is(err, syscall.EIO) { // the terminal's other end is gone
		err = io.EOF
	}
	return n, err
}

// Close ends a Read that waits, and those that follow.
func (in *input) Close() error { return in.stop.Close() }
