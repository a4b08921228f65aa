package docker_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/moby/moby/client"

	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/container/docker"
)

// TestImageWithoutCommand: an engine says what it lacks, and nothing is left of the attempt.
func TestImageWithoutCommand(t *testing.T) {
	eachEngine(t, func(t *testing.T, p *docker.DockerProvider, cli *client.Client, instance string) {
		const image = "octobot-test:no-command"
		var empty bytes.Buffer
		if err := tar.NewWriter(&empty).Close(); err != nil {
			t.Fatal(err)
		}
		made, err := cli.ImageImport(t.Context(), client.ImageImportSource{Source: &empty, SourceName: "-"}, image,
			client.ImageImportOptions{})
		if err == nil {
			_, err = io.Copy(io.Discard, made)
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _, _ = cli.ImageRemove(context.Background(), image, client.ImageRemoveOptions{}) })
		_, err = p.Create(t.Context(), instance, container.Options{Image: image, NetworkMode: container.NetworkNone})
		e, ok := errors.AsType[*container.Error](err)
		if !ok || !slices.Contains([]error{container.ErrInvalidArgument, container.ErrRefused}, e.Class) ||
			!strings.Contains(strings.ToLower(e.Detail), "no command") {
			t.Errorf("create: %v", err)
		}
		if list, err := p.List(t.Context()); err != nil || len(list) != 0 {
			t.Errorf("left: %v, %v", list, err)
		}
	})
}
