package docker_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/octobot-run/octobot/internal/container"
)

// fakeExecs is an engine with the container of session "a", in which commands can be started.
type fakeExecs struct {
	*fakeEngine
	status string // of the container

	// start starts the exec of an ID, and inspect tells of it.
	start   func(w http.ResponseWriter, r *http.Request)
	inspect func() map[string]any
	// script is what the exec of /bin/sh ends with.
	script int
}

// newFakeExecs makes the commands "cmd", and those of /bin/sh "sh".
func newFakeExecs(t *testing.T, execs *fakeExecs) *fakeExecs {
	name := container.Name("a")
	execs.fakeEngine = newFakeEngine(t, map[string]http.HandlerFunc{
		"GET /containers/" + name + "/json": func(w http.ResponseWriter, _ *http.Request) {
			answer(w, http.StatusOK, map[string]any{"Id": name, "Name": "/" + name,
				"State":  map[string]any{"Status": execs.status, "Running": execs.status == "running"},
				"Config": map[string]any{"Labels": container.Labels("fake", "a", container.Options{})}})
		},
		"POST /containers/" + name + "/exec": func(w http.ResponseWriter, r *http.Request) {
			var spec struct{ Cmd []string }
			_ = json.NewDecoder(r.Body).Decode(&spec)
			id := "cmd"
			if spec.Cmd[0] == "/bin/sh" {
				id = "sh"
			}
			answer(w, http.StatusCreated, map[string]string{"Id": id})
		},
		"POST /exec/cmd/start": func(w http.ResponseWriter, r *http.Request) { execs.start(w, r) },
		"GET /exec/cmd/json": func(w http.ResponseWriter, _ *http.Request) {
			answer(w, http.StatusOK, execs.inspect())
		},
		"POST /exec/sh/start": func(w http.ResponseWriter, r *http.Request) {
			var spec struct{ Tty bool }
			_ = json.NewDecoder(r.Body).Decode(&spec)
			conn := hijacked(w, "")
			if spec.Tty {
				_, _ = conn.Read(make([]byte, 64)) // what is typed, which unread would reset it
			}
			conn.Close()
		},
		"GET /exec/sh/json": func(w http.ResponseWriter, _ *http.Request) {
			pid := 6
			if execs.script == 127 {
				pid = 0
			}
			answer(w, http.StatusOK, map[string]any{"Running": false, "ExitCode": execs.script, "Pid": pid})
		},
	})
	return execs
}

// hijacked gives the connection of an exec's start, on which something was said.
func hijacked(w http.ResponseWriter, said string) io.ReadWriteCloser {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	fmt.Fprint(conn, "HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"+said)
	return conn
}

// frame is output as engines send it of commands without a terminal.
func frame(said string) string {
	return fmt.Sprintf("\x01\x00\x00\x00\x00\x00\x00%c%s", len(said), said)
}
