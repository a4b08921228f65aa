package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	v1 "github.com/octobot-run/octobot/api/v1"
	"github.com/octobot-run/octobot/client"
	"github.com/octobot-run/octobot/internal/relay"
)

const (
	// maxForwarded bounds the connections of one run at once: fewer than a server lets one caller
	// have.
	maxForwarded = 1000
	// dialWithin bounds the making of one in the session: longer than a server gives its engine.
	dialWithin = 45 * time.Second
	// acceptAgain is how long it takes to try again where this machine had no room for a
	// connection.
	acceptAgain = 50 * time.Millisecond
)

// forwardedConns is how many connections this process has the descriptors for: each takes two.
func forwardedConns() int {
	const others = 32 // descriptors
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil || limit.Cur > 2*maxForwarded+others {
		return maxForwarded
	}
	return max(1, (int(limit.Cur)-others)/2)
}

// forwarder is one run of forward.
type forwarder struct {
	*app
	client *client.Client
	id     string
	born   time.Time // of the session
	user   string    // for Unix sockets
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
			if err := f.listenThere(ctx, w, stop); err != nil {
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
		l, err := (&net.ListenConfig{Control: ownerOnly}).Listen(ctx, network, address)
		if e.optional && err != nil {
			if !errors.Is(err, syscall.EADDRINUSE) {
				continue // there is no IPv6
			}
			return opened, fmt.Errorf("%w; name %s as the address to do without this one", err, from[0].host)
		}
		if err != nil {
			return opened, err
		}
		opened = append(opened, l)
		if e.path != "" {
			if err := os.Chmod(e.path, onlyOwner); err != nil {
				return opened, err
			}
		}
		if tcp, ok := l.Addr().(*net.TCPAddr); ok {
			port = uint16(tcp.Port)
		}
	}
	return opened, nil
}

// onlyOwner is of Unix sockets, as ssh has it: only their owner connects.
const onlyOwner = 0o600

// ownerOnly gives a Unix socket its mode before it has a path, on systems where it can.
func ownerOnly(network, _ string, conn syscall.RawConn) error {
	if network != "unix" {
		return nil
	}
	return conn.Control(func(fd uintptr) { _ = unix.Fchmod(int(fd), onlyOwner) })
}

