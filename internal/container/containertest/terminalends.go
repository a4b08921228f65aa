package containertest

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/octobot-run/octobot/internal/container"
)

func testTerminalEnded(f *fixture) {
	id := f.running()
	a := f.look(id, script("t", "echo bye; exit 7"))
	f.equal("exit code", a.end(), 7)
	f.equal("output", a.shown(), "bye\r\n")
	if _, err := a.Next(); !errors.Is(err, io.EOF) {
		f.Fatalf("after EOF comes %v", err)
	}
	f.awaitTerminal(id, "t", "its end", func(t *container.TerminalInfo) bool { return !t.Running })
	f.equal("exit code in the list", f.infoOf(id, "t").ExitCode, 7)

	// Who comes back gets the rest, and the end.
	for since, want := range []string{"bye\r\n", "ye\r\n", "e\r\n", "\r\n", "\n", ""} {
		l := f.look(id, container.TerminalOptions{Name: "t", ID: a.info.ID, Since: int64(since)})
		f.equal("made", l.made, false)
		f.equal("running", l.info.Running, false)
		f.equal("exit code", l.end(), 7)
		f.equal("output", l.shown(), want)
		f.equal("missed", l.lost(), int64(0))
	}

	// Without its ID, another is made.
	b := f.look(id, terminal("t", "cat"))
	f.equal("made", b.made, true)
	f.refused(id, a.back(), container.ErrTerminalNotFound)
	f.equal("terminals", len(f.listTerminals(id)), 1)
}

// testTerminalSignal: the PID that is told is the command's.
func testTerminalSignal(f *fixture) {
	id := f.running()
	l := f.look(id, terminal("t", "sleep", "4242"))
	f.sh(id, fmt.Sprintf("kill -9 %d", l.info.PID))
	f.equal("exit code", l.end(), 137)
	f.equal("exit code in the list", f.infoOf(id, "t").ExitCode, 137)

	l = f.look(id, terminal("interrupted", "sleep", "4242"))
	f.awaitProcess(id, "sleep 4242")
	l.typeIn("\x03")
	f.equal("exit code", l.end(), 130)
}

func testTerminalNameAgain(f *fixture) {
	id := f.running()
	ids := make(map[string]bool)
	for i := range 3 {
		l := f.look(id, script("t", fmt.Sprint("echo number ", i, "; cat")))
		f.equal("made", l.made, true)
		ids[l.info.ID] = true
		l.await(fmt.Sprintf("number %d\r\n", i))
		f.equal("output", l.shown(), fmt.Sprintf("number %d\r\n", i))
		if i%2 == 0 {
			l.typeIn("\x04")
		} else {
			f.must(f.terminals().EndTerminal(f.ctx, id, "t"))
		}
		l.awaitEOF()
	}
	f.equal("number of IDs", len(ids), 3)
}

func testTerminalList(f *fixture) {
	id := f.running()
	before := f.get(id).StartedAt.Add(-time.Minute)
	names := []string{"c", "a", "b.2_x-Y"}
	var looks []*look
	for _, name := range names {
		looks = append(looks, f.look(id, terminal(name, "cat")))
	}
	a := looks[1]
	quiet := f.infoOf(id, "a")
	a.typeIn("active\n")
	a.await("active\r\nactive\r\n")
	looks[0].typeIn("\x04")
	f.equal("exit code", looks[0].end(), 0)
	looks[0].leave()

	var list []container.TerminalInfo
	f.poll("one that has ended, without viewers", func() bool {
		list = f.listTerminals(id)
		return len(list) > 0 && !list[0].Running && list[0].Viewers == 0
	})
	f.equal("terminals", len(list), 3)
	for i, t := range list {
		f.equal("name", t.Name, names[i])
		f.equal("ID", t.ID, looks[i].info.ID)
		f.equal("PID", t.PID, looks[i].info.PID)
		f.equal("command", strings.Join(t.Cmd, " "), "cat")
		f.equal("size", [2]uint{t.Rows, t.Cols}, [2]uint{24, 80})
		f.equal("running", t.Running, i > 0)
		f.equal("viewers", t.Viewers, min(i, 1))
		if t.Created.Before(before) || t.Active.Before(t.Created) || i > 0 && t.Created.Before(list[i-1].Created) {
			f.Fatalf("terminals are %+v", list)
		}
	}
	f.equal("position of what wrote nothing", list[2].Position, int64(0))
	f.equal("position", list[1].Position, a.at())
	if !list[1].Active.After(quiet.Active) || list[1].Created != quiet.Created {
		f.Fatalf("terminal is %+v; it was %+v before it was typed at", list[1], quiet)
	}
}

