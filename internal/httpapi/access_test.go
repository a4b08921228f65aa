package httpapi_test

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	v1 "github.com/octobot-run/octobot/api/v1"
	"github.com/octobot-run/octobot/client"
	"github.com/octobot-run/octobot/internal/container/mock"
	"github.com/octobot-run/octobot/internal/front"
	"github.com/octobot-run/octobot/internal/httpapi"
)

// everyRoute has one request of each route that needs a caller, about the session %s.
var everyRoute = []struct {
	method, path, body string
	admin              bool // only admins may
	session            bool // about a session
}{
	{"GET", "/v1/info", "", false, false},
	{"GET", "/v1/sessions", "", false, false},
	{"GET", "/v1/sessions/%s", "", false, true},
	{"POST", "/v1/sessions/%s/start", "", false, true},
	{"POST", "/v1/sessions/%s/stop", "", false, true},
	{"PATCH", "/v1/sessions/%s", `{"labels":{"a":"b"}}`, false, true},
	{"POST", "/v1/sessions/%s/restart", "", false, true},
	{"POST", "/v1/sessions/%s/signal", "{}", false, true},
	{"POST", "/v1/sessions/%s/wait", "", false, true},
	{"POST", "/v1/sessions/%s/pause", "", false, true},
	{"POST", "/v1/sessions/%s/unpause", "", false, true},
	{"GET", "/v1/sessions/%s/stats", "", false, true},
	{"GET", "/v1/sessions/%s/top", "", false, true},
	{"POST", "/v1/sessions/%s/exec", `{"cmd":["true"]}`, false, true},
	{"GET", "/v1/sessions/%s/exec", "", false, true},
	{"GET", "/v1/sessions/%s/attach", "", false, true},
	{"GET", "/v1/sessions/%s/logs", "", false, true},
	{"GET", "/v1/sessions/%s/ports", "", false, true},
	{"GET", "/v1/sessions/%s/ports/3000", "", false, true},
	{"GET", "/v1/sessions/%s/sockets?path=/s", "", false, true},
	{"GET", "/v1/sessions/%s/listeners?port=3000", "", false, true},
	{"GET", "/v1/sessions/%s/listeners/abc", "", false, true},
	{"GET", "/v1/sessions/%s/recordings", "", false, true},
	{"GET", "/v1/sessions/%s/recordings/abc", "", false, true},
	{"GET", "/v1/sessions/%s/files?path=/a", "", false, true},
	{"PUT", "/v1/sessions/%s/files?path=/a", "x", false, true},
	{"PATCH", "/v1/sessions/%s/files?path=/a", `{"mode":"644"}`, false, true},
	{"DELETE", "/v1/sessions/%s/files?path=/a", "", false, true},
	{"GET", "/v1/sessions/%s/files/stat?path=/a", "", false, true},
	{"GET", "/v1/sessions/%s/files/list?path=/a", "", false, true},
	{"GET", "/v1/sessions/%s/files/search?path=/a&name=a", "", false, true},
	{"GET", "/v1/sessions/%s/files/watch?path=/a", "", false, true},
	{"POST", "/v1/sessions/%s/files/mkdir?path=/a", "", false, true},
	{"POST", "/v1/sessions/%s/files/move?from=/a&to=/b", "", false, true},
	{"GET", "/v1/sessions/%s/archive?path=/a", "", false, true},
	{"PUT", "/v1/sessions/%s/archive?path=/a", "x", false, true},
	{"DELETE", "/v1/sessions/%s", "", false, true},
	{"GET", "/v1/doctor", "", true, false},
	{"POST", "/v1/reconcile", "", true, false},
	{"GET", "/v1/tokens", "", true, false},
	{"POST", "/v1/tokens", `{"name":"new"}`, true, false},
	{"DELETE", "/v1/tokens/other", "", true, false},
	{"GET", "/v1/projects", "", false, false},
	{"PUT", "/v1/projects/p1", `{"max_sessions":1}`, true, false},
	{"DELETE", "/v1/projects/p1", "", true, false},
	{"GET", "/metrics", "", true, false},
}

var upgrade = map[string]string{
	"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
	"Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
}

