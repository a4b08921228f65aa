package agented

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-yamux/v5"

	"github.com/octobot-run/octobot/internal/agentproto"
	"github.com/octobot-run/octobot/internal/container"
)

// engine is a Runtime whose one container has what serve is for an agent.
type engine struct {
	container.Runtime
	serve func(net.Conn)
}

// byEngine is the exit code of its own exec.
const byEngine = 99

func (e *engine) Get(_ context.Context, id string) (*container.Container, error) {
	return &container.Container{SessionID: id, Status: container.StatusRunning, Detailed: true,
		Labels: map[string]string{container.LabelProgram: "0123"}}, nil
}

func (e *engine) Exec(
	context.Context, string, []string, container.ExecOptions,
) (*container.ExecResult, error) {
	return &container.ExecResult{ExitCode: byEngine}, nil
}

func (e *engine) Dial(context.Context, string, string, []string) (container.Conn, error) {
	ours, theirs := net.Pipe()
	go func() {
		defer theirs.Close()
		e.serve(theirs)
	}()
	return conn{ours}, nil
}

type conn struct{ net.Conn }

func (conn) Stderr() string { return "" }

// withLiar gives a Runtime whose agent is served by serve.
func withLiar(t *testing.T, serve func(net.Conn)) *Runtime {
	t.Helper()
	r := New(&engine{serve: serve}, Config{Logger: slog.New(slog.DiscardHandler)}).(*Runtime)
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// operations answers every operation of a connection that has begun well.
func operations(answer func(*agentproto.Stream)) func(net.Conn) {
	return func(c net.Conn) {
		session, err := agentproto.Accept(c, agentproto.Info{})
		if err != nil {
			return
		}
		defer session.Close()
		for {
			s, err := session.Accept()
			if err != nil {
				return
			}
			go func() {
				defer s.Close()
				if _, err := s.Next(); err == nil {
					answer(s)
				}
			}()
		}
	}
}

// afterGreeting lets the greeting through, and has after write what follows.
type afterGreeting struct {
	net.Conn
	greeted bool
	said    chan<- []byte // gets the greeting, where not nil
	after   func(net.Conn)
}

func (a *afterGreeting) Write(b []byte) (int, error) {
	if !a.greeted {
		a.greeted = true
		if a.said != nil {
			a.said <- bytes.Clone(b)
		}
		return a.Conn.Write(b)
	}
	a.after(a.Conn)
	return 0, io.ErrClosedPipe
}

func drain(c net.Conn) { _, _ = io.Copy(io.Discard, c) }

func randomBytes(c net.Conn) {
	go drain(c)
	b := make([]byte, 32<<10)
	for {
		_, _ = rand.Read(b)
		if _, err := c.Write(b); err != nil {
			return
		}
	}
}

// TestLiars has agents that are none. A caller hears of it, in bounded time; what can't have
// reached an agent, the engine runs; and nothing is left of it all when the Runtime is closed.
func TestLiars(t *testing.T) {
	own := context.DeadlineExceeded // the caller's own time-out
	for name, tt := range map[string]struct {
		serve func(net.Conn)
		want  error // nil: the engine runs it
	}{
		"closes":         {func(net.Conn) {}, nil},
		"random bytes":   {randomBytes, nil},
		"endless hello":  {func(c net.Conn) { go drain(c); endless(c, []byte("\x11\x00\x00\x00\x01x")) }, nil},
		"huge hello":     {func(c net.Conn) { go drain(c); endless(c, []byte("\x11\xff\xff\xff\xff")) }, nil},
		"another's":      {func(c net.Conn) { go drain(c); endless(c, []byte("HTTP/1.1 200 OK\r\n")) }, nil},
		"never greets":   {drain, own},
		"never answers":  {operations(func(s *agentproto.Stream) { _, _ = s.Next() }), own},
		"answers slowly": {operations(func(s *agentproto.Stream) { endlessly(s, []byte("x"), time.Millisecond) }), own},
		"floods": {operations(func(s *agentproto.Stream) { endlessly(s, make([]byte, agentproto.MaxData), 0) }),
			own},
		"random bytes later": {func(c net.Conn) {
			_, _ = agentproto.Accept(&afterGreeting{Conn: c, after: randomBytes}, agentproto.Info{})
			drain(c)
		}, container.ErrUnavailable},
		"closes the stream": {operations(func(*agentproto.Stream) {}), container.ErrUnavailable},
		"an unknown kind": {operations(func(s *agentproto.Stream) { _ = s.SendData(200, []byte("?")) }),
			container.ErrUnavailable},
		"a strange exit code": {operations(func(s *agentproto.Stream) { _ = s.Send(&agentproto.Exit{Code: -1}) }),
			container.ErrUnavailable},
		"what is not asked for": {operations(func(s *agentproto.Stream) {
			_ = s.Send(agentproto.Errorf(agentproto.NotFound, "what?"))
		}), container.ErrUnavailable},
		"half an answer": {operations(func(s *agentproto.Stream) { _ = s.SendData(agentproto.KindExit, []byte{0x80}) }),
			container.ErrUnavailable},
		"an escape sequence": {operations(func(s *agentproto.Stream) {
			_ = s.Send(agentproto.Errorf(agentproto.CommandNotFound, "\x1b]0;owned\a%s", strings.Repeat("x", 100000)))
		}), container.ErrExecFailed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := withLiar(t, tt.serve)
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			result, err := r.Exec(ctx, "s", []string{"true"}, container.ExecOptions{MaxOutput: 1000})
			switch {
			case tt.want == nil && (err != nil || result.ExitCode != byEngine):
				t.Errorf("got %+v, %v; want it to be the engine's", result, err)
			case tt.want != nil && !errors.Is(err, tt.want):
				t.Errorf("got %+v, %v; want %v", result, err, tt.want)
			case err != nil && (strings.ContainsAny(err.Error(), "\x1b\a") || len(err.Error()) > 1200):
				t.Errorf("its words are passed on: %.100q", err)
			}
		})
	}
}