func testTerminalEnd(f *fixture) {
	id := f.running()
	a := f.look(id, terminal("t", "sleep", "4242"))
	b := f.look(id, container.TerminalOptions{Name: "t", ReadOnly: true})
	shell := f.look(id, script("shell", "sleep 4243; true"))
	f.awaitProcess(id, "sleep 4242")
	f.awaitProcess(id, "sleep 4243")

	f.must(f.terminals().EndTerminal(f.ctx, id, "t"))
	fresh := terminal("t", "cat")
	fresh.New = true
	c := f.look(id, fresh) // the name is free
	if c.info.ID == a.info.ID {
		f.Fatalf("two terminals have the ID %s", c.info.ID)
	}
	f.awaitGone(id, "4242")
	for _, l := range []*look{a, b} {
		f.equal("exit code", l.end(), 129)
	}
	f.refused(id, a.back(), container.ErrTerminalNotFound)

	f.must(f.terminals().EndTerminal(f.ctx, id, "shell"))
	f.awaitGone(id, "4243")
	f.equal("exit code", shell.end(), 129)
	f.class(f.terminals().EndTerminal(f.ctx, id, "shell"), container.ErrTerminalNotFound)

	// One that has ended, and is kept, is forgotten.
	c.typeIn("\x04")
	f.equal("exit code", c.end(), 0)
	f.must(f.terminals().EndTerminal(f.ctx, id, "t"))
	f.equal("terminals", len(f.listTerminals(id)), 0)
	f.equal("status", f.get(id).Status, container.StatusRunning)
}

func testTerminalEndStubborn(f *fixture) {
	id := f.running()
	l := f.look(id, script("t", `trap "" HUP; echo ready; sleep 4242; sleep 4242`))
	l.await("ready\r\n")
	f.mustBePrompt("end", func() { f.must(f.terminals().EndTerminal(f.ctx, id, "t")) })
	f.equal("exit code", l.end(), 137)
	f.equal("terminals", len(f.listTerminals(id)), 0)
}

// testTerminalLinger: what nobody looks at ends in its time, and what somebody looks at does not.
func testTerminalLinger(f *fixture) {
	id := f.running()
	watched, left := terminal("watched", "sleep", "4242"), terminal("left", "sleep", "4243")
	watched.Linger, left.Linger = time.Second, time.Second
	f.look(id, watched).leave()
	w := f.look(id, container.TerminalOptions{Name: "watched", ReadOnly: true})
	f.equal("made", w.made, false)
	f.look(id, left).leave()
	f.poll("the terminal to end that nobody looks at", func() bool {
		t := f.listed(id, "left")
		return t == nil || !t.Running
	})
	f.awaitGone(id, "4243")
	f.equal("running", f.infoOf(id, "watched").Running, true)
	w.leave()
	f.awaitGone(id, "4242")
}

func testTerminalContainerStops(f *fixture) {
	id := f.running()
	a, b := f.look(id, terminal("t", "sleep", "4242")), f.look(id, terminal("t"))
	f.awaitProcess(id, "sleep 4242")
	f.must(f.rt.Stop(f.ctx, id, 0))
	for _, l := range []*look{a, b} {
		l.awaitEOF()
		if code, err := l.ExitCode(f.ctx); err == nil && code <= 128 {
			f.Fatalf("exit code %d of what was killed", code)
		}
	}
	_, err := f.terminals().ListTerminals(f.ctx, id)
	f.class(err, container.ErrContainerStopped)
	f.refused(id, a.back(), container.ErrContainerStopped)

	f.must(f.rt.Start(f.ctx, id))
	f.equal("terminals", len(f.listTerminals(id)), 0)
	f.refused(id, a.back(), container.ErrTerminalNotFound)
	again := f.look(id, script("t", "echo again; cat"))
	f.equal("made", again.made, true)
	again.await("again\r\n")
	if again.info.ID == a.info.ID {
		f.Fatalf("two terminals have the ID %s", a.info.ID)
	}
}

// testTerminalRuntimeClose: a viewer ends with its Runtime, the terminal does not, and another
// Runtime knows it.
func testTerminalRuntimeClose(f *fixture) {
	if _, ok := optional[container.Closer](f); !ok {
		return
	}
	id := f.running()
	a := f.look(id, script("t", "echo begin; head -n 1 > /dev/null; echo middle; head -n 1 > /dev/null; exit 7"))
	a.await("begin\r\n")
	other := f.h.New(f.T, f.instance)
	f.Cleanup(func() { closeRuntime(f.T, other) })
	first := f.rt
	f.rt = other
	b := f.look(id, a.back())
	f.equal("viewers", b.info.Viewers, 2)

	f.mustBePrompt("close", func() {
		closeRuntime(f.T, first)
		<-a.closed
	})
	if errors.Is(a.err, io.EOF) {
		f.Fatal("the closing of the runtime is shown as the end of the command")
	}
	f.awaitTerminal(id, "t", "one viewer", func(t *container.TerminalInfo) bool { return t.Viewers == 1 })
	b.typeIn("\n")
	b.await("middle\r\n")
	b.leave()

	f.rt = f.open(f.instance)
	c := f.look(id, a.back())
	f.equal("made", c.made, false)
	c.await("middle\r\n")
	c.typeIn("\n")
	f.equal("exit code", c.end(), 7)
	c.matches("begin\r\n\r\nmiddle\r\n\r\n")
	f.equal("output", c.shown(), "\r\nmiddle\r\n\r\n")
}
