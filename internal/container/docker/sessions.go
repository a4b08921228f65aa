package docker

import (
	"context"
	"maps"
	"sync"

	cerrdefs "github.com/containerd/errdefs"
	dockercontainer "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/octobot-run/octobot/internal/container"
)

// sessionIDs remembers which container is a session's: verified once to be this
// instance's. An engine never gives an ID twice, so an entry can become useless, never
// wrong: the engine then has no such container, and the session is looked up again.
type sessionIDs struct {
	mu sync.Mutex
	of map[string]remembered
}

// remembered is the container's ID, its origin, and the network of ours that it is on, if it is on
// one: the name is empty where sessions get none of ours.
type remembered struct{ id, origin, network string }

func (s *sessionIDs) get(session string) remembered {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.of[session]
}

func (s *sessionIDs) network(session string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.of[session].network
}

// use reports whether a session's container is known that is on the network.
func (s *sessionIDs) use(network string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.of {
		if r.network == network {
			return true
		}
	}
	return false
}

func (s *sessionIDs) put(session string, r remembered) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.of == nil {
		s.of = make(map[string]remembered)
	}
	s.of[session] = r
}

func (s *sessionIDs) drop(session, id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.of[session].id == id {
		delete(s.of, session)
	}
}

// keep forgets all but what a listing has; an entry newer than the listing is merely looked up
// again.
func (s *sessionIDs) keep(listed map[string]remembered) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.of = maps.Clone(listed)
}

// withContainer calls fn with the ID of the session's container. Where the engine has no container
// of a remembered ID, the session is looked up once more; but one of another origin is not what the
// caller has in mind, see [container.OriginReader].
func (c *call) withContainer(fn func(id string) error) error {
	known := c.p.sessions.get(c.SessionID)
	if known.id != "" {
		err := fn(known.id)
		if !isNoContainer(err) {
			return err
		}
		c.p.sessions.drop(c.SessionID, known.id)
	}
	found, err := c.inspectAfter(known)
	if err != nil {
		return err
	}
	return fn(found.Container.ID)
}

// inspect asks for the session's container by its name, and checks that it is ours, and of the
// origin that was seen last.
func (c *call) inspect() (client.ContainerInspectResult, error) {
	return c.inspectAfter(c.p.sessions.get(c.SessionID))
}

// inspectAfter is inspect where known was the session's container. Of one of another origin nothing
// is remembered: whose it is then is looked up anew.
func (c *call) inspectAfter(known remembered) (client.ContainerInspectResult, error) {
	found, err := c.p.inspect(c.Ctx, c.SessionID)
	if err != nil {
		return found, err
	}
	now := c.p.remember(c.SessionID, found.Container.ID, found.Container.Config.Labels)
	if known.id != "" && now.origin != known.origin {
		c.p.sessions.drop(c.SessionID, known.id)
		return found, container.Errorf("", "", container.ErrContainerNotFound, "another one has its name")
	}
	c.p.sessions.put(c.SessionID, now)
	return found, nil
}

func (p *DockerProvider) remember(session, id string, labels map[string]string) remembered {
	return remembered{id, labels[container.LabelOrigin], p.networkName(session, labels[container.LabelProject])}
}

func (p *DockerProvider) inspect(ctx context.Context, session string) (client.ContainerInspectResult, error) {
	found, err := p.client.ContainerInspect(ctx, container.Name(session), client.ContainerInspectOptions{})
	switch {
	case err == nil && found.Container.Config != nil && p.ownsLabels(session, found.Container.Config.Labels):
		return found, nil
	case err != nil && !isNoContainer(err):
		return found, err
	}
	id, err := p.findRenamed(ctx, session)
	if err != nil {
		return found, err
	}
	found, err = p.client.ContainerInspect(ctx, id, client.ContainerInspectOptions{})
	if err == nil && found.Container.Config == nil {
		return found, container.Errorf("", "", container.ErrUnavailable, "the engine told no labels")
	}
	return found, err
}

// findRenamed finds a session's container that somebody has given another name.
func (p *DockerProvider) findRenamed(ctx context.Context, session string) (id string, err error) {
	res, err := p.client.ContainerList(ctx, client.ContainerListOptions{
		All: true, Filters: p.ownLabels().Add("label", container.LabelSession+"="+session)})
	if err != nil {
		return "", err
	}
	inOrderOfCreation(res.Items)
	for _, item := range res.Items {
		if !p.ownsLabels(session, item.Labels) {
			continue
		}
		if ours, err := p.isOriginal(ctx, session, item); err != nil || ours {
			return item.ID, err
		}
	}
	return "", container.Errorf("", "", container.ErrContainerNotFound, "")
}

// isOriginal reports whether a container with the labels of a session of ours, and another name, is
// the session's, which one that was seen before is. Where nobody can tell, it is not.
func (p *DockerProvider) isOriginal(
	ctx context.Context, session string, item dockercontainer.Summary,
) (bool, error) {
	if item.ID == p.sessions.get(session).id {
		return true, nil
	}
	copied, known, err := p.isCopy(ctx, item)
	return known && !copied, err
}

// isCopy reports whether a container has its labels from its image, which somebody made of a
// session's container: then it is nobody's, whatever they say. It is not known where its image is
// gone.
func (p *DockerProvider) isCopy(
	ctx context.Context, item dockercontainer.Summary,
) (copied, known bool, _ error) {
	image, err := p.client.ImageInspect(ctx, item.ImageID)
	if cerrdefs.IsNotFound(err) && wordsOf(err) != "" {
		return false, false, nil
	}
	if err != nil {
		return false, false, err
	}
	inherited := ""
	if image.Config != nil {
		inherited = image.Config.Labels[labelCreate]
	}
	return inherited == item.Labels[labelCreate], true, nil
}

// Origin implements [container.OriginReader].
func (p *DockerProvider) Origin(ctx context.Context, sessionID string) (string, error) {
	c, err := p.beginCall(ctx, "origin", sessionID, nil)
	if err != nil {
		return "", err
	}
	defer c.Done()
	if known := p.sessions.get(sessionID); known.id != "" {
		return known.origin, nil
	}
	found, err := c.inspect()
	if err != nil {
		return "", c.toError(err)
	}
	return found.Container.Config.Labels[container.LabelOrigin], nil
}

func (p *DockerProvider) ownsLabels(session string, labels map[string]string) bool {
	return labels[container.LabelOctobot] == "true" &&
		labels[container.LabelInstance] == p.instance &&
		labels[container.LabelSession] == session
}

// isNoContainer: the engine answered that there is no such container.
func isNoContainer(err error) bool {
	return err != nil && cerrdefs.IsNotFound(err) && errorSays(err, saysNoContainer)
}
