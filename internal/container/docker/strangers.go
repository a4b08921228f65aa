package docker

import (
	"context"

	"github.com/moby/moby/client"

	"github.com/octobot-run/octobot/internal/container"
)

// ListStrangers implements [container.StrangerKeeper].
func (p *DockerProvider) ListStrangers(ctx context.Context) ([]*container.Container, error) {
	c, err := p.beginEngineCall(ctx, "list strangers")
	if err != nil {
		return nil, err
	}
	defer c.Done()
	res, err := p.client.ContainerList(c.Ctx, client.ContainerListOptions{
		All: true, Filters: make(client.Filters).Add("label", container.LabelOctobot+"=true")})
	if err != nil {
		return nil, c.toError(err)
	}
	inOrderOfCreation(res.Items)
	var list []*container.Container
	for _, item := range res.Items {
		if !p.isStranger(item.Labels) {
			continue
		}
		copied, _, err := p.isCopy(c.Ctx, item)
		if err != nil {
			return nil, c.toError(err)
		}
		if !copied { // as far as is known
			list = append(list, fromSummary(item.Labels[container.LabelSession], item))
		}
	}
	return list, nil
}

// isStranger reports whether labels are those of another instance's session.
func (p *DockerProvider) isStranger(labels map[string]string) bool {
	instance := labels[container.LabelInstance]
	return labels[container.LabelOctobot] == "true" && instance != "" && instance != p.instance &&
		labels[container.LabelSession] != ""
}

// RemoveStranger implements [container.StrangerKeeper].
func (p *DockerProvider) RemoveStranger(ctx context.Context, instance, containerID string) error {
	c, err := p.beginEngineCall(ctx, "remove stranger")
	if err != nil {
		return err
	}
	defer c.Done()
	return c.toError(c.removeStranger(instance, containerID))
}

func (c *call) removeStranger(instance, containerID string) error {
	res, err := c.p.client.ContainerList(c.Ctx, client.ContainerListOptions{
		All: true, Filters: make(client.Filters).Add("id", containerID)})
	if err != nil {
		return err
	}
	for _, item := range res.Items {
		if item.ID != containerID || !c.p.isStranger(item.Labels) || item.Labels[container.LabelInstance] != instance {
			continue
		}
		copied, known, err := c.p.isCopy(c.Ctx, item)
		switch {
		case err != nil:
			return err
		case !known:
			return container.Errorf("", "", container.ErrContainerNotFound,
				"its image is gone, which could tell it from a copy; remove it by the engine's own means")
		case copied:
			return container.Errorf("", "", container.ErrContainerNotFound, "it is a copy")
		}
		if err := c.remove(item.ID); err != nil {
			return err
		}
		c.leaveStrangersNetworks(instance)
		return nil
	}
	return container.Errorf("", "", container.ErrContainerNotFound, "")
}

// leaveStrangersNetworks removes the networks of another instance that nothing is on any more. The
// engine refuses the others.
func (c *call) leaveStrangersNetworks(instance string) {
	list, err := c.p.client.NetworkList(c.Ctx, client.NetworkListOptions{Filters: make(client.Filters).
		Add("label", container.LabelOctobot+"=true", container.LabelInstance+"="+instance)})
	if err != nil {
		return // they are in nobody's way
	}
	for _, n := range list.Items {
		if n.Labels[container.LabelOctobot] == "true" && n.Labels[container.LabelInstance] == instance {
			_, _ = c.p.client.NetworkRemove(c.Ctx, n.ID, client.NetworkRemoveOptions{})
		}
	}
}

// explainTaken says what has the name of the session's container, which can't be made.
func (c *call) explainTaken(refusal error) error {
	found, err := c.p.client.ContainerInspect(c.Ctx, container.Name(c.SessionID), client.ContainerInspectOptions{})
	if err != nil || found.Container.Config == nil {
		return refusal
	}
	holder := fromInspect(c.SessionID, found.Container)
	return container.NameTaken(c.p.instance, holder)
}
