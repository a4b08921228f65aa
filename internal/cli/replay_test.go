package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	v1 "github.com/octobot-run/octobot/api/v1"
)

// TestReplay records a terminal with a daemon, and plays what it has shown.
func TestReplay(t *testing.T) {
	dir := startDaemon(t)
	must(t, dir, "create", "--record", "demo")
	must(t, dir, "create", "plain")
	if got := must(t, dir, "inspect", "demo"); !strings.Contains(got, `"record": true`) {
		t.Errorf("inspect: %s", got)
	}
	for _, name := range []string{"main", "build"} {
		s := sit(t, dir, "attach", "--terminal", name, "demo")
		s.types("echo on-" + name + "; echo '\x1b[?1049h\x1b[6n'; exit 3\n")
		s.leaves(3)
	}
	var list []v1.Recording
	for start := time.Now(); ; time.Sleep(time.Millisecond) {
		if err := json.Unmarshal([]byte(must(t, dir, "replay", "--list", "-o", "json", "demo")), &list); err != nil {
			t.Fatal(err)
		}
		if len(list) == 2 && list[0].Ended && list[1].Ended {
			break
		}
		if time.Since(start) > limit {
			t.Fatalf("%+v", list)
		}
	}
	if got := must(t, dir, "replay", "--list", "demo"); !strings.HasPrefix(got, "TERMINAL   ID") ||
		strings.Count(got, "ended") != 2 || !strings.Contains(got, list[0].TerminalID) {
		t.Errorf("list:\n%s", got)
	}
	for name, args := range map[string][]string{"main": {"demo"}, "build": {"demo", "build"}} {
		got := must(t, dir, append([]string{"replay", "--speed", "100"}, args...)...)
		if !strings.Contains(got, "\non-"+name+"\r\n") || strings.Contains(got, "\x1b[6n") ||
			!strings.HasSuffix(got, "\x1b[?1049l") {
			t.Errorf("%s: played %q", name, got)
		}
	}
	raw := must(t, dir, "replay", "--raw", "demo", list[1].TerminalID)
	if !strings.HasPrefix(raw, `{"version":2,"width":100,"height":30,`) ||
		!strings.Contains(raw, "exited with code 3") {
		t.Errorf("raw: %s", raw)
	}
	if file, err := os.ReadFile(filepath.Join(dir,
		"recordings/demo/build."+list[1].TerminalID+".cast")); raw != string(file) {
		t.Errorf("%q in the file, %v", file, err)
	}
	for want, args := range map[string][]string{
		"nothing is recorded": {"plain"}, "no recording of": {"demo", "other"}, "-o is for": {"-o", "json", "demo"},
		"more than 0": {"--speed", "0", "demo"}, "negative": {"--idle-limit", "-1s", "demo"}, "one session": {},
	} {
		if r := octobot(t, dir, append([]string{"replay"}, args...)...); r.code != 1 ||
			!strings.Contains(r.stderr, want) {
			t.Errorf("replay %q: %+v", args, r)
		}
	}
	must(t, dir, "rm", "-f", "demo")
	if got := must(t, dir, "replay", "--speed", "100", "demo"); !strings.Contains(got, "on-main") {
		t.Errorf("of a closed session: %q", got)
	}
	watched := sit(t, dir, "replay", "demo")
	watched.sees("\x1b[?1049l")
	watched.leaves(0)
}

// TestPlayer has the clock stand still while nobody waits.
func TestPlayer(t *testing.T) {
	const head = "{\"version\":2,\"width\":80,\"height\":24}\n"
	play := func(t *testing.T, cast string, p player) (shown string, took time.Duration, err error) {
		synctest.Test(t, func(t *testing.T) {
			var out bytes.Buffer
			p.app = &app{stdin: strings.NewReader(""), stdout: &out}
			start := time.Now()
			err = p.play(t.Context(), strings.NewReader(cast))
			shown, took = out.String(), time.Since(start)
		})
		return shown, took, err
	}
	events := head + `[0.5,"o","a\u001b["]` + "\n" + `[1.5,"p","3 0 live"]` + "\n" + `[2.5,"r","10x10"]` + "\n" +
		`[10.5,"o","1mb\u0007"]` + "\n" + `[4,"o","c"]` + "\n" + `[12.5,"m","end"]` + "\n" + `[99,"o","to`
	for _, c := range []struct {
		player
		want time.Duration
	}{
		{player{speed: 1}, 12500 * time.Millisecond},
		{player{speed: 2}, 6250 * time.Millisecond},
		{player{speed: 1, idleLimit: time.Second}, 2500 * time.Millisecond},
	} {
		shown, took, err := play(t, events, c.player)
		if shown != "a\x1b[1mbc\x1b[m" && shown != "a\x1b[1mbc\x1b[0m" || took != c.want || err != nil {
			t.Errorf("%q in %v, %v; want %v", shown, took, err, c.want)
		}
	}
	for _, cast := range []string{"", "{}\n", `{"version":3}` + "\n", head + "x\n", head + "[1,\"o\"]\n",
		head + "[-1,\"o\",\"\"]\n", head + "[1,2,3]\n", head + "[1,\"o\",\"" + strings.Repeat("x", maxCastLine) +
			"\"]\n"} {
		if _, _, err := play(t, cast, player{speed: 1}); err == nil {
			t.Errorf("%.40q is played", cast)
		}
	}
}

// TestReplayIsLeft by Ctrl-C, with the terminal in order.
func TestReplayIsLeft(t *testing.T) {
	dir := startDaemon(t)
	must(t, dir, "create", "--record", "demo")
	s := sit(t, dir, "attach", "demo")
	s.types("echo '\x1b[?1049h\x1b[?1000h'; echo fu''ll; sleep 2; exit\n")
	s.sees("full")
	s.leaves(0)
	watched := sit(t, dir, "replay", "--speed", "0.5", "demo")
	watched.sees("/ # ")
	if !watched.isRaw() {
		t.Error("what is typed is echoed")
	}
	watched.types("x\x03")
	watched.leaves(0)
}
