package httpapi_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	v1 "github.com/octobot-run/octobot/api/v1"
	"github.com/octobot-run/octobot/client"
	"github.com/octobot-run/octobot/internal/container/mock"
	"github.com/octobot-run/octobot/internal/httpapi"
)

// serving makes a session in which something listens on port 3000: it does what "serve" says with
// each connection.
func serving(t *testing.T, f *fixture, serve func(c *mock.Conn)) {
	t.Helper()
	listening := make(chan struct{})
	f.engine.Handle("serve", func(ctx context.Context, p *mock.Process) int {
		l, err := p.Listen("tcp", "127.0.0.1:3000")
		if err != nil {
			return 1
		}
		close(listening)
		for {
			c, err := l.Accept()
			if err != nil {
				return 0
			}
			serve(c.(*mock.Conn))
		}
	})
	if _, err := f.admin.CreateSession(t.Context(), v1.CreateSessionRequest{ID: "s", Project: "web",
		Spec: v1.Spec{Cmd: []string{"serve"}}}, nil); err != nil {
		t.Fatal(err)
	}
	<-listening
}

func dialPort(t *testing.T, c *client.Client) *client.PortConn {
	t.Helper()
	conn, err := c.DialPort(t.Context(), "s", 3000)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Reset)
	return conn
}

// TestPort: each direction of a connection ends by itself.
func TestPort(t *testing.T) {
	f := newFixture(t, settings{})
	serving(t, f, func(c *mock.Conn) {
		b, _ := io.ReadAll(c)
		_, _ = c.Write(bytes.ToUpper(b))
		_ = c.Close()
	})
	_, theirs := f.token(t, "t", "web")
	sent := bytes.Repeat([]byte("abcdefg\n"), 1<<18)
	for _, c := range []*client.Client{f.admin, theirs} {
		conn := dialPort(t, c)
		go func() {
			_, _ = conn.Write(sent)
			_ = conn.CloseWrite()
		}()
		got, err := io.ReadAll(conn)
		if err != nil || !bytes.Equal(got, bytes.ToUpper(sent)) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	}
	list, err := theirs.ListPorts(t.Context(), "s")
	if err != nil || len(list) != 1 || list[0].Port != 3000 || list[0].Address != "127.0.0.1" || list[0].PID != 1 ||
		strings.Join(list[0].Cmd, " ") != "serve" {
		t.Errorf("ports %+v, %v", list, err)
	}
}

// TestPortResets: what is no end in good order looks like none, on either side.
func TestPortResets(t *testing.T) {
	f := newFixture(t, settings{})
	ended := make(chan error, 1)
	serving(t, f, func(c *mock.Conn) {
		_, _ = c.Write([]byte("x"))
		_, err := io.Copy(io.Discard, c)
		ended <- err
		c.Reset()
	})
	conn := dialPort(t, f.admin)
	one := make([]byte, 1)
	if _, err := io.ReadFull(conn, one); err != nil {
		t.Fatal(err)
	}
	conn.Reset()
	if err := <-ended; err == nil {
		t.Error("the program saw an end in good order")
	}
	conn = dialPort(t, f.admin)
	if _, err := io.ReadFull(conn, one); err != nil { // a reset may drop what is on its way
		t.Fatal(err)
	}
	_ = conn.CloseWrite()
	if got, err := io.ReadAll(conn); !errors.Is(err, syscall.ECONNRESET) || len(got) != 0 {
		t.Errorf("%q, %v", got, err)
	}
	<-ended
	conn = dialPort(t, f.admin)
	if _, err := io.ReadFull(conn, one); err != nil {
		t.Fatal(err)
	}
	if _, err := f.admin.StopSession(t.Context(), "s", 0); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(one); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("after the session's end: %v", err)
	}
	<-ended
}

// TestPortShutdown: the server's end is no end in good order.
func TestPortShutdown(t *testing.T) {
	f := newFixture(t, settings{})
	serving(t, f, func(c *mock.Conn) {})
	conn := dialPort(t, f.admin)
	if err := f.front.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) ||
		!strings.Contains(err.Error(), "shutting down") {
		t.Errorf("error %v", err)
	}
}

