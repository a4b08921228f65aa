package containertest

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/octobot-run/octobot/internal/container"
)

func testTerminalTwoLook(f *fixture) {
	id := f.shared()
	a := f.look(id, terminal("t10", "cat"))
	b := f.look(id, terminal("t10"))
	a.typeIn("seen\n")
	for _, l := range []*look{a, b} {
		l.await("seen\r\nseen\r\n")
		f.equal("output", l.shown(), "seen\r\nseen\r\n")
		f.equal("position", l.at(), int64(len("seen\r\nseen\r\n")))
	}
}

func testTerminalTwoType(f *fixture) {
	id := f.shared()
	a := f.look(id, terminal("t11", "sh", "-c", "head -n 1; head -n 1; exit 3"))
	b := f.look(id, terminal("t11"))
	a.typeIn("first\n")
	b.await("first\r\nfirst\r\n")
	b.typeIn("second\n")
	for _, l := range []*look{a, b} {
		f.equal("exit code", l.end(), 3)
		f.equal("output", l.shown(), "first\r\nfirst\r\nsecond\r\nsecond\r\n")
	}
}

func testTerminalViewers(f *fixture) {
	id := f.shared()
	a := f.look(id, terminal("t12", "cat"))
	f.equal("viewers", a.info.Viewers, 1)
	told := func(l *look, want ...int) {
		f.Helper()
		l.until(fmt.Sprintf("the viewers %v", want), func() bool { return len(l.told()) >= len(want) })
		f.equal("viewers", fmt.Sprint(l.told()), fmt.Sprint(want))
	}
	b := f.look(id, terminal("t12"))
	f.equal("viewers", b.info.Viewers, 2)
	told(a, 2)
	// Who only reads is one of them.
	c := f.look(id, container.TerminalOptions{Name: "t12", ReadOnly: true})
	f.equal("viewers", c.info.Viewers, 3)
	told(a, 2, 3)
	told(b, 3)
	f.equal("viewers in the list", f.infoOf(id, "t12").Viewers, 3)
	c.leave()
	told(a, 2, 3, 2)
	told(b, 3, 2)
	b.leave()
	told(a, 2, 3, 2, 1)
	a.leave()
	f.awaitTerminal(id, "t12", "no viewers", func(t *container.TerminalInfo) bool { return t.Viewers == 0 })
}

func testTerminalInitialSize(f *fixture) {
	id := f.shared()
	for i := range 3 {
		opts := terminal(fmt.Sprint("t13", i), "stty", "size")
		opts.Rows, opts.Cols = 33, 101
		l := f.look(id, opts)
		f.equal("exit code", l.end(), 0)
		f.equal("size", l.shown(), "33 101\r\n")
	}
}

// sizesAsked makes each answer tell which question it is for: others have asked, too.
var sizesAsked atomic.Int64

// size asks a terminal's shell for the size.
func (l *look) size() string {
	l.f.Helper()
	n := sizesAsked.Add(1)
	answer := regexp.MustCompile(fmt.Sprintf(`(\d+ \d+)\r\nasked %d\r\n`, n))
	l.typeIn(fmt.Sprintf("stty size; echo 'ask'ed %d\n", n))
	var size []string
	l.until("an answer", func() bool {
		size = answer.FindStringSubmatch(l.text())
		return size != nil
	})
	return size[1]
}

func testTerminalSize(f *fixture) {
	id := f.shared()
	sized := func(rows, cols uint) func(*container.TerminalInfo) bool {
		return func(t *container.TerminalInfo) bool { return t.Rows == rows && t.Cols == cols }
	}
	a := f.look(id, terminal("t14", "sh"))
	f.equal("size", a.size(), "24 80")

	wide := terminal("t14")
	wide.Rows, wide.Cols = 30, 100
	b := f.look(id, wide) // to come is to do something
	f.equal("size as it was told", [2]uint{b.info.Rows, b.info.Cols}, [2]uint{30, 100})
	f.awaitTerminal(id, "t14", "the size of who came", sized(30, 100))

	f.equal("size where a types", a.size(), "24 80")
	f.equal("size where b types", b.size(), "30 100")
	f.must(a.Resize(40, 120))
	f.awaitTerminal(id, "t14", "the size that was set", sized(40, 120))
	f.equal("size where b types", b.size(), "30 100")
	f.equal("size where a types", a.size(), "40 120")

	for i := range uint(20) {
		f.must(b.Resize(10+i, 100+i))
	}
	f.equal("size after many", b.size(), "29 119")
	b.leave()
	f.equal("size where a types", a.size(), "40 120")
	a.typeIn("exit\n")
	a.awaitEOF()
	f.must(a.Resize(50, 130))
	a.mu.Lock()
	defer a.mu.Unlock()
	f.equal("the size that the other has set was told", slices.Contains(a.sizes, "30 100"), true)
	f.equal("the last size that was told", a.sizes[len(a.sizes)-1], "40 120")
}

