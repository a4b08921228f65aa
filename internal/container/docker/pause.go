package docker

import (
	"context"
	"sync"
	"time"

	"github.com/moby/moby/client"

	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/container/provider"
)

// startsWait bounds the wait for processes that are just being started.
const startsWait = 2 * time.Second

// starts keep the starts of processes in a container and its pause apart. The OCI runtime enters
// the container before it becomes the process: frozen in between, it has Docker 20.10 wait for it
// for ever, and every later call about the container, its removal too, wait for that.
type starts struct {
	mu       sync.Mutex
	changed  sync.Cond      // of mu
	starting map[string]int // by session: how many are being started; guarded by mu
	pausing  map[string]int // how many wait to pause, or do; guarded by mu
}

// await waits until holds does, with mu held, or ctx ends.
func (s *starts) await(ctx context.Context, what string, holds func() bool) error {
	defer context.AfterFunc(ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.changed.Broadcast()
	})()
	for !holds() {
		if ctx.Err() != nil {
			return &provider.WaitError{What: what, Err: ctx.Err()}
		}
		s.changed.Wait()
	}
	return nil
}

// begin waits until nobody pauses the container. The caller calls end when the engine has been told
// to start a process.
func (s *starts) begin(ctx context.Context, sessionID string) (end func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	err = s.await(ctx, "the container to be paused", func() bool { return s.pausing[sessionID] == 0 })
	if err != nil {
		return nil, err
	}
	return s.count(s.starting, sessionID), nil
}

// hold lets nothing be started until release.
func (s *starts) hold(ctx context.Context, sessionID string) (release func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	release = s.count(s.pausing, sessionID)
	err = s.await(ctx, "processes to be started", func() bool { return s.starting[sessionID] == 0 })
	if err != nil {
		s.mu.Unlock()
		release()
		s.mu.Lock()
		return nil, err
	}
	return release, nil
}

// count counts one more, until the returned function is called; mu is held.
func (s *starts) count(counts map[string]int, sessionID string) (less func()) {
	counts[sessionID]++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if counts[sessionID]--; counts[sessionID] == 0 {
			delete(counts, sessionID)
		}
		s.changed.Broadcast()
	}
}

// startExec starts an exec of the session's container, and takes its connection.
func (p *DockerProvider) startExec(ctx context.Context, sessionID, execID string, opts any) (*stream, error) {
	end, err := p.starts.begin(ctx, sessionID)
	if err != nil {
		return nil, err
	}
	defer end()
	return p.hijack(ctx, "/exec/"+execID+"/start", nil, opts)
}

// Pause freezes the container's processes.
func (p *DockerProvider) Pause(ctx context.Context, sessionID string) error {
	return p.changeContainer(ctx, "pause", sessionID, (*call).takeTurn, func(c *call, id string) error {
		release, err := p.starts.hold(c.Ctx, sessionID)
		if err != nil {
			return err
		}
		defer release()
		if err := c.awaitStarts(id); err != nil {
			return err
		}
		_, err = p.client.ContainerPause(c.Ctx, id, client.ContainerPauseOptions{})
		return c.acceptIfPaused(id, true, err)
	})
}

// awaitStarts waits until what the engine was told to start in the container runs, whoever told it.
func (c *call) awaitStarts(id string) error {
	info, err := c.p.client.ContainerInspect(c.Ctx, id, client.ContainerInspectOptions{})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.Ctx, startsWait)
	defer cancel()
	for _, exec := range info.Container.ExecIDs {
		err := provider.Poll(ctx, "a process to be started", time.Millisecond, 50*time.Millisecond,
			func() (bool, error) {
				state, err := c.p.inspectExec(ctx, exec)
				if isForgotten(err) {
					return true, nil // it has ended
				}
				return !state.Running || state.Pid != 0, err
			})
		if err != nil && ctx.Err() == nil {
			return err
		}
	}
	return c.Ctx.Err()
}

// Unpause lets them go on.
func (p *DockerProvider) Unpause(ctx context.Context, sessionID string) error {
	return p.changeContainer(ctx, "unpause", sessionID, (*call).takeTurn, func(c *call, id string) error {
		_, err := p.client.ContainerUnpause(c.Ctx, id, client.ContainerUnpauseOptions{})
		return c.acceptIfPaused(id, false, err)
	})
}

// acceptIfPaused judges a pause or unpause that the engine refused by the state that was to
// be reached: engines differ in how they word what is so already.
func (c *call) acceptIfPaused(id string, paused bool, err error) error {
	if err == nil || isNoContainer(err) || !isEngineAnswer(err) {
		return err
	}
	state, inspectErr := c.inspectState(id)
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

// pausedOr is ErrContainerPaused where the engine refused because the container is frozen, which
// Podman calls not running, else err.
func (c *call) pausedOr(id string, err error) error {
	if !isEngineAnswer(err) || classify(err) != container.ErrContainerStopped {
		return err
	}
	if state, inspectErr := c.inspectState(id); inspectErr == nil && state.Paused {
		return container.Errorf("", "", container.ErrContainerPaused, "")
	}
	return err
}
