package docker_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/octobot-run/octobot/internal/container"
)

// An engine that is down at first must not leave the client with an API version that the
// engine does not have.
func TestNegotiationIsRetried(t *testing.T) {
	var up atomic.Bool
	var versions []string
	ping := func(w http.ResponseWriter, _ *http.Request) {
		if !up.Load() {
			answer(w, http.StatusServiceUnavailable, map[string]string{"message": "starting"})
			return
		}
		w.Header().Set("Api-Version", "1.41")
	}
	engine := newFakeEngine(t, map[string]http.HandlerFunc{
		"GET /_ping":  ping,
		"HEAD /_ping": ping,
		"GET /containers/json": func(w http.ResponseWriter, r *http.Request) {
			versions = append(versions, r.URL.Path)
			answer(w, http.StatusOK, []any{})
		},
	})
	p := engine.open(t)
	if _, err := p.List(t.Context()); !errors.Is(err, container.ErrUnavailable) {
		t.Errorf("list while the engine is down: %v; want unavailable", err)
	}
	up.Store(true)
	for range 2 {
		if _, err := p.List(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if want := []string{"/v1.41/containers/json", "/v1.41/containers/json"}; !slices.Equal(versions, want) {
		t.Errorf("asked %q; want %q", versions, want)
	}
}

// A hanging engine holds each caller only as long as the caller wants.
func TestNegotiationHangs(t *testing.T) {
	hang := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	engine := newFakeEngine(t, map[string]http.HandlerFunc{"GET /_ping": hang})
	p := engine.open(t)
	first, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { _, err := p.List(first); done <- err }()
	for engine.count("GET /_ping") == 0 {
		time.Sleep(time.Millisecond)
	}
	second, cancelSecond := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancelSecond()
	if _, err := p.List(second); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("second caller: %v; want its own deadline", err)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("first caller: %v; want canceled", err)
	}
}

func TestEngineTooOld(t *testing.T) {
	ping := func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Api-Version", "1.39") }
	engine := newFakeEngine(t, map[string]http.HandlerFunc{"GET /_ping": ping, "HEAD /_ping": ping})
	if _, err := engine.open(t).List(t.Context()); !errors.Is(err, container.ErrUnsupported) {
		t.Errorf("list: %v; want not supported", err)
	}
}
