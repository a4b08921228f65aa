package docker

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"path"
	"strings"
	"sync"
	"time"

	dockercontainer "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/client"

	"github.com/octobot-run/octobot/internal/container"
)

// labelFiller marks a container that exists for a moment to fill a volume; its value is the hash of
// what it brings.
const labelFiller = container.LabelPrefix + ".filler"

const programMode = 0o755

// scratchOptions are of the tmpfs that a program has for itself.
const scratchOptions = "rw,noexec,nosuid,nodev,size=1m,mode=1777"

const (
	volumePrefix = container.LabelPrefix + "-agent-"
	// fillerAge is the age from which a filler has been left behind by a daemon that was killed.
	fillerAge = 10 * time.Minute
	// outdatedAge is the age from which a volume of another version that nobody uses is removed.
	outdatedAge = 24 * time.Hour
)

// programs are the volumes by which programs come into containers. One is filled once and mounted
// read-only in every container: that works with engines on other hosts, with read-only roots, and
// with images that hold nothing.
type programs struct {
	filling chan struct{} // holds one token: the right to fill
	mu      sync.Mutex
	arch    string                        // of the engine; guarded by mu
	filled  map[*container.Program]filled // guarded by mu
}

// filled is a volume that has a program.
type filled struct{ volume, hash string }

// placeProgram adds the program to what a container is made from. A program that can't be brought
// is left out: the container is made without it, and has no label that says otherwise.
func (c *call) placeProgram(spec *client.ContainerCreateOptions, opts container.Options) error {
	if opts.Program == nil {
		return nil
	}
	f, err := c.fillVolume(opts)
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
		Type: mount.TypeVolume, Source: f.volume, Target: path.Dir(opts.Program.Path), ReadOnly: true,
		VolumeOptions: &mount.VolumeOptions{NoCopy: true},
	})
	if opts.Program.Scratch != "" {
		tmpfs := maps.Clone(spec.HostConfig.Tmpfs)
		if tmpfs == nil {
			tmpfs = make(map[string]string)
		}
		tmpfs[opts.Program.Scratch] = scratchOptions
		spec.HostConfig.Tmpfs = tmpfs
	}
	spec.Config.Labels[container.LabelProgram] = f.hash
	return nil
}

// known gives the volume that was filled with the program, if it is still there: whoever cleans up
// on the engine may have taken it away while no container used it, and the engine would make an
// empty one in its place.
func (c *call) known(program *container.Program) (filled, bool) {
	p := &c.p.programs
	p.mu.Lock()
	f, ok := p.filled[program]
	p.mu.Unlock()
	if !ok {
		return filled{}, false
	}
	found, err := c.p.client.VolumeInspect(c.Ctx, f.volume, client.VolumeInspectOptions{})
	return f, err == nil && found.Volume.Labels[container.LabelProgram] == f.hash
}

// fillVolume gives the volume that has the program, which it makes where it is not known to be
// there.
func (c *call) fillVolume(opts container.Options) (filled, error) {
	if opts.Platform != "" {
		return filled{}, fmt.Errorf("the image may be of another architecture than the engine: %s", opts.Platform)
	}
	p := &c.p.programs
	if f, ok := c.known(opts.Program); ok {
		return f, nil
	}
	select {
	case p.filling <- struct{}{}:
		defer func() { <-p.filling }()
	case <-c.Ctx.Done():
		return filled{}, c.Ctx.Err()
	}
	if f, ok := c.known(opts.Program); ok {
		return f, nil
	}
	arch, err := c.engineArch()
	if err != nil {
		return filled{}, err
	}
	binary, err := opts.Program.Binary(arch)
	if err != nil {
		return filled{}, err
	}
	hash := container.ProgramHash(binary)
	f := filled{volume: fmt.Sprintf("%s%s-%s", volumePrefix, hash, arch), hash: hash}
	if err := c.fill(f, opts, binary); err != nil {
		return filled{}, fmt.Errorf("fill the volume %s: %w", f.volume, err)
	}
	c.removeOutdated(f.volume, outdatedAge)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.filled == nil {
		p.filled = make(map[*container.Program]filled)
	}
	p.filled[opts.Program] = f
	return f, nil
}

// removeOutdated removes the volumes of other versions that no container uses. Those that are
// younger than age may be about to be used by a daemon of that version.
func (c *call) removeOutdated(current string, age time.Duration) {
	list, err := c.p.client.VolumeList(c.Ctx, client.VolumeListOptions{
		Filters: make(client.Filters).Add("label", container.LabelProgram)})
	if err != nil {
		return // the next daemon looks again
	}
	for _, v := range list.Items {
		made, err := time.Parse(time.RFC3339, v.CreatedAt)
		if v.Name == current || !strings.HasPrefix(v.Name, volumePrefix) ||
			v.Labels[container.LabelOctobot] != "true" ||
			err != nil || time.Since(made) < age {
			continue
		}
		// The engine refuses where a container has it.
		_, _ = c.p.client.VolumeRemove(c.Ctx, v.Name, client.VolumeRemoveOptions{})
	}
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
func (c *call) fill(f filled, opts container.Options, binary []byte) error {
	c.removeFillers()
	_, err := c.p.client.VolumeCreate(c.Ctx, client.VolumeCreateOptions{Name: f.volume, Labels: map[string]string{
		container.LabelOctobot: "true", container.LabelProgram: f.hash}})
	if err != nil {
		return err
	}
	dir := path.Dir(opts.Program.Path)
	spec := client.ContainerCreateOptions{
		Name: "octobot-filler-" + strings.ToLower(rand.Text()),
		Config: &dockercontainer.Config{Image: opts.Image, Cmd: []string{opts.Program.Path},
			Labels: map[string]string{labelFiller: f.hash}},
		HostConfig: &dockercontainer.HostConfig{NetworkMode: container.NetworkNone, Mounts: []mount.Mount{{
			Type: mount.TypeVolume, Source: f.volume, Target: dir, VolumeOptions: &mount.VolumeOptions{NoCopy: true},
		}}},
	}
	made, err := c.p.client.ContainerCreate(c.Ctx, spec)
	if lacksImage(err) {
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
	// What is there already may be running somewhere, and can't be started while it is written.
	there, err := c.p.client.ContainerStatPath(c.Ctx, made.ID,
		client.ContainerStatPathOptions{Path: opts.Program.Path})
	if err == nil && there.Stat.Size == int64(len(binary)) && there.Stat.Mode.IsRegular() &&
		there.Stat.Mode.Perm() == programMode {
		return nil
	}
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
	if err := w.WriteHeader(&tar.Header{Name: name, Mode: programMode, Size: int64(len(content)), Typeflag: tar.TypeReg,
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
