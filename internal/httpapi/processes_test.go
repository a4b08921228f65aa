package httpapi_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/coder/websocket"

	v1 "github.com/octobot-run/octobot/api/v1"
	"github.com/octobot-run/octobot/client"
	"github.com/octobot-run/octobot/internal/container/mock"
	"github.com/octobot-run/octobot/internal/front"
	"github.com/octobot-run/octobot/internal/httpapi"
)

func TestExec(t *testing.T) {
	f := newFixture(t, settings{api: httpapi.Config{MaxExecTime: time.Minute}})
	f.running(t, "s", "")
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	withStdin := func(req v1.ExecRequest, stdin []byte) v1.ExecRequest {
		req.SetStdin(stdin)
		return req
	}
	for _, c := range []struct {
		name string
		req  v1.ExecRequest
		want client.ExecResult
	}{
		{"streams apart", v1.ExecRequest{Cmd: []string{"sh", "-c", "echo out; echo err >&2; exit 43"}},
			client.ExecResult{ExitCode: 43, Stdout: []byte("out\n"), Stderr: []byte("err\n")}},
		{"text", withStdin(v1.ExecRequest{Cmd: []string{"cat"}}, []byte("grüße <&> \u2028\x00\n")),
			client.ExecResult{Stdout: []byte("grüße <&> \u2028\x00\n"), Stderr: []byte{}}},
		{"any bytes", withStdin(v1.ExecRequest{Cmd: []string{"cat"}}, every),
			client.ExecResult{Stdout: every, Stderr: []byte{}}},
		{"environment", v1.ExecRequest{Cmd: []string{"sh", "-c", "echo $A; pwd"}, Env: []string{"A=b"},
			WorkingDir: "/tmp"},
			client.ExecResult{Stdout: []byte("b\n/tmp\n"), Stderr: []byte{}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := f.admin.Exec(t.Context(), "s", c.req)
			if err != nil || got.ExitCode != c.want.ExitCode || !bytes.Equal(got.Stdout, c.want.Stdout) ||
				!bytes.Equal(got.Stderr, c.want.Stderr) || got.Truncated {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}

	_, err := f.admin.Exec(t.Context(), "s", v1.ExecRequest{Cmd: []string{"no-such-program"}})
	wantCode(t, err, v1.CodeExecFailed)
	_, err = f.admin.Exec(t.Context(), "s",
		v1.ExecRequest{Cmd: []string{"sleep", "60"}, Timeout: v1.Duration(10 * time.Millisecond)})
	if e := wantCode(t, err, v1.CodeTimeout); !strings.Contains(e.Detail, "10ms") || e.Stdout != "" {
		t.Errorf("%+v", e)
	}
	for script, want := range map[string][2]string{
		"echo Error: waiting; echo soon >&2; sleep 60": {"Error: waiting\n", "soon\n"},
		"head -c 3 /dev/zero; sleep 60":                {"\x00\x00\x00", ""},
	} {
		_, err = f.admin.Exec(t.Context(), "s",
			v1.ExecRequest{Cmd: []string{"sh", "-c", script}, Timeout: v1.Duration(time.Second)})
		if e := wantCode(t, err, v1.CodeTimeout); e.Stdout != want[0] || e.Stderr != want[1] {
			t.Errorf("%s: stdout %q, stderr %q; want %q", script, e.Stdout, e.Stderr, want)
		}
	}
	_, err = f.admin.Exec(t.Context(), "s", v1.ExecRequest{Cmd: []string{"true"}, Timeout: v1.Duration(time.Hour)})
	wantCode(t, err, v1.CodeInvalidArgument)
	_, err = f.admin.Exec(t.Context(), "s", v1.ExecRequest{Cmd: []string{"true"}, Timeout: -1})
	wantCode(t, err, v1.CodeInvalidArgument)
}

// killed makes a command that runs until it is killed, and a channel that tells.
func killed(f *fixture) (started, ended <-chan struct{}) {
	s, e := make(chan struct{}), make(chan struct{})
	f.engine.Handle("forever", func(ctx context.Context, p *mock.Process) int {
		close(s)
		<-ctx.Done()
		close(e)
		return 0
	})
	return s, e
}

func TestDisconnectKillsCommand(t *testing.T) {
	for name, exec := range map[string]func(context.Context, *client.Client) error{
		"json": func(ctx context.Context, c *client.Client) error {
			_, err := c.Exec(ctx, "s", v1.ExecRequest{Cmd: []string{"forever"}})
			return err
		},
		"socket": func(ctx context.Context, c *client.Client) error {
			_, err := c.ExecStream(ctx, "s", v1.ExecRequest{Cmd: []string{"forever"}}, client.Streams{})
			return err
		},
		"terminal": func(ctx context.Context, c *client.Client) error {
			terminal, err := c.Attach(ctx, "s", client.AttachOptions{Cmd: []string{"forever"}})
			if err != nil {
				return err
			}
			<-ctx.Done()
			_ = terminal.Close()
			return ctx.Err()
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, settings{})
			f.running(t, "s", "")
			started, ended := killed(f)
			ctx, cancel := context.WithCancel(t.Context())
			go func() { <-started; cancel() }()
			if err := exec(ctx, f.admin); !errors.Is(err, context.Canceled) {
				t.Errorf("error %v", err)
			}
			<-ended
		})
	}
}

func TestExecEvents(t *testing.T) {
	f := newFixture(t, settings{}, func(a *httpapi.API) { a.SetTiming(5*time.Millisecond, 0) })
	f.running(t, "s", "")
	events := map[string]string{"Accept": "text/event-stream"}
	resp := f.do(t, raw{method: "POST", path: "/v1/sessions/s/exec", trusted: true, header: events,
		body: strings.NewReader(`{"cmd":["sh","-c","echo out; sleep 0.5; echo err >&2; exit 3"]}`)})
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("%v, %v", resp.Header, err)
	}
	got := string(b)
	for _, want := range []string{
		"event: stdout\ndata: {\"data\":\"b3V0Cg==\"}\n\n",
		": alive\n\n",
		"event: stderr\ndata: {\"data\":\"ZXJyCg==\"}\n\n",
		"event: exit\ndata: {\"code\":3}\n\n",
	} {
		_, after, found := strings.Cut(got, want)
		if !found {
			t.Fatalf("%q is not in order in %q", want, b)
		}
		got = after
	}
	if got != "" {
		t.Errorf("after the exit: %q", got)
	}

	// Before the first event, errors have their own status; after it, they are events.
	resp = f.do(t, raw{method: "POST", path: "/v1/sessions/s/exec", trusted: true, header: events,
		body: strings.NewReader(`{"cmd":["nothing"]}`)})
	wantProblem(t, resp, v1.CodeExecFailed)
	resp = f.do(t, raw{method: "POST", path: "/v1/sessions/s/exec", trusted: true, header: events,
		body: strings.NewReader(`{"cmd":["sh","-c","echo out; sleep 60"],"timeout":"1s"}`)})
	if b, _ = io.ReadAll(resp.Body); !strings.Contains(string(b), "event: error\n") ||
		!strings.Contains(string(b), `"code":"timeout"`) {
		t.Errorf("stream %q", b)
	}
}

