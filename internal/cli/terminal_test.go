package cli

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// limit is how long a broken octobot is waited for.
const limit = 20 * time.Second

// seat is a person at a terminal in which octobot runs.
type seat struct {
	t        *testing.T
	keyboard *os.File // the terminal's master
	screen   *os.File // the terminal itself, as the shell around octobot holds it
	before   unix.Termios
	cmd      *exec.Cmd
	reading  sync.WaitGroup

	mu   sync.Mutex
	seen bytes.Buffer // since the last text that sees has found
	all  bytes.Buffer
	more chan struct{}
}

// sit starts octobot in a terminal of 30 rows and 100 columns.
func sit(t *testing.T, dir string, args ...string) *seat {
	t.Helper()
	master, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	s := &seat{t: t, keyboard: master, screen: tty, more: make(chan struct{}, 1)}
	s.resize(30, 100)
	s.before = s.termios()
	s.cmd = exec.Command(os.Args[0], append([]string{"--data-dir", dir}, args...)...)
	s.cmd.Env = append(os.Environ(), asOctobot+"=1")
	s.cmd.Stdin, s.cmd.Stdout, s.cmd.Stderr = tty, tty, tty
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.reading.Go(func() { _, _ = io.Copy(s, master) }) // ends with the terminal
	t.Cleanup(func() {
		if s.cmd.ProcessState == nil {
			_ = s.cmd.Process.Kill()
			_ = s.cmd.Wait()
		}
		_ = tty.Close()
		_ = master.Close()
		s.reading.Wait()
	})
	return s
}

// Write is what the terminal shows.
func (s *seat) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen.Write(p)
	s.all.Write(p)
	select {
	case s.more <- struct{}{}:
	default:
	}
	return len(p), nil
}

// sees waits until the terminal shows text, and forgets what was shown up to it.
func (s *seat) sees(text string) {
	s.t.Helper()
	late := time.After(limit)
	for {
		s.mu.Lock()
		before, after, ok := strings.Cut(s.seen.String(), text)
		if ok {
			s.seen.Reset()
			s.seen.WriteString(after)
		}
		s.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-s.more:
		case <-late:
			s.t.Fatalf("the terminal shows %q and not %q", before, text)
		}
	}
}

// shows reports whether the terminal has ever shown text.
func (s *seat) shows(text string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Contains(s.all.String(), text)
}

func (s *seat) types(keys string) {
	s.t.Helper()
	if _, err := io.WriteString(s.keyboard, keys); err != nil {
		s.t.Fatal(err)
	}
}

func (s *seat) resize(rows, cols uint16) {
	s.t.Helper()
	if err := pty.Setsize(s.keyboard, &pty.Winsize{Rows: rows, Cols: cols}); err != nil {
		s.t.Fatal(err)
	}
}

func (s *seat) termios() unix.Termios {
	s.t.Helper()
	state, err := unix.IoctlGetTermios(int(s.screen.Fd()), unix.TCGETS)
	if err != nil {
		s.t.Fatal(err)
	}
	return *state
}

// isRaw reports whether keys go through as they are.
func (s *seat) isRaw() bool { return s.termios().Lflag&(unix.ICANON|unix.ECHO|unix.ISIG) == 0 }

// leaves waits for octobot to end, checks its exit code, and that the terminal is as it was.
func (s *seat) leaves(code int) {
	s.t.Helper()
	hung := time.AfterFunc(limit, func() { _ = s.cmd.Process.Kill() })
	_ = s.cmd.Wait() // the state says how
	hung.Stop()
	if got := s.cmd.ProcessState.ExitCode(); got != code {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.t.Errorf("exit code %d (%s), want %d; the terminal shows %q", got, s.cmd.ProcessState, code, s.seen.String())
	}
	if after := s.termios(); after != s.before {
		s.t.Errorf("the terminal was left as %+v, it was %+v", after, s.before)
	}
}

func TestAttachShell(t *testing.T) {
	dir := startDaemon(t)
	must(t, dir, "create", "demo")
	s := sit(t, dir, "attach", "demo")
	s.types("echo at-he''re; stty size\n")
	s.sees("at-here\r\n")
	s.sees("30 100")
	if !s.isRaw() {
		t.Error("the terminal is not in raw mode")
	}
	s.resize(50, 132)
	for !s.shows("50 132") { // the change travels on its own way
		s.types("stty size; echo ask''ed\n")
		s.sees("asked")
	}
	s.types("exit 43\n")
	s.leaves(43)
}

