package daemon

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	v1 "github.com/octobot-run/octobot/api/v1"
	"github.com/octobot-run/octobot/client"
	"github.com/octobot-run/octobot/internal/config"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testConfig is for a daemon with the mock in a directory of its own.
func testConfig(t *testing.T) config.Config {
	t.Helper()
	dir, err := os.MkdirTemp("", "octobot") // short, for the socket's sake
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	cfg := config.Default()
	cfg.DataDir, cfg.Runtime, cfg.Listen = filepath.Join(dir, "data"), "mock", "127.0.0.1:0"
	return cfg
}

// start runs a daemon until stop, which returns its error, or the end of the test.
func start(t *testing.T, cfg config.Config) (at Addresses, stop func() error) {
	t.Helper()
	return startLogging(t, cfg, t.Output())
}

func startLogging(t *testing.T, cfg config.Config, log io.Writer) (at Addresses, stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan Addresses, 1), make(chan error, 1)
	go func() {
		done <- Run(ctx, cfg, Options{Version: "test", Log: log, Ready: func(a Addresses) { ready <- a }})
	}()
	stop = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Errorf("daemon: %v", err)
		}
	})
	select {
	case at = <-ready:
	case err := <-done:
		done <- nil
		t.Fatalf("daemon: %v", err)
	}
	return at, stop
}

func connect(t *testing.T, opts client.Options) *client.Client {
	t.Helper()
	c, err := client.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestRun(t *testing.T) {
	cfg := testConfig(t)
	at, stop := start(t, cfg)
	for path, want := range map[string]os.FileMode{cfg.DataDir: 0o700, at.Socket: 0o600, cfg.Database(): 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: mode %v, %v, want %v", path, info.Mode(), err, want)
		}
	}
	admin := connect(t, client.Options{Socket: at.Socket})
	if _, err := admin.CreateSession(t.Context(), v1.CreateSessionRequest{ID: "demo"}, nil); err != nil {
		t.Fatal(err)
	}
	token, err := admin.CreateToken(t.Context(), v1.CreateTokenRequest{Name: "test"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := connect(t, client.Options{URL: at.URL}).GetSession(t.Context(),
		"demo"); client.CodeOf(err) != v1.CodeUnauthenticated {
		t.Errorf("without a token: %v", err)
	}
	if s, err := connect(t, client.Options{URL: at.URL, Token: token.Secret}).GetSession(t.Context(),
		"demo"); err != nil || s.Status != v1.StatusRunning {
		t.Errorf("with a token: %+v, %v", s, err)
	}
	if err := stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
	if _, err := os.Stat(at.Socket); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is left: %v", err)
	}
}

func TestRunAgainKeepsSessions(t *testing.T) {
	cfg := testConfig(t)
	at, stop := start(t, cfg)
	c := connect(t, client.Options{Socket: at.Socket})
	if _, err := c.CreateSession(t.Context(), v1.CreateSessionRequest{ID: "demo"}, nil); err != nil {
		t.Fatal(err)
	}
	before, err := c.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	at, _ = start(t, cfg)
	c = connect(t, client.Options{Socket: at.Socket})
	if after, err := c.Info(t.Context()); err != nil || after.Instance != before.Instance {
		t.Errorf("instance %s became %s, %v", before.Instance, after.Instance, err)
	}
	if _, err := c.Reconcile(t.Context(), client.ReconcileOptions{}); err != nil {
		t.Fatal(err)
	}
	// The mock's containers ended with the first daemon.
	s, err := c.GetSession(t.Context(), "demo")
	if err != nil || s.Status != v1.StatusFailed || s.Failure == nil || s.Failure.Code != v1.CodeContainerLost {
		t.Errorf("after the restart: %+v, %v", s, err)
	}
}

func TestRunTwice(t *testing.T) {
	cfg := testConfig(t)
	at, _ := start(t, cfg)
	err := Run(t.Context(), cfg, Options{Log: t.Output()})
	if err == nil || !strings.Contains(err.Error(), "another daemon") {
		t.Errorf("second daemon: %v", err)
	}
	if _, err := connect(t, client.Options{Socket: at.Socket}).Info(t.Context()); err != nil {
		t.Errorf("the first daemon suffered: %v", err)
	}
}

func TestRunRefuses(t *testing.T) {
	for name, tt := range map[string]struct {
		prepare func(t *testing.T, cfg *config.Config)
		want    string
	}{
		"directory open to others": {func(t *testing.T, cfg *config.Config) {
			if err := errors.Join(os.Mkdir(cfg.DataDir, 0o700), os.Chmod(cfg.DataDir, 0o777)); err != nil {
				t.Fatal(err)
			}
		}, "chmod 700"},
		"directory that others can read, with their files": {func(t *testing.T, cfg *config.Config) {
			if err := errors.Join(os.Mkdir(cfg.DataDir, 0o700), os.Chmod(cfg.DataDir, 0o755),
				os.WriteFile(filepath.Join(cfg.DataDir, "hostname"), nil, 0o644)); err != nil {
				t.Fatal(err)
			}
		}, "such as hostname; chmod 700"},
		"something in the socket's place": {func(t *testing.T, cfg *config.Config) {
			if err := errors.Join(os.Mkdir(cfg.DataDir, 0o700),
				os.WriteFile(cfg.Socket(), []byte("precious"), 0o600)); err != nil {
				t.Fatal(err)
			}
		}, "not a socket"},
		"address in use": {func(t *testing.T, cfg *config.Config) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = l.Close() })
			cfg.Listen = l.Addr().String()
		}, "in use"},
		"missing certificate": {func(t *testing.T, cfg *config.Config) {
			cfg.TLSCert, cfg.TLSKey = "/nonexistent/cert.pem", "/nonexistent/key.pem"
		}, "tls_cert"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := testConfig(t)
			tt.prepare(t, &cfg)
			err := Run(t.Context(), cfg, Options{Log: t.Output(),
				Ready: func(Addresses) { t.Error("it became ready") }})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want it to say %q", err, tt.want)
			}
		})
	}
}

