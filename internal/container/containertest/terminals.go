package containertest

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/octobot-run/octobot/internal/container"
)

var terminalCases = onTerminals([]testCase{
	{"made, then found", testTerminalFound},
	{"opened by many at once", testTerminalAtOnce},
	{"new", testTerminalNew},
	{"missing", testTerminalMissing},
	{"bad options", testTerminalBadOptions},
	{"not executable", testTerminalNotExecutable},
	{"not running", testTerminalNotRunning},
	{"paused", testTerminalPaused},
	{"each session has its own", testTerminalSessions},
	{"ctx bounds the opening alone", testTerminalContext},
	{"shell", testTerminalShell},
	{"environment, directory, user", testTerminalEnv},
	{"limit", testTerminalLimit},
	{"two look", testTerminalTwoLook},
	{"two type", testTerminalTwoType},
	{"viewers are counted", testTerminalViewers},
	{"initial size", testTerminalInitialSize},
	{"size of who was the last to do something", testTerminalSize},
	{"viewer that only reads", testTerminalReadOnly},
	{"leaving", testTerminalLeaving},
	{"typed before leaving", testTerminalTypedLeaving},
	{"leaving unblocks", testTerminalUnblocks},
	{"leaving unblocks a write", testTerminalUnblocksWrite},
	{"first byte", testTerminalFirstByte},
	{"all output before EOF", testTerminalAllOutput},
	{"back at a position", testTerminalBack},
	{"back again and again", testTerminalBackAgain},
	{"shown once more", testTerminalReplay},
	{"shown once more amid output", testTerminalReplayAmid},
	{"more missed than is kept", testTerminalMissed},
	{"slow viewer and a fast one", testTerminalSlow},
	{"only viewer takes nothing", testTerminalStalled},
	{"ended", testTerminalEnded},
	{"killed by a signal", testTerminalSignal},
	{"name used again", testTerminalNameAgain},
	{"list", testTerminalList},
	{"end", testTerminalEnd},
	{"end what ignores it", testTerminalEndStubborn},
	{"lingers", testTerminalLinger},
	{"container stops", testTerminalContainerStops},
	{"outlives the runtime", testTerminalRuntimeClose},
})

// onTerminals leaves the cases out where nothing keeps terminals.
func onTerminals(cases []testCase) []testCase {
	for i := range cases {
		run := cases[i].run
		cases[i].run = func(f *fixture) {
			if _, ok := optional[container.Terminals](f); ok {
				run(f)
			}
		}
	}
	return cases
}

func testTerminalFound(f *fixture) {
	id := f.running()
	a := f.look(id, terminal("t", "cat"))
	f.equal("made", a.made, true)
	f.equal("name", a.info.Name, "t")
	f.equal("running", a.info.Running, true)
	f.equal("position", a.info.Position, int64(0))
	f.equal("viewers", a.info.Viewers, 1)
	f.equal("command", strings.Join(a.info.Cmd, " "), "cat")
	f.equal("size", [2]uint{a.info.Rows, a.info.Cols}, [2]uint{24, 80})
	f.must(container.ValidateTerminalName(a.info.ID))
	a.typeIn("here\n")
	a.await("here\r\nhere\r\n")

	// What else was asked for is of a terminal that is made.
	b := f.look(id, terminal("t", "no-such-program"))
	f.equal("made", b.made, false)
	f.equal("ID", b.info.ID, a.info.ID)
	f.equal("PID", b.info.PID, a.info.PID)
	f.equal("command", strings.Join(b.info.Cmd, " "), "cat")
	f.equal("viewers", b.info.Viewers, 2)
	f.equal("position", b.info.Position, int64(len("here\r\nhere\r\n")))
	f.equal("terminals", len(f.listTerminals(id)), 1)
}

// testTerminalAtOnce: one of them makes it, and the others find that one.
func testTerminalAtOnce(f *fixture) {
	id := f.running()
	looks := make([]*look, 8)
	var wg sync.WaitGroup
	for i := range looks {
		wg.Go(func() {
			opts := script("t", "echo once; cat")
			t, err := f.terminals().OpenTerminal(f.ctx, id, opts)
			if err != nil {
				f.Errorf("open: %v", err)
				return
			}
			f.Cleanup(func() { _ = t.Close() })
			looks[i] = f.lookOn(t, opts)
		})
	}
	wg.Wait()
	if f.Failed() {
		f.FailNow()
	}
	made := 0
	for _, l := range looks {
		f.equal("ID", l.info.ID, looks[0].info.ID)
		if l.made {
			made++
		}
		l.await("once\r\n")
	}
	f.equal("number of those that made it", made, 1)
	f.equal("terminals", len(f.listTerminals(id)), 1)
}

func testTerminalNew(f *fixture) {
	id := f.running()
	fresh := terminal("t", "cat")
	fresh.New = true
	a := f.look(id, fresh)
	f.equal("made", a.made, true)

	f.refused(id, fresh, container.ErrTerminalExists)
	a.typeIn("untouched\n")
	a.await("untouched\r\nuntouched\r\n")
	f.equal("ID", f.infoOf(id, "t").ID, a.info.ID)

	a.typeIn("\x04")
	f.equal("exit code", a.end(), 0)
	b := f.look(id, fresh)
	f.equal("made, after the first has ended", b.made, true)
}

