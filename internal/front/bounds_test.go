package front

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "github.com/octobot-run/octobot/api/v1"
	"github.com/octobot-run/octobot/internal/problem"
	"github.com/octobot-run/octobot/internal/session"
)

// doorman knows a token for each project whose name is the secret; "admin" is an admin's.
type doorman struct{}

func (doorman) Authenticate(_ context.Context, secret string) (session.Token, error) {
	t := session.Token{Name: secret, ProjectID: secret}
	switch secret {
	case "unknown":
		return session.Token{}, errors.New("unknown token")
	case "admin":
		t.ProjectID = ""
	}
	return t, nil
}

func (doorman) WhileValid(parent context.Context, _ session.Token) (context.Context, func(), error) {
	return parent, func() {}, nil
}

func (doorman) AuditRefusal(context.Context, session.Principal, error) {}

func (doorman) MaxStreams(_ context.Context, project string) (int, error) {
	if project == "small" {
		return 1, nil
	}
	return 0, nil
}

// echo answers with the size of the body; "/wait" answers when it is released.
type echo struct{ waiting, release chan struct{} }

func (e echo) Route(r *http.Request) (handler http.Handler, name string, err error) {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/wait" {
			e.waiting <- struct{}{}
			<-e.release
		}
		n, err := io.Copy(io.Discard, r.Body)
		_, _ = fmt.Fprint(w, n, err)
	}), "ANY", nil
}

func (echo) Public(*http.Request) bool { return false }

func (echo) Refuse(w http.ResponseWriter, r *http.Request, err error) {
	problem.Write(w, problem.Of(r.Context(), nil, err))
}

// serve serves a front on TCP until the test ends.
func serve(t *testing.T, most int) (site echo, address string, bound *connections) {
	t.Helper()
	site = echo{waiting: make(chan struct{}, 100), release: make(chan struct{})}
	f := New(doorman{}, Config{MaxConnections: most})
	f.Mount("/", site)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server, bound := f.server(false)
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close(); <-done })
	return site, l.Addr().String(), bound
}

// connect opens a connection; request sends on it and returns the answer's status, 0 where the
// server has closed it.
func connect(t *testing.T, address string) net.Conn {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func send(conn net.Conn, secret, path, body string) {
	_, _ = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%s",
		path, secret, len(body), body)
}

// receive reads an answer's status, 0 where the server has closed the connection.
func receive(conn net.Conn) int {
	b := make([]byte, 4096)
	n, err := conn.Read(b)
	if err != nil {
		return 0
	}
	var status int
	_, _ = fmt.Sscanf(string(b[:n]), "HTTP/1.1 %d", &status)
	return status
}

func request(conn net.Conn, secret, path, body string) int {
	send(conn, secret, path, body)
	return receive(conn)
}

// TestConnectionsAreBounded floods a server with connections that ask for nothing, or in nobody's
// name: whoever has a token gets through, and keeps what it has under way.
func TestConnectionsAreBounded(t *testing.T) {
	const most = 16
	site, address, bound := serve(t, most)
	busy, known := connect(t, address), connect(t, address)
	send(busy, "p", "/wait", "")
	<-site.waiting
	if status := request(known, "p", "/", ""); status != http.StatusOK {
		t.Fatalf("status %d", status)
	}
	for i := range 4 * most {
		conn := connect(t, address)
		switch i % 3 {
		case 0: // says nothing
		case 1:
			_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: local") // and no more
		case 2:
			request(conn, "unknown", "/", "") // is refused, and kept alive
		}
	}
	fresh := connect(t, address)
	if status := request(fresh, "p", "/", ""); status != http.StatusOK {
		t.Errorf("amid the flood: status %d", status)
	}
	if status := request(known, "p", "/", ""); status != http.StatusOK {
		t.Errorf("a connection on which a token was accepted: status %d", status)
	}
	close(site.release)
	if status := receive(busy); status != http.StatusOK {
		t.Errorf("the request under way: status %d", status)
	}
	if n := bound.count(); n > most {
		t.Errorf("%d connections are open", n)
	}
}

// TestKnownConnectionsAreBoundedToo has one with a token keep more connections than there may be.
func TestKnownConnectionsAreBoundedToo(t *testing.T) {
	const most = 8
	_, address, bound := serve(t, most)
	var conns []net.Conn
	for range 3 * most {
		conn := connect(t, address)
		if status := request(conn, "p", "/", ""); status != http.StatusOK {
			t.Fatalf("status %d", status)
		}
		conns = append(conns, conn)
	}
	if status := request(conns[0], "p", "/", ""); status != 0 {
		t.Errorf("the oldest: status %d", status)
	}
	if status := request(conns[len(conns)-1], "p", "/", ""); status != http.StatusOK {
		t.Errorf("the youngest: status %d", status)
	}
	if n := bound.count(); n > most {
		t.Errorf("%d connections are open", n)
	}
}

