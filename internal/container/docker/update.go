package docker

import (
	"context"

	cerrdefs "github.com/containerd/errdefs"
	dockercontainer "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/octobot-run/octobot/internal/container"
)

// Update changes the container's limits.
func (p *DockerProvider) Update(ctx context.Context, sessionID string, limits container.Resources) error {
	c, err := p.beginCall(ctx, "update", sessionID, limits.Validate)
	if err != nil {
		return err
	}
	defer c.Done()
	done, err := c.takeTurn()
	if err != nil {
		return c.toError(err)
	}
	defer done()
	return c.toError(c.withContainer(func(id string) error { return c.update(id, limits) }))
}

func (c *call) update(id string, limits container.Resources) error {
	want := dockercontainer.Resources{
		NanoCPUs: int64(limits.CPUs * 1e9), Memory: limits.Memory, MemorySwap: limits.Memory,
	}
	if limits.PIDs != 0 {
		want.PidsLimit = &limits.PIDs
	}
	_, err := c.p.client.ContainerUpdate(c.Ctx, id, client.ContainerUpdateOptions{Resources: &want})
	switch {
	case err == nil || isNoContainer(err) || !isEngineAnswer(err):
		return err
	case cerrdefs.IsNotFound(err): // Podman 4.3's Docker API has no such route
		return container.Errorf("", "", container.ErrUnsupported,
			"this engine does not change the limits of a container that there is; create the session with others")
	case errorSays(err, saysInUse):
		return container.Errorf("", "", container.ErrInvalidArgument,
			"resources.memory: the session uses more than that now: %s", engineText(err))
	}
	return err
}
