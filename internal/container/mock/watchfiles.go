package mock

import (
	"context"

	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/container/mock/toybox"
)

// WatchFiles implements [container.FileWatcher].
func (m *MockProvider) WatchFiles(
	ctx context.Context, sessionID, p string, opts container.WatchFilesOptions, each func(container.FileEvent) error,
) error {
	check := func() error { return container.ValidateFile(p, opts.User, 0) }
	return m.fileCall(ctx, "watchfiles", sessionID, opts.User, check, func(ctx context.Context, u fileUser) error {
		f, err := u.Stat(p, true)
		if err != nil {
			return fileError(p, err)
		}
		w, err := u.Watch(p, opts.Recursive)
		if err != nil {
			return fileError(p, err)
		}
		defer w.Close()
		on := container.FileEvent{Kind: container.FileWatching, Path: p, Directory: f.Mode.IsDir()}
		if err := each(on); err != nil {
			return err
		}
		return u.follow(ctx, w, p, each)
	})
}

// follow tells each what a watch is told.
func (u fileUser) follow(
	ctx context.Context, w *toybox.Watch, p string, each func(container.FileEvent) error,
) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-u.system.Ending():
			return refuse(container.ErrContainerStopped, "")
		case <-w.Ready():
		}
		changes, gone := w.Take()
		for _, c := range changes {
			if err := ctx.Err(); err != nil {
				return err
			}
			e := container.FileEvent{Kind: string(c.Kind), Path: c.Path, From: c.From, Directory: c.Directory}
			if err := each(e); err != nil {
				return err
			}
		}
		if gone {
			return refuse(container.ErrPathNotFound, "%s was removed", p)
		}
	}
}
