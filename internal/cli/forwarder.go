package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	v1 "github.com/octobot-run/octobot/api/v1"
	"github.com/octobot-run/octobot/client"
	"github.com/octobot-run/octobot/internal/relay"
)

// maxForwarded bounds the connections of one run at once.
const maxForwarded = 2048

// forwarder is one run of forward.
type forwarder struct {
	*app
	client *client.Client
	id     string
	user   string // for Unix sockets
	quiet  bool
	slots  chan struct{} // holds an element for each connection

	working sync.WaitGroup
	telling sync.Mutex // held while something is printed
}

// run forwards until ctx ends, whose error it returns, or what listens fails.
func (f *forwarder) run(ctx context.Context, ways []way) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer f.working.Wait()
	defer stop(nil)
	for _, w := range ways {
		if w.reverse {
			if err := f.listenThere(ctx, w); err != nil {
				return err
			}
			continue
		}
		listeners, err := listenHere(ctx, w)
		if err != nil {
			return err
		}
		for _, l := range listeners {
			f.say(ctx, "Forwarding from %s -> %s", l.Addr(), w.to)
			context.AfterFunc(ctx, func() { _ = l.Close() })
			f.working.Go(func() {
				stop(f.accept(ctx, l, func(conn net.Conn) { f.serveHere(ctx, conn, w.to) })) // the first reason counts
			})
		}
	}
	<-ctx.Done()
	return context.Cause(ctx)
}

// listenHere opens the local end of a way on every address, the same port on all.
func listenHere(ctx context.Context, w way) (listeners []net.Listener, err error) {
	const tries = 20 // a port that is free on one address may be taken on another
	for range tries {
		listeners, err = listenAll(ctx, w.from)
		if err == nil || w.from[0].port != 0 || !errors.Is(err, syscall.EADDRINUSE) {
			break
		}
	}
	return listeners, err
}

func listenAll(ctx context.Context, from []end) (opened []net.Listener, err error) {
	defer func() {
		if err != nil {
			for _, l := range opened {
				_ = l.Close()
			}
		}
	}()
	port := from[0].port
	for _, e := range from {
		network, address := "tcp4", net.JoinHostPort(e.host, strconv.Itoa(int(port)))
		switch {
		case e.path != "":
			network, address = "unix", e.path
		case strings.Contains(e.host, ":"):
			network = "tcp6"
		}
		l, err := (&net.ListenConfig{}).Listen(ctx, network, address)
		if e.optional && err != nil && !errors.Is(err, syscall.EADDRINUSE) {
			continue // there is no IPv6
		}
		if err != nil {
			return opened, err
		}
		opened = append(opened, l)
		if tcp, ok := l.Addr().(*net.TCPAddr); ok {
			port = uint16(tcp.Port)
		}
	}
	return opened, nil
}

// accept serves the connections of a listener until that fails.
func (f *forwarder) accept(ctx context.Context, l net.Listener, serve func(net.Conn)) error {
	for {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		select {
		case f.slots <- struct{}{}:
		case <-ctx.Done():
			resetConn(conn)
			return context.Cause(ctx)
		}
		f.working.Go(func() {
			defer func() { <-f.slots }()
			serve(conn)
		})
	}
}

// serveHere joins a connection of this machine's with one into the session.
func (f *forwarder) serveHere(ctx context.Context, conn net.Conn, to end) {
	from := conn.RemoteAddr().String()
	if from == "" || from == "@" {
		from = conn.LocalAddr().String()
	}
	if !f.quiet {
		f.say(ctx, "Connection from %s to %s", from, to)
	}
	var remote *client.PortConn
	var err error
	if to.path != "" {
		remote, err = f.client.DialSocket(ctx, f.id, to.path, f.user)
	} else {
		remote, err = f.client.DialPort(ctx, f.id, int(to.port))
	}
	if err != nil {
		resetConn(conn) // as a port does on which nothing listens
		f.tell(ctx, fmt.Errorf("%s: %w", to, err))
		return
	}
	f.join(ctx, conn, remote, to)
}

