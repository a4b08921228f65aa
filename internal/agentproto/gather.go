package agentproto

import (
	"encoding/binary"
	"net"
	"sync"
	"time"
)

const (
	// gatherFor is how long what nobody waits for may be held back, to go out with what somebody
	// does wait for.
	gatherFor = time.Millisecond
	// gatherMost bounds it in bytes, and what of a message is copied to go out with it.
	gatherMost = 4 << 10
	// gatherShort is what is short.
	gatherShort = 512

	muxHeader       = 12 // yamux: version, type, flags, stream, length
	muxWindowUpdate = 1
)

// gather holds the multiplexer's small words back for a moment: that a stream is opened, was
// accepted, or has ended. A short command is three of them beside its request and its answer, and
// each that travels alone costs a wakeup of the engine, which copies it, and of the other side:
// together more than the command itself.
//
// Where many commands are under way, they share the wakeups: all that is short is held back then.
//
// The order of all that is written stays as it is.
type gather struct {
	net.Conn
	busy func() bool
	// patient takes no deadlines for writing: those of an agent pass while its container is paused,
	// and it is no reason then to end all commands. The end of its input is one.
	patient bool

	mu    sync.Mutex
	held  []byte
	timer *time.Timer // made with the first that is held
	err   error       // of a write that nobody waited for
}

// Write implements [net.Conn].
func (g *gather) Write(b []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.err != nil {
		return 0, g.err
	}
	if (canWait(b) || len(b) <= gatherShort && g.busy()) && len(g.held)+len(b) <= gatherMost {
		if len(g.held) == 0 {
			g.wake()
		}
		g.held = append(g.held, b...)
		return len(b), nil
	}
	if len(g.held) == 0 {
		return g.Conn.Write(b)
	}
	g.timer.Stop()
	if len(b) > gatherMost {
		if err := g.release(); err != nil {
			return 0, err
		}
		return g.Conn.Write(b)
	}
	before := len(g.held)
	g.held = append(g.held, b...)
	n, err := g.Conn.Write(g.held)
	g.held = g.held[:0]
	g.err = err
	return max(n-before, 0), err
}

func (g *gather) wake() {
	if g.timer == nil {
		g.timer = time.AfterFunc(gatherFor, g.late)
		return
	}
	g.timer.Reset(gatherFor)
}

// late sends what has waited long enough.
func (g *gather) late() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.err == nil && len(g.held) > 0 {
		_ = g.release()
	}
}

// release sends what is held, with mu held.
func (g *gather) release() error {
	_, g.err = g.Conn.Write(g.held)
	g.held = g.held[:0]
	return g.err
}

// SetWriteDeadline implements [net.Conn].
func (g *gather) SetWriteDeadline(t time.Time) error {
	if g.patient {
		return nil
	}
	return g.Conn.SetWriteDeadline(t)
}

// Close implements [net.Conn]. What is held is not sent any more: all streams end with the
// connection.
func (g *gather) Close() error {
	err := g.Conn.Close() // first, for it ends a write that has the lock
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.timer != nil {
		g.timer.Stop()
	}
	return err
}

// canWait recognises a message that carries nothing but flags of a stream. One that enlarges a
// window can't wait: the other side may stand still for it.
func canWait(b []byte) bool {
	return len(b) == muxHeader && b[1] == muxWindowUpdate && binary.BigEndian.Uint32(b[8:]) == 0
}
