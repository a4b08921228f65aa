package docker

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"

	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/keylock"
)

// Where the operator names no network, sessions get networks of ours, on which they can neither
// reach nor name what is another project's. On Docker a project has one, since Docker can keep the
// containers of one network apart. Podman can't: there each session has one, see ADR 8. A network
// is made with its first container and removed after its last.

const (
	// networkLinger is how long an unused network is kept on Docker, which takes a while to make
	// one: the project's next session may come soon.
	networkLinger = 5 * time.Second
	// sweepInterval is the least time between two looks for networks that nobody uses.
	sweepInterval = 20 * time.Second
	// maxRefusedSubnets bounds how many subnets are tried for one network.
	maxRefusedSubnets = 64
)

// networks is what is known of the networks that are ours.
type networks struct {
	turns   keylock.Locks // by name: the right to make it, or to remove it
	subnets subnets

	cutting sync.Mutex
	cut     time.Time // when the firewall was last seen to keep sessions apart; guarded by cutting

	mu    sync.Mutex
	known map[string]ownNetwork // by name
	swept time.Time
	kept  bool // nothing is swept
}

type ownNetwork struct {
	ready   bool // it was there at the last look
	joining int  // creates under way, under which it must not be removed
	leaving bool // it will be looked at, whether it is unused
}

// update changes what is known of a network. What is all zero is forgotten.
func (n *networks) update(name string, change func(*ownNetwork)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	state := n.known[name]
	change(&state)
	if state == (ownNetwork{}) {
		delete(n.known, name)
		return
	}
	if n.known == nil {
		n.known = make(map[string]ownNetwork)
	}
	n.known[name] = state
}

// networkOwner says whose a network is: its name, and the label that has to agree.
type networkOwner struct{ name, label, id string }

