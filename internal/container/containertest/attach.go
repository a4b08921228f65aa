package containertest

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/octobot-run/octobot/internal/container"
)

var attachCases = []testCase{
	{"no input", testAttachNoInput},
	{"command", testAttachCommand},
	{"echo and CRLF", testAttachEcho},
	{"initial size", testAttachSize},
	{"last resize wins", testAttachResize},
	{"resize after the end", testAttachResizeEnded},
	{"exit code after EOF", testAttachExitCode},
	{"killed by a signal", testAttachSignal},
	{"all output before EOF", testAttachAllOutput},
	{"shell", testAttachShell},
	{"environment, directory, user", testAttachEnv},
	{"end of input", testAttachEndOfInput},
	{"interrupt", testAttachInterrupt},
	{"close hangs up", testAttachClose},
	{"close unblocks", testAttachCloseUnblocks},
	{"close unblocks a write", testAttachCloseUnblocksWrite},
	{"ctx bounds the attaching alone", testAttachContext},
	{"not running", testAttachStopped},
	{"not executable", testAttachMissing},
	{"container stops", testAttachContainerStops},
	{"two terminals", testAttachTwo},
	{"main process", testAttachMain},
	{"main process is seen again", testAttachMainAgain},
	{"main process ends", testAttachMainEnds},
	{"main process size", testAttachMainSize},
	{"close with the runtime", testAttachRuntimeClose},
}

// screen is a terminal with everything it has shown.
type screen struct {
	container.PTY
	f *fixture

	mu     sync.Mutex
	shown  []byte
	err    error // why reading ended
	closed chan struct{}
}

// attach opens a terminal and reads it in the background until its end, or until the case's.
func (f *fixture) attach(id string, opts container.AttachOptions) *screen {
	f.Helper()
	pty, err := f.rt.Attach(f.ctx, id, opts)
	f.must(err)
	s := &screen{PTY: pty, f: f, closed: make(chan struct{})}
	go s.read()
	f.Cleanup(func() {
		if err := pty.Close(); err != nil {
			f.Errorf("close: %v", err)
		}
		<-s.closed
	})
	return s
}

