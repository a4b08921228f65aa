package docker_test

import (
	"net/http"
	"reflect"
	"testing"
	"time"

	"github.com/octobot-run/octobot/internal/container"
)

// TestTop has an engine give what Docker gives, and what Podman does.
func TestTop(t *testing.T) {
	name := container.Name("x")
	var rows [][]string
	var refusal string
	var engine *fakeEngine
	engine = newFakeEngine(t, map[string]http.HandlerFunc{
		"GET /containers/" + name + "/json": func(w http.ResponseWriter, _ *http.Request) {
			engine.mu.Lock()
			defer engine.mu.Unlock()
			answer(w, http.StatusOK, map[string]any{"Id": name, "Name": "/" + name,
				"State":  map[string]any{"Status": "running"},
				"Config": map[string]any{"Labels": engine.made[name]}})
		},
		"GET /containers/" + name + "/top": func(w http.ResponseWriter, _ *http.Request) {
			if refusal != "" {
				answer(w, http.StatusInternalServerError, map[string]string{"message": refusal})
				return
			}
			answer(w, http.StatusOK, map[string]any{"Processes": rows})
		},
	})
	p := engine.open(t)
	if _, err := p.Create(t.Context(), "x", container.Options{Image: "here:latest"}); err != nil {
		t.Fatal(err)
	}
	rows = [][]string{
		{"900", "899", "1000", "20", "93784", "1-02:03:04", "sh -c  a b"},
		{"899", "1", "0", "1380", "5", "00:00:01", "sleep 100"},
		{"901", "899", "root", "0", "1m2.5s", "643.5ms", "top"},
		{"x", "", "", "?", "soon", "-1-x", ""},
	}
	want := &container.Top{HostPIDs: true, Processes: []container.RunningProcess{
		{},
		{PID: 899, Parent: 1, User: "0", Memory: 1380 << 10, Elapsed: 5 * time.Second, CPUTime: time.Second,
			Cmd: "sleep 100"},
		{PID: 900, Parent: 899, User: "1000", Memory: 20 << 10, Elapsed: 93784 * time.Second,
			CPUTime: 26*time.Hour + 3*time.Minute + 4*time.Second, Cmd: "sh -c  a b"},
		{PID: 901, Parent: 899, User: "root", Elapsed: 62500 * time.Millisecond, CPUTime: 643500 * time.Microsecond,
			Cmd: "top"},
	}}
	if got, err := p.Top(t.Context(), "x"); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	rows = [][]string{{"1", "root"}}
	if _, err := p.Top(t.Context(), "x"); container.ClassOf(err) != container.ErrUnavailable {
		t.Errorf("two columns: %v", err)
	}
	refusal = "Error running ps: exec: \"ps\": executable file not found in $PATH"
	if _, err := p.Top(t.Context(), "x"); container.ClassOf(err) != container.ErrUnsupported {
		t.Errorf("without ps: %v", err)
	}
}

// TestTopOfPaused has an engine answer as Podman does, which does not look into a paused container.
func TestTopOfPaused(t *testing.T) {
	name := container.Name("x")
	p := newFakeEngine(t, map[string]http.HandlerFunc{
		"GET /_ping": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Api-Version", "1.41")
			w.Header().Set("Libpod-Api-Version", "4.3.1")
		},
		"GET /containers/" + name + "/json": func(w http.ResponseWriter, _ *http.Request) {
			answer(w, http.StatusOK, map[string]any{"Id": name, "Name": "/" + name,
				"State":  map[string]any{"Status": "paused", "Paused": true},
				"Config": map[string]any{"Labels": container.Labels("fake", "x", container.Options{})}})
		},
		"GET /containers/" + name + "/top": func(http.ResponseWriter, *http.Request) {},
	}).open(t)
	if _, err := p.Top(t.Context(), "x"); container.ClassOf(err) != container.ErrContainerPaused {
		t.Errorf("got %v; want %v", err, container.ErrContainerPaused)
	}
}
