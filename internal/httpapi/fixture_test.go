package httpapi_test

import (
	"cmp"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"go.uber.org/goleak"

	v1 "github.com/octobot-run/octobot/api/v1"
	"github.com/octobot-run/octobot/client"
	"github.com/octobot-run/octobot/internal/container/mock"
	"github.com/octobot-run/octobot/internal/front"
	"github.com/octobot-run/octobot/internal/httpapi"
	"github.com/octobot-run/octobot/internal/problem"
	"github.com/octobot-run/octobot/internal/session"
	"github.com/octobot-run/octobot/internal/store/sqlite"
)

func TestMain(m *testing.M) {
	// A server that closes a connection in the middle of a request waits half a second for the
	// client's end of it, which is longer than goleak does.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*conn).closeWriteAndWait"))
}

// settings are a fixture's.
type settings struct {
	front   front.Config
	api     httpapi.Config
	service session.Config
}

// fixture is a whole server, with a store on disk and a mock engine.
type fixture struct {
	engine  *mock.Engine
	service *session.ContainerService
	front   *front.Front
	api     *httpapi.API
	socket  string
	url     string         // of the TCP listener, which wants tokens
	admin   *client.Client // through the socket
}

func newFixture(t testing.TB, cfg settings, options ...func(*httpapi.API)) *fixture {
	t.Helper()
	return newFixtureOver(t, cfg, func(s *session.ContainerService) httpapi.Service { return s }, options...)
}

// newFixtureOver serves what wrap makes of the service.
func newFixtureOver(
	t testing.TB, cfg settings, wrap func(*session.ContainerService) httpapi.Service,
	options ...func(*httpapi.API),
) *fixture {
	t.Helper()
	dir := t.TempDir()
	store, err := sqlite.Open(t.Context(), filepath.Join(dir, "octobot.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	engine := mock.NewEngine()
	provider := engine.Provider("test")
	t.Cleanup(func() { _ = provider.Close(); engine.Close() })
	logger := slog.New(slog.NewTextHandler(io.Discard, nil))
	cfg.api.Logger = cmp.Or(cfg.api.Logger, logger)
	cfg.api.Version, cfg.api.Instance, cfg.api.Capabilities = "1.2.3", "inst", provider.Capabilities()
	cfg.front.Logger = logger
	cfg.service.DefaultImage, cfg.service.Logger = "octobot-test", logger
	f := &fixture{
		engine:  engine,
		service: session.NewContainerService(provider, store, cfg.service),
	}
	f.front = front.New(f.service, cfg.front)
	f.api = httpapi.New(wrap(f.service), f.front, cfg.api)
	for _, option := range options {
		option(f.api)
	}
	f.socket = filepath.Join(dir, "s")
	serve := func(network, address string, trusted bool) string {
		l, err := net.Listen(network, address)
		if err != nil {
			t.Fatal(err)
		}
		server := f.front.Server(trusted)
		done := make(chan struct{})
		go func() { defer close(done); _ = server.Serve(l) }()
		t.Cleanup(func() { _ = server.Close(); <-done })
		return l.Addr().String()
	}
	serve("unix", f.socket, true)
	f.url = "http://" + serve("tcp", "127.0.0.1:0", false)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := f.front.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
	})
	f.admin = f.client(t, client.Options{Socket: f.socket})
	return f
}

func (f *fixture) client(t testing.TB, opts client.Options) *client.Client {
	t.Helper()
	c, err := client.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// token makes a token, of a project unless that is empty, and a client that uses it over TCP.
func (f *fixture) token(t testing.TB, name, project string) (string, *client.Client) {
	t.Helper()
	created, err := f.admin.CreateToken(t.Context(), v1.CreateTokenRequest{Name: name, Project: project})
	if err != nil {
		t.Fatal(err)
	}
	return created.Secret, f.client(t, client.Options{URL: f.url, Token: created.Secret})
}

// running makes a session that runs.
func (f *fixture) running(t testing.TB, id, project string) {
	t.Helper()
	if _, err := f.admin.CreateSession(t.Context(), v1.CreateSessionRequest{ID: id, Project: project},
		nil); err != nil {
		t.Fatal(err)
	}
}

// raw is what a test sends without the client.
type raw struct {
	method, path string // the path as it goes over the wire
	token        string
	host         string
	header       map[string]string
	body         io.Reader
	trusted      bool // over the socket
}

// do sends a request as it is.
func (f *fixture) do(t testing.TB, r raw) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), r.method, f.url, r.body)
	if err != nil {
		t.Fatal(err)
	}
	req.URL.Opaque = r.path // as it is, unlike a URL's path
	req.Host = r.host
	if r.body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for name, value := range r.header {
		req.Header.Set(name, value)
	}
	if r.token != "" {
		req.Header.Set("Authorization", "Bearer "+r.token)
	}
	transport := &http.Transport{DisableCompression: true}
	if r.trusted {
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", f.socket)
		}
	}
	t.Cleanup(transport.CloseIdleConnections)
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatalf("%s %s: %v", r.method, r.path, err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	return resp
}

// wantProblem checks that an answer is a problem of that code, in every respect.
func wantProblem(t testing.TB, resp *http.Response, code v1.Code) v1.Problem {
	t.Helper()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var p v1.Problem
	if err := json.Unmarshal(b, &p); err != nil {
		t.Fatalf("status %s, body %.300q: %v", resp.Status, b, err)
	}
	if ct := resp.Header.Get("Content-Type"); ct != "application/problem+json" {
		t.Errorf("Content-Type %q", ct)
	}
	if p.Code != code || p.Status != resp.StatusCode || p.Status != problem.Statuses[code] ||
		p.Type != "urn:octobot:problem:"+string(code) || p.Title == "" || p.Detail == "" {
		t.Errorf("status %d, problem %+v; want code %s", resp.StatusCode, p, code)
	}
	if goWords.MatchString(p.Detail) {
		t.Errorf("the detail speaks to programmers: %s", p.Detail)
	}
	return p
}

// goWords are those in which Go's packages, and those below ours, speak to programmers.
var goWords = regexp.MustCompile(`strconv\.|json: |invalid character|\bEOF\b|frame header|(dial|read|write) (tcp|unix)|` +
	`context (deadline|canceled)|illegal base64|parsing regexp|Go (value|struct)|unmarshal|time: `)

// wantCode checks an error of the client.
func wantCode(t testing.TB, err error, code v1.Code) *client.Error {
	t.Helper()
	if client.CodeOf(err) != code {
		t.Fatalf("error %v (code %q), want %q", err, client.CodeOf(err), code)
	}
	e := err.(*client.Error)
	if e.Status != problem.Statuses[code] {
		t.Errorf("status %d, want %d", e.Status, problem.Statuses[code])
	}
	return e
}
