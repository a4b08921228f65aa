package docker

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"strconv"
	"strings"
	"time"

	dockercontainer "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/container/provider"
)

const (
	// createTimeout bounds one create call to the engine, whose answer is awaited
	// even after the caller has gone: without it nobody would know what to undo.
	createTimeout = 2 * time.Minute
	// undoWait is how long a cancelled Create waits for its undoing before it leaves
	// that to the background.
	undoWait = 5 * time.Second
	// undoFor is how long an engine that went away during a create is asked for what it made.
	undoFor = 30 * time.Second
)

// labelCreate tells the containers of one create request from those of another, so that one whose
// answer was lost is undone, and nothing else. Its values sort by time, finer than the whole
// seconds of the engines' listings.
const labelCreate = container.LabelPrefix + ".create"

const (
	defaultPIDs     = 4096
	defaultLogSize  = 10 << 20
	defaultLogFiles = 3
)

// capabilities are what root has in a container; see the package's documentation.
var capabilities = []string{
	"CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "NET_BIND_SERVICE",
	"SETFCAP", "SETGID", "SETUID", "SYS_CHROOT",
}

// Create makes the session's container. The hot path is one call to the engine: what may be
// missing (image, network, init) is looked after when the engine says so.
func (p *DockerProvider) Create(
	ctx context.Context, sessionID string, opts container.Options,
) (made *container.Container, err error) {
	c, err := p.beginCall(ctx, "create", sessionID, opts.Validate)
	if err != nil {
		return nil, err
	}
	defer c.Done()
	// A pull may take as long as it likes, while the engine is there.
	c, stop := c.watched()
	defer stop()
	if err := c.checkRenamed(); err != nil {
		return nil, c.toError(err)
	}
	owner := p.networkOf(sessionID, opts.ProjectID)
	spec, err := p.createRequest(sessionID, opts, cmp.Or(opts.NetworkMode, p.cfg.Docker.Network, owner.name))
	if err != nil {
		return nil, c.toError(err)
	}
	if err := c.checkRuntime(spec.HostConfig.Runtime); err != nil {
		return nil, c.toError(err)
	}
	ours := opts.NetworkMode == "" && p.ownsNetworks()
	switch {
	case ours:
		leave, err := p.joinNetwork(c.Ctx, owner)
		if err != nil {
			return nil, c.toError(err)
		}
		defer func() {
			leave()
			if made == nil {
				p.leaveNetwork(owner.name)
			}
		}()
	case opts.NetworkMode != "" && opts.NetworkMode != container.NetworkNone &&
		opts.NetworkMode != p.cfg.Docker.Network:
		if err := p.checkNetwork(c.Ctx, opts.NetworkMode); err != nil {
			return nil, c.toError(err)
		}
	}
	if err := c.placeProgram(&spec, opts); err != nil {
		if refused, ok := errors.AsType[*pullRefused](err); ok {
			return nil, refused.error
		}
		return nil, c.toError(err)
	}
	if p.podman() {
		if spec, err = withSpec(spec); err != nil {
			return nil, c.toError(err)
		}
	}
	id, err := c.createFor(opts, spec)
	// Each remedy is tried once.
	for pulled, joined := false, false; err != nil; {
		switch {
		case !pulled && lacksImage(err):
			pulled, err = true, c.pullFor(opts, err)
		case !joined && ours && isNoNetwork(err):
			joined, err = true, p.ensureNetwork(c.Ctx, owner, true)
		case spec.HostConfig.Init != nil && errorSays(err, saysNoInit):
			p.noInit.Store(true)
			spec.HostConfig.Init, err = nil, nil
		case classify(err) == container.ErrContainerExists:
			return nil, c.toError(c.explainTaken(err))
		default:
			return nil, c.toError(err)
		}
		if refused, ok := errors.AsType[*pullRefused](err); ok {
			return nil, refused.error
		}
		if err == nil {
			id, err = c.createFor(opts, spec)
		}
	}
	p.sessions.put(sessionID, p.remember(sessionID, id, spec.Config.Labels))
	return &container.Container{
		ID:        id,
		SessionID: sessionID,
		Status:    container.StatusCreated,
		Labels:    publicLabels(spec.Config.Labels),
		CreatedAt: time.Now(),
		Image:     opts.Image,
		Detailed:  true,
		Tty:       opts.Tty,
	}, nil
}