// TestPortFrames: what is no frame of a connection's ends it.
func TestPortFrames(t *testing.T) {
	f := newFixture(t, settings{})
	ended := make(chan error, 1)
	serving(t, f, func(c *mock.Conn) {
		_, err := io.Copy(io.Discard, c)
		ended <- err
	})
	secret, _ := f.token(t, "t", "web")
	for name, send := range map[string]string{"resize": `{"resize":{"rows":1,"cols":1}}`, "no control": "x",
		"unknown": `{"other":true}`} {
		conn, _, err := websocket.Dial(t.Context(), f.url+"/v1/sessions/s/ports/3000",
			&websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Bearer " + secret}}})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.CloseNow() }()
		if err := conn.Write(t.Context(), websocket.MessageText, []byte(send)); err != nil {
			t.Fatal(err)
		}
		kind, b, err := conn.Read(t.Context())
		if err != nil || kind != websocket.MessageText || !strings.Contains(string(b), "invalid_argument") {
			t.Errorf("%s: %q, %v", name, b, err)
		}
		if err := <-ended; err == nil {
			t.Errorf("%s: the program saw an end in good order", name)
		}
	}
}

func TestPortRefusals(t *testing.T) {
	f := newFixture(t, settings{})
	f.running(t, "s", "web")
	_, stranger := f.token(t, "stranger", "other")
	ctx := t.Context()
	for name, tt := range map[string]struct {
		err  func(c *client.Client) error
		want v1.Code
	}{
		"port": {func(c *client.Client) error { _, err := c.DialPort(ctx, "s", 3000); return err },
			v1.CodePortClosed},
		"bad port": {func(c *client.Client) error { _, err := c.DialPort(ctx, "s", 65536); return err },
			v1.CodeInvalidArgument},
		"socket": {func(c *client.Client) error { _, err := c.DialSocket(ctx, "s", "/none", ""); return err },
			v1.CodePathNotFound},
		"relative path": {func(c *client.Client) error { _, err := c.DialSocket(ctx, "s", "none", ""); return err },
			v1.CodeInvalidArgument},
		"listen": {func(c *client.Client) error { _, err := c.Listen(ctx, "s", "nowhere", 1); return err },
			v1.CodeInvalidArgument},
	} {
		if err := tt.err(f.admin); client.CodeOf(err) != tt.want {
			t.Errorf("%s: %v", name, err)
		}
		if err := tt.err(stranger); client.CodeOf(err) != v1.CodeSessionNotFound && tt.want != v1.CodeInvalidArgument {
			t.Errorf("%s by a stranger: %v", name, err)
		}
	}
	if list, err := f.admin.ListPorts(ctx, "s"); err != nil || list == nil || len(list) != 0 {
		t.Errorf("ports %+v, %v", list, err)
	}
	resp := f.do(t, raw{method: "GET", path: "/v1/sessions/s/ports/3000", trusted: true})
	wantProblem(t, resp, v1.CodeUpgradeRequired)
	resp = f.do(t, raw{method: "GET", path: "/v1/sessions/s/listeners/none", trusted: true, header: upgrade})
	wantProblem(t, resp, v1.CodePortClosed)
}

// TestListen: what connects in the session is taken by the client.
func TestListen(t *testing.T) {
	f := newFixture(t, settings{})
	f.running(t, "s", "web")
	_, mine := f.token(t, "mine", "web")
	l, err := mine.Listen(t.Context(), "s", "", 4000)
	if err != nil {
		t.Fatal(err)
	}
	if l.Addr().String() != "127.0.0.1:4000" {
		t.Errorf("it listens on %s", l.Addr())
	}
	_, err = mine.Listen(t.Context(), "s", "", 4000)
	wantCode(t, err, v1.CodePortTaken)
	for i := range 3 {
		asked := make(chan string, 1)
		go func() {
			r, err := f.admin.Exec(t.Context(), "s", v1.ExecRequest{Cmd: []string{"sh", "-c",
				fmt.Sprintf("echo hello %d | nc 127.0.0.1 4000", i)}})
			asked <- fmt.Sprint(string(r.Stdout), err)
		}()
		conn, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(conn)
		if err != nil || string(got) != fmt.Sprintf("hello %d\n", i) {
			t.Errorf("%q, %v", got, err)
		}
		_, _ = conn.Write([]byte("bye"))
		_ = conn.Close()
		if said := <-asked; said != "bye<nil>" {
			t.Errorf("the program got %s", said)
		}
	}
	accepted := make(chan error, 1)
	go func() {
		_, err := l.Accept()
		accepted <- err
	}()
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if err := <-accepted; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept gives %v", err)
	}
	again := func() (l *client.Listener) { // the server learns of the end a moment later
		t.Helper()
		for {
			l, err := mine.Listen(t.Context(), "s", "", 4000)
			if client.CodeOf(err) == v1.CodePortTaken {
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			return l
		}
	}
	l = again()
	if _, err := f.admin.StopSession(t.Context(), "s", 0); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Accept(); err == nil || errors.Is(err, net.ErrClosed) {
		t.Errorf("after the session's end Accept gives %v", err)
	}
	_ = l.Close()
}

// listen has something in a session listen on port 3000, and give back what it is sent.
func listen(t *testing.T, f *fixture, id string) {
	t.Helper()
	if _, err := f.admin.StartProcess(t.Context(), id,
		v1.StartProcessRequest{Cmd: []string{"nc", "-ll", "-p", "3000", "-e", "cat"}}); err != nil {
		t.Fatal(err)
	}
	for {
		list, err := f.admin.ListPorts(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if len(list) > 0 {
			return
		}
	}
}

// TestListenEndsWithItsToken: so does who waits for a connection.
func TestListenEndsWithItsToken(t *testing.T) {
	f := newFixture(t, settings{})
	f.running(t, "s", "p")
	_, mine := f.token(t, "t", "p")
	l, err := mine.Listen(t.Context(), "s", "", 4000)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	accepted := make(chan error, 1)
	go func() {
		_, err := l.Accept()
		accepted <- err
	}()
	for f.front.Streams().Count() != 2 {
		time.Sleep(time.Millisecond)
	}
	if err := f.admin.DeleteToken(t.Context(), "t"); err != nil {
		t.Fatal(err)
	}
	// It may hear first that the listener, which had the same token, has ended.
	if code := client.CodeOf(<-accepted); code != v1.CodeUnauthenticated && code != v1.CodePortClosed {
		t.Errorf("Accept gives %q", code)
	}
	if _, err := mine.Listen(t.Context(), "s", "", 4000); client.CodeOf(err) != v1.CodeUnauthenticated {
		t.Errorf("Listen gives %v", err)
	}
	for f.front.Streams().Count() != 0 {
		time.Sleep(time.Millisecond)
	}
}

// TestPortCloseDelivers: a client that says the end of its bytes and leaves at once has sent them
// all.
func TestPortCloseDelivers(t *testing.T) {
	f := newFixture(t, settings{})
	const connections, size = 200, 100_000
	got := make(chan string, connections)
	serving(t, f, func(c *mock.Conn) {
		go func() {
			b, err := io.ReadAll(c)
			got <- fmt.Sprint(len(b), err)
			_ = c.Close()
		}()
	})
	var clients sync.WaitGroup
	for range connections {
		conn := dialPort(t, f.admin)
		clients.Go(func() {
			if _, err := conn.Write(make([]byte, size)); err != nil {
				t.Error(err)
			}
			_ = conn.Close()
		})
	}
	clients.Wait()
	for range connections {
		if got, want := <-got, fmt.Sprint(size, nil); got != want {
			t.Errorf("the program got %s; want %s", got, want)
		}
	}
}

// TestPortSlowProgram: what a client has left that is gone by the time arrives, although the server
// finds out that it is gone before the program takes it.
func TestPortSlowProgram(t *testing.T) {
	f := newFixture(t, settings{}, func(a *httpapi.API) { a.SetTiming(25*time.Millisecond, 0) })
	goOn, got := make(chan struct{}), make(chan string, 1)
	serving(t, f, func(c *mock.Conn) {
		<-goOn
		b, err := io.ReadAll(c)
		got <- fmt.Sprint(len(b), err)
		_ = c.Close()
	})
	conn := dialPort(t, f.admin)
	const size = 1 << 20
	wrote := make(chan struct{})
	go func() {
		defer close(wrote)
		_, _ = conn.Write(make([]byte, size))
		_ = conn.Close()
	}()
	select { // all that fits in between, and time for the pings
	case <-wrote:
	case <-time.After(500 * time.Millisecond):
	}
	time.Sleep(400 * time.Millisecond)
	close(goOn)
	if got, want := <-got, fmt.Sprint(size, nil); got != want {
		t.Errorf("the program got %s; want %s", got, want)
	}
	<-wrote
}
