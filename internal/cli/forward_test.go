package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	v1 "github.com/octobot-run/octobot/api/v1"
	"github.com/octobot-run/octobot/client"
)

// run is octobot that runs beside the test.
type running struct {
	t      *testing.T
	cancel context.CancelCauseFunc
	done   chan int

	mu  sync.Mutex
	out strings.Builder // of both streams; guarded by mu
}

func (r *running) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.out.Write(b)
}

func (r *running) printed() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.out.String()
}

// beside runs octobot until the test ends it.
func beside(t *testing.T, dir string, args ...string) *running {
	t.Helper()
	ctx, cancel := context.WithCancelCause(context.Background())
	r := &running{t: t, cancel: cancel, done: make(chan int, 1)}
	go func() { r.done <- run(ctx, append([]string{"--data-dir", dir}, args...), strings.NewReader(""), r, r) }()
	t.Cleanup(func() {
		cancel(nil)
		code := <-r.done
		r.done <- code
	})
	return r
}

// sees waits until what was printed matches a pattern, and gives what is in its parentheses.
func (r *running) sees(pattern string) string {
	r.t.Helper()
	re := regexp.MustCompile(pattern)
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if m := re.FindStringSubmatch(r.printed()); m != nil {
			return m[len(m)-1]
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("waited in vain for %s; printed was\n%s", pattern, r.printed())
		}
	}
}

// exchange sends bytes to an address, and gives what comes back.
func exchange(t *testing.T, network, address, send string) string {
	t.Helper()
	conn, err := net.DialTimeout(network, address, 10*time.Second)
	if errors.Is(err, syscall.ECONNRESET) { // so soon
		return err.Error()
	}
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	_, _ = io.WriteString(conn, send)
	_ = conn.(interface{ CloseWrite() error }).CloseWrite()
	b, err := io.ReadAll(conn)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

const echoing = "nc -ll -s 127.0.0.1 -p 3000 -e cat"

func TestForward(t *testing.T) {
	dir := startDaemon(t)
	must(t, dir, "create", "demo")
	if r := octobot(t, dir, "ports", "demo"); r.code != 0 ||
		!strings.Contains(r.stderr, "Nothing listens in the session") {
		t.Errorf("ports of nothing: %+v", r)
	}
	must(t, dir, append([]string{"exec", "-d", "demo", "--"}, strings.Fields(echoing)...)...)
	for !strings.Contains(must(t, dir, "ports", "demo"), echoing) {
		time.Sleep(5 * time.Millisecond)
	}
	var list []v1.ListeningPort
	decode(t, must(t, dir, "ports", "-o", "json", "demo"), &list)
	if len(list) != 1 || list[0].Port != 3000 || list[0].PID == 0 {
		t.Errorf("ports %+v", list)
	}

	here := filepath.Join(shortDir(t), "here.sock")
	f := beside(t, dir, "forward", "--address", "127.0.0.1", "demo", ":3000", "0:3001", "-L", "0:localhost:3000",
		"-L", here+":localhost:3000", "-R", "4000:localhost:1")
	first := f.sees(`Forwarding from (127.0.0.1:\d+) -> 3000`)
	closed := f.sees(`Forwarding from (127.0.0.1:\d+) -> 3001`)
	f.sees(`Forwarding from 127.0.0.1:4000 in demo -> localhost:1`)
	if got := exchange(t, "tcp", first, "hello"); got != "hello" {
		t.Errorf("through the port came %q", got)
	}
	f.sees(`Connection from 127.0.0.1:\d+ to 3000`)
	if info, err := os.Stat(here); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket is %v, %v", info.Mode(), err)
	}
	if got := exchange(t, "unix", here, "hello"); got != "hello" {
		t.Errorf("through the socket came %q", got)
	}
	if got := exchange(t, "tcp", closed, "hello"); !strings.Contains(got, "reset") {
		t.Errorf("through the closed port came %q", got)
	}
	f.sees(`octobot: forward demo: 3001: port is closed: nothing listens on port 3001; octobot ports shows`)
	must(t, dir, "exec", "demo", "--", "sh", "-c", "nc 127.0.0.1 4000 || true")
	f.sees(`octobot: forward demo: 127.0.0.1:1: connection refused`)

	f.cancel(signalled{2})
	if code := <-f.done; code != exitSignal+2 {
		t.Errorf("exit code %d", code)
	}
	f.done <- 0
	if _, err := os.Stat(here); err == nil {
		t.Error("the socket is left")
	}
}

