package vtmode

import (
	"strings"
	"testing"
	"unsafe"
)

func track(parts ...string) *Tracker {
	t := &Tracker{}
	for _, part := range parts {
		_, _ = t.Write([]byte(part))
	}
	return t
}

// whatShows is the part of a state that AppendSet brings about.
func whatShows(t *Tracker) state {
	s := t.state
	s.modes.set(synchronized, false)
	s.link = false
	if s.alternate != alternateAndCursor {
		s.saved[0] = pen{}
	}
	s.saved[1] = pen{}
	return s
}

// checkRestores fails if what t appends does not do what it promises.
func checkRestores(t *testing.T, tracked Tracker) {
	t.Helper()
	set, reset := string(tracked.AppendSet(nil)), string(tracked.AppendReset(nil))
	if got, want := whatShows(track(set)), whatShows(&tracked); got != want {
		t.Errorf("after %q a fresh terminal is in the state\n%+v, want\n%+v", set, got, want)
	}
	_, _ = tracked.Write([]byte(reset))
	tracked.state.saved = [2]pen{}
	if tracked.state != (state{}) || tracked.parser.at != inText {
		t.Errorf("after %q the terminal is in the state %+v", reset, tracked.state)
	}
	if again := tracked.AppendReset(nil); len(again) > 0 {
		t.Errorf("after the reset %q another is %q", reset, again)
	}
}