// accept serves the connections of a listener until that fails for good.
func (f *forwarder) accept(ctx context.Context, l net.Listener, serve func(net.Conn)) error {
	var told string
	var wait time.Duration
	for {
		conn, err := l.Accept()
		if err != nil {
			if wait = acceptLater(l, err, wait); wait == 0 || !f.rest(ctx, l, wait) {
				return err
			}
			if err.Error() != told && !isDone(l) {
				told = err.Error()
				f.tell(ctx, fmt.Errorf("%w; trying again", err))
			}
			continue
		}
		told, wait = "", 0
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

// acceptLater is when to try again after an error of Accept's, and after waiting so long for the
// last one; 0 if it is one for good.
func acceptLater(l net.Listener, err error, waited time.Duration) time.Duration {
	if _, ok := l.(*client.Listener); ok {
		if isDone(l) || isFinal(err) || client.CodeOf(err) == v1.CodePortClosed {
			return 0
		}
		return min(max(2*waited, firstRetry), lastRetry)
	}
	for _, passing := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM,
		syscall.ECONNABORTED} {
		if errors.Is(err, passing) {
			return acceptAgain
		}
	}
	return 0
}

// isDone tells that a listener in the session is of no more use.
func isDone(l net.Listener) bool {
	there, ok := l.(*client.Listener)
	if !ok {
		return false
	}
	select {
	case <-there.Done():
		return true
	default:
		return false
	}
}

// rest waits, not longer than a listener in the session lives. It tells whether ctx goes on.
func (f *forwarder) rest(ctx context.Context, l net.Listener, wait time.Duration) bool {
	var done <-chan struct{}
	if there, ok := l.(*client.Listener); ok {
		done = there.Done()
	}
	select {
	case <-time.After(wait):
	case <-done: // Accept says why
	case <-ctx.Done():
		return false
	}
	return true
}

// isFinal recognises errors that no time mends.
func isFinal(err error) bool {
	switch client.CodeOf(err) {
	case v1.CodeSessionNotFound, v1.CodeSessionClosed, v1.CodeUnauthenticated, v1.CodeForbidden, v1.CodePolicyDenied,
		v1.CodeUnsupported, v1.CodeInvalidArgument:
		return true
	}
	return errors.Is(err, errReplaced)
}

var errReplaced = errors.New("another session has that name now")

// serveHere joins a connection of this machine's with one into the session.
func (f *forwarder) serveHere(ctx context.Context, conn net.Conn, to end) {
	from := conn.RemoteAddr().String()
	if from == "" || from == "@" {
		from = conn.LocalAddr().String()
	}
	if !f.quiet {
		f.say(ctx, "Connection from %s to %s", from, to)
	}
	remote, err := f.dial(ctx, to)
	if err != nil {
		resetConn(conn) // as a port does on which nothing listens
		f.tell(ctx, fmt.Errorf("%s: %w", to, err))
		return
	}
	f.join(ctx, conn, remote, to)
}

// dial connects to what is in the session, in bounded time.
func (f *forwarder) dial(ctx context.Context, to end) (*client.PortConn, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, dialWithin, fmt.Errorf("no answer within %s", dialWithin))
	defer cancel()
	var conn *client.PortConn
	var err error
	if to.path != "" {
		conn, err = f.client.DialSocket(ctx, f.id, to.path, f.user)
	} else {
		conn, err = f.client.DialPort(ctx, f.id, int(to.port))
	}
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return conn, err
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

// listenThere listens in the session, again when that has ended, until ctx ends, or stop is called
// with why there is no more to be hoped for. Only the first time any failure is one of the command.
func (f *forwarder) listenThere(ctx context.Context, w way, stop context.CancelCauseFunc) error {
	port := w.from[0].port
	for _, from := range w.from {
		from.port = port
		bound, err := f.listenAt(ctx, from, w.to, stop)
		switch {
		case err == nil:
			port = bound
		case !from.optional || client.CodeOf(err) != v1.CodePortTaken: // as it is where there is no IPv6
			return err
		}
	}
	return nil
}

// listenAt is listenThere for one address. It gives the port.
func (f *forwarder) listenAt(ctx context.Context, from, to end, stop context.CancelCauseFunc) (port uint16, err error) {
	l, err := f.client.Listen(ctx, f.id, from.host, int(from.port))
	if err != nil {
		return 0, fmt.Errorf("listen on %s in the session: %w", from, err)
	}
	say := func(again string) {
		addr := l.Addr().(*net.TCPAddr)
		from.port = uint16(addr.Port) // also after this
		f.say(ctx, "Forwarding%s from %s in %s -> %s", again, addr, f.id, to)
	}
	say("")
	port = from.port
	f.working.Go(func() {
		for {
			left := context.AfterFunc(ctx, func() { _ = l.Close() })
			err := f.accept(ctx, l, func(conn net.Conn) { f.serveThere(ctx, conn, to) })
			left()
			_ = l.Close()
			if ctx.Err() != nil {
				return
			}
			f.tell(ctx, fmt.Errorf("nobody listens on %s in the session any more: %w; trying again", from, err))
			if l, err = f.listenAgain(ctx, from); err != nil {
				stop(err) // the first reason counts
				return
			}
			say(" again")
		}
	})
	return port, nil
}

// listenAgain tries until it listens, or ctx has ended, or trying is in vain.
func (f *forwarder) listenAgain(ctx context.Context, from end) (*client.Listener, error) {
	var told string
	for wait := firstRetry; ; wait = min(2*wait, lastRetry) {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		l, err := f.tryListen(ctx, from)
		if err == nil {
			return l, nil
		}
		err = fmt.Errorf("listen on %s in the session: %w", from, err)
		if isFinal(err) {
			return nil, err
		}
		if err.Error() != told {
			told = err.Error()
			f.tell(ctx, fmt.Errorf("%w; trying again", err))
		}
	}
}

// tryListen listens once more in the session, if it is still the same.
func (f *forwarder) tryListen(ctx context.Context, from end) (*client.Listener, error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	s, err := f.client.GetSession(ctx, f.id)
	if err != nil {
		return nil, err
	}
	if !s.CreatedAt.Equal(f.born) {
		return nil, errReplaced
	}
	return f.client.Listen(ctx, f.id, from.host, int(from.port))
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
