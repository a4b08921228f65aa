package daemon

import (
	"context"
	"fmt"

	"github.com/octobot-run/octobot/internal/config"
	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/container/docker"
	"github.com/octobot-run/octobot/internal/container/mock"
)

// runtimeKind is a kind of engine that a daemon can run sessions on.
type runtimeKind struct {
	// open makes the runtime of cfg.Instance, and says how to close it. It need not ask the engine.
	open func(cfg config.Config) (rt container.Runtime, closeRuntime func() error, err error)
	// diagnose looks at the engine without a daemon, and without changing anything.
	diagnose func(ctx context.Context, cfg config.Config) []Finding
}

// runtimeKinds has each of [config.Runtimes].
var runtimeKinds = map[string]runtimeKind{
	"docker": {openDocker, diagnoseDocker},
	"mock":   {openMock, diagnoseMock},
}

func openDocker(cfg config.Config) (container.Runtime, func() error, error) {
	rt, err := docker.NewDockerProvider(&cfg)
	if err != nil {
		return nil, nil, fmt.Errorf("engine: %w; \"octobot doctor\" tells where was looked", err)
	}
	return rt, rt.Close, nil
}

// openMock makes an engine in this process, which ends with the daemon.
func openMock(cfg config.Config) (container.Runtime, func() error, error) {
	engine := mock.NewEngine()
	rt := engine.Provider(cfg.Instance)
	closeBoth := func() error {
		err := rt.Close()
		engine.Close()
		return err
	}
	return rt, closeBoth, nil
}

func diagnoseMock(context.Context, config.Config) []Finding {
	return []Finding{{"engine", Notice, "mock: nothing runs for real", "choose another with --runtime docker"}}
}