func TestTracker(t *testing.T) {
	tests := []struct{ name, output, set, reset string }{
		{"nothing", "", "", ""},
		{"text", "naïve\r\n\tx\a", "", ""},
		{"movements", "\x1b[2J\x1b[1;1H\x1b[K\x1b#8\x1bM\x1b[4$w", "", ""},

		{"private mode", "\x1b[?2004h", "\x1b[?2004h", "\x1b[?2004l"},
		{"private mode, off again", "\x1b[?2004h\x1b[?2004l", "", ""},
		{"modes at once", "\x1b[?1;1000;1006h", "\x1b[?1h\x1b[?1000h\x1b[?1006h", "\x1b[?1006l\x1b[?1000l\x1b[?1l"},
		{"last set last", "\x1b[?1006h\x1b[?1015h\x1b[?1006h", "\x1b[?1015h\x1b[?1006h", "\x1b[?1006l\x1b[?1015l"},
		{"on by default", "\x1b[?25;7;8;1034h", "", ""},
		{"cursor hidden", "\x1b[?25l", "\x1b[?25l", "\x1b[?25h"},
		{"no wrap", "\x1b[?7l", "\x1b[?7l", "\x1b[?7h"},
		{"mouse off", "\x1b[?1000h\x1b[?1003h\x1b[?1003l", "", ""},
		{"synchronized", "\x1b[?2026h", "", "\x1b[?2026l"},
		{"ANSI modes", "\x1b[4;20h\x1b[12h", "\x1b[4h\x1b[20h", "\x1b[20l\x1b[4l"},
		{"not a mode", "\x1b[>25l\x1b[25l\x1b[?0;;99999h\x1b[?5$h\x1b[?5?h\x1b[25h", "\x1b[25h", "\x1b[25l"},

		{"alternate screen", "\x1b[?1h\x1b[?1049h", "\x1b[?1049h\x1b[?1h", "\x1b[?1l\x1b[?1049l"},
		{"old alternate screen", "\x1b[?47h", "\x1b[?47h", "\x1b[?47l"},
		{"alternate screen, left otherwise", "\x1b[?47h\x1b[?1049l", "", ""},
		{"alternate screen, twice", "\x1b[?1047h\x1b[?1049h", "\x1b[?1047h", "\x1b[?1047l"},
		{"alternate screen restores", "\x1b[31m\x1b[?1049h\x1b[m\x1b[?1049l", "\x1b[31m", "\x1b[m"},
		{"alternate screen, coloured", "\x1b[31m\x1b[?1049h\x1b[1;32m",
			"\x1b[31m\x1b[?1049h\x1b[0;1;32m", "\x1b[m\x1b[?1049l\x1b[m"},

		{"keypad", "\x1b=", "\x1b=", "\x1b>"},
		{"keypad, off", "\x1b=\x1b>", "", ""},
		{"keypad as mode", "\x1b[?66h", "\x1b=", "\x1b>"},
		{"cursor style", "\x1b[6 q", "\x1b[6 q", "\x1b[0 q"},
		{"cursor style, default", "\x1b[6 q\x1b[ q", "", ""},

		{"region", "\x1b[2;20r", "\x1b[2;20r", "\x1b7\x1b[r\x1b8"},
		{"region on the alternate screen", "\x1b[?1049h\x1b[;20r", "\x1b[?1049h\x1b[1;20r", "\x1b[r\x1b[?1049l"},
		{"region without end", "\x1b[3r", "\x1b[3r", "\x1b7\x1b[r\x1b8"},
		{"region of all", "\x1b[2;20r\x1b[r", "", ""},
		{"region of nothing", "\x1b[5;5r", "", ""},
		{"modes restored", "\x1b[?5;20r", "", ""},

		{"attributes", "\x1b[1;2;3;4;5;6;7;8;9;53m", "\x1b[1;2;3;5;6;7;8;9;4;53m", "\x1b[m"},
		{"attributes off", "\x1b[1;2;3;4;5;6;7;8;9;53m\x1b[22;23;24;25;27;28;29;55m", "", ""},
		{"attributes reset", "\x1b[1;31m\x1b[m\x1b[7m\x1b[0m\x1b[3m\x1b[1;m", "", ""},
		{"underlines", "\x1b[21m\x1b[4:3m", "\x1b[4:3m", "\x1b[m"},
		{"no underline", "\x1b[4m\x1b[4:0m", "", ""},
		{"colours", "\x1b[35;102m", "\x1b[35;102m", "\x1b[m"},
		{"bright and dark", "\x1b[95;42m", "\x1b[95;42m", "\x1b[m"},
		{"default colours", "\x1b[35;42;58;5;3m\x1b[39;49;59m", "", ""},
		{"palette", "\x1b[38;5;200;48;5;17;1m", "\x1b[1;38;5;200;48;5;17m", "\x1b[m"},
		{"24 bits", "\x1b[38;2;1;2;3;48;2;255;0;9;4m", "\x1b[4;38;2;1;2;3;48;2;255;0;9m", "\x1b[m"},
		{"colons", "\x1b[38:2::1:2:3;48:2:4:5:6;58:5:9m", "\x1b[38;2;1;2;3;48;2;4;5;6;58:5:9m", "\x1b[m"},
		{"colour of the underline", "\x1b[58;2;1;2;3m", "\x1b[58:2::1:2:3m", "\x1b[m"},
		{"incomplete colours", "\x1b[38m\x1b[38;5m\x1b[38:2:1m\x1b[38:5m\x1b[48;9;1m", "\x1b[1;30m", "\x1b[m"},
		{"not attributes", "\x1b[?1m\x1b[1 m\x1b[<1m", "", ""},

		{"line drawing", "\x1b(0", "\x1b(0", "\x1b(B"},
		{"line drawing in G1", "\x1b)0\x0e", "\x1b)0\x0e", "\x1b)B\x0f"},
		{"shifted back", "\x0eqqq\x0f", "", ""},
		{"shifted again", "\x0e\x0f\x0e", "\x0e", "\x0f"},
		{"other sets", "\x1b(%5\x1bn", "\x1b(%5\x1bn", "\x1b(B\x0f"},
		{"ASCII", "\x1b(0\x1b(B", "", ""},

		{"saved with the cursor", "\x1b[1m\x1b7\x1b[31m\x0e\x1b8", "\x1b[1m", "\x1b[m"},
		{"saved otherwise", "\x1b[1m\x1b[s\x1b[0m\x1b[u\x1b[?1048h\x1b[m\x1b[?1048l", "\x1b[1m", "\x1b[m"},

		{"other keys", "\x1b[>4;2m", "\x1b[>4;2m", "\x1b[>4m"},
		{"no other keys", "\x1b[>4;2m\x1b[>4;m", "", ""},
		{"no modified keys", "\x1b[>4;2m\x1b[>m\x1b[>4;1m\x1b[>4n", "", ""},
		{"keyboard", "\x1b[>1u\x1b[>5u", "\x1b[>1u\x1b[>5u", "\x1b[<2u"},
		{"keyboard, popped", "\x1b[>1u\x1b[>5u\x1b[<u\x1b[<9u", "", ""},
		{"keyboard, set", "\x1b[=5u\x1b[=2;2u\x1b[=4;3u", "\x1b[=3u", "\x1b[=0u"},
		{"keyboard, set and pushed", "\x1b[=1u\x1b[>3u", "\x1b[=1u\x1b[>3u", "\x1b[<1u\x1b[=0u"},
		{"keyboard of each screen", "\x1b[>1u\x1b[?1049h\x1b[>3u",
			"\x1b[>1u\x1b[?1049h\x1b[>3u", "\x1b[<1u\x1b[?1049l\x1b[<1u"},
		{"keyboard of the screen left", "\x1b[?1049h\x1b[>3u\x1b[?1049l", "", ""},
		{"keyboard, pushed often", strings.Repeat("\x1b[>1u", 99), "\x1b[=1u" + strings.Repeat("\x1b[>1u", 7),
			"\x1b[<7u\x1b[=0u"},

		{"title", "\x1b]0;vim\a", "\x1b]2;vim\x1b\\", "\x1b]2;\x1b\\"},
		{"title, other end", "\x1b]2;vim: ä;b\x1b\\", "\x1b]2;vim: ä;b\x1b\\", "\x1b]2;\x1b\\"},
		{"title with controls", "\x1b]2;a\nb\x7f\xc2\x9cc\xff\t\a", "\x1b]2;abc\x1b\\", "\x1b]2;\x1b\\"},
		{"title, put aside", "\x1b]2;sh\a\x1b[22;0t\x1b]2;vim\a",
			"\x1b]2;sh\x1b\\\x1b[22;2t\x1b]2;vim\x1b\\", "\x1b[23;2t\x1b]2;\x1b\\"},
		{"title of before", "\x1b[22;2t\x1b]2;vim\a", "\x1b[22;2t\x1b]2;vim\x1b\\", "\x1b[23;2t"},
		{"title restored", "\x1b[22t\x1b]2;vim\a\x1b[23t\x1b[22;1t\x1b[23;1t", "", ""},
		{"title cancelled", "\x1b]2;a\x18\x1b]2;b\x1b[K\x1b]2;c\x1a", "", ""},
		{"not a title", "\x1b]1;a\a\x1b]2\a\x1b];a\a\x1b]\a\x1b]112\a", "", ""},
		{"link", "\x1b]8;;http://x\x1b\\x", "", "\x1b]8;;\x1b\\"},
		{"link ended", "\x1b]8;id=1;http://x\ax\x1b]8;;\a", "", ""},

		{"RIS", "\x1b[?1049h\x1b[31m\x1b[?1h\x1b=\x1b[>1u\x1bc", "", ""},
		{"DECSTR", "\x1b[31m\x1b[?1;6;25h\x1b[?7;25l\x1b[4h\x1b=\x1b[2;3r\x1b(0\x1b[?2004h\x1b[!p",
			"\x1b[?2004h", "\x1b[?2004l"},

		{"cancelled", "\x1b[?1\x18h\x1b[?1\x1ah", "", ""},
		{"begun anew", "\x1b[3\x1b[?1h", "\x1b[?1h", "\x1b[?1l"},
		{"controls in the midst", "\x1b[?\r\n1\x7f\x0eh", "\x1b[?1h\x0e", "\x0f\x1b[?1l"},
		{"text in the midst", "\x1b[?1éh\x1bé=", "", ""},
		{"eight bits are text", "\x9b?1h\xc2\x9b?1h\x9d2;x\a", "", ""},
		{"unfinished", "\x1b[?1h\x1b[?", "\x1b[?1h", "\x18\x1b[?1l"},
		{"unfinished string", "\x1b]2;a", "", "\x18"},
		{"unfinished end", "\x1bPq\x1b", "", "\x18"},
		{"strings", "\x1bP$q\a\x1b[?1h\n\x1b\\\x1b_G\a=\x1b\\\x1bXa=\x1b\\\x1b^a=\x1b\\", "\x1b[?1h", "\x1b[?1l"},
		{"long control", "\x1b[?" + strings.Repeat("1;", maxHeld) + "1h", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tracked := track(tt.output)
			if got := string(tracked.AppendSet(nil)); got != tt.set {
				t.Errorf("set with %q, want %q", got, tt.set)
			}
			if got := string(tracked.AppendReset(nil)); got != tt.reset {
				t.Errorf("reset with %q, want %q", got, tt.reset)
			}
			checkRestores(t, *tracked)
			if split := track(strings.Split(tt.output, "")...); split.state != tracked.state {
				t.Errorf("read char by char, the state is\n%+v, want\n%+v", split.state, tracked.state)
			}
		})
	}
}

