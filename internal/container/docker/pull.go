package docker

import (
	"context"
	"sync"

	"github.com/distribution/reference"
	"github.com/moby/moby/api/pkg/authconfig"
	"github.com/moby/moby/api/types/jsonstream"
	"github.com/moby/moby/api/types/registry"
	"github.com/moby/moby/client"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/octobot-run/octobot/internal/container"
)

// progressBacklog bounds the steps that wait for a slow Progress function; what does
// not fit is dropped.
const progressBacklog = 128

// pullKey is what makes two pulls the same. Credentials are part of it: what one caller
// may read is no business of another's.
type pullKey struct {
	image, platform string
	creds           container.Credentials
	anonymous       bool
}

// pulls are the pulls under way: one a key, shared by all who wait for it.
type pulls struct {
	mu      sync.Mutex
	current map[pullKey]*pull
}

type pull struct {
	cancel  context.CancelFunc
	done    chan struct{}
	err     error // valid after done
	waiters map[chan container.PullProgress]struct{}
}

// pullRefused is an error of the caller's own, from Options.Pulling.
type pullRefused struct{ error }

// pull waits until the image is there, with the caller's leave.
func (c *call) pull(opts container.Options) error {
	if opts.Pulling == nil {
		return c.awaitPull(opts)
	}
	ended, err := opts.Pulling(c.Ctx)
	if err != nil {
		return &pullRefused{err}
	}
	pullErr := c.awaitPull(opts)
	if err := ended(); err != nil && pullErr == nil {
		return &pullRefused{err}
	}
	return pullErr
}

// awaitPull waits until the image is there. A caller who goes leaves the pull to the others; the
// last one ends it.
func (c *call) awaitPull(opts container.Options) error {
	key := pullKey{image: opts.Image, platform: opts.Platform, anonymous: opts.Credentials == nil}
	if opts.Credentials != nil {
		key.creds = *opts.Credentials
	}
	steps := make(chan container.PullProgress, progressBacklog)
	shared := c.p.joinPull(key, steps)
	defer c.p.leavePull(key, shared, steps)
	report := func(step container.PullProgress) {
		if opts.Progress != nil {
			opts.Progress(step)
		}
	}
	for {
		select {
		case step := <-steps:
			report(step)
		case <-c.Ctx.Done():
			return c.Ctx.Err()
		case <-shared.done:
			for {
				select {
				case step := <-steps:
					report(step)
				default:
					return shared.err
				}
			}
		}
	}
}

func (p *DockerProvider) joinPull(key pullKey, steps chan container.PullProgress) *pull {
	p.pulls.mu.Lock()
	defer p.pulls.mu.Unlock()
	shared := p.pulls.current[key]
	if shared == nil {
		ctx, cancel := context.WithCancel(p.calls.Life())
		shared = &pull{cancel: cancel, done: make(chan struct{}),
			waiters: make(map[chan container.PullProgress]struct{})}
		if p.pulls.current == nil {
			p.pulls.current = make(map[pullKey]*pull)
		}
		p.pulls.current[key] = shared
		p.calls.Go(func() {
			shared.err = p.pullImage(ctx, key, func(step container.PullProgress) { p.pulls.tell(shared, step) })
			p.pulls.mu.Lock()
			p.pulls.forget(key, shared)
			p.pulls.mu.Unlock()
			close(shared.done)
			cancel()
		})
	}
	shared.waiters[steps] = struct{}{}
	return shared
}

func (p *DockerProvider) leavePull(key pullKey, shared *pull, steps chan container.PullProgress) {
	p.pulls.mu.Lock()
	defer p.pulls.mu.Unlock()
	delete(shared.waiters, steps)
	if len(shared.waiters) == 0 {
		// In one with the look at who waits, so that who comes now gets a pull that is not about to
		// end.
		p.pulls.forget(key, shared)
		shared.cancel()
	}
}

// forget has later callers begin a pull of their own. The caller holds mu.
func (s *pulls) forget(key pullKey, shared *pull) {
	if s.current[key] == shared {
		delete(s.current, key)
	}
}

func (s *pulls) tell(shared *pull, step container.PullProgress) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for steps := range shared.waiters {
		select {
		case steps <- step:
		default:
		}
	}
}

func (p *DockerProvider) pullImage(ctx context.Context, key pullKey, tell func(container.PullProgress)) error {
	opts := client.ImagePullOptions{}
	if pf := platform(key.platform); pf != nil {
		opts.Platforms = []ocispec.Platform{*pf}
	}
	if !key.anonymous {
		auth, err := registryAuth(key.image, key.creds)
		if err != nil {
			return container.Errorf("", "", container.ErrInvalidArgument, "credentials: %v", err)
		}
		opts.RegistryAuth = auth
	}
	answer, err := p.client.ImagePull(ctx, key.image, opts)
	if err != nil {
		return pullError(err)
	}
	for step, err := range answer.JSONMessages(ctx) {
		switch {
		case err != nil:
			return err
		case step.Error != nil:
			return container.Errorf("", "", container.ErrImageNotFound, "%s", step.Error.Message)
		}
		tell(progress(key.image, step))
	}
	return nil
}

// pullError: whatever keeps an engine that answers from having the image (none of that name, none
// for that platform, a registry that refuses or can't be reached), the image can't be had.
func pullError(err error) error {
	if !isEngineAnswer(err) {
		return err
	}
	return container.Errorf("", "", container.ErrImageNotFound, "%s", engineText(err))
}

func progress(image string, step jsonstream.Message) container.PullProgress {
	out := container.PullProgress{Image: image, Layer: step.ID, Status: step.Status}
	if step.Progress != nil {
		out.Current, out.Total = step.Progress.Current, step.Progress.Total
	}
	return out
}

func registryAuth(image string, creds container.Credentials) (string, error) {
	named, err := reference.ParseNormalizedNamed(image)
	if err != nil {
		return "", err
	}
	return authconfig.Encode(registry.AuthConfig{
		Username:      creds.Username,
		Password:      creds.Password,
		ServerAddress: reference.Domain(named),
	})
}
