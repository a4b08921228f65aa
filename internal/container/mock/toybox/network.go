package toybox

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"
)

const (
	// connBuffer is what a direction of a connection holds that was not read yet.
	connBuffer = 64 << 10
	maxBacklog = 4096 // connections that were not accepted yet
	anyPorts   = 40000
)

// network is what the processes of a system listen on: TCP ports and Unix sockets. It ends with
// the system.
type network struct {
	mu        sync.Mutex
	listeners []*Listener // guarded by mu
	conns     map[*Conn]struct{}
	lastPort  int
	closed    bool // guarded by mu
}

// Listener is what a process listens on.
type Listener struct {
	network *network
	process *Process // nil: the system's own
	port    netip.AddrPort
	path    string // of a Unix socket; the port is none then
	owner   account
	queue   chan *Conn
	done    chan struct{}
	once    sync.Once
}

// Listen listens on a TCP port, 0 for any that is free, or, where network is "unix", on the socket
// of a path, which the process's user and root may connect to.
func (p *Process) Listen(network, address string) (*Listener, error) {
	owner, _ := lookUser(p.User)
	l, err := p.system.listen(network, address, p, owner)
	if err != nil {
		return nil, err
	}
	p.atEnd(func() { _ = l.Close() })
	return l, nil
}

// atEnd does something when the process has ended or is being killed: what it has open ends then.
func (p *Process) atEnd(do func()) {
	p.system.wg.Add(1)
	context.AfterFunc(p.ctx, func() {
		defer p.system.wg.Done()
		do()
	})
}

// Dial connects to what listens in the process's system.
func (p *Process) Dial(network, address string) (*Conn, error) {
	c, err := p.system.Dial(network, address, p.User)
	if err == nil {
		p.atEnd(c.Reset)
	}
	return c, err
}

// Listen listens for somebody outside of the system.
func (s *System) Listen(network, address string) (*Listener, error) {
	return s.listen(network, address, nil, account{})
}

func (s *System) listen(network, address string, p *Process, owner account) (*Listener, error) {
	n := &s.network
	l := &Listener{network: n, process: p, owner: owner, queue: make(chan *Conn, maxBacklog), done: make(chan struct{})}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return nil, ErrEnded
	}
	if network == "unix" {
		l.path = address
	} else {
		at, err := netip.ParseAddrPort(address)
		if err != nil {
			return nil, err
		}
		if at.Port() == 0 {
			n.lastPort++
			at = netip.AddrPortFrom(at.Addr(), uint16(anyPorts+n.lastPort%20000))
		}
		l.port = at
	}
	if slices.ContainsFunc(n.listeners, l.collides) {
		return nil, syscall.EADDRINUSE
	}
	n.listeners = append(n.listeners, l)
	return l, nil
}

func (l *Listener) collides(o *Listener) bool {
	if l.path != "" || o.path != "" {
		return l.path == o.path
	}
	a, b := l.port.Addr(), o.port.Addr()
	return l.port.Port() == o.port.Port() && (a == b || a.Is4() == b.Is4() && (a.IsUnspecified() || b.IsUnspecified()))
}

// Dial connects to what listens on an address, or, where network is "unix", on the socket of a path
// as a user. ECONNREFUSED: nothing does; EACCES: the user may not.
func (s *System) Dial(network, address, user string) (*Conn, error) {
	who, ok := lookUser(user)
	if !ok {
		return nil, errNotFound
	}
	n := &s.network
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, l := range n.listeners {
		if !l.takes(network, address) {
			continue
		}
		if network == "unix" && who.uid != 0 && who.uid != l.owner.uid {
			return nil, syscall.EACCES
		}
		near, far := newConns(n, l.Addr())
		select {
		case l.queue <- far:
			if n.conns == nil {
				n.conns = make(map[*Conn]struct{})
			}
			n.conns[near], n.conns[far] = struct{}{}, struct{}{}
			return near, nil
		default:
			return nil, syscall.ECONNREFUSED
		}
	}
	if network == "unix" {
		return nil, syscall.ENOENT
	}
	return nil, syscall.ECONNREFUSED
}

func (l *Listener) takes(network, address string) bool {
	if network == "unix" || l.path != "" {
		return network == "unix" && l.path == address
	}
	to, err := netip.ParseAddrPort(address)
	at := l.port.Addr()
	return err == nil && to.Port() == l.port.Port() &&
		(at == to.Addr() || at.IsUnspecified() && (at.Is6() || to.Addr().Is4()))
}

// Listening is a TCP port that something listens on.
type Listening struct {
	Port netip.AddrPort
	PID  int      // 0: nobody's in the system
	Args []string // of the process
}

// Listening gives what listens.
func (s *System) Listening() []Listening {
	s.network.mu.Lock()
	listeners := slices.Clone(s.network.listeners)
	s.network.mu.Unlock()
	var list []Listening
	for _, l := range listeners {
		if l.path != "" {
			continue
		}
		at := Listening{Port: l.port}
		if l.process != nil {
			at.PID, at.Args = l.process.PID, l.process.commandLine()
		}
		list = append(list, at)
	}
	return list
}

// end closes all that listens, and resets all connections.
func (n *network) end() {
	n.mu.Lock()
	n.closed = true
	listeners, conns := n.listeners, n.conns
	n.listeners, n.conns = nil, nil
	n.mu.Unlock()
	for _, l := range listeners {
		_ = l.Close()
	}
	for c := range conns {
		c.cut()
	}
}

func (n *network) forget(c *Conn) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.conns, c)
}

