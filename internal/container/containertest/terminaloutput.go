package containertest

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"

	"github.com/octobot-run/octobot/internal/container"
)

// Of a terminal's output, these are sure to be kept, and these are more than is.
const (
	fewNumbers  = 100_000 // 0.7 MB
	manyNumbers = 800_000 // 6.3 MB
)

// testTerminalFirstByte: a viewer is there before the command is.
func testTerminalFirstByte(f *fixture) {
	id := f.shared()
	for i := range 50 {
		l := f.look(id, terminal(fmt.Sprint("first", i%10), "echo", "x"))
		f.equal("made", l.made, true)
		f.equal("exit code", l.end(), 0)
		f.equal("output", l.shown(), "x\r\n")
		f.equal("replayed", l.replay(), "")
		l.leave()
	}
}

// testTerminalAllOutput: a viewer that takes what comes loses nothing, however much that is.
func testTerminalAllOutput(f *fixture) {
	l := f.look(f.shared(), script("t2", fmt.Sprintf("seq 1 %d; exit 7", manyNumbers)))
	f.equal("exit code", l.end(), 7)
	f.equal("missed", l.lost(), int64(0))
	l.matches(numbers(1, manyNumbers))
	f.equal("position", l.at(), int64(len(numbers(1, manyNumbers))))
}

func testTerminalBack(f *fixture) {
	id := f.shared()
	a := f.look(id, script("t3", fmt.Sprintf("seq 1 %d; cat", fewNumbers)))
	whole := numbers(1, fewNumbers)
	a.await(fmt.Sprintf("\n%d\r\n", fewNumbers))
	a.matches(whole)
	end := int64(len(whole))
	f.equal("position", a.at(), end)

	for _, since := range []int64{0, 1, 4095, 4096, 4097, 1 << 16, rand.Int64N(end), rand.Int64N(end), rand.Int64N(end),
		end - 1, end} {
		l := f.look(id, container.TerminalOptions{Name: "t3", ID: a.info.ID, Since: since})
		f.equal("position where it came", l.info.Position, since)
		l.until(fmt.Sprintf("all since %d", since), func() bool { return l.at() >= end })
		l.matches(whole)
		f.equal(fmt.Sprintf("output since %d", since), l.shown(), whole[since:])
		f.equal("missed", l.lost(), int64(0))
		f.equal("replayed", l.replay(), "")
		l.leave()
	}

	// And then comes what is new.
	l := f.look(id, a.back())
	l.typeIn("more\n")
	l.await("more\r\nmore\r\n")
	l.matches(whole + "more\r\nmore\r\n")
	f.equal("output", l.shown(), "more\r\nmore\r\n")
}

