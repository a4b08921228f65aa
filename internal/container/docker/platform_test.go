package docker_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/octobot-run/octobot/internal/container"
)

// An image that is there for another platform is pulled for the one that was asked for; where that
// can't be, the error says both.
func TestOtherPlatform(t *testing.T) {
	const arm, words = "linux/arm64", "image with reference here:latest was found but does not "
	refuse := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			answer(w, http.StatusNotFound, map[string]string{"message": text})
		}
	}
	for name, tt := range map[string]struct {
		create http.HandlerFunc // before the pull; nil: the engine creates
		podman bool
	}{
		"Docker 20.10": {create: refuse(words +
			"match the specified platform: wanted linux/arm64, actual: linux/amd64")},
		"Docker 29":  {create: refuse(words + "provide the specified platform (linux/arm64)")},
		"Podman 4.3": {podman: true},
	} {
		for _, registry := range []string{"has it", "is down"} {
			t.Run(name+", registry "+registry, func(t *testing.T) {
				var engine *fakeEngine
				arch := "amd64"
				handlers := map[string]http.HandlerFunc{
					"GET /images/here:latest/json": func(w http.ResponseWriter, _ *http.Request) {
						answer(w, http.StatusOK, map[string]string{"Os": "linux", "Architecture": arch})
					},
					pulling: func(w http.ResponseWriter, r *http.Request) {
						if registry == "is down" || !strings.Contains(r.URL.Query().Get("platform"), "arm64") {
							answer(w, http.StatusInternalServerError, map[string]string{"message": "no route to host"})
							return
						}
						arch = "arm64"
						say(w, `{"status":"Pull complete"}`)
					},
				}
				if tt.podman {
					handlers["GET /_ping"] = func(w http.ResponseWriter, _ *http.Request) {
						w.Header().Set("Api-Version", "1.41")
						w.Header().Set("Libpod-Api-Version", "4.3.1")
					}
				} else {
					handlers[creating] = func(w http.ResponseWriter, r *http.Request) {
						if arch == "amd64" {
							tt.create(w, r)
							return
						}
						engine.create(w, r)
					}
				}
				engine = newFakeEngine(t, handlers)
				_, err := engine.open(t).Create(t.Context(), "a",
					container.Options{Image: "here:latest", Platform: arm})
				if registry == "has it" {
					if err != nil || len(engine.containers()) != 1 {
						t.Errorf("create: %v; containers %q", err, engine.containers())
					}
					return
				}
				if container.ClassOf(err) != container.ErrImageNotFound ||
					!strings.Contains(err.Error(), "no route to host") ||
					!strings.Contains(err.Error(), "specified platform") || len(engine.containers()) != 0 {
					t.Errorf("create: %v; want image not found, with what was found and why it can't be pulled", err)
				}
			})
		}
	}
}
