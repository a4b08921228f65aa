package httpapi

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/coder/websocket"
)

// TestAwaitSpentFrame: a frame that is spent, or empty, is nothing that Read would give.
func TestAwaitSpentFrame(t *testing.T) {
	served := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(served)
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		c := &socketConn{s: &socket{conn: conn, ctx: t.Context(), life: t.Context(), cancel: func(error) {}}}
		b := make([]byte, 10)
		for _, want := range []string{"x", "yz"} {
			if err := c.Await(); err != nil {
				t.Error(err)
			}
			if n, err := c.Read(b); err != nil || string(b[:n]) != want {
				t.Errorf("%q, %v; want %q", b[:n], err, want)
			}
		}
		if err := c.Await(); err != io.EOF {
			t.Errorf("at the end Await gives %v", err)
		}
		_ = conn.CloseNow()
	}))
	defer server.Close()
	conn, _, err := websocket.Dial(t.Context(), server.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, frame := range []string{"x", "", "yz", ""} {
		if err := conn.Write(context.Background(), websocket.MessageBinary, []byte(frame)); err != nil {
			t.Error(err)
		}
	}
	if err := conn.Write(t.Context(), websocket.MessageText, []byte(`{"eof":true}`)); err != nil {
		t.Error(err)
	}
	<-served
	_ = conn.CloseNow()
}
