package httpapi

import (
	"encoding/json"
	"errors"
	"io"
	"sync"

	"github.com/coder/websocket"

	v1 "github.com/octobot-run/octobot/api/v1"
	"github.com/octobot-run/octobot/internal/problem"
	"github.com/octobot-run/octobot/internal/relay"
)

// socketConn is a WebSocket that carries the bytes of one connection; see v1.Control.
type socketConn struct {
	api   *API
	s     *socket
	first chan frame // the first one, where somebody waits for it already
	frame io.Reader  // the binary frame being read; nil between frames
	over  sync.Once
}

var _ relay.Conn = (*socketConn)(nil)

// frame is what the client has sent, or why it can't any more.
type frame struct {
	kind websocket.MessageType
	r    io.Reader
	err  error
}

var (
	errReset        = problem.New(v1.CodePortClosed, "the connection was reset")
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

// Await waits until a frame of bytes comes, or the end of them.
func (c *socketConn) Await() error {
	if c.frame != nil {
		return nil
	}
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
			c.s.watch() // nobody else reads from now on
			return io.EOF
		})
	}
	if err == io.EOF && f.err == nil {
		return err
	}
	c.s.cancel(err)
	return noEOF(err)
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
		if n > 0 || err != nil {
			return n, noEOF(err)
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

// Close implements [relay.Conn].
func (c *socketConn) Close() error {
	c.over.Do(func() {
		_ = c.s.conn.Close(websocket.StatusNormalClosure, "")
		c.s.leave()
	})
	return nil
}

// Reset implements [relay.Conn]: it tells the client why.
func (c *socketConn) Reset() {
	c.over.Do(func() {
		why := c.api.problemOf(c.s.ctx, problem.CauseOf(c.s.ctx, errReset))
		c.s.closeWith(v1.Control{Error: &why.Problem})
	})
}

// Broken tells that the client has gone while nobody reads from it.
func (c *socketConn) Broken() bool { return c.s.ctx.Err() != nil }

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
			err = problem.New(v1.CodeInvalidArgument, "nothing is due from the client any more")
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
