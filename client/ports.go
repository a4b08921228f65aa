package client

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/coder/websocket"

	v1 "github.com/octobot-run/octobot/api/v1"
)

// ListPorts gives the TCP ports that something in a running session listens on, ordered by port and
// address.
func (c *Client) ListPorts(ctx context.Context, id string) ([]v1.ListeningPort, error) {
	var list v1.PortList
	err := c.call(ctx, request{method: http.MethodGet, path: []string{"v1", "sessions", id, "ports"}}, &list)
	return list.Ports, err
}

// DialPort connects to a TCP port inside a running session, published or not, of whatever address
// the program there listens on, 127.0.0.1 included. ctx bounds the connecting alone. Nothing
// listens: [v1.CodePortClosed].
func (c *Client) DialPort(ctx context.Context, id string, port int) (*PortConn, error) {
	return c.dialConn(ctx, []string{"ports", strconv.Itoa(port)}, id, nil,
		portAddr(net.JoinHostPort(id, strconv.Itoa(port))))
}

// DialSocket connects to a Unix socket inside a running session by its path, as a user, empty for
// the session's own: it is what that user may do. ctx bounds the connecting alone. No socket that
// the user reaches: [v1.CodePathNotFound]; nothing listens: [v1.CodePortClosed].
func (c *Client) DialSocket(ctx context.Context, id, path, user string) (*PortConn, error) {
	q := url.Values{"path": {path}}
	setString(q, "user", user)
	return c.dialConn(ctx, []string{"sockets"}, id, q, portAddr(id+":"+path))
}

func (c *Client) dialConn(
	ctx context.Context, path []string, id string, query url.Values, remote portAddr,
) (*PortConn, error) {
	conn, err := c.dial(ctx, request{method: http.MethodGet, path: append([]string{"v1", "sessions", id}, path...),
		query: query})
	if err != nil {
		return nil, err
	}
	return newPortConn(conn, remote), nil
}

// PortConn is a connection with a program inside a session. One goroutine may Read while another
// writes; all else may be called at any time and be repeated.
type PortConn struct {
	conn   *websocket.Conn
	ctx    context.Context // ends with Reset and with a deadline
	cancel context.CancelCauseFunc
	remote portAddr
	frame  io.Reader // the binary frame being read; nil between frames; of the reading goroutine
	ended  error     // what every Read gives from now on; of the reading goroutine

	leaving atomic.Bool // Close was called
	closing sync.Mutex
	closed  bool // CloseWrite was called; guarded by closing

	timing sync.Mutex
	timers [2]*time.Timer // of reading and writing; guarded by timing
}

var _ net.Conn = (*PortConn)(nil)

// farewell bounds the last frames of a connection.
const farewell = 5 * time.Second

func newPortConn(conn *websocket.Conn, remote portAddr) *PortConn {
	p := &PortConn{conn: conn, remote: remote}
	p.ctx, p.cancel = context.WithCancelCause(context.Background())
	return p
}

// Read implements [net.Conn]. io.EOF: the other side has ended its direction in good order; an
// error that is syscall.ECONNRESET: it has not, or the way to it was cut, see [CodeOf].
func (p *PortConn) Read(b []byte) (int, error) {
	for {
		if err := p.Await(); err != nil {
			return 0, err
		}
		n, err := p.frame.Read(b)
		if err == io.EOF { // itself: others are of what is beneath
			p.frame, err = nil, nil
		}
		if err != nil {
			p.ended = p.explain(err)
			return n, p.ended
		}
		if n > 0 || len(b) == 0 {
			return n, nil
		}
	}
}

// Await waits until Read would not: who reads much at once need hold no buffer until then. An
// error is Read's.
func (p *PortConn) Await() error {
	for p.ended == nil {
		if p.frame == nil {
			if p.ended = p.begin(); p.ended != nil {
				break
			}
		}
		// It tells whether anything is left of the frame, and may wait for more of it.
		switch _, err := p.frame.Read(nil); {
		case err == nil:
			return nil
		case err == io.EOF:
			p.frame = nil
		default:
			p.ended = p.explain(err)
		}
	}
	return p.ended
}

