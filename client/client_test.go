package client

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	v1 "github.com/octobot-run/octobot/api/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func serve(t *testing.T, handle http.HandlerFunc) *Client {
	t.Helper()
	server := httptest.NewServer(handle)
	t.Cleanup(server.Close)
	c, err := New(Options{URL: server.URL + "/", Token: "octo_x"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestOptions(t *testing.T) {
	for url, address := range map[string]string{
		"http://127.0.0.1:7080": "http://127.0.0.1:7080", "https://a.example/": "https://a.example",
		"unix:///run/octobot.sock": "unix:///run/octobot.sock",
		"":                         "", "127.0.0.1:7080": "", "ftp://x": "", "http://": "", "://": "",
	} {
		c, err := New(Options{URL: url})
		if address == "" {
			if err == nil {
				t.Errorf("%q was accepted", url)
			}
			continue
		}
		if err != nil || c.Address() != address {
			t.Errorf("%q: %v, %v", url, c, err)
		}
	}
}

// TestLongAnswer: what has no end in sight is not kept.
func TestLongAnswer(t *testing.T) {
	defer func(n int64) { maxAnswer = n }(maxAnswer)
	maxAnswer = 4 << 20
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		// until the client leaves
		_, _ = io.WriteString(w, `{"entries":[{}`+strings.Repeat(`,{"name":"x"}`, 1<<19)+"]}")
	})
	if _, err := c.ListFiles(t.Context(), "s", "/", ""); err == nil || !strings.Contains(err.Error(), "4 MiB") {
		t.Errorf("list: %v", err)
	}
	_, err := c.SearchFiles(t.Context(), "s", "/", SearchFilesOptions{})
	if err == nil || !strings.Contains(err.Error(), "4 MiB") {
		t.Errorf("search: %v", err)
	}
}

func TestPathsAreEscaped(t *testing.T) {
	var path, authorization string
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		path, authorization = r.RequestURI, r.Header.Get("Authorization")
		w.WriteHeader(http.StatusNoContent)
	})
	if err := c.DeleteSession(t.Context(), "a/b?c d\x00"); err != nil {
		t.Fatal(err)
	}
	if path != "/v1/sessions/a%2Fb%3Fc%20d%00" || authorization != "Bearer octo_x" {
		t.Errorf("path %s, authorization %s", path, authorization)
	}
}

func TestPauseAndStats(t *testing.T) {
	var asked []string
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Method+" "+r.RequestURI)
		if r.Method == http.MethodGet {
			_, _ = io.WriteString(w, `{"session_id":"s","cpu_time":"1m0.5s","memory_used":3,"block_written":4,"later":1}`)
			return
		}
		_, _ = io.WriteString(w, `{"id":"s","status":"running","paused":true}`)
	})
	for name, change := range map[string]func(context.Context, string) (v1.Session, error){
		"pause": c.PauseSession, "unpause": c.UnpauseSession,
	} {
		asked = nil
		s, err := change(t.Context(), "s")
		if want := []string{"POST /v1/sessions/s/" + name}; err != nil || s.ID != "s" || !s.Paused ||
			!slices.Equal(asked, want) {
			t.Errorf("%s: %+v, %v, asked %q", name, s, err, asked)
		}
	}
	asked = nil
	stats, err := c.SessionStats(t.Context(), "s")
	want := v1.SessionStats{SessionID: "s", CPUTime: v1.Duration(60500 * time.Millisecond), MemoryUsed: 3,
		BlockWritten: 4}
	if err != nil || stats != want || !slices.Equal(asked, []string{"GET /v1/sessions/s/stats"}) {
		t.Errorf("stats %+v, %v, asked %q", stats, err, asked)
	}
}

