package terminal

import (
	"errors"
	"io"
	"sync"
	"time"

	"github.com/octobot-run/octobot/internal/agent/pty"
	"github.com/octobot-run/octobot/internal/agentproto"
	"github.com/octobot-run/octobot/internal/vtmode"
)

const (
	viewerChunk = 32 << 10
	// probeEvery is how often a viewer whose input has to wait is asked whether it is still there:
	// its end stands behind that input.
	probeEvery = time.Second
	// leaveTime is how long a viewer that has said goodbye may take for what was under way to it.
	leaveTime = 5 * time.Second
)

// buffers are for output on its way to viewers, so that quiet ones hold none.
var buffers = sync.Pool{New: func() any { return new([viewerChunk]byte) }}

// viewer is somebody who looks at a terminal. The terminal's mutex guards what changes.
type viewer struct {
	t        *terminal // set before it is used
	readOnly bool

	rows, cols uint16
	pos        int64              // of the next byte that it gets
	took       time.Time          // when it took something, or there was nothing to take
	told       agentproto.Viewers // as far as it knows
	gone       bool
	probe      bool // it has to be sent something, to see whether it is there

	// Up to replayTo it is shown what is kept, by way of replay, which is its goroutine's own.
	replayTo int64
	replay   *vtmode.Replay
	modes    []byte // to be shown first
}

func newViewer(o *agentproto.OpenTerminal) *viewer {
	return &viewer{readOnly: o.ReadOnly, rows: o.Rows, cols: o.Cols, took: time.Now()}
}

// join adds a viewer to a terminal that is there, and tells it what it gets to see.
func (t *terminal) join(v *viewer, o *agentproto.OpenTerminal) (*agentproto.Attached, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if o.ID != "" && o.Since > t.out.End() {
		return nil, agentproto.Errorf(agentproto.InvalidArgument,
			"terminal %q has written %d bytes so far: there is no position %d",
			t.name, t.out.End(), o.Since)
	}
	v.t, v.took = t, time.Now()
	t.viewers[v] = struct{}{}
	t.expiry.Stop()
	rows := t.rows
	resized := t.resize(v)
	v.told = t.looks()
	var missed int64
	var from *mark // where it is shown what is kept
	if o.ID == "" || o.Since < 0 {
		v.pos, v.replayTo = t.out.oldest.at, t.out.End()
		from = &t.out.oldest
		v.show(from, rows)
	} else if v.pos = o.Since; v.pos < t.out.oldest.at {
		from = &t.out.recent
		missed = v.skip(rows)
	}
	if from != nil && from.modes.Alternate() && !resized && !v.readOnly && !t.ended {
		// What drew the screen is not all kept.
		t.work.Go(t.redraw)
	}
	t.changed.Broadcast() // the others are told
	return &agentproto.Attached{Position: max(v.pos, v.replayTo), Missed: missed}, nil
}

// skip moves a viewer that has fallen behind to what is recent, and gives how much it misses of
// what is numbered. Rows are as for show. The terminal's mutex is held.
func (v *viewer) skip(rows uint16) (missed int64) {
	recent := &v.t.out.recent
	missed = max(0, recent.at-max(v.pos, v.replayTo))
	v.pos = recent.at
	v.show(recent, rows)
	return missed
}

// show sets the screen's modes to those at a mark, where the viewer goes on. What is kept was
// written to a screen of so many rows.
func (v *viewer) show(m *mark, rows uint16) {
	v.replay = &vtmode.Replay{Tracker: m.modes, Rows: int(rows)}
	if v.modes = v.replay.AppendSet(nil); v.pos >= v.replayTo {
		v.modes, v.replay = v.replay.Flush(v.modes), nil
	}
}

// serve tells a viewer that it is attached, and passes output and input between it and the
// terminal, until either ends.
func (v *viewer) serve(s *agentproto.Stream, attached *agentproto.Attached) {
	attached.Terminal = v.t.info()
	if s.Send(attached) != nil {
		return // it is gone
	}
	shown := make(chan struct{})
	var listening sync.WaitGroup
	listening.Go(func() { v.listen(s, shown) })
	v.send(s)
	close(shown)
	_ = s.Close() // ends the listening
	listening.Wait()
}

// send sends what there is to see until there will be no more, then the exit code.
func (v *viewer) send(s *agentproto.Stream) {
	defer v.leave()
	for v.await() {
		if v.sendNext(s) != nil {
			return
		}
	}
	v.t.mu.Lock()
	gone, code := v.gone, v.t.code
	v.t.mu.Unlock()
	if !gone {
		_ = s.Send(&agentproto.Exit{Code: code}) // a viewer that is gone misses it
	}
}

// await waits until there is something to send; false where that will never be.
func (v *viewer) await() bool {
	t := v.t
	t.mu.Lock()
	defer t.mu.Unlock()
	for !v.gone && !v.probe && !t.ended && v.pos == t.out.End() && v.told == t.looks() && len(v.modes) == 0 {
		t.changed.Wait()
	}
	return !v.gone && (v.probe || v.pos < t.out.End() || len(v.modes) > 0 || v.told != t.looks() && !t.ended)
}

