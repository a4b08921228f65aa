package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	v1 "github.com/octobot-run/octobot/api/v1"
	"github.com/octobot-run/octobot/client"
	"github.com/octobot-run/octobot/internal/vtmode"
)

const (
	// Between two attempts to connect again.
	firstRetry, lastRetry = 100 * time.Millisecond, 2 * time.Second
	// attemptTimeout bounds one of them.
	attemptTimeout = 10 * time.Second

	putTitleAside, takeTitleBack = "\x1b[22;2t", "\x1b[23;2t"
)

// view is a session's terminal that has a name, brought to the user's.
type view struct {
	*app
	id, name        string
	fresh, readOnly bool
	detach          []byte
	keys            string // the same, in words
	passing         bool   // the terminal is one that ends when the user leaves

	c      *client.Client
	local  *terminal
	screen vtmode.Tracker // what the user's terminal was shown; of the goroutine that shows it
	aside  bool           // the window's title is put aside for one of ours; likewise
	// viewers is how many look, this one among them; likewise.
	viewers int

	fitting sync.Mutex // held while the size is told

	mu     sync.Mutex
	remote *client.Viewer // nil while there is no connection; guarded by mu
}

// run shows the terminal until its command ends, the user detaches ([errDetached]) or ctx ends.
// Whatever happens, the user's terminal is left as it was.
func (v *view) run(ctx context.Context) (exitCode int, err error) {
	if v.c, err = v.connect(); err != nil {
		return 0, err
	}
	v.local = terminalOf(v.stdin, v.stdout)
	if v.local.in == nil {
		return 0, errors.New("stdin is not a terminal; use \"octobot exec -i\", without -t, for a pipe or a file")
	}
	remote, plain, err := v.open(ctx)
	switch {
	case err != nil:
		return 0, err
	case plain:
		return v.interact(ctx, interaction{id: v.id, stdin: true, detach: v.detach})
	}
	v.remote = remote
	if v.viewers = remote.Opened().Viewers; v.viewers > 1 {
		fmt.Fprintf(v.stderr, "octobot: %s at %s of %s, too\n", v.others(), v.name, v.id)
	}
	return v.sit(ctx)
}

// open opens the terminal; plain says that the session has none that are kept, and no name was
// asked for.
func (v *view) open(ctx context.Context) (remote *client.Viewer, plain bool, err error) {
	named := v.name != ""
	if !named && !v.fresh {
		s, err := v.c.GetSession(ctx, v.id)
		if err != nil {
			return nil, false, err
		}
		switch {
		case s.Tty && v.readOnly:
			return nil, false, errors.New("the terminal of the session's main process can't only be looked at; " +
				"--terminal names another")
		case s.Tty:
			return nil, true, nil
		}
	}
	asked := client.TerminalOptions{Name: v.name, New: v.fresh, ReadOnly: v.readOnly}
	if !named {
		asked.Name = mainTerminal
	}
	asked.Rows, asked.Cols = v.local.size()
	for n := 2; ; n++ {
		remote, err = v.c.OpenTerminal(ctx, v.id, asked)
		switch code := client.CodeOf(err); {
		case code == v1.CodeTerminalExists && v.fresh && !named && n < 100:
			asked.Name = fmt.Sprintf("%s-%d", mainTerminal, n)
			continue
		case code == v1.CodeUnsupported && !named && !v.fresh && !v.readOnly:
			v.passing = true
			return nil, true, nil
		}
		v.name = asked.Name
		return remote, false, err
	}
}

// comeBack is the command that attaches again.
func (v *view) comeBack() string {
	words := []string{"octobot attach"}
	if v.name != "" && v.name != mainTerminal {
		words = append(words, "--terminal "+v.name)
	}
	return strings.Join(append(words, v.id), " ")
}

