package vtmode

import (
	"strings"
	"testing"
)

// replay gives what is shown again of parts, and what a flush adds.
func replay(before string, parts ...string) (shown, flushed string) {
	r := Replay{Tracker: *track(before)}
	var b []byte
	for _, part := range parts {
		b = r.Append(b, []byte(part))
	}
	n := len(b)
	b = r.Flush(b)
	return string(b[:n]), string(b[n:])
}

func TestReplayLeavesOut(t *testing.T) {
	for _, output := range []string{
		"\x05", "\a", "\x1bZ",
		"\x1b[c", "\x1b[0c", "\x1b[>c", "\x1b[>0c", "\x1b[=c",
		"\x1b[5n", "\x1b[6n", "\x1b[?6n", "\x1b[?15n", "\x1b[?996n",
		"\x1b[?2026$p", "\x1b[4$p", "\x1b[>q", "\x1b[>0q", "\x1b[?u", "\x1b[?4m",
		"\x1b[11t", "\x1b[13t", "\x1b[14t", "\x1b[14;2t", "\x1b[15t", "\x1b[16t", "\x1b[18t", "\x1b[19t",
		"\x1b[20t", "\x1b[21t", "\x1b[2t", "\x1b[8;24;80t",
		"\x1b[x", "\x1b[1x", "\x1b[1;1;1;1;2;2*y", "\x1b[?1;1;0S", "\x1b[1$w", "\x1b[1$u", "\x1b[&u", "\x1b[\"v",
		"\x1b[#R", "\x1b[1;1;2;2#|", "\x1b['|", "\x1b[1+x", "\x1b[5i", "\x1b[> q",
		"\x1b]4;1;?\a", "\x1b]4;1;#fff;2;?\x1b\\", "\x1b]5;0;?\a", "\x1b]10;?\a", "\x1b]11;?\x1b\\", "\x1b]12;?\a",
		"\x1b]19;?\a", "\x1b]010;?\a", "\x1b]3;?WM_NAME\a", "\x1b]50;?\a", "\x1b]22;?\a",
		"\x1b]21;foreground=?\a", "\x1b]60;\a",
		"\x1b]52;c;?\a", "\x1b]52;c;aGk=\x1b\\", "\x1b]9;done\a", "\x1b]777;notify;a;b\a", "\x1b]99;;x\x1b\\",
		"\x1b]1337;ReportCellSize\a", "\x1b]1337;Copy=:aGk=\a",
		"\x1bP$qm\x1b\\", "\x1bP$q q\x1b\\", "\x1bP+q544e\x1b\\", "\x1bP+Q544e\x1b\\", "\x1bP1$qr\x1b\\",
		"\x1bP@kitty-cmd{}\x1b\\",
		"\x1b_Gi=31,s=1,v=1,a=q,t=d,f=24;AAAA\x1b\\", "\x1b_Gf=100,m=1;AAAA\x1b\\", "\x1bXx\x1b\\", "\x1b^x\x1b\\",
		"\x1b[?1004h", "\x1b[?2048h",

		"\x1b[6\x18", "\x1b]2;x\x1a", "\x1b[1?h", "\x1b[? 1h", // without effect
		"\x1b]5\n2;c;?\a", "\x1b[\x7f6n", "\x1b[\x056n", // a question to some
		"\x1b]52;c;" + strings.Repeat("aGk=", 5000) + "\a",
		"\x1b]4" + strings.Repeat(";1;#fff", 5000) + ";2;?\a",
		"\x1b_G" + strings.Repeat("A", 9000) + "\x1b\\",
		"\x1b[" + strings.Repeat("1;", 5000) + "n",
	} {
		name := output[:min(len(output), 30)]
		for _, parts := range [][]string{{"a" + output + "b"}, strings.Split("a"+output+"b", "")} {
			if got, flushed := replay("", parts...); got != "ab" {
				t.Errorf("%q is shown as %q", name, got)
			} else if want := map[string]string{"\x1b[?1004h": output, "\x1b[?2048h": output}[output]; flushed != want {
				t.Errorf("%q is flushed as %q, want %q", name, flushed, want)
			}
		}
	}
}