// begin takes the next frame of bytes.
func (p *PortConn) begin() error {
	for {
		kind, frame, err := p.conn.Reader(p.ctx)
		if err != nil {
			return p.explain(err)
		}
		if kind == websocket.MessageBinary {
			p.frame = frame
			return nil
		}
		control, err := readControl(frame)
		if err != nil {
			// The server's last word: it waits for the answer to its close.
			_ = p.conn.Close(websocket.StatusNormalClosure, "")
			return p.explain(err)
		}
		if control.EOF {
			go func() { // what the server's close finds; Close and the server's end it
				_, _, _ = p.conn.Reader(p.ctx)
			}()
			return io.EOF
		}
	}
}

// explain gives an error the meaning that it has for other connections.
func (p *PortConn) explain(err error) error {
	if cause := context.Cause(p.ctx); cause != nil {
		return cause
	}
	if p.leaving.Load() {
		return net.ErrClosed
	}
	return &resetError{err}
}

// resetError is syscall.ECONNRESET, with why.
type resetError struct{ why error }

func (e *resetError) Error() string {
	if CodeOf(e.why) == "" {
		return "the connection was cut"
	}
	return "the connection was cut: " + e.why.Error()
}

func (e *resetError) Unwrap() []error { return []error{syscall.ECONNRESET, e.why} }

// Write implements [net.Conn]. It waits while the other side does not read.
func (p *PortConn) Write(b []byte) (int, error) {
	n := 0
	for n < len(b) {
		part := b[n:min(n+portChunk, len(b))]
		if err := p.conn.Write(p.ctx, websocket.MessageBinary, part); err != nil {
			return n, p.explain(err)
		}
		n += len(part)
	}
	return n, nil
}

// portChunk is how much one frame carries.
const portChunk = 64 << 10

// CloseWrite says that no more is written; reading goes on.
func (p *PortConn) CloseWrite() error {
	p.closing.Lock()
	defer p.closing.Unlock()
	if p.closed {
		return nil
	}
	p.closed = true
	if err := writeControl(p.ctx, p.conn, v1.Control{EOF: true}); err != nil {
		return p.explain(err)
	}
	return nil
}

// Close implements [net.Conn]: it ends both directions. What was written still arrives, for which
// it waits, unless the other side takes nothing for some seconds.
func (p *PortConn) Close() error {
	late := time.AfterFunc(farewell, p.Reset) // also for who is in CloseWrite
	defer late.Stop()
	p.leaving.Store(true)
	if p.CloseWrite() == nil {
		// The server answers once it has taken all that was written. To leave before would drop
		// what is still on its way, once anything comes the other way.
		_ = p.conn.Close(websocket.StatusNormalClosure, "")
	}
	p.Reset()
	return nil
}

// Reset ends both directions at once, and the other side learns that this is no end in good order,
// unless Close or CloseWrite came first. It unblocks Read and Write.
func (p *PortConn) Reset() { p.end(net.ErrClosed) }

func (p *PortConn) end(why error) {
	p.cancel(why)
	for i := range p.timers {
		p.setTimer(i, time.Time{})
	}
	_ = p.conn.CloseNow()
}

// LocalAddr implements [net.Conn].
func (p *PortConn) LocalAddr() net.Addr { return portAddr("octobot") }

// RemoteAddr implements [net.Conn]: the session and the port, or the address in the session.
func (p *PortConn) RemoteAddr() net.Addr { return p.remote }

// SetDeadline implements [net.Conn]. Unlike other connections', a deadline that passes ends this
// one.
func (p *PortConn) SetDeadline(t time.Time) error {
	return errors.Join(p.SetReadDeadline(t), p.SetWriteDeadline(t))
}

// SetReadDeadline implements [net.Conn], as SetDeadline does.
func (p *PortConn) SetReadDeadline(t time.Time) error { return p.setTimer(0, t) }

// SetWriteDeadline implements [net.Conn], as SetDeadline does.
func (p *PortConn) SetWriteDeadline(t time.Time) error { return p.setTimer(1, t) }

func (p *PortConn) setTimer(i int, t time.Time) error {
	p.timing.Lock()
	defer p.timing.Unlock()
	if p.timers[i] != nil {
		p.timers[i].Stop()
		p.timers[i] = nil
	}
	if !t.IsZero() && p.ctx.Err() == nil {
		p.timers[i] = time.AfterFunc(time.Until(t), func() { p.end(os.ErrDeadlineExceeded) })
	}
	return nil
}

type portAddr string

func (portAddr) Network() string  { return "octobot" }
func (a portAddr) String() string { return string(a) }