func endless(c net.Conn, b []byte) {
	for {
		if _, err := c.Write(b); err != nil {
			return
		}
	}
}

func endlessly(s *agentproto.Stream, b []byte, pause time.Duration) {
	for s.SendData(agentproto.KindStdout, b) == nil {
		time.Sleep(pause)
	}
}

// TestAgentOpensStreams: only a daemon opens them. As many as an agent likes cost it nothing that
// lasts.
func TestAgentOpensStreams(t *testing.T) {
	welcome := recordWelcome(t)
	opened := make(chan int, 1)
	r := withLiar(t, func(c net.Conn) {
		n := 0
		defer func() { opened <- n }()
		var header [5]byte
		if _, err := io.ReadFull(c, header[:]); err != nil {
			return
		}
		if _, err := io.CopyN(io.Discard, c, int64(binary.BigEndian.Uint32(header[1:]))); err != nil {
			return
		}
		if _, err := c.Write(welcome); err != nil {
			return
		}
		cfg := yamux.DefaultConfig()
		cfg.LogOutput = io.Discard
		mux, err := yamux.Server(c, cfg, nil)
		if err != nil {
			return
		}
		defer mux.Close()
		for ; ; n++ {
			s, err := mux.OpenStream(context.Background())
			if err != nil {
				return
			}
			_, _ = s.Write([]byte("x"))
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	before := runtime.NumGoroutine()
	if _, err := r.Exec(ctx, "s", []string{"true"}, container.ExecOptions{}); err == nil {
		t.Error("a command has ended that nobody ran")
	}
	if links, streams := r.InUse(); links > 1 || streams > 1 {
		t.Errorf("%d links and %d streams are in use", links, streams)
	}
	if n := runtime.NumGoroutine(); n > before+50 {
		t.Errorf("%d goroutines, %d before", n, before)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if n := <-opened; n < 1000 {
		t.Errorf("only %d streams were opened", n)
	}
}

// recordWelcome gives what an agent says first.
func recordWelcome(t *testing.T) []byte {
	t.Helper()
	ours, theirs := net.Pipe()
	said := make(chan []byte, 1)
	go func() {
		rec := &afterGreeting{Conn: theirs, said: said, after: func(net.Conn) {}}
		_, _ = agentproto.Accept(rec, agentproto.Info{})
	}()
	session, _, err := agentproto.Connect(ours)
	if err != nil {
		t.Fatal(err)
	}
	_ = session.Close()
	_ = theirs.Close()
	return <-said
}
