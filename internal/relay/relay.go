// Package relay joins two connections, such as a TCP connection and a stream of an agent's, so that
// neither side can tell that there are two: each direction ends by itself, a reader that is slow
// holds up its sender and nobody else, and a reset of one is a reset of the other.
package relay

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Conn is a connection whose directions end apart from one another. One goroutine reads while
// another writes; the other methods may be called at any time and may be repeated.
//
// Where it has Await, which waits until Read would not, an idle connection holds no buffer. Where
// it has Broken, which tells without waiting that it was reset, that is noticed also while the
// other side takes nothing, and while that says nothing after all that there was to be read. Deaf
// is of connections that know more in the latter case: that nothing is taken any more. Where it has
// Ended, that is called when all was read and passed on, as nobody reads from it any more, and it
// says when the other side goes away.
type Conn interface {
	io.Reader
	io.Writer
	// CloseWrite says that no more is written; reading goes on.
	CloseWrite() error
	// Close ends both directions. What was written still arrives.
	Close() error
	// Reset ends both directions at once, and the other side learns that this is no end in good
	// order. It unblocks Read and Write.
	Reset()
}

type awaiter interface{ Await() error }

type breakable interface{ Broken() bool }

type deafer interface{ Deaf() bool }

type ender interface{ Ended() (gone <-chan struct{}) }

// chunk is how much is read at a time: as much as travels in one message of an agent's.
const chunk = 64<<10 - 12

var chunks = sync.Pool{New: func() any { b := make([]byte, chunk); return &b }}

const (
	// stalled is how long a write may take before its source is asked whether it is still there.
	stalled = 2 * time.Second
	// lookEvery is how often one is asked whose own direction has ended.
	lookEvery = 3 * time.Second
)

// Join copies both ways until both directions have ended, or either connection is reset, or ctx
// ends, which resets both. Then both are closed. The error is nil where both directions ended in
// good order.
//
// Where one side takes no more although it was not reset, because its reader has gone, what it has
// sent itself still arrives.
func Join(ctx context.Context, a, b Conn) error {
	reset := sync.OnceFunc(func() { both(a.Reset, b.Reset) })
	closeBoth := sync.OnceFunc(func() {
		both(func() { _ = a.Close() }, func() { _ = b.Close() })
	})
	over := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(over)
		reset()
	})
	var there, back error
	thereOver, backOver := make(chan struct{}), make(chan struct{})
	both(func() {
		var inOrder bool
		inOrder, there = carry(b, a, reset)
		close(thereOver)
		if inOrder {
			follow(a, backOver, closeBoth)
		}
	}, func() {
		var inOrder bool
		inOrder, back = carry(a, b, reset)
		close(backOver)
		if inOrder {
			follow(b, thereOver, closeBoth)
		}
	})
	if !stop() {
		<-over
	}
	closeBoth()
	return errors.Join(context.Cause(ctx), there, back)
}

// both does two things at once: either may wait for somebody who does not answer.
func both(one, other func()) {
	var wg sync.WaitGroup
	wg.Go(one)
	other()
	wg.Wait()
}

// follow looks after a connection whose own direction has ended in good order, until the other one
// has ended. Who goes away meanwhile takes nothing more, which otherwise only a write would find
// out; what it has sent still arrives.
func follow(conn Conn, over <-chan struct{}, closeBoth func()) {
	var away <-chan struct{}
	if e, ok := conn.(ender); ok {
		away = e.Ended()
	}
	gone := func() bool { return false }
	if b, ok := conn.(breakable); ok {
		gone = b.Broken
	}
	if d, ok := conn.(deafer); ok {
		gone = d.Deaf
	}
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		select {
		case <-over:
			return
		case <-away:
			closeBoth()
			return
		case <-ticker.C:
			if gone() {
				closeBoth()
				return
			}
		}
	}
}