// Listen listens on a TCP port inside a running session, 0 for any that is free, and of one of its
// addresses, empty for 127.0.0.1, until the listener is closed or the session stops. ctx bounds the
// beginning alone. The port or the address can't be had: [v1.CodePortTaken].
func (c *Client) Listen(ctx context.Context, id, address string, port int) (*Listener, error) {
	q := url.Values{"port": {strconv.Itoa(port)}}
	setString(q, "address", address)
	conn, err := c.dial(ctx, request{method: http.MethodGet, path: []string{"v1", "sessions", id, "listeners"},
		query: q})
	if err != nil {
		return nil, err
	}
	l := &Listener{client: c, session: id, conn: conn, over: make(chan struct{})}
	l.ctx, l.cancel = context.WithCancelCause(context.Background())
	stop := context.AfterFunc(ctx, func() { _ = conn.CloseNow() })
	l.listening, err = l.begin()
	if !stop() {
		err = context.Cause(ctx)
	}
	if err != nil {
		l.cancel(err)
		_ = conn.CloseNow()
		return nil, err
	}
	go l.watch()
	return l, nil
}

// Listener listens inside a session.
type Listener struct {
	client    *Client
	session   string
	conn      *websocket.Conn
	listening v1.Listening
	ctx       context.Context // ends when nothing can be accepted any more, with why
	cancel    context.CancelCauseFunc
	over      chan struct{} // closed when watch has ended
}

var _ net.Listener = (*Listener)(nil)

func (l *Listener) begin() (v1.Listening, error) {
	_, frame, err := l.conn.Reader(l.ctx)
	if err != nil {
		return v1.Listening{}, connectionCut(err)
	}
	control, err := readControl(frame)
	if err == nil && control.Listening == nil {
		err = errors.New("the server does not say what it listens on")
	}
	if err != nil {
		return v1.Listening{}, err
	}
	return *control.Listening, nil
}

// watch learns when nobody listens any more.
func (l *Listener) watch() {
	defer close(l.over)
	for {
		_, frame, err := l.conn.Reader(l.ctx)
		if err == nil {
			_, err = readControl(frame)
		} else {
			err = connectionCut(err)
		}
		if err != nil {
			l.cancel(err)
			_ = l.conn.CloseNow()
			return
		}
	}
}

// Done is closed when the listener is of no more use, which Accept says why.
func (l *Listener) Done() <-chan struct{} { return l.ctx.Done() }

// Accept implements [net.Listener]. After an error it may be called again, and may succeed, unless
// Done is closed; one of Close is net.ErrClosed.
func (l *Listener) Accept() (net.Conn, error) {
	conn, err := l.client.dial(l.ctx, request{method: http.MethodGet,
		path: []string{"v1", "sessions", l.session, "listeners", l.listening.ID}})
	if err != nil {
		return nil, l.explain(err)
	}
	// Until somebody connects, it ends with the listener.
	stop := context.AfterFunc(l.ctx, func() { _ = conn.CloseNow() })
	peer, err := readConnected(l.ctx, conn)
	if !stop() {
		err = l.ctx.Err()
	}
	if err != nil {
		_ = conn.CloseNow()
		return nil, l.explain(err)
	}
	return newPortConn(conn, portAddr(peer.Address)), nil
}

func readConnected(ctx context.Context, conn *websocket.Conn) (v1.Peer, error) {
	_, frame, err := conn.Reader(ctx)
	if err != nil {
		return v1.Peer{}, connectionCut(err)
	}
	control, err := readControl(frame)
	if err == nil && control.Connected == nil {
		err = errors.New("the server does not say who has connected")
	}
	if err != nil {
		return v1.Peer{}, err
	}
	return *control.Connected, nil
}

func (l *Listener) explain(err error) error {
	if CodeOf(err) == v1.CodePortClosed {
		select { // the listener's own connection tells why
		case <-l.ctx.Done():
		case <-time.After(farewell):
		}
	}
	if cause := context.Cause(l.ctx); cause != nil {
		return cause
	}
	return err
}

// Close implements [net.Listener]. Connections that were accepted go on.
func (l *Listener) Close() error {
	l.cancel(net.ErrClosed)
	_ = l.conn.CloseNow()
	<-l.over
	return nil
}

// Addr implements [net.Listener]: the address in the session.
func (l *Listener) Addr() net.Addr {
	return &net.TCPAddr{IP: net.ParseIP(l.listening.Address), Port: l.listening.Port}
}
