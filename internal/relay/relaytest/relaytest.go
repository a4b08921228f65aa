// Package relaytest tests any way to reach a TCP port: what reaches the program that listens there,
// and what comes back, is as if nothing were in between.
package relaytest

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/octobot-run/octobot/internal/relay"
)

// Dial connects to a port of 127.0.0.1 by the way that is tested.
type Dial func(t *testing.T, port int) relay.Conn

// within bounds what must not hang.
const within = 30 * time.Second

// Run runs all cases, one after the other.
func Run(t *testing.T, dial Dial) {
	for _, c := range []struct {
		name string
		run  func(*testing.T, Dial)
	}{
		{"client ends first", clientEndsFirst},
		{"server ends first", serverEndsFirst},
		{"close delivers", closeDelivers},
		{"bulk", bulk},
		{"server resets", serverResets},
		{"server resets unread", serverResetsUnread},
		{"client resets", clientResets},
		{"client resets a server that does not read", clientResetsStalled},
		{"many", many},
		{"slow reader", slowReader},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, dial) })
	}
}

// serve listens, and runs handle for each connection, which is closed after it. The test waits for
// all of them.
func serve(t *testing.T, handle func(*net.TCPConn) error) int {
	t.Helper()
	l, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.AcceptTCP()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer conn.Close()
				_ = conn.SetDeadline(time.Now().Add(2 * within))
				if err := handle(conn); err != nil {
					t.Errorf("server: %v", err)
				}
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		wg.Wait()
	})
	return l.Addr().(*net.TCPAddr).Port
}

// open dials, and sees to it that the connection ends with the test, and that the test ends.
func open(t *testing.T, dial Dial, port int) relay.Conn {
	t.Helper()
	conn := dial(t, port)
	timer := time.AfterFunc(2*within, conn.Reset)
	t.Cleanup(func() {
		if !timer.Stop() {
			t.Error("a connection hung")
		}
		_ = conn.Close()
	})
	return conn
}

// noise is different for each seed.
func noise(seed uint64, n int) []byte {
	var key [32]byte
	key[0], key[1], key[2] = byte(seed), byte(seed>>8), byte(seed>>16)
	b := make([]byte, n)
	_, _ = rand.NewChaCha8(key).Read(b)
	return b
}

func echo(conn *net.TCPConn) error {
	if _, err := io.Copy(struct{ io.Writer }{conn}, struct{ io.Reader }{conn}); err != nil {
		return err
	}
	return conn.CloseWrite()
}

func clientEndsFirst(t *testing.T, dial Dial) {
	request := noise(1, 100_000)
	port := serve(t, func(conn *net.TCPConn) error {
		got, err := io.ReadAll(conn)
		if err != nil || !bytes.Equal(got, request) {
			return fmt.Errorf("got %d bytes, %w", len(got), err)
		}
		_, err = conn.Write([]byte("reply"))
		return err
	})
	conn := open(t, dial, port)
	if _, err := conn.Write(request); err != nil {
		t.Fatal(err)
	}
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(conn); err != nil || string(got) != "reply" {
		t.Fatalf("got %q, %v", got, err)
	}
}

func serverEndsFirst(t *testing.T, dial Dial) {
	got := make(chan []byte, 1)
	port := serve(t, func(conn *net.TCPConn) error {
		if _, err := conn.Write([]byte("hello")); err != nil {
			return err
		}
		if err := conn.CloseWrite(); err != nil {
			return err
		}
		b, err := io.ReadAll(conn)
		got <- b
		return err
	})
	conn := open(t, dial, port)
	if b, err := io.ReadAll(conn); err != nil || string(b) != "hello" {
		t.Fatalf("got %q, %v", b, err)
	}
	if _, err := conn.Write([]byte("after the end")); err != nil {
		t.Fatal(err)
	}
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if b := <-got; string(b) != "after the end" {
		t.Errorf("the server got %q", b)
	}
}

func closeDelivers(t *testing.T, dial Dial) {
	sent := noise(2, 1<<20)
	got := make(chan []byte, 1)
	port := serve(t, func(conn *net.TCPConn) error {
		b, err := io.ReadAll(conn)
		got <- b
		return err
	})
	conn := open(t, dial, port)
	if _, err := conn.Write(sent); err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	if b := <-got; !bytes.Equal(b, sent) {
		t.Errorf("the server got %d bytes of %d", len(b), len(sent))
	}
}

// bulk sends both ways at the same time.
func bulk(t *testing.T, dial Dial) {
	size := 100 << 20
	if testing.Short() {
		size = 8 << 20
	}
	part := noise(3, 1<<20)
	want := sha256.New()
	for range size / len(part) {
		want.Write(part)
	}
	exchange := func(conn interface {
		io.Reader
		io.Writer
		CloseWrite() error
	}) error {
		sent := make(chan error, 1)
		go func() {
			for range size / len(part) {
				if _, err := conn.Write(part); err != nil {
					sent <- err
					return
				}
			}
			sent <- conn.CloseWrite()
		}()
		got := sha256.New()
		n, err := io.Copy(got, struct{ io.Reader }{conn})
		if err = errors.Join(err, <-sent); err == nil && !bytes.Equal(got.Sum(nil), want.Sum(nil)) {
			err = fmt.Errorf("got %d bytes of %d, or others", n, size)
		}
		return err
	}
	served := make(chan struct{})
	port := serve(t, func(conn *net.TCPConn) error {
		defer close(served)
		return exchange(conn)
	})
	start := time.Now()
	if err := exchange(open(t, dial, port)); err != nil {
		t.Fatal(err)
	}
	<-served // the test's context ends with it, and what is under way then is cut
	t.Logf("%.0f MB/s each way", float64(size)/1e6/time.Since(start).Seconds())
}