// carry copies one direction. It says whether that came to its end in good order.
func carry(dst, src Conn, reset func()) (inOrder bool, err error) {
	watch := newWatch(src, reset)
	defer watch.stop()
	await := func() error { return nil }
	if a, ok := src.(awaiter); ok {
		await = a.Await
	}
	for {
		err := await()
		if err == nil {
			err = step(dst, src, watch)
		}
		if lost, ok := errors.AsType[*writeError](err); ok {
			return false, lost.err
		}
		switch {
		case err == io.EOF: // itself: others are of what is beneath
			return true, dst.CloseWrite()
		case err != nil:
			reset()
			return false, err
		}
	}
}

// writeError is of the side that is written to.
type writeError struct{ err error }

func (e *writeError) Error() string { return e.err.Error() }

// step passes on what there is.
func step(dst io.Writer, src io.Reader, watch *watch) error {
	buf := chunks.Get().(*[]byte)
	defer chunks.Put(buf)
	n, err := src.Read(*buf)
	if n > 0 {
		watch.start()
		_, writeErr := dst.Write((*buf)[:n])
		watch.stop()
		if writeErr != nil {
			return &writeError{writeErr}
		}
	}
	return err
}

// watch looks, while a write is held up, whether the source of it was reset meanwhile: nobody reads
// there then, who would notice.
type watch struct {
	src   breakable // nil: it can't tell
	reset func()

	mu    sync.Mutex
	on    bool        // guarded by mu
	timer *time.Timer // guarded by mu
}

func newWatch(src Conn, reset func()) *watch {
	b, _ := src.(breakable)
	return &watch{src: b, reset: reset}
}

func (w *watch) start() {
	if w.src == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.on = true
	if w.timer == nil {
		w.timer = time.AfterFunc(stalled, w.look)
		return
	}
	w.timer.Reset(stalled)
}

func (w *watch) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.on = false
	if w.timer != nil {
		w.timer.Stop()
	}
}

func (w *watch) look() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.on {
		return
	}
	if !w.src.Broken() {
		w.timer.Reset(stalled)
		return
	}
	w.reset() // which stop waits for
}

// TCP makes a Conn of a TCP connection.
func TCP(c *net.TCPConn) Conn {
	return &tcp{descriptor{c}, c}
}

type tcp struct {
	descriptor
	*net.TCPConn
}

// Reset implements Conn.
func (c *tcp) Reset() {
	_ = c.SetLinger(0)
	_ = c.TCPConn.Close()
}

// Unix makes a Conn of a connection of a Unix socket, on which a reset and an end in good order are
// the same to the other side, unless it has sent what was not read.
func Unix(c *net.UnixConn) Conn {
	return &local{descriptor{c}, c}
}

type local struct {
	descriptor
	*net.UnixConn
}

// Reset implements Conn.
func (c *local) Reset() { _ = c.UnixConn.Close() }

// descriptor asks the kernel.
type descriptor struct{ conn syscall.Conn }

// Await waits until there is something to be read, or an end.
func (d descriptor) Await() error {
	raw, err := d.conn.SyscallConn()
	if err != nil {
		return err
	}
	var peeked [1]byte
	var met error // which the kernel tells once
	err = raw.Read(func(fd uintptr) bool {
		for {
			_, _, met = unix.Recvfrom(int(fd), peeked[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
			if !errors.Is(met, unix.EINTR) {
				return !errors.Is(met, unix.EAGAIN)
			}
		}
	})
	if err == nil && met != nil {
		err = os.NewSyscallError("recvfrom", met)
	}
	return err
}

// Broken tells that the connection was reset, see Conn.
func (d descriptor) Broken() bool {
	raw, err := d.conn.SyscallConn()
	if err != nil {
		return true
	}
	broken := false
	err = raw.Control(func(fd uintptr) {
		set := []unix.PollFd{{Fd: int32(fd)}} // errors are told unasked
		n, err := unix.Poll(set, 0)
		broken = err == nil && n > 0 && set[0].Revents&(unix.POLLERR|unix.POLLNVAL) != 0
	})
	return broken || err != nil
}