// Accept implements [net.Listener].
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.queue:
		if l.process != nil {
			l.process.atEnd(c.Reset)
		}
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// Close implements [net.Listener]. Connections that were not accepted are reset.
func (l *Listener) Close() error {
	l.once.Do(func() {
		l.network.mu.Lock()
		l.network.listeners = slices.DeleteFunc(l.network.listeners, func(o *Listener) bool { return o == l })
		l.network.mu.Unlock()
		close(l.done)
		for {
			select {
			case c := <-l.queue:
				c.Reset()
			default:
				return
			}
		}
	})
	return nil
}

// Addr implements [net.Listener].
func (l *Listener) Addr() net.Addr {
	if l.path != "" {
		return &net.UnixAddr{Net: "unix", Name: l.path}
	}
	return net.TCPAddrFromAddrPort(l.port)
}

// Conn is an end of a connection, whose directions end apart from one another.
type Conn struct {
	network *network
	in, out *direction
	addr    net.Addr
	closed  chan struct{}
	once    sync.Once
}

func newConns(n *network, addr net.Addr) (near, far *Conn) {
	a, b := newDirection(), newDirection()
	return &Conn{network: n, in: a, out: b, addr: addr, closed: make(chan struct{})},
		&Conn{network: n, in: b, out: a, addr: addr, closed: make(chan struct{})}
}

// direction is what goes one way.
type direction struct {
	mu      sync.Mutex
	data    []byte        // guarded by mu
	err     error         // of reading, after the data, unless it is a reset; guarded by mu
	deaf    bool          // nobody reads any more; guarded by mu
	changed chan struct{} // closed at the next change; guarded by mu

	read, write time.Time // deadlines; guarded by mu
}

func newDirection() *direction { return &direction{changed: make(chan struct{})} }

// change changes the direction, and wakes who waits.
func (d *direction) change(do func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	do()
	close(d.changed)
	d.changed = make(chan struct{})
}

// wait waits until try gives true.
func (d *direction) wait(deadline *time.Time, try func() bool) error {
	for {
		d.mu.Lock()
		ok, changed, until := try(), d.changed, *deadline
		if ok {
			close(d.changed)
			d.changed = make(chan struct{})
		}
		d.mu.Unlock()
		if ok {
			return nil
		}
		var late <-chan time.Time
		if !until.IsZero() {
			timer := time.NewTimer(time.Until(until))
			defer timer.Stop()
			late = timer.C
		}
		select {
		case <-changed:
		case <-late:
			return os.ErrDeadlineExceeded
		}
	}
}

// Read implements [net.Conn]. ECONNRESET: the other end has reset the connection.
func (c *Conn) Read(b []byte) (n int, err error) {
	d := c.in
	late := d.wait(&d.read, func() bool {
		switch {
		case c.isClosed():
			err = net.ErrClosed
		case len(d.data) > 0 && !errors.Is(d.err, syscall.ECONNRESET):
			n = copy(b, d.data)
			d.data = d.data[n:]
		case d.err != nil:
			err = d.err
		default:
			return false
		}
		return true
	})
	if late != nil {
		err = late
	}
	return n, err
}

// Write implements [net.Conn]. It waits while the other end does not read.
func (c *Conn) Write(b []byte) (n int, err error) {
	d := c.out
	for n < len(b) && err == nil {
		late := d.wait(&d.write, func() bool {
			switch room := connBuffer - len(d.data); {
			case c.isClosed():
				err = net.ErrClosed
			case errors.Is(d.err, syscall.ECONNRESET) || d.deaf:
				err = syscall.ECONNRESET
			case d.err != nil:
				err = syscall.EPIPE
			case room > 0:
				more := b[n:min(len(b), n+room)]
				d.data = append(d.data, more...)
				n += len(more)
			default:
				return false
			}
			return true
		})
		if late != nil {
			err = late
		}
	}
	return n, err
}

func (c *Conn) isClosed() bool {
	select {
	case <-c.closed:
		return true
	default:
		return false
	}
}

// finish ends this end's direction.
func (d *direction) finish(err error) {
	d.change(func() {
		if d.err == nil {
			d.err = err
		}
	})
}

// CloseWrite says that no more is written; reading goes on.
func (c *Conn) CloseWrite() error {
	c.out.finish(io.EOF)
	return nil
}

// Close implements [net.Conn]. What was written still arrives.
func (c *Conn) Close() error {
	_ = c.CloseWrite()
	c.leave()
	return nil
}

// Reset ends both directions at once. The other end's reads and writes give ECONNRESET.
func (c *Conn) Reset() {
	if !c.isClosed() {
		c.cut()
	}
	c.leave()
}

func (c *Conn) cut() {
	c.out.finish(syscall.ECONNRESET)
	c.in.finish(syscall.ECONNRESET)
}

func (c *Conn) leave() {
	c.once.Do(func() {
		close(c.closed)
		c.in.change(func() { c.in.deaf = true })
		c.out.change(func() {})
		c.network.forget(c)
	})
}

// LocalAddr implements [net.Conn].
func (c *Conn) LocalAddr() net.Addr { return c.addr }

// RemoteAddr implements [net.Conn].
func (c *Conn) RemoteAddr() net.Addr { return c.addr }

// SetDeadline implements [net.Conn].
func (c *Conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetReadDeadline implements [net.Conn].
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.in.change(func() { c.in.read = t })
	return nil
}

// SetWriteDeadline implements [net.Conn].
func (c *Conn) SetWriteDeadline(t time.Time) error {
	c.out.change(func() { c.out.write = t })
	return nil
}
