package containertest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/octobot-run/octobot/internal/container"
)

// look is a viewer of a terminal, with everything that it was told.
type look struct {
	container.Terminal
	f    *fixture
	info container.TerminalInfo // when it came
	made bool

	mu       sync.Mutex
	replayed []byte
	pieces   []piece // of the output that is numbered; a new one begins where some was missed
	position int64
	missed   int64
	viewers  []int    // as it was told, one after the other
	sizes    []string // the same
	err      error    // why it ended
	closed   chan struct{}
}

// piece is output without a gap.
type piece struct {
	from int64
	data []byte
}

func sizeWords(rows, cols uint) string { return fmt.Sprint(rows, " ", cols) }

// terminal are the options for a terminal of 24 rows and 80 columns, with a command.
func terminal(name string, cmd ...string) container.TerminalOptions {
	return container.TerminalOptions{
		Name: name, AttachOptions: container.AttachOptions{Cmd: cmd, Rows: 24, Cols: 80},
	}
}

// script are the same, with a script.
func script(name, script string) container.TerminalOptions { return terminal(name, "sh", "-c", script) }

func (f *fixture) terminals() container.Terminals {
	f.Helper()
	t, ok := container.As[container.Terminals](f.rt)
	if !ok {
		f.Fatalf("%T keeps no terminals", f.rt)
	}
	return t
}

// openTerminal opens a terminal that nobody reads.
func (f *fixture) openTerminal(id string, opts container.TerminalOptions) container.Terminal {
	f.Helper()
	t, err := f.terminals().OpenTerminal(f.ctx, id, opts)
	f.must(err)
	f.Cleanup(func() {
		if err := t.Close(); err != nil {
			f.Errorf("close: %v", err)
		}
	})
	return t
}

// refused opens a terminal in vain.
func (f *fixture) refused(id string, opts container.TerminalOptions, want error, about ...any) {
	f.Helper()
	t, err := f.terminals().OpenTerminal(f.ctx, id, opts)
	if err == nil {
		_ = t.Close()
	}
	f.class(err, want, about...)
}

// look opens a terminal and reads it in the background until its end, or until the case's.
func (f *fixture) look(id string, opts container.TerminalOptions) *look {
	f.Helper()
	return f.lookOn(f.openTerminal(id, opts), opts)
}

// lookOn reads, in the background, a terminal that was opened with opts.
func (f *fixture) lookOn(t container.Terminal, opts container.TerminalOptions) *look {
	l := &look{Terminal: t, f: f, closed: make(chan struct{})}
	l.info, l.made = t.Opened()
	l.position = l.info.Position
	if opts.ID != "" {
		l.position = opts.Since
	}
	go l.read()
	f.Cleanup(func() {
		_ = t.Close() // openTerminal sees to what it gives
		<-l.closed
	})
	return l
}

// back are the options with which a viewer comes back to where it was.
func (l *look) back() container.TerminalOptions {
	l.mu.Lock()
	defer l.mu.Unlock()
	return container.TerminalOptions{Name: l.info.Name, ID: l.info.ID, Since: l.position}
}

func (l *look) read() {
	defer close(l.closed)
	for {
		e, err := l.Terminal.Next()
		if err != nil {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.err = err
			return
		}
		l.take(e)
	}
}

// take notes what the viewer is told, and checks the position.
func (l *look) take(e container.TerminalEvent) {
	l.mu.Lock()
	defer l.mu.Unlock()
	numbered := e.Missed
	if !e.Replayed {
		numbered += int64(len(e.Data))
	}
	if len(l.pieces) == 0 || e.Missed > 0 {
		l.pieces = append(l.pieces, piece{from: l.position + e.Missed})
	}
	if e.Replayed {
		l.replayed = append(l.replayed, e.Data...)
	} else {
		last := &l.pieces[len(l.pieces)-1]
		last.data = append(last.data, e.Data...)
	}
	l.missed += e.Missed
	if l.position += numbered; l.position != e.Position {
		l.f.Errorf("after %d missed and %d got, of which are replayed: %t, the position is %d; want %d",
			e.Missed, len(e.Data), e.Replayed, e.Position, l.position)
		l.position = e.Position
	}
	if e.Rows > 0 {
		l.sizes = append(l.sizes, sizeWords(e.Rows, e.Cols))
	}
	if e.Viewers > 0 {
		l.viewers = append(l.viewers, e.Viewers)
	}
}

