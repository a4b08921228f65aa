package client

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// portConn is a connection to a server that does what serve does.
func portConn(t *testing.T, serve func(ctx context.Context, conn *websocket.Conn)) *PortConn {
	t.Helper()
	served := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(served)
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		serve(t.Context(), conn)
		_ = conn.CloseNow()
	}))
	conn, _, err := websocket.Dial(t.Context(), server.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	p := newPortConn(conn, "s:1")
	t.Cleanup(func() {
		p.Reset()
		<-served
		server.Close()
	})
	return p
}

// TestAwaitSpentFrame: a frame that is spent, or empty, is nothing that Read would give.
func TestAwaitSpentFrame(t *testing.T) {
	p := portConn(t, func(ctx context.Context, conn *websocket.Conn) {
		for _, frame := range []string{"x", "", "yz", ""} {
			_ = conn.Write(ctx, websocket.MessageBinary, []byte(frame))
		}
		_ = conn.Write(ctx, websocket.MessageText, []byte(`{"eof":true}`))
		_, _, _ = conn.Read(ctx)
	})
	b := make([]byte, 10)
	for _, want := range []string{"x", "yz"} {
		if err := p.Await(); err != nil {
			t.Fatal(err)
		}
		if n, err := p.Read(b); err != nil || string(b[:n]) != want {
			t.Fatalf("%q, %v; want %q", b[:n], err, want)
		}
	}
	if err := p.Await(); err != io.EOF {
		t.Errorf("at the end Await gives %v", err)
	}
}

// TestCloseIsBounded, also while others write to a server that does not read.
func TestCloseIsBounded(t *testing.T) {
	t.Parallel() // it takes some seconds
	done := make(chan struct{})
	p := portConn(t, func(context.Context, *websocket.Conn) { <-done })
	defer close(done)
	wrote, ended := make(chan error, 1), make(chan error, 1)
	writing := make(chan struct{})
	go func() {
		b := make([]byte, 1<<20)
		close(writing)
		for {
			if _, err := p.Write(b); err != nil {
				wrote <- err
				return
			}
		}
	}()
	<-writing
	for filled := false; !filled; { // until nothing is taken any more
		select {
		case err := <-wrote:
			t.Fatal(err)
		case <-time.After(300 * time.Millisecond):
			filled = true
		}
	}
	go func() { ended <- p.CloseWrite() }()
	start := time.Now()
	_ = p.Close()
	if took := time.Since(start); took > 3*farewell {
		t.Errorf("it took %s", took)
	}
	if err := <-wrote; err == nil {
		t.Error("Write succeeds")
	}
	<-ended
}
