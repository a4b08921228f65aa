package systemtest

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// recordingEngine answers as an engine without containers does, and remembers
// everything else that it was asked.
type recordingEngine struct {
	socket string
	mu     sync.Mutex
	asked  []string
}

func newRecordingEngine(t *testing.T) *recordingEngine {
	t.Helper()
	dir, err := os.MkdirTemp("", "octobot-engine-")
	if err != nil {
		t.Fatal(err)
	}
	e := &recordingEngine{socket: filepath.Join(dir, "docker.sock")}
	listener, err := net.Listen("unix", e.socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: e}
	served := make(chan struct{})
	go func() { defer close(served); _ = server.Serve(listener) }()
	t.Cleanup(func() { server.Close(); <-served; os.RemoveAll(dir) })
	return e
}

func (e *recordingEngine) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Api-Version", "1.41")
	w.Header().Set("Content-Type", "application/json")
	switch path := r.URL.Path; {
	case r.Method == http.MethodHead || strings.HasSuffix(path, "/_ping"):
	case strings.HasSuffix(path, "/containers/json"),
		// A reconciliation looks for networks that nobody uses.
		strings.HasSuffix(path, "/networks") && strings.Contains(r.URL.RawQuery, "octobot.instance"):
		_, _ = io.WriteString(w, "[]")
	case strings.HasSuffix(path, "/version"), strings.HasSuffix(path, "/info"):
		_, _ = io.WriteString(w, "{}")
	case strings.HasSuffix(path, "/events"):
		w.WriteHeader(http.StatusOK)
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	default:
		e.mu.Lock()
		e.asked = append(e.asked, r.Method+" "+r.URL.String())
		e.mu.Unlock()
		w.WriteHeader(http.StatusInternalServerError)
		_, _ = io.WriteString(w, `{"message":"recorded"}`)
	}
}

func (e *recordingEngine) take() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	asked := e.asked
	e.asked = nil
	return asked
}