// TestForwardBack: what listens in the session leads to this machine.
func TestForwardBack(t *testing.T) {
	dir := startDaemon(t)
	must(t, dir, "create", "demo")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			b, _ := io.ReadAll(c)
			_, _ = io.WriteString(c, strings.ToUpper(string(b)))
			_ = c.Close()
		}
	}()
	port := l.Addr().(*net.TCPAddr).Port
	f := beside(t, dir, "forward", "demo", "-R", fmt.Sprintf("4000:127.0.0.1:%d", port))
	f.sees("Forwarding from 127.0.0.1:4000 in demo")
	ask := func() string {
		return must(t, dir, "exec", "demo", "--", "sh", "-c", "echo hello | nc localhost 4000")
	}
	if got := ask(); got != "HELLO\n" {
		t.Errorf("through the port came %q", got)
	}
	f.sees(`Connection from 127.0.0.1:4000 in demo to 127.0.0.1`)
	must(t, dir, "stop", "-t", "0", "demo")
	f.sees("nobody listens on 127.0.0.1:4000 in the session any more: .*; trying again")
	must(t, dir, "start", "demo")
	f.sees("Forwarding again from 127.0.0.1:4000 in demo")
	if got := ask(); got != "HELLO\n" {
		t.Errorf("after a restart came %q", got)
	}
}

// TestForwardBackEnds: what listens in a session ends with it, and does not move to another.
func TestForwardBackEnds(t *testing.T) {
	dir := startDaemon(t)
	for name, tt := range map[string]struct{ again, says string }{
		"gone":     {"", "it is closed"},
		"replaced": {"create", "it is closed|another session has that name now"},
	} {
		must(t, dir, "create", name)
		f := beside(t, dir, "forward", name, "-R", "localhost:4000:localhost:1")
		f.sees("Forwarding from 127.0.0.1:4000 in " + name)
		f.sees(`Forwarding from \[::1\]:4000 in ` + name)
		must(t, dir, "rm", "-f", name)
		if tt.again != "" {
			must(t, dir, tt.again, name)
		}
		f.sees(tt.says)
		if code := <-f.done; code != 1 {
			t.Errorf("%s: exit code %d", name, code)
		}
		f.done <- 1
	}
}

// troubled is a listener that has no room for a connection at first.
type troubled struct {
	net.Listener
	errs []error
}

func (l *troubled) Accept() (net.Conn, error) {
	if len(l.errs) > 0 {
		err := l.errs[0]
		l.errs = l.errs[1:]
		return nil, err
	}
	return l.Listener.Accept()
}

// TestForwardAcceptsAgain where this machine had no room for a connection, which is told once.
func TestForwardAcceptsAgain(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", inner.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	out := &running{}
	f := &forwarder{app: &app{stdout: out, stderr: out}, id: "demo", slots: make(chan struct{}, 1)}
	err = f.accept(t.Context(), &troubled{inner, []error{syscall.EMFILE, syscall.EMFILE, syscall.ECONNABORTED}},
		func(c net.Conn) {
			_ = c.Close()
			_ = inner.Close()
		})
	f.working.Wait()
	if !errors.Is(err, net.ErrClosed) || strings.Count(out.printed(), "too many open files") != 1 {
		t.Errorf("%v; printed was %q", err, out.printed())
	}
}