func TestTrackerTells(t *testing.T) {
	tracked := track("\x1b[?1049h\x1b]2;vim\a")
	if !tracked.Alternate() || tracked.Title() != "vim" {
		t.Errorf("alternate %v, title %q", tracked.Alternate(), tracked.Title())
	}
	other := *tracked
	_, _ = other.Write([]byte("\x1b[?1049l\x1b]2;sh\a"))
	if other.Alternate() || other.Title() != "sh" || !tracked.Alternate() || tracked.Title() != "vim" {
		t.Error("a copy is not a tracker of its own")
	}
}

func TestTrackerIsBounded(t *testing.T) {
	if size := unsafe.Sizeof(Tracker{}); size > 6<<10 {
		t.Errorf("a tracker takes %d bytes", size)
	}
	var b []byte
	for n := range 3000 {
		b = mode(n+2100).append(b, false)
	}
	tracked := track(string(b))
	if tracked.state.modes.n != len(tracked.state.modes.list) {
		t.Errorf("%d modes", tracked.state.modes.n)
	}
	checkRestores(t, *tracked)

	tracked = track("\x1b]2;x" + strings.Repeat("ä", 5000) + "\a")
	if want := "x" + strings.Repeat("ä", 511); tracked.Title() != want {
		t.Errorf("a title of %d bytes, want %d", len(tracked.Title()), len(want))
	}
	checkRestores(t, *tracked)
}

// TestDrawn: lines below each other are no picture, and one that has scrolled away is none.
func TestDrawn(t *testing.T) {
	for output, want := range map[string]bool{
		"":                                    false,
		"$ ls\r\na\r\nb\r\n$ \r\x1b[K\x1b[3C": false,
		"\x1b[?1049h":                         true,
		"\x1b[?1049h\x1b[3;1Hx\x1b[?1049l$ ":  false,
		"\x1b[H\x1b[Jtop\r\n1\r\n2":           true,
		"\x1b[4dx":                            true,
		"\x1b[2;2fx":                          true,
		"\x1b[H1\n2\n3\n":                     false,
		"\x1b[H1\n2\x1b[?1;2c\n3":             true,
		"\x1bH":                               false,
	} {
		var tracker Tracker
		for i := range len(output) { // it may be split anywhere
			_, _ = tracker.Write([]byte(output[i : i+1]))
		}
		if got := tracker.Drawn(3); got != want {
			t.Errorf("after %q: %t", output, got)
		}
	}
}
