package session_test

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/container/mock"
	"github.com/octobot-run/octobot/internal/session"
)

// serving makes a session in which each connection to port 3000, and to the socket /tmp/s, gets
// back what it has sent.
func (k *kit) serving(t *testing.T, id string) {
	t.Helper()
	listening := make(chan struct{})
	k.engine.Handle("serve", func(_ context.Context, p *mock.Process) int {
		tcp, err := p.Listen("tcp", "127.0.0.1:3000")
		if err != nil {
			return 1
		}
		unix, err := p.Listen("unix", "/tmp/s")
		if err != nil {
			return 1
		}
		close(listening)
		serve := func(l net.Listener) {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				_, _ = io.Copy(c, c)
				_ = c.Close()
			}
		}
		done := make(chan struct{})
		go func() { defer close(done); serve(unix) }()
		serve(tcp)
		<-done
		return 0
	})
	if _, err := k.Create(t.Context(), admin, session.CreateRequest{ID: id, ProjectID: "p", Start: true,
		Spec: session.Spec{Cmd: []string{"serve"}}}); err != nil {
		t.Fatal(err)
	}
	<-listening
}

func echoed(t *testing.T, conn net.Conn) {
	t.Helper()
	if _, err := io.WriteString(conn, "x"); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 1)
	if _, err := io.ReadFull(conn, b); err != nil || string(b) != "x" {
		t.Fatalf("%q, %v", b, err)
	}
}

func TestPorts(t *testing.T) {
	k := newKit(t)
	k.serving(t, "x")
	ctx := t.Context()
	mine, stranger := session.Principal{Name: "m", ProjectID: "p"}, session.Principal{Name: "s", ProjectID: "q"}
	conn, err := k.DialPort(ctx, mine, "x", 3000)
	if err != nil {
		t.Fatal(err)
	}
	echoed(t, conn)
	if err := conn.(container.HalfCloser).CloseWrite(); err != nil {
		t.Error(err)
	}
	if b, err := io.ReadAll(conn); err != nil || len(b) > 0 {
		t.Errorf("at the end: %q, %v", b, err)
	}
	_ = conn.Close()
	if conn, err = k.DialSocket(ctx, mine, "x", "/tmp/s", container.SocketOptions{}); err != nil {
		t.Fatal(err)
	}
	echoed(t, conn)
	conn.(container.Resetter).Reset()
	list, err := k.ListeningPorts(ctx, mine, "x")
	if err != nil || len(list) != 1 || list[0].Port != 3000 {
		t.Errorf("ports %+v, %v", list, err)
	}

	calls := func(who session.Principal, s *session.ContainerService) map[string]error {
		_, dial := s.DialPort(ctx, who, "x", 3000)
		_, socket := s.DialSocket(ctx, who, "x", "/tmp/s", container.SocketOptions{})
		_, listen := s.ListenPort(ctx, who, "x", "", 4000)
		_, list := s.ListeningPorts(ctx, who, "x")
		return map[string]error{"dial": dial, "socket": socket, "listen": listen, "list": list}
	}
	for name, err := range calls(stranger, k.ContainerService) {
		if session.CodeOf(err) != session.CodeSessionNotFound {
			t.Errorf("%s by a stranger: %v", name, err)
		}
	}
	for name, err := range calls(admin, session.NewContainerService(bare{k.rt}, k.store, configure())) {
		if session.CodeOf(err) != session.CodeUnsupported {
			t.Errorf("%s on an engine that can't: %v", name, err)
		}
	}
	_, err = k.DialPort(ctx, admin, "x", 3001)
	wantCode(t, err, session.CodePortClosed)
	_, err = k.DialPort(ctx, admin, "x", 0)
	wantCode(t, err, session.CodeInvalidArgument)
	_, err = k.ListenPort(ctx, admin, "x", "", 3000)
	wantCode(t, err, session.CodePortTaken)

	l, err := k.ListenPort(ctx, admin, "x", "", 4000)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.Stop(ctx, admin, "x", 0); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Accept(); err == nil {
		t.Error("a listener accepts after the session's end")
	}
	_ = l.Close()
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a closed listener gives %v", err)
	}
	for name, err := range calls(admin, k.ContainerService) {
		if session.CodeOf(err) != session.CodeSessionNotRunning {
			t.Errorf("%s of a session that does not run: %v", name, err)
		}
	}
}

// TestPortsAreUse: bytes are use of a session, and a connection that is merely open is none.
func TestPortsAreUse(t *testing.T) {
	inBubble(t, func(t *testing.T, k *kit) {
		k.serving(t, "x")
		conn, err := k.DialPort(t.Context(), admin, "x", 3000)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		for range 4 {
			time.Sleep(20 * time.Minute)
			k.status(t, "x", session.StatusRunning)
			echoed(t, conn)
		}
		time.Sleep(31 * time.Minute)
		synctest.Wait()
		k.status(t, "x", session.StatusStopped)
	}, func(c *session.Config) { c.IdleTimeout, c.ReconcileInterval = 30*time.Minute, 10*time.Second })
}

// TestPortsReadAreUse: so are bytes that come.
func TestPortsReadAreUse(t *testing.T) {
	inBubble(t, func(t *testing.T, k *kit) {
		k.engine.Handle("tick", func(ctx context.Context, p *mock.Process) int {
			l, err := p.Listen("tcp", "127.0.0.1:3000")
			if err != nil {
				return 1
			}
			c, err := l.Accept()
			for err == nil {
				select {
				case <-time.After(20 * time.Minute):
					_, err = io.WriteString(c, "x")
				case <-ctx.Done():
					return 0
				}
			}
			return 0
		})
		if _, err := k.Create(t.Context(), admin, session.CreateRequest{ID: "x", Start: true,
			Spec: session.Spec{Cmd: []string{"tick"}}}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		conn, err := k.DialPort(t.Context(), admin, "x", 3000)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := io.ReadFull(conn, make([]byte, 4)); err != nil {
			t.Fatal(err)
		}
		k.status(t, "x", session.StatusRunning)
	}, func(c *session.Config) { c.IdleTimeout, c.ReconcileInterval = 30*time.Minute, 10*time.Second })
}
