package docker

import (
	"context"
	"encoding/json"
	"maps"
	"net"
	"strings"

	dockercontainer "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/octobot-run/octobot/internal/container"
)

// Podman picks the host's port for one that is published at random when it makes the container, and
// keeps none free for the start: by then anybody may have it. The caller asked for any port, so a
// container that has never run is made anew, with another. For that it carries what it was made
// from.

// labelSpec holds the request that made the container, as JSON.
const labelSpec = container.LabelPrefix + ".spec"

// maxRemakes bounds how many ports are tried.
const maxRemakes = 5

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

// asksFor tells whether the request names a host port that the engine's refusal is about.
func asksFor(host *dockercontainer.HostConfig, refusal error) bool {
	for _, bindings := range host.PortBindings {
		for _, b := range bindings {
			if b.HostPort != "" && strings.Contains(refusal.Error(),
				net.JoinHostPort(b.HostIP.String(), b.HostPort)+":") {
				return true
			}
		}
	}
	return false
}

// remake makes the container of that ID anew where a port that Podman had picked is taken, and
// returns the new one's ID; otherwise it returns the refusal of the start.
func (c *call) remake(id string, refusal error) (string, error) {
	if !c.p.podman() {
		return "", refusal
	}
	found, err := c.p.client.ContainerInspect(c.ctx, id, client.ContainerInspectOptions{})
	if err != nil {
		return "", err
	}
	var spec client.ContainerCreateOptions
	if found.Container.Config == nil || found.Container.State == nil ||
		json.Unmarshal([]byte(found.Container.Config.Labels[labelSpec]), &spec) != nil ||
		asksFor(spec.HostConfig, refusal) {
		return "", refusal
	}
	if status(found.Container.State.Status) != container.StatusCreated {
		return "", container.Errorf("", "", container.ErrPortTaken,
			"Podman picked a host port when it made the container, and something else has it now; start it again when it is free: %s", engineText(refusal))
	}
	if spec, err = withSpec(spec); err != nil {
		return "", err
	}
	if err := c.remove(id); err != nil {
		return "", err
	}
	// From here on there is no container, so the caller's going must not end it.
	alone := *c
	var cancel context.CancelFunc
	alone.ctx, cancel = cleanupContext(c.ctx)
	defer cancel()
	if id, err = alone.create(spec); err != nil {
		return "", err
	}
	c.p.sessions.put(c.session, id)
	return id, nil
}
