package docker

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"io/fs"
	"path"
	"strings"
	"sync"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/moby/moby/client"

	"github.com/octobot-run/octobot/internal/container"
)

// CopyTo unpacks a tar archive into the container.
func (p *DockerProvider) CopyTo(ctx context.Context, sessionID, name string, r io.Reader) error {
	c, err := p.beginCall(ctx, "copy to", sessionID, checkPath(name))
	if err != nil {
		return err
	}
	defer c.Done()
	// A remembered ID that turns out to be gone would have the archive read twice.
	found, err := c.inspect()
	if err != nil {
		return c.toError(err)
	}
	source := &source{r: r, closed: make(chan struct{})}
	if err := c.checkDirectory(found.Container.ID, name); err != nil {
		return c.toError(pathError(err))
	}
	_, err = p.client.CopyToContainer(c.Ctx, found.Container.ID,
		client.CopyToContainerOptions{DestinationPath: name, Content: source})
	// An engine that refuses answers while the request still reads.
	select {
	case <-source.closed:
		if err := source.failure(); err != nil && c.Ctx.Err() == nil {
			return err
		}
	case <-time.After(abandonRead):
	}
	return c.toError(pathError(err))
}

// CopyFrom returns a path of the container as a tar archive.
func (p *DockerProvider) CopyFrom(ctx context.Context, sessionID, name string) (io.ReadCloser, error) {
	c, err := p.beginCall(ctx, "copy from", sessionID, checkPath(name))
	if err != nil {
		return nil, err
	}
	var content io.ReadCloser
	err = c.withContainer(func(id string) error {
		if content = c.podmanLink(id, name); content != nil {
			return nil
		}
		res, err := p.client.CopyFromContainer(c.Ctx, id, client.CopyFromContainerOptions{SourcePath: name})
		content = res.Content
		return err
	})
	if err != nil {
		err = c.toError(pathError(err))
		c.Done()
		return nil, err
	}
	return &archive{c: c, content: content}, nil
}

// podmanLink gives a link as Docker does. Podman gives what it leads to; and of the link, where
// that is. Nil where there is none, or another engine.
func (c *call) podmanLink(id, name string) io.ReadCloser {
	if !c.p.podman() || path.Base(name) == "." || strings.HasSuffix(name, "/") {
		return nil
	}
	found, err := c.p.client.ContainerStatPath(c.Ctx, id, client.ContainerStatPathOptions{Path: name})
	if err != nil || found.Stat.Mode&fs.ModeSymlink == 0 {
		return nil // what is wrong with the path, the archive says too
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	err = w.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: path.Base(name), Mode: 0o777,
		Linkname: found.Stat.LinkTarget, ModTime: found.Stat.Mtime.Truncate(time.Second)})
	if err != nil || w.Close() != nil { // names that no archive can hold
		return nil
	}
	return io.NopCloser(&b)
}

// checkDirectory does for Podman, which unpacks an archive over a file too, what Docker does
// itself.
func (c *call) checkDirectory(id, name string) error {
	if !c.p.podman() {
		return nil
	}
	found, err := c.p.client.ContainerStatPath(c.Ctx, id, client.ContainerStatPathOptions{Path: name})
	if cerrdefs.IsNotFound(err) || err == nil && !found.Stat.Mode.IsDir() && found.Stat.Mode&fs.ModeSymlink == 0 {
		return container.Errorf("", "", container.ErrPathNotFound, "%s is not a directory", name)
	}
	return err
}

func checkPath(p string) func() error {
	return func() error { return container.ValidatePath(p) }
}

// pathError: of a container that is there, what else is not found is the path.
func pathError(err error) error {
	if err == nil || isNoContainer(err) || !isEngineAnswer(err) {
		return err
	}
	if cerrdefs.IsNotFound(err) || errorSays(err, saysNotDirectory) {
		return container.Errorf("", "", container.ErrPathNotFound, "%s", engineText(err))
	}
	return err
}

// abandonRead is how long CopyTo waits for a Read of the caller's that blocks after the engine has
// refused the archive.
const abandonRead = time.Second

// source is the archive that the request reads and closes. It remembers an error of the reader's
// own.
type source struct {
	r      io.Reader
	once   sync.Once
	closed chan struct{}
	mu     sync.Mutex
	err    error
}

func (s *source) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

func (s *source) Read(b []byte) (int, error) {
	n, err := s.r.Read(b)
	if err != nil && err != io.EOF {
		s.mu.Lock()
		s.err = err
		s.mu.Unlock()
	}
	return n, err
}

// Close leaves the caller's reader open.
func (s *source) Close() error {
	s.once.Do(func() { close(s.closed) })
	return nil
}

// archive is a tar archive on its way from the engine. It keeps its call open.
type archive struct {
	c       *call
	content io.ReadCloser
	closed  bool
}

func (a *archive) Read(b []byte) (int, error) {
	n, err := a.content.Read(b)
	if err != nil && err != io.EOF {
		err = a.c.toError(err)
	}
	return n, err
}

func (a *archive) Close() error {
	if a.closed {
		return nil
	}
	a.closed = true
	err := a.content.Close()
	a.c.Done()
	return err
}
