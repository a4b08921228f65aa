package docker

import (
	"context"
	"strconv"
	"syscall"

	"github.com/moby/moby/client"

	"github.com/octobot-run/octobot/internal/container"
)

// Signal sends the container's main process a signal. It takes no turn: a stop that waits for the
// process is no reason not to.
func (p *DockerProvider) Signal(ctx context.Context, sessionID string, signal int) error {
	c, err := p.beginCall(ctx, "signal", sessionID, func() error { return container.ValidateSignal(signal) })
	if err != nil {
		return err
	}
	defer c.Done()
	return c.toError(c.withContainer(func(id string) error { return c.signal(id, signal) }))
}

func (c *call) signal(id string, signal int) error {
	// Asked first, for Docker lets what is paused go on with most signals.
	if err := c.refusesSignals(id); err != nil {
		return err
	}
	// Podman answers a SIGKILL when it sees that the container has ended, and may miss that.
	ctx, cancel := context.WithTimeout(c.Ctx, killTimeout)
	defer cancel()
	_, err := c.p.client.ContainerKill(ctx, id, client.ContainerKillOptions{Signal: strconv.Itoa(signal)})
	if err == nil || isNoContainer(err) || c.Ctx.Err() != nil {
		return err
	}
	refusal := c.refusesSignals(id)
	switch {
	case refusal == nil:
		return err
	case syscall.Signal(signal) == syscall.SIGKILL && container.ClassOf(refusal) == container.ErrContainerStopped:
		return nil // it has ended, which is what was wanted
	}
	return refusal
}

// refusesSignals is an error where the container does not run, or is paused.
func (c *call) refusesSignals(id string) error {
	state, err := c.inspectState(id)
	switch {
	case err != nil:
		return err
	case status(state.Status) != container.StatusRunning:
		return container.Errorf("", "", container.ErrContainerStopped, "it is %s", state.Status)
	case state.Paused:
		return container.Errorf("", "", container.ErrContainerPaused, "")
	}
	return nil
}