// What others can read is closed to them, whoever made it so.
func TestRunClosesDataDir(t *testing.T) {
	cfg := testConfig(t)
	_, stop := start(t, cfg)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(cfg.DataDir, "config.yaml")
	for _, name := range []string{config, cfg.Database() + "-wal", cfg.Database() + "-shm"} {
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	elsewhere := filepath.Join(t.TempDir(), "precious")
	if err := errors.Join(os.WriteFile(elsewhere, nil, 0o600), os.Chmod(elsewhere, 0o644),
		os.Symlink(elsewhere, filepath.Join(cfg.DataDir, "octobot.link"))); err != nil {
		t.Fatal(err)
	}
	names := []string{cfg.Database(), cfg.Database() + "-wal", cfg.Database() + "-shm", cfg.Database() + ".lock",
		config,
		filepath.Join(cfg.DataDir, "octobot.lock")}
	for _, name := range names {
		if err := os.Chmod(name, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(cfg.DataDir, 0o755); err != nil {
		t.Fatal(err)
	}
	start(t, cfg)
	for name, want := range map[string]os.FileMode{cfg.DataDir: 0o700, elsewhere: 0o644} {
		wantMode(t, name, want)
	}
	for _, name := range names {
		wantMode(t, name, 0o600)
	}
}

func wantMode(t *testing.T, name string, want os.FileMode) {
	t.Helper()
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != want {
		t.Errorf("%s has mode %04o, want %04o", name, got, want)
	}
}

func TestRunReplacesStaleSocket(t *testing.T) {
	cfg := testConfig(t)
	if err := os.Mkdir(cfg.DataDir, 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: cfg.Socket()})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false) // as after SIGKILL
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	start(t, cfg)
}

func TestRunLeavesForeignSocket(t *testing.T) {
	cfg := testConfig(t)
	if err := os.Mkdir(cfg.DataDir, 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", cfg.Socket())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := Run(t.Context(), cfg, Options{Log: t.Output()}); err == nil ||
		!strings.Contains(err.Error(), "another process serves it") {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(cfg.Socket()); err != nil {
		t.Errorf("the other's socket: %v", err)
	}
}

func TestRunWithoutEngine(t *testing.T) {
	cfg := testConfig(t)
	cfg.Runtime, cfg.Docker.Host = "docker", "unix:///nonexistent/docker.sock"
	at, _ := start(t, cfg)
	c := connect(t, client.Options{Socket: at.Socket})
	if err := c.Ready(t.Context()); client.CodeOf(err) != v1.CodeEngineUnavailable {
		t.Errorf("readyz: %v", err)
	}
	if page, err := c.ListSessions(t.Context(), client.ListOptions{}); err != nil || len(page.Sessions) != 0 {
		t.Errorf("list: %+v, %v", page, err)
	}
	if _, err := c.CreateSession(t.Context(), v1.CreateSessionRequest{ID: "demo"},
		nil); client.CodeOf(err) != v1.CodeEngineUnavailable {
		t.Errorf("create: %v", err)
	}
}

// TestShutdownEndsStreams has a terminal, a command and a stream of events under way.
func TestShutdownEndsStreams(t *testing.T) {
	cfg := testConfig(t)
	at, stop := start(t, cfg)
	c := connect(t, client.Options{Socket: at.Socket})
	if _, err := c.CreateSession(t.Context(), v1.CreateSessionRequest{ID: "demo"}, nil); err != nil {
		t.Fatal(err)
	}
	terminal, err := c.Attach(t.Context(), "demo", client.AttachOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	var streams sync.WaitGroup
	begun := make(chan struct{})
	streams.Go(func() {
		req := v1.ExecRequest{Cmd: []string{"sh", "-c", "echo begun; sleep 1000"}}
		if _, err := c.ExecStream(t.Context(), "demo", req, client.Streams{Stdout: closeOnWrite{begun}}); err == nil {
			t.Error("the command ended well")
		}
	})
	streams.Go(func() {
		if _, err := io.Copy(io.Discard, terminal); err == nil {
			t.Error("the terminal ended as if its process had")
		}
	})
	<-begun
	if err := stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
	streams.Wait()
}

type closeOnWrite struct{ written chan struct{} }

func (c closeOnWrite) Write(p []byte) (int, error) {
	close(c.written)
	return len(p), nil
}

func TestMetrics(t *testing.T) {
	cfg := testConfig(t)
	at, _ := start(t, cfg)
	c := connect(t, client.Options{Socket: at.Socket})
	if _, err := c.CreateSession(t.Context(), v1.CreateSessionRequest{ID: "demo"}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Reconcile(t.Context(), client.ReconcileOptions{}); err != nil {
		t.Fatal(err)
	}
	web := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn,
		error) {
		return new(net.Dialer).DialContext(ctx, "unix", at.Socket)
	}}}
	defer web.CloseIdleConnections()
	resp, err := web.Get("http://octobot/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`octobot_build_info{version="test"} 1`,
		`octobot_operation_duration_seconds_count{code="ok",operation="create"} 1`,
		`octobot_sessions{status="running"} 1`,
		`octobot_sessions{status="failed"} 0`,
		`octobot_reconcile_passes_total{result="refused"} 0`,
		`go_goroutines`, `process_resident_memory_bytes`, `octobot_http_requests_total`,
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the metrics lack %s", want)
		}
	}
}

func TestTraces(t *testing.T) {
	spans := make(chan string, 100)
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body) // what is missing is noticed below
		spans <- r.URL.Path + " " + r.Header.Get("X-Key") + " " + string(body)
	}))
	defer collector.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.URL)
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-key=a%20secret")
	cfg := testConfig(t)
	at, stop := start(t, cfg)
	if _, err := connect(t, client.Options{Socket: at.Socket}).ListSessions(t.Context(),
		client.ListOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := stop(); err != nil { // which exports what there is
		t.Fatal(err)
	}
	select {
	case got := <-spans:
		if !strings.HasPrefix(got, "/v1/traces a secret ") || !strings.Contains(got, "GET /v1/sessions") ||
			!strings.Contains(got, "octobot") {
			t.Errorf("the collector got %q", got)
		}
	default:
		t.Error("the collector got nothing")
	}
}