// shown is the output that is numbered, since it came or since the last gap.
func (l *look) shown() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.pieces) == 0 {
		return ""
	}
	return string(l.pieces[len(l.pieces)-1].data)
}

// text is all that its screen was given.
func (l *look) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	text := slices.Clone(l.replayed)
	for _, p := range l.pieces {
		text = append(text, p.data...)
	}
	return string(text)
}

func (l *look) replay() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.replayed)
}

func (l *look) at() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.position
}

func (l *look) lost() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.missed
}

// told are the numbers of viewers of which it was told.
func (l *look) told() []int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.viewers)
}

// matches checks every byte against the whole of the terminal's output.
func (l *look) matches(whole string) {
	l.f.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.pieces {
		to := p.from + int64(len(p.data))
		if to > int64(len(whole)) {
			l.f.Fatalf("there is output up to position %d, where only %d bytes were written: %s", to, len(whole),
				show(string(p.data)))
		}
		if want := whole[p.from:to]; string(p.data) != want {
			i := 0
			for p.data[i] == want[i] {
				i++
			}
			l.f.Fatalf("at position %d begins %s; want %s", p.from+int64(i), show(string(p.data[i:])), show(want[i:]))
		}
	}
}

func (l *look) typeIn(keys string) {
	l.f.Helper()
	if _, err := io.WriteString(l, keys); err != nil {
		l.f.Fatalf("write: %v", err)
	}
}

// await waits until text has been shown, be it once more.
func (l *look) await(text string) {
	l.f.Helper()
	l.until("the terminal to show "+text, func() bool { return strings.Contains(l.text(), text) })
}

// until waits for something that what comes makes true.
func (l *look) until(what string, done func() bool) {
	l.f.Helper()
	l.f.poll(what, func() bool {
		select {
		case <-l.closed:
			if !done() {
				l.f.Fatalf("waited for %s; the terminal ended (%v) with %s", what, l.err, show(tailOf(l.text())))
			}
		default:
		}
		return done()
	})
}

func tailOf(s string) string { return s[max(0, len(s)-200):] }

// leave closes the viewer and waits until it has heard of that.
func (l *look) leave() {
	l.f.Helper()
	l.f.must(l.Close())
	l.f.mustBePrompt("next", func() { <-l.closed })
}

// awaitEOF waits for the end of the terminal.
func (l *look) awaitEOF() {
	l.f.Helper()
	select {
	case <-l.closed:
	case <-l.f.ctx.Done():
		l.f.Fatalf("no EOF after %s", show(tailOf(l.text())))
	}
	if !errors.Is(l.err, io.EOF) {
		l.f.Fatalf("the viewer ended with %v; want EOF", l.err)
	}
}

// end waits for EOF and returns the exit code.
func (l *look) end() int {
	l.f.Helper()
	l.awaitEOF()
	code, err := l.ExitCode(l.f.ctx)
	l.f.must(err)
	return code
}

func (f *fixture) listTerminals(id string) []container.TerminalInfo {
	f.Helper()
	list, err := f.terminals().ListTerminals(f.ctx, id)
	f.must(err)
	return list
}

// listed finds a terminal; nil where there is none of that name.
func (f *fixture) listed(id, name string) *container.TerminalInfo {
	f.Helper()
	list := f.listTerminals(id)
	i := slices.IndexFunc(list, func(t container.TerminalInfo) bool { return t.Name == name })
	if i < 0 {
		return nil
	}
	return &list[i]
}

// infoOf gives what is listed of a terminal, which must be there.
func (f *fixture) infoOf(id, name string) container.TerminalInfo {
	f.Helper()
	t := f.listed(id, name)
	if t == nil {
		f.Fatalf("there is no terminal %q", name)
	}
	return *t
}

// awaitTerminal waits until a terminal is as ready wants it.
func (f *fixture) awaitTerminal(id, name, what string, ready func(*container.TerminalInfo) bool) {
	f.Helper()
	var last *container.TerminalInfo
	defer func() {
		if f.Failed() {
			f.Logf("terminal %s: %+v", name, last)
		}
	}()
	f.poll(what, func() bool {
		last = f.listed(id, name)
		return last != nil && ready(last)
	})
}

// numbers is what "seq first last" shows on a terminal.
func numbers(first, last int) string {
	var b bytes.Buffer
	for n := first; n <= last; n++ {
		b.Write(strconv.AppendInt(b.AvailableBuffer(), int64(n), 10))
		b.WriteString("\r\n")
	}
	return b.String()
}