// testTerminalBackAgain: a viewer whose connection is cut wherever it likes gets every byte once.
func testTerminalBackAgain(f *fixture) {
	id := f.shared()
	opts := script("t4", fmt.Sprintf("head -n 1 > /dev/null; seq 1 %d; exit 7", fewNumbers))
	t := f.openTerminal(id, opts)
	_, err := io.WriteString(t, "\n")
	f.must(err)
	whole := "\r\n" + numbers(1, fewNumbers)
	info, _ := t.Opened()
	var got []byte
	var cuts []int
	for {
		var err error
		for range 1 + rand.IntN(4) {
			var e container.TerminalEvent
			if e, err = t.Next(); err != nil {
				break
			}
			got = append(got, e.Data...)
			if e.Missed != 0 || e.Replayed || e.Position != int64(len(got)) {
				f.Fatalf("cut at %v: %d missed, replayed: %t, position %d; want %d", cuts, e.Missed, e.Replayed,
					e.Position, len(got))
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		f.must(err)
		f.must(t.Close())
		cuts = append(cuts, len(got))
		t = f.openTerminal(id, container.TerminalOptions{Name: "t4", ID: info.ID, Since: int64(len(got))})
	}
	if string(got) != whole {
		f.Fatalf("cut at %v: %d bytes, which end with %s; want %d", cuts, len(got), show(tailOf(string(got))),
			len(whole))
	}
	code, err := t.ExitCode(f.ctx)
	f.must(err)
	f.equal("exit code", code, 7)
}

func testTerminalReplay(f *fixture) {
	id := f.shared()
	a := f.look(id, script("t5", "echo one; echo two; cat"))
	a.await("two\r\n")

	b := f.look(id, terminal("t5"))
	f.equal("position where it came", b.info.Position, int64(10))
	b.await("one\r\ntwo\r\n")
	f.equal("output that is numbered", b.shown(), "")
	f.equal("position", b.at(), int64(10))
	f.equal("missed", b.lost(), int64(0))

	b.typeIn("three\n")
	for _, l := range []*look{a, b} {
		l.await("three\r\nthree\r\n")
		f.equal("position", l.at(), int64(24))
	}
	f.equal("output that is numbered", b.shown(), "three\r\nthree\r\n")
	if strings.Contains(b.replay(), "three") {
		f.Fatalf("what came afterwards is shown once more: %s", show(b.replay()))
	}
}

// testTerminalReplayAmid: between what is shown once more and what is new, nothing is lost or
// doubled.
func testTerminalReplayAmid(f *fixture) {
	id := f.shared()
	a := f.look(id, script("t6", fmt.Sprintf("head -n 1 > /dev/null; seq 1 %d; cat", fewNumbers)))
	a.typeIn("\n")
	whole := "\r\n" + numbers(1, fewNumbers)
	var looks []*look
	for range 5 {
		looks = append(looks, f.look(id, terminal("t6")))
	}
	for _, l := range append(looks, a) {
		l.await(fmt.Sprintf("\n%d\r\n", fewNumbers))
		l.matches(whole)
		f.equal("missed", l.lost(), int64(0))
	}
	for _, l := range looks {
		from := len(whole) - len(l.shown())
		if before := whole[max(0, from-64):from]; !strings.HasSuffix(l.replay(), before) {
			f.Fatalf("shown once more is %s at the end; want %s", show(tailOf(l.replay())), show(before))
		}
		if n := strings.Count(l.text(), "\n12345\r\n"); n != 1 {
			f.Fatalf("a line is shown %d times", n)
		}
	}
}

func testTerminalMissed(f *fixture) {
	id := f.shared()
	a := f.look(id, script("t7", fmt.Sprintf(
		"echo begin; head -n 1 > /tmp/line7; seq 1 %d; echo the end; cat", manyNumbers)))
	a.await("begin\r\n")
	a.typeIn("go\n")
	f.poll("the line to be read", func() bool { return f.sh(id, "touch /tmp/line7; cat /tmp/line7") == "go" })
	a.leave()
	whole := "begin\r\ngo\r\n" + numbers(1, manyNumbers) + "the end\r\n"
	a.matches(whole)
	end := int64(len(whole))
	f.awaitTerminal(id, "t7", "all output", func(t *container.TerminalInfo) bool { return t.Position == end })

	for _, since := range []int64{0, 7, a.at()} {
		l := f.look(id, container.TerminalOptions{Name: "t7", ID: a.info.ID, Since: since})
		l.await("the end\r\n")
		if since < 1<<20 && l.lost() == 0 { // else a has had nearly all before it left
			f.Fatalf("nothing is missed since %d, after %d bytes", since, end)
		}
		f.equal("position", l.at(), end)
		l.matches(whole)
		f.equal("since, missed and got", since+l.lost()+l.got(), end)
		f.equal("position where it came", l.info.Position, since+l.lost())
		l.leave()
	}

	l := f.look(id, terminal("t7"))
	f.equal("position where it came", l.info.Position, end)
	l.await("the end\r\n")
	f.equal("missed of what is shown once more", l.lost(), int64(0))
	f.equal("position", l.at(), end)
	l.typeIn("more\n")
	l.await("more\r\nmore\r\n")
	f.equal("output that is numbered", l.shown(), "more\r\nmore\r\n")
}

// got is how much has come that is numbered.
func (l *look) got() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, p := range l.pieces {
		n += len(p.data)
	}
	return int64(n)
}

// testTerminalSlow: a viewer that takes nothing does not hold up another, and gets on with what is
// kept when it takes something again.
func testTerminalSlow(f *fixture) {
	id := f.shared()
	opts := script("t8", fmt.Sprintf("head -n 1 > /dev/null; seq 1 %d; echo the end; cat", manyNumbers))
	slow := f.openTerminal(id, opts)
	whole := "\r\n" + numbers(1, manyNumbers) + "the end\r\n"
	info, _ := slow.Opened()
	fast := f.look(id, container.TerminalOptions{Name: "t8", ID: info.ID})
	fast.typeIn("\n")
	f.mustBePrompt("the fast one", func() { fast.await("the end\r\n") })
	fast.matches(whole)
	f.equal("missed by the fast one", fast.lost(), int64(0))

	behind := f.lookOn(slow, opts)
	behind.await("the end\r\n")
	if behind.lost() == 0 {
		f.Fatalf("the slow one has missed nothing of %d bytes", len(whole))
	}
	behind.matches(whole)
	fast.typeIn("more\n")
	for _, l := range []*look{fast, behind} {
		l.await("more\r\nmore\r\n")
		l.matches(whole + "more\r\nmore\r\n")
	}
}

// testTerminalStalled: for one that takes nothing, a terminal waits for a while at most.
func testTerminalStalled(f *fixture) {
	id := f.shared()
	opts := script("t9", fmt.Sprintf("seq 1 %d; exit 7", manyNumbers))
	t := f.openTerminal(id, opts)
	f.awaitTerminal(id, "t9", "its end", func(t *container.TerminalInfo) bool { return !t.Running })
	l := f.lookOn(t, opts)
	f.equal("exit code", l.end(), 7)
	if l.lost() == 0 {
		f.Fatal("who took nothing has missed nothing")
	}
	whole := numbers(1, manyNumbers)
	l.matches(whole)
	f.equal("position", l.at(), int64(len(whole)))
}
