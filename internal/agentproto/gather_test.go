package agentproto

import (
	"bytes"
	"errors"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// written is a connection that notes what each Write was given.
type written struct {
	net.Conn
	mu     sync.Mutex
	writes [][]byte
	err    error
}

func (w *written) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return 0, w.err
	}
	w.writes = append(w.writes, bytes.Clone(b))
	return len(b), nil
}

func (w *written) Close() error { return nil }

// took gives what was written since the last call.
func (w *written) took() [][]byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	defer func() { w.writes = nil }()
	return w.writes
}

func TestGather(t *testing.T) {
	opened := []byte{0, muxWindowUpdate, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0}
	ended := []byte{0, muxWindowUpdate, 0, 4, 0, 0, 0, 1, 0, 0, 0, 0}
	wider := []byte{0, muxWindowUpdate, 0, 0, 0, 0, 0, 1, 0, 0, 1, 0}
	data := []byte("\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x03abc")
	large := bytes.Repeat([]byte{7}, gatherMost+1)
	synctest.Test(t, func(t *testing.T) {
		w := &written{}
		busy := false
		g := &gather{Conn: w, busy: func() bool { return busy }}
		defer g.Close()
		write := func(messages ...[]byte) {
			t.Helper()
			for _, b := range messages {
				if n, err := g.Write(b); n != len(b) || err != nil {
					t.Fatalf("a write of %d bytes gives %d, %v", len(b), n, err)
				}
			}
		}
		want := func(what string, writes ...[]byte) {
			t.Helper()
			if got := w.took(); !slices.EqualFunc(got, writes, bytes.Equal) {
				t.Errorf("%s: written %q, want %q", what, got, writes)
			}
		}
		write(opened, data)
		want("with what follows", slices.Concat(opened, data))
		write(wider)
		want("a window that somebody may wait for", wider)
		write(opened, large)
		want("before a large message, which is not copied", opened, large)

		write(ended)
		time.Sleep(gatherFor / 2)
		synctest.Wait()
		want("held back")
		write(opened)
		time.Sleep(gatherFor / 2)
		synctest.Wait()
		want("when the first has waited long enough", slices.Concat(ended, opened))
		time.Sleep(10 * gatherFor)
		synctest.Wait()
		want("once only")

		for range gatherMost/muxHeader + 1 {
			write(ended)
		}
		if got := w.took(); len(got) != 1 {
			t.Errorf("more than is held goes out in %d writes, want 1", len(got))
		}

		w.took()
		busy = true
		write(data, ended, data)
		want("held back where much goes on")
		time.Sleep(gatherFor)
		synctest.Wait()
		want("together", slices.Concat(data, ended, data))
		longer := bytes.Repeat([]byte{7}, gatherShort+1)
		write(data, longer)
		want("with what is not short", slices.Concat(data, longer))
		busy = false

		w.err = errors.New("cut")
		write(ended)
		time.Sleep(2 * gatherFor)
		synctest.Wait()
		if _, err := g.Write(ended); !errors.Is(err, w.err) {
			t.Errorf("after a failure that nobody waited for: %v", err)
		}
	})
}

// TestLoad: many that have just begun make a session a busy one, not many that last.
func TestLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &load{cores: 2}
		check := func(what string, want bool) {
			t.Helper()
			if l.busy() != want {
				t.Errorf("%s: busy is %t", what, !want)
			}
		}
		check("nothing", false)
		var begun []*beginning
		for range 2 * busyPerCore {
			begun = append(begun, l.begin())
		}
		check("many", true)
		for range 2 {
			begun[3].end()
		}
		check("one less, whose end is told twice", false)
		l.begin()
		check("as many again", true)
		time.Sleep(2 * youngFor)
		check("all of them old", false)
		for _, b := range begun {
			b.end()
		}
		for range 2 * busyPerCore {
			l.begin()
		}
		check("many again", true)
	})
}
