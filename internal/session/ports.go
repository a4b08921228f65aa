package session

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/octobot-run/octobot/internal/container"
)

// DialPort connects to a TCP port inside a session that runs, see [container.PortDialer]. The
// session counts as in use while bytes flow; a connection that is open and silent is no use of it.
func (s *ContainerService) DialPort(
	ctx context.Context, who Principal, id string, port int,
) (conn net.Conn, err error) {
	defer func(start time.Time) { s.finishOperation(ctx, who, "dial port", id, start, &err) }(time.Now())
	if err := container.ValidatePort(port); err != nil {
		return nil, err
	}
	return s.dial(ctx, who, id, func(ctx context.Context, d container.PortDialer) (net.Conn, error) {
		return d.DialPort(ctx, id, port)
	})
}

// DialSocket connects to a Unix socket inside a session, as DialPort does to a port.
func (s *ContainerService) DialSocket(
	ctx context.Context, who Principal, id, path string, opts container.SocketOptions,
) (conn net.Conn, err error) {
	defer func(start time.Time) { s.finishOperation(ctx, who, "dial socket", id, start, &err) }(time.Now())
	if err := opts.Validate(path); err != nil {
		return nil, err
	}
	return s.dial(ctx, who, id, func(ctx context.Context, d container.PortDialer) (net.Conn, error) {
		return d.DialSocket(ctx, id, path, opts)
	})
}

func (s *ContainerService) dial(
	ctx context.Context, who Principal, id string, do func(context.Context, container.PortDialer) (net.Conn, error),
) (net.Conn, error) {
	var conn net.Conn
	err := s.withDialer(ctx, who, id, func(ctx context.Context, d container.PortDialer) (err error) {
		conn, err = do(ctx, d)
		return err
	})
	if err != nil {
		return nil, err
	}
	return s.countConn(id, conn), nil
}

// ListenPort listens on a TCP port inside a session, see [container.PortDialer]. What is listened
// for is no use of the session; what is accepted counts as DialPort's connections do.
func (s *ContainerService) ListenPort(
	ctx context.Context, who Principal, id, address string, port int,
) (listener net.Listener, err error) {
	defer func(start time.Time) { s.finishOperation(ctx, who, "listen", id, start, &err) }(time.Now())
	if err := container.ValidateListen(address, port); err != nil {
		return nil, err
	}
	err = s.withDialer(ctx, who, id, func(ctx context.Context, d container.PortDialer) (err error) {
		listener, err = d.ListenPort(ctx, id, address, port)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &usedListener{listener, s, id}, nil
}

// ListeningPorts gives the TCP ports that something in a session listens on.
func (s *ContainerService) ListeningPorts(
	ctx context.Context, who Principal, id string,
) (list []container.ListeningPort, err error) {
	defer func(start time.Time) { s.finishOperation(ctx, who, "list ports", id, start, &err) }(time.Now())
	err = s.withDialer(ctx, who, id, func(ctx context.Context, d container.PortDialer) (err error) {
		list, err = d.ListeningPorts(ctx, id)
		return err
	})
	return list, err
}

// withDialer does something with the ports of a session that who reaches, in bounded time.
func (s *ContainerService) withDialer(
	ctx context.Context, who Principal, id string, do func(context.Context, container.PortDialer) error,
) error {
	dialer, ok := container.As[container.PortDialer](s.rt)
	if !ok {
		return container.Errorf("ports", "", container.ErrUnsupported,
			"connections into sessions are made by Octobot's agent, which the daemon does not use")
	}
	defer s.guests.enter(id)()
	if _, err := s.getUsable(ctx, who, id); err != nil {
		return err
	}
	bounded, cancel := context.WithTimeout(ctx, s.cfg.CallTimeout)
	defer cancel()
	return s.hintIfChanged(id, do(bounded, dialer))
}

// usedListener is a listener whose connections count as use of its session.
type usedListener struct {
	net.Listener
	service *ContainerService
	id      string
}

func (l *usedListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil && !errors.Is(err, net.ErrClosed) {
		err = toError(context.Background(), "accept", l.id, l.service.hintIfChanged(l.id, err))
	}
	if err != nil {
		return nil, err
	}
	return l.service.countConn(l.id, conn), nil
}

// countConn makes the bytes of a connection count as use of its session.
func (s *ContainerService) countConn(id string, conn net.Conn) net.Conn {
	return &usedConn{Conn: conn, used: func() { s.activity.noteUse(id) }}
}

// usedConn keeps the promises of a connection of [container.PortDialer]'s.
type usedConn struct {
	net.Conn
	used func()
}

var (
	_ container.HalfCloser = (*usedConn)(nil)
	_ container.Resetter   = (*usedConn)(nil)
)

func (c *usedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		c.used()
	}
	return n, err
}

func (c *usedConn) Write(b []byte) (int, error) {
	c.used()
	return c.Conn.Write(b)
}

// CloseWrite implements [container.HalfCloser].
func (c *usedConn) CloseWrite() error {
	if half, ok := c.Conn.(container.HalfCloser); ok {
		return half.CloseWrite()
	}
	return c.Close()
}

// Reset implements [container.Resetter].
func (c *usedConn) Reset() {
	if r, ok := c.Conn.(container.Resetter); ok {
		r.Reset()
		return
	}
	_ = c.Close() // there is no other way
}

// Await waits until Read would not, where the connection can tell: who passes much on holds no
// buffer until then.
func (c *usedConn) Await() error {
	if a, ok := c.Conn.(interface{ Await() error }); ok {
		return a.Await()
	}
	return nil
}

// Broken tells that the connection was reset, where it can.
func (c *usedConn) Broken() bool {
	b, ok := c.Conn.(interface{ Broken() bool })
	return ok && b.Broken()
}

// Deaf tells that nothing is taken any more after the end of what there was to be read, where the
// connection can.
func (c *usedConn) Deaf() bool {
	d, ok := c.Conn.(interface{ Deaf() bool })
	return ok && d.Deaf()
}
