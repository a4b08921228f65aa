package httpapi

import (
	"context"
	"crypto/rand"
	"net"
	"strings"
	"sync"

	"github.com/octobot-run/octobot/internal/container"
)

// doors are what is listened on inside sessions, for clients that take the connections.
type doors struct {
	mu   sync.Mutex
	byID map[string]*door // guarded by mu
}

// door is what a client listens on.
type door struct {
	session  string
	listener net.Listener
	conns    chan net.Conn
	done     chan struct{} // closed when nobody listens any more
	once     sync.Once
}

func newDoor(session string, l net.Listener) *door {
	return &door{session: session, listener: l, conns: make(chan net.Conn), done: make(chan struct{})}
}

// add gives a door an ID, which nobody guesses.
func (ds *doors) add(d *door) string {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	if ds.byID == nil {
		ds.byID = make(map[string]*door)
	}
	id := strings.ToLower(rand.Text())
	ds.byID[id] = d
	return id
}

func (ds *doors) remove(id string) {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	delete(ds.byID, id)
}

// find finds a door of a session; nil where there is none.
func (ds *doors) find(id, session string) *door {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	if d := ds.byID[id]; d != nil && d.session == session {
		return d
	}
	return nil
}

// accept hands connections to who waits for them, until the door is closed or ctx ends. What nobody
// takes waits in the session.
func (d *door) accept(ctx context.Context) error {
	for {
		conn, err := d.listener.Accept()
		if err != nil {
			return err
		}
		d.offer(conn)
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}

// offer hands a connection to who waits for one, and waits until somebody does, or the door is
// closed.
func (d *door) offer(conn net.Conn) {
	select {
	case d.conns <- conn:
	case <-d.done:
		if r, ok := conn.(container.Resetter); ok {
			r.Reset()
			return
		}
		_ = conn.Close()
	}
}

func (d *door) close() {
	d.once.Do(func() {
		close(d.done)
		_ = d.listener.Close()
	})
}
