package session_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/session"
)

// tapes is a Recorder in memory.
type tapes struct {
	mu  sync.Mutex
	all map[session.RecordingKey]*tape
}

// tape is a recording; its recorder's mutex guards it.
type tape struct {
	of *tapes
	session.Recording
	data     []byte
	position int64
	why      string
}

func newTapes() *tapes { return &tapes{all: map[session.RecordingKey]*tape{}} }

func (r *tapes) Record(key session.RecordingKey, _ container.TerminalInfo) (session.RecordingWriter, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.all[key]
	if t == nil {
		t = &tape{of: r, Recording: session.Recording{RecordingKey: key, Started: time.Now()}}
		r.all[key] = t
	}
	if t.Open || t.Ended {
		return nil, session.ErrRecorded
	}
	t.Open = true
	return t, nil
}

func (r *tapes) Finish(key session.RecordingKey, why string) error {
	w, err := r.Record(key, container.TerminalInfo{})
	if errors.Is(err, session.ErrRecorded) {
		return nil
	}
	return errors.Join(err, w.Finish(why), w.Close())
}

func (r *tapes) List(sessionID string) (list []session.Recording) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, t := range r.all {
		if sessionID == "" || t.SessionID == sessionID {
			list = append(list, t.Recording)
		}
	}
	slices.SortFunc(list, func(a, b session.Recording) int { return a.Started.Compare(b.Started) })
	return list
}

func (r *tapes) Read(key session.RecordingKey) (io.ReadCloser, session.Recording, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.all[key]
	if t == nil {
		return nil, session.Recording{}, session.ErrNotFound
	}
	return io.NopCloser(bytes.NewReader(slices.Clone(t.data))), t.Recording, nil
}

func (r *tapes) Remove(sessionID, origin string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for key := range r.all {
		if key.SessionID == sessionID && key.Origin == origin {
			delete(r.all, key)
		}
	}
	return nil
}

// why gives how the only recording has ended, and what is in it; "" while it goes on.
func (r *tapes) why() (why, data string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, t := range r.all {
		why, data = t.why, string(t.data)
	}
	return why, data
}

func (t *tape) change(f func()) error {
	t.of.mu.Lock()
	defer t.of.mu.Unlock()
	f()
	return nil
}

func (t *tape) Position() (at int64) {
	_ = t.change(func() { at = t.position })
	return at
}

func (t *tape) Output(data []byte, position int64) error {
	return t.change(func() {
		if position != t.position+int64(len(data)) {
			t.why = "a gap"
		}
		t.data, t.position = append(t.data, data...), position
	})
}

func (t *tape) Missed(n, position int64) error {
	return t.change(func() { t.Recording.Missed += n; t.position = position })
}
func (t *tape) Redraw([]byte) error     { return nil }
func (t *tape) Resize(uint, uint) error { return nil }
func (t *tape) Finish(why string) error { return t.change(func() { t.Ended, t.why = true, why }) }
func (t *tape) Close() error            { return t.change(func() { t.Open = false }) }

// running runs a service until stop is called.
func running(t *testing.T, s *session.ContainerService) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	stop = func() { cancel(); wg.Wait() }
	t.Cleanup(stop)
	return stop
}

// recorded makes a session that is recorded, and a terminal in it.
func (k *kit) recorded(t *testing.T, spec session.Spec) container.Terminal {
	t.Helper()
	spec.Record = true
	if _, err := k.Create(t.Context(), admin, session.CreateRequest{ID: "s", Spec: spec, Start: true}); err != nil {
		t.Fatal(err)
	}
	terminal, err := k.OpenTerminal(t.Context(), admin, "s", container.TerminalOptions{Name: "main",
		AttachOptions: container.AttachOptions{Cmd: []string{"sh"}, Rows: 24, Cols: 80}})
	if err != nil {
		t.Fatal(err)
	}
	return terminal
}

func wait(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for start := time.Now(); !holds(); time.Sleep(time.Millisecond) {
		if time.Since(start) > 30*time.Second {
			t.Fatalf("%s is not so", what)
		}
	}
}

func typeIn(t *testing.T, terminal io.Writer, keys string) {
	t.Helper()
	if _, err := io.WriteString(terminal, keys); err != nil {
		t.Fatal(err)
	}
}