func (s *screen) read() {
	defer close(s.closed)
	b := make([]byte, 32<<10)
	for {
		n, err := s.PTY.Read(b)
		s.mu.Lock()
		s.shown = append(s.shown, b[:n]...)
		s.err = err
		s.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (s *screen) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return string(s.shown)
}

func (s *screen) typeIn(keys string) {
	s.f.Helper()
	if _, err := io.WriteString(s, keys); err != nil {
		s.f.Fatalf("write: %v", err)
	}
}

// await waits until text has been shown.
func (s *screen) await(text string) {
	s.f.Helper()
	s.f.poll("terminal to show "+text, func() bool {
		select {
		case <-s.closed:
			if !strings.Contains(s.text(), text) {
				s.f.Fatalf("terminal ended (%v) with %s; want %q in it", s.err, show(s.text()), text)
			}
		default:
		}
		return strings.Contains(s.text(), text)
	})
}

// end waits for EOF and returns the exit code.
func (s *screen) end() int {
	s.f.Helper()
	select {
	case <-s.closed:
	case <-s.f.ctx.Done():
		s.f.Fatalf("no EOF after %s", show(s.text()))
	}
	if !errors.Is(s.err, io.EOF) {
		s.f.Fatalf("read ended with %v; want EOF", s.err)
	}
	return s.exitCode()
}

func (s *screen) exitCode() int {
	s.f.Helper()
	e, ok := s.PTY.(container.ExitCoder)
	if !ok {
		s.f.Fatalf("%T is no ExitCoder", s.PTY)
	}
	code, err := e.ExitCode(s.f.ctx)
	s.f.must(err)
	return code
}

func command(cmd ...string) container.AttachOptions { return container.AttachOptions{Cmd: cmd} }

func testAttachCommand(f *fixture) {
	s := f.attach(f.shared(), command("echo", "hello"))
	f.equal("exit code", s.end(), 0)
	f.equal("output", s.text(), "hello\r\n")
}

func testAttachEcho(f *fixture) {
	s := f.attach(f.shared(), command("cat"))
	s.typeIn("typed\n")
	s.await("typed\r\ntyped\r\n")
}

func testAttachSize(f *fixture) {
	id := f.shared()
	for range 3 {
		s := f.attach(id, container.AttachOptions{Cmd: []string{"stty", "size"}, Rows: 33, Cols: 101})
		f.equal("exit code", s.end(), 0)
		f.equal("size", s.text(), "33 101\r\n")
	}
}

func testAttachResize(f *fixture) {
	s := f.attach(f.shared(), container.AttachOptions{Cmd: []string{"sh"}, Rows: 24, Cols: 80})
	for i := range uint(20) {
		f.must(s.Resize(10+i, 100+i))
	}
	f.must(s.Resize(50, 132))
	// An engine may take a moment. Once the last size is in force, no earlier one comes back.
	f.poll("the last size", func() bool {
		n := strings.Count(s.text(), "asked\r\n")
		s.typeIn("stty size; echo 'ask'ed\n")
		f.poll("an answer", func() bool { return strings.Count(s.text(), "asked\r\n") > n })
		return strings.Contains(s.text(), "50 132\r\n")
	})
	for range 5 {
		s.typeIn("stty size\n")
	}
	s.typeIn("exit\n")
	s.end()
	_, after, _ := strings.Cut(s.text(), "50 132\r\n")
	f.equal("number of times that the last size is told", strings.Count(after, "50 132\r\n"), 5)
}

func testAttachResizeEnded(f *fixture) {
	s := f.attach(f.shared(), command("true"))
	s.end()
	f.must(s.Resize(30, 90))
}

func testAttachExitCode(f *fixture) {
	id := f.shared()
	for _, want := range []int{0, 7, 127} {
		s := f.attach(id, command("sh", "-c", "exit "+string(rune('0'+want%10))))
		if want == 127 {
			s = f.attach(id, command("sh", "-c", "no-such-program"))
		}
		f.equal("exit code", s.end(), want)
		f.equal("exit code, asked again", s.exitCode(), want)
	}
}

func testAttachSignal(f *fixture) {
	s := f.attach(f.shared(), command("sh", "-c", "kill -9 $$; sleep 60"))
	f.equal("exit code", s.end(), 137)
}

func testAttachAllOutput(f *fixture) {
	const size = 2_000_000
	s := f.attach(f.shared(), command("sh", "-c", "head -c 2000000 /dev/zero; echo end"))
	f.equal("exit code", s.end(), 0)
	f.equal("bytes", len(s.text()), size+len("end\r\n"))
	if !strings.HasSuffix(s.text(), "end\r\n") {
		f.Fatal("the end is missing")
	}
}

// testAttachShell: without a command and without a TTY of the main process, it is a shell, and
// its end is not the container's.
func testAttachShell(f *fixture) {
	id := f.shared()
	s := f.attach(id, container.AttachOptions{Rows: 24, Cols: 80})
	s.typeIn("echo h'i' there\n")
	s.await("hi there\r\n")
	s.typeIn("exit 5\n")
	f.equal("exit code", s.end(), 5)
	f.equal("status", f.get(id).Status, container.StatusRunning)
}

func testAttachEnv(f *fixture) {
	id := f.shared()
	s := f.attach(id, command("sh", "-c", "echo $TERM"))
	s.end()
	f.equal("TERM", s.text(), "xterm-256color\r\n")
	s = f.attach(id, container.AttachOptions{
		Cmd: []string{"sh", "-c", "echo $TERM $ADDED; pwd; id -u"},
		Env: []string{"TERM=dumb", "ADDED=value"}, WorkingDir: "/home/user", User: "user",
	})
	s.end()
	f.equal("output", s.text(), "dumb value\r\n/home/user\r\n1000\r\n")
}

func testAttachEndOfInput(f *fixture) {
	s := f.attach(f.shared(), command("cat"))
	s.typeIn("last\n")
	s.await("last\r\nlast\r\n")
	s.typeIn("\x04")
	f.equal("exit code", s.end(), 0)
}

func testAttachInterrupt(f *fixture) {
	id := f.shared()
	s := f.attach(id, command("sleep", "4311"))
	f.awaitProcess(id, "sleep 4311")
	s.typeIn("\x03")
	f.equal("exit code", s.end(), 130)
}

func testAttachClose(f *fixture) {
	id := f.shared()
	s := f.attach(id, command("sh", "-c", "sleep 4312; true"))
	f.awaitProcess(id, "sleep 4312")
	for range 2 {
		f.must(s.Close())
	}
	f.awaitGone(id, "4312")
	f.equal("status", f.get(id).Status, container.StatusRunning)
	if _, err := s.Write([]byte("x")); err == nil {
		f.Fatal("a closed terminal takes input")
	}
	if code, err := s.PTY.(container.ExitCoder).ExitCode(f.ctx); err == nil {
		f.Fatalf("exit code %d of what was not waited for", code)
	}
}

func testAttachCloseUnblocks(f *fixture) {
	id := f.shared()
	s := f.attach(id, command("sleep", "4313"))
	f.awaitProcess(id, "sleep 4313")
	f.must(s.Close())
	f.mustBePrompt("read", func() { <-s.closed })
}

// testAttachCloseUnblocksWrite: into a terminal that nobody reads, there is more to type than fits.
func testAttachCloseUnblocksWrite(f *fixture) {
	if !container.CapabilitiesOf(f.rt).RealProcesses {
		return // which takes what is typed
	}
	id := f.shared()
	s := f.attach(id, command("sh", "-c", "stty raw -echo; echo ready; exec sleep 4314"))
	s.await("ready")
	written := make(chan struct{})
	go func() {
		defer close(written)
		for range 1000 {
			if _, err := s.Write(make([]byte, 64<<10)); err != nil {
				return
			}
		}
		f.Error("64 MB were taken")
	}()
	f.must(s.Close())
	f.mustBePrompt("write", func() { <-written })
	f.awaitGone(id, "4314")
}

func testAttachContext(f *fixture) {
	id := f.shared()
	ctx, cancel := context.WithCancel(f.ctx)
	live := f.ctx
	f.ctx = ctx
	s := f.attach(id, command("cat"))
	f.ctx = live
	cancel()
	s.typeIn("still here\n")
	s.await("still here\r\nstill here\r\n")
}

func testAttachStopped(f *fixture) {
	id := f.id("s")
	f.create(id, f.idle())
	_, err := f.rt.Attach(f.ctx, id, container.AttachOptions{})
	f.class(err, container.ErrContainerStopped)
	f.must(f.rt.Start(f.ctx, id))
	f.must(f.rt.Stop(f.ctx, id, 0))
	_, err = f.rt.Attach(f.ctx, id, command("true"))
	f.class(err, container.ErrContainerStopped)
}

func testAttachMissing(f *fixture) {
	pty, err := f.rt.Attach(f.ctx, f.shared(), command("no-such-program"))
	if err == nil {
		_ = pty.Close()
	}
	f.class(err, container.ErrExecFailed)
}

func testAttachContainerStops(f *fixture) {
	id := f.running()
	s := f.attach(id, command("sleep", "4242"))
	f.awaitProcess(id, "sleep 4242")
	f.must(f.rt.Stop(f.ctx, id, 0))
	select {
	case <-s.closed:
	case <-f.ctx.Done():
		f.Fatal("the terminal of a stopped container stays open")
	}
}

func testAttachTwo(f *fixture) {
	id := f.shared()
	a, b := f.attach(id, command("cat")), f.attach(id, command("cat"))
	a.typeIn("first\n")
	b.typeIn("second\n")
	a.await("first\r\nfirst\r\n")
	b.await("second\r\nsecond\r\n")
	if strings.Contains(a.text(), "second") || strings.Contains(b.text(), "first") {
		f.Fatalf("terminals show %q and %q", a.text(), b.text())
	}
}

func (f *fixture) terminal(cmd ...string) string {
	f.Helper()
	id := f.id("s")
	opts := f.idle()
	opts.Cmd, opts.Tty = cmd, true
	c := f.start(id, opts)
	f.equal("Tty", c.Tty, true)
	return id
}

func testAttachMain(f *fixture) {
	id := f.terminal("sh")
	s := f.attach(id, container.AttachOptions{Rows: 24, Cols: 80})
	s.typeIn("MARK=ed; echo mark$MARK\n")
	s.await("marked\r\n")
	f.must(s.Close())
	f.equal("status", f.get(id).Status, container.StatusRunning)

	// It is the same shell still.
	s = f.attach(id, container.AttachOptions{Rows: 24, Cols: 80})
	s.typeIn("echo again: $MARK\n")
	s.await("again: ed\r\n")
}

// testAttachMainAgain: who comes back with the size that the terminal has sees what the process
// draws, without typing.
func testAttachMainAgain(f *fixture) {
	if !f.caps.RealProcesses {
		return // which draw nothing
	}
	id := f.terminal("sh", "-c", "trap 'echo drawn $(stty size)' WINCH; while :; do sleep 60 & wait $!; done")
	for range 2 {
		s := f.attach(id, container.AttachOptions{Rows: 24, Cols: 80})
		s.await("drawn 24 80\r\n")
		f.must(s.Close())
	}
}

func testAttachMainEnds(f *fixture) {
	id := f.terminal("sh")
	s := f.attach(id, container.AttachOptions{Rows: 24, Cols: 80})
	s.typeIn("exit 3\n")
	f.equal("exit code", s.end(), 3)
	c := f.stopped(id)
	f.equal("exit code", c.ExitCode, 3)
}

func testAttachMainSize(f *fixture) {
	id := f.terminal("sh")
	s := f.attach(id, container.AttachOptions{Rows: 33, Cols: 101})
	s.typeIn("stty size\n")
	s.await("33 101\r\n")
	f.must(s.Resize(44, 111))
	s.typeIn("stty size\n")
	s.await("44 111\r\n")
}

func testAttachRuntimeClose(f *fixture) {
	id := f.running()
	s := f.attach(id, command("sleep", "4242"))
	f.awaitProcess(id, "sleep 4242")
	if _, ok := optional[container.Closer](f); !ok {
		return
	}
	closeRuntime(f.T, f.rt)
	select {
	case <-s.closed:
	case <-time.After(promptly):
		f.Fatal("the terminal outlives its runtime")
	}
	f.rt = f.open(f.instance)
	f.equal("status", f.get(id).Status, container.StatusRunning)
}

// testAttachNoInput: who reads what nobody types sees the end of it.
func testAttachNoInput(f *fixture) {
	id := f.running()
	for _, size := range []uint{0, 24} {
		f.mustBePrompt("cat", func() {
			s := f.attach(id, container.AttachOptions{Cmd: []string{"sh", "-c", "echo begun; cat; echo over; exit 3"},
				Rows: size, Cols: size, NoInput: true})
			s.await("over")
			f.equal("exit code", s.exitCode(), 3)
		})
	}
}
