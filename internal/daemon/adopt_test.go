package daemon

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/octobot-run/octobot/internal/container"
)

// TestAdoptKeepsNetworks checks that adopting looks at the engine and changes nothing there: the
// installation may live after all, and be about to put a session on a network that is still unused.
func TestAdoptKeepsNetworks(t *testing.T) {
	const labels = `{"` + container.LabelOctobot + `":"true","` + container.LabelInstance + `":"lost","` +
		container.LabelSession + `":"demo"}`
	networks := make(chan string, 10)
	engine := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Api-Version", "1.41")
		w.Header().Set("Content-Type", "application/json")
		said := "{}"
		switch path := r.URL.Path; {
		case strings.HasSuffix(path, "/containers/json") && strings.Contains(r.URL.RawQuery, "lost"):
			said = `[{"Id":"c1","Names":["/` + container.Name("demo") + `"],"State":"created","Labels":` + labels + `}]`
		case strings.HasSuffix(path, "/containers/json"):
			said = "[]"
		case strings.Contains(path, "/containers/"):
			select { // a sweep would have begun by now
			case asked := <-networks:
				networks <- asked
			case <-time.After(200 * time.Millisecond):
			}
			said = `{"Id":"c1","Name":"/` + container.Name("demo") +
				`","State":{"Status":"created"},"Config":{"Labels":` +
				labels + `}}`
		case strings.Contains(path, "/networks"):
			networks <- r.Method + " " + path
			said = "[]"
		}
		_, _ = w.Write([]byte(said))
	}))
	defer engine.Close()
	cfg := testConfig(t)
	cfg.Runtime, cfg.Docker.Host = "docker", "tcp://"+engine.Listener.Addr().String()
	a, err := Adopt(t.Context(), cfg, "lost", slog.New(slog.DiscardHandler))
	if err != nil || len(a.Sessions)+len(a.Left) != 1 {
		t.Errorf("adopted %+v, %v", a, err)
	}
	engine.Close()
	close(networks)
	for asked := range networks {
		t.Errorf("it sweeps: %s", asked)
	}
}
