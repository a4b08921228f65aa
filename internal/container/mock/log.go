package mock

import (
	"bytes"
	"context"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/octobot-run/octobot/internal/container"
)

const (
	// logSize bounds a container's log; the oldest lines are dropped.
	logSize  = 1 << 20
	lineSize = 64   // bytes of an empty line
	maxPiece = 4096 // bytes of a line that are kept in one piece
)

const (
	stdout = 1
	stderr = 2
)

// line is one line of a log, or a piece of one.
type line struct {
	time   time.Time // of its beginning
	stream int
	text   []byte
	begun  bool // an earlier piece is its beginning
}

func (l line) finished() bool { return bytes.HasSuffix(l.text, []byte("\n")) }

// log is what a main process has written, over all of the container's runs.
type log struct {
	mu      sync.Mutex
	lines   []line
	dropped int               // lines before the first
	size    int               // bytes in memory
	open    map[int]time.Time // the streams whose last line is not finished, and when that began
	live    bool
	changed chan struct{} // closed at the next change; nil while nobody waits
}

func (l *log) writer(stream int) io.Writer { return logWriter{l, stream} }

type logWriter struct {
	log    *log
	stream int
}

func (w logWriter) Write(b []byte) (int, error) {
	w.log.mu.Lock()
	defer w.log.mu.Unlock()
	for piece := range bytes.Lines(b) {
		w.log.append(w.stream, piece)
	}
	w.log.notify()
	return len(b), nil
}

// append adds to the log. The caller holds mu.
func (l *log) append(stream int, piece []byte) {
	began, begun := l.open[stream]
	if !begun {
		began = time.Now()
	}
	if n := len(l.lines); begun && n > 0 && l.lines[n-1].stream == stream && len(l.lines[n-1].text) < maxPiece {
		l.lines[n-1].text = append(l.lines[n-1].text, piece...)
		l.size += len(piece)
	} else {
		l.lines = append(l.lines, line{began, stream, bytes.Clone(piece), begun})
		l.size += len(piece) + lineSize
	}
	if bytes.HasSuffix(piece, []byte("\n")) {
		delete(l.open, stream)
	} else if !begun {
		if l.open == nil {
			l.open = make(map[int]time.Time)
		}
		l.open[stream] = began
	}
	for l.size > logSize && len(l.lines) > 1 {
		l.size -= len(l.lines[0].text) + lineSize
		l.lines = l.lines[1:]
		l.dropped++
	}
}

func (l *log) notify() {
	if l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
}

// begin and end frame a run of the main process.
func (l *log) begin() { l.setLive(true) }
func (l *log) end()   { l.setLive(false) }

func (l *log) setLive(live bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.live = live
	l.notify()
}

// cursor is how far somebody has read: into which line, counted from the log's
// beginning, and how many of its bytes.
type cursor struct{ line, bytes int }

// next returns what follows the cursor; with nothing there, whether more may come, and when.
func (l *log) next(at cursor) (lines []line, to cursor, live bool, changed <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if at.line < l.dropped {
		at = cursor{line: l.dropped}
	}
	for at.line < l.dropped+len(l.lines) {
		full := l.lines[at.line-l.dropped]
		if rest := full.text[at.bytes:]; len(rest) > 0 {
			lines = append(lines, line{full.time, full.stream, bytes.Clone(rest), full.begun || at.bytes > 0})
		}
		if !full.finished() && at.line == l.dropped+len(l.lines)-1 {
			at.bytes = len(full.text)
			break
		}
		at = cursor{line: at.line + 1}
	}
	if l.changed == nil {
		l.changed = make(chan struct{})
	}
	return lines, at, l.live, l.changed
}

// tail is a cursor before the last n lines, negative for all.
func (l *log) tail(n int) cursor {
	l.mu.Lock()
	defer l.mu.Unlock()
	first := len(l.lines)
	for ; first > 0 && n != 0; first-- {
		if !l.lines[first-1].begun {
			n--
		}
	}
	return cursor{line: l.dropped + first}
}

// Logs implements [container.LogReader].
func (m *MockProvider) Logs(
	ctx context.Context, sessionID string, opts container.LogOptions, stdout, stderr io.Writer,
) error {
	return m.sessionCall(ctx, "logs", sessionID, nil, func(ctx context.Context) error {
		m.engine.mu.Lock()
		b, err := m.own(sessionID)
		m.engine.mu.Unlock()
		if err != nil {
			return err
		}
		return b.log.copy(ctx, opts, stdout, stderr)
	})
}

func (l *log) copy(ctx context.Context, opts container.LogOptions, out, errs io.Writer) error {
	at := l.tail(opts.Tail)
	for {
		lines, to, live, changed := l.next(at)
		for _, x := range lines {
			if x.time.Before(opts.Since) {
				continue
			}
			w := out
			if x.stream == stderr {
				w = errs
			}
			if opts.Timestamps && !x.begun {
				x.text = []byte(strings.Join([]string{x.time.Format(time.RFC3339Nano), string(x.text)}, " "))
			}
			if _, err := w.Write(x.text); err != nil {
				return err
			}
		}
		at = to
		switch {
		case len(lines) > 0:
			continue
		case !opts.Follow || !live:
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