// A reader that gives pseudo-random bytes and sums them up.
func randomBytes(n int64) io.Reader { return io.LimitReader(rand.NewChaCha8([32]byte{1}), n) }

func TestExecStreamCarriesAnyBytes(t *testing.T) {
	const size = 64 << 20
	f := newFixture(t, settings{})
	f.running(t, "s", "")
	want, got := sha256.New(), sha256.New()
	code, err := f.admin.ExecStream(t.Context(), "s", v1.ExecRequest{Cmd: []string{"cat"}},
		client.Streams{Stdin: io.TeeReader(randomBytes(size), want), Stdout: got})
	if err != nil || code != 0 {
		t.Fatalf("code %d, %v", code, err)
	}
	if !bytes.Equal(want.Sum(nil), got.Sum(nil)) {
		t.Error("what came back is not what was sent")
	}
}

func TestExecStream(t *testing.T) {
	f := newFixture(t, settings{api: httpapi.Config{MaxExecTime: time.Minute}})
	f.running(t, "s", "")
	var stdout, stderr bytes.Buffer
	code, err := f.admin.ExecStream(t.Context(), "s",
		v1.ExecRequest{Cmd: []string{"sh", "-c", "echo out; echo err >&2; exit 43"}},
		client.Streams{Stdout: &stdout, Stderr: &stderr})
	if err != nil || code != 43 || stdout.String() != "out\n" || stderr.String() != "err\n" {
		t.Errorf("code %d, %v, %q, %q", code, err, &stdout, &stderr)
	}

	// A command that does not read its input ends all the same.
	code, err = f.admin.ExecStream(t.Context(), "s", v1.ExecRequest{Cmd: []string{"sh", "-c", "exit 2"}},
		client.Streams{Stdin: randomBytes(8 << 20)})
	if err != nil || code != 2 {
		t.Errorf("unread input: code %d, %v", code, err)
	}

	exec := func(id string, req v1.ExecRequest, streams client.Streams) error {
		_, err := f.admin.ExecStream(t.Context(), id, req, streams)
		return err
	}
	wantCode(t, exec("s", v1.ExecRequest{Cmd: []string{"nothing"}}, client.Streams{}), v1.CodeExecFailed)
	wantCode(t, exec("none", v1.ExecRequest{Cmd: []string{"true"}}, client.Streams{}), v1.CodeSessionNotFound)
	wantCode(t, exec("s", v1.ExecRequest{}, client.Streams{}), v1.CodeInvalidArgument)
	wantCode(t, exec("s", v1.ExecRequest{Cmd: []string{"cat"}, Stdin: "x"}, client.Streams{}), v1.CodeInvalidArgument)
	wantCode(t, exec("s", v1.ExecRequest{Cmd: []string{"sleep", "60"}, Timeout: v1.Duration(10 * time.Millisecond)},
		client.Streams{}), v1.CodeTimeout)
	// The engine's time is not the command's.
	remove := f.engine.Inject(mock.Fault{Op: "exec", Err: context.DeadlineExceeded})
	req := v1.ExecRequest{Cmd: []string{"true"}, Timeout: v1.Duration(10 * time.Second)}
	wantCode(t, exec("s", req, client.Streams{}), v1.CodeEngineUnavailable)
	_, err = f.admin.Exec(t.Context(), "s", req)
	if e := wantCode(t, err, v1.CodeEngineUnavailable); !strings.Contains(e.Detail, "did not finish it in time") {
		t.Errorf("a slow engine: %+v", e)
	}
	remove()

	broken := errors.New("broken")
	if err := exec("s", v1.ExecRequest{Cmd: []string{"cat"}},
		client.Streams{Stdin: iotest.ErrReader(broken)}); !errors.Is(err, broken) {
		t.Errorf("broken stdin: %v", err)
	}
	r, w := io.Pipe()
	_ = r.CloseWithError(broken)
	if err := exec("s", v1.ExecRequest{Cmd: []string{"yes"}}, client.Streams{Stdout: w}); !errors.Is(err, broken) {
		t.Errorf("broken stdout: %v", err)
	}
}