func TestEveryRouteNeedsAToken(t *testing.T) {
	f := newFixture(t, settings{api: httpapi.Config{Metrics: promhttp.Handler()}})
	f.running(t, "s", "")
	expired, err := f.admin.CreateToken(t.Context(), v1.CreateTokenRequest{Name: "expired", TTL: 1})
	if err != nil {
		t.Fatal(err)
	}
	deleted, client := f.token(t, "deleted", "")
	if _, err := client.Info(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := f.admin.DeleteToken(t.Context(), "deleted"); err != nil {
		t.Fatal(err)
	}
	for _, r := range everyRoute {
		if strings.Contains(r.path, "%s") {
			r.path = fmt.Sprintf(r.path, "s")
		}
		for name, authorization := range map[string]string{
			"none": "", "unknown": "Bearer octo_" + strings.Repeat("A", 43), "short": "Bearer x", "basic": "Basic YTpi",
			"expired": "Bearer " + expired.Secret, "deleted": "Bearer " + deleted,
		} {
			t.Run(r.method+" "+r.path+" "+name, func(t *testing.T) {
				resp := f.do(t, raw{method: r.method, path: r.path,
					header: map[string]string{"Authorization": authorization}, body: strings.NewReader(r.body)})
				wantProblem(t, resp, v1.CodeUnauthenticated)
				if resp.Header.Get("WWW-Authenticate") == "" {
					t.Error("no WWW-Authenticate")
				}
			})
		}
	}
	for _, path := range []string{"/healthz", "/readyz", "/openapi.json"} {
		if resp := f.do(t, raw{method: "GET", path: path}); resp.StatusCode != http.StatusOK {
			t.Errorf("%s: %s", path, resp.Status)
		}
	}
}

// A token of one project can't tell a session of another from one that does not exist.
func TestProjectTokens(t *testing.T) {
	f := newFixture(t, settings{api: httpapi.Config{Metrics: promhttp.Handler()}})
	f.running(t, "mine", "p1")
	f.running(t, "theirs", "p2")
	secret, mine := f.token(t, "t", "p1")
	f.token(t, "other", "p2")
	ctx := t.Context()

	for _, r := range everyRoute {
		t.Run(r.method+" "+r.path, func(t *testing.T) {
			do := func(id string) *http.Response {
				path := r.path
				if r.session {
					path = fmt.Sprintf(r.path, id)
				}
				return f.do(t, raw{method: r.method, path: path, token: secret, header: upgrade,
					body: strings.NewReader(r.body)})
			}
			switch {
			case r.admin:
				wantProblem(t, do(""), v1.CodeForbidden)
			case r.session:
				p, absent := wantProblem(t, do("theirs"), v1.CodeSessionNotFound),
					wantProblem(t, do("absent"), v1.CodeSessionNotFound)
				p.SessionID, p.Detail = "absent", strings.ReplaceAll(p.Detail, "theirs", "absent")
				if p != absent {
					t.Errorf("%+v tells more than %+v", p, absent)
				}
			default:
				if resp := do(""); resp.StatusCode != http.StatusOK {
					t.Errorf("status %s", resp.Status)
				}
			}
		})
	}

	for s, err := range mine.Sessions(ctx, client.ListOptions{}) {
		if err != nil || s.ID != "mine" {
			t.Errorf("it sees %+v, %v", s, err)
		}
	}
	_, err := mine.ListSessions(ctx, client.ListOptions{Project: "p2"})
	wantCode(t, err, v1.CodeForbidden)
	for _, err := range mine.Events(ctx, "p2") {
		wantCode(t, err, v1.CodeForbidden)
	}
	_, err = mine.CreateSession(ctx, v1.CreateSessionRequest{Project: "p2"}, nil)
	wantCode(t, err, v1.CodeForbidden)
	_, err = mine.CreateSession(ctx, v1.CreateSessionRequest{ID: "theirs"}, nil)
	if e := wantCode(t, err, v1.CodeSessionExists); strings.Contains(e.Detail, "p2") ||
		strings.Contains(e.Hint, "octobot rm") {
		t.Errorf("it tells of the other project's session: %+v", e)
	}
	if s, err := mine.CreateSession(ctx, v1.CreateSessionRequest{}, nil); err != nil || s.Project != "p1" {
		t.Errorf("created %+v, %v", s, err)
	}
	if r, err := mine.Exec(ctx, "mine", v1.ExecRequest{Cmd: []string{"true"}}); err != nil || r.ExitCode != 0 {
		t.Errorf("exec in its own: %+v, %v", r, err)
	}
	if info, err := mine.Info(ctx); err != nil || info.Engine == nil || info.Engine.Host != "" {
		t.Errorf("info %+v, %v", info, err)
	}
	if err := f.admin.DeleteToken(ctx, "t"); err != nil {
		t.Fatal(err)
	}
	_, err = mine.Info(ctx)
	wantCode(t, err, v1.CodeUnauthenticated)
}

func TestHostAndOrigin(t *testing.T) {
	f := newFixture(t, settings{front: front.Config{AllowedHosts: []string{"Octobot.example"}}})
	f.running(t, "s", "")
	secret, _ := f.token(t, "t", "")
	port := f.url[strings.LastIndex(f.url, ":"):]
	for _, c := range []struct {
		host, origin string
		ok           bool
	}{
		{"", "", true},
		{"localhost" + port, "", true},
		{"LOCALHOST", "", true},
		{"127.9.9.9:80", "", true},
		{"[::1]" + port, "", true},
		{"[::1]", "", true},
		{"octobot.example:443", "", true},
		{"evil.example", "", false},
		{"localhost.evil.example", "", false},
		{"10.0.0.1", "", false},
		{"169.254.169.254" + port, "", false},
		{"localhost" + port, "http://localhost" + port, true},
		{"localhost" + port, "https://octobot.example", true},
		{"localhost" + port, "http://localhost:1", false},
		{"localhost" + port, "https://localhost" + port, false},
		{"localhost" + port, "http://evil.example", false},
		{"localhost" + port, "http://octobot.example.evil", false},
		{"localhost" + port, "null", false},
		{"localhost" + port, "::", false},
	} {
		for _, path := range []string{"/healthz", "/v1/sessions/s/attach?cmd=true"} {
			t.Run(c.host+" "+c.origin+" "+path, func(t *testing.T) {
				header := map[string]string{}
				if c.origin != "" {
					header["Origin"] = c.origin
				}
				socket := strings.HasPrefix(path, "/v1")
				if socket {
					for k, v := range upgrade {
						header[k] = v
					}
				}
				resp := f.do(t, raw{method: "GET", path: path, host: c.host, header: header, token: secret})
				switch {
				case !c.ok:
					wantProblem(t, resp, v1.CodeHostNotAllowed)
				case socket && resp.StatusCode != http.StatusSwitchingProtocols, !socket &&
					resp.StatusCode != http.StatusOK:
					t.Errorf("status %s", resp.Status)
				}
			})
		}
	}
	if resp := f.do(t, raw{method: "GET", path: "/v1/info", host: "anything.example",
		header: map[string]string{"Origin": "null"}, trusted: true}); resp.StatusCode != http.StatusOK {
		t.Errorf("on the socket: %s", resp.Status)
	}
}

// What is wrong gets a 4xx with its code, and neither engine nor store is asked.
func TestBadRequests(t *testing.T) {
	f := newFixture(t, settings{front: front.Config{MaxBody: 1 << 20}})
	f.running(t, "s", "p")
	calls := f.engine.Calls("")
	long := strings.Repeat("a", 4096)
	type request struct {
		name, method, path, body string
		code                     v1.Code
		header                   map[string]string
	}
	requests := []request{
		{"unknown path", "GET", "/v2", "", v1.CodeNotFound, nil},
		{"root", "GET", "/", "", v1.CodeNotFound, nil},
		{"slashes", "GET", "/v1//sessions", "", v1.CodeInvalidArgument, nil},
		{"slash at the end", "GET", "/v1/sessions/", "", v1.CodeNotFound, nil},
		{"no ID", "POST", "/v1/sessions//start", "", v1.CodeInvalidArgument, nil},
		{"method", "PUT", "/v1/sessions", "{}", v1.CodeMethodNotAllowed, nil},
		{"options", "OPTIONS", "/v1/sessions", "", v1.CodeMethodNotAllowed, nil},
		{"unknown parameter", "GET", "/v1/sessions?nothing=1", "", v1.CodeInvalidArgument, nil},
		{"status", "GET", "/v1/sessions?status=dead", "", v1.CodeInvalidArgument, nil},
		{"limit", "GET", "/v1/sessions?limit=0", "", v1.CodeInvalidArgument, nil},
		{"huge limit", "GET", "/v1/sessions?limit=100000", "", v1.CodeInvalidArgument, nil},
		{"after", "GET", "/v1/sessions?after=%21", "", v1.CodeInvalidArgument, nil},
		{"after, decodable", "GET", "/v1/sessions?after=MTouLi8", "", v1.CodeInvalidArgument, nil},
		{"stop timeout", "POST", "/v1/sessions/s/stop?timeout=-1s", "", v1.CodeInvalidArgument, nil},
		{"no JSON", "POST", "/v1/sessions", "{", v1.CodeInvalidArgument, nil},
		{"no body", "POST", "/v1/sessions/s/exec", "", v1.CodeInvalidArgument, nil},
		{"not an object", "POST", "/v1/sessions", "[]", v1.CodeInvalidArgument, nil},
		{"two objects", "POST", "/v1/sessions", "{}{}", v1.CodeInvalidArgument, nil},
		{"unknown field", "POST", "/v1/sessions", `{"privileged":true}`, v1.CodeInvalidArgument, nil},
		{"unknown resource", "POST", "/v1/sessions", `{"resources":{"gpus":1}}`, v1.CodeInvalidArgument, nil},
		{"wrong type", "POST", "/v1/sessions", `{"cmd":"sh"}`, v1.CodeInvalidArgument, nil},
		{"duration", "POST", "/v1/sessions", `{"idle_timeout":"soon"}`, v1.CodeInvalidArgument, nil},
		{"negative duration", "POST", "/v1/sessions", `{"max_age":"-1h"}`, v1.CodeInvalidArgument, nil},
		{"on_expire", "POST", "/v1/sessions", `{"on_expire":"explode"}`, v1.CodeInvalidArgument, nil},
		{"agent", "POST", "/v1/sessions", `{"agent":"on"}`, v1.CodeInvalidArgument, nil},
		{"invalid UTF-8", "POST", "/v1/sessions", "{\"image\":\"a\xff\"}", v1.CodeInvalidArgument, nil},
		{"negative memory", "POST", "/v1/sessions", `{"resources":{"memory":-1}}`, v1.CodeInvalidArgument, nil},
		{"huge memory", "POST", "/v1/sessions", `{"resources":{"memory":1e300}}`, v1.CodeInvalidArgument, nil},
		{"no number", "POST", "/v1/sessions", `{"resources":{"cpus":NaN}}`, v1.CodeInvalidArgument, nil},
		{"infinite", "POST", "/v1/sessions", `{"resources":{"cpus":1e999}}`, v1.CodeInvalidArgument, nil},
		{"reserved label", "POST", "/v1/sessions", `{"labels":{"octobot.session":"x"}}`, v1.CodeInvalidArgument, nil},
		{"host network", "POST", "/v1/sessions", `{"network_mode":"host"}`, v1.CodeInvalidArgument, nil},
		{"another's network", "POST", "/v1/sessions", `{"network_mode":"container:x"}`, v1.CodeInvalidArgument, nil},
		{"bind of the root", "POST", "/v1/sessions", `{"binds":["/:/host"]}`, v1.CodeInvalidArgument, nil},
		{"project", "POST", "/v1/sessions", `{"project":"p/../x"}`, v1.CodeInvalidArgument, nil},
		{"stdin encoding", "POST", "/v1/sessions/s/exec", `{"cmd":["cat"],"stdin":"!","stdin_encoding":"base64"}`,
			v1.CodeInvalidArgument, nil},
		{"not base64", "POST", "/v1/sessions/s/exec", `{"cmd":["cat"],"stdin":"YQ!","stdin_encoding":"base64"}`,
			v1.CodeInvalidArgument, nil},
		{"number", "POST", "/v1/sessions", `{"resources":{"pids":"many"}}`, v1.CodeInvalidArgument, nil},
		{"unit", "POST", "/v1/sessions", `{"idle_timeout":"1w"}`, v1.CodeInvalidArgument, nil},
		{"half a day", "POST", "/v1/sessions", `{"idle_timeout":"1d2"}`, v1.CodeInvalidArgument, nil},
		{"TTL", "POST", "/v1/tokens", `{"name":"x","ttl":7}`, v1.CodeInvalidArgument, nil},
		{"cut", "POST", "/v1/sessions", `{"image":"a`, v1.CodeInvalidArgument, nil},
		{"limit of letters", "GET", "/v1/sessions?limit=x", "", v1.CodeInvalidArgument, nil},
		{"tail of letters", "GET", "/v1/sessions/s/logs?tail=x", "", v1.CodeInvalidArgument, nil},
		{"since", "GET", "/v1/sessions/s/logs?since=1w", "", v1.CodeInvalidArgument, nil},
		{"flag of letters", "GET", "/v1/sessions/s/logs?follow=x", "", v1.CodeInvalidArgument, nil},
		{"pattern", "GET", "/v1/sessions/s/files/search?path=/&content=(&regexp=true", "", v1.CodeInvalidArgument, nil},
		{"empty cmd", "POST", "/v1/sessions/s/exec", `{"cmd":[]}`, v1.CodeInvalidArgument, nil},
		{"media type", "POST", "/v1/sessions", `{}`, v1.CodeUnsupportedMediaType,
			map[string]string{"Content-Type": "text/plain"}},
		{"form", "POST", "/v1/sessions", `a=b`, v1.CodeUnsupportedMediaType,
			map[string]string{"Content-Type": "application/x-www-form-urlencoded"}},
		{"malformed media type", "POST", "/v1/sessions", `{}`, v1.CodeUnsupportedMediaType,
			map[string]string{"Content-Type": ";+"}},
		{"large body", "POST", "/v1/sessions", `{"image":"` + strings.Repeat("a", 1<<20) + `"}`, v1.CodeBodyTooLarge,
			nil},
		{"large header", "GET", "/v1/sessions", "", v1.CodeHeadersTooLarge,
			map[string]string{"X-Large": strings.Repeat("a", 150<<10)}},
		{"no upgrade", "GET", "/v1/sessions/s/attach", "", v1.CodeUpgradeRequired, nil},
		{"half an upgrade", "GET", "/v1/sessions/s/exec", "", v1.CodeUpgradeRequired,
			map[string]string{"Connection": "upgrade"}},
		{"old socket", "GET", "/v1/sessions/s/attach", "", v1.CodeInvalidArgument, map[string]string{
			"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "8",
			"Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA=="}},
	}
	for name, id := range map[string]string{
		"dots": "..", "escaped dots": "%2e%2e", "escaped path": "..%2f..%2fetc", "NUL": "a%00", "space": "a%20b",
		"long":     long,
		"no UTF-8": "%ff%fe", "leading dash": "-a", "slash": "a%2fb", "percent": "%2500", "newline": "a%0ab",
		"double": "%252e%252e",
	} {
		for _, r := range everyRoute {
			if r.session {
				requests = append(requests, request{r.method + " " + r.path + " " + name, r.method,
					fmt.Sprintf(r.path, id), r.body, v1.CodeInvalidArgument, upgrade})
			}
		}
		if unescaped, ok := map[string]string{"dots": "..", "long": long, "space": "a b", "NUL": `a\u0000`}[name]; ok {
			requests = append(requests, request{"create " + name, "POST", "/v1/sessions", `{"id":"` + unescaped + `"}`,
				v1.CodeInvalidArgument, nil})
		}
	}
	secret, _ := f.token(t, "t", "p")
	for _, r := range requests {
		for _, token := range []string{"", secret} {
			t.Run(r.name+" "+strconv.FormatBool(token != ""), func(t *testing.T) {
				code := r.code
				if r.name == "project" && token != "" {
					code = v1.CodeForbidden // a project that is not its own, whatever it is
				}
				wantProblem(t, f.do(t, raw{method: r.method, path: r.path, header: r.header,
					body: strings.NewReader(r.body), token: token, trusted: token == ""}), code)
			})
		}
	}
	if n := f.engine.Calls("") - calls; n != 0 {
		t.Errorf("the engine was asked %d times", n)
	}
}

// 10 GiB are refused before they are sent, however they announce themselves.
func TestHugeBodies(t *testing.T) {
	f := newFixture(t, settings{})
	for name, head := range map[string]string{
		"announced": "Content-Length: 10737418240\r\n\r\n",
		"chunked":   "Transfer-Encoding: chunked\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := new(net.Dialer).DialContext(t.Context(), "unix", f.socket)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			if _, err := io.WriteString(conn,
				"POST /v1/sessions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"+head); err != nil {
				t.Fatal(err)
			}
			sent := make(chan int64)
			go func() {
				var n int64
				if name == "chunked" {
					chunk := "10000\r\n" + strings.Repeat(" ", 1<<16) + "\r\n"
					for n < 10<<30 {
						m, err := io.WriteString(conn, chunk)
						if n += int64(m); err != nil {
							break
						}
					}
				}
				sent <- n
			}()
			b, err := io.ReadAll(conn)
			if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && len(b) == 0 {
				t.Fatal(err)
			}
			if !strings.HasPrefix(string(b), "HTTP/1.1 413") ||
				!strings.Contains(string(b), `"code":"body_too_large"`) {
				t.Errorf("answer %q", b)
			}
			_ = conn.Close()
			if n := <-sent; n > 64<<20 {
				t.Errorf("%d bytes were read", n)
			}
		})
	}
}