// TestBadInput sends what nobody should, as raw HTTP. Each answer is a 4xx with a
// stable code, and the engine is not asked anything.
func TestBadInput(t *testing.T) {
	engine := newRecordingEngine(t)
	root := t.TempDir()
	if err := os.Symlink("/etc", filepath.Join(root, "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(engine.socket, filepath.Join(root, "sock")); err != nil {
		t.Fatal(err)
	}
	d := newDaemon(t, "unix://"+engine.socket, "--bind-root", root)
	d.start()
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(d.dir, "octobot.sock"))
	}}
	defer transport.CloseIdleConnections()
	web := &http.Client{Transport: transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}

	create := func(body string) func() *http.Request {
		return func() *http.Request {
			r, _ := http.NewRequest(http.MethodPost, "http://octobot/v1/sessions", strings.NewReader(body))
			r.Header.Set("Content-Type", "application/json")
			return r
		}
	}
	at := func(method, path string) func() *http.Request {
		return func() *http.Request {
			r, err := http.NewRequest(method, "http://octobot", nil)
			if err != nil {
				t.Fatal(err)
			}
			r.URL.Opaque = path // as it is, without being cleaned or escaped
			return r
		}
	}
	long := strings.Repeat("a", 4096)
	for name, request := range map[string]func() *http.Request{
		"id with dots":            create(`{"id":"../../etc"}`),
		"id escaped":              create(`{"id":"%2e%2e"}`),
		"id with NUL":             create(`{"id":"a\u0000b"}`),
		"id with a space":         create(`{"id":"a b"}`),
		"id of 4 KiB":             create(`{"id":"` + long + `"}`),
		"id of a leading dash":    create(`{"id":"-rf"}`),
		"project with a slash":    create(`{"id":"x","project":"a/b"}`),
		"path dots":               at(http.MethodGet, "/v1/sessions/.."),
		"path escaped dots":       at(http.MethodGet, "/v1/sessions/%2e%2e"),
		"path escaped slash":      at(http.MethodGet, "/v1/sessions/..%2f..%2fcontainers%2fjson"),
		"path NUL":                at(http.MethodDelete, "/v1/sessions/a%00b"),
		"path space":              at(http.MethodDelete, "/v1/sessions/a%20b"),
		"path 4 KiB":              at(http.MethodPost, "/v1/sessions/"+long+"/start"),
		"path not UTF-8":          at(http.MethodGet, "/v1/sessions/%ff%fe"),
		"reserved label":          create(`{"id":"x","labels":{"octobot.instance":"mine"}}`),
		"reserved label alone":    create(`{"id":"x","labels":{"octobot":"false"}}`),
		"bind of the root":        create(`{"id":"x","binds":["/:/host"]}`),
		"bind of the socket":      create(`{"id":"x","binds":["` + engine.socket + `:/docker.sock"]}`),
		"bind of docker.sock":     create(`{"id":"x","binds":["/var/run/docker.sock:/docker.sock"]}`),
		"bind of /run":            create(`{"id":"x","binds":["/run:/host"]}`),
		"bind through a symlink":  create(`{"id":"x","binds":["` + root + `/link:/data"]}`),
		"bind of a linked socket": create(`{"id":"x","binds":["` + root + `/sock:/data"]}`),
		"bind that climbs out":    create(`{"id":"x","binds":["` + root + `/../../etc:/data"]}`),
		"bind of a named volume":  create(`{"id":"x","binds":["others-data:/data"]}`),
		"bind without a target":   create(`{"id":"x","binds":["` + root + `"]}`),
		"host network":            create(`{"id":"x","network_mode":"host"}`),
		"another's network":       create(`{"id":"x","network_mode":"container:other"}`),
		"negative CPUs":           create(`{"id":"x","resources":{"cpus":-1}}`),
		"huge CPUs":               create(`{"id":"x","resources":{"cpus":1e300}}`),
		"NaN CPUs":                create(`{"id":"x","resources":{"cpus":NaN}}`),
		"negative memory":         create(`{"id":"x","resources":{"memory":-5}}`),
		"memory past 64 bits":     create(`{"id":"x","resources":{"memory":1e40}}`),
		"negative PIDs":           create(`{"id":"x","resources":{"pids":-1}}`),
		"port past the end":       create(`{"id":"x","port_bindings":{"99999":""}}`),
		"host port past the end":  create(`{"id":"x","port_bindings":{"80":"65536"}}`),
		"env without a name":      create(`{"id":"x","env":["=value"]}`),
		"relative directory":      create(`{"id":"x","working_dir":"tmp"}`),
		"malformed image":         create(`{"id":"x","image":"UPPER//case::"}`),
		"negative idle timeout":   create(`{"id":"x","idle_timeout":"-5m"}`),
		"unknown expiry":          create(`{"id":"x","on_expire":"explode"}`),
		"unknown agent":           create(`{"id":"x","agent":"on"}`),
		"unknown field":           create(`{"id":"x","privileged":true}`),
		"not UTF-8":               create("{\"id\":\"x\",\"env\":[\"A=\xff\xfe\"]}"),
		"not JSON":                create(`{"id":`),
		"not an object":           create(`[]`),
		"exec of nothing":         func() *http.Request { r := create(`{"cmd":[]}`)(); r.URL.Path = "/v1/sessions/x/exec"; return r },
		"exec in a bad id": func() *http.Request {
			r := create(`{"cmd":["true"]}`)()
			r.URL.Path = "/v1/sessions/a b/exec"
			return r
		},
		"exec with a bad duration": func() *http.Request {
			r := create(`{"cmd":["true"],"timeout":"soon"}`)()
			r.URL.Path = "/v1/sessions/x/exec"
			return r
		},
		"no such route":  at(http.MethodGet, "/v1/containers"),
		"no such method": at(http.MethodPatch, "/v1/sessions"),
		"body of 10 GiB announced": func() *http.Request {
			r := create("")()
			r.Body, r.ContentLength = io.NopCloser(io.LimitReader(spaces{}, 10<<30)), 10<<30
			return r
		},
		"body of 10 GiB in chunks": func() *http.Request {
			r := create("")()
			r.Body, r.ContentLength = io.NopCloser(io.LimitReader(spaces{}, 10<<30)), -1
			return r
		},
	} {
		t.Run(name, func(t *testing.T) {
			resp, err := web.Do(request())
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
			if err != nil {
				t.Fatal(err)
			}
			var problem struct {
				Code   string
				Status int
			}
			if err := json.Unmarshal(body, &problem); err != nil {
				t.Fatalf("%s: the answer is not a problem: %.300s", resp.Status, body)
			}
			if resp.StatusCode < 400 || resp.StatusCode > 499 || problem.Code == "" ||
				problem.Status != resp.StatusCode {
				t.Errorf("%s, code %q; want 4xx and a code: %.300s", resp.Status, problem.Code, body)
			}
			if kind := resp.Header.Get("Content-Type"); kind != "application/problem+json" {
				t.Errorf("content type %q", kind)
			}
			if bytes.Contains(body, []byte("goroutine")) {
				t.Errorf("the answer shows internals: %.300s", body)
			}
			if asked := engine.take(); len(asked) > 0 {
				t.Errorf("the engine was asked: %q", asked)
			}
		})
	}
}

type spaces struct{}

func (spaces) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}
