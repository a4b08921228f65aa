package relay_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/octobot-run/octobot/internal/relay"
	"github.com/octobot-run/octobot/internal/relay/relaytest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pair is both ends of a TCP connection.
func pair(t *testing.T) (a, b *net.TCPConn) {
	t.Helper()
	l, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dialled, err := net.Dial("tcp4", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if b, err = l.AcceptTCP(); err != nil {
		t.Fatal(err)
	}
	return dialled.(*net.TCPConn), b
}

func dialTCP(t *testing.T, port int) *net.TCPConn {
	t.Helper()
	conn, err := net.DialTCP("tcp4", nil, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

func TestJoin(t *testing.T) {
	var joins sync.WaitGroup
	relaytest.Run(t, func(t *testing.T, port int) relay.Conn {
		near, far := pair(t)
		target := dialTCP(t, port)
		joins.Go(func() { _ = relay.Join(t.Context(), relay.TCP(far), relay.TCP(target)) })
		return relay.TCP(near)
	})
	joins.Wait()
}

// TestCancel also shows, with goleak, that nothing is left.
func TestCancel(t *testing.T) {
	near, far := pair(t)
	other, target := pair(t)
	why := errors.New("why")
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(10*time.Millisecond, func() { cancel(why) })
	if err := relay.Join(ctx, relay.TCP(far), relay.TCP(target)); !errors.Is(err, why) {
		t.Errorf("error %v", err)
	}
	for _, conn := range []*net.TCPConn{near, other} {
		if _, err := conn.Read(make([]byte, 1)); err == nil {
			t.Error("a connection goes on")
		}
		_ = conn.Close()
	}
}

// follower is one that tells when it is gone.
type follower struct {
	relay.Conn
	gone chan struct{}
	deaf atomic.Bool
}

func (f *follower) Ended() <-chan struct{} { return f.gone }
func (f *follower) Deaf() bool             { return f.deaf.Load() }

// TestGoneAfterItsEnd: who has ended its direction and goes away has sent all that it has sent, to
// a program that is silent as well.
func TestGoneAfterItsEnd(t *testing.T) {
	for name, leave := range map[string]func(*follower){
		"told": func(f *follower) { close(f.gone) }, "found out": func(f *follower) { f.deaf.Store(true) },
	} {
		near, far := pair(t)
		program, target := pair(t)
		f := &follower{Conn: relay.TCP(far), gone: make(chan struct{})}
		joined := make(chan error, 1)
		go func() { joined <- relay.Join(t.Context(), f, relay.TCP(target)) }()
		sent := bytes.Repeat([]byte("x"), 1<<20)
		go func() {
			_, _ = near.Write(sent)
			_ = near.CloseWrite()
		}()
		if got, err := io.ReadAll(program); err != nil || len(got) != len(sent) {
			t.Errorf("%s: the program got %d bytes, %v", name, len(got), err)
		}
		leave(f)
		<-joined
		_ = near.Close()
		_ = program.Close()
	}
}