func TestAttachCtrlC(t *testing.T) {
	dir := startDaemon(t)
	must(t, dir, "create", "demo")
	s := sit(t, dir, "attach", "demo")
	s.types("echo beg''un; sleep 1000\n")
	s.sees("begun")
	s.types("\x03")
	s.types("echo sti''ll here; exit\n")
	s.sees("still here")
	s.leaves(0)
}

func TestAttachDetaches(t *testing.T) {
	dir := startDaemon(t)
	must(t, dir, "create", "-t", "demo", "--", "sh")
	s := sit(t, dir, "attach", "demo")
	s.types("mark=kept; echo beg''un\n")
	s.sees("begun")
	s.types("\x10\x11")
	s.sees("come back with: octobot attach demo")
	s.leaves(0)

	again := sit(t, dir, "attach", "--detach-keys", "ctrl-],q", "demo")
	again.types("echo $mark-$mark\n")
	again.sees("kept-kept")
	again.types("\x1dq")
	again.leaves(0)
	if got := must(t, dir, "ls", "--status", "running", "-q"); got != "demo\n" {
		t.Errorf("running after detaching: %q", got)
	}
}

// TestAttachDetachesFromItsOwn: what ends when the user leaves is not said to go on.
func TestAttachDetachesFromItsOwn(t *testing.T) {
	mux := http.NewServeMux() // a daemon that keeps no terminals
	mux.HandleFunc("GET /v1/sessions/demo", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"id":"demo"}`)
	})
	mux.HandleFunc("GET /v1/sessions/demo/attach", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Has("terminal") {
			w.WriteHeader(http.StatusNotImplemented)
			_, _ = io.WriteString(w, `{"code":"unsupported","detail":"the session has no agent"}`)
			return
		}
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		_ = conn.Write(r.Context(), websocket.MessageBinary, []byte("begun"))
		for err == nil { // until the client leaves
			_, _, err = conn.Read(r.Context())
		}
	})
	server := httptest.NewServer(mux)
	defer server.Close()
	s := sit(t, t.TempDir(), "--url", server.URL, "attach", "demo")
	s.sees("begun")
	s.types("\x10\x11")
	s.sees("left demo, and its shell has ended with that")
	s.leaves(0)
}

func TestAttachEndsBySignal(t *testing.T) {
	dir := startDaemon(t)
	must(t, dir, "create", "demo")
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGHUP, syscall.SIGINT} {
		s := sit(t, dir, "attach", "demo")
		s.types("echo beg''un\n")
		s.sees("begun")
		if err := s.cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		s.leaves(exitSignal + int(sig))
	}
}

// TestAttachDaemonGone ends the daemon under the terminal.
func TestAttachDaemonGone(t *testing.T) {
	dir, stop := runDaemon(t)
	must(t, dir, "create", "demo")
	s := sit(t, dir, "attach", "demo")
	s.types("echo beg''un\n")
	s.sees("begun")
	stop()
	s.sees("the connection to demo is lost")
	s.types("\x10\x11")
	s.sees("come back with: octobot attach demo")
	s.leaves(0)
}

func TestExecTerminal(t *testing.T) {
	dir := startDaemon(t)
	must(t, dir, "create", "demo")
	s := sit(t, dir, "exec", "-it", "-e", "A=1", "-w", "/tmp", "demo", "--", "sh")
	s.types("echo $A-$A; pwd; stty size\n")
	s.sees("1-1\r\n/tmp\r\n")
	s.sees("30 100")
	s.types("\x10\x11\n") // goes to the command, which knows no such program
	s.sees("not found")
	s.types("exit 7\n")
	s.leaves(7)
}

func TestExecCtrlC(t *testing.T) {
	dir := startDaemon(t)
	must(t, dir, "create", "demo")
	s := sit(t, dir, "exec", "demo", "--", "sh", "-c", "echo beg''un; sleep 1000")
	s.sees("begun")
	s.types("\x03")
	s.leaves(exitSignal + int(syscall.SIGINT))
}

func TestExecInteractiveIsInterruptible(t *testing.T) {
	dir := startDaemon(t)
	must(t, dir, "create", "demo")
	s := sit(t, dir, "exec", "-i", "demo", "--", "sh", "-c", "echo beg''un; exit 3")
	s.sees("begun")
	s.leaves(3) // though nothing is typed
}

func TestEvents(t *testing.T) {
	dir := startDaemon(t)
	for _, tt := range []struct{ form, want string }{
		{"", " session.created demo project=web status="},
		{"json", `"kind":"session.created","session_id":"demo","project":"web"`},
	} {
		args := []string{"events", "--project", "web"}
		if tt.form != "" {
			args = append(args, "-o", tt.form)
		}
		s := sit(t, dir, args...)
		for !s.shows(tt.want) { // the subscription begins when it does
			must(t, dir, "create", "--project", "web", "demo")
			must(t, dir, "rm", "-f", "demo")
		}
		s.types("\x03")
		s.leaves(exitSignal + int(syscall.SIGINT))
	}
}

func TestStatsOnTerminal(t *testing.T) {
	dir := startDaemon(t)
	must(t, dir, "create", "demo")
	all, named := sit(t, dir, "stats"), sit(t, dir, "stats", "demo")
	for _, s := range []*seat{all, named} {
		s.sees("\x1b[2J\x1b[H")
		s.sees("BLOCK I/O")
		s.sees("demo      -") // one sample does not tell CPU use
		s.sees("demo      0.00%")
	}
	must(t, dir, "create", "late")
	all.sees("late ")
	must(t, dir, "stop", "-t", "0", "demo")
	named.sees("demo      -       - / -")
	must(t, dir, "start", "demo")
	named.sees("demo      0.00%")
	for _, s := range []*seat{all, named} {
		s.types("\x03")
		s.leaves(exitSignal + int(syscall.SIGINT))
	}
	if named.shows("late") {
		t.Error("a session that was not named is shown")
	}

	once := sit(t, dir, "stats", "--no-stream")
	once.sees("late")
	once.leaves(0)
	if once.shows("\x1b") {
		t.Error("--no-stream moves the cursor")
	}
	gone := sit(t, dir, "stats", "demo")
	gone.sees("demo      0.00%")
	must(t, dir, "rm", "-f", "demo")
	gone.sees("octobot: stats demo: ")
	gone.leaves(exitError)
}

// TestTerminalIsRestoredOnPanic lets a goroutine beside the main one panic.
func TestTerminalIsRestoredOnPanic(t *testing.T) {
	master, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	defer tty.Close()
	s := &seat{t: t, screen: tty}
	before := s.termios()
	local := terminalOf(tty, tty)
	if err := local.raw(); err != nil {
		t.Fatal(err)
	}
	if !s.isRaw() {
		t.Fatal("the terminal is not in raw mode")
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		defer local.guard()
		panic("test")
	}()
	if s.termios() != before {
		t.Error("the terminal was not restored")
	}
}

func TestDetachReader(t *testing.T) {
	for _, tt := range []struct {
		name, keys, in, want string
		detached             bool
	}{
		{"nothing of it", "ctrl-p,ctrl-q", "abc", "abc", false},
		{"at once", "ctrl-p,ctrl-q", "\x10\x11", "", true},
		{"what comes behind is lost", "ctrl-p,ctrl-q", "ab\x10\x11cd", "ab", true},
		{"only begun", "ctrl-p,ctrl-q", "a\x10b", "a\x10b", false},
		{"begun at the end", "ctrl-p,ctrl-q", "a\x10", "a\x10", false},
		{"twice begun", "ctrl-p,ctrl-q", "\x10\x10\x11", "\x10", true},
		{"overlapping itself", "a,a,b", "aaab", "a", true},
		{"one key", "ctrl-]", "x\x1dy", "x", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			keys, err := parseKeys(tt.keys)
			if err != nil {
				t.Fatal(err)
			}
			for _, whole := range []bool{true, false} {
				var in io.Reader = strings.NewReader(tt.in)
				if !whole {
					in = oneByte{in}
				}
				got, err := io.ReadAll(&detachReader{r: in, keys: keys})
				if string(got) != tt.want || (err == errDetached) != tt.detached {
					t.Errorf("whole %t: %q, %v, want %q", whole, got, err, tt.want)
				}
			}
		})
	}
}

type oneByte struct{ r io.Reader }

func (o oneByte) Read(p []byte) (int, error) { return o.r.Read(p[:min(1, len(p))]) }

func TestParseKeys(t *testing.T) {
	for s, want := range map[string]string{"ctrl-p,ctrl-q": "\x10\x11", "CTRL-A": "\x01", "ctrl-@": "\x00",
		"ctrl-[,x": "\x1bx", "X": "X"} {
		if got, err := parseKeys(s); err != nil || string(got) != want {
			t.Errorf("parseKeys(%q) = %q, %v, want %q", s, got, err, want)
		}
	}
	for _, s := range []string{"", "ctrl-", "ctrl-1", "ctrl-pp", "ab", "a,", "é"} {
		if got, err := parseKeys(s); err == nil {
			t.Errorf("parseKeys(%q) = %q, want an error", s, got)
		}
	}
}
