package vtmode

import (
	"bytes"
	"slices"
	"testing"
)

var seeds = []string{
	"\x1b[?1049h\x1b[22;2t\x1b[?1h\x1b=\x1b[?2004h\x1b[?1004h\x1b[1;24r\x1b[?12h\x1b[>4;2m\x1b[>c\x1b[6n\x1b]11;?\a",
	"\x1b[38;2;1;2;3;48;5;9m\x1b[4:3;58:2::1:2:3m\x1b7\x1b[m\x1b8\x1b(0\x0eqq\x0f\x1b)B",
	"\x1b[=1u\x1b[>5u\x1b[<u\x1b[?u\x1b[6 q\x1b[?47h\x1b[!p\x1b[?1002;1006h\x1b[?2026h\x1b[4hä\x18\x1bc",
	"\x1bP+q544e\x1b\\\x1b_Ga=q;\x1b\\\x1b]52;c;?\x1b\\\x1b]2;x\xc2\x9c\x7fy\a\x1b]8;;u\a\x1b[3\x1b[\r31m\x05\a",
	"\x1bPq\xfe\x1b[c\x1b\\\x1b]2;\xfe\xfe\a\x1b]52;\xfe\x18\x1b_G\xfe\x1b\\\x1b[\xfem",
}

// blown gives b with a byte that UTF-8 has no use for blown up to more than is held, for a fuzzer
// does not find that by itself.
func blown(b []byte) []byte {
	return bytes.ReplaceAll(b, []byte("\xfe"), bytes.Repeat([]byte("0"), maxHeld))
}

// cut gives b in parts whose lengths depend on by.
func cut(b []byte, by uint8) (parts [][]byte) {
	for n := int(by); len(b) > 0; n = (n*7 + 3) & 0xff {
		at := min(len(b), 1+n%(1+int(by)))
		parts = append(parts, b[:at])
		b = b[at:]
	}
	return parts
}

// FuzzTracker is output of any kind: how it is split makes no difference, and what a tracker
// appends does what it promises.
func FuzzTracker(f *testing.F) {
	for i, seed := range seeds {
		f.Add([]byte(seed), uint8(i))
	}
	f.Fuzz(func(t *testing.T, b []byte, by uint8) {
		b = blown(b)
		tracked := track(string(b))
		var split Tracker
		for _, part := range cut(b, by) {
			_, _ = split.Write(part)
		}
		if split.state != tracked.state || split.parser.at != tracked.parser.at {
			t.Errorf("in parts the state is\n%+v, want\n%+v", split.state, tracked.state)
		}
		if set := tracked.AppendSet(nil); len(set) > 8<<10 {
			t.Errorf("%d bytes to set the state", len(set))
		}
		checkRestores(t, *tracked)
	})
}

// FuzzReplay is output of any kind, of which the start has been lost: how the rest is split makes
// no difference, it asks nothing, and it does to the modes what it did.
func FuzzReplay(f *testing.F) {
	for i, seed := range seeds {
		f.Add([]byte(seed), uint16(i), uint8(i))
	}
	f.Fuzz(func(t *testing.T, b []byte, lost uint16, by uint8) {
		b = blown(b)
		before, kept := b[:min(len(b), int(lost))], b[min(len(b), int(lost)):]
		begin := Replay{Tracker: *track(string(before))}
		whole, split := begin, begin
		set := whole.AppendSet(nil)
		shown := whole.Append(nil, kept)
		var inParts []byte
		for _, part := range cut(kept, by) {
			inParts = split.Append(inParts, part)
		}
		if !bytes.Equal(inParts, shown) {
			t.Errorf("in parts %q is shown as %q, want %q", kept, inParts, shown)
		}
		checkAsksNothing(t, set)
		checkAsksNothing(t, shown)

		viewer := track(string(set), string(shown))
		_, _ = viewer.Write(whole.Flush(nil))
		tracked := track(string(b))
		if got, want := inAnyOrder(viewer), inAnyOrder(tracked); got != want && !knowsLess(&begin, &whole) {
			t.Errorf("after %q, %q the state is\n%+v, want\n%+v", set, shown, got, want)
		}
		if whole.state != tracked.state {
			t.Errorf("the tracker of the replay has the state\n%+v, want\n%+v", whole.state, tracked.state)
		}
	})
}

// inAnyOrder is what shows of a state, but for the order of modes.
func inAnyOrder(t *Tracker) state {
	s := whatShows(t)
	slices.Sort(s.modes.list[:s.modes.n])
	return s
}

// knowsLess tells that a viewer can't know all: a string was too long to be held where the replay
// begins or ends, or a cursor was saved before.
func knowsLess(begin, end *Replay) bool {
	return begin.parser.long || begin.state.saved != [2]pen{} || end.passing
}

func checkAsksNothing(t *testing.T, shown []byte) {
	t.Helper()
	var p parser
	for b := shown; len(b) > 0; {
		n, what, seq := p.next(b)
		var c control
		var asks bool
		switch {
		case what == text:
			asks = bytes.ContainsAny(b[:n], "\x05\a")
		case what == complete && seq[1] == '[':
			asks = !c.parse(seq) || c.asks()
		case what == complete:
			asks = leftOut(seq)
		}
		if asks {
			t.Errorf("%q in %q is left", b[:n], shown)
		}
		b = b[n:]
	}
}
