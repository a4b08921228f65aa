package docker

import (
	"context"
	"maps"
	"sync"

	cerrdefs "github.com/containerd/errdefs"
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

// remembered is the container's ID, and the network of ours that it is on, if it is on one: the
// name is empty where sessions get none of ours.
type remembered struct{ id, network string }

func (s *sessionIDs) get(session string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.of[session].id
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

// withContainer calls fn with the ID of the session's container. Where the engine has
// no container of a remembered ID, the session is looked up once more.
func (c *call) withContainer(fn func(id string) error) error {
	if id := c.p.sessions.get(c.SessionID); id != "" {
		err := fn(id)
		if !isNoContainer(err) {
			return err
		}
		c.p.sessions.drop(c.SessionID, id)
	}
	found, err := c.inspect()
	if err != nil {
		return err
	}
	return fn(found.Container.ID)
}

// inspect asks for the session's container by its name, and checks that it is ours.
func (c *call) inspect() (client.ContainerInspectResult, error) {
	found, err := c.p.inspect(c.Ctx, c.SessionID)
	if err == nil {
		c.p.sessions.put(c.SessionID, remembered{found.Container.ID,
			c.p.networkName(c.SessionID, found.Container.Config.Labels[container.LabelProject])})
	}
	return found, err
}

func (p *DockerProvider) inspect(ctx context.Context, session string) (client.ContainerInspectResult, error) {
	found, err := p.client.ContainerInspect(ctx, container.Name(session), client.ContainerInspectOptions{})
	if err != nil {
		return found, err
	}
	if found.Container.Config == nil || !p.ownsLabels(session, found.Container.Config.Labels) {
		return found, container.Errorf("", "", container.ErrContainerNotFound, "")
	}
	return found, nil
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
