package docker_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/octobot-run/octobot/internal/config"
	"github.com/octobot-run/octobot/internal/container"
)

// relay is between a provider and an engine, and ends connections as orderly as proxies do.
type relay struct {
	host string

	mu     sync.Mutex
	conns  map[net.Conn]bool // to whether it was taken over from HTTP; guarded by mu
	frozen chan struct{}     // not nil: nothing passes until it is closed; guarded by mu
}

func newRelay(t *testing.T, network, engine string) *relay {
	t.Helper()
	address := "127.0.0.1:0"
	if network == "unix" {
		address = filepath.Join(t.TempDir(), "relay.sock")
	}
	listener, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{host: network + "://" + listener.Addr().String(), conns: make(map[net.Conn]bool)}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { r.serve(conn, strings.TrimPrefix(engine, "unix://")) })
		}
	})
	t.Cleanup(func() {
		listener.Close()
		r.cut(false)
		serving.Wait()
	})
	return r
}

func (r *relay) serve(conn net.Conn, engine string) {
	defer conn.Close()
	behind, err := net.Dial("unix", engine)
	if err != nil {
		return
	}
	defer behind.Close()
	r.mu.Lock()
	r.conns[conn] = false
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.conns, conn)
	}()
	var copying sync.WaitGroup
	copying.Go(func() {
		_, _ = io.Copy(writerFunc(func(b []byte) (int, error) {
			if bytes.Contains(b, []byte("Upgrade: tcp")) {
				r.mu.Lock()
				r.conns[conn] = true
				r.mu.Unlock()
			}
			r.pass()
			return behind.Write(b)
		}), onlyReader{conn})
		_ = behind.(*net.UnixConn).CloseWrite()
	})
	_, _ = io.Copy(writerFunc(func(b []byte) (int, error) {
		r.pass()
		return conn.Write(b)
	}), onlyReader{behind})
	conn.Close()
	copying.Wait()
}

// pass waits while the relay is frozen.
func (r *relay) pass() {
	r.mu.Lock()
	frozen := r.frozen
	r.mu.Unlock()
	if frozen != nil {
		<-frozen
	}
}

// freeze has nothing pass until the test ends.
func (r *relay) freeze(t *testing.T) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.frozen = make(chan struct{})
	t.Cleanup(func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		close(r.frozen)
		r.frozen = nil
	})
}

type onlyReader struct{ io.Reader }

type writerFunc func([]byte) (int, error)

func (w writerFunc) Write(b []byte) (int, error) { return w(b) }

// cut ends the connections, or only those that are streams.
func (r *relay) cut(streams bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for conn, stream := range r.conns {
		if stream || !streams {
			if half, ok := conn.(interface{ CloseWrite() error }); ok {
				_ = half.CloseWrite()
			}
			conn.Close()
		}
	}
}

// TestExecCut: a connection that ends orderly while the command runs is no end of the command.
func TestExecCut(t *testing.T) {
	for engine := range engineVariables {
		for _, network := range []string{"unix", "tcp"} {
			t.Run(engine+" "+network, func(t *testing.T) {
				t.Parallel()
				proxy := newRelay(t, network, engineHost(t, engine))
				p := open(t, config.Config{Instance: "cut-" + network, Docker: config.Docker{Host: proxy.host}})
				id := "cut-" + network + "-" + engine
				opts := container.Options{Image: image, Cmd: []string{"sleep", "600"}}
				if _, err := p.Create(t.Context(), id, opts); err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = p.Remove(context.Background(), id) })
				if err := p.Start(t.Context(), id); err != nil {
					t.Fatal(err)
				}
				for _, script := range []string{"echo one; sleep 4242", "echo one; sleep 1; echo two; exit 3", "yes"} {
					began, cut := time.Now(), sync.OnceFunc(func() { proxy.cut(true) })
					code, err := p.ExecStream(t.Context(), id, []string{"sh", "-c", script}, container.ExecOptions{},
						writerFunc(func(b []byte) (int, error) { cut(); return len(b), nil }), nil)
					if !errors.Is(err, container.ErrUnavailable) || time.Since(began) > 20*time.Second {
						t.Errorf("%s: code %d, %v after %v; want %v", script, code, err, time.Since(began),
							container.ErrUnavailable)
					}
				}
				res, err := p.Exec(t.Context(), id, []string{"ps", "-o", "args"}, container.ExecOptions{})
				if err != nil || strings.Contains(res.Stdout, "4242") || strings.Contains(res.Stdout, "yes") {
					t.Errorf("what was cut is left: %+v, %v", res, err)
				}
				// What closes its output itself is waited for, and what it ends with is its own.
				for code, script := range map[int]string{
					3:   "echo one; exec >/dev/null 2>&1; sleep 1; exit 3",
					126: "echo one; exec >&- 2>&-; sleep 0.5; exit 126",
				} {
					res, err := p.Exec(t.Context(), id, []string{"sh", "-c", script}, container.ExecOptions{})
					if err != nil || res.ExitCode != code || res.Stdout != "one\n" {
						t.Errorf("%s: %+v, %v", script, res, err)
					}
				}
			})
		}
	}
}

// TestEngineFrozen: an engine that keeps its connections open and says nothing is unavailable
// before long, and what runs in it may run on.
func TestEngineFrozen(t *testing.T) {
	proxy := newRelay(t, "unix", engineHost(t, "docker"))
	p := open(t, config.Config{Instance: "frozen", Docker: config.Docker{Host: proxy.host}})
	opts := container.Options{Image: image, Cmd: []string{"sleep", "600"}}
	if _, err := p.Create(t.Context(), "frozen", opts); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Remove(context.Background(), "frozen") })
	if err := p.Start(t.Context(), "frozen"); err != nil {
		t.Fatal(err)
	}
	p.SetAnswerTime(time.Second)
	t.Run("frozen", func(t *testing.T) {
		_, err := p.ExecStream(t.Context(), "frozen", []string{"sh", "-c", "echo one; sleep 600"},
			container.ExecOptions{}, writerFunc(func(b []byte) (int, error) {
				proxy.freeze(t)
				return len(b), nil
			}), nil)
		if container.ClassOf(err) != container.ErrUnavailable || !errors.Is(err, container.ErrMayStillRun) {
			t.Errorf("under way: %v; want %v, %v", err, container.ErrUnavailable, container.ErrMayStillRun)
		}
		_, err = p.Exec(t.Context(), "frozen", []string{"true"}, container.ExecOptions{})
		if container.ClassOf(err) != container.ErrUnavailable || errors.Is(err, container.ErrMayStillRun) {
			t.Errorf("not begun: %v; want %v alone", err, container.ErrUnavailable)
		}
		_, err = p.Attach(t.Context(), "frozen", container.AttachOptions{})
		if container.ClassOf(err) != container.ErrUnavailable {
			t.Errorf("attach: %v; want %v", err, container.ErrUnavailable)
		}
	})
}
