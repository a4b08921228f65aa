package agented

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/octobot-run/octobot/internal/agentproto"
	"github.com/octobot-run/octobot/internal/container"
)

// TestCloseWithUnreadTerminal: who attached has gone, and the terminal shows more than anybody
// keeps.
func TestCloseWithUnreadTerminal(t *testing.T) {
	r := withLiar(t, operations(func(s *agentproto.Stream) {
		_ = s.Send(&agentproto.Started{})
		endlessly(s, make([]byte, agentproto.MaxData), 0)
	}))
	pty, err := r.Attach(t.Context(), "s", container.AttachOptions{Cmd: []string{"yes"}})
	if err != nil {
		t.Fatal(err)
	}
	shown := &pty.(*terminal).shown
	for full := false; !full; time.Sleep(time.Millisecond) {
		pty.(*terminal).mu.Lock()
		full = shown.Len() > maxUnread
		pty.(*terminal).mu.Unlock()
	}
	closed := make(chan error, 1)
	go func() { closed <- r.Close() }()
	select {
	case err := <-closed:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("Close waits for a reader")
	}
	if err := pty.Close(); err != nil {
		t.Error(err)
	}
	if _, err := pty.Write([]byte("x")); err == nil {
		t.Error("a closed terminal takes input")
	}
}

// TestEndedContext: a command whose time is up before it begins costs nothing, and leaves nothing.
func TestEndedContext(t *testing.T) {
	r := withLiar(t, operations(func(s *agentproto.Stream) { _ = s.Send(&agentproto.Exit{}) }))
	if _, err := r.Exec(t.Context(), "s", []string{"true"}, container.ExecOptions{}); err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for range 100 {
		if _, err := r.Exec(ended, "s", []string{"true"}, container.ExecOptions{}); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	}
	if links, streams := r.InUse(); links != 1 || streams != 0 {
		t.Errorf("%d links and %d streams are in use", links, streams)
	}
}

// TestRequestThatIsNotTaken: an agent that was stopped does not read what exceeds the window.
func TestRequestThatIsNotTaken(t *testing.T) {
	r := withLiar(t, func(c net.Conn) {
		session, err := agentproto.Accept(c, agentproto.Info{})
		if err != nil {
			return
		}
		<-session.Done()
	})
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	large := strings.Repeat("x", agentproto.Window+agentproto.Window/2)
	ended := make(chan error, 1)
	go func() {
		_, err := r.Exec(ctx, "s", []string{"echo", large[:len(large)/4], large[len(large)/4:]},
			container.ExecOptions{})
		ended <- err
	}()
	select {
	case err := <-ended:
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the call outlives its context")
	}
}

// deafConn takes what comes and hears none of it, from when it is told to.
type deafConn struct {
	net.Conn
	deaf atomic.Bool
}

func (d *deafConn) Read(b []byte) (int, error) {
	for {
		n, err := d.Conn.Read(b)
		if err != nil || !d.deaf.Load() {
			return n, err
		}
	}
}

// TestMayStillRun: a command whose time is up is said to be killed where the agent has heard of
// that.
func TestMayStillRun(t *testing.T) {
	for _, deaf := range []bool{false, true} {
		r := withLiar(t, func(c net.Conn) {
			d := &deafConn{Conn: c}
			operations(func(s *agentproto.Stream) {
				d.deaf.Store(deaf)
				_, _ = s.Next()
			})(d)
		})
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		_, err := r.Exec(ctx, "s", []string{"sleep", "60"}, container.ExecOptions{})
		if container.ClassOf(err) != context.DeadlineExceeded || errors.Is(err, container.ErrMayStillRun) != deaf {
			t.Errorf("deaf %v: %v", deaf, err)
		}
	}
}

// frozenEngine does not answer.
type frozenEngine struct{ engine }

func (*frozenEngine) Get(ctx context.Context, _ string) (*container.Container, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// TestEngineFrozen: an engine that does not answer is unavailable before long.
func TestEngineFrozen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := New(&frozenEngine{}, Config{Logger: slog.New(slog.DiscardHandler)}).(*Runtime)
		_, execErr := r.Exec(t.Context(), "s", []string{"true"}, container.ExecOptions{})
		_, attachErr := r.Attach(t.Context(), "s", container.AttachOptions{})
		for _, err := range []error{execErr, attachErr} {
			if container.ClassOf(err) != container.ErrUnavailable {
				t.Errorf("%v; want %v", err, container.ErrUnavailable)
			}
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
}

// stumblingEngine fails without a word, but at the first look.
type stumblingEngine struct {
	engine
	looks atomic.Int64
}

func (e *stumblingEngine) Get(ctx context.Context, id string) (*container.Container, error) {
	if e.looks.Add(1) > 1 {
		return nil, container.Errorf("get", id, container.ErrUnavailable, "it answered 502 Bad Gateway")
	}
	return e.engine.Get(ctx, id)
}

// starvedConn is not read from for a while, from when it is told to.
type starvedConn struct {
	net.Conn
	starved atomic.Int64 // nanoseconds
}

func (s *starvedConn) Read(b []byte) (int, error) {
	n, err := s.Conn.Read(b)
	time.Sleep(time.Duration(s.starved.Swap(0)))
	return n, err
}

// TestStarvedAgentKeepsItsCommands: an agent is slow, and at the same time the engine stumbles.
// Whether the connection to the agent still leads anywhere is for who has dialled it to say.
func TestStarvedAgentKeepsItsCommands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &stumblingEngine{}
		e.serve = func(c net.Conn) {
			s := &starvedConn{Conn: c}
			operations(func(stream *agentproto.Stream) {
				pause := silence + answerTimeout + time.Second
				s.starved.Store(int64(pause))
				time.Sleep(2 * pause)
				_ = stream.Send(&agentproto.Exit{Code: 7})
			})(s)
		}
		r := New(e, Config{Logger: slog.New(slog.DiscardHandler)}).(*Runtime)
		res, err := r.Exec(t.Context(), "s", []string{"work"}, container.ExecOptions{})
		if err != nil || res.ExitCode != 7 || e.looks.Load() < 2 {
			t.Errorf("%+v, %v after %d looks", res, err, e.looks.Load())
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
}
