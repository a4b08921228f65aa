package agentproto

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-yamux/v5"
)

// Window is how many bytes either side of a stream may send before the other has read:
// what a reader that stands still costs.
const Window = 256 << 10

const (
	// agentKeepAlive is how often an agent asks whether the daemon is still there. The daemon need
	// not ask: its engine tells it when the connection ends, and a paused container could not
	// answer.
	agentKeepAlive = 30 * time.Second
	// writeTimeout is how long a connection may take nothing at all.
	writeTimeout = 30 * time.Second
	// maxStreams bounds what one daemon may have under way on a connection.
	maxStreams = 8192
)

func config(agent bool) *yamux.Config {
	c := yamux.DefaultConfig()
	c.EnableKeepAlive = agent
	c.KeepAliveInterval = agentKeepAlive
	c.MeasureRTTInterval = 1000 * time.Hour // its only use is to grow windows, and they don't
	c.ConnectionWriteTimeout = writeTimeout
	c.InitialStreamWindowSize = Window
	c.MaxStreamWindowSize = Window
	c.MaxMessageSize = maxMessage
	c.ReadBufSize = 4 << 10
	c.WriteCoalesceDelay = 0
	c.LogOutput = io.Discard
	c.MaxIncomingStreams = 0
	if agent {
		c.MaxIncomingStreams = maxStreams
	}
	return c
}

// Session carries the streams of one connection, which it owns. Its methods may be called from many
// goroutines.
type Session struct {
	mux  *yamux.Session
	most int // of a frame's payload that is read
	load *load
	open atomic.Int32 // streams that this side has not ended
}

func newSession(conn net.Conn, agent bool) (*Session, error) {
	load := newLoad()
	conn = &gather{Conn: conn, busy: load.busy, patient: agent}
	if agent {
		mux, err := yamux.Server(conn, config(true), nil)
		return &Session{mux: mux, most: MaxFrame, load: load}, err
	}
	mux, err := yamux.Client(conn, config(false), nil)
	return &Session{mux: mux, most: MaxReply, load: load}, err
}

// ErrNotOpened: no stream could be opened, and so the request has not left.
var ErrNotOpened = errors.New("the session takes no more streams")

// Open starts an operation: it opens a stream and sends the request. Only a daemon opens. After an
// error other than [ErrNotOpened] and [ErrFrame] the request may have arrived.
//
// Where ctx ends meanwhile, the operation is cancelled.
func (s *Session) Open(ctx context.Context, request Message) (*Stream, error) {
	// The multiplexer keeps a stream for good whose opening was given up.
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotOpened, err)
	}
	y, err := s.mux.OpenStream(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotOpened, err)
	}
	stream := s.newStream(y)
	defer context.AfterFunc(ctx, stream.Reset)()
	if err := stream.Send(request); err != nil {
		stream.Reset()
		return nil, err
	}
	return stream, nil
}

// Accept waits for the next operation. An error means that the session has ended.
func (s *Session) Accept() (*Stream, error) {
	y, err := s.mux.AcceptStream()
	if err != nil {
		return nil, err
	}
	return s.newStream(y), nil
}

// Streams is how many operations are under way, of those that this side has not ended. It does not
// ask the multiplexer, whose lock waits for the other side at times.
func (s *Session) Streams() int { return int(s.open.Load()) }

// Ping reports whether the other side has answered. It returns when the session has ended, and
// after a minute at the latest.
func (s *Session) Ping() bool {
	_, err := s.mux.Ping()
	return err == nil
}

// Done is closed when the session has ended, however that came.
func (s *Session) Done() <-chan struct{} { return s.mux.CloseChan() }

// Close ends all streams and the connection. A repeated call: nil.
func (s *Session) Close() error { return s.mux.Close() }

// Frame is one frame of a stream. Its payload is valid until the next call to [Stream.Next].
type Frame struct {
	Kind    Kind
	Payload []byte
}

// Stream is one operation. One goroutine may read while others send.
type Stream struct {
	c     conn
	most  int
	onEnd func() // called once
	ended atomic.Bool

	reading sync.Mutex
	r       *bufio.Reader // guarded by reading
	in      []byte        // guarded by reading

	sending sync.Mutex
	out     []byte // guarded by sending

	ending   sync.Mutex
	closing  int  // ends in good order that are on their way; guarded by ending
	resetDue bool // Reset was called meanwhile; guarded by ending
}

// conn is what carries a stream: a stream of the multiplexer's, or a connection of its own.
type conn interface {
	io.ReadWriteCloser
	CloseWrite() error
	Reset() error
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
}

func newStream(c conn, most int, onEnd func()) *Stream {
	return &Stream{c: c, most: most, onEnd: onEnd, r: bufio.NewReaderSize(bytesFirst{c}, 1<<10)}
}

// bytesFirst leaves an error that comes with bytes to the next Read. The multiplexer has one where
// it can't tell the other side of the room that a Read made, whatever else there is to be read.
type bytesFirst struct{ io.Reader }

