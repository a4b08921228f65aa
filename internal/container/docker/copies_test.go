package docker_test

import (
	"context"
	"slices"
	"testing"

	dockercontainer "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/octobot-run/octobot/internal/config"
	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/container/docker"
)

// TestCopyIsNotOurs: an image that somebody makes of a session's container has its labels, and so
// has what runs from it. That is never taken for the session's.
func TestCopyIsNotOurs(t *testing.T) {
	eachEngine(t, func(t *testing.T, p *docker.DockerProvider, cli *client.Client, instance string) {
		ctx, id := t.Context(), instance+"-s"
		made, err := p.Create(ctx, id, container.Options{Image: image, Cmd: []string{"sleep", "3600"},
			NetworkMode: container.NetworkNone})
		if err != nil {
			t.Fatal(err)
		}
		committed, err := cli.ContainerCommit(ctx, made.ID, client.ContainerCommitOptions{
			Reference: "octobot-test:" + id, Config: &dockercontainer.Config{}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if _, err := cli.ImageRemove(context.Background(), committed.ID,
				client.ImageRemoveOptions{Force: true}); err != nil {
				t.Error(err)
			}
		})
		copied, err := cli.ContainerCreate(ctx, client.ContainerCreateOptions{Name: "copy-of-" + id,
			Config: &dockercontainer.Config{Image: "octobot-test:" + id}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if _, err := cli.ContainerRemove(context.Background(), copied.ID,
				client.ContainerRemoveOptions{Force: true}); err != nil {
				t.Error(err)
			}
		})
		if found, err := cli.ContainerInspect(ctx, copied.ID, client.ContainerInspectOptions{}); err != nil ||
			found.Container.Config.Labels[container.LabelSession] != id {
			t.Fatalf("the copy has no label of the session's; error %v", err)
		}

		// The session's own is found among both, whatever it is called.
		if _, err := cli.ContainerRename(ctx, made.ID,
			client.ContainerRenameOptions{NewName: "renamed-" + id}); err != nil {
			t.Fatal(err)
		}
		if c, err := p.Get(ctx, id); err != nil || c.ID != made.ID {
			t.Fatalf("got %+v, error %v; want the container %s", c, err, made.ID)
		}
		if list, err := p.List(ctx); err != nil || len(list) != 1 || list[0].ID != made.ID {
			t.Fatalf("list is %+v, error %v; want the container %s", list, err, made.ID)
		}
		if err := p.Remove(ctx, id); err != nil {
			t.Fatal(err)
		}

		// The copy alone is nobody's.
		if list, err := p.List(ctx); err != nil || len(list) != 0 {
			t.Fatalf("list is %+v, error %v; want nothing", list, err)
		}
		if err := p.Remove(ctx, id); container.ClassOf(err) != container.ErrContainerNotFound {
			t.Fatalf("error of the removal is %v; want not found", err)
		}
		neighbour := open(t, config.Config{Instance: instance + "-other", Docker: config.Docker{Host: p.Engine().Host}})
		if err := neighbour.RemoveStranger(ctx, instance, copied.ID); container.ClassOf(err) !=
			container.ErrContainerNotFound {
			t.Fatalf("error of the removal by another instance is %v; want not found", err)
		}
		if list, err := neighbour.ListStrangers(ctx); err != nil || slices.ContainsFunc(list,
			func(c *container.Container) bool { return c.ID == copied.ID }) {
			t.Fatalf("another instance lists %+v, error %v", list, err)
		}
		if _, err := cli.ContainerInspect(ctx, copied.ID, client.ContainerInspectOptions{}); err != nil {
			t.Fatalf("the copy is gone: %v", err)
		}
	})
}
