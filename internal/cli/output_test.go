package cli

import (
	"bytes"
	"strings"
	"testing"
	"time"

	v1 "github.com/octobot-run/octobot/api/v1"
)

func TestRoughly(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0 seconds", 0: "0 seconds", time.Second: "1 second", 89 * time.Second: "89 seconds",
		90 * time.Second: "1 minute",
		89 * time.Minute: "89 minutes", 90 * time.Minute: "1 hour", 47 * time.Hour: "47 hours",
		48 * time.Hour: "2 days", 1000 * time.Hour: "41 days",
	} {
		if got := roughly(d); got != want {
			t.Errorf("roughly(%s) = %q, want %q", d, got, want)
		}
	}
}

// pull is what an engine tells of one.
var pull = []v1.Progress{
	{Image: "debian:12", Status: "Pulling from library/debian"},
	{Image: "debian:12", Layer: "aaa", Status: "Downloading", Current: 1 << 20, Total: 4 << 20},
	{Image: "debian:12", Layer: "bbb", Status: "Already exists"},
	{Image: "debian:12", Layer: "aaa", Status: "Extracting", Current: 4 << 20, Total: 4 << 20},
	{Image: "debian:12", Layer: "aaa", Status: "Pull complete"},
	{Image: "debian:12", Layer: "aaa", Status: "Pull complete"},
}

func TestProgressInLines(t *testing.T) {
	var out bytes.Buffer
	p := newProgress(&out)
	for _, step := range pull {
		p.show(step)
	}
	p.clear()
	if want := "pulling debian:12\nbbb: Already exists\naaa: Pull complete\n"; out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}

func TestProgressOnTerminal(t *testing.T) {
	var out bytes.Buffer
	p := newProgress(&out)
	p.width = func() int { return 40 }
	for _, step := range pull {
		p.show(step)
	}
	p.clear()
	lines := strings.Split(out.String(), "\r\x1b[K")[1:]
	want := []string{
		"pulling debian:12: Pulling from library",
		"pulling debian:12: 0 of 1 layer, 1.0 Mi",
		"pulling debian:12: 1 of 2 layers, 1.0 M",
		"pulling debian:12: 1 of 2 layers, 4.0 M",
		"pulling debian:12: 2 of 2 layers, 4.0 M",
		"pulling debian:12: 2 of 2 layers, 4.0 M",
		"", // the line is cleared
	}
	if strings.Join(lines, "\n") != strings.Join(want, "\n") {
		t.Errorf("got %q, want %q", lines, want)
	}
}

func TestOneLine(t *testing.T) {
	for s, want := range map[string]string{
		"a \t\nb": "a b", "Straße 漢字 é ✓": "Straße 漢字 é ✓", "\x1b[2J": "\uFFFD[2J",
		"a\u202egpj.exe\u2066\u200b": "a\uFFFDgpj.exe\uFFFD\uFFFD", "\xff": "\uFFFD",
	} {
		if got := oneLine(s); got != want {
			t.Errorf("%q is %q, want %q", s, got, want)
		}
	}
}

func TestErrorLinesAreLines(t *testing.T) {
	err := forEachSession(t.Context(), "rm", []string{"a", "b"},
		func(string) error { return &exitCode{1, errText("two\nlines\x1b[2J")} })
	want := []string{"rm a: two lines\uFFFD[2J", "rm b: two lines\uFFFD[2J"}
	if got := errorLines(err); strings.Join(got, "|") != strings.Join(want, "|") {
		t.Errorf("got %q, want %q", got, want)
	}
}

type errText string

func (e errText) Error() string { return string(e) }

func TestAgentsText(t *testing.T) {
	for want, agents := range map[string]map[string]string{
		"none":                                   {},
		"amd64 0123456789ab, arm64 ba9876543210": {"arm64": "ba9876543210", "amd64": "0123456789ab"},
	} {
		if got := (clientVersion{Agents: agents}).agentsText(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