func testTerminalReadOnly(f *fixture) {
	id := f.shared()
	a := f.look(id, terminal("t15", "cat"))
	a.typeIn("before\n")
	a.await("before\r\nbefore\r\n")

	opts := container.TerminalOptions{Name: "t15", ReadOnly: true}
	opts.Rows, opts.Cols = 50, 150
	r := f.look(id, opts)
	f.equal("made", r.made, false)
	r.await("before\r\nbefore\r\n")
	size := func() [2]uint {
		t := f.infoOf(id, "t15")
		return [2]uint{t.Rows, t.Cols}
	}
	f.equal("size", size(), [2]uint{24, 80})
	a.typeIn("after\n")
	r.await("after\r\nafter\r\n")

	f.must(r.Resize(51, 151))
	_, err := r.Write([]byte("refused\n"))
	f.class(err, container.ErrInvalidArgument)
	// Whatever these do, they have done when it has left.
	r.leave()
	f.awaitTerminal(id, "t15", "one viewer", func(t *container.TerminalInfo) bool { return t.Viewers == 1 })
	f.equal("size", size(), [2]uint{24, 80})
	f.equal("output", a.shown(), "before\r\nbefore\r\nafter\r\nafter\r\n")
}

// testTerminalLeaving: a terminal goes on when nobody looks, and so does what is kept of it.
func testTerminalLeaving(f *fixture) {
	id := f.shared()
	a := f.look(id, script("t16", "echo begin; head -n 1 > /tmp/line16; seq 1 1000; echo the end; sleep 6016"))
	a.await("begin\r\n")
	a.typeIn("go\n")
	f.poll("the line to be read", func() bool { return f.sh(id, "touch /tmp/line16; cat /tmp/line16") == "go" })
	for range 2 {
		f.must(a.Close())
	}
	a.leave()
	whole := "begin\r\ngo\r\n" + numbers(1, 1000) + "the end\r\n"
	f.awaitTerminal(id, "t16", "all output", func(t *container.TerminalInfo) bool {
		return t.Position == int64(len(whole))
	})
	t := f.infoOf(id, "t16")
	f.equal("running", t.Running, true)
	f.awaitTerminal(id, "t16", "no viewers", func(t *container.TerminalInfo) bool { return t.Viewers == 0 })
	f.awaitProcess(id, "sleep 6016")

	if _, err := a.Write([]byte("x")); err == nil {
		f.Fatal("a viewer that has left can type")
	}
	if code, err := a.ExitCode(f.ctx); err == nil {
		f.Fatalf("exit code %d of what was not waited for", code)
	}
	b := f.look(id, container.TerminalOptions{Name: "t16", ID: a.info.ID})
	b.await("the end\r\n")
	b.matches(whole)
	f.equal("output", b.shown(), whole)
}

// testTerminalTypedLeaving: what a viewer has typed is typed, though it leaves at once and amid
// output.
func testTerminalTypedLeaving(f *fixture) {
	id := f.shared()
	a := f.look(id, script("t17", "seq 1 300000 & cat > /tmp/typed17"))
	var want []string
	for i := range 20 {
		line := fmt.Sprintf("line %02d", i)
		want = append(want, line)
		l := f.look(id, terminal("t17"))
		l.typeIn(line + "\n")
		l.leave()
	}
	// Each came a way of its own: nobody promises the order.
	f.poll("all lines", func() bool {
		lines := strings.Split(f.sh(id, "touch /tmp/typed17; cat /tmp/typed17"), "\n")
		slices.Sort(lines)
		return slices.Equal(lines, want)
	})
	f.must(a.Close())
}

func testTerminalUnblocks(f *fixture) {
	id := f.shared()
	l := f.look(id, terminal("t18", "sleep", "6018"))
	f.awaitProcess(id, "sleep 6018")
	l.leave()
	if l.err == nil {
		f.Fatal("a viewer that has left is told more")
	}
	if _, err := l.Next(); err == nil {
		f.Fatal("a viewer that has left is told more")
	}
	f.equal("running", f.infoOf(id, "t18").Running, true)
}

// testTerminalUnblocksWrite: into a terminal that nobody reads, there is more to type than fits.
func testTerminalUnblocksWrite(f *fixture) {
	if !f.caps.RealProcesses {
		return // which take what is typed
	}
	id := f.shared()
	a := f.look(id, script("t19", "stty raw -echo; echo ready; exec sleep 6019"))
	a.await("ready")
	written := make(chan struct{})
	go func() {
		defer close(written)
		for range 1000 {
			if _, err := a.Write(make([]byte, 64<<10)); err != nil {
				return
			}
		}
		f.Error("64 MB were taken")
	}()
	b := f.look(id, terminal("t19"))
	a.leave()
	f.mustBePrompt("write", func() { <-written })
	b.until("the other to have left", func() bool { return slices.Contains(b.told(), 1) })
}
