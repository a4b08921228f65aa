package httpapi_test

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	v1 "github.com/octobot-run/octobot/api/v1"
	"github.com/octobot-run/octobot/client"
	"github.com/octobot-run/octobot/internal/httpapi"
)

// viewer is a viewer, and what it got.
type viewer struct {
	*client.Viewer
	t        *testing.T
	shown    strings.Builder
	replayed strings.Builder
	missed   int64
	at       int64
	viewers  int
	rows     uint16
}

func (f *fixture) view(t *testing.T, c *client.Client, opts client.TerminalOptions) *viewer {
	t.Helper()
	if opts.Name == "" {
		opts.Name = "main"
	}
	v, err := c.OpenTerminal(t.Context(), "s", opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = v.Close() })
	// Who comes and goes again before it is told of is never told of.
	return &viewer{Viewer: v, t: t, viewers: v.Opened().Viewers}
}

func (v *viewer) next() error {
	e, err := v.Next()
	if e.Replayed {
		v.replayed.Write(e.Data)
	} else {
		v.shown.Write(e.Data)
	}
	v.at, v.missed = e.Position, v.missed+e.Missed
	if e.Viewers > 0 {
		v.viewers = e.Viewers
	}
	if e.Rows > 0 {
		v.rows = e.Rows
	}
	return err
}

func (v *viewer) until(what string, holds func() bool) {
	v.t.Helper()
	for !holds() {
		if err := v.next(); err != nil {
			v.t.Fatalf("%v before %s: shown %.200q, replayed %.200q", err, what, v.shown.String(), v.replayed.String())
		}
	}
}

func (v *viewer) sees(text string) {
	v.t.Helper()
	v.until(text, func() bool { return strings.Contains(v.shown.String(), text) })
}

func (v *viewer) types(keys string) {
	v.t.Helper()
	if _, err := io.WriteString(v, keys); err != nil {
		v.t.Fatal(err)
	}
}

// TestTerminal has two look, one come back to where it was, and one come when it has ended.
func TestTerminal(t *testing.T) {
	f := newFixture(t, settings{})
	f.running(t, "s", "")
	a := f.view(t, f.admin, client.TerminalOptions{AttachOptions: client.AttachOptions{Rows: 33, Cols: 101}})
	if o := a.Opened(); !o.Made || o.Name != "main" || !o.Running || o.Viewers != 1 || o.Rows != 33 ||
		o.ExitCode != nil {
		t.Errorf("opened %+v", o)
	}
	a.types("echo fi''rst\n")
	a.sees("first\r\n")
	b := f.view(t, f.admin, client.TerminalOptions{ReadOnly: true})
	b.until("what was shown", func() bool { return strings.Contains(b.replayed.String(), "first\r\n") })
	a.until("two viewers", func() bool { return a.viewers == 2 })
	if err := a.Resize(44, 101); err != nil {
		t.Fatal(err)
	}
	b.until("the size", func() bool { return b.rows == 44 })
	_ = a.Close()
	b.until("one viewer", func() bool { return b.viewers == 1 })
	again := f.view(t, f.admin, client.TerminalOptions{ID: a.Opened().ID, Since: a.at})
	again.types("echo sec''ond; exit 5\n")
	again.sees("second\r\n")
	whole := a.shown.String() + again.shown.String()
	if strings.Count(whole, "first\r\n") != 1 || again.replayed.Len() > 0 || int64(len(whole)) != again.at {
		t.Errorf("over two connections: %q, replayed %q, at %d", whole, again.replayed.String(), again.at)
	}
	for _, v := range []*viewer{again, b} {
		var err error
		for err == nil {
			err = v.next()
		}
		if code, codeErr := v.ExitCode(); !errors.Is(err, io.EOF) || codeErr != nil || code != 5 {
			t.Errorf("%v, exit code %d, %v", err, code, codeErr)
		}
	}
	list, err := f.admin.ListTerminals(t.Context(), "s")
	if err != nil || len(list) != 1 || list[0].Running || list[0].ExitCode == nil || *list[0].ExitCode != 5 {
		t.Errorf("terminals %+v, %v", list, err)
	}
}

// TestTerminalMissed: more was written meanwhile than is kept.
func TestTerminalMissed(t *testing.T) {
	f := newFixture(t, settings{})
	f.running(t, "s", "")
	a := f.view(t, f.admin, client.TerminalOptions{})
	a.types("echo fi''rst\n")
	a.sees("first\r\n")
	_ = a.Close()
	other := f.view(t, f.admin, client.TerminalOptions{})
	other.types("seq 1 400000; echo do''ne\n")
	other.sees("done\r\n")
	again := f.view(t, f.admin, client.TerminalOptions{ID: a.Opened().ID, Since: a.at})
	again.sees("done\r\n")
	if again.missed == 0 || a.at+again.missed+int64(again.shown.Len()) != again.at || again.at < other.at {
		t.Errorf("came for %d, missed %d, got %d, is at %d; the other is at %d", a.at, again.missed, again.shown.Len(),
			again.at, other.at)
	}
}

