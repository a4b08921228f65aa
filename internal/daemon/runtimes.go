package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/octobot-run/octobot/internal/agentbin"
	"github.com/octobot-run/octobot/internal/config"
	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/container/agented"
	"github.com/octobot-run/octobot/internal/container/docker"
	"github.com/octobot-run/octobot/internal/container/mock"
	"github.com/octobot-run/octobot/internal/hostmount"
	"github.com/octobot-run/octobot/internal/session"
)

// runtimeKind is a kind of engine that a daemon can run sessions on.
type runtimeKind struct {
	// open makes the runtime of cfg.Instance, and says how to close it. It need not ask the engine.
	open func(cfg config.Config, log *slog.Logger, m *metrics) (
		rt container.Runtime, closeRuntime func() error, err error)
	// mounts makes what mounts binds for sessions. An error says why they can't have any, in words
	// that complete "binds can't be mounted: "; nothing else is wrong then.
	mounts func(cfg config.Config, rt container.Runtime) (session.HostMounts, error)
	// diagnose looks at the engine without changing anything: at that of rt, which is a daemon's,
	// or where rt is nil, at the one that a daemon would use.
	diagnose func(ctx context.Context, cfg config.Config, rt container.Runtime) []Finding
}

// runtimeKinds has each of [config.Runtimes].
var runtimeKinds = map[string]runtimeKind{
	"docker": {openDocker, mountOnHost, diagnoseDocker},
	"mock":   {openMock, mountNothing, diagnoseMock},
}

func openDocker(
	cfg config.Config, log *slog.Logger, m *metrics,
) (container.Runtime, func() error, error) {
	rt, err := docker.NewDockerProvider(&cfg)
	if err != nil {
		return nil, nil, fmt.Errorf("engine: %w; \"octobot doctor\" tells where was looked", err)
	}
	if cfg.Agent != "auto" {
		return rt, rt.Close, nil
	}
	wrapped := agented.New(rt, agented.Config{Binary: agentbin.Binary, Logger: log,
		Observer: newAgentMetrics(m.registry)})
	agents, ok := wrapped.(*agented.Runtime)
	if !ok {
		return wrapped, rt.Close, nil
	}
	m.watchAgents(agents.InUse)
	return agents, agents.Close, nil
}

// AgentHashes gives the hash of each agent that this build puts into containers, by architecture:
// what a container that has it is labelled with. Empty in a build without.
func AgentHashes() (map[string]string, error) {
	hashes := map[string]string{}
	for _, arch := range agentbin.Architectures() {
		binary, err := agentbin.Binary(arch)
		if err != nil {
			return nil, err
		}
		hashes[arch] = container.ProgramHash(binary)
	}
	return hashes, nil
}

// openMock makes an engine in this process, which ends with the daemon.
func openMock(cfg config.Config, _ *slog.Logger, _ *metrics) (container.Runtime, func() error, error) {
	engine := mock.NewEngine()
	rt := engine.Provider(cfg.Instance)
	closeBoth := func() error {
		err := rt.Close()
		engine.Close()
		return err
	}
	return rt, closeBoth, nil
}

// errElsewhere: what a path leads to can only be looked at where it is followed.
var errElsewhere = errors.New("the engine is on another host")

// mountOnHost mounts where the engine and the daemon see the same files. A socket may lead into a
// virtual machine all the same, which each start finds out.
func mountOnHost(cfg config.Config, rt container.Runtime) (session.HostMounts, error) {
	if p, ok := container.As[*docker.DockerProvider](rt); !ok || !p.Engine().SharesHost() {
		return nil, errElsewhere
	}
	mounts, err := hostmount.Open(cfg.DataDir)
	if err != nil {
		return nil, err
	}
	return mounts, nil
}

// mountNothing suits an engine whose containers have no files of the host.
func mountNothing(config.Config, container.Runtime) (session.HostMounts, error) {
	return unmounted{}, nil
}

// unmounted gives every path as it is.
type unmounted struct{}

func (unmounted) Mount(_ string, _ int, source string) (string, error) { return source, nil }
func (unmounted) Verify(string, int, []string) error                   { return nil }
func (unmounted) Unmount(string) error                                 { return nil }
func (unmounted) Mounted() ([]string, error)                           { return nil, nil }

func diagnoseMock(context.Context, config.Config, container.Runtime) []Finding {
	return []Finding{{"engine", Notice, "mock: nothing runs for real", "choose another with --runtime docker"}}
}
