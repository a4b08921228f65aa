package docker

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/moby/moby/client"
	"github.com/moby/moby/client/pkg/versions"

	"github.com/octobot-run/octobot/internal/container"
)

const negotiateTimeout = 10 * time.Second

// facts are what the first answer of the engine told.
type facts struct {
	podman bool
	// consoleSize: an exec can be started with a terminal's size (API 1.42).
	consoleSize bool
}

// negotiate makes the first contact: the API's version, and which engine it is. One caller
// does it, the others wait; where it fails, the next call tries again.
func (p *DockerProvider) negotiate(ctx context.Context) error {
	if p.known.Load() != nil {
		return nil
	}
	select {
	case p.contact <- struct{}{}:
		defer func() { <-p.contact }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if p.known.Load() != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, negotiateTimeout)
	defer cancel()
	header, err := p.get(ctx, p.pingURL(), nil)
	if err != nil {
		if statusOf(err) >= http.StatusInternalServerError { // it is not up yet, or not any more
			return container.Errorf("", "", container.ErrUnavailable, "%s", engineText(err))
		}
		return err
	}
	// The SDK would send its newest version to an engine whose ping failed, so no
	// other request is made before this one has succeeded.
	if _, err := p.client.Ping(ctx, client.PingOptions{NegotiateAPIVersion: true}); err != nil {
		if cerrdefs.IsInvalidArgument(err) {
			return container.Errorf("", "", container.ErrUnsupported, "%s", engineText(err))
		}
		return err
	}
	p.known.Store(&facts{
		podman:      header.Get("Libpod-Api-Version") != "",
		consoleSize: versions.GreaterThanOrEqualTo(p.client.ClientVersion(), "1.42"),
	})
	return nil
}

// podman reports whether the engine is Podman. Only for use after beginCall.
func (p *DockerProvider) podman() bool { return p.known.Load().podman }

// Probe asks the engine for its version and its settings.
func (p *DockerProvider) Probe(ctx context.Context) (container.EngineInfo, error) {
	c, err := p.beginEngineCall(ctx, "probe")
	if err != nil {
		return container.EngineInfo{}, err
	}
	defer c.Done()
	version, err := p.client.ServerVersion(c.Ctx, client.ServerVersionOptions{})
	if err != nil {
		return container.EngineInfo{}, c.toError(err)
	}
	res, err := p.client.Info(c.Ctx, client.InfoOptions{})
	if err != nil {
		return container.EngineInfo{}, c.toError(err)
	}
	info := res.Info
	e := container.EngineInfo{
		Name:       "docker",
		Version:    version.Version,
		APIVersion: p.client.ClientVersion(),
		Host:       p.engine.Host,
		OS:         version.Os,
		Arch:       version.Arch,
		CgroupV2:   info.CgroupVersion == "2",
		Runtimes:   slices.Sorted(maps.Keys(info.Runtimes)),
	}
	if p.podman() {
		e.Name = "podman"
		e.Runtimes = []string{info.DefaultRuntime} // which all its containers get
	}
	for _, opt := range info.SecurityOptions {
		e.Rootless = e.Rootless || strings.Contains(opt, "rootless")
	}
	for _, lack := range []struct {
		there bool
		what  string
	}{
		{info.MemoryLimit, "memory limits"},
		{info.SwapLimit, "swap limits"},
		{info.PidsLimit, "limits on processes"},
		{info.CPUCfsQuota, "CPU limits"},
	} {
		if !lack.there {
			e.Warnings = append(e.Warnings, fmt.Sprintf("The engine does not enforce %s.", lack.what))
		}
	}
	if p.podman() && p.ownsNetworks() {
		if err := p.canCutPool(c.Ctx); err != nil {
			e.Warnings = append(e.Warnings,
				fmt.Sprintf("Traffic between sessions is stopped by Podman's isolation alone, "+
					"which netavark with iptables lifts while sessions end; the daemon can't add a rule of its own (%v).",
					err))
		}
	}
	if p.podman() && !p.ownsNetworks() {
		e.Warnings = append(e.Warnings, "Podman does not stop traffic between the containers of one network.")
	}
	if p.noInit.Load() {
		e.Warnings = append(e.Warnings,
			"The engine has no init binary (Podman: the package catatonit); orphaned processes are not reaped.")
	}
	if info.OSType != "" && info.OSType != "linux" {
		e.Warnings = append(e.Warnings, fmt.Sprintf("The engine runs %s containers; sessions need linux.", info.OSType))
	}
	return e, nil
}

// Engine tells which engine was found, and how.
func (p *DockerProvider) Engine() Engine { return p.engine }
