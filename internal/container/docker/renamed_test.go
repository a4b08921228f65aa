package docker_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/octobot-run/octobot/internal/container"
)

// TestRenamedNotSeen: an engine that does not say what is there under other names has not said that
// there is nothing.
func TestRenamedNotSeen(t *testing.T) {
	id := strings.Repeat("ab", 32)
	gone := func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusNotFound, map[string]string{"message": "No such container: x"})
	}
	fails := func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusInternalServerError, map[string]string{"message": "disk I/O error"})
	}
	renamed := func(w http.ResponseWriter, _ *http.Request) {
		labels := container.Labels("fake", "x", container.Options{Origin: "g:1"})
		labels["octobot.create"] = "this one"
		answer(w, http.StatusOK, []map[string]any{{"Id": id, "Names": []string{"/renamed"}, "ImageID": "image",
			"Labels": labels, "State": "running"}})
	}
	image := func(labels map[string]string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			answer(w, http.StatusOK, map[string]any{"Id": "image", "Config": map[string]any{"Labels": labels}})
		}
	}
	noImage := func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusNotFound, map[string]string{"message": "No such image: image"})
	}
	page := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(http.StatusNotFound)
	}
	made := func(create string) http.HandlerFunc { return image(map[string]string{"octobot.create": create}) }
	for name, tt := range map[string]struct {
		list, image http.HandlerFunc
		get         error // class of Get's, and of Remove's
		listed      error
		listing     int
	}{
		"nothing is listed": {fails, noImage, container.ErrRefused, container.ErrRefused, 0},
		"image is not told": {renamed, fails, container.ErrRefused, container.ErrRefused, 0},
		"a proxy's page":    {renamed, page, container.ErrRefused, container.ErrRefused, 0},
		"image is gone":     {renamed, noImage, container.ErrContainerNotFound, nil, 0},
		"copy":              {renamed, made("this one"), container.ErrContainerNotFound, nil, 0},
		"found":             {renamed, made("another"), nil, nil, 1},
		"found, no labels":  {renamed, image(nil), nil, nil, 1},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFakeEngine(t, map[string]http.HandlerFunc{
				"GET /containers/octobot-session-x/json": gone,
				"GET /containers/json":                   tt.list,
				"GET /images/image/json":                 tt.image,
				"GET /containers/" + id + "/json": func(w http.ResponseWriter, _ *http.Request) {
					answer(w, http.StatusOK, map[string]any{"Id": id, "Config": map[string]any{
						"Labels": container.Labels("fake", "x", container.Options{Origin: "g:1"})}})
				},
			})
			p := f.open(t)
			c, err := p.Get(t.Context(), "x")
			if !errors.Is(err, tt.get) || tt.get == nil && (err != nil || c.ID != id) {
				t.Errorf("Get: %+v, %v", c, err)
			}
			if tt.get != nil {
				if err := p.Remove(t.Context(), "x"); !errors.Is(err, tt.get) {
					t.Errorf("Remove: %v", err)
				}
			}
			list, err := p.List(t.Context())
			if !errors.Is(err, tt.listed) || len(list) != tt.listing {
				t.Errorf("List: %d containers, %v", len(list), err)
			}
			for _, asked := range f.requests() {
				if strings.HasPrefix(asked, "DELETE") {
					t.Errorf("the engine was asked: %s", asked)
				}
			}
		})
	}
}

// TestRenamedWithoutImage: a session's container is its own while it was seen as that, although it
// has another name then and its image is gone; and that of another instance's is listed, and left
// alone.
func TestRenamedWithoutImage(t *testing.T) {
	id, name, instance, renamed := strings.Repeat("ab", 32), container.Name("x"), "fake", false
	labels := func() map[string]string {
		labels := container.Labels(instance, "x", container.Options{})
		labels["octobot.create"] = "this one"
		return labels
	}
	inspect := func(w http.ResponseWriter, r *http.Request) {
		if renamed && strings.Contains(r.URL.Path, name) {
			answer(w, http.StatusNotFound, map[string]string{"message": "No such container: x"})
			return
		}
		answer(w, http.StatusOK, map[string]any{"Id": id, "Config": map[string]any{"Labels": labels()}})
	}
	f := newFakeEngine(t, map[string]http.HandlerFunc{
		"GET /containers/" + name + "/json": inspect,
		"GET /containers/" + id + "/json":   inspect,
		"GET /containers/json": func(w http.ResponseWriter, _ *http.Request) {
			answer(w, http.StatusOK, []map[string]any{{"Id": id, "Names": []string{"/renamed"}, "ImageID": "image",
				"Labels": labels(), "State": "running"}})
		},
		"GET /images/image/json": func(w http.ResponseWriter, _ *http.Request) {
			answer(w, http.StatusNotFound, map[string]string{"message": "No such image: image"})
		},
	})
	p := f.open(t)
	for range 2 {
		if c, err := p.Get(t.Context(), "x"); err != nil || c.ID != id {
			t.Errorf("renamed: %t: got %+v, %v", renamed, c, err)
		}
		renamed = true
	}
	if list, err := p.List(t.Context()); err != nil || len(list) != 1 {
		t.Errorf("listed %d, %v", len(list), err)
	}
	instance = "another"
	if list, err := p.ListStrangers(t.Context()); err != nil || len(list) != 1 {
		t.Errorf("listed %d strangers, %v", len(list), err)
	}
	if err := p.RemoveStranger(t.Context(), instance, id); container.ClassOf(err) != container.ErrContainerNotFound {
		t.Errorf("removal: %v", err)
	}
	if n := f.count("DELETE /containers/" + id); n != 0 {
		t.Errorf("removed %d times", n)
	}
}
