package cli

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// passage is a data directory whose socket leads to another's, until it is cut.
type passage struct {
	t    *testing.T
	dir  string
	to   string
	mu   sync.Mutex
	open []net.Conn // guarded by mu
	l    net.Listener
	work sync.WaitGroup
	most atomic.Int64 // that the next connections carry downwards; 0: all
}

func newPassage(t *testing.T, to string) *passage {
	p := &passage{t: t, dir: shortDir(t), to: filepath.Join(to, "octobot.sock")}
	p.mend()
	t.Cleanup(func() {
		p.cut()
		p.work.Wait()
	})
	return p
}

// mend has new connections come through.
func (p *passage) mend() {
	p.t.Helper()
	l, err := net.Listen("unix", filepath.Join(p.dir, "octobot.sock"))
	if err != nil {
		p.t.Fatal(err)
	}
	p.l = l
	p.work.Go(func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("unix", p.to)
			if err != nil {
				_ = near.Close()
				continue
			}
			p.mu.Lock()
			p.open = append(p.open, near, far)
			p.mu.Unlock()
			for _, ends := range [][2]net.Conn{{near, far}, {far, near}} {
				p.work.Go(func() {
					from := io.Reader(ends[1])
					if most := p.most.Load(); most > 0 && ends[0] == near {
						from = io.LimitReader(from, most)
					}
					_, _ = io.Copy(ends[0], from)
					_ = ends[0].Close()
				})
			}
		}
	})
}