// TestRecordOverRestart ends the service amid output: what is recorded is what was written.
func TestRecordOverRestart(t *testing.T) {
	recorder := newTapes()
	with := func(c *session.Config) { c.Recorder = recorder }
	k := newKit(t, with)
	stop := running(t, k.ContainerService)
	terminal := k.recorded(t, session.Spec{})
	go func() { // a viewer that reads
		for {
			if _, err := terminal.Next(); err != nil {
				return
			}
		}
	}()
	typeIn(t, terminal, "seq 1 20000\n")
	wait(t, "something recorded", func() bool { _, data := recorder.why(); return strings.Contains(data, "\n100\r") })
	stop()
	if list := recorder.List(""); len(list) != 1 || list[0].Open || list[0].Ended {
		t.Fatalf("after the service has ended: %+v", list)
	}
	typeIn(t, terminal, "seq 20001 40000\n")
	cfg := configure()
	with(&cfg)
	again := session.NewContainerService(k.rt, k.store, cfg)
	running(t, again)
	typeIn(t, terminal, "seq 40001 50000\nexit 3\n")
	wait(t, "the end", func() bool { return recorder.List("")[0].Ended })
	_ = terminal.Close()
	why, data := recorder.why()
	if why != "exited with code 3" {
		t.Errorf("it ends with %q", why)
	}
	info, _ := terminal.Opened()
	truth, err := k.rt.OpenTerminal(t.Context(), "s",
		container.TerminalOptions{Name: "main", ID: info.ID, ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer truth.Close()
	var written strings.Builder
	for {
		e, err := truth.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil || e.Missed > 0 {
			t.Fatal(e.Missed, err)
		}
		written.Write(e.Data)
	}
	if data != written.String() {
		t.Errorf("%d bytes were recorded, %d written", len(data), written.Len())
	}
	list, err := again.ListRecordings(t.Context(), admin, "s")
	if err != nil || len(list) != 1 || !list[0].Ended || list[0].TerminalID != info.ID || list[0].Missed != 0 {
		t.Errorf("%+v, %v", list, err)
	}
	cast, _, err := again.ReadRecording(t.Context(), admin, "s", info.ID)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(cast); string(b) != data || err != nil {
		t.Errorf("%d bytes are read, %v", len(b), err)
	}
	_, _, err = again.ReadRecording(t.Context(), admin, "s", "other")
	wantCode(t, err, session.CodeRecordingNotFound)
	_, err = again.ListRecordings(t.Context(), session.Principal{ProjectID: "p"}, "s")
	wantCode(t, err, session.CodeSessionNotFound)
}

// TestRecordMisses has a terminal write more than it keeps while nobody records: the recording says
// how much it misses.
func TestRecordMisses(t *testing.T) {
	recorder := newTapes()
	k := newKit(t, func(c *session.Config) { c.Recorder = recorder })
	stop := running(t, k.ContainerService)
	terminal := k.recorded(t, session.Spec{})
	go func() { // a viewer that reads
		for {
			if _, err := terminal.Next(); err != nil {
				return
			}
		}
	}()
	typeIn(t, terminal, "echo on''e\n")
	wait(t, "something recorded", func() bool { _, data := recorder.why(); return strings.Contains(data, "one\r") })
	stop()
	position := func() int64 {
		list, err := k.rt.ListTerminals(t.Context(), "s")
		if err != nil || len(list) != 1 {
			t.Fatal(list, err)
		}
		return list[0].Position
	}
	typeIn(t, terminal, "seq 1 300000\n")
	wait(t, "much written", func() bool { return position() > 3*(1<<19) })
	cfg := configure()
	cfg.Recorder = recorder
	running(t, session.NewContainerService(k.rt, k.store, cfg))
	typeIn(t, terminal, "exit\n")
	wait(t, "the end", func() bool { return recorder.List("")[0].Ended })
	_ = terminal.Close()
	_, data := recorder.why()
	missed := recorder.List("")[0].Missed
	if missed == 0 || int64(len(data))+missed != position() || !strings.Contains(data, "\n300000\r") {
		t.Errorf("%d bytes were recorded and %d missed, of %d", len(data), missed, position())
	}
}

// TestRecordFound has a terminal recorded that was made past the service.
func TestRecordFound(t *testing.T) {
	bubble(t, "found", func(t *testing.T) {
		recorder := newTapes()
		k := newKit(t, func(c *session.Config) { c.Recorder = recorder })
		running(t, k.ContainerService)
		_ = k.recorded(t, session.Spec{}).Close()
		other, err := k.rt.OpenTerminal(t.Context(), "s", container.TerminalOptions{Name: "other"})
		if err != nil {
			t.Fatal(err)
		}
		_ = other.Close()
		time.Sleep(time.Minute)
		if list := recorder.List("s"); len(list) != 2 || !list[0].Open || !list[1].Open {
			t.Errorf("%+v", list)
		}
		if err := k.EndTerminal(t.Context(), admin, "s", "other"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if list := recorder.List("s"); !list[0].Open || list[1].Open || !list[1].Ended {
			t.Errorf("%+v", list)
		}
	})
	bubble(t, "gone while nobody recorded", func(t *testing.T) {
		recorder := newTapes()
		k := newKit(t, func(c *session.Config) { c.Recorder = recorder })
		stop := running(t, k.ContainerService)
		_ = k.recorded(t, session.Spec{}).Close()
		synctest.Wait()
		stop()
		if err := k.EndTerminal(t.Context(), admin, "s", "main"); err != nil {
			t.Fatal(err)
		}
		cfg := configure()
		cfg.Recorder = recorder
		running(t, session.NewContainerService(k.rt, k.store, cfg))
		time.Sleep(time.Minute)
		if why, _ := recorder.why(); why != "the terminal is gone" {
			t.Errorf("it ends with %q", why)
		}
	})
}

// TestRecordIsNoUse: a recorder keeps no session from being idle, and no terminal from being
// abandoned.
func TestRecordIsNoUse(t *testing.T) {
	bubble(t, "session", func(t *testing.T) {
		recorder := newTapes()
		k := newKit(t, func(c *session.Config) { c.Recorder = recorder })
		running(t, k.ContainerService)
		_ = k.recorded(t, session.Spec{IdleTimeout: time.Hour}).Close()
		time.Sleep(30 * time.Minute)
		if list := recorder.List("s"); len(list) != 1 || !list[0].Open {
			t.Errorf("it is not recorded: %+v", list)
		}
		time.Sleep(32 * time.Minute)
		k.status(t, "s", session.StatusStopped)
		time.Sleep(time.Minute)
		if why, _ := recorder.why(); why != "the session has ended" {
			t.Errorf("it ends with %q", why)
		}
	})
	bubble(t, "terminal", func(t *testing.T) {
		recorder := newTapes()
		k := newKit(t, func(c *session.Config) { c.Recorder, c.TerminalLinger = recorder, 24*time.Minute })
		running(t, k.ContainerService)
		terminal := k.recorded(t, session.Spec{})
		time.Sleep(30 * time.Minute)
		if list := recorder.List("s"); len(list) != 1 || !list[0].Open {
			t.Errorf("while somebody looks: %+v", list)
		}
		_ = terminal.Close()
		time.Sleep(23 * time.Minute)
		if list := recorder.List("s"); !list[0].Open {
			t.Errorf("a while later: %+v", list)
		}
		time.Sleep(2 * time.Minute)
		list, err := k.ListTerminals(t.Context(), admin, "s")
		if len(list) != 0 || err != nil {
			t.Errorf("a terminal that nobody looks at: %+v, %v", list, err)
		}
		if why, _ := recorder.why(); why == "" {
			t.Error("its recording goes on")
		}
	})
}

// TestRecordingsGo with the records of their sessions.
func TestRecordingsGo(t *testing.T) {
	bubble(t, "go", func(t *testing.T) {
		recorder := newTapes()
		k := newKit(t, func(c *session.Config) { c.Recorder, c.Retention = recorder, 10*time.Minute })
		running(t, k.ContainerService)
		synctest.Wait() // until it has begun: the session is gone before a pass could find its terminal
		_ = k.recorded(t, session.Spec{}).Close()
		if err := k.Delete(t.Context(), admin, "s"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Minute)
		list, err := k.ListRecordings(t.Context(), admin, "s")
		if err != nil || len(list) != 1 || !list[0].Ended {
			t.Errorf("of a closed session: %+v, %v", list, err)
		}
		foreign := session.RecordingKey{SessionID: "x", Origin: "other:1", Terminal: "main", TerminalID: "x"}
		if err := recorder.Finish(foreign, "over"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(8 * time.Minute)
		if list := recorder.List(""); len(list) != 1 || list[0].RecordingKey != foreign {
			t.Errorf("after its record was forgotten: %+v", list)
		}
		_ = k.recorded(t, session.Spec{}).Close()
		if err := k.Delete(t.Context(), admin, "s"); err != nil {
			t.Fatal(err)
		}
		_ = k.recorded(t, session.Spec{}).Close() // another session of that ID
		time.Sleep(time.Second)
		list, err = k.ListRecordings(t.Context(), admin, "s")
		if err != nil || len(list) != 1 || list[0].Ended || len(recorder.List("s")) != 2 {
			t.Errorf("of another session: %+v, %v", list, err)
		}
		time.Sleep(2 * time.Minute)
		if list := recorder.List("s"); len(list) != 1 || !list[0].Open {
			t.Errorf("after its record was replaced: %+v", list)
		}
	})
}

func TestRecordRefused(t *testing.T) {
	k := newKit(t)
	create := func(s *session.ContainerService, spec session.Spec) error {
		spec.Record = true
		_, err := s.Create(t.Context(), admin, session.CreateRequest{ID: "s", Spec: spec})
		return err
	}
	wantCode(t, create(k.ContainerService, session.Spec{}), session.CodeUnsupported) // no recorder
	cfg := configure()
	cfg.Recorder = newTapes()
	wantCode(t, create(session.NewContainerService(k.rt, k.store, cfg), session.Spec{Agent: session.AgentOff}),
		session.CodeInvalidArgument)
	without := session.NewContainerService(interrupted{Runtime: k.rt}, k.store, cfg)
	e := wantCode(t, create(without, session.Spec{}), session.CodeUnsupported)
	if !strings.Contains(e.Detail, "agent") {
		t.Error(e)
	}
}
