package mock

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"path"
	"strings"

	"github.com/octobot-run/octobot/internal/container"
)

func (m *MockProvider) diskOf(sessionID string) (*disk, error) {
	m.engine.mu.Lock()
	defer m.engine.mu.Unlock()
	b, err := m.own(sessionID)
	if err != nil {
		return nil, err
	}
	return &b.disk, nil
}

// CopyTo implements [container.Copier]. Links and devices in the archive are refused.
func (m *MockProvider) CopyTo(ctx context.Context, sessionID, dir string, r io.Reader) error {
	return m.call(ctx, "copyto", sessionID, validate(sessionID, container.ValidatePath(dir)), func(ctx context.Context) error {
		d, err := m.diskOf(sessionID)
		if err != nil {
			return err
		}
		dir = path.Clean(dir)
		if !d.isDir(dir) {
			return refuse(container.ErrPathNotFound, "%s is not a directory", dir)
		}
		return d.unpack(ctx, dir, r)
	})
}

func (d *disk) unpack(ctx context.Context, dir string, r io.Reader) error {
	archive := tar.NewReader(r)
	for ctx.Err() == nil {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		// A name cannot lead out of dir: ".." ends at the archive's own root.
		p := path.Join(dir, path.Join("/", h.Name))
		f := &file{mode: h.FileInfo().Mode().Perm(), uid: h.Uid, gid: h.Gid, time: h.ModTime}
		switch h.Typeflag {
		case tar.TypeDir:
			f.mode |= fs.ModeDir
		case tar.TypeReg:
			if f.data, err = io.ReadAll(io.LimitReader(archive, diskSize)); err != nil {
				return err
			}
		default:
			return refuse(container.ErrUnsupported, "%s is neither a file nor a directory", h.Name)
		}
		if err := d.putAll(p, f); err != nil {
			return refuse(container.ErrPathNotFound, "%s: %s", p, err)
		}
	}
	return ctx.Err()
}

// putAll is put, and makes the directories above that an archive has left out.
func (d *disk) putAll(p string, f *file) error {
	if parent := path.Dir(p); !d.exists(parent) {
		if err := d.putAll(parent, &file{mode: fs.ModeDir | 0o755}); err != nil {
			return err
		}
	}
	return d.put(p, f)
}

// CopyFrom implements [container.Copier]. The archive is of the files as they are at the call.
func (m *MockProvider) CopyFrom(ctx context.Context, sessionID, p string) (io.ReadCloser, error) {
	var archive io.ReadCloser
	err := m.call(ctx, "copyfrom", sessionID, validate(sessionID, container.ValidatePath(p)), func(context.Context) error {
		d, err := m.diskOf(sessionID)
		if err != nil {
			return err
		}
		data, err := d.pack(path.Clean(p))
		if err != nil {
			return err
		}
		archive = io.NopCloser(bytes.NewReader(data))
		return nil
	})
	return archive, err
}

func (d *disk) pack(p string) ([]byte, error) {
	paths := d.walk(p)
	if len(paths) == 0 {
		return nil, refuse(container.ErrPathNotFound, "%s does not exist", p)
	}
	var buf bytes.Buffer
	archive := tar.NewWriter(&buf)
	for _, q := range paths {
		f, err := d.lookup(q)
		if err != nil { // removed meanwhile
			continue
		}
		h := &tar.Header{
			Name: strings.TrimPrefix(q, strings.TrimSuffix(path.Dir(p), "/")+"/"),
			Mode: int64(f.mode.Perm()), Uid: f.uid, Gid: f.gid, ModTime: f.time,
			Typeflag: tar.TypeReg, Size: int64(len(f.data)),
		}
		if f.mode.IsDir() {
			h.Typeflag = tar.TypeDir
			h.Name += "/"
		}
		if err := archive.WriteHeader(h); err != nil {
			return nil, err
		}
		if _, err := archive.Write(f.data); err != nil {
			return nil, err
		}
	}
	if err := archive.Close(); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}