// join carries a connection to its end. A reset is the programs' business; what the server says of
// its own is told.
func (f *forwarder) join(ctx context.Context, local net.Conn, remote *client.PortConn, to end) {
	err := relay.Join(ctx, relayed(local), remote)
	if _, ok := errors.AsType[*client.Error](err); ok && client.CodeOf(err) != v1.CodePortClosed {
		f.tell(ctx, fmt.Errorf("%s: %w", to, err))
	}
}

// relayed is a connection of this machine's.
func relayed(conn net.Conn) relay.Conn {
	if unix, ok := conn.(*net.UnixConn); ok {
		return relay.Unix(unix)
	}
	return relay.TCP(conn.(*net.TCPConn))
}

func resetConn(conn net.Conn) {
	if c, ok := conn.(relay.Conn); ok {
		c.Reset()
		return
	}
	relayed(conn).Reset()
}

// listenThere listens in the session, again when that has ended, until ctx ends. Only the first
// time a failure is one of the command.
func (f *forwarder) listenThere(ctx context.Context, w way) error {
	from := w.from[0]
	l, err := f.client.Listen(ctx, f.id, from.host, int(from.port))
	if err != nil {
		return fmt.Errorf("listen on %s in the session: %w", from, err)
	}
	say := func(again string) {
		addr := l.Addr().(*net.TCPAddr)
		from.port = uint16(addr.Port) // also after this
		f.say(ctx, "Forwarding%s from %s in %s -> %s", again, addr, f.id, w.to)
	}
	say("")
	f.working.Go(func() {
		for {
			stop := context.AfterFunc(ctx, func() { _ = l.Close() })
			err := f.accept(ctx, l, func(conn net.Conn) { f.serveThere(ctx, conn, w.to) })
			stop()
			_ = l.Close()
			if ctx.Err() != nil {
				return
			}
			f.tell(ctx, fmt.Errorf("nobody listens on %s in the session any more: %w; trying again", from, err))
			if l = f.listenAgain(ctx, from); l == nil {
				return
			}
			say(" again")
		}
	})
	return nil
}

// listenAgain tries until it listens, or ctx has ended: nil.
func (f *forwarder) listenAgain(ctx context.Context, from end) *client.Listener {
	for wait := firstRetry; ; wait = min(2*wait, lastRetry) {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil
		}
		attempt, cancel := context.WithTimeout(ctx, attemptTimeout)
		l, err := f.client.Listen(attempt, f.id, from.host, int(from.port))
		cancel()
		if err == nil {
			return l
		}
	}
}

// serveThere joins a connection that was made in the session with one on this machine.
func (f *forwarder) serveThere(ctx context.Context, conn net.Conn, to end) {
	if !f.quiet {
		f.say(ctx, "Connection from %s in %s to %s", conn.RemoteAddr(), f.id, to)
	}
	network, address := "tcp", to.String()
	if to.path != "" {
		network = "unix"
	}
	local, err := (&net.Dialer{Timeout: attemptTimeout}).DialContext(ctx, network, address)
	if err != nil {
		resetConn(conn)
		f.tell(ctx, err)
		return
	}
	f.join(ctx, local, conn.(*client.PortConn), to)
}

// say prints a line.
func (f *forwarder) say(ctx context.Context, format string, args ...any) {
	if ctx.Err() != nil {
		return
	}
	f.telling.Lock()
	defer f.telling.Unlock()
	fmt.Fprintln(f.stdout, oneLine(fmt.Sprintf(format, args...)))
}

// tell prints an error.
func (f *forwarder) tell(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	f.telling.Lock()
	defer f.telling.Unlock()
	fmt.Fprintf(f.stderr, "octobot: forward %s: %s\n", f.id, strings.Join(errorLines(err), "; "))
}
