package agentproto

import (
	"encoding/binary"
	"io"
	"net"
)

// relayChunk is how much is passed on at once.
const relayChunk = 32 << 10

// unixConn carries a single stream.
type unixConn struct{ *net.UnixConn }

// Reset implements conn: what is still to be read is lost, which the other side is told.
func (c unixConn) Reset() error { return c.Close() }

// NewStream makes a stream of a connection within the container, which it owns: one operation that
// another agent passes on, see [Stream.Relay].
func NewStream(c *net.UnixConn) *Stream {
	return newStream(unixConn{c}, MaxFrame, func() {})
}

// Relay has an operation served by who is at the other end of c, which it owns: its request, which
// was read already, and all that follows either way. It returns when the operation has ended.
func (s *Stream) Relay(request Frame, c *net.UnixConn) error {
	s.reading.Lock()
	defer s.reading.Unlock()
	defer c.Close()
	header := binary.BigEndian.AppendUint32([]byte{byte(request.Kind)}, uint32(len(request.Payload)))
	if _, err := (&net.Buffers{header, request.Payload}).WriteTo(c); err != nil {
		return err
	}
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		if _, err := copyChunks(c, s.r); err != nil {
			_ = c.Close() // the operation was cut
			return
		}
		_ = c.CloseWrite()
	}()
	_, err := copyChunks(s.c, c)
	if err != nil {
		s.Reset()
	}
	_ = s.Close() // ends the other direction
	_ = c.Close()
	<-asked
	return nil
}

// copyChunks passes on what comes, as it comes. It takes no short cut by ways of the kernel's,
// which have buffers of their own.
func copyChunks(to io.Writer, from io.Reader) (int64, error) {
	return io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{from}, make([]byte, relayChunk))
}