func (v *view) sit(ctx context.Context) (exitCode int, err error) {
	in, err := newInput(v.stdin)
	if err != nil {
		return 0, err
	}
	if err := v.local.raw(); err != nil {
		return 0, err
	}
	defer v.local.restore()
	_, _ = io.WriteString(v.stdout, putTitleAside)
	defer v.leaveScreen()
	// The first to end says why; then everybody ends.
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	var wg sync.WaitGroup
	wg.Go(func() {
		defer v.local.guard()
		<-ctx.Done()
		_ = in.Close() // only unblocks its reader
		if remote := v.current(); remote != nil {
			_ = remote.Close()
		}
	})
	wg.Go(func() {
		defer v.local.guard()
		v.local.follow(ctx, func(uint16, uint16) error {
			v.fit()
			return nil
		})
	})
	wg.Go(func() {
		defer v.local.guard()
		if err := forward(typing{v, func() { end(errDetached) }}, in, v.detach); err != nil {
			end(err)
		}
	})
	code, err := v.show(ctx)
	cause := context.Cause(ctx) // before this end becomes one
	end(nil)
	wg.Wait()
	if cause != nil {
		return 0, cause
	}
	return code, err
}

// fit tells the session the size of the user's terminal. What is told last is the last size.
func (v *view) fit() {
	v.fitting.Lock()
	defer v.fitting.Unlock()
	if remote := v.current(); remote != nil {
		if rows, cols := v.local.size(); rows > 0 {
			_ = remote.Resize(rows, cols) // of a connection that is lost: the next one asks for it
		}
	}
}

func (v *view) current() *client.Viewer {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.remote
}

// setCurrent changes the connection, unless ctx has ended, of which nobody would close it.
func (v *view) setCurrent(ctx context.Context, remote *client.Viewer) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if err := ctx.Err(); err != nil && remote != nil {
		_ = remote.Close()
		return err
	}
	v.remote = remote
	return nil
}

// typing is where keys go: nowhere while there is no connection. Who only looks leaves by Ctrl-C.
type typing struct {
	*view
	leave func()
}

func (t typing) Write(b []byte) (int, error) {
	switch remote := t.current(); {
	case t.readOnly && bytes.IndexByte(b, interrupt) >= 0:
		t.leave()
	case remote != nil && !t.readOnly:
		_, _ = remote.Write(b) // what a connection that is lost has swallowed is not typed again
	}
	return len(b), nil
}

// interrupt is what Ctrl-C types.
const interrupt = 3

// show writes what the terminal shows until its command ends, over as many connections as that
// takes.
func (v *view) show(ctx context.Context) (exitCode int, err error) {
	wait := firstRetry
	for at := int64(-1); ; {
		remote, before := v.current(), at
		at, err = v.showFrom(remote)
		if at > before {
			wait = firstRetry // it is worth something to connect again
		}
		if errors.Is(err, io.EOF) {
			return remote.ExitCode()
		}
		if ctx.Err() != nil || !isLost(err) {
			return 0, err
		}
		opened, from := remote.Opened(), at
		if !remote.Whole() {
			from = client.ShowAgain
		}
		_ = remote.Close()
		_ = v.setCurrent(ctx, nil)
		v.tellLost()
		again, rows, cols, err := v.reconnect(ctx, opened.ID, from, wait)
		wait = min(2*wait, lastRetry)
		if err != nil {
			return 0, err
		}
		if err := v.setCurrent(ctx, again); err != nil {
			return 0, err
		}
		if r, c := v.local.size(); r != rows || c != cols {
			v.fit() // it has changed while nobody could be told
		}
		v.tellBack()
		if from == client.ShowAgain {
			_ = v.write(v.screen.AppendReset(nil)) // of what was shown in part
		}
	}
}

// showFrom gives how far it got.
func (v *view) showFrom(remote *client.Viewer) (at int64, err error) {
	for {
		e, err := remote.Next()
		if err != nil {
			return e.Position, err
		}
		if e.Viewers > 0 {
			v.viewers = e.Viewers
			v.say(v.others())
		}
		if e.Missed > 0 && !v.drawn() {
			v.mark("%d bytes of output are not kept any more", e.Missed)
		}
		if err := v.write(e.Data); err != nil {
			return e.Position, err
		}
	}
}

