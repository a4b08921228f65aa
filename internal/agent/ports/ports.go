// Package ports connects the daemon with programs that listen in the container, on TCP ports and on
// Unix sockets, and listens on ports for it.
package ports

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/octobot-run/octobot/internal/agent"
	"github.com/octobot-run/octobot/internal/agentproto"
	"github.com/octobot-run/octobot/internal/relay"
)

const (
	// maxConnections bounds the connections at once, of which an idle one costs some 20 KiB;
	// maxListeners, what is listened on for the daemon.
	maxConnections = 4096
	maxListeners   = 64
	// dialTimeout bounds the making of a connection: what listens in the same network namespace
	// takes it at once, or its queue is full.
	dialTimeout = 5 * time.Second
)

// Register makes reg serve the requests about ports.
func Register(reg agent.Registry) {
	p := newPorts(maxConnections)
	reg.Handle(agentproto.KindDialPort, p.dialPort)
	reg.Handle(agentproto.KindDialSocket, p.dialSocket)
	reg.Handle(agentproto.KindListenPort, p.listenPort)
	reg.Handle(agentproto.KindAcceptPort, p.acceptPort)
	reg.Handle(agentproto.KindListPorts, p.list)
}

type ports struct {
	slots     chan struct{} // holds an element for each connection
	searching chan struct{} // holds an element while owners are searched for
	proc      string        // where the kernel's tables are

	mu        sync.Mutex
	listeners map[string]*listener // by ID; guarded by mu
}

func newPorts(most int) *ports {
	return &ports{slots: make(chan struct{}, most), searching: make(chan struct{}, 1), proc: "/proc",
		listeners: make(map[string]*listener)}
}

// enter makes room for a connection, until leave is called.
func (p *ports) enter() (leave func(), err error) {
	select {
	case p.slots <- struct{}{}:
		return func() { <-p.slots }, nil
	default:
		return nil, agentproto.Errorf(agentproto.LimitReached,
			"there are %d connections, and no more may be; close some first", cap(p.slots))
	}
}

// connected tells the daemon of a connection, and carries it to its end.
func connected(ctx context.Context, s *agentproto.Stream, conn relay.Conn, address string) error {
	if err := s.Send(&agentproto.Connected{Address: address}); err != nil {
		conn.Reset()
		return nil // it is gone
	}
	_ = relay.Join(ctx, s.Raw(), conn) // however it ended, both sides know by now
	return nil
}

func (p *ports) dialPort(ctx context.Context, s *agentproto.Stream, request []byte) error {
	var r agentproto.DialPort
	if err := agentproto.Decode(request, &r); err != nil {
		return agentproto.Errorf(agentproto.InvalidArgument, "%v", err)
	}
	if r.Port < 1 || r.Port > 65535 {
		return agentproto.Errorf(agentproto.InvalidArgument, "there is no port %d", r.Port)
	}
	leave, err := p.enter()
	if err != nil {
		return err
	}
	defer leave()
	conn, err := p.connect(ctx, uint16(r.Port))
	if err != nil {
		return err
	}
	return connected(ctx, s, relay.TCP(conn), conn.RemoteAddr().String())
}

// dialer is used for addresses alone: by what takes names, too, it would bring a resolver, which
// are 200 KiB of the agent's.
var dialer = net.Dialer{KeepAlive: -1, Control: leavePort}

// leavePort has the kernel choose a connection's port when it connects, and not before, when it
// could not give one port to connections to several others.
func leavePort(_, _ string, conn syscall.RawConn) error {
	return conn.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
	})
}

// connect tries the loopbacks first, and then what the port is bound to instead.
func (p *ports) connect(ctx context.Context, port uint16) (*net.TCPConn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	var trouble error // other than that nobody listens there
	try := func(addr netip.Addr) *net.TCPConn {
		conn, err := dialer.DialTCP(ctx, "tcp", netip.AddrPort{}, netip.AddrPortFrom(addr, port))
		if err == nil {
			return conn
		}
		if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() || isShortage(err) {
			trouble = err
		}
		return nil // an address that this network namespace does not have, as ::1, among them
	}
	for _, addr := range []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()} {
		if conn := try(addr); conn != nil {
			return conn, nil
		}
	}
	listening, _ := p.listening() // without it, these were all that can be known
	for _, l := range listening {
		addr := l.addr.Addr()
		if l.addr.Port() != port || addr.IsUnspecified() || addr.IsLinkLocalUnicast() {
			continue
		}
		if conn := try(addr); conn != nil {
			return conn, nil
		}
	}
	switch {
	case trouble == nil:
		return nil, agentproto.Errorf(agentproto.Refused, "nothing listens on port %d", port)
	case isShortage(trouble):
		return nil, agentproto.Errorf(agentproto.LimitReached, "port %d: %v", port, trouble)
	}
	return nil, agentproto.Errorf(agentproto.Refused,
		"what listens on port %d did not take the connection within %s", port, dialTimeout)
}

// isShortage recognises what a kernel has no more of.
func isShortage(err error) bool {
	for _, e := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

func (p *ports) list(_ context.Context, s *agentproto.Stream, _ []byte) error {
	sockets, err := p.listening()
	if err != nil {
		return fmt.Errorf("read what listens: %w", err)
	}
	owners := p.owners(sockets)
	var answer agentproto.Ports
	for _, l := range sockets {
		owner := owners[l.inode]
		answer.List = append(answer.List, agentproto.Port{Address: l.addr.Addr().String(),
			Port: int(l.addr.Port()), PID: owner.pid, Args: owner.args})
	}
	return s.Send(&answer)
}
