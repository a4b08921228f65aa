package recording

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var demo = Key{Session: "demo", Origin: "g:1", Terminal: "main", TerminalID: "abc"}

func open(t *testing.T, dir string, limits Limits) *Recordings {
	t.Helper()
	r, err := Open(dir, limits, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}

func record(t *testing.T, r *Recordings, key Key) *Recording {
	t.Helper()
	rec, err := r.Record(key, Start{Rows: 24, Cols: 80, Title: "demo/main", Term: "xterm"})
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

func closeAll(t *testing.T, closers ...io.Closer) {
	t.Helper()
	for _, c := range closers {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}

// put records output behind what there is.
func put(t *testing.T, rec *Recording, at *int64, data string) {
	t.Helper()
	*at += int64(len(data))
	if err := rec.Output([]byte(data), *at); err != nil {
		t.Fatal(err)
	}
}

// cast is a recording as a player sees it.
type cast struct {
	header  map[string]any
	output  string
	markers []string
	sizes   []string
	times   []float64
}

// play reads a recording strictly.
func play(t *testing.T, in io.Reader) cast {
	t.Helper()
	lines := bufio.NewReader(in)
	var c cast
	for n := 0; ; n++ {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) && len(line) == 0 {
			return c
		}
		if err != nil {
			t.Fatalf("line %d: %v: %.100q", n, err, line)
		}
		if n == 0 {
			if err := json.Unmarshal(line, &c.header); err != nil {
				t.Fatal(err)
			}
			continue
		}
		var e [3]any
		if err := json.Unmarshal(line, &e); err != nil {
			t.Fatalf("line %d: %v: %.100q", n, err, line)
		}
		c.times = append(c.times, e[0].(float64))
		text := e[2].(string)
		switch e[1] {
		case "o":
			c.output += text
		case "m":
			c.markers = append(c.markers, text)
		case "r":
			c.sizes = append(c.sizes, text)
		}
	}
}

func read(t *testing.T, r *Recordings, key Key) cast {
	t.Helper()
	in, _, err := r.Read(key)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	return play(t, in)
}

func TestRecording(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "recordings")
	r := open(t, dir, Limits{})
	rec := record(t, r, demo)
	if _, err := r.Record(demo, Start{}); !errors.Is(err, ErrBusy) {
		t.Errorf("a second writer: %v", err)
	}
	var at int64
	put(t, rec, &at, "\x1b[1mh\xc3")
	put(t, rec, &at, "\xa4\"\\\r\n\x00\x7f<\xff>")
	put(t, rec, &at, "\xe2\x82")
	if got := rec.Position(); got != at-2 {
		t.Errorf("position %d of %d", got, at)
	}
	if err := rec.Resize(50, 100); err != nil {
		t.Fatal(err)
	}
	put(t, rec, &at, "\xac\xf0\x9f")
	if err := errors.Join(rec.Finish("exited with code 0"), rec.Close(), rec.Close()); err != nil {
		t.Fatal(err)
	}
	c := read(t, r, demo)
	if want := "\x1b[1mhä\"\\\r\n\x00\x7f<\uFFFD>€\uFFFD\uFFFD"; c.output != want {
		t.Errorf("%q, want %q", c.output, want)
	}
	if fmt.Sprint(c.sizes, c.markers) != "[100x50] [exited with code 0]" {
		t.Errorf("sizes %q, markers %q", c.sizes, c.markers)
	}
	if h := c.header; h["version"] != 2.0 || h["width"] != 80.0 || h["height"] != 24.0 || h["title"] != "demo/main" ||
		h["env"].(map[string]any)["TERM"] != "xterm" {
		t.Errorf("header %v", h)
	}
	list := r.List("demo")
	if len(list) != 1 || !list[0].Ended || list[0].Open || list[0].Full || list[0].Missed != 0 ||
		list[0].Bytes < 100 || r.List("other") != nil {
		t.Errorf("list %+v", list)
	}
	if _, err := r.Record(demo, Start{}); !errors.Is(err, ErrEnded) {
		t.Errorf("one that has ended goes on: %v", err)
	}
	for path, want := range map[string]os.FileMode{"": 0o700, "demo": 0o700, "demo/main.abc.cast": 0o600} {
		if info, err := os.Stat(filepath.Join(dir, path)); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}
	other := demo
	other.Origin = "g:2"
	if _, _, err := r.Read(other); !errors.Is(err, ErrNotFound) {
		t.Errorf("another session reads it: %v", err)
	}
	if err := errors.Join(r.Remove("demo", "g:2"), r.Remove("demo", "g:1")); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(dir); len(left) > 0 || err != nil || r.used != 0 {
		t.Errorf("left: %v, %v; %d bytes", left, err, r.used)
	}
}

// TestTorn cuts a file everywhere, as a crash may: what is left is mended, and going on from its
// position gives the whole.
func TestTorn(t *testing.T) {
	dir := t.TempDir()
	const text = "one\r\n\xc3\xa4 two \xff\xe2\x82\xac three\r\n"
	r := open(t, dir, Limits{})
	rec := record(t, r, demo)
	var at int64
	for i := range len(text) {
		put(t, rec, &at, text[i:i+1])
		if i%5 == 0 {
			rec.flushLate()
		}
	}
	closeAll(t, rec, r)
	path := filepath.Join(dir, demo.path())
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for n := range len(whole) + 1 {
		if err := os.WriteFile(path, whole[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		r := open(t, dir, Limits{})
		rec := record(t, r, demo)
		if at := rec.Position(); at < int64(len(text)) {
			if err := rec.Output([]byte(text[at:]), int64(len(text))); err != nil {
				t.Fatal(err)
			}
		}
		closeAll(t, rec)
		if got, want := read(t, r, demo).output, strings.ToValidUTF8(text, "\uFFFD"); got != want {
			t.Fatalf("cut at %d of %d: %q, want %q", n, len(whole), got, want)
		}
		closeAll(t, r)
	}
}

// TestReopen goes on after a while: times count from the first beginning.
func TestReopen(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := open(t, dir, Limits{})
		rec := record(t, r, demo)
		var at int64
		put(t, rec, &at, "a")
		time.Sleep(2 * time.Second)
		if got := read(t, r, demo).output; got != "a" {
			t.Errorf("after two seconds %q is written", got)
		}
		// Without Close, as after a crash; what is not written yet is lost.
		put(t, rec, &at, "b")
		rec.timer.Stop()
		again := open(t, dir, Limits{})
		list := again.List("")
		if len(list) != 1 || list[0].Ended || list[0].Open {
			t.Errorf("%+v", list)
		}
		time.Sleep(time.Minute)
		second := record(t, again, demo)
		if got := second.Position(); got != 1 {
			t.Fatalf("position %d", got)
		}
		if err := second.Missed(9, 10); err != nil {
			t.Fatal(err)
		}
		if err := second.Redraw([]byte("\x1b[?1h")); err != nil {
			t.Fatal(err)
		}
		at = 10
		put(t, second, &at, "c")
		closeAll(t, second)
		c := read(t, again, demo)
		if c.output != "a\x1b[?1hc" || len(c.markers) != 1 || c.times[len(c.times)-1] < 62 {
			t.Errorf("%+v", c)
		}
		if list := again.List(""); list[0].Missed != 9 || list[0].Length < 62*time.Second {
			t.Errorf("%+v", list)
		}
		third := record(t, again, demo)
		if got := third.Position(); got != 11 {
			t.Errorf("position %d", got)
		}
		closeAll(t, third)
		if err := again.Finish(demo, "over"); err != nil {
			t.Fatal(err)
		}
		if list := again.List(""); !list[0].Ended {
			t.Errorf("%+v", list)
		}
	})
}

func TestLargest(t *testing.T) {
	dir := t.TempDir()
	r := open(t, dir, Limits{One: 100 << 10})
	rec := record(t, r, demo)
	var at int64
	var err error
	for err == nil {
		at += 1000
		err = rec.Output(bytes.Repeat([]byte("x"), 1000), at)
	}
	if !errors.Is(err, ErrEnded) {
		t.Error(err)
	}
	closeAll(t, rec)
	list := r.List("")
	if !list[0].Full || !list[0].Ended || list[0].Bytes > 100<<10 || list[0].Bytes < 90<<10 {
		t.Errorf("%+v", list)
	}
	if c := read(t, r, demo); len(c.markers) != 1 || !strings.Contains(c.markers[0], "large") {
		t.Errorf("markers %q", c.markers)
	}
	if _, err := r.Record(demo, Start{}); !errors.Is(err, ErrEnded) {
		t.Error(err)
	}
}

func TestAllTogether(t *testing.T) {
	r := open(t, t.TempDir(), Limits{All: 200 << 10})
	key := func(n int) Key { return Key{"demo", "g:1", "main", fmt.Sprint("t", n)} }
	fill := func(n, kib int) (*Recording, error) {
		rec := record(t, r, key(n))
		var at int64
		for range kib {
			at += 1000
			if err := rec.Output(bytes.Repeat([]byte("x"), 1000), at); err != nil {
				return rec, err
			}
		}
		return rec, nil
	}
	for n := range 5 {
		rec, err := fill(n, 70)
		if err != nil {
			t.Fatal(n, err)
		}
		if n > 0 { // the first one goes on, if nobody writes it
			if err := rec.Finish("over"); err != nil {
				t.Fatal(err)
			}
		}
		closeAll(t, rec)
		r.all[key(n).path()].started = time.Unix(int64(n)+1, 0)
	}
	names := func() (s string) {
		for _, info := range r.List("") {
			s += info.TerminalID + " "
		}
		return s
	}
	if got := names(); got != "t0 t4 " {
		t.Errorf("left are %s", got)
	}
	rec, err := fill(9, 1000)
	if !errors.Is(err, ErrEnded) {
		t.Errorf("without room: %v", err)
	}
	closeAll(t, rec)
	if got := names(); got != "t0 t9 " || r.used > 300<<10 {
		t.Errorf("left are %s, of %d bytes", got, r.used)
	}
	if c := read(t, r, key(9)); !strings.Contains(c.markers[0], "together") {
		t.Errorf("markers %q", c.markers)
	}
}

// TestLinks has links lie where recordings are to be.
func TestLinks(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	victim := filepath.Join(dir, "inside")
	if err := errors.Join(os.WriteFile(victim, []byte("mine"), 0o600), os.Mkdir(filepath.Join(dir, "demo"), 0o700),
		os.Symlink("../inside", filepath.Join(dir, "demo", "main.abc.cast")),
		os.Symlink(outside, filepath.Join(dir, "other")), os.Symlink("demo", filepath.Join(dir, "third"))); err != nil {
		t.Fatal(err)
	}
	r := open(t, dir, Limits{})
	for _, session := range []string{"demo", "other", "third", "..", "a/b"} {
		key := demo
		key.Session = session
		if _, err := r.Record(key, Start{}); err == nil {
			t.Errorf("a recording is made of %q", session)
		}
	}
	if b, err := os.ReadFile(victim); string(b) != "mine" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
	if list, err := os.ReadDir(outside); len(list) > 0 || err != nil {
		t.Errorf("%v, %v", list, err)
	}
}

// TestUnwritable keeps what can't be written, and writes it later.
func TestUnwritable(t *testing.T) {
	r := open(t, t.TempDir(), Limits{})
	rec := record(t, r, demo)
	good := rec.f
	bad, err := os.Open(good.Name())
	if err != nil {
		if bad, err = os.Open("/dev/null"); err != nil { // its name is not from here
			t.Fatal(err)
		}
	}
	defer bad.Close()
	var at int64
	rec.mu.Lock()
	rec.f = bad
	rec.mu.Unlock()
	put(t, rec, &at, strings.Repeat("x", 100<<10))
	rec.mu.Lock()
	rec.f = good
	rec.mu.Unlock()
	put(t, rec, &at, "y")
	closeAll(t, rec)
	if got := read(t, r, demo).output; len(got) != 100<<10+1 {
		t.Errorf("%d bytes", len(got))
	}
}

// FuzzOpen has anything lie where a recording is to be: it is mended or replaced, and read whole
// then.
func FuzzOpen(f *testing.F) {
	f.Add([]byte(""), "a")
	f.Add([]byte(`{"version":2,"width":80,"height":24,"timestamp":1,"octobot":{"session":"demo","origin":"g:1",`+
		`"terminal":"main","terminal_id":"abc","started_at":"2026-11-28T19:26:46Z"}}`+"\n"+
		`[0.5,"o","x"]`+"\n"+`[0.5,"p","1 0 live"]`+"\n"+`[0.7,"o","y`), "\xc3")
	f.Fuzz(func(t *testing.T, file []byte, output string) {
		dir := t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, "demo"), 0o700); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, demo.path())
		if err := os.WriteFile(path, file, 0o600); err != nil {
			t.Fatal(err)
		}
		r := open(t, dir, Limits{})
		rec, err := r.Record(demo, Start{})
		if err != nil {
			return // it has ended, or is another session's
		}
		at := rec.Position()
		_ = rec.Output([]byte(output), at+int64(len(output)))
		closeAll(t, rec, r)
		again := open(t, dir, Limits{})
		if list := again.List(""); len(list) != 1 || list[0].Ended && !list[0].Full {
			t.Errorf("%+v", list)
		}
		closeAll(t, again)
	})
}

// TestCutInCharacter: the connection with a terminal is cut amid a character, which comes once
// more, or is missed.
func TestCutInCharacter(t *testing.T) {
	r := open(t, t.TempDir(), Limits{})
	rec := record(t, r, demo)
	for _, part := range []struct {
		data     string
		position int64
	}{{"a€ \xe2\x82", 7}, {"€b\xe2", 10}} {
		if err := rec.Output([]byte(part.data), part.position); err != nil {
			t.Fatal(err)
		}
	}
	at := rec.Position()
	if err := rec.Missed(100, at+100); err != nil {
		t.Fatal(err)
	}
	put(t, rec, new(at+100), "c")
	closeAll(t, rec)
	got, list := read(t, r, demo), r.List("")
	if got.output != "a€ €bc" || list[0].Missed != 100 || at != 9 {
		t.Errorf("recorded %q, missed %d, at %d", got.output, list[0].Missed, at)
	}
}
