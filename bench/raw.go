package main

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
)

// rawEngine makes the Engine API calls that a careful hand would make, with the
// settings that Octobot's containers have, so that only our own cost differs.
type rawEngine struct {
	client  *client.Client
	image   string
	network string
}

func (r rawEngine) create(ctx context.Context, name string) (string, error) {
	init := true
	port := network.MustParsePort("8080/tcp")
	pids := int64(4096)
	created, err := r.client.ContainerCreate(ctx, client.ContainerCreateOptions{
		Name: name,
		Config: &container.Config{
			Image: r.image, Cmd: []string{"sleep", "3600"}, OpenStdin: true,
			ExposedPorts: network.PortSet{port: {}},
			Labels:       map[string]string{"octobot-bench": "raw"},
		},
		HostConfig: &container.HostConfig{
			Init: &init, NetworkMode: container.NetworkMode(r.network),
			PortBindings: network.PortMap{port: {{HostIP: netip.MustParseAddr("127.0.0.1"), HostPort: "0"}}},
			CapDrop:      []string{"ALL"}, SecurityOpt: []string{"no-new-privileges"},
			LogConfig: container.LogConfig{Type: "local"},
			Resources: container.Resources{PidsLimit: &pids},
		},
	})
	return created.ID, err
}

func (r rawEngine) start(ctx context.Context, id string) error {
	_, err := r.client.ContainerStart(ctx, id, client.ContainerStartOptions{})
	return err
}

func (r rawEngine) remove(ctx context.Context, id string) error {
	_, err := r.client.ContainerRemove(ctx, id, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
	return err
}

// createStart times the two calls, and removes the container outside of the time.
func (r rawEngine) createStart(ctx context.Context, name string) (time.Duration, error) {
	var id string
	took, err := timed(func() (err error) {
		if id, err = r.create(ctx, name); err != nil {
			return err
		}
		return r.start(ctx, id)
	})
	if id != "" {
		err = errors.Join(err, r.remove(context.WithoutCancel(ctx), id))
	}
	return took, err
}

// exec runs a command with the three calls that it takes.
func (r rawEngine) exec(ctx context.Context, id string, cmd ...string) error {
	created, err := r.client.ExecCreate(ctx, id,
		client.ExecCreateOptions{Cmd: cmd, AttachStdout: true, AttachStderr: true})
	if err != nil {
		return err
	}
	attached, err := r.client.ExecAttach(ctx, created.ID, client.ExecAttachOptions{})
	if err != nil {
		return err
	}
	defer attached.Close()
	if _, err := io.Copy(io.Discard, attached.Reader); err != nil {
		return err
	}
	_, err = r.client.ExecInspect(ctx, created.ID, client.ExecInspectOptions{})
	return err
}
