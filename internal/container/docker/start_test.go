package docker_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/octobot-run/octobot/internal/container"
)

// TestStartRefusedForPort has an engine take a container off its network where a port of it is
// taken, as Docker 29 does: the refusal is told whatever comes of that, and no later start goes on
// without the network.
func TestStartRefusedForPort(t *testing.T) {
	const taken = "driver failed programming external connectivity: Bind for 127.0.0.1:80 failed: " +
		"port is already allocated"
	name := container.Name("a")
	state := map[string]any{"Status": "created"}
	networks := map[string]any{"bridge": map[string]any{}}
	free, gone := false, true
	ping := func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Api-Version", "1.52") }
	engine := newFakeEngine(t, map[string]http.HandlerFunc{
		"GET /_ping": ping, "HEAD /_ping": ping,
		"GET /containers/" + name + "/json": func(w http.ResponseWriter, _ *http.Request) {
			answer(w, http.StatusOK, map[string]any{"Id": name, "Name": "/" + name, "State": state,
				"HostConfig":      map[string]any{"NetworkMode": "bridge"},
				"NetworkSettings": map[string]any{"Networks": networks},
				"Config":          map[string]any{"Labels": container.Labels("fake", "a", container.Options{})}})
		},
		"POST /containers/" + name + "/start": func(w http.ResponseWriter, _ *http.Request) {
			if !free {
				state["Error"] = taken
				clear(networks)
				answer(w, http.StatusInternalServerError, map[string]string{"message": taken})
				return
			}
			state = map[string]any{"Status": "running"}
			w.WriteHeader(http.StatusNoContent)
		},
		"POST /networks/bridge/connect": func(w http.ResponseWriter, _ *http.Request) {
			if gone {
				answer(w, http.StatusNotFound, map[string]string{"message": "network bridge not found"})
				return
			}
			networks["bridge"] = map[string]any{}
		},
	})
	p := engine.open(t)
	if err := p.Start(t.Context(), "a"); container.ClassOf(err) != container.ErrPortTaken {
		t.Errorf("refused: %v; want %v", err, container.ErrPortTaken)
	}
	free = true
	if err := p.Start(t.Context(), "a"); container.ClassOf(err) != container.ErrInvalidArgument ||
		!strings.Contains(err.Error(), "network bridge not found") {
		t.Errorf("without its network: %v", err)
	}
	gone = false
	if err := p.Start(t.Context(), "a"); err != nil || len(networks) != 1 {
		t.Errorf("on %d networks: %v", len(networks), err)
	}
	state = map[string]any{"Status": "exited"}
	clear(networks) // by somebody, and for a reason
	if err := p.Start(t.Context(), "a"); err != nil || len(networks) != 0 {
		t.Errorf("taken off its network: on %d, %v", len(networks), err)
	}
	starts := slices.DeleteFunc(engine.requests(),
		func(asked string) bool { return !strings.HasSuffix(asked, "/start") })
	if len(starts) != 3 {
		t.Errorf("started %d times; want 3", len(starts))
	}
}