type readerFunc func([]byte) (int, error)

func (r readerFunc) Read(b []byte) (int, error) { return r(b) }

// A client that goes while the command leaves its input unread is missed before long.
func TestExecStreamClientGone(t *testing.T) {
	f := newFixture(t, settings{})
	f.running(t, "s", "")
	started, ended := killed(f)
	ctx, leave := context.WithCancel(t.Context())
	left, sent := make(chan error), make(chan struct{})
	go func() {
		stdin := io.MultiReader(randomBytes(96<<10), readerFunc(func([]byte) (int, error) {
			close(sent) // so much is on its way
			return 0, io.EOF
		}))
		_, err := f.admin.ExecStream(ctx, "s", v1.ExecRequest{Cmd: []string{"forever"}}, client.Streams{Stdin: stdin})
		left <- err
	}()
	<-started
	<-sent
	leave()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("the client: %v", err)
	}
	select {
	case <-ended:
	case <-time.After(3 * time.Second):
		t.Error("the command runs on")
	}
}

// A reader that takes its time slows the command, and loses nothing.
func TestExecStreamWaitsForSlowReader(t *testing.T) {
	f := newFixture(t, settings{front: front.Config{WriteTimeout: 300 * time.Millisecond}})
	f.running(t, "s", "")
	const size = 16 << 20
	f.engine.Handle("much", func(_ context.Context, p *mock.Process) int {
		n, err := io.Copy(p.Stdout, randomBytes(size))
		if n != size || err != nil {
			return 1
		}
		return 0
	})
	r, w := io.Pipe()
	sum := sha256.New()
	read := make(chan error)
	go func() {
		time.Sleep(600 * time.Millisecond) // longer than the API waits for other answers to be read
		_, err := io.Copy(sum, r)
		read <- err
	}()
	code, err := f.admin.ExecStream(t.Context(), "s", v1.ExecRequest{Cmd: []string{"much"}}, client.Streams{Stdout: w})
	_ = w.Close()
	if err := errors.Join(err, <-read); err != nil || code != 0 {
		t.Fatalf("code %d, %v", code, err)
	}
	want := sha256.New()
	_, _ = io.Copy(want, randomBytes(size))
	if !bytes.Equal(sum.Sum(nil), want.Sum(nil)) {
		t.Error("output was lost")
	}
}

