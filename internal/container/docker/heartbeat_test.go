package docker

import (
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/octobot-run/octobot/internal/config"
	"github.com/octobot-run/octobot/internal/container"
)

// freezingEngine answers about one running container until it is frozen, and then takes connections
// alone.
type freezingEngine struct {
	*DockerProvider
	frozen chan struct{}
	pings  atomic.Int64
}

func newFreezingEngine(t *testing.T, tty string) *freezingEngine {
	t.Helper()
	listener, err := net.Listen("unix", filepath.Join(t.TempDir(), "engine.sock"))
	if err != nil {
		t.Fatal(err)
	}
	e := &freezingEngine{frozen: make(chan struct{})}
	const name = "/containers/octobot-session-a"
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		wait := func() {
			select {
			case <-r.Context().Done():
			case <-t.Context().Done():
			}
		}
		select {
		case <-e.frozen:
			wait()
			return
		default:
		}
		switch path := r.URL.Path; {
		case strings.HasSuffix(path, "/_ping"):
			e.pings.Add(1)
			w.Header().Set("Api-Version", "1.41")
		case strings.HasSuffix(path, name+"/json"):
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"Id":"octobot-session-a","Name":"/octobot-session-a","State":{"Status":"running"},`+
				`"Config":{"Tty":`+tty+`,"Labels":{"octobot":"true","octobot.session":"a","octobot.instance":"default"}}}`)
		case strings.HasSuffix(path, "/logs"):
			w.(http.Flusher).Flush()
			wait()
		case strings.HasSuffix(path, name+"/exec"):
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusCreated)
			_, _ = io.WriteString(w, `{"Id":"e"}`)
		case strings.HasSuffix(path, "/attach"), strings.HasSuffix(path, "/exec/e/start"):
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = io.WriteString(conn, "HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n")
			<-t.Context().Done()
			conn.Close()
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	})}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(listener) })
	e.DockerProvider, err = NewDockerProvider(&config.Config{
		Docker: config.Docker{Host: "unix://" + listener.Addr().String()}})
	if err != nil {
		t.Fatal(err)
	}
	e.heart.every, e.heart.timeout = time.Millisecond, 500*time.Millisecond
	e.answerTime = 500 * time.Millisecond
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
		server.Close()
		serving.Wait()
	})
	return e
}

func (e *freezingEngine) awaitPings(t *testing.T, more int64) {
	t.Helper()
	for until := e.pings.Load() + more; e.pings.Load() < until; time.Sleep(time.Millisecond) {
		if t.Context().Err() != nil {
			t.Fatal("the engine is not asked")
		}
	}
}

// What is said of an engine that does not answer any more, and of one that did not answer at all.
const (
	silent      = "stopped answering"
	notAnswered = "it has not answered within"
)

func unavailable(t *testing.T, what string, err error, words string) {
	t.Helper()
	if container.ClassOf(err) != container.ErrUnavailable || !strings.Contains(err.Error(), words) {
		t.Errorf("%s: %v; want that %q", what, err, words)
	}
}

// A log that says nothing is followed as long as the engine is there, and no longer.
func TestFrozenEngineEndsLogs(t *testing.T) {
	t.Parallel()
	e := newFreezingEngine(t, "false")
	done := make(chan error, 1)
	go func() {
		done <- e.Logs(t.Context(), "a", container.LogOptions{Tail: -1, Follow: true}, nil, nil)
	}()
	e.awaitPings(t, 50)
	select {
	case err := <-done:
		t.Fatalf("the log of an engine that is there: %v", err)
	default:
	}
	close(e.frozen)
	unavailable(t, "following", <-done, silent)
	unavailable(t, "beginning", e.Logs(t.Context(), "a", container.LogOptions{Tail: -1}, nil, nil), silent)
}

func TestFrozenEngineEndsCreate(t *testing.T) {
	t.Parallel()
	e := newFreezingEngine(t, "false")
	if _, err := e.Get(t.Context(), "a"); err != nil { // so that it is known
		t.Fatal(err)
	}
	close(e.frozen)
	_, err := e.Create(t.Context(), "b", container.Options{Image: "x"})
	unavailable(t, "creating", err, silent)
}

func TestFrozenEngineEndsTerminal(t *testing.T) {
	t.Parallel()
	e := newFreezingEngine(t, "true")
	pty, err := e.Attach(t.Context(), "a", container.AttachOptions{})
	if err != nil {
		t.Fatal(err)
	}
	e.awaitPings(t, 50)
	close(e.frozen)
	_, err = pty.Read(make([]byte, 1))
	unavailable(t, "reading", err, silent)
	_, err = pty.(container.ExitCoder).ExitCode(t.Context())
	unavailable(t, "the exit code", err, notAnswered)
	unavailable(t, "resizing", pty.Resize(24, 80), notAnswered)
	if err := pty.Close(); err != nil {
		t.Error(err)
	}
	_, err = e.Attach(t.Context(), "a", container.AttachOptions{})
	unavailable(t, "attaching", err, notAnswered)
}

func TestFrozenEngineEndsDialled(t *testing.T) {
	t.Parallel()
	e := newFreezingEngine(t, "false")
	conn, err := e.Dial(t.Context(), "a", "", []string{"serve"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	e.awaitPings(t, 50)
	close(e.frozen)
	_, err = conn.Read(make([]byte, 1))
	if err == nil || !strings.Contains(err.Error(), silent) {
		t.Errorf("reading: %v; want that the engine has stopped answering", err)
	}
	_, err = e.Dial(t.Context(), "a", "", []string{"serve"})
	unavailable(t, "dialling", err, notAnswered)
}
