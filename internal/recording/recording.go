package recording

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
)

const (
	// flushTime is how long what was recorded may wait to be written.
	flushTime = time.Second
	// portion is how much is written at once, if it comes fast.
	portion = 64 << 10
	// maxUnwritten is how much waits while writing fails.
	maxUnwritten = 1 << 20
	// reserve is what a recording keeps free for its last words.
	reserve = 1 << 10
)

// Recording is a recording that is being written. It is safe for use from many goroutines.
type Recording struct {
	of      *Recordings
	started time.Time

	mu    sync.Mutex
	entry *entry // of the index, whose mutex guards it
	f     *os.File
	size  int64  // of what is in f
	state state  // with what is in buf
	buf   []byte // waits to be written
	held  []byte // the beginning of a character, behind the position
	timer *time.Timer
	armed bool // the timer runs
	said  bool // writing has failed, and the log knows
	done  bool // closed
}

// Position gives the position of the byte in the terminal's output that is to be recorded next.
func (r *Recording) Position() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state.position
}

// Output records what the terminal has written; position is that of the byte behind it. After an
// error there is nothing to do but to close the recording: [ErrEnded] where it is as large as one
// may be, or there is no room for more, as it says itself then.
func (r *Recording) Output(data []byte, position int64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if position-int64(len(data)) == r.state.position {
		r.held = nil // it comes once more
	}
	if len(r.held) > 0 {
		data = append(r.held, data...)
	}
	whole, rest := splitCharacters(data)
	r.held = append([]byte(nil), rest...)
	if len(whole) == 0 {
		return nil
	}
	return r.add("o", whole, position-int64(len(rest)))
}

// Redraw records what a terminal shows that is not numbered: the modes of the screen, behind bytes
// that were missed.
func (r *Recording) Redraw(data []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(data) == 0 {
		return nil
	}
	return r.add("o", data, r.state.position)
}

// Missed records that so many bytes were missed; position is that of the byte behind them.
func (r *Recording) Missed(n, position int64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if position-n != r.state.position { // else they are counted already
		n += int64(len(r.held)) // the rest of the character is gone
	}
	r.held = nil
	r.state.missed += n
	return r.add("m", fmt.Appendf(nil, "%d bytes of output were missed", n), position)
}

// Resize records the size of the terminal.
func (r *Recording) Resize(rows, cols uint) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.add("r", fmt.Appendf(nil, "%dx%d", cols, rows), r.state.position)
}

// Finish ends the recording for ever, with words that say why.
func (r *Recording) Finish(why string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if held := r.held; len(held) > 0 {
		r.held = nil
		if err := r.add("o", held, r.state.position+int64(len(held))); err != nil {
			return err
		}
	}
	switch {
	case r.done:
		return os.ErrClosed
	case r.state.mode != live:
		return ErrEnded
	}
	r.end(ended, why)
	return r.flush()
}

// Close writes what waits. Unless it has ended, the recording goes on where it was when it is
// opened again. A repeated Close: nil.
func (r *Recording) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.done {
		return nil
	}
	err := r.flush()
	r.done = true
	if r.timer != nil {
		r.timer.Stop()
	}
	err = errors.Join(err, r.f.Close())
	r.of.closed(r.entry)
	return err
}

// add adds an event, after which the position is that. The caller holds mu.
func (r *Recording) add(kind string, data []byte, position int64) error {
	switch {
	case r.done:
		return os.ErrClosed
	case r.state.mode != live:
		return ErrEnded
	}
	at, before := max(r.state.at, time.Since(r.started)), len(r.buf)
	r.buf = appendEvent(r.buf, at, kind, data)
	if r.size+int64(len(r.buf)) > r.of.limits.One-reserve {
		r.buf = r.buf[:before]
		r.end(full, fmt.Sprintf("this recording is as large as one may be, %d bytes, and ends here", r.of.limits.One))
		_ = r.write() // Close tries again
		return ErrEnded
	}
	r.state.at, r.state.position = at, position
	if len(r.buf) < portion {
		r.flushSoon()
		return nil
	}
	err := r.flush()
	switch {
	case r.state.mode != live:
		return ErrEnded
	case len(r.buf) < maxUnwritten:
		return nil
	}
	return err
}

// end adds the last words. The caller holds mu.
func (r *Recording) end(mode, words string) {
	r.state.at, r.state.mode = max(r.state.at, time.Since(r.started)), mode
	r.buf = appendEvent(r.buf, r.state.at, "m", []byte(words))
}

// flushSoon has what waits written a while later. The caller holds mu.
func (r *Recording) flushSoon() {
	switch {
	case r.armed:
		return
	case r.timer == nil:
		r.timer = time.AfterFunc(flushTime, r.flushLate)
	default:
		r.timer.Reset(flushTime)
	}
	r.armed = true
}

func (r *Recording) flushLate() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.armed = false
	if r.done {
		return
	}
	if r.flush() == nil { // or it is tried again
		r.buf = nil // a quiet one holds none
	}
}

// flush writes what waits, where there is room. What can't be written goes on waiting. The caller
// holds mu.
func (r *Recording) flush() error {
	if len(r.buf) == 0 {
		return nil
	}
	if r.state.mode == live && r.of.roomFor(int64(len(r.buf))) != nil {
		// The portion is written still: a little more than all may take is better than a gap.
		r.end(full, "all recordings together are as large as they may be, and this one ends here")
		r.of.log.Warn("There is no room for more of a recording, which ends; see limits.max_recordings",
			"path", r.entry.key.path())
	}
	return r.write()
}

// write writes what waits, and the position. The caller holds mu.
func (r *Recording) write() error {
	b := appendState(r.buf, r.state)
	if _, err := r.f.WriteAt(b, r.size); err != nil {
		_ = r.f.Truncate(r.size) // or it is mended when it is opened
		if !r.said {
			r.of.log.Warn("A recording can't be written", "path", r.entry.key.path(), "error", err)
		}
		r.said = true
		r.flushSoon()
		return err
	}
	r.size += int64(len(b))
	r.buf, r.said = r.buf[:0], false
	r.of.grown(r.entry, r.size, r.state)
	return nil
}
