package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/moby/moby/client"

	v1 "github.com/octobot-run/octobot/api/v1"
	"github.com/octobot-run/octobot/internal/config"
	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/container/docker"
)

// benchInstance marks the containers of these measurements on the engine.
var benchInstance = fmt.Sprintf("bench-%d", os.Getpid())

// engines opens Octobot's provider, and a raw client that joins the same network.
func engines(ctx context.Context, e env) (container.Runtime, rawEngine, func(), error) {
	cfg := config.Default()
	cfg.Instance = benchInstance
	cfg.Docker.Host = e.dockerHost
	runtime, err := docker.NewDockerProvider(&cfg)
	if err != nil {
		return nil, rawEngine{}, nil, err
	}
	c, err := client.New(client.WithHost(e.dockerHost))
	if err != nil {
		return nil, rawEngine{}, nil, errors.Join(err, runtime.Close())
	}
	raw := rawEngine{client: c, image: e.image}
	// The provider makes its network with the first container, and keeps it to the last.
	id := "bench-network"
	end := func() {
		_ = runtime.Remove(context.WithoutCancel(ctx), id) // where it was made
		c.Close()
		runtime.Close()
	}
	if _, err := runtime.Create(ctx, id, idle(e)); err != nil {
		end()
		return nil, rawEngine{}, nil, err
	}
	info, err := c.ContainerInspect(ctx, container.Name(id), client.ContainerInspectOptions{})
	if err != nil {
		end()
		return nil, rawEngine{}, nil, err
	}
	raw.network = string(info.Container.HostConfig.NetworkMode)
	return runtime, raw, end, nil
}

func idle(e env) container.Options {
	return container.Options{Image: e.image, Cmd: []string{"sleep", "3600"}}
}

func createStartRuntime(ctx context.Context, e env) (string, error) {
	runtime, raw, end, err := engines(ctx, e)
	if err != nil {
		return "", err
	}
	defer end()
	n := 0
	took, err := interleave(ctx, e.rounds,
		func(ctx context.Context) (time.Duration, error) {
			return raw.createStart(ctx, benchInstance+"-raw")
		},
		func(ctx context.Context) (time.Duration, error) {
			n++
			id := fmt.Sprintf("bench-%d", n)
			took, err := timed(func() error {
				if _, err := runtime.Create(ctx, id, idle(e)); err != nil {
					return err
				}
				return runtime.Start(ctx, id)
			})
			return took, errors.Join(err, runtime.Remove(context.WithoutCancel(ctx), id))
		})
	if err != nil {
		return "", err
	}
	return compare(took), nil
}

func createStartAPI(ctx context.Context, e env) (string, error) {
	_, raw, end, err := engines(ctx, e)
	if err != nil {
		return "", err
	}
	defer end()
	d, err := startDaemon(ctx, e, "--docker-host", e.dockerHost, "--default-image", e.image)
	if err != nil {
		return "", err
	}
	defer d.stop()
	n := 0
	took, err := interleave(ctx, e.rounds,
		func(ctx context.Context) (time.Duration, error) {
			return raw.createStart(ctx, benchInstance+"-raw")
		},
		func(ctx context.Context) (time.Duration, error) {
			n++
			id := fmt.Sprintf("bench-%d-%d", os.Getpid(), n)
			took, err := timed(func() error {
				_, err := d.api.CreateSession(ctx,
					v1.CreateSessionRequest{ID: id, Spec: v1.Spec{Cmd: []string{"sleep", "3600"}}}, nil)
				return err
			})
			return took, errors.Join(err, d.api.DeleteSession(context.WithoutCancel(ctx), id))
		})
	if err != nil {
		return "", err
	}
	return compare(took), nil
}

func execRuntime(ctx context.Context, e env) (_ string, err error) {
	runtime, raw, end, err := engines(ctx, e)
	if err != nil {
		return "", err
	}
	defer end()
	const id = "bench-exec"
	created, err := runtime.Create(ctx, id, idle(e))
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, runtime.Remove(context.WithoutCancel(ctx), id)) }()
	if err := runtime.Start(ctx, id); err != nil {
		return "", err
	}
	took, err := interleave(ctx, 5*e.rounds,
		func(ctx context.Context) (time.Duration, error) {
			return timed(func() error { return raw.exec(ctx, created.ID, "true") })
		},
		func(ctx context.Context) (time.Duration, error) {
			return timed(func() error {
				_, err := runtime.Exec(ctx, id, []string{"true"}, container.ExecOptions{})
				return err
			})
		})
	if err != nil {
		return "", err
	}
	return compare(took), nil
}