// as returns the ctx of a request of who has that secret; empty: of the Unix socket's user.
func as(t *testing.T, secret string) context.Context {
	c := caller{Principal: session.Principal{Name: "socket", Admin: true}}
	if secret != "" {
		token, _ := doorman{}.Authenticate(t.Context(), secret)
		c = caller{session.Principal{Name: secret, Admin: token.ProjectID == "", ProjectID: token.ProjectID}, &token}
	}
	return context.WithValue(t.Context(), callerKey{}, c)
}

// TestStreamsAreShared checks that neither one project nor all of them lock others out.
func TestStreamsAreShared(t *testing.T) {
	s := newStreams(doorman{}, 4, 2, 4*portsFactor)
	open := func(secret string, kind Kind) (func(), v1.Code) {
		t.Helper()
		_, leave, err := s.Open(as(t, secret), kind)
		if err == nil {
			return leave, ""
		}
		return nil, problem.Of(t.Context(), nil, err).Code
	}
	want := func(secret string, kind Kind, code v1.Code) (leave func()) {
		t.Helper()
		leave, got := open(secret, kind)
		if got != code {
			t.Errorf("%q, %s: %q, want %q", secret, kind, got, code)
		}
		return leave
	}
	leave := want("p", Work, "")
	want("p", Work, "")
	want("p", Work, v1.CodeQuotaExceeded)
	want("p", Watch, "") // another kind
	leaveSmall := want("small", Work, "")
	want("small", Work, v1.CodeQuotaExceeded)
	leaveSmall()
	want("q", Work, "")
	want("admin", Work, "")
	want("r", Work, v1.CodeBusy)
	want("admin", Work, v1.CodeBusy)
	want("", Work, "") // the Unix socket
	want("", Work, "")
	want("", Work, "")
	leave()
	want("r", Work, "")
	for range portsFactor * 2 {
		defer want("p", Ports, "")()
	}
	want("p", Ports, v1.CodeQuotaExceeded)
	for range portsFactor * 2 {
		defer want("q", Ports, "")()
	}
	want("r", Ports, v1.CodeBusy)
	want("", Ports, "")()
	if n := s.Count(); n != 8+4*portsFactor {
		t.Errorf("%d are open", n)
	}
}

// TestBodiesAreShared checks that a project's bodies wait for its own, and not for others'.
func TestBodiesAreShared(t *testing.T) {
	var b bodies
	const wait = 20 * time.Millisecond
	p, q, r := Owner{Project: "p"}, Owner{Project: "q"}, Owner{Project: "r"}
	acquire := func(of Owner, size int64, ok bool) (free func()) {
		t.Helper()
		free, err := b.acquire(t.Context(), of, size, wait)
		if (err == nil) != ok {
			t.Errorf("%+v, %d bytes: %v", of, size, err)
		}
		return free
	}
	free := acquire(p, oneOwners, true)
	acquire(p, smallBody+1, false)
	acquire(p, smallBody, true) // is not counted
	acquire(q, oneOwners, true)
	acquire(r, smallBody+1, false) // that was all
	waited := make(chan error)
	go func() {
		free, err := b.acquire(t.Context(), r, smallBody+1, time.Minute)
		if err == nil {
			free()
		}
		waited <- err
	}()
	free()
	if err := <-waited; err != nil {
		t.Error(err)
	}
	acquire(p, oneOwners, true)()
	if len(b.owners) != 1 {
		t.Errorf("%d owners are remembered, of whom one holds something", len(b.owners))
	}
}

// TestBodiesGoThroughTheBudget sends more at once than there is room for.
func TestBodiesGoThroughTheBudget(t *testing.T) {
	site, address, _ := serve(t, 0)
	body := strings.Repeat("x", 6<<20)
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			conn := connect(t, address)
			if status := request(conn, "p", "/wait", body); status != http.StatusOK {
				t.Errorf("status %d", status)
			}
		})
		<-site.waiting
	}
	third := connect(t, address)
	wg.Go(func() {
		if status := request(third, "p", "/wait", body); status != http.StatusOK {
			t.Errorf("the one that waited: status %d", status)
		}
	})
	for range 3 {
		other := connect(t, address)
		if status := request(other, "q", "/", body); status != http.StatusOK {
			t.Errorf("another project: status %d", status)
		}
	}
	if len(site.waiting) > 0 {
		t.Error("the third body did not wait for one of the first two")
	}
	close(site.release)
	wg.Wait()
}

// TestPortsLeaveRoom: connections to ports take half of what there may be, and one project can
// still have a thousand.
func TestPortsLeaveRoom(t *testing.T) {
	for connections, want := range map[int]int{0: 0, 10: 5, 1: 1} {
		f := New(doorman{}, Config{MaxConnections: connections})
		if connections == 0 {
			want = f.cfg.MaxConnections / 2
		}
		if got := f.streams.ports; got != want {
			t.Errorf("%d of %d connections are to ports at most; want %d", got, connections, want)
		}
	}
	if most := maxConnections / 2; most < 1000 || portsFactor*defaultMaxStreams < 1000 {
		t.Errorf("a project can't have a thousand")
	}
}