// isLost tells an error that a new connection may mend.
func isLost(err error) bool {
	if e, ok := errors.AsType[*client.Error](err); ok {
		switch e.Code {
		case v1.CodeEngineUnavailable, v1.CodeStoreUnavailable, v1.CodeBusy, v1.CodeTimeout, v1.CodeCancelled,
			v1.CodeInternal:
			return true
		}
		return false
	}
	_, local := errors.AsType[*localError](err)
	return !local
}

// reconnect comes back to the terminal, however long that takes, with the size that the user's has
// then.
func (v *view) reconnect(
	ctx context.Context, terminalID string, at int64, wait time.Duration,
) (remote *client.Viewer, rows, cols uint16, err error) {
	for ; ; wait = min(2*wait, lastRetry) {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil, 0, 0, context.Cause(ctx)
		}
		asked := client.TerminalOptions{Name: v.name, ID: terminalID, Since: at, ReadOnly: v.readOnly}
		asked.Rows, asked.Cols = v.local.size()
		attempt, cancel := context.WithTimeout(ctx, attemptTimeout)
		remote, err = v.c.OpenTerminal(attempt, v.id, asked)
		cancel()
		switch {
		case err == nil:
			return remote, asked.Rows, asked.Cols, nil
		case ctx.Err() != nil:
			return nil, 0, 0, context.Cause(ctx)
		case client.CodeOf(err) == v1.CodeTerminalNotFound:
			return nil, 0, 0, fmt.Errorf("the terminal has ended while the connection was lost: %w", err)
		case !isLost(err):
			return nil, 0, 0, err
		}
	}
}

// write shows something, and keeps in mind what state that puts the user's terminal into.
func (v *view) write(b []byte) error {
	_, _ = v.screen.Write(b)
	if _, err := v.stdout.Write(b); err != nil {
		return &localError{err}
	}
	return nil
}

// localError is of the user's own terminal.
type localError struct{ error }

// mark puts words of ours between what the terminal has shown and what it will.
func (v *view) mark(format string, args ...any) {
	_ = v.write([]byte("\x18\r\n\x1b[7m octobot: " + fmt.Sprintf(format, args...) + " \x1b[27m\r\n"))
}

// drawn tells whether words of ours would spoil what is shown.
func (v *view) drawn() bool {
	rows, _ := v.local.size()
	return v.screen.Drawn(int(rows))
}

// tellLost and tellBack say what the matter is in the window's title, which spoils nothing of what
// is shown; where lines follow each other, there too.
func (v *view) tellLost() {
	words := fmt.Sprintf("the connection to %s is lost; trying to connect again (%s leaves)", v.id, v.keys)
	v.say(words)
	if !v.drawn() {
		v.mark("%s", words)
	}
}

func (v *view) tellBack() {
	v.say(v.others())
	if !v.drawn() {
		v.mark("connected again")
	}
}

// others are who looks beside this viewer, in words; empty for nobody.
func (v *view) others() string {
	switch v.viewers {
	case 0, 1:
		return ""
	case 2:
		return "1 other looks"
	}
	return fmt.Sprintf("%d others look", v.viewers-1)
}

// say puts words of ours into the window's title, which is put aside for that; without words it is
// given back. A terminal that puts none aside gets the session's, or none.
func (v *view) say(words string) {
	title := v.screen.Title()
	switch {
	case words == "" && !v.aside:
		return
	case words == "":
		words = setTitle(title) + takeTitleBack
		if title != "" { // since it was put aside
			words += setTitle(title)
		}
		v.aside = false
	default:
		words = setTitle(strings.TrimSpace(title + " (octobot: " + words + ")"))
		if !v.aside {
			words = putTitleAside + words
		}
		v.aside = true
	}
	_, _ = io.WriteString(v.stdout, "\x18"+words)
}

func setTitle(title string) string { return "\x1b]2;" + title + "\a" }

// leaveScreen brings the user's terminal back from what the session's programs have made of it.
func (v *view) leaveScreen() {
	v.say("")
	_, _ = v.stdout.Write(append(v.screen.AppendReset(nil), takeTitleBack...))
}