// What went wrong inside stays inside, but for a number to look for in the log.
func TestInternalsDoNotLeak(t *testing.T) {
	var log strings.Builder
	f := newFixture(t, settings{api: httpapi.Config{Logger: slog.New(slog.NewTextHandler(&log, nil))}})
	f.running(t, "s", "")
	f.engine.Inject(mock.Fault{Op: "exec", Err: errors.New("the secret inside")})
	_, err := f.admin.Exec(t.Context(), "s", v1.ExecRequest{Cmd: []string{"true"}})
	e := wantCode(t, err, v1.CodeInternal)
	if strings.Contains(fmt.Sprintf("%+v", e), "secret inside") || e.Instance == "" {
		t.Errorf("error %+v", e)
	}
	if !strings.Contains(log.String(), e.Instance) || !strings.Contains(log.String(), "the secret inside") {
		t.Errorf("log %q", &log)
	}
}

func TestMetricsCountByRoute(t *testing.T) {
	registry := prometheus.NewRegistry()
	f := newFixture(t, settings{front: front.Config{Register: registry},
		api: httpapi.Config{Metrics: promhttp.HandlerFor(registry, promhttp.HandlerOpts{})}})
	f.running(t, "s", "")
	_, _ = f.admin.GetSession(t.Context(), "s")
	_, _ = f.admin.GetSession(t.Context(), "none")
	f.do(t, raw{method: "GET", path: "/nowhere", trusted: true})
	resp := f.do(t, raw{method: "GET", path: "/metrics", trusted: true})
	b, _ := io.ReadAll(resp.Body)
	for _, want := range []string{
		`octobot_http_requests_total{route="GET /v1/sessions/{id}",status="200"} 1`,
		`octobot_http_requests_total{route="GET /v1/sessions/{id}",status="404"} 1`,
		`octobot_http_requests_total{route="none",status="404"} 1`,
		`octobot_http_request_duration_seconds_count{route="POST /v1/sessions"} 1`,
		`octobot_http_streams 0`,
	} {
		if !strings.Contains(string(b), want) {
			t.Errorf("no %s in\n%s", want, b)
		}
	}
}

// A body that does not come is not waited for; and the deadline ends with the body, or
// it would look like the client's going away while a command runs.
func TestSlowBody(t *testing.T) {
	f := newFixture(t, settings{front: front.Config{BodyTimeout: 300 * time.Millisecond}})
	f.running(t, "s", "")
	body, w := io.Pipe()
	defer func() { _ = w.Close() }()
	wantProblem(t, f.do(t, raw{method: "POST", path: "/v1/sessions", trusted: true, body: body}), v1.CodeRequestTimeout)

	if r, err := f.admin.Exec(t.Context(), "s", v1.ExecRequest{Cmd: []string{"sleep", "0.5"}}); err != nil ||
		r.ExitCode != 0 {
		t.Errorf("a command longer than that: %+v, %v", r, err)
	}
}