// portion is what a viewer is sent next.
type portion struct {
	missed   int64
	viewers  agentproto.Viewers // nobody: it knows
	modes    []byte
	data     []byte
	replayed bool // data is to be shown once more
	last     bool // of what is shown once more
}

func (v *viewer) sendNext(s *agentproto.Stream) error {
	buf := buffers.Get().(*[viewerChunk]byte)
	defer buffers.Put(buf)
	p := v.take(buf[:])
	if p.missed > 0 {
		if err := s.Send(&agentproto.Missed{Bytes: p.missed}); err != nil {
			return err
		}
	}
	if p.viewers.Count > 0 {
		if err := s.Send(&p.viewers); err != nil {
			return err
		}
	}
	if len(p.modes) > 0 {
		if err := s.SendData(agentproto.KindReplay, p.modes); err != nil {
			return err
		}
	}
	if !p.replayed {
		return s.SendData(agentproto.KindData, p.data) // also none, to see whether it is there
	}
	shown := v.replay.Append(nil, p.data)
	if p.last {
		shown, v.replay = v.replay.Flush(shown), nil
	}
	if len(shown) > 0 {
		if err := s.SendData(agentproto.KindReplay, shown); err != nil {
			return err
		}
	}
	if p.last {
		return s.SendData(agentproto.KindData, nil) // that was it
	}
	return nil
}

// take gives what the viewer gets next; data is in buf.
func (v *viewer) take(buf []byte) (p portion) {
	t := v.t
	t.mu.Lock()
	defer t.mu.Unlock()
	v.probe = false
	if now := t.looks(); now != v.told {
		p.viewers, v.told = now, now
	}
	if v.pos < t.out.oldest.at {
		p.missed = v.skip(t.rows)
	}
	p.modes, v.modes = v.modes, nil
	to := t.out.End()
	if p.replayed = v.pos < v.replayTo; p.replayed {
		to = v.replayTo
	}
	n := t.out.Read(buf, v.pos, to)
	if p.data = buf[:n]; n > 0 {
		v.pos, v.took = v.pos+int64(n), time.Now()
		t.changed.Broadcast() // there is room
	}
	p.last = v.pos == v.replayTo
	return p
}

// listen takes what the viewer sends, until it has left.
func (v *viewer) listen(s *agentproto.Stream, shown <-chan struct{}) {
	for {
		frame, err := s.Next()
		if err == nil {
			err = v.hear(frame)
		}
		if err == nil {
			continue
		}
		v.leave()
		if !errors.Is(err, io.EOF) {
			s.Reset()
			return
		}
		// What is under way to it may be waiting for it.
		timer := time.NewTimer(leaveTime)
		defer timer.Stop()
		select {
		case <-shown:
		case <-timer.C:
			s.Reset()
		}
		return
	}
}

func (v *viewer) hear(frame agentproto.Frame) error {
	switch frame.Kind {
	case agentproto.KindData:
		v.typeIn(frame.Payload)
	case agentproto.KindResize:
		var size agentproto.Resize
		if err := frame.Decode(&size); err != nil {
			return err
		}
		v.t.mu.Lock()
		defer v.t.mu.Unlock()
		v.rows, v.cols = size.Rows, size.Cols
		v.t.resize(v)
	}
	return nil
}

// typeIn hands input on, and waits while much of it waits already.
func (v *viewer) typeIn(b []byte) {
	t := v.t
	t.mu.Lock()
	defer t.mu.Unlock()
	if v.readOnly || len(b) == 0 {
		return
	}
	t.resize(v)
	for len(t.input) >= maxInput && !v.gone && !t.ended {
		timer := time.AfterFunc(probeEvery, func() {
			t.mu.Lock()
			defer t.mu.Unlock()
			v.probe = true
			t.changed.Broadcast()
		})
		t.changed.Wait()
		timer.Stop()
	}
	if v.gone || t.ended {
		return
	}
	t.active = time.Now()
	if !t.writing && len(t.input) == 0 {
		// A key is nearly always taken at once. Only what is not costs a goroutine.
		b = pty.WriteNow(t.master, b)
	}
	t.input = append(t.input, b...)
	if !t.writing && len(t.input) > 0 {
		t.writing = true
		t.work.Go(t.write)
	}
}

// leave takes the viewer off the terminal, which then lives on for a while. It may be repeated.
func (v *viewer) leave() {
	t := v.t
	t.mu.Lock()
	defer t.mu.Unlock()
	if v.gone {
		return
	}
	v.gone = true
	delete(t.viewers, v)
	t.changed.Broadcast()
	if len(t.viewers) == 0 && !t.ended {
		t.expiry.Reset(t.linger)
	}
}