// awaitConnection waits until somebody is connected.
func (p *passage) awaitConnection() {
	p.t.Helper()
	for range 200 {
		p.mu.Lock()
		n := len(p.open)
		p.mu.Unlock()
		if n > 0 {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	p.t.Fatal("nobody is connected")
}

// cut cuts all connections, and refuses others.
func (p *passage) cut() {
	_ = p.l.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.open {
		_ = c.Close()
	}
	p.open = nil
}

// TestAttachConnectsAgain: what was written meanwhile is shown, and what was typed is not typed.
func TestAttachConnectsAgain(t *testing.T) {
	dir := startDaemon(t)
	must(t, dir, "create", "demo")
	p := newPassage(t, dir)
	s := sit(t, p.dir, "attach", "demo")
	other := sit(t, dir, "attach", "demo")
	s.types("echo beg''un\n")
	s.sees("begun")
	p.cut()
	s.sees("\x1b]2;(octobot: the connection to demo is lost")
	s.sees("the connection to demo is lost")
	s.types("echo ne''ver\n")
	other.sees("begun")
	other.types("echo mean''while\n")
	other.sees("meanwhile")
	p.mend()
	s.sees("connected again")
	s.sees("meanwhile")
	s.types("echo ag''ain; exit 4\n")
	s.sees("again")
	s.leaves(4)
	other.leaves(4)
	if s.shows("never") || other.shows("never") {
		t.Error("what was typed while the connection was lost came through")
	}
}

// TestAttachCutAmidReplay: who is cut off while shown what is kept is shown it once more.
func TestAttachCutAmidReplay(t *testing.T) {
	dir := startDaemon(t)
	must(t, dir, "create", "demo")
	first := sit(t, dir, "attach", "demo")
	first.types("seq 1 60000; echo do''ne\n")
	first.sees("done")
	p := newPassage(t, dir)
	p.most.Store(200_000)
	s := sit(t, p.dir, "attach", "demo")
	s.sees("is lost")
	p.most.Store(0)
	s.sees("connected again")
	s.sees("60000\r\ndone\r\n")
	s.types("echo ag''ain; exit 4\n")
	s.sees("again")
	s.leaves(4)
	first.leaves(4)
}

// TestAttachEndedMeanwhile: a terminal that has ended while nobody was connected says how.
func TestAttachEndedMeanwhile(t *testing.T) {
	dir := startDaemon(t)
	must(t, dir, "create", "demo")
	p := newPassage(t, dir)
	s := sit(t, p.dir, "attach", "demo")
	other := sit(t, dir, "attach", "demo")
	s.types("echo beg''un\n")
	s.sees("begun")
	p.cut()
	s.sees("is lost")
	other.sees("begun")
	other.types("exit 9\n")
	other.leaves(9)
	p.mend()
	s.leaves(9)

	s = sit(t, p.dir, "attach", "demo")
	s.types("echo beg''un\n")
	s.sees("begun")
	p.cut()
	must(t, dir, "rm", "-f", "demo")
	p.mend()
	s.sees("octobot: attach demo: ")
	s.leaves(exitOwnError)
}

func TestAttachByName(t *testing.T) {
	dir := startDaemon(t)
	must(t, dir, "create", "demo")
	if got := must(t, dir, "ls", "--terminals", "-q"); got != "" {
		t.Errorf("terminals: %q", got)
	}
	first := sit(t, dir, "attach", "demo")
	first.types("mark=fi''rst; echo $mark-$mark\n")
	first.sees("first-first")

	build := sit(t, dir, "attach", "--terminal", "build", "demo")
	build.types("echo $mark-he''re\n")
	build.sees("-here\r\n")
	build.types("\x10\x11")
	build.sees("come back with: octobot attach --terminal build demo")
	build.leaves(0)

	fresh := sit(t, dir, "attach", "--new", "demo")
	fresh.types("echo fr''esh\n")
	fresh.sees("fresh")
	if got, want := must(t, dir, "ls", "--terminals", "-q"), "demo/main\ndemo/build\ndemo/main-2\n"; got != want {
		t.Errorf("terminals %q, want %q", got, want)
	}
	if got := must(t, dir, "ls", "--terminals"); !strings.Contains(got,
		"demo      main-2     running   1         100x30") {
		t.Errorf("terminals:\n%s", got)
	}
	piped := octobot(t, dir, "attach", "--new", "--terminal", "build", "demo")
	if piped.code != exitOwnError || !strings.Contains(piped.stderr, "not a terminal") {
		t.Errorf("without a terminal: %+v", piped)
	}
	taken := sit(t, dir, "attach", "--new", "--terminal", "build", "demo")
	taken.sees("already exists")
	taken.leaves(exitOwnError)

	reader := sit(t, dir, "attach", "--read-only", "demo")
	reader.sees("octobot: 1 other looks at main of demo, too")
	first.sees("\x1b]2;(octobot: 1 other looks)\a")
	reader.sees("first-first") // shown once more
	reader.types("exit\n")
	first.types("echo go''on\n")
	reader.sees("goon")
	first.sees("goon")
	another := sit(t, dir, "attach", "--read-only", "demo")
	another.sees("goon")
	first.sees("\x1b]2;(octobot: 2 others look)\a")
	another.types("\x03")
	another.sees("come back with")
	another.leaves(0)
	first.sees("\x1b]2;(octobot: 1 other looks)\a")
	first.types("exit\n")
	first.leaves(0)
	reader.leaves(0)
	none := sit(t, dir, "attach", "--read-only", "--terminal", "none", "demo")
	none.sees("terminal not found")
	none.leaves(exitOwnError)
}

// TestAttachMainReadOnly: a main process's terminal would take what is typed.
func TestAttachMainReadOnly(t *testing.T) {
	dir := startDaemon(t)
	must(t, dir, "create", "-t", "demo", "--", "sh")
	s := sit(t, dir, "attach", "--read-only", "demo")
	s.sees("can't only be looked at; --terminal names another")
	s.leaves(exitOwnError)
}

// TestAttachStopped stops the session under a terminal.
func TestAttachStopped(t *testing.T) {
	dir := startDaemon(t)
	must(t, dir, "create", "demo")
	s := sit(t, dir, "attach", "demo")
	s.types("echo beg''un\n")
	s.sees("begun")
	must(t, dir, "stop", "-t", "0", "demo")
	s.sees("octobot: attach demo: the session has stopped, and its terminals with it; octobot start")
	s.leaves(exitOwnError)
}

// TestAttachRestoresScreen: what a program has made of the user's terminal is not left behind.
func TestAttachRestoresScreen(t *testing.T) {
	dir := startDaemon(t)
	must(t, dir, "create", "demo")
	s := sit(t, dir, "attach", "demo")
	s.types("echo '\x1b[?1049h\x1b[?1000h\x1b[?2004h'; echo fu''ll\n")
	s.sees("full")
	s.types("\x10\x11")
	s.sees("\x1b[?1049l")
	s.leaves(0)
	for _, reset := range []string{"\x1b[?1000l", "\x1b[?2004l"} {
		if !s.shows(reset) {
			t.Errorf("the terminal was not sent %q", reset)
		}
	}
	again := sit(t, dir, "attach", "demo")
	again.sees("full")
	if err := again.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Fatal(err)
	}
	again.sees("\x1b[?1049l")
	again.leaves(exitSignal + int(syscall.SIGTERM))
}
