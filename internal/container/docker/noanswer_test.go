package docker_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/octobot-run/octobot/internal/config"
	"github.com/octobot-run/octobot/internal/container/docker"
)

// TestNoAnswer checks what is said of an engine that does not answer.
func TestNoAnswer(t *testing.T) {
	cutting := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_ = conn.Close()
	}))
	defer cutting.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := l.Addr().String()
	_ = l.Close()
	for host, want := range map[string]string{
		"unix://" + filepath.Join(t.TempDir(), "none"): "can't connect to it: no such file or directory",
		"tcp://" + closed: "can't connect to it: connection refused",
		"tcp://" + cutting.Listener.Addr().String(): "it closed the connection",
	} {
		p, err := docker.NewDockerProvider(&config.Config{Docker: config.Docker{Host: host}})
		if err != nil {
			t.Fatal(err)
		}
		_, err = p.Probe(t.Context())
		if err == nil || !strings.HasSuffix(err.Error(), want) || strings.Contains(err.Error(), "dial") {
			t.Errorf("%s: %v", host, err)
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
}
