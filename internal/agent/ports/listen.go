package ports

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/octobot-run/octobot/internal/agent/process"
	"github.com/octobot-run/octobot/internal/agentproto"
	"github.com/octobot-run/octobot/internal/relay"
)

// acceptAgain is how long it takes to try again where the kernel had no room for a connection.
const acceptAgain = 50 * time.Millisecond

// listener listens on a port for the daemon. What is not accepted yet waits in the kernel's queue.
type listener struct {
	*net.TCPListener
	conns chan *net.TCPConn
	done  chan struct{} // closed when it listens no more
}

func (p *ports) listenPort(ctx context.Context, s *agentproto.Stream, request []byte) error {
	var r agentproto.ListenPort
	if err := agentproto.Decode(request, &r); err != nil {
		return agentproto.Errorf(agentproto.InvalidArgument, "%v", err)
	}
	addr, err := netip.ParseAddr(cmp.Or(r.Address, "127.0.0.1"))
	if err != nil || r.Port < 0 || r.Port > 65535 {
		return agentproto.Errorf(agentproto.InvalidArgument, "%q and %d are no address and port", r.Address, r.Port)
	}
	network := "tcp6"
	if addr.Is4() {
		network = "tcp4"
	}
	inner, err := net.ListenTCP(network, net.TCPAddrFromAddrPort(netip.AddrPortFrom(addr, uint16(r.Port))))
	if err != nil {
		return agentproto.Errorf(agentproto.Occupied, "%v", err)
	}
	l := &listener{TCPListener: inner, conns: make(chan *net.TCPConn), done: make(chan struct{})}
	id := process.NewID()
	if !p.keep(id, l) {
		_ = l.Close()
		return agentproto.Errorf(agentproto.LimitReached, "%d ports are listened on, and no more may be", maxListeners)
	}
	var accepting sync.WaitGroup
	accepting.Go(l.accept)
	defer accepting.Wait()
	defer func() {
		p.mu.Lock()
		delete(p.listeners, id)
		p.mu.Unlock()
		close(l.done)
		_ = l.Close()
	}()
	defer context.AfterFunc(ctx, s.Reset)()
	if err := s.Send(&agentproto.Listening{ID: id, Port: l.Addr().(*net.TCPAddr).Port}); err != nil {
		return nil // it is gone
	}
	_ = s.Raw().Await() // there is nothing more that a daemon says, but that it ends
	return nil
}

func (p *ports) keep(id string, l *listener) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.listeners) >= maxListeners {
		return false
	}
	p.listeners[id] = l
	return true
}

// accept hands connections to who waits for them, until the listener is closed.
func (l *listener) accept() {
	for {
		conn, err := l.AcceptTCP()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			select {
			case <-time.After(acceptAgain):
				continue
			case <-l.done:
				return
			}
		}
		l.offer(conn)
	}
}

// offer hands a connection to who waits for one, and waits until somebody does, or nobody listens
// any more.
func (l *listener) offer(conn *net.TCPConn) {
	select {
	case l.conns <- conn:
	case <-l.done:
		relay.TCP(conn).Reset()
	}
}

func (p *ports) acceptPort(ctx context.Context, s *agentproto.Stream, request []byte) error {
	var r agentproto.AcceptPort
	if err := agentproto.Decode(request, &r); err != nil {
		return agentproto.Errorf(agentproto.InvalidArgument, "%v", err)
	}
	p.mu.Lock()
	l := p.listeners[r.ID]
	p.mu.Unlock()
	ended := agentproto.Errorf(agentproto.NotFound, "nobody listens there any more")
	if l == nil {
		return ended
	}
	leave, err := p.enter()
	if err != nil {
		return err
	}
	defer leave()
	waiting, unwatch := watch(ctx, s.Raw())
	select {
	case conn := <-l.conns:
		gone := waiting.Err() != nil
		unwatch()
		address := conn.RemoteAddr().String()
		if gone || s.Send(&agentproto.Connected{Address: address}) != nil {
			l.offer(conn) // to the next one who waits
			return nil
		}
		_ = relay.Join(ctx, s.Raw(), relay.TCP(conn)) // however it ended, both sides know by now
		return nil
	case <-l.done:
		unwatch()
		return ended
	case <-waiting.Done():
		unwatch()
		return nil
	}
}

// watch returns a ctx that ends when the other side of the stream does, and what ends the watching,
// which reads nothing.
func watch(ctx context.Context, raw *agentproto.Raw) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	var watching sync.WaitGroup
	watching.Go(func() {
		defer cancel()
		_ = raw.Await()
	})
	return ctx, func() {
		_ = raw.SetReadDeadline(time.Unix(1, 0))
		watching.Wait()
		_ = raw.SetReadDeadline(time.Time{})
	}
}
