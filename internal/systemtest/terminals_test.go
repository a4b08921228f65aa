package systemtest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	moby "github.com/moby/moby/client"

	v1 "github.com/octobot-run/octobot/api/v1"
	"github.com/octobot-run/octobot/client"
)

// box is a daemon with one session, whose terminals a test looks at.
type box struct {
	*daemon
	engine    *moby.Client
	id        string // the session's
	container string
}

func newBox(t *testing.T, name string) *box {
	t.Helper()
	host, engine := sharedEngine(t)
	b := &box{daemon: newDaemon(t, host), engine: engine,
		id: fmt.Sprintf("%s-%d", name, os.Getpid())}
	b.start()
	instance := b.instance()
	t.Cleanup(func() { removeAll(t, engine, instance) })
	s, err := b.api.CreateSession(t.Context(), v1.CreateSessionRequest{ID: b.id,
		Spec: v1.Spec{Cmd: []string{"sleep", "3600"}, Env: []string{"LANG=C.UTF-8", "LESSCHARSET=utf-8"}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	b.container = s.ContainerID
	return b
}

// sh runs a script in the session, and gives its output.
func (b *box) sh(script string) string {
	b.t.Helper()
	r, err := b.api.Exec(b.t.Context(), b.id, v1.ExecRequest{Cmd: []string{"sh", "-c", script}})
	if err != nil || r.ExitCode != 0 {
		b.t.Fatalf("%s: %+v, %v", script, r, err)
	}
	return strings.TrimSpace(string(r.Stdout))
}

// killAgent kills the processes that carry the daemon's connections with what runs in the session;
// the engine says which those are. There is at least one.
func (b *box) killAgent() {
	b.t.Helper()
	top, err := b.engine.ContainerTop(b.t.Context(), b.container, moby.ContainerTopOptions{
		Arguments: []string{"-eo", "pid,args"}})
	if err != nil {
		b.t.Fatal(err)
	}
	killed := 0
	for _, p := range top.Processes {
		if pid, err := strconv.Atoi(p[0]); err == nil && strings.Contains(p[1], "octobot-agent serve") {
			_ = syscall.Kill(pid, syscall.SIGKILL)
			killed++
		}
	}
	if killed == 0 {
		b.t.Fatalf("there is no agent among %q", top.Processes)
	}
}

// shell opens a terminal of the session in a new window.
func (b *box) shell(m *tmux, rows, cols int, args string) *window {
	b.t.Helper()
	w := m.window(rows, cols)
	w.attach(args + " " + b.id)
	w.await("/ #")
	return w
}

// program is one that runs in a terminal.
type program struct {
	name, command string
	ready         string   // it shows that in the end
	press         []string // change the screen,
	changed       string   // so that it shows this,
	back          []string // and back
	quit          []string
	redraw        string // a key
	steady        bool   // draws the same again
}

var programs = []program{
	{name: "vim", command: "/usr/bin/vim.tiny -N -i NONE --cmd 'set encoding=utf-8' /tmp/text", ready: "line 9 ",
		press:   []string{"G"},
		changed: "line 500 ", back: []string{"g", "g"}, quit: []string{":q!", "Enter"}, redraw: "C-l",
		steady: true},
	{name: "less", command: "/usr/bin/less -R /tmp/text", ready: "line 9 ", press: []string{"G"}, changed: "line 500 ",
		back: []string{"g"}, quit: []string{"q"}, redraw: "r", steady: true},
	{name: "top", command: "/usr/bin/top -d 1000", ready: "COMMAND", press: []string{"h"}, changed: "Help for",
		back: []string{"q"}, quit: []string{"q"}, redraw: "Space"},
	{name: "busybox-vi", command: "busybox vi /tmp/text", ready: "line 9 ", press: []string{"G"},
		changed: "line 500 ", back: []string{"1", "G"}, quit: []string{":q!", "Enter"}, redraw: "C-l",
		steady: true},
	{name: "busybox-less", command: "busybox less -R /tmp/text", ready: "line 9 ", press: []string{"G"},
		changed: "line 500 ", back: []string{"g"}, quit: []string{"q"}, redraw: "C-l", steady: true},
	{name: "busybox-top", command: "busybox top -d 1000", ready: "COMMAND", press: []string{"n", "R"},
		changed: "COMMAND\n    1 ", back: []string{"R", "m"}, quit: []string{"q"}, redraw: "Space"},
}

// inWindow is a program that runs in a window.
type inWindow struct {
	program
	*window
	before string // the terminal's state
	lost   int    // how often the connection was, before
}

func (r *inWindow) note() {
	r.before = r.settled(r.ready)
	r.lost = r.cuts()
}

// answers sees that keys arrive.
func (r *inWindow) answers() {
	r.t.Helper()
	r.keys(r.press...)
	r.await(r.changed)
	r.keys(r.back...)
	r.await(r.ready)
}

// TestTerminalPrograms has programs of the whole screen run in terminals while the agent, the
// daemon and the client are killed: the screen is the same to the last cell each time, and keys
// arrive.
func TestTerminalPrograms(t *testing.T) {
	t.Parallel()
	b := newBox(t, "programs")
	if _, err := b.engine.CopyToContainer(t.Context(), b.container, moby.CopyToContainerOptions{DestinationPath: "/",
		Content: bytes.NewReader(hostPrograms(t, "vim.tiny", "less", "top"))}); err != nil {
		t.Fatal(err)
	}
	b.sh(`for i in $(seq 500); do
		echo "line $i is written in "$'\033[3'$((i%8))mcolour$'\033[m, naïvely: 漢字'
	done >/tmp/text`)
	m := newTmux(t, b.daemon)
	all := make([]*inWindow, len(programs))
	for i, p := range programs {
		all[i] = &inWindow{program: p, window: b.shell(m, 24, 80, "--terminal "+p.name)}
		all[i].says("echo be''fore", "before")
		all[i].line(p.command)
	}
	each := func(what string, f func(*inWindow)) {
		t.Helper()
		for _, r := range all {
			f(r)
		}
		if t.Failed() {
			t.Fatalf("after %s", what)
		}
	}
	each("the start", (*inWindow).note)

	b.killAgent()
	each("the agent's end", func(r *inWindow) {
		r.isBack(r.lost)
		r.awaitState(r.program.name+" after the agent was killed", r.before)
		r.answers()
		r.note()
	})

	b.kill()
	each("the daemon's end", func(r *inWindow) { r.isLost(r.lost) })
	b.start()
	each("the daemon's start", func(r *inWindow) {
		r.isBack(r.lost)
		r.awaitState(r.program.name+" after the daemon was killed", r.before)
		r.answers()
		r.note()
	})

	each("the client's end", func(r *inWindow) {
		_ = syscall.Kill(r.clientPID(), syscall.SIGKILL)
		r.window = m.window(24, 80)
		r.attach("--terminal " + r.program.name + " " + b.id)
		r.awaitState(r.program.name+" in a new window", r.before)
		r.answers()
		r.detach()
	})

	each("another size", func(r *inWindow) {
		r.window = m.window(30, 100)
		r.attach("--terminal " + r.program.name + " " + b.id)
		if got := r.settled(r.ready); r.steady {
			r.keys(r.redraw)
			if want := r.settled(r.ready); got != want {
				t.Errorf("%s in a larger window is\n%s\nand, drawn by itself, is\n%s", r.program.name, got, want)
			}
		}
		r.answers()
		r.keys(r.quit...)
		r.awaitThat("the prompt", func() bool { return strings.HasSuffix(strings.TrimSpace(r.screen()), "/ #") })
		r.says("echo af''ter; stty size", "after")
		r.await("30 100")
		if r.get("alternate_on") != "0" {
			t.Errorf("%s has ended, and its screen is there:\n%s", r.program.name, r.state())
		}
		r.says("exit", "user$")
		r.inOrder()
	})
}

// TestTerminalPython: an interpreter of lines goes on with what it knows, and with the lines that
// were typed, while the agent, the daemon and the client are killed.
func TestTerminalPython(t *testing.T) {
	t.Parallel()
	b := newBox(t, "python")
	if _, err := b.engine.CopyToContainer(t.Context(), b.container, moby.CopyToContainerOptions{DestinationPath: "/",
		Content: bytes.NewReader(hostPython(t))}); err != nil {
		t.Fatal(err)
	}
	m := newTmux(t, b.daemon)
	w := b.shell(m, 24, 80, "")
	w.line("python3 -q")
	w.await(">>>")
	w.says("x = 6 * 7; print('first', x)", "first 42")

	lost := w.cuts()
	b.killAgent()
	w.isBack(lost)
	w.says("print('second', x + 1)", "second 43")

	lost = w.cuts()
	b.kill()
	w.isLost(lost)
	b.start()
	w.isBack(lost)
	w.keys("Up", "Enter") // the line before
	w.awaitThat("it to say that again", func() bool { return strings.Count(w.screen(), "\nsecond 43\n") == 2 })

	_ = syscall.Kill(w.clientPID(), syscall.SIGKILL)
	w = m.window(24, 80)
	w.attach(b.id)
	w.await("\nfirst 42\n")
	w.says("print('third', x + 2)", "third 44")
	w.line("exit()")
	w.says("echo af''ter", "after")
	w.says("exit", "user$")
	w.inOrder()
}

// TestTerminalPaste pastes into a terminal, once while its size changes all the time.
func TestTerminalPaste(t *testing.T) {
	t.Parallel()
	b := newBox(t, "paste")
	m := newTmux(t, b.daemon)
	var text bytes.Buffer
	for i := 0; text.Len() < 156_000; i++ {
		fmt.Fprintf(&text, "%06d %s\n", i, strings.Repeat("pasted", 1+i%20))
	}
	file := filepath.Join(m.dir, "text")
	if err := os.WriteFile(file, text.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("%x", sha256.Sum256(text.Bytes()))
	for name, resizing := range map[string]bool{"still": false, "resized": true} {
		w := b.shell(m, 24, 80, "--terminal "+name)
		w.line("cat >/tmp/pasted; sha256sum /tmp/pasted")
		w.run("load-buffer", file, ";", "paste-buffer", "-r", "-t", w.name, ";", "send-keys", "-t", w.name, "C-d")
		sizes := 0
		w.awaitThat("the paste, whose sum is "+want, func() bool {
			if resizing {
				sizes++
				w.resize(20+sizes%7, 70+sizes%30)
			}
			return strings.Contains(w.screen(), want)
		})
		w.resize(25, 90)
		b.awaitSize(name, 25, 90)
		w.says("stty size", "25 90")
		t.Logf("%d bytes pasted, %d sizes meanwhile", text.Len(), sizes)
		w.detach()
	}
}

// TestTerminalResizedWhileLost changes the window's size before, while and after the daemon comes
// back: the last one counts.
func TestTerminalResizedWhileLost(t *testing.T) {
	t.Parallel()
	b := newBox(t, "resized")
	m := newTmux(t, b.daemon)
	b.sh("seq 500 >/tmp/text")
	shell, less := b.shell(m, 24, 80, ""), b.shell(m, 24, 80, "--terminal less")
	less.line("exec less /tmp/text")
	less.await("\n20\n")
	for round := range 3 {
		before := [2]int{shell.cuts(), less.cuts()}
		b.kill()
		shell.isLost(before[0])
		less.isLost(before[1])
		rows, cols := 26+2*round, 90+round
		shell.resize(rows+5, cols+5)
		less.resize(rows+5, cols+5)
		started := make(chan struct{})
		go func() {
			defer close(started)
			b.start()
		}()
		for n, back := 0, false; !back; n++ {
			shell.resize(rows+n%3, cols+n%3)
			less.resize(rows+n%3, cols+n%3)
			back = !strings.Contains(shell.get("pane_title")+less.get("pane_title"), "trying to connect")
		}
		shell.resize(rows, cols)
		less.resize(rows, cols)
		<-started
		b.awaitSize("main", rows, cols)
		b.awaitSize("less", rows, cols)
		shell.says("stty size", fmt.Sprintf("%d %d", rows, cols))
		less.keys("g")
		less.awaitThat("less to fill the window", func() bool {
			lines := strings.Split(strings.TrimRight(less.screen(), "\n"), "\n")
			return len(lines) == rows && lines[0] == "1" && lines[rows-2] == strconv.Itoa(rows-1)
		})
	}
}

// awaitSize waits until a terminal has a size.
func (b *box) awaitSize(name string, rows, cols int) {
	b.t.Helper()
	eventually(b.t, patience, "the terminal's size", func(ctx context.Context) error {
		list, err := b.api.ListTerminals(ctx, b.id)
		for _, t := range list {
			if t.Name == name && (t.Rows != uint(rows) || t.Cols != uint(cols)) {
				err = fmt.Errorf("%s has %dx%d, want %dx%d", name, t.Cols, t.Rows, cols, rows)
			}
		}
		return err
	})
}

// TestTerminalOfTwo has two people type at one terminal at once, and a third look on.
func TestTerminalOfTwo(t *testing.T) {
	t.Parallel()
	b := newBox(t, "two")
	m := newTmux(t, b.daemon)
	small, large := b.shell(m, 24, 80, ""), b.shell(m, 30, 100, "")
	third := m.window(30, 100)
	third.attach("--read-only " + b.id)
	third.await("/ #")
	small.says("stty size", "24 80")
	large.says("stty size", "30 100")
	small.says("stty size", "24 80")

	// What two type at once may mix; nothing of it is lost.
	const each = 300
	small.line("stty -echo; cat >/tmp/typed; stty echo; clear; echo rea''dy")
	b.awaitFile("/tmp/typed")
	var typing sync.WaitGroup
	for key, w := range map[string]*window{"a": small, "b": large, "x": third} {
		typing.Go(func() {
			for i := range each {
				name := key
				if i%20 == 19 {
					name = "Enter"
				}
				if _, err := w.try("send-keys", "-t", w.name, name); err != nil {
					t.Error(err)
				}
			}
		})
	}
	typing.Wait()
	want := fmt.Sprintf("%d %d %d 0", each*19/20, each*19/20, 2*each/20)
	const count = `for c in a b '\n' x; do tr -cd $c </tmp/typed | wc -c; done | xargs`
	eventually(t, patience, "all keys have arrived", func(context.Context) error {
		if got := b.sh(count); got != want {
			return fmt.Errorf("of a, b, newline and x arrived %s; want %s", got, want)
		}
		return nil
	})
	large.keys("C-d")
	for _, w := range []*window{small, large, third} {
		w.await("ready\n/ #")
	}
	large.says("echo bo''th; stty size", "both")
	for _, w := range []*window{small, large, third} {
		w.await("30 100\n/ #")
	}
	same := func() bool {
		want := strings.TrimSpace(large.screen())
		return strings.TrimSpace(small.screen()) == want && strings.TrimSpace(third.screen()) == want
	}
	large.awaitThat("all to see the same", same)
	third.detach()
	small.detach()
	large.says("exit", "user$")
	large.inOrder()
}

// awaitFile waits until there is a file in the session.
func (b *box) awaitFile(path string) {
	b.t.Helper()
	b.sh("while ! [ -e " + path + " ]; do usleep 10000; done")
}

// TestTerminalCommands leaves terminals, lists them and comes back, as the CLI's help says, until
// the session is stopped.
func TestTerminalCommands(t *testing.T) {
	t.Parallel()
	b := newBox(t, "commands")
	m := newTmux(t, b.daemon)
	w := b.shell(m, 24, 120, "")
	w.says("x=ke''pt; echo $x", "kept")
	w.detach()
	w.awaitJoined("come back with: octobot attach " + b.id)
	w.line("clear")
	w.attach(b.id)
	w.says("echo $x-$x", "kept-kept")
	w.detach()

	w.line("clear")
	w.attach("--new " + b.id)
	w.says("echo [$x]", "[]")
	w.detach()
	w.awaitJoined("come back with: octobot attach --terminal main-2 " + b.id)
	w.line("clear")
	w.attach("--terminal build --detach-keys ctrl-] " + b.id)
	w.says("echo ne''w", "new")
	w.keys("C-]")
	w.await("octobot: left")
	w.inOrder()
	w.line("clear; octobot ls --terminals")
	w.await("COMMAND")
	for _, line := range []string{`main +running +0 +120x24 .* /bin/sh`, `main-2 +running +0`, `build +running +0`} {
		if !regexp.MustCompile(`(?m)^` + b.id + ` +` + line).MatchString(w.screen()) {
			t.Errorf("ls --terminals has no %q:\n%s", line, w.screen())
		}
	}
	w.line("clear; octobot attach --new --terminal build " + b.id + "; echo taken $?")
	w.await("taken 125")
	w.await("already")
	w.line("clear; octobot attach --read-only --terminal nobody " + b.id + "; echo missing $?")
	w.await("missing 125")
	w.await("nobody")

	w.line("clear; octobot attach --terminal build " + b.id + "; echo code $?")
	w.says("echo $((6*7)); exit 7", "42")
	w.await("code 7")
	w.inOrder()

	w.line("clear; octobot attach " + b.id + "; echo code $?")
	w.await("/ #")
	if _, err := b.api.StopSession(t.Context(), b.id, 0); err != nil {
		t.Fatal(err)
	}
	w.await("code 125")
	w.inOrder()
	w.line("clear; octobot attach " + b.id + "; echo stopped $?")
	w.await("stopped 125")
	if s := w.screen(); !strings.Contains(s, "it does not run; octobot start") {
		t.Errorf("attach to a stopped session says\n%s", s)
	}
	w.line("clear; octobot start " + b.id + " && octobot attach " + b.id)
	w.says("echo [$x]", "[]")
	w.detach()
}

// TestTerminalCuts cuts a viewer's connection again and again, in every way there is, while the
// terminal writes: it is shown every byte once. OCTOBOT_TEST_SOAK has it do so 1,000 times.
func TestTerminalCuts(t *testing.T) {
	t.Parallel()
	cuts := 100
	if os.Getenv("OCTOBOT_TEST_SOAK") != "" {
		cuts = 1000
	}
	b := newBox(t, "cuts")
	// It writes no more than is kept while the daemon is away, which may take long to start.
	const script = `i=1; while ! [ -e /tmp/enough ]; do
		seq $i $((i+99)) | sed 's/$/ 漢字 é/'; i=$((i+100)); usleep 20000
		if [ -e /tmp/slow ]; then usleep 100000; fi; done; exit 3`
	opts := client.TerminalOptions{Name: "numbers", AttachOptions: client.AttachOptions{
		Cmd: []string{"sh", "-c", script}, Rows: 24, Cols: 80}}
	v, err := b.api.OpenTerminal(t.Context(), b.id, opts)
	if err != nil {
		t.Fatal(err)
	}
	opts.ID = v.Opened().ID
	var out numbers
	how, took := map[string]int{}, map[string]time.Duration{}
	last := time.Now()
	for cut := range cuts {
		// Some output first, and somewhere in what follows the cut.
		until := out.n + rand.Int64N(10_000)
		for out.n < until {
			e, err := v.Next()
			if err == nil {
				err = out.take(e)
			}
			if err != nil {
				t.Fatalf("after %d cuts, the last %v ago, and %d bytes: %v", cut, time.Since(last), out.n, err)
			}
		}
		last = time.Now()
		way := "closed"
		switch n := rand.IntN(100); {
		case n < 4:
			way = "daemon killed"
			b.sh("touch /tmp/slow")
			b.kill()
		case n < 9:
			way = "agent killed"
			b.killAgent()
		}
		if rand.IntN(2) == 0 || b.cmd == nil { // what is under way is shown
			err = out.rest(v, rand.IntN(5))
		}
		_ = v.Close()
		if b.cmd == nil {
			b.start()
			b.sh("rm /tmp/slow")
		}
		if err != nil {
			t.Fatal(err)
		}
		opts.Since = out.n
		eventually(t, patience, "the terminal is back", func(context.Context) error {
			var err error
			v, err = b.api.OpenTerminal(t.Context(), b.id, opts)
			if code := client.CodeOf(err); err != nil && code != "" && code != v1.CodeEngineUnavailable {
				t.Fatal(err)
			}
			return err
		})
		how[way]++
		took[way] += time.Since(last)
	}
	for way := range took {
		took[way] = (took[way] / time.Duration(how[way])).Round(time.Millisecond)
	}
	b.sh("touch /tmp/enough")
	for err = nil; err == nil; {
		var e client.TerminalEvent
		if e, err = v.Next(); err == nil {
			err = out.take(e)
		}
	}
	if code, codeErr := v.ExitCode(); !errors.Is(err, io.EOF) || code != 3 {
		t.Errorf("it ends with %v, code %d, %v", err, code, codeErr)
	}
	if out.line%100 != 0 || len(out.expected) > 0 {
		t.Errorf("the end is missing after line %d: %q", out.line, out.expected)
	}
	t.Logf("%d bytes, %d cuts: %v, which took, on average, %v", out.n, cuts, how, took)
}

// numbers sees that the bytes of numbered lines follow each other.
type numbers struct {
	n        int64 // bytes
	line     int   // that was begun last
	expected []byte
}

func (o *numbers) take(e client.TerminalEvent) error {
	if e.Missed > 0 || e.Replayed && len(e.Data) > 0 {
		return fmt.Errorf("missed %d, replayed %t %q", e.Missed, e.Replayed, e.Data)
	}
	for rest := e.Data; len(rest) > 0; {
		if len(o.expected) == 0 {
			o.line++
			o.expected = fmt.Appendf(o.expected, "%d 漢字 é\r\n", o.line)
		}
		n := min(len(rest), len(o.expected))
		if !bytes.Equal(rest[:n], o.expected[:n]) {
			return fmt.Errorf("at byte %d, of line %d: got %.80q, want %.80q", o.n, o.line, rest, o.expected)
		}
		rest, o.expected, o.n = rest[n:], o.expected[n:], o.n+int64(n)
	}
	if e.Position != o.n {
		return fmt.Errorf("position %d after %d bytes", e.Position, o.n)
	}
	return nil
}

// rest takes what a connection that was cut still gives, at most so many pieces.
func (o *numbers) rest(v *client.Viewer, most int) error {
	for range most {
		e, err := v.Next()
		if err != nil {
			if e.Position != o.n {
				return fmt.Errorf("%w: position %d after %d bytes", err, e.Position, o.n)
			}
			return nil
		}
		if err := o.take(e); err != nil {
			return err
		}
	}
	return nil
}
