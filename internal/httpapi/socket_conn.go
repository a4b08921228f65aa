package httpapi

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	v1 "github.com/octobot-run/octobot/api/v1"
	"github.com/octobot-run/octobot/internal/front"
	"github.com/octobot-run/octobot/internal/problem"
	"github.com/octobot-run/octobot/internal/relay"
)

// socketConn is a WebSocket that carries the bytes of one connection; see v1.Control.
type socketConn struct {
	api   *API
	s     *socket
	first chan frame                // the first one, where somebody waits for it already
	frame io.Reader                 // the binary frame being read; nil between frames
	lost  atomic.Pointer[time.Time] // since when the client seems to be gone

	over sync.Once
	mu   sync.Mutex
	left bool // its goroutines are waited for; guarded by mu
}

// lostFor is how long what a client has left is still passed on to a program that does not read,
// once the client seems to be gone. A kernel, too, gives up what nobody takes after a minute or
// two.
const lostFor = time.Minute

var _ relay.Conn = (*socketConn)(nil)

// frame is what the client has sent, or why it can't any more.
type frame struct {
	kind websocket.MessageType
	r    io.Reader
	err  error
}

var (
	errReset        = problem.New(v1.CodePortClosed, "the connection was reset")
	errNothingDue   = problem.New(v1.CodeInvalidArgument, "nothing is due from the client any more")
	errNotListening = problem.New(v1.CodePortClosed, "nobody listens there any more")
)

// awaitGone begins to read before anything is due, to learn of a client that goes away.
func (c *socketConn) awaitGone() (gone <-chan struct{}) {
	first := make(chan frame, 1)
	c.first = first
	closed := make(chan struct{})
	c.s.wg.Go(func() {
		kind, r, err := c.s.conn.Reader(c.s.life)
		if err != nil {
			close(closed)
		}
		first <- frame{kind, r, err}
	})
	return closed
}

func (c *socketConn) next() frame {
	if first := c.first; first != nil {
		c.first = nil
		return <-first
	}
	kind, r, err := c.s.conn.Reader(c.s.life)
	return frame{kind, r, err}
}

// Await waits until bytes come, or the end of them.
func (c *socketConn) Await() error {
	for {
		if c.frame == nil {
			if err := c.begin(); err != nil {
				return err
			}
		}
		// It tells whether anything is left of the frame, and may wait for more of it.
		switch _, err := c.frame.Read(nil); {
		case err == nil:
			return nil
		case err == io.EOF:
			c.frame = nil
		default:
			return c.fail(err)
		}
	}
}

// begin takes the next frame of bytes.
func (c *socketConn) begin() error {
	f := c.next()
	if f.err == nil && f.kind == websocket.MessageBinary {
		c.frame = f.r
		return nil
	}
	err := f.err
	if err == nil {
		err = readControl(f.r, func(control v1.Control) error {
			if !control.EOF {
				return problem.New(v1.CodeInvalidArgument, "control frame: only eof is for a connection")
			}
			return io.EOF
		})
	}
	if err == io.EOF && f.err == nil {
		return err
	}
	return c.fail(err)
}

// fail ends the connection: the client has gone, or sends what is none of its.
func (c *socketConn) fail(err error) error {
	c.s.cancel(err)
	return noEOF(err)
}

// Ended begins to watch for a client that goes away after the last of its bytes, which is no reset.
func (c *socketConn) Ended() (gone <-chan struct{}) {
	away := make(chan struct{})
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left {
		return nil
	}
	c.s.wg.Go(func() {
		if _, _, err := c.s.conn.Reader(c.s.life); err != nil {
			close(away)
			return
		}
		c.s.cancel(errNothingDue)
	})
	return away
}

// Read implements [relay.Conn].
func (c *socketConn) Read(b []byte) (int, error) {
	for {
		if err := c.Await(); err != nil {
			return 0, err
		}
		n, err := c.frame.Read(b)
		if err == io.EOF {
			c.frame, err = nil, nil
		}
		if err != nil {
			err = c.fail(err)
		}
		if n > 0 || err != nil || len(b) == 0 {
			return n, err
		}
	}
}

// noEOF is for the end of what is beneath, which is none in good order.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// Write implements [relay.Conn]. It waits for a client that does not read.
func (c *socketConn) Write(b []byte) (int, error) {
	if err := c.s.write(c.s.life, b); err != nil {
		return 0, err
	}
	return len(b), nil
}

// CloseWrite implements [relay.Conn].
func (c *socketConn) CloseWrite() error { return c.s.say(v1.Control{EOF: true}) }

// end does what ends it, once.
func (c *socketConn) end(do func()) {
	c.over.Do(func() {
		c.mu.Lock()
		c.left = true
		c.mu.Unlock()
		do()
	})
}

// Close implements [relay.Conn].
func (c *socketConn) Close() error {
	c.end(func() {
		_ = c.s.conn.Close(websocket.StatusNormalClosure, "")
		c.s.leave()
	})
	return nil
}

// Reset implements [relay.Conn]: it tells the client why.
func (c *socketConn) Reset() {
	c.end(func() {
		why := c.api.problemOf(c.s.ctx, problem.CauseOf(c.s.ctx, errReset))
		c.s.closeWith(v1.Control{Error: &why.Problem})
	})
}

// Broken tells that the client has gone while nobody reads from it.
func (c *socketConn) Broken() bool {
	lost := c.lost.Load()
	return c.s.ctx.Err() != nil || lost != nil && time.Since(*lost) > lostFor
}

// acceptConn is accept for a WebSocket that carries a connection. A client that seems to be gone
// may have sent what the program has not taken yet, and then its end: that is met by who reads.
func (a *API) acceptConn(w *front.ResponseWriter, r *http.Request) (*socketConn, error) {
	s, err := a.upgrade(w, r)
	if err != nil {
		return nil, err
	}
	c := &socketConn{api: a, s: s}
	s.wg.Go(func() {
		if s.ping(s.ctx, 2*a.timing.keepalive) != nil {
			now := time.Now()
			c.lost.Store(&now)
		}
	})
	return c, nil
}

// say sends a control frame.
func (s *socket) say(c v1.Control) error {
	b, err := json.Marshal(c)
	if err != nil {
		return err
	}
	return s.conn.Write(s.life, websocket.MessageText, b)
}

// watch waits for the end of a WebSocket from which nothing more is due.
func (s *socket) watch() {
	s.wg.Go(func() {
		_, _, err := s.conn.Reader(s.life)
		if err == nil {
			err = errNothingDue
		}
		s.cancel(err)
	})
}

// leave ends a WebSocket that was closed, and waits for its goroutines.
func (s *socket) leave() {
	s.cancel(nil)
	s.end()
	_ = s.conn.CloseNow()
	s.wg.Wait()
}
