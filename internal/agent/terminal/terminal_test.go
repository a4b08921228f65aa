package terminal

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/octobot-run/octobot/internal/agentproto"
)

// back is what a viewer asks for that comes back to where it was.
func (v *view) back() agentproto.OpenTerminal {
	return agentproto.OpenTerminal{Name: "t", ID: v.attached.Terminal.ID, Since: v.pos}
}

// TestViewers has two look at a terminal, one leave, and come back to what it missed.
func TestViewers(t *testing.T) {
	k := newKit(t)
	one := k.open(command("cat"))
	if a := one.attached; !a.Made || a.Terminal.Viewers != 1 || !a.Terminal.Running {
		t.Errorf("attached %+v", a)
	}
	one.typeIn("first\n")
	one.await("first\r\nfirst\r\n")
	two := k.open(command("another"))
	if a := two.attached; a.Made || a.Terminal.ID != one.attached.Terminal.ID || a.Position != one.pos {
		t.Errorf("attached %+v", a)
	}
	two.until("what was shown", func() bool { return two.replayed.String() == "first\r\nfirst\r\n" })
	one.until("two viewers", func() bool { return one.viewers == 2 })
	one.Reset()
	two.until("one viewer", func() bool { return two.viewers == 1 })
	two.typeIn("second\n")
	two.await("second\r\nsecond\r\n")
	again := k.open(one.back())
	again.await("second\r\nsecond\r\n")
	if got := one.shown.String() + again.shown.String(); got != "first\r\nfirst\r\nsecond\r\nsecond\r\n" ||
		again.replayed.Len() > 0 {
		t.Errorf("over two connections: %q, replayed %q", got, again.replayed.String())
	}
	again.typeIn("\x04")
	if code := again.end(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	two.end()
}

// TestCuts cuts a viewer off at random, and compares what it had in all with what was written.
func TestCuts(t *testing.T) {
	k := newKit(t)
	const lines = 60_000
	v := k.open(command("seq", fmt.Sprint(lines)))
	var got strings.Builder
	for ended := false; !ended; {
		for range rand.IntN(20) {
			if ended = !v.next(); ended {
				break
			}
		}
		got.WriteString(v.shown.String())
		if v.missed > 0 || v.attached.Missed > 0 {
			t.Fatalf("missed %d, %d", v.missed, v.attached.Missed)
		}
		if !ended {
			v.Reset()
			v = k.open(v.back())
		}
	}
	var want bytes.Buffer
	for i := range lines {
		fmt.Fprintf(&want, "%d\r\n", i+1)
	}
	if got.String() != want.String() {
		t.Errorf("%d bytes that are not the %d that were written", got.Len(), want.Len())
	}
}

// TestMissed has more written than is kept while nobody looks.
func TestMissed(t *testing.T) {
	k := newKit(t)
	v := k.open(command("sh", "-c",
		`stty -opost; read x; printf '\033[?1049h\033]2;the title\007\033[6n'; head -c 3000000 /dev/zero; echo; cat`))
	v.typeIn("go\n")
	v.await("\n")
	v.Reset()
	poll(t, "output", func() bool { return k.list()[0].Position > 3_000_000 })
	again := k.open(v.back())
	a := again.attached
	if a.Missed != a.Position-v.pos || a.Terminal.Position-a.Position > recentSize {
		t.Errorf("missed %d: came for %d, given from %d of %d", a.Missed, v.pos, a.Position, a.Terminal.Position)
	}
	again.typeIn("end\n")
	again.until("the echo and cat's copy", func() bool { return strings.Count(again.shown.String(), "end\n") == 2 })
	if modes := again.replayed.String(); !strings.Contains(modes, "\x1b[?1049h") || strings.Contains(modes, "\x1b[6n") {
		t.Errorf("modes %q", modes)
	}
	// Who comes anew sees all that is kept.
	fresh := k.open(command())
	fresh.until("all that is kept", func() bool { return fresh.replayed.Len() >= ringSize })
	if !strings.HasPrefix(fresh.replayed.String(), "\x1b[?1049h") ||
		!strings.HasSuffix(fresh.replayed.String(), "end\n") {
		t.Errorf("replayed %.40q", fresh.replayed.String())
	}
}

// TestSlow has a viewer that reads nothing: neither the program nor who reads waits for it.
func TestSlow(t *testing.T) {
	k := newKit(t)
	slow := k.open(command("sh", "-c", "read x; head -c 20000000 /dev/zero | tr '\\0' x; echo; cat"))
	fast := k.open(command())
	fast.typeIn("\n")
	fast.await("x\r\n")
	if fast.missed > 0 {
		t.Errorf("who reads has missed %d bytes", fast.missed)
	}
	fast.typeIn("end\n")
	slow.await("end\r\nend\r\n")
	if slow.missed == 0 || slow.pos != fast.pos && slow.pos < 20_000_000 {
		t.Errorf("who does not read has missed %d and is at %d; the other is at %d", slow.missed, slow.pos, fast.pos)
	}
}

// TestOnlyViewer holds a program up, which loses nothing then, but not for ever.
func TestOnlyViewer(t *testing.T) {
	k := newKit(t)
	v := k.open(command("sh", "-c", "head -c 5000000 /dev/zero | tr '\\0' x"))
	if code := v.end(); code != 0 || v.missed > 0 || v.pos != 5_000_000 {
		t.Errorf("exit code %d at %d, missed %d", code, v.pos, v.missed)
	}
	k = newKit(t)
	k.timing.patience = 50 * time.Millisecond
	k.open(command("sh", "-c", "head -c 5000000 /dev/zero | tr '\\0' x"))
	poll(t, "end", func() bool { return !k.list()[0].Running })
}

// TestSize: it is that of who was the last to do something.
func TestSize(t *testing.T) {
	k := newKit(t)
	o := command("sh")
	o.Rows, o.Cols = 30, 100
	one := k.open(o)
	one.typeIn("stty size\n")
	one.await("30 100\r\n")
	o.Rows, o.Cols = 40, 120
	two := k.open(o)
	two.typeIn("stty size\n")
	two.await("40 120\r\n")
	one.typeIn("echo 'a'; stty size\n")
	one.await("a\r\n30 100\r\n")
	o.Rows, o.Cols, o.ReadOnly = 50, 140, true
	reader := k.open(o)
	reader.typeIn("echo never\n")
	one.typeIn("echo 'b'; stty size\n")
	one.await("b\r\n30 100\r\n")
	if strings.Contains(one.shown.String(), "never") {
		t.Error("who only reads has typed")
	}
	if err := two.Send(&agentproto.Resize{Rows: 11, Cols: 22}); err != nil {
		t.Fatal(err)
	}
	poll(t, "size", func() bool { i := k.list()[0]; return i.Rows == 11 && i.Cols == 22 })
}

// TestRedraw: what drew a full screen is not kept any more, and so its program draws it.
func TestRedraw(t *testing.T) {
	k := newKit(t)
	script := `trap 'echo drawn' WINCH; printf '\033[?1049h'; head -c 2000000 /dev/zero; echo ready; while :; do sleep 0.01; done`
	v := k.open(command("sh", "-c", script))
	v.await("ready")
	v.Reset()
	v = k.open(command())
	v.await("drawn\r\n")
	time.Sleep(4 * redrawPause) // in which it may draw twice
	v.Reset()
	// Also where a viewer comes back that has missed some of it.
	v = k.open(agentproto.OpenTerminal{Name: "t", ID: v.attached.Terminal.ID, Since: 1})
	if v.attached.Missed == 0 {
		t.Error("nothing was missed")
	}
	before := v.attached.Terminal.Position
	v.until("drawing once more", func() bool { return v.pos > before })
	if i := k.list()[0]; i.Rows != defaultRows {
		t.Errorf("%d rows", i.Rows)
	}
}

// TestEnds: a terminal ends with its command, and is kept a while for who comes for the rest.
func TestEnds(t *testing.T) {
	k := newKit(t)
	v := k.open(command("sh", "-c", "read x; echo done; exit 7"))
	v.Reset()
	k.open(command()).typeIn("\n")
	poll(t, "end", func() bool { return !k.list()[0].Running })
	again := k.open(v.back())
	if code := again.end(); code != 7 || !strings.HasSuffix(again.shown.String(), "done\r\n") {
		t.Errorf("exit code %d after %q", code, again.shown.String())
	}
	if made := k.open(command("cat")); !made.attached.Made || made.attached.Terminal.ID == v.attached.Terminal.ID {
		t.Error("one that has ended was opened")
	}
	if class := k.refused(v.back()); class != agentproto.NotFound {
		t.Errorf("class %d for one whose name another has", class)
	}
}

func TestRefused(t *testing.T) {
	k := newKit(t)
	k.open(command("cat"))
	for name, tt := range map[string]struct {
		o    agentproto.OpenTerminal
		want agentproto.Class
	}{
		"exists":    {agentproto.OpenTerminal{Name: "t", New: true}, agentproto.Exists},
		"not found": {agentproto.OpenTerminal{Name: "u", ReadOnly: true}, agentproto.NotFound},
		"other ID":  {agentproto.OpenTerminal{Name: "t", ID: "x"}, agentproto.NotFound},
		"no name":   {agentproto.OpenTerminal{}, agentproto.InvalidArgument},
		"no program": {agentproto.OpenTerminal{Name: "v", Command: agentproto.Command{Args: []string{"/none"}}},
			agentproto.CommandNotFound},
		"a lingerer": {agentproto.OpenTerminal{Name: "w", Linger: 1 << 40}, agentproto.InvalidArgument},
	} {
		if got := k.refused(tt.o); got != tt.want {
			t.Errorf("%s: class %d, want %d", name, got, tt.want)
		}
	}
	if list := k.list(); len(list) != 1 {
		t.Errorf("%d terminals", len(list))
	}
}

// TestLimit: those that have ended make room.
func TestLimit(t *testing.T) {
	k := newKit(t)
	o := command("cat")
	for i := range maxTerminals {
		o.Name = fmt.Sprint("t", i)
		k.open(o)
	}
	o.Name = "more"
	if class := k.refused(o); class != agentproto.LimitReached {
		t.Errorf("class %d", class)
	}
	if err := syscall.Kill(k.list()[3].PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	poll(t, "end", func() bool { return !k.list()[3].Running })
	k.open(o)
	if list := k.list(); len(list) != maxTerminals || list[3].Name != "t4" {
		t.Errorf("%d terminals, the fourth is %s", len(list), list[3].Name)
	}
}

// TestLinger ends what nobody looks at, after its time.
func TestLinger(t *testing.T) {
	k := newKit(t)
	o := command("cat")
	o.Linger = 1
	v := k.open(o)
	pid := v.attached.Terminal.PID
	v.Reset()
	poll(t, "end", func() bool { return len(k.list()) == 0 && syscall.Kill(pid, 0) != nil })
}

// TestEnd hangs a terminal up, with what it runs.
func TestEnd(t *testing.T) {
	k := newKit(t)
	v := k.open(command("sh", "-c", "yes >/dev/null & yes"))
	if err := k.ask(&agentproto.EndTerminal{Name: "t"}).Receive(&agentproto.Done{}); err != nil {
		t.Fatal(err)
	}
	if v.end(); v.exit.Code != 128+int(syscall.SIGHUP) {
		t.Errorf("exit code %d", v.exit.Code)
	}
	if list := k.list(); len(list) != 0 {
		t.Errorf("%d terminals", len(list))
	}
	poll(t, "silence", func() bool { return syscall.Kill(-v.attached.Terminal.PID, 0) != nil })
}

// TestPaste types much at once, at a program that takes its time, and at one that takes nothing.
func TestPaste(t *testing.T) {
	k := newKit(t)
	v := k.open(command("sh", "-c", "stty raw -echo; echo ready; sleep 0.1; head -c 1000000 | cksum"))
	v.await("ready")
	v.typeIn(strings.Repeat("0123456789", 100_000))
	if v.end(); !strings.Contains(v.shown.String(), "1000000") {
		t.Errorf("shown %q", v.shown.String())
	}
	o := command("sh", "-c", "stty raw -echo; echo ready; sleep 1000")
	o.Name = "deaf"
	v = k.open(o)
	v.await("ready")
	go func() { _ = v.SendData(agentproto.KindData, make([]byte, 10<<20)) }()
	poll(t, "held input", func() bool {
		k.mu.Lock()
		deaf := k.named["deaf"]
		k.mu.Unlock()
		deaf.mu.Lock()
		defer deaf.mu.Unlock()
		return len(deaf.input) >= maxInput
	})
	v.Reset()
	poll(t, "leaving", func() bool { return k.list()[1].Viewers == 0 })
}

// TestFirstByte: what a program writes at once is seen by who made its terminal.
func TestFirstByte(t *testing.T) {
	k := newKit(t)
	for i := range 300 {
		o := command("echo", "x")
		o.Name = fmt.Sprint("t", i%50)
		if v := k.open(o); v.end() != 0 || v.shown.String() != "x\r\n" {
			t.Fatalf("shown %q", v.shown.String())
		}
	}
}

// TestShownAgain: who was cut off amid what is shown once more asks for that, of this terminal.
func TestShownAgain(t *testing.T) {
	k := newKit(t)
	v := k.open(command("sh", "-c", "seq 100000; cat"))
	v.await("\n100000\r\n")
	again := agentproto.OpenTerminal{Name: "t", ID: v.attached.Terminal.ID, Since: -1}
	shown := k.open(again)
	for whole := false; !whole; {
		frame, err := shown.Next()
		if err != nil {
			t.Fatal(err)
		}
		if whole = frame.Kind == agentproto.KindData; whole && len(frame.Payload) > 0 {
			t.Errorf("output comes before it is said that all was shown: %.100q", frame.Payload)
		}
		if frame.Kind == agentproto.KindReplay {
			shown.replayed.Write(frame.Payload)
		}
	}
	if shown.replayed.String() != v.shown.String() || shown.attached.Position != v.pos {
		t.Errorf("%d bytes are shown again of %d, up to %d", shown.replayed.Len(), v.shown.Len(),
			shown.attached.Position)
	}
	again.ID = "another"
	if class := k.refused(again); class != agentproto.NotFound {
		t.Errorf("class %d", class)
	}
}