func testTerminalMissing(f *fixture) {
	id := f.running()
	f.equal("terminals", len(f.listTerminals(id)), 0)
	readOnly := container.TerminalOptions{Name: "t", ReadOnly: true}
	back := container.TerminalOptions{Name: "t", ID: "0123456789abcdef"}
	f.refused(id, readOnly, container.ErrTerminalNotFound)
	f.refused(id, back, container.ErrTerminalNotFound)
	f.class(f.terminals().EndTerminal(f.ctx, id, "t"), container.ErrTerminalNotFound)
	f.equal("terminals", len(f.listTerminals(id)), 0)

	// An ID is of one terminal, not of a name.
	a, other := f.look(id, terminal("t", "cat")), f.look(id, terminal("other", "cat"))
	f.refused(id, back, container.ErrTerminalNotFound)
	back.ID = other.info.ID
	f.refused(id, back, container.ErrTerminalNotFound)
	f.class(f.terminals().EndTerminal(f.ctx, id, "third"), container.ErrTerminalNotFound)
	f.equal("viewers", f.infoOf(id, "t").Viewers, 1)
	a.typeIn("untouched\n")
	a.await("untouched\r\nuntouched\r\n")
}

func testTerminalBadOptions(f *fixture) {
	id := f.running()
	for name, spoil := range map[string]func(*container.TerminalOptions){
		"no name":             func(o *container.TerminalOptions) { o.Name = "" },
		"path for a name":     func(o *container.TerminalOptions) { o.Name = "../t" },
		"space in the name":   func(o *container.TerminalOptions) { o.Name = "a b" },
		"long name":           func(o *container.TerminalOptions) { o.Name = strings.Repeat("a", 64) },
		"negative position":   func(o *container.TerminalOptions) { o.ID, o.Since = "x", -2 },
		"position without ID": func(o *container.TerminalOptions) { o.Since = 1 },
		"new with an ID":      func(o *container.TerminalOptions) { o.New, o.ID = true, "x" },
		"new but to read":     func(o *container.TerminalOptions) { o.New, o.ReadOnly = true, true },
		"negative linger":     func(o *container.TerminalOptions) { o.Linger = -time.Second },
		"endless linger": func(o *container.TerminalOptions) {
			o.Linger = container.MaxTerminalLinger +
				time.Second
		},
		"empty command":      func(o *container.TerminalOptions) { o.Cmd = []string{""} },
		"bad env":            func(o *container.TerminalOptions) { o.Env = []string{"x"} },
		"relative directory": func(o *container.TerminalOptions) { o.WorkingDir = "x" },
		"bad user":           func(o *container.TerminalOptions) { o.User = "\x00" },
		"huge size":          func(o *container.TerminalOptions) { o.Rows = 1 << 20 },
	} {
		opts := terminal("t", "cat")
		spoil(&opts)
		f.refused(id, opts, container.ErrInvalidArgument, name)
	}
	for _, name := range []string{"", "../t", "a b", strings.Repeat("a", 64)} {
		f.class(f.terminals().EndTerminal(f.ctx, id, name), container.ErrInvalidArgument, name)
	}
	f.equal("terminals", len(f.listTerminals(id)), 0)

	// A position that there is not yet.
	a := f.look(id, terminal("t", "cat"))
	beyond := a.back()
	beyond.Since++
	f.refused(id, beyond, container.ErrInvalidArgument, "position to come")
	f.equal("viewers", f.infoOf(id, "t").Viewers, 1)
}

// testTerminalNotExecutable: a command that can't be started leaves neither a terminal nor its name
// taken.
func testTerminalNotExecutable(f *fixture) {
	id := f.running()
	nowhere, nobody := terminal("t", "true"), terminal("t", "true")
	nowhere.WorkingDir, nobody.User = "/no/such/directory", "nobody-of-that-name"
	for _, opts := range []container.TerminalOptions{terminal("t", "no-such-program"), nowhere, nobody} {
		f.refused(id, opts, container.ErrExecFailed)
		f.equal("terminals", len(f.listTerminals(id)), 0)
	}
	fresh := terminal("t", "echo", "hello")
	fresh.New = true
	l := f.look(id, fresh)
	f.equal("exit code", l.end(), 0)
	f.equal("output", l.shown(), "hello\r\n")
}

func testTerminalNotRunning(f *fixture) {
	id := f.id("s")
	calls := func() map[string]func() error {
		return map[string]func() error{
			"open": func() error {
				t, err := f.terminals().OpenTerminal(f.ctx, id, terminal("t", "cat"))
				if err == nil {
					_ = t.Close()
				}
				return err
			},
			"list": func() error { _, err := f.terminals().ListTerminals(f.ctx, id); return err },
			"end":  func() error { return f.terminals().EndTerminal(f.ctx, id, "t") },
		}
	}
	f.create(id, f.idle())
	f.each(calls(), container.ErrContainerStopped)
	f.must(f.rt.Start(f.ctx, id))
	f.must(f.rt.Stop(f.ctx, id, 0))
	f.each(calls(), container.ErrContainerStopped)
}

