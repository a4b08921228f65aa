package mock

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"path"

	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/container/mock/toybox"
)

func (m *MockProvider) filesOf(sessionID string) (*toybox.FileSystem, error) {
	m.engine.mu.Lock()
	defer m.engine.mu.Unlock()
	b, err := m.own(sessionID)
	if err != nil {
		return nil, err
	}
	return &b.files, nil
}

// CopyTo implements [container.Copier]. Links and devices in the archive are refused.
func (m *MockProvider) CopyTo(ctx context.Context, sessionID, dir string, r io.Reader) error {
	return m.sessionCall(ctx, "copyto", sessionID, func() error { return container.ValidatePath(dir) },
		func(ctx context.Context) error {
			files, err := m.filesOf(sessionID)
			if err != nil {
				return err
			}
			dir = path.Clean(dir)
			if !files.IsDir(dir) {
				return refuse(container.ErrPathNotFound, "%s is not a directory", dir)
			}
			return unpack(ctx, files, dir, r)
		})
}

func unpack(ctx context.Context, files *toybox.FileSystem, dir string, r io.Reader) error {
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
		f := toybox.File{Mode: h.FileInfo().Mode().Perm(), UID: h.Uid, GID: h.Gid, Time: h.ModTime}
		switch h.Typeflag {
		case tar.TypeDir:
			f.Mode |= fs.ModeDir
		case tar.TypeReg:
			if f.Data, err = io.ReadAll(io.LimitReader(archive, toybox.MaxFiles)); err != nil {
				return err
			}
		default:
			return refuse(container.ErrUnsupported, "%s is neither a file nor a directory", h.Name)
		}
		if err := files.Put(p, f); err != nil {
			return refuse(container.ErrPathNotFound, "%s: %s", p, err)
		}
	}
	return ctx.Err()
}

// CopyFrom implements [container.Copier]. The archive is of the files as they are at the call.
func (m *MockProvider) CopyFrom(ctx context.Context, sessionID, p string) (io.ReadCloser, error) {
	var archive io.ReadCloser
	err := m.sessionCall(ctx, "copyfrom", sessionID, func() error { return container.ValidatePath(p) },
		func(context.Context) error {
			files, err := m.filesOf(sessionID)
			if err != nil {
				return err
			}
			q, err := newPacker(files.As(toybox.Identity{}), path.Clean(p))
			if err != nil {
				return refuse(container.ErrPathNotFound, "%s does not exist", p)
			}
			data, err := io.ReadAll(q)
			archive = io.NopCloser(bytes.NewReader(data))
			return err
		})
	if err != nil {
		return nil, err
	}
	return archive, nil
}