func TestAttach(t *testing.T) {
	f := newFixture(t, settings{})
	f.running(t, "s", "")
	terminal, err := f.admin.Attach(t.Context(), "s",
		client.AttachOptions{Cmd: []string{"sh"}, Env: []string{"A=b c"}, Rows: 30, Cols: 100})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = terminal.Close() }()
	var all strings.Builder
	readUntil := func(want string) {
		t.Helper()
		buf := make([]byte, 1000)
		for !strings.Contains(all.String(), want) {
			n, err := terminal.Read(buf)
			all.Write(buf[:n])
			if err != nil {
				t.Fatalf("%v before %q, after %q", err, want, all.String())
			}
		}
	}
	say := func(line string) {
		t.Helper()
		if _, err := terminal.Write([]byte(line + "\n")); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := terminal.ExitCode(); err == nil {
		t.Error("an exit code before the end")
	}
	say("stty size; echo [$A]")
	readUntil("30 100\r\n[b c]\r\n")
	if err := terminal.Resize(40, 120); err != nil {
		t.Fatal(err)
	}
	say("stty size")
	readUntil("40 120\r\n")
	say("exit 7")
	if _, err := io.Copy(io.Discard, terminal); err != nil {
		t.Errorf("at the end: %v", err)
	}
	if code, err := terminal.ExitCode(); code != 7 || err != nil {
		t.Errorf("exit code %d, %v", code, err)
	}

	_, err = f.admin.Attach(t.Context(), "none", client.AttachOptions{})
	wantCode(t, err, v1.CodeSessionNotFound)
	_, err = f.admin.Attach(t.Context(), "s", client.AttachOptions{Rows: 1})
	wantCode(t, err, v1.CodeInvalidArgument)
	if _, err := f.admin.StopSession(t.Context(), "s", 0); err != nil {
		t.Fatal(err)
	}
	_, err = f.admin.Attach(t.Context(), "s", client.AttachOptions{})
	wantCode(t, err, v1.CodeSessionNotRunning)
}