func (r bytesFirst) Read(b []byte) (int, error) {
	n, err := r.Reader.Read(b)
	if n > 0 {
		err = nil
	}
	return n, err
}

func (s *Session) newStream(y *yamux.Stream) *Stream {
	s.open.Add(1)
	begun := s.load.begin()
	return newStream(y, s.most, func() {
		s.open.Add(-1)
		begun.end()
	})
}

// Send sends a message, as one frame.
func (s *Stream) Send(m Message) error {
	s.sending.Lock()
	defer s.sending.Unlock()
	b, err := appendFrame(s.out[:0], m)
	if err != nil {
		return err
	}
	return s.flush(b)
}

// SendData sends b in frames of kind k, and waits while the other side does not take it.
func (s *Stream) SendData(k Kind, b []byte) error {
	s.sending.Lock()
	defer s.sending.Unlock()
	for {
		n := min(len(b), MaxData)
		if err := s.flush(appendData(s.out[:0], k, b[:n])); err != nil {
			return err
		}
		if b = b[n:]; len(b) == 0 {
			return nil
		}
	}
}

func (s *Stream) flush(b []byte) error {
	if s.out = b; cap(b) > 2*maxMessage {
		s.out = nil
	}
	_, err := s.c.Write(b)
	return err
}

// Next reads the next frame. io.EOF: the other side has closed the stream, or its half, in good
// order. Any other error means that the operation is over: it was reset, the connection has ended,
// or what came is no frame.
func (s *Stream) Next() (Frame, error) {
	s.reading.Lock()
	defer s.reading.Unlock()
	kind, payload, err := readFrame(s.r, s.in[:0], s.most)
	if s.in = payload; cap(payload) > 2*maxMessage {
		s.in = nil
	}
	return Frame{kind, payload}, err
}

// Over tells, without waiting, whether the operation was cut, although frames may still be unread:
// a reset, or the end of the connection. An end in good order shows when all before it was read. It
// is for the goroutine that reads, while it can't.
func (s *Stream) Over() bool {
	_ = s.c.SetReadDeadline(time.Unix(1, 0))
	_, err := s.c.Read(nil)
	_ = s.c.SetReadDeadline(time.Time{})
	return err != nil && !errors.Is(err, yamux.ErrTimeout)
}

// Receive reads the next frame into m. A frame that is an [Error] comes back as that error, one of
// another kind than m's as [ErrFrame].
func (s *Stream) Receive(m Message) error {
	frame, err := s.Next()
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	return frame.Decode(m)
}

// Decode reads the frame into m, as [Stream.Receive] does.
func (f Frame) Decode(m Message) error {
	if f.Kind == KindError && m.Kind() != KindError {
		failure := &Error{}
		if err := Decode(f.Payload, failure); err != nil {
			return err
		}
		return failure
	}
	if f.Kind != m.Kind() {
		return fmt.Errorf("%w: kind %d where %d was due", ErrFrame, f.Kind, m.Kind())
	}
	return Decode(f.Payload, m)
}

// CloseWrite says that no more is sent; reading goes on.
func (s *Stream) CloseWrite() error { return s.inOrder(s.c.CloseWrite) }

// inOrder ends a direction, or both. A reset that comes meanwhile follows: on its own it would
// reach the other side first at times, which then lost what it has not read.
func (s *Stream) inOrder(end func() error) error {
	s.ending.Lock()
	s.closing++
	s.ending.Unlock()
	err := end()
	s.ending.Lock()
	s.closing--
	due := s.resetDue && s.closing == 0
	s.ending.Unlock()
	if due {
		_ = s.c.Reset()
	}
	return err
}

// Close ends both directions. What was sent still arrives.
func (s *Stream) Close() error {
	s.end()
	return s.inOrder(s.c.Close)
}

// Leave ends the operation of who has said all that there was to say, which arrives still, and
// hears no more: Next returns an error, also to who waits in it. Leave waits for the other side to
// end it too, so long at most.
func (s *Stream) Leave(wait time.Duration) {
	_ = s.c.SetReadDeadline(time.Unix(1, 0))
	s.reading.Lock()
	defer s.reading.Unlock()
	_ = s.c.SetReadDeadline(time.Now().Add(wait))
	if s.c.CloseWrite() == nil {
		_, _ = io.Copy(io.Discard, s.c)
	}
	s.Reset()
}

// Reset ends the stream at once, in both directions: an operation is cancelled. After Close:
// nothing.
func (s *Stream) Reset() {
	s.end()
	s.ending.Lock()
	s.resetDue = true
	wait := s.closing > 0
	s.ending.Unlock()
	if wait {
		_ = s.c.SetReadDeadline(time.Unix(1, 0)) // who reads is not to wait for that
		return
	}
	_ = s.c.Reset()
}

func (s *Stream) end() {
	if !s.ended.Swap(true) {
		s.onEnd()
	}
}
