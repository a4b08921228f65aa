package docker_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/container/docker"
)

// TestOriginIsKept has another container come in the place of the one whose origin was asked for:
// no call goes on to it before its own was asked for.
func TestOriginIsKept(t *testing.T) {
	name := container.Name("a")
	for what, call := range map[string]func(context.Context, *docker.DockerProvider) error{
		"get": func(ctx context.Context, p *docker.DockerProvider) error {
			_, err := p.Get(ctx, "a")
			return err
		},
		"logs": func(ctx context.Context, p *docker.DockerProvider) error {
			return p.Logs(ctx, "a", container.LogOptions{Tail: -1}, io.Discard, io.Discard)
		},
		"attach": func(ctx context.Context, p *docker.DockerProvider) error {
			pty, err := p.Attach(ctx, "a", container.AttachOptions{})
			if err == nil {
				_ = pty.Close()
			}
			return err
		},
		"copy to": func(ctx context.Context, p *docker.DockerProvider) error {
			return p.CopyTo(ctx, "a", "/", strings.NewReader(""))
		},
		"stop": func(ctx context.Context, p *docker.DockerProvider) error { return p.Stop(ctx, "a", 0) },
	} {
		t.Run(what, func(t *testing.T) {
			id, origin := strings.Repeat("a", 64), "one"
			engine := newFakeEngine(t, map[string]http.HandlerFunc{
				"GET /containers/" + name + "/json": func(w http.ResponseWriter, _ *http.Request) {
					answer(w, http.StatusOK, map[string]any{"Id": id, "Name": "/" + name,
						"State": map[string]any{"Status": "running"},
						"Config": map[string]any{"Labels": container.Labels("fake", "a",
							container.Options{Origin: origin})}})
				},
				"POST /containers/" + id + "/kill": func(w http.ResponseWriter, _ *http.Request) {
					answer(w, http.StatusNotFound, map[string]string{"message": "No such container: " + id})
				},
			})
			p := engine.open(t)
			if got, err := p.Origin(t.Context(), "a"); got != "one" || err != nil {
				t.Fatalf("the first one's origin is %q, %v", got, err)
			}
			id, origin = strings.Repeat("b", 64), "two"
			if err := call(t.Context(), p); container.ClassOf(err) != container.ErrContainerNotFound {
				t.Errorf("got %v; want %v", err, container.ErrContainerNotFound)
			}
			for _, asked := range engine.requests() {
				if strings.Contains(asked, id) {
					t.Errorf("the other one was asked: %s", asked)
				}
			}
			if got, err := p.Origin(t.Context(), "a"); got != "two" || err != nil {
				t.Errorf("the other one's origin is %q, %v", got, err)
			}
		})
	}
}