// A viewer that stops reading is disconnected, and the terminal hung up.
func TestAttachDropsStuckViewer(t *testing.T) {
	f := newFixture(t, settings{front: front.Config{WriteTimeout: 300 * time.Millisecond}})
	f.running(t, "s", "")
	hungUp := make(chan struct{})
	f.engine.Handle("noise", func(ctx context.Context, p *mock.Process) int {
		for ctx.Err() == nil {
			if _, err := p.Stdout.Write(make([]byte, 1<<16)); err != nil {
				break
			}
		}
		close(hungUp)
		return 0
	})
	terminal, err := f.admin.Attach(t.Context(), "s", client.AttachOptions{Cmd: []string{"noise"}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = terminal.Close() }()
	<-hungUp
	if _, err := io.Copy(io.Discard, terminal); err == nil {
		t.Error("the end looks like an orderly one")
	}
}

func TestSocketsRefuseBadFrames(t *testing.T) {
	patient := newFixture(t, settings{})
	impatient := newFixture(t, settings{}, func(a *httpapi.API) { a.SetTiming(0, time.Millisecond) })
	text := func(s string) func(context.Context, *websocket.Conn) error {
		return func(ctx context.Context, c *websocket.Conn) error {
			return c.Write(ctx, websocket.MessageText, []byte(s))
		}
	}
	binary := func(b ...byte) func(context.Context, *websocket.Conn) error {
		return func(ctx context.Context, c *websocket.Conn) error { return c.Write(ctx, websocket.MessageBinary, b) }
	}
	const start = `{"start":{"cmd":["cat"]}}`
	for _, c := range []struct {
		name, path string
		frames     []func(context.Context, *websocket.Conn) error
		code       v1.Code
		status     websocket.StatusCode
	}{
		{"no start", "exec", nil, v1.CodeRequestTimeout, websocket.StatusPolicyViolation},
		{"bytes first", "exec", []func(context.Context, *websocket.Conn) error{binary(0, 'x')}, v1.CodeInvalidArgument,
			websocket.StatusPolicyViolation},
		{"eof first", "exec", []func(context.Context, *websocket.Conn) error{text(`{"eof":true}`)},
			v1.CodeInvalidArgument, websocket.StatusPolicyViolation},
		{"start twice", "exec", []func(context.Context, *websocket.Conn) error{text(start), text(start)},
			v1.CodeInvalidArgument, websocket.StatusPolicyViolation},
		{"no JSON", "exec", []func(context.Context, *websocket.Conn) error{text(start), text("{")},
			v1.CodeInvalidArgument, websocket.StatusPolicyViolation},
		{"unknown member", "exec",
			[]func(context.Context, *websocket.Conn) error{text(`{"start":{"cmd":["cat"],"root":true}}`)},
			v1.CodeInvalidArgument, websocket.StatusPolicyViolation},
		{"no UTF-8", "exec", []func(context.Context, *websocket.Conn) error{text("{\"start\":{\"cmd\":[\"\xff\"]}}")},
			v1.CodeInvalidArgument, websocket.StatusPolicyViolation},
		{"output up", "exec", []func(context.Context, *websocket.Conn) error{text(start), binary(1, 'x')},
			v1.CodeInvalidArgument, websocket.StatusPolicyViolation},
		{"empty frame", "exec", []func(context.Context, *websocket.Conn) error{text(start), binary()},
			v1.CodeInvalidArgument, websocket.StatusPolicyViolation},
		{"zero size", "attach?cmd=cat",
			[]func(context.Context, *websocket.Conn) error{text(`{"resize":{"rows":0,"cols":1}}`)},
			v1.CodeInvalidArgument, websocket.StatusPolicyViolation},
		{"huge size", "attach?cmd=cat",
			[]func(context.Context, *websocket.Conn) error{text(`{"resize":{"rows":70000,"cols":1}}`)},
			v1.CodeInvalidArgument, websocket.StatusPolicyViolation},
		{"exit up", "attach?cmd=cat", []func(context.Context, *websocket.Conn) error{text(`{"exit":{"code":0}}`)},
			v1.CodeInvalidArgument, websocket.StatusPolicyViolation},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := patient
			if c.code == v1.CodeRequestTimeout {
				f = impatient
			}
			f.running(t, "s", "")
			defer func() { _ = f.admin.DeleteSession(context.WithoutCancel(t.Context()), "s") }()
			secret, _ := f.token(t, "t", "")
			defer func() { _ = f.admin.DeleteToken(context.WithoutCancel(t.Context()), "t") }()
			conn, resp, err := websocket.Dial(t.Context(), f.url+"/v1/sessions/s/"+c.path,
				&websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Bearer " + secret}}})
			if err != nil {
				t.Fatal(err, resp)
			}
			defer func() { _ = conn.CloseNow() }()
			for _, send := range c.frames {
				if err := send(t.Context(), conn); err != nil {
					t.Fatal(err)
				}
			}
			var last v1.Control
			for {
				kind, b, err := conn.Read(t.Context())
				if err != nil {
					if status := websocket.CloseStatus(err); status != c.status {
						t.Errorf("close status %v: %v", status, err)
					}
					break
				}
				if kind == websocket.MessageText {
					if last, err = v1.ParseControl(b); err != nil {
						t.Fatal(err)
					}
				}
			}
			if last.Error == nil || last.Error.Code != c.code {
				t.Errorf("last control frame %+v, want an error %s", last.Error, c.code)
			}
		})
	}
}