func TestErrors(t *testing.T) {
	for name, c := range map[string]struct {
		handle http.HandlerFunc
		check  func(error) bool
	}{
		"problem": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusConflict)
			_, _ = io.WriteString(w, `{"status":409,"code":"session_exists","detail":"d","hint":"h","session_id":"s","later":1}`)
		}, func(err error) bool {
			e, ok := errors.AsType[*Error](err)
			return ok && *e == Error{Status: 409, Code: v1.CodeSessionExists, Detail: "d", Hint: "h", SessionID: "s"}
		}},
		"proxy": {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "<html>", http.StatusBadGateway) },
			func(err error) bool { return CodeOf(err) == v1.CodeInternal && strings.Contains(err.Error(), "502") }},
		"redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://evil.example", http.StatusFound)
		},
			func(err error) bool { return strings.Contains(err.Error(), "302") }},
		"no JSON": {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "{") },
			func(err error) bool { return errors.Is(err, io.ErrUnexpectedEOF) }},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := serve(t, c.handle).GetSession(t.Context(), "s"); err == nil || !c.check(err) {
				t.Errorf("error %#v", err)
			}
		})
	}
}

func TestContextDecides(t *testing.T) {
	c := serve(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	_, err := c.GetSession(ctx, "s")
	if !errors.Is(err, context.DeadlineExceeded) || CodeOf(err) != "" {
		t.Errorf("error %v", err)
	}
	for _, err := range c.Events(ctx, "") {
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("events: error %v", err)
		}
	}
}

func TestParseEvents(t *testing.T) {
	for name, c := range map[string]struct {
		stream string
		want   []string
	}{
		"events":   {"event: a\ndata: 1\n\nevent:b\ndata:2\n\n", []string{"a=1", "b=2"}},
		"comments": {": alive\n\nevent: a\n: in between\ndata: 1\n\n", []string{"a=1"}},
		"CRLF":     {"event: a\r\ndata: 1\r\n\r\n", []string{"a=1"}},
		"cut":      {"event: a\ndata: 1\n\nevent: b\ndata: 2\n", []string{"a=1"}},
		"nameless": {"data: 1\n\n", nil},
		"nothing":  {"", nil},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			var last error
			for event, err := range parseEvents(strings.NewReader(c.stream)) {
				if last = err; err == nil {
					got = append(got, event.name+"="+string(event.data))
				}
			}
			if !slices.Equal(got, c.want) || !errors.Is(last, io.ErrUnexpectedEOF) {
				t.Errorf("events %q, then %v", got, last)
			}
		})
	}
	for name, stream := range map[string]string{
		"line":  "data: " + strings.Repeat("x", maxEvent+1),
		"lines": strings.Repeat("data: "+strings.Repeat("x", 1<<20)+"\n", 5),
	} {
		for _, err := range parseEvents(strings.NewReader(stream)) {
			if err == nil || errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("a long %s: %v", name, err)
			}
		}
	}
}

// A stream without its last event was not all: that is an error, never a success.
func TestCutStreams(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", eventStream)
		_, _ = io.WriteString(w, "event: stdout\ndata: {\"data\":\"YQ==\"}\n\n")
	})
	var out strings.Builder
	if err := c.Logs(t.Context(), "s", LogOptions{}, &out, nil); !errors.Is(err, io.ErrUnexpectedEOF) ||
		out.String() != "a" {
		t.Errorf("logs %q, %v", &out, err)
	}
	if _, err := c.CreateSession(t.Context(), v1.CreateSessionRequest{},
		func(v1.Progress) {}); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("create: %v", err)
	}
}

// TestNoUTF8: JSON would carry something else in place of what is no text.
func TestNoUTF8(t *testing.T) {
	for text, want := range map[string]bool{
		"a": true, "\ufffd": true, `\ufffd`: true, `\\ufffd`: true, "ä\u2028\x00": true, "<&>": true,
		"\xff": false, `\` + "\xff": false, `\\` + "\xff": false, "\ufffd\xff": false, `\ufffd` + "\xc3": false,
	} {
		b, err := encode(v1.ExecRequest{Cmd: []string{text}})
		var back v1.ExecRequest
		if (err == nil) != want {
			t.Errorf("%q: %s, %v", text, b, err)
		} else if want && (json.Unmarshal(b, &back) != nil || back.Cmd[0] != text) {
			t.Errorf("%q became %q", text, back.Cmd)
		}
	}
	c := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("the server was asked") })
	if _, err := c.Exec(t.Context(), "s", v1.ExecRequest{Cmd: []string{"\xff"}}); err == nil ||
		!strings.Contains(err.Error(), "UTF-8") {
		t.Errorf("exec: %v", err)
	}
}
