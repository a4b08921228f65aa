package docker

import (
	"context"
	"math"
	"strings"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	dockercontainer "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/octobot-run/octobot/internal/container"
)

// onContainer does one operation on the session's container from its beginning to its end.
func (p *DockerProvider) onContainer(ctx context.Context, op, sessionID string, do func(c *call, id string) error) error {
	c, err := p.begin(ctx, op, sessionID, nil)
	if err != nil {
		return err
	}
	defer c.done()
	return c.fail(c.withContainer(func(id string) error { return do(c, id) }))
}

// Start starts the container.
func (p *DockerProvider) Start(ctx context.Context, sessionID string) error {
	return p.onContainer(ctx, "start", sessionID, (*call).start)
}

func (c *call) start(id string) error {
	run := func() error {
		_, err := c.p.client.ContainerStart(c.ctx, id, client.ContainerStartOptions{})
		return err
	}
	err := run()
	if err != nil && noNetwork(err) && c.p.cfg.Docker.Network == "" {
		if err := c.p.ensureNetwork(c.ctx, true); err != nil {
			return err
		}
		err = run()
	}
	if err != nil && !gone(err) && answered(err) {
		if info, inspectErr := c.p.client.ContainerInspect(c.ctx, id, client.ContainerInspectOptions{}); inspectErr == nil &&
			info.Container.State != nil && status(info.Container.State.Status) == container.StatusRunning {
			return nil // a paused one, which engines refuse to start
		}
	}
	if err != nil {
		return err
	}
	return c.checkCommand(id)
}

// Stop stops the container.
func (p *DockerProvider) Stop(ctx context.Context, sessionID string, timeout time.Duration) error {
	return p.onContainer(ctx, "stop", sessionID, func(c *call, id string) error { return c.stop(id, wholeSeconds(timeout)) })
}

func (c *call) stop(id string, seconds int) error {
	if seconds == 0 {
		// Engines send the stop signal even then, and a quick process heeds it.
		_, err := c.p.client.ContainerKill(c.ctx, id, client.ContainerKillOptions{Signal: "SIGKILL"})
		if err != nil && (gone(err) || !answered(err)) {
			return err
		}
	}
	run := func() error {
		_, err := c.p.client.ContainerStop(c.ctx, id, client.ContainerStopOptions{Timeout: &seconds})
		return err
	}
	for wait := 10 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		err := run()
		if err == nil || gone(err) || !answered(err) {
			return err
		}
		// Podman refuses to stop what is paused, never ran, or is being stopped by another call.
		state, inspectErr := c.state(id)
		switch {
		case inspectErr != nil:
			return inspectErr
		case status(state.Status) != container.StatusRunning:
			return nil
		case state.Paused:
			if _, err := c.p.client.ContainerUnpause(c.ctx, id, client.ContainerUnpauseOptions{}); err != nil {
				return err
			}
		case !says(err, saysNotRunning):
			return err
		}
		select {
		case <-time.After(wait):
		case <-c.ctx.Done():
			return c.ctx.Err()
		}
	}
}

// state inspects a container that is known to be ours.
func (c *call) state(id string) (*dockercontainer.State, error) {
	info, err := c.p.client.ContainerInspect(c.ctx, id, client.ContainerInspectOptions{})
	if err != nil {
		return nil, err
	}
	if info.Container.State == nil {
		return nil, container.Errorf("", "", container.ErrUnavailable, "the engine told no state")
	}
	return info.Container.State, nil
}

// wholeSeconds rounds up, since engines take nothing finer; negative is the default.
func wholeSeconds(timeout time.Duration) int {
	if timeout < 0 {
		timeout = container.DefaultStopTimeout
	}
	return int(min(math.Ceil(timeout.Seconds()), math.MaxInt32))
}

// Remove removes the container, running or not, with its anonymous volumes.
func (p *DockerProvider) Remove(ctx context.Context, sessionID string) error {
	return p.onContainer(ctx, "remove", sessionID, (*call).remove)
}

func (c *call) remove(id string) error {
	_, err := c.p.client.ContainerRemove(c.ctx, id, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
	if cerrdefs.IsConflict(err) && strings.Contains(err.Error(), "already in progress") {
		err = c.waitGone(id) // somebody else is at it
	}
	if err == nil {
		c.p.sessions.drop(c.session, id)
	}
	return err
}

func (c *call) waitGone(id string) error {
	for wait := 5 * time.Millisecond; ; wait = min(2*wait, 250*time.Millisecond) {
		_, err := c.p.client.ContainerInspect(c.ctx, id, client.ContainerInspectOptions{})
		if gone(err) {
			return nil
		}
		if err != nil {
			return err
		}
		select {
		case <-time.After(wait):
		case <-c.ctx.Done():
			return c.ctx.Err()
		}
	}
}

// Pause freezes the container's processes.
func (p *DockerProvider) Pause(ctx context.Context, sessionID string) error {
	return p.onContainer(ctx, "pause", sessionID, func(c *call, id string) error {
		_, err := p.client.ContainerPause(c.ctx, id, client.ContainerPauseOptions{})
		return c.settled(id, true, err)
	})
}

// Unpause lets them go on.
func (p *DockerProvider) Unpause(ctx context.Context, sessionID string) error {
	return p.onContainer(ctx, "unpause", sessionID, func(c *call, id string) error {
		_, err := p.client.ContainerUnpause(c.ctx, id, client.ContainerUnpauseOptions{})
		return c.settled(id, false, err)
	})
}

// settled judges a pause or unpause that the engine refused by the state that was to
// be reached: engines differ in how they word what is so already.
func (c *call) settled(id string, paused bool, err error) error {
	if err == nil || gone(err) || !answered(err) {
		return err
	}
	state, inspectErr := c.state(id)
	switch {
	case inspectErr != nil:
		return inspectErr
	case status(state.Status) != container.StatusRunning:
		return container.Errorf("", "", container.ErrContainerStopped, "it is %s", state.Status)
	case state.Paused == paused:
		return nil
	}
	return err
}