var plainInstance = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,31}$`)

// networkPrefix is short and safe whatever the instance's ID is. The networks' names begin with it.
func networkPrefix(instance string) string {
	if plainInstance.MatchString(instance) {
		return "octobot-" + instance
	}
	sum := sha256.Sum256([]byte(instance))
	return "octobot-" + hex.EncodeToString(sum[:6])
}

// ownsNetworks reports whether sessions that ask for no network get one of ours.
func (p *DockerProvider) ownsNetworks() bool { return p.cfg.Docker.Network == "" }

// networkOf is the network of a session that asks for none. Only for use after beginCall.
func (p *DockerProvider) networkOf(session, project string) networkOwner {
	prefix := networkPrefix(p.instance)
	switch {
	case p.podman():
		return networkOwner{prefix + "-session-" + session, container.LabelSession, session}
	case project == "":
		return networkOwner{prefix + "-sessions", container.LabelProject, ""}
	}
	return networkOwner{prefix + "-project-" + project, container.LabelProject, project}
}

// networkName is the name of the session's network, for what is remembered of it; empty where
// sessions have none of ours.
func (p *DockerProvider) networkName(session, project string) string {
	if !p.ownsNetworks() {
		return ""
	}
	return p.networkOf(session, project).name
}

// joinNetwork makes the network where it is missing, and keeps it until leave is called, by when
// the container is there or is not to be.
func (p *DockerProvider) joinNetwork(ctx context.Context, owner networkOwner) (leave func(), err error) {
	ready := false
	p.networks.update(owner.name, func(n *ownNetwork) { n.joining++; ready = n.ready })
	leave = func() { p.networks.update(owner.name, func(n *ownNetwork) { n.joining-- }) }
	if ready {
		return leave, nil
	}
	if err := p.ensureNetwork(ctx, owner, false); err != nil {
		leave()
		return nil, err
	}
	return leave, nil
}

// ensureNetwork makes the network where it is missing. With again, it looks although it was there
// before.
func (p *DockerProvider) ensureNetwork(ctx context.Context, owner networkOwner, again bool) error {
	unlock, err := p.networks.turns.Lock(ctx, owner.name)
	if err != nil {
		return err
	}
	defer unlock()
	ready := false
	p.networks.update(owner.name, func(n *ownNetwork) {
		n.ready = n.ready && !again
		ready = n.ready
	})
	if ready {
		return nil
	}
	if err := p.findOrMakeNetwork(ctx, owner); err != nil {
		return err
	}
	p.networks.update(owner.name, func(n *ownNetwork) { n.ready = true })
	return nil
}

// rejoinNetwork makes the network of a container anew that somebody has removed while the container
// did not run, as "docker network prune" does.
func (c *call) rejoinNetwork(id string) error {
	found, err := c.p.client.ContainerInspect(c.Ctx, id, client.ContainerInspectOptions{})
	if err != nil {
		return err
	}
	info := found.Container
	if info.Config == nil || info.HostConfig == nil {
		return nil
	}
	owner := c.p.networkOf(c.SessionID, info.Config.Labels[container.LabelProject])
	if string(info.HostConfig.NetworkMode) != owner.name {
		return nil
	}
	leave, err := c.p.joinNetwork(c.Ctx, owner)
	if err != nil {
		return err
	}
	defer leave()
	if err := c.p.ensureNetwork(c.Ctx, owner, true); err != nil || c.p.podman() {
		return err
	}
	// Docker remembers the ID of the one that is gone.
	_, err = c.p.client.NetworkDisconnect(c.Ctx, owner.name,
		client.NetworkDisconnectOptions{Container: id, Force: true})
	if err != nil && !isEngineAnswer(err) {
		return err
	}
	_, err = c.p.client.NetworkConnect(c.Ctx, owner.name, client.NetworkConnectOptions{Container: id})
	return err
}

func (p *DockerProvider) findOrMakeNetwork(ctx context.Context, owner networkOwner) error {
	if p.podman() { // which refuses a second one of the name, and so needs no look before
		err := p.makeNetwork(ctx, owner)
		if err == nil || !errorSays(err, saysNetworkExists) {
			return err
		}
	}
	found, err := p.findNetworks(ctx, owner.name)
	if err != nil {
		return err
	}
	if len(found) == 0 {
		createErr := p.makeNetwork(ctx, owner)
		found, err = p.findNetworks(ctx, owner.name)
		if err != nil || len(found) == 0 {
			return cmp.Or(createErr, err,
				error(container.Errorf("", "", container.ErrUnavailable, "network %s vanished", owner.name)))
		}
	}
	if !p.ownsNetwork(found[0]) || found[0].Labels[owner.label] != owner.id {
		return container.Errorf("", "", container.ErrRefused,
			"network %s belongs to somebody else; remove it, or configure another network", owner.name)
	}
	return p.keepOneNetwork(ctx, owner.name, found)
}

// ownsNetwork reports whether a network is one that this instance has made.
func (p *DockerProvider) ownsNetwork(n network.Summary) bool {
	return n.Labels[container.LabelOctobot] == "true" && n.Labels[container.LabelInstance] == p.instance &&
		strings.HasPrefix(n.Name, networkPrefix(p.instance))
}

// makeNetwork makes the network, in a subnet that is free.
func (p *DockerProvider) makeNetwork(ctx context.Context, owner networkOwner) error {
	_ = p.cutPool(ctx) // what the engine does by itself is left; Probe warns of Podman's
	s := &p.networks.subnets
	labels := map[string]string{
		container.LabelOctobot: "true", container.LabelInstance: p.instance, owner.label: owner.id,
	}
	for refused := 0; ; refused++ {
		subnet, err := p.takeSubnet(ctx, refused > 0)
		if err != nil {
			return err
		}
		if p.podman() {
			err = p.createPodmanNetwork(ctx, owner.name, subnet, labels)
		} else {
			_, err = p.client.NetworkCreate(ctx, owner.name, client.NetworkCreateOptions{
				Driver: "bridge", Labels: labels,
				Options: map[string]string{"com.docker.network.bridge.enable_icc": "false"},
				IPAM:    &network.IPAM{Config: []network.IPAMConfig{{Subnet: subnet}}},
			})
		}
		if err == nil {
			s.keep(subnet)
			return nil
		}
		if !errorSays(err, saysSubnetTaken) || refused == maxRefusedSubnets {
			s.giveBack(subnet)
			return err
		}
		defer s.giveBack(subnet) // not before another is found
	}
}

// createPodmanNetwork goes past the Docker API, whose networks on Podman have a name server: it
// tells every container that asks it, from whichever network, who else is there. isolate keeps the
// containers of such networks from each other.
func (p *DockerProvider) createPodmanNetwork(
	ctx context.Context, name string, subnet netip.Prefix, labels map[string]string,
) error {
	return p.post(ctx, p.libpodURL("/networks/create"), map[string]any{
		"name": name, "driver": "bridge", "labels": labels, "dns_enabled": false,
		"options": map[string]string{"isolate": "true"},
		"subnets": []map[string]string{{"subnet": subnet.String()}},
	})
}

// takeSubnet gives a subnet that overlaps no network of the engine and no route of this host, where
// the engine is. With again, the engine is asked although it was before.
func (p *DockerProvider) takeSubnet(ctx context.Context, again bool) (netip.Prefix, error) {
	s := &p.networks.subnets
	for ; ; again = true {
		if again || !s.isListed() {
			used, err := p.usedSubnets(ctx)
			if err != nil {
				return netip.Prefix{}, err
			}
			s.setUsed(used)
		}
		if subnet, ok := s.take(p.subnetBits(), p.routes()); ok {
			return subnet, nil
		}
		if again {
			return netip.Prefix{}, container.Errorf("", "", container.ErrLimitReached,
				"no subnet for a network is left in %s; remove sessions, or set a larger docker.network_pool", s.pool)
		}
	}
}

func (p *DockerProvider) subnetBits() int {
	if p.podman() {
		return sessionBits
	}
	return projectBits
}

// routes are those that a subnet must not hide: of this host, where the engine is on it.
func (p *DockerProvider) routes() []netip.Prefix {
	if !strings.HasPrefix(p.engine.Host, "unix://") {
		return nil
	}
	return hostRoutes()
}

// usedSubnets gives those of all the engine's networks.
func (p *DockerProvider) usedSubnets(ctx context.Context) ([]netip.Prefix, error) {
	list, err := p.client.NetworkList(ctx, client.NetworkListOptions{})
	if err != nil {
		return nil, err
	}
	var used []netip.Prefix
	for _, n := range list.Items {
		for _, c := range n.IPAM.Config {
			if c.Subnet.IsValid() && c.Subnet.Addr().Is4() {
				used = append(used, c.Subnet.Masked())
			}
		}
	}
	return used, nil
}

// NetworkPool tells how many subnets the sessions' networks can have, and how many of them are
// free; zero of zero where the operator has named a network.
func (p *DockerProvider) NetworkPool(ctx context.Context) (free, total uint64, err error) {
	if !p.ownsNetworks() {
		return 0, 0, nil
	}
	c, err := p.beginEngineCall(ctx, "network pool")
	if err != nil {
		return 0, 0, err
	}
	defer c.Done()
	used, err := p.usedSubnets(c.Ctx)
	if err != nil {
		return 0, 0, c.toError(err)
	}
	free, total = count(p.networks.subnets.pool, p.subnetBits(), append(used, p.routes()...))
	return free, total, nil
}

// leaveNetwork has the network removed if nothing is on it any more, soon. It is for use during a
// call.
func (p *DockerProvider) leaveNetwork(name string) {
	first := false
	p.networks.update(name, func(n *ownNetwork) {
		first = !n.leaving
		n.leaving = true
	})
	if !first {
		return
	}
	p.calls.Go(func() {
		if !p.podman() {
			linger := time.NewTimer(networkLinger)
			defer linger.Stop()
			select {
			case <-linger.C:
			case <-p.calls.Life().Done():
			}
		}
		p.networks.update(name, func(n *ownNetwork) { n.leaving = false })
		if p.sessions.use(name) {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), settleTimeout)
		defer cancel()
		_ = p.removeUnused(ctx, name) // a sweep looks again
	})
}

// removeUnused removes our networks of that name that no container is on, running or not.
func (p *DockerProvider) removeUnused(ctx context.Context, name string) error {
	unlock, err := p.networks.turns.Lock(ctx, name)
	if err != nil {
		return err
	}
	defer unlock()
	wasReady, joining := false, false
	p.networks.update(name, func(n *ownNetwork) {
		wasReady, joining = n.ready, n.joining > 0
		n.ready = n.ready && joining
	})
	if joining {
		return nil
	}
	found, err := p.findNetworks(ctx, name)
	if err != nil {
		return err
	}
	for _, n := range found {
		removed, err := p.removeIfUnused(ctx, n)
		if err != nil {
			return err
		}
		if !removed {
			p.networks.update(name, func(n *ownNetwork) { n.ready = wasReady })
		}
	}
	return nil
}

func (p *DockerProvider) removeIfUnused(ctx context.Context, n network.Summary) (removed bool, err error) {
	if !p.ownsNetwork(n) {
		return false, nil
	}
	// A container that does not run has no address on it, and needs it to start.
	on, err := p.client.ContainerList(ctx, client.ContainerListOptions{All: true,
		Filters: make(client.Filters).Add("network", n.Name, n.ID)})
	if err != nil || len(on.Items) > 0 {
		return false, err
	}
	_, err = p.client.NetworkRemove(ctx, n.ID, client.NetworkRemoveOptions{})
	if err != nil && !cerrdefs.IsNotFound(err) {
		if isEngineAnswer(err) {
			return false, nil // something is on it
		}
		return false, err
	}
	for _, c := range n.IPAM.Config {
		p.networks.subnets.giveBack(c.Subnet.Masked())
	}
	return true, nil
}

// KeepNetworks makes List leave networks alone that nothing uses: for who only looks at an
// instance, which may be another process's.
func (p *DockerProvider) KeepNetworks() {
	p.networks.mu.Lock()
	defer p.networks.mu.Unlock()
	p.networks.kept = true
}

// sweepNetworks has our networks removed that nothing uses: what a process left that was killed,
// the one that all sessions shared before each project had its own, and all of them where the
// operator has named another since. listed are the networks of the containers that there are. It is
// for use during a call.
func (p *DockerProvider) sweepNetworks(listed map[string]bool) {
	p.networks.mu.Lock()
	due := !p.networks.kept && time.Since(p.networks.swept) > sweepInterval
	if due {
		p.networks.swept = time.Now()
	}
	p.networks.mu.Unlock()
	if !due {
		return
	}
	p.calls.Go(func() {
		ctx, cancel := context.WithTimeout(p.calls.Life(), settleTimeout)
		defer cancel()
		list, err := p.client.NetworkList(ctx, client.NetworkListOptions{Filters: p.ownLabels()})
		if err != nil {
			return // the next sweep looks again
		}
		for _, n := range list.Items {
			if !listed[n.Name] && p.removeUnused(ctx, n.Name) != nil {
				return
			}
		}
	})
}

// modeWords are modes of the engines that name no network: "default" is the engine's own bridge, as
// "bridge" and "private" are on Podman. Those in which a process of the host connects for the
// container, "slirp4netns" and "pasta", are refused: the host reaches every session.
var modeWords = []string{"default", "bridge", "private"}

// checkNetwork refuses a network that a session names and that is some session's own. Engines take
// the beginning of an ID for a name, so only what is a network's whole name passes.
func (p *DockerProvider) checkNetwork(ctx context.Context, name string) error {
	problem := ""
	found, err := p.client.NetworkInspect(ctx, name, client.NetworkInspectOptions{})
	switch n := found.Network; {
	case err != nil && !cerrdefs.IsNotFound(err):
		return err
	case err != nil && slices.Contains(modeWords, name):
	case err != nil || n.Name != name && n.ID != name:
		problem = "the engine has no network %q"
	case n.Labels[container.LabelOctobot] == "true":
		problem = "%q is a network that Octobot has made for other sessions"
	}
	if problem == "" {
		return nil
	}
	return &container.FieldError{Field: "network_mode", Problem: fmt.Sprintf(problem, name)}
}

// keepOneNetwork removes all but one of the networks of that name. Engines before 25 let processes
// that make it at the same time all succeed, and one that is killed while the engine makes it
// leaves a second one to the next; no container can join by a name that stands for two. Everybody
// agrees on the oldest, or on one that containers are on already, which the engine refuses to
// remove.
func (p *DockerProvider) keepOneNetwork(ctx context.Context, name string, found []network.Summary) error {
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
		return container.Errorf("", "", container.ErrRefused,
			"%d networks are named %s, and containers are on each; remove all but one", left, name)
	}
	return nil
}

// findNetworks gives the networks of a name, the oldest first.
func (p *DockerProvider) findNetworks(ctx context.Context, name string) ([]network.Summary, error) {
	// The filter matches parts of names too.
	list, err := p.client.NetworkList(ctx, client.NetworkListOptions{Filters: make(client.Filters).Add("name", name)})
	if err != nil {
		return nil, err
	}
	found := slices.DeleteFunc(list.Items, func(n network.Summary) bool { return n.Name != name })
	slices.SortFunc(found, func(a, b network.Summary) int {
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID))
	})
	return found, nil
}
