package front

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"
)

// connections bounds how many connections a server keeps, so that those of anybody who can reach
// it, without a token, do not take the file descriptors that the rest of the daemon needs. One that
// is too many takes the place of the one that has been of no use for longest: without a request
// under way, and rather one on which nobody has said who they are. WebSockets are not among them:
// they are streams.
type connections struct {
	most      int // in all
	strangers int // from one address, on which nobody has said who they are

	mu   sync.Mutex
	open map[net.Conn]*connection // guarded by mu
}

// connection is guarded by the mu of its connections.
type connection struct {
	of      *connections
	address string
	since   time.Time // of the state
	idle    bool      // no request is under way
	known   bool      // a token was accepted on it
}

type connectionKey struct{}

// watch has a server heed the bound.
func (c *connections) watch(server *http.Server) {
	server.ConnContext = func(ctx context.Context, conn net.Conn) context.Context {
		return context.WithValue(ctx, connectionKey{}, c.add(conn))
	}
	server.ConnState = c.note
}

// occupy notes that a request is under way on the connection of ctx. One that is still being read
// is not: whoever sends it byte by byte has no better right than who sends nothing.
func occupy(ctx context.Context) {
	if conn, ok := ctx.Value(connectionKey{}).(*connection); ok {
		conn.of.mu.Lock()
		defer conn.of.mu.Unlock()
		conn.idle, conn.since = false, time.Now()
	}
}

// vouch notes that whoever uses the connection of ctx has said who they are.
func vouch(ctx context.Context) {
	if conn, ok := ctx.Value(connectionKey{}).(*connection); ok {
		conn.of.mu.Lock()
		defer conn.of.mu.Unlock()
		conn.known = true
	}
}

func (c *connections) add(conn net.Conn) *connection {
	address, _, err := net.SplitHostPort(conn.RemoteAddr().String())
	if err != nil {
		address = conn.RemoteAddr().String()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	added := &connection{of: c, address: address, since: time.Now(), idle: true}
	var drop net.Conn
	if c.countStrangers(address) >= c.strangers {
		drop = c.oldest(func(o *connection) bool { return o.idle && !o.known && o.address == address }, conn)
	} else if len(c.open) >= c.most {
		drop = c.oldest(func(o *connection) bool { return o.idle && !o.known }, nil)
		if drop == nil {
			drop = c.oldest(func(o *connection) bool { return o.idle }, conn)
		}
	}
	if c.open == nil {
		c.open = make(map[net.Conn]*connection)
	}
	if drop != conn {
		c.open[conn] = added
		delete(c.open, drop)
	}
	if drop != nil {
		_ = drop.Close() // its own goroutine, if any, finds out
	}
	return added
}

func (c *connections) countStrangers(address string) int {
	n := 0
	for _, o := range c.open {
		if !o.known && o.address == address {
			n++
		}
	}
	return n
}

// oldest returns the connection of a kind that has been in its state for longest, otherwise where
// there is none.
func (c *connections) oldest(kind func(*connection) bool, otherwise net.Conn) net.Conn {
	found := otherwise
	var since time.Time
	for conn, o := range c.open {
		if kind(o) && (since.IsZero() || o.since.Before(since)) {
			found, since = conn, o.since
		}
	}
	return found
}

// note is an [http.Server]'s ConnState.
func (c *connections) note(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	o := c.open[conn]
	if o == nil {
		return
	}
	switch state {
	case http.StateClosed, http.StateHijacked:
		delete(c.open, conn)
	case http.StateIdle:
		o.idle, o.since = true, time.Now()
	}
}

func (c *connections) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.open)
}
