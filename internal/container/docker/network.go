package docker

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"slices"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"

	"github.com/octobot-run/octobot/internal/container"
)

// ownNetwork is the instance's network. Whether it is there is asked once, and again
// when the engine says that it is not.
type ownNetwork struct {
	name  string
	turn  chan struct{} // holds one token: the right to make it
	ready bool          // guarded by turn
}

var plainInstance = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,31}$`)

// networkName is short and safe whatever the instance's ID is.
func networkName(instance string) string {
	if plainInstance.MatchString(instance) {
		return "octobot-" + instance
	}
	sum := sha256.Sum256([]byte(instance))
	return "octobot-" + hex.EncodeToString(sum[:6])
}

// ensureNetwork makes the instance's network where it is missing. With again, it looks
// although it was there before.
func (p *DockerProvider) ensureNetwork(ctx context.Context, again bool) error {
	select {
	case p.network.turn <- struct{}{}:
		defer func() { <-p.network.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if p.network.ready && !again {
		return nil
	}
	p.network.ready = false
	found, err := p.findNetworks(ctx)
	if err != nil {
		return err
	}
	if len(found) == 0 {
		if found, err = p.makeNetwork(ctx); err != nil {
			return err
		}
	}
	if found[0].Labels[container.LabelInstance] != p.instance {
		return container.Errorf("", "", container.ErrUnavailable,
			"network %s belongs to somebody else; remove it, or configure another network", p.network.name)
	}
	if err := p.keepOneNetwork(ctx, found); err != nil {
		return err
	}
	p.network.ready = true
	return nil
}

func (p *DockerProvider) makeNetwork(ctx context.Context) ([]network.Summary, error) {
	opts := client.NetworkCreateOptions{
		Driver: "bridge",
		Labels: map[string]string{container.LabelOctobot: "true", container.LabelInstance: p.instance},
	}
	if !p.podman() { // which has nothing like it
		opts.Options = map[string]string{"com.docker.network.bridge.enable_icc": "false"}
	}
	_, createErr := p.client.NetworkCreate(ctx, p.network.name, opts)
	found, err := p.findNetworks(ctx)
	if err != nil || len(found) == 0 {
		return nil, cmp.Or(createErr, err,
			error(container.Errorf("", "", container.ErrUnavailable, "network %s vanished", p.network.name)))
	}
	return found, nil
}

// keepOneNetwork removes all but one of the networks of our name. Engines before 25 let processes
// that make it at the same time all succeed, and one that is killed while the engine makes it
// leaves a second one to the next; no container can join by a name that stands for two. Everybody
// agrees on the oldest, or on one that containers are on already, which the engine refuses to
// remove.
func (p *DockerProvider) keepOneNetwork(ctx context.Context, found []network.Summary) error {
	left := len(found)
	for _, n := range slices.Backward(found) {
		if left == 1 {
			return nil
		}
		if n.Labels[container.LabelInstance] != p.instance {
			continue
		}
		_, err := p.client.NetworkRemove(ctx, n.ID, client.NetworkRemoveOptions{})
		switch {
		case err == nil, cerrdefs.IsNotFound(err):
			left--
		case !cerrdefs.IsPermissionDenied(err) && !cerrdefs.IsConflict(err):
			return err
		}
	}
	if left > 1 {
		return container.Errorf("", "", container.ErrUnavailable,
			"%d networks are named %s, and containers are on each; remove all but one", left, p.network.name)
	}
	return nil
}

// findNetworks gives the networks of our name, the oldest first.
func (p *DockerProvider) findNetworks(ctx context.Context) ([]network.Summary, error) {
	// The filter matches parts of names too.
	list, err := p.client.NetworkList(ctx,
		client.NetworkListOptions{Filters: make(client.Filters).Add("name", p.network.name)})
	if err != nil {
		return nil, err
	}
	found := slices.DeleteFunc(list.Items, func(n network.Summary) bool { return n.Name != p.network.name })
	slices.SortFunc(found, func(a, b network.Summary) int {
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID))
	})
	return found, nil
}
