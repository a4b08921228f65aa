package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// goWords are those in which Go's packages and those below ours speak to programmers.
var goWords = regexp.MustCompile(`strconv\.|Parse(Int|Float|Bool)|time: |json: |\bjson\.|invalid character|\bEOF\b|` +
	`frame header|WebSocket dial|context (deadline|canceled)|deadline exceeded|(dial|listen|read|write) (tcp|unix)|` +
	`connect: |bind: |lookup |lstat |http: |x509|tls: |%!|goroutine|\*errors`)

// everyCommand calls do with each command that does something.
func everyCommand(cmd *cobra.Command, do func(*cobra.Command)) {
	if cmd.Runnable() {
		do(cmd)
	}
	for _, c := range cmd.Commands() {
		everyCommand(c, do)
	}
}

// TestFlagWords gives every flag of every command what its type does not take.
func TestFlagWords(t *testing.T) {
	wrong := map[string][]string{
		"int": {"x", "1.5", "99999999999999999999"}, "int64": {"", "0x"}, "float64": {"x", "1e999"}, "bool": {"maybe"},
		"duration": {"soon", "1", "1w", "9999999d"}, "stringSlice": {`a"b`}, "form": {"prose"},
	}
	var a app
	everyCommand(a.root(), func(cmd *cobra.Command) {
		path := strings.Fields(cmd.CommandPath())[1:]
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			for _, value := range wrong[f.Value.Type()] {
				args := append(append([]string{}, path...), "--"+f.Name+"="+value)
				r := octobot(t, "", args...)
				if want := fmt.Sprintf("--%s %q", f.Name, value); r.code == 0 || !strings.Contains(r.stderr, want) ||
					goWords.MatchString(r.stderr) || !strings.Contains(r.stderr, "--help") {
					t.Errorf("octobot %q: exit code %d, %s", args, r.code, r.stderr)
				}
			}
		})
	})
}

// TestDays gives flags days, as every duration takes them.
func TestDays(t *testing.T) {
	dir := startDaemon(t)
	must(t, dir, "create", "--idle-timeout", "1d12h", "--max-age", "7d", "demo")
	shown := must(t, dir, "inspect", "demo")
	for _, want := range []string{`"idle_timeout": "36h"`, `"max_age": "168h"`} {
		if !strings.Contains(shown, want) {
			t.Errorf("there is no %s in %s", want, shown)
		}
	}
	must(t, dir, "token", "create", "--ttl", "30d", "t")
	must(t, dir, "logs", "--since", "2d", "demo")
	r := octobot(t, dir, "serve", "--idle-timeout", "3651d")
	if r.code == 0 || !strings.Contains(r.stderr, "--idle-timeout") {
		t.Errorf("exit code %d, %s", r.code, r.stderr)
	}
}

// TestServerWords has servers answer what no Octobot does.
func TestServerWords(t *testing.T) {
	answers := map[string]http.HandlerFunc{
		"cut": func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				panic(err)
			}
			_ = conn.Close()
		},
		"half": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "{")
		},
		"prose": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>hello") },
		"type":  func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"id":1,"sessions":"x"}`) },
		"events": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "event: created\ndata: {\n\nevent: stdout\ndata: {\n\nevent: session\ndata: {\n\n")
		},
		"socket": func(w http.ResponseWriter, r *http.Request) {
			conn, err := websocket.Accept(w, r, nil)
			if err != nil {
				return
			}
			_, _, _ = conn.Read(r.Context())
			_ = conn.CloseNow()
		},
		"frame": func(w http.ResponseWriter, r *http.Request) {
			conn, err := websocket.Accept(w, r, nil)
			if err != nil {
				return
			}
			_ = conn.Write(r.Context(), websocket.MessageText, []byte("{"))
			_, _, _ = conn.Read(r.Context())
			_ = conn.CloseNow()
		},
	}
	commands := [][]string{
		{"ls"}, {"create", "s"}, {"inspect", "s"}, {"exec", "s", "true"}, {"exec", "-d", "s", "true"}, {"logs", "s"},
		{"events"}, {"ps", "s"}, {"files", "ls", "s", "/"}, {"files", "cat", "s", "/x"}, {"ports", "s"}, {"doctor"},
		{"reconcile"}, {"stats", "--no-stream"}, {"replay", "s"}, {"forward", "s", "0:1"}, {"rm", "-f", "s"},
	}
	for name, answer := range answers {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(answer)
			defer server.Close()
			for _, args := range commands {
				r := octobot(t, "", append([]string{"--url", server.URL}, args...)...)
				if goWords.MatchString(r.stderr + r.stdout) {
					t.Errorf("octobot %q says %s%s", args, r.stderr, r.stdout)
				}
			}
		})
	}
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	encrypted := httptest.NewTLSServer(http.NotFoundHandler())
	defer encrypted.Close()
	for url, want := range map[string]string{
		"http://127.0.0.1:1":                             "connection refused",
		"unix:///no/such/socket":                         "there is no socket",
		"unix://" + t.TempDir():                          "connection refused",
		strings.Replace(plain.URL, "http:", "https:", 1): "does not speak TLS",
		encrypted.URL:                                    "certificate",
	} {
		r := octobot(t, "", "--url", url, "ls")
		if r.code == 0 || !strings.Contains(r.stderr, want) || goWords.MatchString(r.stderr) {
			t.Errorf("%s: exit code %d, %s", url, r.code, r.stderr)
		}
	}
}

// TestErrorWords checks what is said of errors of Go's own packages, wherever they come from.
func TestErrorWords(t *testing.T) {
	_, number := strconv.Atoi("x")
	syntax := json.Unmarshal([]byte("{]"), new(any))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, taken := net.Listen("tcp", l.Addr().String())
	_, path := net.Listen("unix", filepath.Join(t.TempDir(), "no", "such"))
	_, stat := os.Lstat(filepath.Join(t.TempDir(), "none"))
	host := &net.DNSError{Err: "no such host", Name: "no.such.host.invalid", Server: "10.0.0.1:53", IsNotFound: true}
	for err, want := range map[error]string{
		stat: "/none: no such file or directory", host: `there is no host "no.such.host.invalid"`,
		number: `"x" is not a number`, syntax: "no JSON, from byte 2 on", taken: "address already in use",
		path: "no such file or directory", context.DeadlineExceeded: "it took too long",
		io.ErrUnexpectedEOF: "it ended too early",
	} {
		lines := errorLines(errors.Join(fmt.Errorf("what: %w", err)))
		if len(lines) != 1 || !strings.HasPrefix(lines[0], "what: ") || !strings.Contains(lines[0], want) ||
			goWords.MatchString(lines[0]) {
			t.Errorf("%v is told as %q", err, lines)
		}
	}
	address := l.Addr().String()
	if got := errorLines(fmt.Errorf("listen on %s: %w", address, taken)); got[0] !=
		"listen on "+address+": address already in use" {
		t.Errorf("%q", got)
	}
}
