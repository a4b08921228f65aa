package docker

import (
	"encoding/json"
	"maps"
	"net"
	"strings"
	"time"

	dockercontainer "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/container/provider"
)

// Podman picks the host's port for one that is published at random when it makes the container, and
// keeps none free for the start: by then anybody may have it. The caller asked for any port, so a
// container that has never run is made anew, with another. For that it carries what it was made
// from.

// labelSpec holds the request that made the container, as JSON.
const labelSpec = container.LabelPrefix + ".spec"

const (
	// maxRemakes bounds how many ports are tried.
	maxRemakes = 5
	// leakWait is how long a port that Podman itself holds is waited for: where it refuses a start
	// for one port, it leaves open the others that it has bound until its garbage is collected.
	leakWait = 15 * time.Second
)

// withSpec adds labelSpec to a request with ports at random.
func withSpec(spec client.ContainerCreateOptions) (client.ContainerCreateOptions, error) {
	if !picksPorts(spec.HostConfig) {
		return spec, nil
	}
	text, err := json.Marshal(spec)
	if err != nil {
		return spec, err
	}
	config := *spec.Config
	config.Labels = maps.Clone(config.Labels)
	config.Labels[labelSpec] = string(text)
	spec.Config = &config
	return spec, nil
}

func picksPorts(host *dockercontainer.HostConfig) bool {
	for _, bindings := range host.PortBindings {
		for _, b := range bindings {
			if b.HostPort == "" {
				return true
			}
		}
	}
	return false
}

// asksFor reports whether the engine's refusal is about a host port that the request names.
func asksFor(host *dockercontainer.HostConfig, refusal error) bool {
	if !errorSays(refusal, saysPortTaken) {
		return false
	}
	for _, bindings := range host.PortBindings {
		for _, b := range bindings {
			address := net.JoinHostPort(b.HostIP.String(), b.HostPort)
			if b.HostPort != "" && strings.Contains(refusal.Error(), address+":") {
				return true
			}
		}
	}
	return false
}

// startRemade starts a container that was made anew after the engine's refusal to start it.
func (c *call) startRemade(id string, refusal error) error {
	for tries := 0; errorSays(refusal, saysPortTaken) && tries < maxRemakes; tries++ {
		remade, host, err := c.remake(id, refusal)
		if err != nil {
			return err
		}
		id = remade
		started := time.Now()
		try := func() (done bool, err error) {
			refusal = c.startOnce(id)
			return refusal == nil || !asksFor(host, refusal) || time.Since(started) > leakWait, nil
		}
		err = provider.Poll(c.Ctx, "a port that Podman still holds", 100*time.Millisecond, 100*time.Millisecond, try)
		if err != nil {
			return err
		}
		if refusal == nil {
			return c.checkCommand(id)
		}
	}
	return refusal
}

// remake makes the container of that ID anew where a port that Podman had picked is taken, and
// returns the new one's ID and what was asked for; otherwise it returns the refusal of the start.
func (c *call) remake(id string, refusal error) (string, *dockercontainer.HostConfig, error) {
	if !c.p.podman() {
		return "", nil, refusal
	}
	found, err := c.p.client.ContainerInspect(c.Ctx, id, client.ContainerInspectOptions{})
	if err != nil {
		return "", nil, err
	}
	var spec client.ContainerCreateOptions
	if found.Container.Config == nil || found.Container.State == nil ||
		json.Unmarshal([]byte(found.Container.Config.Labels[labelSpec]), &spec) != nil ||
		spec.Config == nil || spec.HostConfig == nil || asksFor(spec.HostConfig, refusal) {
		return "", nil, refusal
	}
	if status(found.Container.State.Status) != container.StatusCreated {
		return "", nil, container.Errorf("", "", container.ErrPortTaken,
			"Podman picked a host port when it made the container, and something else has it now; "+
				"start it again when it is free: %s", engineText(refusal))
	}
	if spec, err = withSpec(spec); err != nil {
		return "", nil, err
	}
	if err := c.remove(id); err != nil {
		return "", nil, err
	}
	// From here on there is no container, so the caller's going must not end it.
	ctx, cancel := cleanupContext(c.Ctx)
	defer cancel()
	alone := *c.Call
	alone.Ctx = ctx
	if id, err = (&call{Call: &alone, p: c.p}).create(spec); err != nil {
		return "", nil, err
	}
	c.p.sessions.put(c.SessionID, c.p.remember(c.SessionID, id, spec.Config.Labels))
	return id, spec.HostConfig, nil
}