func TestTerminalsAreMadeAndEnded(t *testing.T) {
	f := newFixture(t, settings{})
	f.running(t, "s", "web")
	made, err := f.admin.CreateTerminal(t.Context(), "s", v1.CreateTerminalRequest{Name: "build", Cmd: []string{"sh"}})
	if err != nil || made.Name != "build" || !made.Made || made.Viewers != 0 {
		t.Fatalf("made %+v, %v", made, err)
	}
	_, err = f.admin.CreateTerminal(t.Context(), "s", v1.CreateTerminalRequest{Name: "build"})
	wantCode(t, err, v1.CodeTerminalExists)
	_, err = f.admin.CreateTerminal(t.Context(), "s", v1.CreateTerminalRequest{Name: "-"})
	wantCode(t, err, v1.CodeInvalidArgument)
	_, err = f.admin.CreateTerminal(t.Context(), "s",
		v1.CreateTerminalRequest{Name: "x", Cmd: []string{"no-such-program"}})
	wantCode(t, err, v1.CodeExecFailed)
	for name, opts := range map[string]client.TerminalOptions{
		"none":           {Name: "none", ReadOnly: true},
		"another's ID":   {Name: "build", ID: "x"},
		"none by its ID": {Name: "none", ID: made.ID},
	} {
		_, err := f.admin.OpenTerminal(t.Context(), "s", opts)
		if client.CodeOf(err) != v1.CodeTerminalNotFound {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err = f.admin.OpenTerminal(t.Context(), "s", client.TerminalOptions{Name: "build", Since: 5})
	wantCode(t, err, v1.CodeInvalidArgument)
	_, err = f.admin.OpenTerminal(t.Context(), "s", client.TerminalOptions{ReadOnly: true}) // without a name
	wantCode(t, err, v1.CodeInvalidArgument)

	_, stranger := f.token(t, "stranger", "other")
	for name, err := range map[string]error{
		"list": func() error { _, err := stranger.ListTerminals(t.Context(), "s"); return err }(),
		"open": func() error {
			_, err := stranger.OpenTerminal(t.Context(), "s", client.TerminalOptions{Name: "build"})
			return err
		}(),
		"end": stranger.EndTerminal(t.Context(), "s", "build"),
	} {
		if client.CodeOf(err) != v1.CodeSessionNotFound {
			t.Errorf("%s by a stranger: %v", name, err)
		}
	}
	if err := f.admin.EndTerminal(t.Context(), "s", "build"); err != nil {
		t.Fatal(err)
	}
	wantCode(t, f.admin.EndTerminal(t.Context(), "s", "build"), v1.CodeTerminalNotFound)
	if _, err := f.admin.StopSession(t.Context(), "s", 0); err != nil {
		t.Fatal(err)
	}
	_, err = f.admin.ListTerminals(t.Context(), "s")
	wantCode(t, err, v1.CodeSessionNotRunning)
}

// TestTerminalReaderIsRefused: what a viewer types that only reads is refused.
func TestTerminalReaderIsRefused(t *testing.T) {
	f := newFixture(t, settings{})
	f.running(t, "s", "")
	a := f.view(t, f.admin, client.TerminalOptions{})
	b := f.view(t, f.admin, client.TerminalOptions{ReadOnly: true})
	b.types("echo ne''ver\n")
	var err error
	for err == nil {
		err = b.next()
	}
	wantCode(t, err, v1.CodeInvalidArgument)
	a.types("echo st''ill\n")
	a.sees("still")
	if strings.Contains(a.shown.String(), "never") {
		t.Error("who only reads has typed")
	}
}

// TestStalledViewer: a viewer that does not read is disconnected, and the terminal goes on.
func TestStalledViewer(t *testing.T) {
	f := newFixture(t, settings{}, func(a *httpapi.API) { a.SetPatience(time.Second) })
	f.running(t, "s", "")
	stalled := f.view(t, f.admin, client.TerminalOptions{})
	a := f.view(t, f.admin, client.TerminalOptions{})
	a.types("yes\n")
	a.until("one viewer", func() bool { return a.viewers == 1 })
	var err error
	for err == nil {
		err = stalled.next()
	}
	if errors.Is(err, io.EOF) {
		t.Errorf("who was disconnected got %v", err)
	}
}

// TestTerminalWhole: a viewer knows when it was shown all that is kept, though nothing new is
// written, and may ask for it once more.
func TestTerminalWhole(t *testing.T) {
	f := newFixture(t, settings{})
	f.running(t, "s", "")
	a := f.view(t, f.admin, client.TerminalOptions{})
	a.types("seq 1 20000; echo do''ne\n")
	a.sees("done\r\n/ # ")
	if !a.Whole() {
		t.Error("who has seen it all does not know")
	}
	for _, opts := range []client.TerminalOptions{{}, {ID: a.Opened().ID, Since: client.ShowAgain}} {
		b := f.view(t, f.admin, opts)
		if b.Whole() {
			t.Error("all is shown before anything is")
		}
		for !strings.Contains(b.replayed.String(), "done\r\n") {
			if b.Whole() {
				t.Fatalf("all is shown after %d bytes", b.replayed.Len())
			}
			if err := b.next(); err != nil {
				t.Fatal(err)
			}
		}
		// What follows is a position alone, and that others look, be it before or after.
		var others []*viewer
		for !b.Whole() {
			others = append(others, f.view(t, f.admin, client.TerminalOptions{}))
			b.until("another viewer", func() bool { return b.viewers == 2+len(others) })
		}
		if b.shown.Len() > 0 || b.at != a.at {
			t.Errorf("at %d, where the other is at %d; shown %q", b.at, a.at, b.shown.String())
		}
		for _, c := range others {
			_ = c.Close()
		}
		_ = b.Close()
		for list, err := f.admin.ListTerminals(t.Context(), "s"); err != nil || list[0].Viewers != 1; {
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Millisecond)
			list, err = f.admin.ListTerminals(t.Context(), "s")
		}
	}
	back := f.view(t, f.admin, client.TerminalOptions{ID: a.Opened().ID, Since: a.at})
	back.types("echo mo''re\n")
	back.sees("more\r\n")
	if back.replayed.Len() > 0 || !back.Whole() {
		t.Errorf("who comes back is shown %q again", back.replayed.String())
	}
}
