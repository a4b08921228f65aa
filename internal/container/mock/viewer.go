package mock

import (
	"context"
	"io"
	"sync"
	"time"

	"github.com/octobot-run/octobot/internal/container"
)

// viewerChunk bounds what a viewer is told at a time.
const viewerChunk = 32 << 10

// viewer is somebody who looks at a terminal that is kept.
type viewer struct {
	sessionID string
	forget    func(io.Closer)
	readOnly  bool
	life      context.Context // ends with Close
	leave     context.CancelFunc
	once      sync.Once

	// These are set before anybody has the viewer.
	t      *terminal
	made   bool
	opened container.TerminalInfo

	shown []byte // what Next gave last; its caller's

	// Guarded by t.mu.
	rows, cols uint
	pos        int64     // of the next byte that it gets
	replayTo   int64     // up to there it is shown what is kept
	showing    bool      // it is not told yet that this is over
	missed     int64     // before the first byte
	took       time.Time // when it took something, or there was nothing to take
	told       looks     // as far as it knows
}

var _ container.Terminal = (*viewer)(nil)

// Opened implements [container.Terminal].
func (v *viewer) Opened() (info container.TerminalInfo, made bool) { return v.opened, v.made }

// Next implements [container.Terminal].
func (v *viewer) Next() (container.TerminalEvent, error) {
	t := v.t
	t.mu.Lock()
	defer t.mu.Unlock()
	for !v.left() && !t.ended && v.missed == 0 && v.pos == t.out.end && v.told == t.looks() && !v.whole() {
		t.changed.Wait()
	}
	var e container.TerminalEvent
	switch {
	case v.left():
		return e, io.ErrClosedPipe
	case v.missed > 0: // apart from what it may miss by now, for Opened has told where it came
		e.Missed, e.Position, v.missed = v.missed, v.pos, 0
		return e, nil
	case v.whole():
		v.showing = false
		return container.TerminalEvent{Position: v.pos}, nil
	case t.ended && v.pos == t.out.end:
		return e, io.EOF
	}
	if now := t.looks(); now != v.told {
		e.Viewers, e.Rows, e.Cols = now.viewers, now.rows, now.cols
		v.told = now
	}
	if start := t.out.start(); v.pos < start {
		e.Missed = max(0, start-max(v.pos, v.replayTo))
		v.pos = start
	}
	to := t.out.end
	if e.Replayed = v.pos < v.replayTo; e.Replayed {
		to = v.replayTo
	}
	to = min(to, v.pos+viewerChunk)
	v.shown = append(v.shown[:0], t.out.between(v.pos, to)...)
	e.Data = v.shown
	if v.pos < to {
		v.pos, v.took = to, time.Now()
		t.changed.Broadcast() // there is room
	}
	e.Position = max(v.pos, v.replayTo)
	return e, nil
}

// looks is how many look at a terminal, and at which size.
type looks struct {
	viewers    int
	rows, cols uint
}

// looks is for who holds mu.
func (t *terminal) looks() looks {
	rows, cols := t.screen.Size()
	return looks{len(t.viewers), rows, cols}
}

// whole tells whether all was shown that is kept, and the viewer does not know. t.mu is held.
func (v *viewer) whole() bool { return v.showing && v.pos >= v.replayTo }

func (v *viewer) left() bool { return v.life.Err() != nil }

// Write implements [io.Writer].
func (v *viewer) Write(b []byte) (int, error) {
	if v.readOnly {
		return 0, container.Errorf("terminal", v.sessionID, container.ErrInvalidArgument, "this viewer only reads")
	}
	t := v.t
	t.mu.Lock()
	if v.left() || t.ended {
		t.mu.Unlock()
		return 0, io.ErrClosedPipe
	}
	t.claim(v)
	t.active = time.Now()
	t.mu.Unlock()
	if err := t.screen.Input(v.life, b); err != nil {
		return 0, io.ErrClosedPipe
	}
	return len(b), nil
}

// Resize implements [container.Terminal].
func (v *viewer) Resize(height, width uint) error {
	t := v.t
	t.mu.Lock()
	defer t.mu.Unlock()
	if !v.left() {
		v.rows, v.cols = height, width
		t.claim(v)
	}
	return nil
}

// ExitCode implements [container.ExitCoder].
func (v *viewer) ExitCode(ctx context.Context) (int, error) {
	select {
	case <-v.life.Done():
	case <-v.t.done:
	case <-ctx.Done():
		return 0, container.Errorf("terminal", v.sessionID, ctx.Err(), "")
	}
	switch {
	case v.left():
		return 0, container.Errorf("terminal", v.sessionID, container.ErrClosed, "the terminal was left")
	case v.t.cut:
		return 0, container.Errorf("terminal", v.sessionID, container.ErrContainerStopped,
			"the container ended before the command")
	}
	return v.t.code, nil
}

// Close implements [container.Terminal].
func (v *viewer) Close() error {
	v.once.Do(func() {
		v.leave()
		v.t.remove(v)
		v.forget(v)
	})
	return nil
}
