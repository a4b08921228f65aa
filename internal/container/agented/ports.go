package agented

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/octobot-run/octobot/internal/agentproto"
	"github.com/octobot-run/octobot/internal/container"
)

var _ container.PortDialer = (*Runtime)(nil)

// DialPort implements [container.PortDialer].
func (r *Runtime) DialPort(ctx context.Context, sessionID string, port int) (net.Conn, error) {
	const op = "dialport"
	if err := cmp.Or(container.ValidateSessionID(sessionID), container.ValidatePort(port)); err != nil {
		return nil, failed(op, sessionID, err)
	}
	o, err := r.ask(ctx, op, place{sessionID, forPorts}, &agentproto.DialPort{Port: port}, nil)
	if err != nil {
		return nil, err
	}
	return o.receiveConn(&net.TCPAddr{Port: port})
}

// DialSocket implements [container.PortDialer].
func (r *Runtime) DialSocket(
	ctx context.Context, sessionID, path string, opts container.SocketOptions,
) (net.Conn, error) {
	const op = "dialsocket"
	if err := cmp.Or(container.ValidateSessionID(sessionID), opts.Validate(path)); err != nil {
		return nil, failed(op, sessionID, err)
	}
	o, err := r.ask(ctx, op, place{sessionID, forPorts}, &agentproto.DialSocket{Path: path, User: opts.User},
		container.ErrPathNotFound)
	if err != nil {
		return nil, err
	}
	return o.receiveConn(&net.UnixAddr{Net: "unix", Name: path})
}

// receiveConn takes the answer that the connection is there. It ends the operation where that
// fails.
func (o *operation) receiveConn(remote net.Addr) (net.Conn, error) {
	var answer agentproto.Connected
	err := o.Receive(&answer)
	o.silence.Stop()
	switch {
	case err != nil:
		err = o.fail(err)
	case !o.stop(): // from now on, the end of ctx does not cut it
		err = o.fail(o.ctx.Err())
	}
	if err != nil {
		o.end()
		return nil, err
	}
	return newPortConn(o.Stream, remote, answer.Address), nil
}

// portConn is a connection that an agent has made.
type portConn struct {
	*agentproto.Raw
	remote net.Addr
}

var (
	_ container.HalfCloser = (*portConn)(nil)
	_ container.Resetter   = (*portConn)(nil)
)

// newPortConn makes a connection of a stream; said is what the agent says of its address.
func newPortConn(s *agentproto.Stream, remote net.Addr, said string) *portConn {
	if tcp, ok := remote.(*net.TCPAddr); ok {
		if at, err := netip.ParseAddrPort(said); err == nil {
			at = netip.AddrPortFrom(at.Addr().WithZone(""), cmp.Or(uint16(tcp.Port), at.Port()))
			remote = net.TCPAddrFromAddrPort(at)
		}
	}
	return &portConn{Raw: s.Raw(), remote: remote}
}

// RemoteAddr implements [net.Conn].
func (c *portConn) RemoteAddr() net.Addr { return c.remote }

// ListenPort implements [container.PortDialer].
func (r *Runtime) ListenPort(ctx context.Context, sessionID, address string, port int) (net.Listener, error) {
	const op = "listenport"
	if err := cmp.Or(container.ValidateSessionID(sessionID), container.ValidateListen(address, port)); err != nil {
		return nil, failed(op, sessionID, err)
	}
	address = cmp.Or(address, "127.0.0.1")
	o, err := r.ask(ctx, op, place{sessionID, forPorts}, &agentproto.ListenPort{Address: address, Port: port}, nil)
	if err != nil {
		return nil, err
	}
	var answer agentproto.Listening
	err = o.Receive(&answer)
	o.silence.Stop()
	switch {
	case err == nil && (container.ValidatePort(answer.Port) != nil || port != 0 && answer.Port != port):
		err = o.fail(agentproto.ErrFrame)
	case err != nil:
		err = o.fail(err)
	case !o.stop():
		err = o.fail(ctx.Err())
	}
	if err != nil {
		o.end()
		return nil, err
	}
	l := &portListener{o: o, id: answer.ID, addr: &net.TCPAddr{IP: net.ParseIP(address), Port: answer.Port}}
	l.life, l.end = context.WithCancel(r.life)
	o.ctx = l.life
	return l, nil
}

// portListener is what an agent listens on. It lives on the link that it was made on.
type portListener struct {
	o    *operation
	id   string
	addr *net.TCPAddr

	life  context.Context
	end   context.CancelFunc
	close sync.Once
}

// Accept implements [net.Listener].
func (l *portListener) Accept() (net.Conn, error) {
	s, err := l.o.link.Open(l.life, &agentproto.AcceptPort{ID: l.id})
	if err != nil {
		return nil, l.fail(err)
	}
	stop := context.AfterFunc(l.life, s.Reset)
	var answer agentproto.Connected
	err = s.Receive(&answer)
	if !stop() {
		err = net.ErrClosed
	}
	if err != nil {
		s.Reset()
		return nil, l.fail(err)
	}
	return newPortConn(s, &net.TCPAddr{}, answer.Address), nil
}

// fail says why nothing can be accepted.
func (l *portListener) fail(err error) error {
	if l.life.Err() != nil && l.o.r.life.Err() == nil {
		return net.ErrClosed
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return l.o.fail(err)
}

// closeWithin is how long the end of a listener may take to leave for an agent, which may take
// nothing.
const closeWithin = time.Second

// Close implements [net.Listener]. A repeated call: nil.
func (l *portListener) Close() error {
	l.close.Do(func() {
		l.end()
		told := make(chan struct{})
		if !l.o.r.startWork(func() { l.o.end(); close(told) }) {
			l.o.end() // the link has ended
			return
		}
		select {
		case <-told:
		case <-time.After(closeWithin):
		}
	})
	return nil
}

// Addr implements [net.Listener].
func (l *portListener) Addr() net.Addr { return l.addr }

// ListeningPorts implements [container.PortDialer].
func (r *Runtime) ListeningPorts(ctx context.Context, sessionID string) ([]container.ListeningPort, error) {
	const op = "listeningports"
	if err := container.ValidateSessionID(sessionID); err != nil {
		return nil, failed(op, sessionID, err)
	}
	o, err := r.ask(ctx, op, place{sessionID, forPorts}, &agentproto.ListPorts{}, nil)
	if err != nil {
		return nil, err
	}
	defer o.end()
	var answer agentproto.Ports
	if err := o.Receive(&answer); err != nil {
		return nil, o.fail(err)
	}
	list := make([]container.ListeningPort, 0, min(len(answer.List), agentproto.MaxPorts))
	for _, p := range answer.List[:min(len(answer.List), agentproto.MaxPorts)] {
		addr, err := netip.ParseAddr(p.Address)
		if err != nil || container.ValidatePort(p.Port) != nil {
			continue // nobody could ask for it
		}
		list = append(list, container.ListeningPort{Address: addr.WithZone("").String(), Port: p.Port,
			PID: max(0, p.PID), Cmd: printableArgs(p.Args)})
	}
	return list, nil
}