// checkRenamed refuses where the session has a container that is known, whose name somebody has
// changed: the engine would make another one beside it.
func (c *call) checkRenamed() error {
	known := c.p.sessions.get(c.SessionID)
	if known.id == "" {
		return nil
	}
	found, err := c.p.client.ContainerInspect(c.Ctx, known.id, client.ContainerInspectOptions{})
	switch {
	case err == nil:
		return container.NameTaken(c.p.instance, fromInspect(c.SessionID, found.Container))
	case !isNoContainer(err):
		return err
	}
	c.p.sessions.drop(c.SessionID, known.id)
	return nil
}

// checkRuntime refuses what Podman's Docker API would not heed: it runs all containers with one OCI
// runtime.
func (c *call) checkRuntime(name string) error {
	if name == "" || !c.p.podman() {
		return nil
	}
	found, err := c.p.client.Info(c.Ctx, client.InfoOptions{})
	if err != nil || found.Info.DefaultRuntime == name {
		return err
	}
	return &container.FieldError{Field: "runtime",
		Problem: fmt.Sprintf("%q: Podman runs all containers with %q", name, found.Info.DefaultRuntime)}
}

// create asks the engine for the container. The request does not end with the caller: an engine
// that has been asked may create although nobody listens any more. Where the caller goes, what was
// made is removed, in the background if it takes longer than undoWait.
func (c *call) create(spec client.ContainerCreateOptions) (string, error) {
	type answer struct {
		id  string
		err error
	}
	spec = markAttempt(spec)
	answers := make(chan answer)
	undone := make(chan struct{})
	c.p.calls.Go(func() {
		defer close(undone)
		ctx, cancel := context.WithTimeout(context.WithoutCancel(c.Ctx), createTimeout)
		defer cancel()
		res, err := c.p.client.ContainerCreate(ctx, spec)
		select {
		case answers <- answer{res.ID, err}:
			if err != nil {
				c.p.undoCreate("", err, spec)
			}
		case <-c.Ctx.Done():
			c.p.undoCreate(res.ID, err, spec)
		}
	})
	select {
	case a := <-answers:
		return a.id, a.err
	case <-c.Ctx.Done():
	}
	select {
	case <-undone:
	case <-time.After(undoWait):
	}
	return "", c.Ctx.Err()
}

// markAttempt marks what one request makes.
func markAttempt(spec client.ContainerCreateOptions) client.ContainerCreateOptions {
	marked := *spec.Config
	marked.Labels = maps.Clone(spec.Config.Labels)
	marked.Labels[labelCreate] = fmt.Sprintf("%016x-%s", time.Now().UnixNano(), rand.Text())
	spec.Config = &marked
	return spec
}

// undoCreate removes what a create made that its caller does not get, until the
// engine has answered.
func (p *DockerProvider) undoCreate(id string, createErr error, spec client.ContainerCreateOptions) {
	if createErr != nil && (madeNothing(createErr) || errorSays(createErr, saysNoInit)) {
		return // the engine has said why
	}
	deadline := time.Now().Add(undoFor)
	// Close waits for this: after it has begun, there is one last attempt.
	_ = provider.Poll(p.calls.Life(), "the engine to undo a create", 50*time.Millisecond, 2*time.Second,
		func() (done bool, err error) {
			ctx, cancel := context.WithTimeout(context.Background(), settleTimeout)
			defer cancel()
			return p.removeMade(ctx, id, spec) || time.Now().After(deadline), nil
		})
}

