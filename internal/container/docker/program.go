package docker

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"path"
	"strings"
	"sync"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	dockercontainer "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/client"

	"github.com/octobot-run/octobot/internal/container"
)

// labelFiller marks a container that exists for a moment to fill a volume; its value is the hash of
// what it brings.
const labelFiller = container.LabelPrefix + ".filler"

// fillerAge is the age from which a filler has been left behind by a daemon that was killed.
const fillerAge = 10 * time.Minute

// programs are the volumes by which programs come into containers. One is filled once and mounted
// read-only in every container: that works with engines on other hosts, with read-only roots, and
// with images that hold nothing.
type programs struct {
	filling chan struct{} // holds one token: the right to fill
	mu      sync.Mutex
	arch    string          // of the engine; guarded by mu
	filled  map[string]bool // names of volumes; guarded by mu
}

// placeProgram adds the program to what a container is made from. A program that can't be brought
// is left out: the container is made without it, and has no label that says otherwise.
func (c *call) placeProgram(spec *client.ContainerCreateOptions, opts container.Options) error {
	if opts.Program == nil {
		return nil
	}
	volume, hash, err := c.fillVolume(opts)
	_, refused := errors.AsType[*pullRefused](err)
	switch {
	case c.Ctx.Err() != nil:
		return c.Ctx.Err()
	case refused:
		return err
	case err != nil:
		slog.DebugContext(c.Ctx, "A container is made without its program", "session", c.SessionID, "error", err)
		return nil
	}
	spec.HostConfig.Mounts = append(spec.HostConfig.Mounts, mount.Mount{
		Type: mount.TypeVolume, Source: volume, Target: path.Dir(opts.Program.Path), ReadOnly: true,
		VolumeOptions: &mount.VolumeOptions{NoCopy: true},
	})
	spec.Config.Labels[container.LabelProgram] = hash
	return nil
}

// fillVolume gives the volume that has the program, which it makes where it is not known to be
// there.
func (c *call) fillVolume(opts container.Options) (name, hash string, err error) {
	if opts.Platform != "" {
		return "", "", fmt.Errorf("the image may be of another architecture than the engine: %s", opts.Platform)
	}
	p := &c.p.programs
	select {
	case p.filling <- struct{}{}:
		defer func() { <-p.filling }()
	case <-c.Ctx.Done():
		return "", "", c.Ctx.Err()
	}
	arch, err := c.engineArch()
	if err != nil {
		return "", "", err
	}
	binary, err := opts.Program.Binary(arch)
	if err != nil {
		return "", "", err
	}
	sum := sha256.Sum256(binary)
	hash = hex.EncodeToString(sum[:6])
	name = fmt.Sprintf("%s-agent-%s-%s", container.LabelPrefix, hash, arch)
	p.mu.Lock()
	known := p.filled[name]
	p.mu.Unlock()
	if known {
		return name, hash, nil
	}
	if err := c.fill(name, hash, opts, binary); err != nil {
		return "", "", fmt.Errorf("fill the volume %s: %w", name, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.filled == nil {
		p.filled = make(map[string]bool)
	}
	p.filled[name] = true
	return name, hash, nil
}

// engineArch is the engine's architecture as Go names it.
func (c *call) engineArch() (string, error) {
	p := &c.p.programs
	p.mu.Lock()
	arch := p.arch
	p.mu.Unlock()
	if arch != "" {
		return arch, nil
	}
	version, err := c.p.client.ServerVersion(c.Ctx, client.ServerVersionOptions{})
	if err != nil {
		return "", err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.arch = version.Arch
	return p.arch, nil
}

// fill makes the volume, if it is not there, and puts the program into it through a container that
// never runs.
func (c *call) fill(volume, hash string, opts container.Options, binary []byte) error {
	c.removeFillers()
	_, err := c.p.client.VolumeCreate(c.Ctx, client.VolumeCreateOptions{Name: volume, Labels: map[string]string{
		container.LabelOctobot: "true", container.LabelProgram: hash}})
	if err != nil {
		return err
	}
	dir := path.Dir(opts.Program.Path)
	spec := client.ContainerCreateOptions{
		Name: "octobot-filler-" + strings.ToLower(rand.Text()),
		Config: &dockercontainer.Config{Image: opts.Image, Cmd: []string{opts.Program.Path},
			Labels: map[string]string{labelFiller: hash}},
		HostConfig: &dockercontainer.HostConfig{NetworkMode: container.NetworkNone, Mounts: []mount.Mount{{
			Type: mount.TypeVolume, Source: volume, Target: dir, VolumeOptions: &mount.VolumeOptions{NoCopy: true},
		}}},
	}
	made, err := c.p.client.ContainerCreate(c.Ctx, spec)
	if cerrdefs.IsNotFound(err) && errorSays(err, saysNoImage) {
		if err := c.pull(opts); err != nil {
			return err
		}
		made, err = c.p.client.ContainerCreate(c.Ctx, spec)
	}
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(c.Ctx), createTimeout)
		defer cancel()
		// or removeFillers does
		_, _ = c.p.client.ContainerRemove(ctx, made.ID, client.ContainerRemoveOptions{Force: true})
	}()
	archive, err := tarOf(path.Base(opts.Program.Path), binary)
	if err != nil {
		return err
	}
	_, err = c.p.client.CopyToContainer(c.Ctx, made.ID, client.CopyToContainerOptions{DestinationPath: dir,
		Content: archive})
	return err
}

func tarOf(name string, content []byte) (*bytes.Buffer, error) {
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(content)), Typeflag: tar.TypeReg,
		ModTime: time.Unix(0, 0)}); err != nil {
		return nil, err
	}
	if _, err := w.Write(content); err != nil {
		return nil, err
	}
	return &archive, w.Close()
}

// removeFillers removes what daemons that were killed have left behind.
func (c *call) removeFillers() {
	list, err := c.p.client.ContainerList(c.Ctx, client.ContainerListOptions{All: true,
		Filters: make(client.Filters).Add("label", labelFiller)})
	if err != nil {
		return // the next fill looks again
	}
	for _, found := range list.Items {
		if _, ours := found.Labels[labelFiller]; ours && time.Since(time.Unix(found.Created, 0)) > fillerAge {
			_, _ = c.p.client.ContainerRemove(c.Ctx, found.ID, client.ContainerRemoveOptions{Force: true})
		}
	}
}