func TestReplayPassesOn(t *testing.T) {
	for _, output := range []string{
		"text, ä\r\n\t\b\x00\x7f", "\x0eq\x0f", "\x80\xff",
		"\x1b[1;31m\x1b[H\x1b[2J\x1b[?25l\x1b[?1049h\x1b[?1;2004h\x1b[4h\x1b[2 q\x1b[5\"p\x1b[!p",
		"\x1b[>4;2m\x1b[>4n\x1b[>1u\x1b[<u\x1b[=1u\x1b[u\x1b[s\x1b[1S\x1b[?0c\x1b[?1$h", "\x1b[22;2t\x1b[23;0t",
		"\x1b7\x1b8\x1b(0\x1b=\x1bc\x1bM\x1b#8", "\x1b\\",
		"\x1b]0;what;?\a", "\x1b]2;x\x1b\\", "\x1b]8;;http://x/?a;?b\a", "\x1b]7;file://x\a", "\x1b]133;A\a",
		"\x1b]4;1;#fff\a", "\x1b]11;#000\x1b\\", "\x1b]104\a",
		"\x1bPq#1~~\x1b\\", "\x1bP0;1;0q\"1;1;1;1#0~\x1b\\",
		"\x1bPq" + strings.Repeat("~", 9000) + "\r\n\a\x1b\\", "\x1b]2;" + strings.Repeat("x", 9000) + "\a",
	} {
		for _, parts := range [][]string{{output}, strings.SplitAfter(output, "")} {
			if got, flushed := replay("", "a", strings.Join(parts, ""), "b"); got != "a"+output+"b" || flushed != "" {
				t.Errorf("%q is shown as %q, then %q", output, got, flushed)
			}
		}
	}
}

func TestReplay(t *testing.T) {
	long := strings.Repeat("x", maxHeld)
	tests := []struct{ name, before, output, shown, flushed string }{
		{"begins in a character", "", "\x84\xa4b\x84", "b\x84", ""},
		{"begins in a sequence", "\x1b[?10", "49h\x84", "\x1b[?1049h\x84", ""},
		{"begins in a question", "\x1b[", "6nb", "b", ""},
		{"begins in a title", "\x1b]2;a", "b\ac", "\x1b]2;ab\ac", ""},
		{"begins in a long title", "\x1b]2;" + long, "b\ac", "c", ""},
		{"begins in a long image", "\x1bPq" + long, "~~\x1b\\c", "c", ""},
		{"begins in an end", "\x1b]2;a\x1b", "\\c", "\x1b]2;a\x1b\\c", ""},
		{"begins in a long end", "\x1bPq" + long + "\x1b", "\\c", "c", ""},
		{"ends in a sequence", "", "a\x1b[?1", "a", "\x1b[?1"},
		{"ends in an ESC", "", "a\x1b", "a", "\x1b"},
		{"ends in a title", "", "a\x1b]2;x", "a", "\x1b]2;x"},
		{"ends in an end", "", "a\x1b]2;x\x1b", "a", "\x1b]2;x\x1b"},
		{"ends in a long title", "", "\x1b]2;" + long, "\x1b]2;" + long, ""},
		{"ends in a long end", "", "\x1b]2;" + long + "\x1b", "\x1b]2;" + long, "\x1b"},
		{"ends in a long clip", "", "\x1b]52;c;" + long, "", "\x1b]9999;"},
		{"ends in a long graphic", "", "\x1b_G" + long + "\x1b", "", "\x1b^\x1b"},
		{"ends in a long control", "", "\x1b[" + strings.Repeat("1", maxHeld), "", "\x1b[ 0"},
		{"ends in long nonsense", "", "\x1b" + strings.Repeat("(", maxHeld), "", "\x1b  "},
		{"ends as it began", "\x1bPq" + long, long, "", "\x1b^"},
		{"unfinished before", "\x1b[", "", "", "\x1b["},
		{"long title cancelled", "", "\x1b]2;" + long + "\x18a", "\x1b]2;" + long + "\x18a", ""},
		{"long title broken off", "", "\x1b]2;" + long + "\x1b[ca", "\x1b]2;" + long + "\x18a", ""},
		{"broken off", "", "\x1b]2;x\x1b[ca\x1b[3\x1b[m", "a\x1b[m", ""},
		{"questions within questions", "", "\x1b[\x1b[c6n\x1b[\x1b[6nc", "6nc", ""},
		{"controls in the midst", "", "\x1b[3\r\n\a1m", "\r\n\x1b[31m", ""},
		{"text in the midst", "", "\x1b[3ä1m", "ä1m", ""},
		{"some modes report", "", "\x1b[?1000;1004;1006h", "\x1b[?1000;1006h", "\x1b[?1004h"},
		{"a mode that reported", "", "\x1b[?1004h\x1b[?2048h\x1b[?1004l\x1b[?2048l", "\x1b[?1004l\x1b[?2048l", ""},
		{"a mode set before", "\x1b[?1004h", "a", "a", "\x1b[?1004h"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, parts := range [][]string{{tt.output}, strings.Split(tt.output, "")} {
				if shown, flushed := replay(tt.before, parts...); shown != tt.shown || flushed != tt.flushed {
					t.Errorf("shown are %q and %q, want %q and %q", shown, flushed, tt.shown, tt.flushed)
				}
			}
		})
	}
}