// removeMade removes the container of that ID, or of that create call where the ID is not
// known, and reports whether there is none any more.
func (p *DockerProvider) removeMade(ctx context.Context, id string, spec client.ContainerCreateOptions) bool {
	if id == "" {
		found, err := p.client.ContainerInspect(ctx, spec.Name, client.ContainerInspectOptions{})
		if err != nil {
			return isNoContainer(err)
		}
		if found.Container.Config == nil ||
			found.Container.Config.Labels[labelCreate] != spec.Config.Labels[labelCreate] {
			return true
		}
		id = found.Container.ID
	}
	_, err := p.client.ContainerRemove(ctx, id, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
	return err == nil || isNoContainer(err)
}

// createRequest turns options into what the engine is asked for.
func (p *DockerProvider) createRequest(
	sessionID string, opts container.Options, networkMode string,
) (client.ContainerCreateOptions, error) {
	labels := container.Labels(p.instance, sessionID, opts)
	exposed, bindings, err := p.ports(opts)
	if err != nil {
		return client.ContainerCreateOptions{}, err
	}
	binds := make([]string, len(opts.Binds))
	for i, s := range opts.Binds {
		b, err := container.ParseBind(s)
		if err != nil {
			return client.ContainerCreateOptions{}, err
		}
		binds[i] = b.String()
	}
	host := &dockercontainer.HostConfig{
		Binds:          binds,
		NetworkMode:    dockercontainer.NetworkMode(networkMode),
		PortBindings:   bindings,
		CapDrop:        []string{"ALL"},
		CapAdd:         capabilities,
		SecurityOpt:    []string{"no-new-privileges"},
		ReadonlyRootfs: opts.ReadOnly,
		Tmpfs:          opts.Tmpfs,
		Runtime:        cmp.Or(opts.Runtime, p.cfg.Defaults.Runtime),
		LogConfig:      p.logConfig(),
		Resources:      p.resources(opts.Resources),
	}
	if !p.noInit.Load() {
		host.Init = new(true)
	}
	return client.ContainerCreateOptions{
		Name: container.Name(sessionID),
		Config: &dockercontainer.Config{
			Image:        opts.Image,
			Cmd:          opts.Cmd,
			Env:          opts.Env,
			Labels:       labels,
			ExposedPorts: exposed,
			Tty:          opts.Tty,
			OpenStdin:    true,
			WorkingDir:   opts.WorkingDir,
			User:         opts.User,
		},
		HostConfig: host,
		Platform:   platform(opts.Platform),
	}, nil
}

func (p *DockerProvider) ports(opts container.Options) (network.PortSet, network.PortMap, error) {
	wanted, err := opts.Ports()
	if err != nil {
		return nil, nil, err
	}
	exposed, bindings := make(network.PortSet), make(network.PortMap)
	for name, hostPorts := range wanted {
		port, err := network.ParsePort(name)
		if err != nil {
			return nil, nil, fmt.Errorf("%w: %v", container.ErrInvalidArgument, err)
		}
		exposed[port] = struct{}{}
		for _, hostPort := range hostPorts {
			binding := network.PortBinding{HostIP: p.publish}
			if hostPort != 0 {
				binding.HostPort = strconv.Itoa(hostPort)
			}
			bindings[port] = append(bindings[port], binding)
		}
	}
	return exposed, bindings, nil
}

// logConfig caps the log. Podman has no driver "local", and its own is what it takes for the
// default.
func (p *DockerProvider) logConfig() dockercontainer.LogConfig {
	size := cmp.Or(p.cfg.Docker.LogMaxSize, defaultLogSize)
	if p.podman() {
		return dockercontainer.LogConfig{Type: "k8s-file",
			Config: map[string]string{"max-size": strconv.FormatInt(size, 10)}}
	}
	return dockercontainer.LogConfig{Type: "local", Config: map[string]string{
		"max-size": strconv.FormatInt(size, 10),
		"max-file": strconv.Itoa(cmp.Or(p.cfg.Docker.LogMaxFiles, defaultLogFiles)),
	}}
}

func (p *DockerProvider) resources(want container.Resources) dockercontainer.Resources {
	memory := cmp.Or(want.Memory, p.cfg.Defaults.Memory)
	return dockercontainer.Resources{
		NanoCPUs:   int64(cmp.Or(want.CPUs, p.cfg.Defaults.CPUs) * 1e9),
		Memory:     memory,
		MemorySwap: memory, // of both together: no swap on top
		PidsLimit:  new(cmp.Or(want.PIDs, p.cfg.Defaults.PIDs, defaultPIDs)),
	}
}

func platform(s string) *ocispec.Platform {
	if s == "" {
		return nil
	}
	parts := append(strings.Split(s, "/"), "", "")
	return &ocispec.Platform{OS: parts[0], Architecture: parts[1], Variant: parts[2]}
}

// publishAddress reads the configured address of published ports.
func publishAddress(s string) (netip.Addr, error) {
	return netip.ParseAddr(cmp.Or(s, "127.0.0.1"))
}
