package daemon

import (
	"errors"
	"testing"

	"github.com/octobot-run/octobot/internal/config"
	"github.com/octobot-run/octobot/internal/container/docker"
)

// TestNoMountsElsewhere checks that what a path leads to here says nothing of another host.
func TestNoMountsElsewhere(t *testing.T) {
	cfg := config.Config{DataDir: t.TempDir(), Docker: config.Docker{Host: "tcp://127.0.0.1:1"}}
	rt, err := docker.NewDockerProvider(&cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer rt.Close()
	if mounts, err := mountOnHost(cfg, rt); !errors.Is(err, errElsewhere) || mounts != nil {
		t.Errorf("%v, %v", mounts, err)
	}
	if f := diagnoseMounts(cfg, rt.Engine()); f.Grade != Problem {
		t.Errorf("diagnosed %+v", f)
	}
}
