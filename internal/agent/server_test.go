package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/octobot-run/octobot/internal/agentproto"
)

func TestMain(m *testing.M) {
	if os.Getenv("OCTOBOT_TEST_STDIO") != "" {
		serveStdio()
		return
	}
	goleak.VerifyTestMain(m)
}

const (
	kindEcho  = agentproto.KindExec
	kindPanic = agentproto.KindStdout
	kindFail  = agentproto.KindStderr
	kindBad   = agentproto.KindExit
	kindHold  = agentproto.KindResize
)

func newServer() *Server {
	s := NewServer(agentproto.Info{Build: "test"})
	s.Handle(kindEcho, func(_ context.Context, s *agentproto.Stream, request []byte) error {
		return s.SendData(agentproto.KindData, request)
	})
	s.Handle(kindPanic, func(context.Context, *agentproto.Stream, []byte) error { panic("ouch") })
	s.Handle(kindFail, func(context.Context, *agentproto.Stream, []byte) error {
		return errors.New(strings.Repeat("long ", maxWords))
	})
	s.Handle(kindBad, func(context.Context, *agentproto.Stream, []byte) error {
		return fmt.Errorf("wrapped: %w", agentproto.Errorf(agentproto.InvalidArgument, "later"))
	})
	s.Handle(kindHold, func(ctx context.Context, _ *agentproto.Stream, _ []byte) error {
		<-ctx.Done()
		return nil
	})
	return s
}

// connect runs a Server for a daemon, whose session it gives, until the test or the session ends.
func connect(t *testing.T) *agentproto.Session {
	t.Helper()
	ours, theirs := net.Pipe()
	served := make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	go func() { served <- newServer().Serve(ctx, theirs) }()
	session, info, err := agentproto.Connect(ours)
	if err != nil || info.Build != "test" {
		t.Fatal(info, err)
	}
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
		_ = session.Close()
	})
	return session
}

type request struct {
	agentproto.Message
	kind agentproto.Kind
}

func (r request) Kind() agentproto.Kind { return r.kind }

func ask(t *testing.T, session *agentproto.Session, kind agentproto.Kind) (agentproto.Frame, error) {
	t.Helper()
	s, err := session.Open(t.Context(), request{&agentproto.Exec{}, kind})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Reset)
	if kind == kindHold {
		return agentproto.Frame{}, nil
	}
	frame, err := s.Next()
	if err == nil && frame.Kind == agentproto.KindError {
		err = frame.Decode(&agentproto.Exec{})
	}
	return frame, err
}

func TestOperations(t *testing.T) {
	session := connect(t)
	if frame, err := ask(t, session, kindEcho); err != nil || frame.Kind != agentproto.KindData ||
		len(frame.Payload) == 0 {
		t.Errorf("echo gives %v, %v", frame, err)
	}
	for kind, want := range map[agentproto.Kind]agentproto.Error{
		99:        {Class: agentproto.Unsupported, Detail: "kind 99"},
		kindPanic: {Class: agentproto.Internal, Detail: "panic: ouch"},
		kindFail:  {Class: agentproto.Internal, Detail: "long long"},
		kindBad:   {Class: agentproto.InvalidArgument, Detail: "later"},
	} {
		_, err := ask(t, session, kind)
		said, ok := errors.AsType[*agentproto.Error](err)
		if !ok || said.Class != want.Class || !strings.Contains(said.Detail, want.Detail) ||
			len(said.Detail) > maxWords {
			t.Errorf("kind %d gives %v, want %v", kind, err, want)
		}
	}
}

// TestServeEnds ends it with operations under way, with its ctx and with its daemon.
func TestServeEnds(t *testing.T) {
	if _, err := ask(t, connect(t), kindHold); err != nil {
		t.Fatal(err)
	}
	session := connect(t)
	if _, err := ask(t, session, kindHold); err != nil {
		t.Fatal(err)
	}
	_ = session.Close()
}

// TestStranger has something else than a daemon call.
func TestStranger(t *testing.T) {
	ours, theirs := net.Pipe()
	go func() {
		_, _ = ours.Write([]byte("GET / HTTP/1.1\r\n\r\n"))
		_ = ours.Close()
	}()
	if err := newServer().Serve(t.Context(), theirs); !errors.Is(err, agentproto.ErrHandshake) {
		t.Errorf("error %v", err)
	}
}

// serveStdio is what the process of TestStdio does.
func serveStdio() {
	conn, err := Stdio()
	if err == nil {
		fmt.Println("this is no frame, and goes nowhere")
		err = newServer().Serve(context.Background(), conn)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// TestStdio serves over a process's own standard input and output, as an engine's exec connects
// them: pipes. It ends with its input.
func TestStdio(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), "OCTOBOT_TEST_STDIO=1")
	cmd.Stderr = t.Output()
	theirIn, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	out, theirOut, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdin, cmd.Stdout = theirIn, theirOut
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_, _ = theirIn.Close(), theirOut.Close()
	conn := &duplex{in: out, out: in}
	session, _, err := agentproto.Connect(conn)
	if err != nil {
		t.Fatal(err)
	}
	if frame, err := ask(t, session, kindEcho); err != nil || frame.Kind != agentproto.KindData {
		t.Errorf("%v, %v", frame, err)
	}
	if _, err := ask(t, session, kindHold); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	_ = session.Close()
	if err := cmd.Wait(); err != nil {
		t.Errorf("the process ended with %v after %v", err, time.Since(start))
	}
}