// testTerminalPaused: nobody comes to a terminal of a container that is paused. Who is there stays.
func testTerminalPaused(f *fixture) {
	p, ok := optional[container.Pauser](f)
	if !ok {
		return
	}
	id := f.running()
	a := f.look(id, terminal("t", "cat"))
	a.typeIn("before\n")
	a.await("before\r\nbefore\r\n")
	f.must(p.Pause(f.ctx, id))
	f.mustBePrompt("open", func() { f.refused(id, terminal("t", "cat"), container.ErrContainerPaused) })
	f.mustBePrompt("list", func() {
		_, err := f.terminals().ListTerminals(f.ctx, id)
		f.class(err, container.ErrContainerPaused)
	})
	f.must(p.Unpause(f.ctx, id))
	a.typeIn("after\n")
	a.await("after\r\nafter\r\n")
	f.equal("ID", f.look(id, terminal("t", "cat")).info.ID, a.info.ID)
}

func testTerminalSessions(f *fixture) {
	a, b := f.id("a"), f.id("b")
	f.start(a, f.idle())
	f.start(b, f.idle())
	first, second := f.look(a, terminal("t", "cat")), f.look(b, terminal("t", "cat"))
	f.equal("made", second.made, true)
	if first.info.ID == second.info.ID {
		f.Fatalf("two terminals have the ID %s", first.info.ID)
	}
	f.must(f.terminals().EndTerminal(f.ctx, a, "t"))
	first.awaitEOF()
	second.typeIn("untouched\n")
	second.await("untouched\r\nuntouched\r\n")
	f.equal("terminals", len(f.listTerminals(a)), 0)
	f.equal("terminals of the other", len(f.listTerminals(b)), 1)
}

func testTerminalContext(f *fixture) {
	id := f.running()
	ctx, cancel := context.WithCancel(f.ctx)
	live := f.ctx
	f.ctx = ctx
	l := f.look(id, terminal("t", "cat"))
	f.ctx = live
	cancel()
	l.typeIn("still here\n")
	l.await("still here\r\nstill here\r\n")
}

// testTerminalShell: without a command it is a shell, even where the main process has a TTY.
func testTerminalShell(f *fixture) {
	id := f.terminal("sh")
	opts := container.TerminalOptions{Name: "t", AttachOptions: container.AttachOptions{Rows: 24, Cols: 80}}
	l := f.look(id, opts)
	if len(l.info.Cmd) == 0 {
		f.Fatal("it isn't told what runs there")
	}
	l.typeIn("echo h'i' there\n")
	l.await("hi there\r\n")
	l.typeIn("exit 5\n")
	f.equal("exit code", l.end(), 5)
	f.equal("status", f.get(id).Status, container.StatusRunning)
}

func testTerminalEnv(f *fixture) {
	id := f.running()
	l := f.look(id, script("plain", "echo $TERM"))
	l.awaitEOF()
	f.equal("TERM", l.shown(), "xterm-256color\r\n")

	opts := script("t", "echo $TERM $ADDED; pwd; id -u")
	opts.Env, opts.WorkingDir, opts.User = []string{"TERM=dumb", "ADDED=value"}, "/home/user", "user"
	l = f.look(id, opts)
	l.awaitEOF()
	f.equal("output", l.shown(), "dumb value\r\n/home/user\r\n1000\r\n")
}

// testTerminalLimit: where there is a limit, what has ended and what is ended make room.
func testTerminalLimit(f *fixture) {
	id := f.running()
	name := func(i int) string { return "t" + string(rune('a'+i/26)) + string(rune('a'+i%26)) }
	open := func(name string, cmd ...string) error {
		t, err := f.terminals().OpenTerminal(f.ctx, id, terminal(name, cmd...))
		if err != nil {
			return err
		}
		return t.Close()
	}
	ended := f.look(id, terminal("ended", "true"))
	ended.awaitEOF()
	const most = 256
	for i := range most {
		err := open(name(i), "sleep", "4242")
		if container.ClassOf(err) != container.ErrLimitReached {
			f.must(err)
			continue
		}
		if i == 0 || f.listed(id, "ended") != nil {
			f.Fatalf("the limit is reached with %d terminals that run, while one that has ended is kept", i)
		}
		f.equal("terminals", len(f.listTerminals(id)), i)
		f.must(open(name(0), "true")) // it is there
		f.must(f.terminals().EndTerminal(f.ctx, id, name(0)))
		f.must(open("another", "sleep", "4242"))
		f.class(open("one too many", "sleep", "4242"), container.ErrInvalidArgument)
		f.class(open("one-too-many", "sleep", "4242"), container.ErrLimitReached)
		f.equal("terminals", len(f.listTerminals(id)), i)
		return
	}
	f.equal("terminals", len(slices.DeleteFunc(f.listTerminals(id),
		func(t container.TerminalInfo) bool { return !t.Running })), most)
}