func TestTracingWanted(t *testing.T) {
	const endpoint, traces = "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
	for name, tt := range map[string]struct {
		env  map[string]string
		want bool
	}{
		"nothing":    {nil, false},
		"endpoint":   {map[string]string{endpoint: "http://c:4318"}, true},
		"for traces": {map[string]string{traces: "https://c/x"}, true},
		"no traces":  {map[string]string{endpoint: "http://c", "OTEL_TRACES_EXPORTER": "none"}, false},
		"no SDK":     {map[string]string{endpoint: "http://c", "OTEL_SDK_DISABLED": "TRUE"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := tracingWanted(func(k string) string { return tt.env[k] }); got != tt.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestNotify(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", "300000")
	_, stop := start(t, testConfig(t))
	wait := func(want string) {
		t.Helper()
		_ = l.SetReadDeadline(time.Now().Add(20 * time.Second)) // for a broken daemon only
		buf := make([]byte, 64)
		for {
			n, err := l.Read(buf)
			if err != nil {
				t.Fatalf("systemd was not told %s: %v", want, err)
			}
			if string(buf[:n]) == want {
				return
			}
		}
	}
	wait("READY=1")
	wait("WATCHDOG=1")
	wait("WATCHDOG=1")
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	wait("STOPPING=1")
}

// What happens is on record, from whatever door it comes.
func TestAuditLog(t *testing.T) {
	cfg := testConfig(t)
	cfg.AuditLog = filepath.Join(filepath.Dir(cfg.DataDir), "audit.log")
	at, _ := start(t, cfg)
	admin := connect(t, client.Options{Socket: at.Socket})
	token, err := admin.CreateToken(t.Context(), v1.CreateTokenRequest{Name: "lab", Project: "lab"})
	if err != nil {
		t.Fatal(err)
	}
	lab := connect(t, client.Options{URL: at.URL, Token: token.Secret})
	if _, err := lab.CreateSession(t.Context(), v1.CreateSessionRequest{ID: "demo"}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := connect(t, client.Options{URL: at.URL}).Info(t.Context()); err == nil {
		t.Error("without a token")
	}
	b, err := os.ReadFile(cfg.AuditLog)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"principal":"socket","admin":true,"address":"unix","operation":"create token","outcome":"ok"`,
		`"principal":"lab","project":"lab","address":"127.0.0.1:`,
		`"operation":"create","session":"demo","outcome":"ok"`,
		`"operation":"authenticate","outcome":"failed","code":"unauthenticated"`,
	} {
		if !strings.Contains(string(b), want) {
			t.Errorf("no %s in\n%s", want, b)
		}
	}
	if strings.Contains(string(b), token.Secret) {
		t.Error("the log has the token's secret")
	}
}

// TestDiagnoseRunning: a daemon tells of the engine that it uses, though it would find another now.
func TestDiagnoseRunning(t *testing.T) {
	cfg := testConfig(t)
	cfg.Runtime, cfg.Docker.Host = "docker", ""
	t.Setenv("DOCKER_HOST", "unix:///nonexistent/used.sock")
	at, _ := start(t, cfg)
	t.Setenv("DOCKER_HOST", "unix:///nonexistent/another.sock")
	c := connect(t, client.Options{Socket: at.Socket})
	findings, err := c.Diagnose(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]v1.Finding{}
	for _, f := range findings {
		seen[f.What] = f
		if strings.Contains(f.Seen, "another.sock") || f.Grade == string(Problem) && f.Do == "" {
			t.Errorf("%+v", f)
		}
	}
	if f := seen["engine"]; f.Grade != string(Problem) || !strings.Contains(f.Seen, "used.sock") ||
		!strings.Contains(f.Seen, "can't connect") {
		t.Errorf("engine: %+v", f)
	}
	if f := seen["store"]; f.Grade != string(Good) || f.Seen != "SQLite at "+cfg.Database() {
		t.Errorf("store: %+v", f)
	}
	if f := seen["data directory"]; f.Grade != string(Good) {
		t.Errorf("data directory: %+v", f)
	}
	secret, err := c.CreateToken(t.Context(), v1.CreateTokenRequest{Name: "t", Project: "p"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = connect(t, client.Options{URL: at.URL, Token: secret.Secret}).Diagnose(t.Context())
	if client.CodeOf(err) != v1.CodeForbidden {
		t.Errorf("a project is told: %v", err)
	}
}

func TestDiagnosePool(t *testing.T) {
	for _, tt := range []struct {
		free, total uint64
		want        Grade
	}{{0, 0, Good}, {512, 512, Good}, {52, 512, Good}, {51, 512, Notice}, {1, 2, Good}, {0, 2, Problem}} {
		if f := diagnosePool(config.Default(), tt.free, tt.total); f.Grade != tt.want || f.Seen == "" {
			t.Errorf("%d of %d: %+v; want %s", tt.free, tt.total, f, tt.want)
		}
	}
}

func TestDiagnoseDataDir(t *testing.T) {
	for mode, want := range map[os.FileMode]Grade{0o700: Good, 0o755: Notice, 0o770: Problem} {
		dir := t.TempDir()
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		if f := diagnoseDataDir(dir); f.Grade != want || (f.Do == "") != (want == Good) {
			t.Errorf("mode %04o: %+v; want %s", mode, f, want)
		}
	}
}