// TestForwardOutlivesRefusals: what listens in the session goes on while the server is busy, and
// ends when it says so.
func TestForwardOutlivesRefusals(t *testing.T) {
	var asked atomic.Int32
	over := make(chan struct{})
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/sessions/demo/listeners", func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		_ = conn.Write(t.Context(), websocket.MessageText,
			[]byte(`{"listening":{"id":"l","address":"::1","port":4000}}`))
		<-over
		_ = conn.CloseNow()
	})
	mux.HandleFunc("GET /v1/sessions/demo/listeners/l", func(w http.ResponseWriter, r *http.Request) {
		switch n := asked.Add(1); {
		case n <= 2:
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = io.WriteString(w, `{"status":503,"code":"busy","detail":"too much at once"}`)
			return
		case n > 3:
			close(over)
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		_ = conn.Write(t.Context(), websocket.MessageText, []byte(`{"connected":{"address":"[::1]:9"}}`))
		_, _, _ = conn.Read(t.Context())
		_ = conn.CloseNow()
	})
	server := httptest.NewServer(mux)
	defer server.Close()
	c, err := client.New(client.Options{URL: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	l, err := c.Listen(t.Context(), "demo", "::1", 4000)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	out := &running{}
	f := &forwarder{app: &app{stdout: out, stderr: out}, client: c, id: "demo", slots: make(chan struct{}, 1)}
	served := 0
	err = f.accept(t.Context(), l, func(c net.Conn) {
		served++
		resetConn(c)
	})
	f.working.Wait()
	if err == nil || served != 1 || strings.Count(out.printed(), "too much at once") != 1 {
		t.Errorf("%d served, %v; printed was %q", served, err, out.printed())
	}
}

func TestForwardArguments(t *testing.T) {
	dir := startDaemon(t)
	golden(t, "forward", transcript(t, dir,
		"create --no-start idle", "create demo", "ports", "ports demo", "ports nope", "ports idle",
		"forward", "forward demo", "forward demo x", "forward demo 0", "forward demo 70000", "forward demo 1:2:3",
		"forward nope 3000", "forward idle 3000",
		"forward --address nowhere demo 3000", "forward --address 127.0.0.1, demo 3000",
		"forward demo -L 3000", "forward demo -L 3000:db:5432", "forward demo -L [::1:3000:localhost:1",
		"forward demo -L 3000:localhost:0", "forward demo -L x:/run/s", "forward demo -R /s:localhost:1",
		"forward demo -R 4000:localhost",
	))
}

func TestParseWay(t *testing.T) {
	hosts := []end{{host: "127.0.0.1"}}
	for arg, want := range map[string]string{
		"8000:localhost:3000":         "[127.0.0.1:8000] localhost:3000",
		"0.0.0.0:8000:[::1]:3000":     "[0.0.0.0:8000] [::1]:3000",
		"[::1]:8000:localhost:3000":   "[[::1]:8000] localhost:3000",
		"*:8000:localhost:3000":       "[0.0.0.0:8000 [::]:8000] localhost:3000",
		":8000:localhost:3000":        "[0.0.0.0:8000 [::]:8000] localhost:3000",
		"8000:/run/s":                 "[127.0.0.1:8000] /run/s",
		"/tmp/s:/run/s":               "[/tmp/s] /run/s",
		"/tmp/s:localhost:3000":       "[/tmp/s] localhost:3000",
		"127.0.0.2:8000:/run/s":       "[127.0.0.2:8000] /run/s",
		"":                            "",
		"8000":                        "",
		"8000:3000":                   "",
		"8000:localhost:x":            "",
		"a:b:8000:localhost:3000":     "",
		"[::1]8000:localhost:3000":    "",
		"8000::3000":                  "",
		"127.0.0.1:x:localhost:3000":  "",
		"example.org:1:localhost:300": "",
	} {
		w, err := parseWay(arg, hosts)
		got := ""
		if err == nil {
			got = fmt.Sprint(w.from, " ", w.to)
		}
		if got != want {
			t.Errorf("%q is %q, %v; want %q", arg, got, err, want)
		}
	}
}

// TestForwardMany has many connections at once, each of which is used.
func TestForwardMany(t *testing.T) {
	dir := startDaemon(t)
	must(t, dir, "create", "demo")
	must(t, dir, append([]string{"exec", "-d", "demo", "--"}, strings.Fields(echoing)...)...)
	for !strings.Contains(must(t, dir, "ports", "demo"), echoing) {
		time.Sleep(5 * time.Millisecond)
	}
	f := beside(t, dir, "forward", "-q", "--address", "127.0.0.1", "demo", ":3000")
	address := f.sees(`Forwarding from (127.0.0.1:\d+) -> 3000`)
	conns := make([]net.Conn, 1000)
	for i := range conns {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(60 * time.Second))
		conns[i] = conn
		fmt.Fprintln(conn, i)
	}
	for i, conn := range conns {
		want := fmt.Sprintln(i)
		got := make([]byte, len(want))
		if _, err := io.ReadFull(conn, got); err != nil || string(got) != want {
			t.Fatalf("connection %d gives back %q, %v", i, got, err)
		}
	}
	if strings.Contains(f.printed(), "Connection from") {
		t.Errorf("it is not quiet: %s", f.printed())
	}
}