func TestReplayGoesOnAsItIs(t *testing.T) {
	var r Replay
	shown := string(r.Flush(r.Append(nil, []byte("a\x1b["))))
	shown = string(r.Append([]byte(shown), []byte("6n\a\x1b[?1h")))
	if want := "a\x1b[6n\a\x1b[?1h"; shown != want {
		t.Errorf("shown is %q, want %q", shown, want)
	}
	if again := r.Flush(nil); len(again) > 0 {
		t.Errorf("flushed again: %q", again)
	}
	if reset := string(r.AppendReset(nil)); reset != "\x1b[?1l" {
		t.Errorf("reset with %q", reset)
	}
}

func TestReplaySetsNothingThatReports(t *testing.T) {
	r := Replay{Tracker: *track("\x1b[?1004;1;2048h")}
	if got, want := string(r.AppendSet(nil)), "\x1b[?1h"; got != want {
		t.Errorf("set with %q, want %q", got, want)
	}
}

// TestReplayHeight: a program that has all lines of its terminal scroll has all of another one's.
func TestReplayHeight(t *testing.T) {
	for output, want := range map[string]string{
		"a\x1b[1;24rb":          "a\x1b[rb",
		"a\x1b[1;23rb":          "a\x1b[1;23rb",
		"a\x1b[;24rb":           "a\x1b[rb",
		"a\x1b[2;24rb":          "a\x1b[2;24rb",
		"a\x1b[?1;24rb":         "a\x1b[?1;24rb",
		"a\x1b[1;9r\x1b[1;24rb": "a\x1b[1;9r\x1b[rb",
	} {
		r := Replay{Rows: 24}
		if got := string(r.Flush(r.Append(nil, []byte(output)))); got != want {
			t.Errorf("%q becomes %q, want %q", output, got, want)
		}
		r = Replay{Rows: 24, Tracker: *track(output)}
		region := ""
		if strings.HasSuffix(want, "23rb") || strings.HasSuffix(want, "\x1b[2;24rb") {
			region = want[1 : len(want)-1]
		}
		if got := string(r.AppendSet(nil)); got != region {
			t.Errorf("after %q, it sets %q, want %q", output, got, region)
		}
	}
}
