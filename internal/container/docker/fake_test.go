package docker_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"testing"

	"github.com/octobot-run/octobot/internal/config"
	"github.com/octobot-run/octobot/internal/container/docker"
)

// fakeEngine answers an engine's API as a test tells it to, and records what it was asked.
type fakeEngine struct {
	host string

	mu       sync.Mutex
	asked    []string // "POST /containers/create"
	handlers map[string]http.HandlerFunc
	images   map[string]bool
	made     map[string]map[string]string // containers' names to their labels
	removed  []string
}

var (
	apiVersion = regexp.MustCompile(`^/v[0-9.]+/`)
	idPart     = regexp.MustCompile(`/([0-9a-f]{64}|octobot-session-[^/]+)`)
)

// newFakeEngine starts an engine that creates containers of the images it has. handlers, by
// method and path without the API version, replace its own.
func newFakeEngine(t *testing.T, handlers map[string]http.HandlerFunc) *fakeEngine {
	t.Helper()
	f := &fakeEngine{handlers: handlers, images: map[string]bool{"here:latest": true},
		made: map[string]map[string]string{}}
	socket := filepath.Join(t.TempDir(), "engine.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	f.host = "unix://" + socket
	server := &http.Server{Handler: f}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(listener) })
	t.Cleanup(func() {
		server.Close()
		serving.Wait()
	})
	return f
}

func (f *fakeEngine) open(t *testing.T) *docker.DockerProvider {
	t.Helper()
	return open(t, config.Config{Instance: "fake", Docker: config.Docker{Host: f.host, Network: "bridge"}})
}

func (f *fakeEngine) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := apiVersion.ReplaceAllString(r.URL.Path, "/")
	key := r.Method + " " + path
	f.mu.Lock()
	f.asked = append(f.asked, key)
	handler := f.handlers[key]
	f.mu.Unlock()
	switch {
	case handler != nil:
		handler(w, r)
	case path == "/_ping":
		w.Header().Set("Api-Version", "1.41")
	case key == "POST /containers/create":
		f.create(w, r)
	case r.Method == http.MethodDelete:
		f.remove(w, filepath.Base(path))
	default:
		answer(w, http.StatusNotFound, map[string]string{"message": "page not found"})
	}
}

func (f *fakeEngine) create(w http.ResponseWriter, r *http.Request) {
	var spec struct {
		Image  string
		Labels map[string]string
	}
	if err := json.NewDecoder(r.Body).Decode(&spec); err != nil {
		answer(w, http.StatusBadRequest, map[string]string{"message": err.Error()})
		return
	}
	name := r.URL.Query().Get("name")
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case !f.images[spec.Image]:
		answer(w, http.StatusNotFound, map[string]string{"message": "No such image: " + spec.Image})
	case f.made[name] != nil:
		answer(w, http.StatusConflict,
			map[string]string{"message": fmt.Sprintf("Conflict. The container name %q is already in use", name)})
	default:
		f.made[name] = spec.Labels
		answer(w, http.StatusCreated, map[string]string{"Id": name})
	}
}

func (f *fakeEngine) remove(w http.ResponseWriter, name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.made[name] == nil {
		answer(w, http.StatusNotFound, map[string]string{"message": "No such container: " + name})
		return
	}
	delete(f.made, name)
	f.removed = append(f.removed, name)
	w.WriteHeader(http.StatusNoContent)
}

// inspect is a handler for a container of that name, where there is one.
func (f *fakeEngine) inspect(name string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		f.mu.Lock()
		labels, there := f.made[name]
		f.mu.Unlock()
		if !there {
			answer(w, http.StatusNotFound, map[string]string{"message": "No such container: " + name})
			return
		}
		answer(w, http.StatusOK, map[string]any{
			"Id": name, "Name": "/" + name,
			"State":  map[string]any{"Status": "created"},
			"Config": map[string]any{"Labels": labels},
		})
	}
}

func (f *fakeEngine) addImage(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.images[name] = true
}

// containers are the names of those there are.
func (f *fakeEngine) containers() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var names []string
	for name := range f.made {
		names = append(names, name)
	}
	return names
}

// count tells how often something was asked; everything, without the negotiation, for "".
func (f *fakeEngine) count(key string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, asked := range f.asked {
		if asked == key || key == "" {
			n++
		}
	}
	return n
}

func (f *fakeEngine) requests() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.asked)
}

func answer(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body)
}

// say sends a line of a stream at once.
func say(w http.ResponseWriter, line string) {
	_, _ = io.WriteString(w, line+"\n")
	w.(http.Flusher).Flush()
}
