package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/octobot-run/octobot/internal/vtmode"
)

const (
	maxCastLine = 1 << 20              // bounds a line of a recording
	maxPause    = 365 * 24 * time.Hour // whatever it says
)

// player shows a recording on the user's terminal. What is in it is as little trusted as what a
// session's terminal shows, and besides, nothing that answers it is there any more.
type player struct {
	*app
	speed     float64
	idleLimit time.Duration // between two events; zero: none

	shown  vtmode.Replay  // leaves out what makes a terminal answer
	screen vtmode.Tracker // what the user's terminal was shown
	buf    []byte
}

// errStopped: the user wants no more of it.
var errStopped = errors.New("stopped")

// play shows a recording until its end, or until the user ends it. Whatever happens, the user's
// terminal is left as it was.
func (p *player) play(ctx context.Context, cast io.Reader) error {
	local := terminalOf(p.stdin, p.stdout)
	if local.in == nil || local.out == nil {
		defer p.leaveScreen()
		return p.show(ctx, cast)
	}
	in, err := newInput(p.stdin)
	if err != nil {
		return err
	}
	// Raw, lest what the terminal reports (the mouse, which may be on) be echoed, or be left to the
	// shell.
	if err := local.raw(); err != nil {
		return errors.Join(err, in.Close())
	}
	defer local.restore()
	defer p.leaveScreen()
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	var wg sync.WaitGroup
	wg.Go(func() {
		defer local.guard()
		end(awaitCtrlC(in))
	})
	err = p.show(ctx, cast)
	p.leaveScreen() // before what it still reports would be left to the shell
	_ = in.Close()  // only unblocks its reader
	wg.Wait()
	if errors.Is(err, errStopped) {
		return nil
	}
	return err
}

// awaitCtrlC reads what is typed, and drops it, until that is Ctrl-C: errStopped.
func awaitCtrlC(in io.Reader) error {
	buf := make([]byte, 256)
	for {
		n, err := in.Read(buf)
		if bytes.IndexByte(buf[:n], 3) >= 0 || err != nil {
			return errStopped
		}
	}
}

// show writes what was shown, each when it was.
func (p *player) show(ctx context.Context, cast io.Reader) error {
	lines := bufio.NewReaderSize(cast, maxCastLine)
	var head struct{ Version int }
	if line, err := castLine(lines); err != nil || json.Unmarshal(line, &head) != nil || head.Version != 2 {
		return errors.Join(errors.New("it is no recording of a kind that is known here"), nonEOF(err))
	}
	due, last := time.Now(), time.Duration(0)
	for {
		line, err := castLine(lines)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		at, kind, data, err := parseCastEvent(line)
		if err != nil {
			return err
		}
		if kind != "o" && kind != "m" { // a size can't be given to the user's terminal
			continue
		}
		pause := max(0, at-last)
		last = max(last, at)
		if p.idleLimit > 0 {
			pause = min(pause, p.idleLimit)
		}
		due = due.Add(time.Duration(min(float64(pause)/p.speed, float64(maxPause))))
		if err := sleepUntil(ctx, due); err != nil {
			return err
		}
		if kind != "o" {
			continue
		}
		p.buf = p.shown.Append(p.buf[:0], []byte(data))
		_, _ = p.screen.Write(p.buf)
		if _, err := p.stdout.Write(p.buf); err != nil {
			return err
		}
	}
}

func nonEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// castLine reads a line; a last one that is not whole is none.
func castLine(r *bufio.Reader) ([]byte, error) {
	line, err := r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return nil, fmt.Errorf("a line of the recording is longer than %d bytes", maxCastLine)
	}
	return line, err
}

func parseCastEvent(line []byte) (at time.Duration, kind, data string, err error) {
	var seconds float64
	fields := []any{&seconds, &kind, &data}
	if json.Unmarshal(line, &fields) != nil || len(fields) != 3 || !(seconds >= 0 && seconds < 1e9) {
		return 0, "", "", fmt.Errorf("a line of the recording can't be read: %.40q", line)
	}
	return time.Duration(seconds * float64(time.Second)), kind, data, nil
}

// sleepUntil returns at a time, or with the cause of ctx's end.
func sleepUntil(ctx context.Context, t time.Time) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	left := time.Until(t)
	if left <= 0 {
		return nil
	}
	timer := time.NewTimer(left)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// leaveScreen brings the user's terminal back from what the recording has made of it. Repeated, it
// does nothing.
func (p *player) leaveScreen() {
	if reset := p.screen.AppendReset(nil); len(reset) > 0 {
		_, _ = p.stdout.Write(reset)
	}
	p.screen = vtmode.Tracker{}
}
