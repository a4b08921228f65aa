package docker

import (
	"context"
	"errors"
	"math"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	dockercontainer "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
	"github.com/moby/moby/client/pkg/versions"

	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/container/provider"
)

// killTimeout bounds the wait for an engine's answer to a SIGKILL.
const killTimeout = 5 * time.Second

// changeContainer makes one change of the session's container, from its beginning to its end, when
// take has given it its turn.
func (p *DockerProvider) changeContainer(
	ctx context.Context, op, sessionID string, take func(*call) (func(), error), do func(c *call, id string) error,
) error {
	c, err := p.beginCall(ctx, op, sessionID, nil)
	if err != nil {
		return err
	}
	defer c.Done()
	done, err := take(c)
	if err != nil {
		return c.toError(err)
	}
	defer done()
	return c.toError(c.withContainer(func(id string) error { return do(c, id) }))
}

// Start starts the container.
func (p *DockerProvider) Start(ctx context.Context, sessionID string) error {
	return p.changeContainer(ctx, "start", sessionID, (*call).takeTurn, (*call).start)
}

func (c *call) start(id string) error {
	if err := c.startOnce(id); err != nil {
		return c.startRemade(id, err)
	}
	return c.checkCommand(id)
}

// startOnce asks the engine to start the main process, and waits out what is only for a moment in
// the way.
func (c *call) startOnce(id string) error {
	run := func() error {
		_, err := c.p.client.ContainerStart(c.Ctx, id, client.ContainerStartOptions{})
		return err
	}
	// Docker 20.10 (API 1.41) is not that forgetful, and is spared the question.
	if !c.p.podman() && versions.GreaterThanOrEqualTo(c.p.client.ClientVersion(), "1.44") {
		if err := c.restoreNetwork(id, false); err != nil {
			return err
		}
	}
	joined := false
	try := func() (done bool, err error) {
		err = run()
		if err != nil && !joined && isNoNetwork(err) && c.p.ownsNetworks() {
			if err := c.rejoinNetwork(id); err != nil {
				return true, err
			}
			joined, err = true, run()
		}
		if err != nil && errorSays(err, saysPortTaken) && !c.p.podman() {
			_ = c.restoreNetwork(id, true) // or the next start does; the refusal is what matters
		}
		// An engine that could not execute the command may still show the container as it was amid
		// the start.
		if err == nil || isNoContainer(err) || !isEngineAnswer(err) || errorSays(err, saysNoCommand) {
			return true, err
		}
		state, inspectErr := c.inspectState(id)
		switch {
		case inspectErr != nil:
			return true, inspectErr
		case state.Status != stateStopping && status(state.Status) == container.StatusRunning:
			return true, nil // a paused one, which engines refuse to start
		case !errorSays(err, saysNotRunning):
			return true, err
		}
		return false, nil // somebody else is stopping it, which Podman wants to have ended
	}
	return provider.Poll(c.Ctx, "the container to have stopped", 10*time.Millisecond, time.Second, try)
}

// restoreNetwork connects a container, whose start was refused, to its network again. Docker 29
// takes it off the network where it can't publish its ports (its connectToNetwork undoes more than
// it has done), and a later start would succeed without any network. Whether it was refused the
// engine is asked where that is not known: a daemon may have ended before it came to this.
func (c *call) restoreNetwork(id string, refused bool) error {
	found, err := c.p.client.ContainerInspect(c.Ctx, id, client.ContainerInspectOptions{})
	if err != nil {
		return err
	}
	info := found.Container
	if info.HostConfig == nil || info.NetworkSettings == nil || len(info.NetworkSettings.Networks) > 0 {
		return nil
	}
	if info.State != nil {
		refused = refused || errorSays(errors.New(info.State.Error), saysPortTaken)
	}
	mode := info.HostConfig.NetworkMode
	if !refused || mode.IsNone() || mode.IsHost() || mode.IsContainer() {
		return nil
	}
	_, err = c.p.client.NetworkConnect(c.Ctx, mode.NetworkName(), client.NetworkConnectOptions{Container: id})
	if err != nil && isNoNetwork(err) && c.p.ownsNetworks() {
		return c.rejoinNetwork(id)
	}
	return err
}

// Stop stops the container.
func (p *DockerProvider) Stop(ctx context.Context, sessionID string, timeout time.Duration) error {
	seconds := wholeSeconds(timeout)
	take := func(c *call) (func(), error) { return c.takeTurnToEnd(time.Duration(seconds) * time.Second) }
	return p.changeContainer(ctx, "stop", sessionID, take,
		func(c *call, id string) error { return c.stop(id, seconds) })
}

func (c *call) stop(id string, seconds int) error {
	if seconds == 0 && !c.p.podman() {
		// Docker sends the stop signal even then, and a quick process heeds it.
		if err := c.kill(c.Ctx, id); err != nil && (isNoContainer(err) || !isEngineAnswer(err)) {
			return err
		}
	}
	started := time.Now()
	try := func() (done bool, err error) {
		_, err = c.p.client.ContainerStop(c.Ctx, id, client.ContainerStopOptions{Timeout: &seconds})
		if err == nil || isNoContainer(err) || !isEngineAnswer(err) {
			return true, err
		}
		// Podman refuses to stop what is paused, never ran, or is being stopped by another call.
		state, inspectErr := c.inspectState(id)
		switch {
		case inspectErr != nil:
			return true, inspectErr
		case status(state.Status) != container.StatusRunning:
			return true, nil
		case state.Paused:
			_, err := c.p.client.ContainerUnpause(c.Ctx, id, client.ContainerUnpauseOptions{})
			return false, err
		case !errorSays(err, saysNotRunning):
			return true, err
		case state.Status == stateStopping && time.Since(started) >= time.Duration(seconds)*time.Second:
			_ = c.kill(c.Ctx, id) // it may have ended by now, which the next look shows
		}
		return false, nil
	}
	return provider.Poll(c.Ctx, "the container to have stopped", 10*time.Millisecond, time.Second, try)
}

// kill sends SIGKILL. Podman answers when it sees that the container has ended, and may miss
// that where somebody starts it again at once.
func (c *call) kill(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, killTimeout)
	defer cancel()
	_, err := c.p.client.ContainerKill(ctx, id, client.ContainerKillOptions{Signal: "SIGKILL"})
	return err
}

// inspectState inspects a container that is known to be ours.
func (c *call) inspectState(id string) (*dockercontainer.State, error) {
	info, err := c.p.client.ContainerInspect(c.Ctx, id, client.ContainerInspectOptions{})
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
	take := func(c *call) (func(), error) { return c.takeTurnToEnd(0) }
	return p.changeContainer(ctx, "remove", sessionID, take, func(c *call, id string) error {
		network := p.sessions.network(sessionID)
		err := c.remove(id)
		if err == nil && network != "" {
			p.leaveNetwork(network)
		}
		return err
	})
}

func (c *call) remove(id string) error {
	_, err := c.p.client.ContainerRemove(c.Ctx, id, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
	if cerrdefs.IsConflict(err) && errorSays(err, saysRemoving) {
		err = c.waitGone(id) // somebody else is at it
	}
	if err == nil {
		c.p.sessions.drop(c.SessionID, id)
	}
	return err
}

func (c *call) waitGone(id string) error {
	look := func() (gone bool, err error) {
		_, err = c.p.client.ContainerInspect(c.Ctx, id, client.ContainerInspectOptions{})
		if isNoContainer(err) {
			return true, nil
		}
		return false, err
	}
	return provider.Poll(c.Ctx, "the container's removal, which is under way", 5*time.Millisecond, 250*time.Millisecond,
		look)
}