func TestLogs(t *testing.T) {
	f := newFixture(t, settings{})
	if _, err := f.admin.CreateSession(t.Context(), v1.CreateSessionRequest{
		ID: "s", Spec: v1.Spec{Cmd: []string{"sh", "-c", "echo one; echo two >&2; echo three"}}}, nil); err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	if err := f.admin.Logs(t.Context(), "s", client.LogOptions{Follow: true}, &stdout, &stderr); err != nil {
		t.Fatal(err)
	}
	if stdout.String() != "one\nthree\n" || stderr.String() != "two\n" {
		t.Errorf("logs %q, %q", &stdout, &stderr)
	}
	get := func(query string) *http.Response {
		return f.do(t, raw{method: "GET", path: "/v1/sessions/s/logs" + query, trusted: true})
	}
	for query, want := range map[string]string{
		"": "one\ntwo\nthree\n", "?tail=1": "three\n", "?tail=0": "", "?follow=true&tail=-1": "one\ntwo\nthree\n",
		"?since=1h": "one\ntwo\nthree\n", "?since=2999-01-01T00:00:00Z": "",
	} {
		resp := get(query)
		b, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK || string(b) != want ||
			!strings.HasPrefix(resp.Header.Get("Content-Type"), "text/plain") {
			t.Errorf("%q: %s, %q, %v", query, resp.Status, b, err)
		}
	}
	for _, query := range []string{"?since=yesterday", "?since=-1h", "?tail=-2", "?tail=x", "?unknown=1",
		"?follow=maybe"} {
		wantProblem(t, get(query), v1.CodeInvalidArgument)
	}
	err := f.admin.Logs(t.Context(), "none", client.LogOptions{}, nil, nil)
	wantCode(t, err, v1.CodeSessionNotFound)
}

// Shutdown ends what is under way, and tells why.
func TestShutdown(t *testing.T) {
	f := newFixture(t, settings{})
	f.running(t, "s", "")
	started, ended := killed(f)
	terminal, err := f.admin.Attach(t.Context(), "s", client.AttachOptions{Cmd: []string{"sh"}})
	if err != nil {
		t.Fatal(err)
	}
	ends := make(chan error)
	go func() { _, err := io.Copy(io.Discard, terminal); ends <- err }()
	go func() {
		_, err := f.admin.ExecStream(t.Context(), "s", v1.ExecRequest{Cmd: []string{"forever"}}, client.Streams{})
		ends <- err
	}()
	go func() {
		var last error
		for _, err := range f.admin.Events(t.Context(), "") {
			last = err
		}
		ends <- last
	}()
	<-started
	for f.front.Streams().Count() != 3 {
		time.Sleep(time.Millisecond)
	}
	if err := f.front.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-ended
	for range 3 {
		if err := <-ends; client.CodeOf(err) != v1.CodeCancelled {
			t.Errorf("error %v", err)
		}
	}
	_, err = f.admin.ExecStream(t.Context(), "s", v1.ExecRequest{Cmd: []string{"true"}}, client.Streams{})
	wantCode(t, err, v1.CodeBusy)
}

// A terminal is no way around the time that a command may take, but the main process's own is not
// limited.
func TestTerminalsAreLimitedInTime(t *testing.T) {
	f := newFixture(t, settings{api: httpapi.Config{MaxExecTime: 300 * time.Millisecond}})
	f.running(t, "s", "")
	if _, err := f.admin.CreateSession(t.Context(), v1.CreateSessionRequest{ID: "main",
		Spec: v1.Spec{Tty: true, Cmd: []string{"sh"}}}, nil); err != nil {
		t.Fatal(err)
	}
	main, err := f.admin.Attach(t.Context(), "main", client.AttachOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = main.Close() }()
	for _, cmd := range [][]string{{"sleep", "1000"}, nil} {
		terminal, err := f.admin.Attach(t.Context(), "s", client.AttachOptions{Cmd: cmd})
		if err != nil {
			t.Fatal(err)
		}
		_, err = io.Copy(io.Discard, terminal)
		if e := wantCode(t, err, v1.CodeTimeout); !strings.Contains(e.Detail, "300ms") {
			t.Errorf("%v: %v", cmd, err)
		}
	}
	if _, err := io.WriteString(main, "echo still here\n"); err != nil {
		t.Error(err)
	}
	if text := readUntil(t, main, "still here\r\n"); text == "" {
		t.Error("the main process's terminal was ended")
	}
}

// readUntil reads a terminal until it says something; empty where it ends before.
func readUntil(t *testing.T, r io.Reader, want string) string {
	t.Helper()
	var text strings.Builder
	buf := make([]byte, 1024)
	for !strings.Contains(text.String(), want) {
		n, err := r.Read(buf)
		text.Write(buf[:n])
		if err != nil {
			return ""
		}
	}
	return text.String()
}
