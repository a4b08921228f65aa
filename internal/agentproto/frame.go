package agentproto

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Kind is what a frame is. Each topic has a range of its own; a number is never used again for
// something else.
type Kind uint8

// Kinds of any operation, 0 to 31.
const (
	KindData  Kind = iota + 1 // bytes; what they are, the operation tells
	KindEnd                   // no more of the sender's KindData follow; empty
	KindError                 // [Error]: the operation has failed, and nothing follows
	KindDone                  // the operation has succeeded, and nothing follows; empty

	kindHello   Kind = 16 // of the handshake, never on a stream
	kindWelcome Kind = 17
)

const (
	// MaxFrame bounds the payload of a frame: a request holds the arguments and the environment of
	// a command, which the kernel bounds at 2 MiB.
	MaxFrame = 4 << 20
	// MaxReply bounds the payload of a frame that the daemon takes from an agent. Lists that
	// are longer come in several frames.
	MaxReply = 1 << 20
	// MaxData is how much data one frame carries, so that it travels in one message of the
	// session's.
	MaxData = maxMessage - sessionHeader - frameHeader

	frameHeader   = 5
	sessionHeader = 12
	maxMessage    = 64 << 10
)

// Done is the message of KindDone.
type Done struct{}

// Kind implements [Message].
func (*Done) Kind() Kind { return KindDone }

func (*Done) fields(*fields) {}

// ErrFrame is about bytes that are no frame of this protocol, or too many.
var ErrFrame = errors.New("agent protocol: malformed frame")

// Message is the typed payload of a frame. All messages are of this package.
type Message interface {
	Kind() Kind
	fields(*fields)
}

// appendFrame appends m as a whole frame.
func appendFrame(b []byte, m Message) ([]byte, error) {
	start := len(b)
	f := &fields{buf: append(b, byte(m.Kind()), 0, 0, 0, 0)}
	m.fields(f)
	size := len(f.buf) - start - frameHeader
	if size > MaxFrame {
		return b, fmt.Errorf("%w: a message of %d bytes, of at most %d", ErrFrame, size, MaxFrame)
	}
	binary.BigEndian.PutUint32(f.buf[start+1:], uint32(size))
	return f.buf, nil
}

// appendData appends a frame of at most MaxData bytes.
func appendData(b []byte, k Kind, data []byte) []byte {
	b = append(b, byte(k), 0, 0, 0, 0)
	binary.BigEndian.PutUint32(b[len(b)-4:], uint32(len(data)))
	return append(b, data...)
}

// readFrame reads one frame into buf, which it grows where needed. An end between frames is io.EOF.
func readFrame(r io.Reader, buf []byte, most int) (Kind, []byte, error) {
	var header [frameHeader]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			err = fmt.Errorf("%w: it ends within a header", ErrFrame)
		}
		return 0, buf, err
	}
	size := int(binary.BigEndian.Uint32(header[1:]))
	if size > most {
		return 0, buf, fmt.Errorf("%w: %d bytes, of at most %d", ErrFrame, size, most)
	}
	if cap(buf) < size {
		buf = make([]byte, size)
	}
	buf = buf[:size]
	if _, err := io.ReadFull(r, buf); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = fmt.Errorf("%w: it ends within its payload", ErrFrame)
		}
		return 0, buf, err
	}
	return Kind(header[0]), buf, nil
}

// Decode reads a payload into m, whose fields must be zero. Bytes are copied: the payload may be
// used again.
func Decode(payload []byte, m Message) error {
	f := &fields{buf: payload, decoding: true}
	m.fields(f)
	if f.err != nil {
		return fmt.Errorf("%w: kind %d: %w", ErrFrame, m.Kind(), f.err)
	}
	return nil
}