func serverResets(t *testing.T, dial Dial) {
	port := serve(t, func(conn *net.TCPConn) error {
		_, err := io.ReadFull(conn, make([]byte, 1))
		relay.TCP(conn).Reset()
		return err
	})
	conn := open(t, dial, port)
	if _, err := conn.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if n, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("read gives %d, %v; want an error that is no end", n, err)
	}
}

// serverResetsUnread: the reset comes while the way to the client is full.
func serverResetsUnread(t *testing.T, dial Dial) {
	full := make(chan struct{})
	port := serve(t, func(conn *net.TCPConn) error {
		defer close(full)
		fill(conn)
		relay.TCP(conn).Reset()
		return nil
	})
	conn := open(t, dial, port)
	<-full
	if n, err := io.Copy(io.Discard, struct{ io.Reader }{conn}); err == nil {
		t.Errorf("%d bytes and an end in good order after a reset", n)
	}
}

// fill writes until nothing is taken any more.
func fill(conn *net.TCPConn) {
	b := make([]byte, 64<<10)
	for {
		_ = conn.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
		if _, err := conn.Write(b); err != nil {
			return
		}
	}
}

func clientResets(t *testing.T, dial Dial) {
	failed := make(chan error, 1)
	port := serve(t, func(conn *net.TCPConn) error {
		_, err := io.Copy(io.Discard, struct{ io.Reader }{conn})
		failed <- err
		return nil
	})
	conn := open(t, dial, port)
	if _, err := conn.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	conn.Reset()
	if err := <-failed; err == nil {
		t.Error("the server saw an end in good order")
	}
}

// clientResetsStalled: nobody in between reads from the client when it goes.
func clientResetsStalled(t *testing.T, dial Dial) {
	seen := make(chan bool, 1)
	stuck := make(chan struct{})
	port := serve(t, func(conn *net.TCPConn) error {
		<-stuck
		broken := relay.TCP(conn).(interface{ Broken() bool })
		for deadline := time.Now().Add(within); !broken.Broken() && time.Now().Before(deadline); {
			time.Sleep(10 * time.Millisecond)
		}
		seen <- broken.Broken()
		return nil
	})
	conn := open(t, dial, port)
	var progress sync.Mutex
	last := time.Now()
	var wg sync.WaitGroup
	wg.Go(func() {
		for b := make([]byte, 64<<10); ; {
			if _, err := conn.Write(b); err != nil {
				return
			}
			progress.Lock()
			last = time.Now()
			progress.Unlock()
		}
	})
	for idle := time.Duration(0); idle < 300*time.Millisecond; time.Sleep(10 * time.Millisecond) {
		progress.Lock()
		idle = time.Since(last)
		progress.Unlock()
	}
	close(stuck)
	conn.Reset()
	wg.Wait()
	if !<-seen {
		t.Error("the server's connection is still there")
	}
}

func many(t *testing.T, dial Dial) {
	const connections = 200
	port := serve(t, echo)
	var wg sync.WaitGroup
	conns := make([]relay.Conn, connections)
	for i := range conns {
		conns[i] = open(t, dial, port)
	}
	for i, conn := range conns {
		wg.Go(func() {
			if err := exchangeEcho(conn, noise(uint64(i), 100_000+i)); err != nil {
				t.Errorf("connection %d: %v", i, err)
			}
		})
	}
	wg.Wait()
}

func exchangeEcho(conn relay.Conn, b []byte) error {
	sent := make(chan error, 1)
	go func() {
		_, err := conn.Write(b)
		sent <- errors.Join(err, conn.CloseWrite())
	}()
	got, err := io.ReadAll(conn)
	if err = errors.Join(err, <-sent); err == nil && !bytes.Equal(got, b) {
		err = fmt.Errorf("got %d bytes of %d, or others", len(got), len(b))
	}
	return err
}

// slowReader holds up its own sender, and no other connection.
func slowReader(t *testing.T, dial Dial) {
	const size = 32 << 20
	flood := serve(t, func(conn *net.TCPConn) error {
		b := make([]byte, 64<<10)
		for range size / len(b) {
			if _, err := conn.Write(b); err != nil {
				return err
			}
		}
		return nil
	})
	slow := open(t, dial, flood)
	if _, err := io.ReadFull(slow, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	port := serve(t, echo)
	start := time.Now()
	for i := range 50 {
		conn := open(t, dial, port)
		if err := exchangeEcho(conn, noise(uint64(i), 10_000)); err != nil {
			t.Fatal(err)
		}
	}
	if took := time.Since(start); took > within {
		t.Errorf("50 connections beside a slow one took %s", took)
	}
	if n, err := io.Copy(io.Discard, struct{ io.Reader }{slow}); err != nil || n != size-1 {
		t.Errorf("the slow connection gave %d bytes, %v; want %d", n+1, err, size)
	}
}
