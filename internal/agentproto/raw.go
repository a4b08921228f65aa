package agentproto

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/libp2p/go-yamux/v5"
)

// Raw is a stream of bytes without frames, with the promises of a [net.Conn]. One goroutine reads
// while others write.
type Raw struct {
	s       *Stream
	reading sync.Mutex // held by Read and Await
	writing sync.Mutex // held by Write

	deadline    sync.Mutex
	read, write time.Time // the deadlines; guarded by deadline
	looking     bool      // look has put its own in place of that for reading; guarded by deadline
}

var _ net.Conn = (*Raw)(nil)

// Raw is the stream as a connection, for operations whose frames are followed by bytes without
// frames. Nothing else is done with the stream then.
func (s *Stream) Raw() *Raw { return &Raw{s: s} }

// Read implements [net.Conn]. io.EOF: the other side has ended its direction in good order; an
// error that is syscall.ECONNRESET: the stream was reset, or its connection has ended.
func (c *Raw) Read(b []byte) (int, error) {
	c.reading.Lock()
	defer c.reading.Unlock()
	n, err := c.s.r.Read(b)
	return n, c.explain(err)
}

// Await waits until Read would not: who reads much at once need hold no buffer until then. Of an
// end, in whatever way, Read tells.
func (c *Raw) Await() error {
	c.reading.Lock()
	defer c.reading.Unlock()
	if c.s.r.Buffered() > 0 {
		return nil
	}
	_, _ = c.s.c.Read(nil) // its error may be one of what was to be said, and there is still something to read
	return nil
}

// Write implements [net.Conn]. It waits while the other side does not read.
func (c *Raw) Write(b []byte) (int, error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	n, err := c.s.c.Write(b)
	return n, c.explain(err)
}

// explain gives an error the meaning that it has for other connections.
func (c *Raw) explain(err error) error {
	switch {
	case err == nil, err == io.EOF: // itself: a connection's end is in the error that it gives its streams
		return err
	case c.s.ended.Load():
		return net.ErrClosed
	case isTimeout(err):
		return os.ErrDeadlineExceeded
	}
	return &resetError{err}
}

func isTimeout(err error) bool {
	timeout, ok := errors.AsType[net.Error](err)
	return ok && timeout.Timeout()
}

// resetError is syscall.ECONNRESET, with why.
type resetError struct{ why error }

func (e *resetError) Error() string { return syscall.ECONNRESET.Error() + ": " + e.why.Error() }
func (e *resetError) Unwrap() error { return syscall.ECONNRESET }

// CloseWrite says that no more is written; reading goes on.
func (c *Raw) CloseWrite() error { return c.explain(c.s.CloseWrite()) }

// Close ends both directions. What was written still arrives; who still writes on the other side
// learns that nobody reads. A repeated call: nil.
func (c *Raw) Close() error {
	_ = c.s.CloseWrite() // after a reset there is nothing to end
	c.Reset()
	return nil
}

// Reset ends both directions at once. After the end of both, in whatever way: nothing.
func (c *Raw) Reset() { c.s.Reset() }

// Broken tells that the stream was reset before the other side had ended its direction in good
// order, which otherwise only Read and Write would. While somebody reads, it is false: they learn
// it themselves.
func (c *Raw) Broken() bool {
	if !c.reading.TryLock() {
		return false
	}
	defer c.reading.Unlock()
	err := c.look()
	return err != nil && err != io.EOF
}

// Deaf tells that the other side, which has ended its direction in good order and of which all was
// read, takes nothing any more. While somebody reads or writes, it is false.
func (c *Raw) Deaf() bool {
	if !c.reading.TryLock() {
		return false
	}
	defer c.reading.Unlock()
	if !c.writing.TryLock() {
		return false
	}
	defer c.writing.Unlock()
	return c.look() == io.EOF && c.unheard()
}

// look says what Read would where there are no bytes; nil where it would wait.
func (c *Raw) look() error {
	c.deadline.Lock()
	c.looking = true
	c.deadline.Unlock()
	defer func() {
		c.deadline.Lock()
		defer c.deadline.Unlock()
		c.looking = false
		if !c.s.ended.Load() { // Reset may have set one of its own
			_ = c.s.c.SetReadDeadline(c.read)
		}
	}()
	_ = c.s.c.SetReadDeadline(time.Unix(1, 0))
	if _, err := c.s.c.Read(nil); !isTimeout(err) {
		return err
	}
	return nil
}

// unheard tells that a write would fail.
func (c *Raw) unheard() bool {
	c.deadline.Lock()
	defer c.deadline.Unlock()
	defer func() { _ = c.s.c.SetWriteDeadline(c.write) }()
	_ = c.s.c.SetWriteDeadline(time.Unix(1, 0))
	_, err := c.s.c.Write([]byte{0}) // does not leave: its time is up
	return err != nil && !isTimeout(err) && !errors.Is(err, yamux.ErrStreamClosed)
}

// SetDeadline implements [net.Conn].
func (c *Raw) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetReadDeadline implements [net.Conn].
func (c *Raw) SetReadDeadline(t time.Time) error {
	c.deadline.Lock()
	defer c.deadline.Unlock()
	if c.read = t; c.looking {
		return nil
	}
	return c.s.c.SetReadDeadline(t)
}

// SetWriteDeadline implements [net.Conn].
func (c *Raw) SetWriteDeadline(t time.Time) error {
	c.deadline.Lock()
	defer c.deadline.Unlock()
	c.write = t
	return c.s.c.SetWriteDeadline(t)
}

// LocalAddr implements [net.Conn].
func (c *Raw) LocalAddr() net.Addr { return rawAddr{} }

// RemoteAddr implements [net.Conn].
func (c *Raw) RemoteAddr() net.Addr { return rawAddr{} }

// rawAddr is of a stream, which has no address.
type rawAddr struct{}

func (rawAddr) Network() string { return "agent" }
func (rawAddr) String() string  { return "agent" }
