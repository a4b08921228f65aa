package session

import (
	"cmp"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/octobot-run/octobot/internal/container"
)

// What these methods do, [container.Files] and its neighbours promise. Where the engine can't so,
// or the session does not run, they go through archives as far as those get, and as root: see
// stillFiles.

// StatFile tells what a path in a session is.
func (s *ContainerService) StatFile(
	ctx context.Context, who Principal, id, path string, opts container.StatFileOptions,
) (info *container.FileInfo, err error) {
	defer func(start time.Time) { s.finishOperation(ctx, who, "stat file", id, start, &err) }(time.Now())
	if err := container.ValidateFile(path, opts.User, 0); err != nil {
		return nil, err
	}
	defer s.guests.enter(id)()
	if _, err := s.getUsable(ctx, who, id); err != nil {
		return nil, err
	}
	bounded, cancel := context.WithTimeout(ctx, s.cfg.CallTimeout)
	defer cancel()
	err = onFiles(bounded, s, id, opts.User, nil, func(files container.Files) (err error) {
		info, err = files.StatFile(bounded, id, path, opts)
		return err
	}, func(files *stillFiles) (err error) {
		info, _, err = files.stat(bounded, path, opts.Follow)
		return err
	})
	return info, s.hintIfChanged(id, err)
}

// ListFiles tells each what is in a directory.
func (s *ContainerService) ListFiles(
	ctx context.Context, who Principal, id, path, user string, each func(container.FileInfo) error,
) (err error) {
	defer func(start time.Time) { s.finishOperation(ctx, who, "list files", id, start, &err) }(time.Now())
	if err := container.ValidateFile(path, user, 0); err != nil {
		return err
	}
	defer s.guests.enter(id)()
	if _, err := s.getUsable(ctx, who, id); err != nil {
		return err
	}
	told := &flow{}
	tell := func(i container.FileInfo) error {
		told.begin()
		return each(i)
	}
	err = onFiles(ctx, s, id, user, told, func(files container.Files) error {
		return files.ListFiles(ctx, id, path, user, tell)
	}, func(files *stillFiles) error {
		return files.list(ctx, path, tell)
	})
	return s.hintIfChanged(id, err)
}

// ReadFile opens a file for reading. The session counts as in use while there is reading.
func (s *ContainerService) ReadFile(
	ctx context.Context, who Principal, id, path string, opts container.ReadFileOptions,
) (info *container.FileInfo, content io.ReadCloser, err error) {
	defer func(start time.Time) { s.finishOperation(ctx, who, "read file", id, start, &err) }(time.Now())
	if err := cmp.Or(container.ValidateFile(path, opts.User, 0), opts.Validate()); err != nil {
		return nil, nil, err
	}
	leave, err := s.visit(ctx, who, id)
	if err != nil {
		return nil, nil, err
	}
	err = onFiles(ctx, s, id, opts.User, nil, func(files container.Files) (err error) {
		info, content, err = files.ReadFile(ctx, id, path, opts)
		return err
	}, func(files *stillFiles) (err error) {
		info, content, err = files.read(ctx, path, opts.Offset, opts.Length)
		return err
	})
	if err != nil {
		leave()
		return nil, nil, s.hintIfChanged(id, err)
	}
	return info, s.usedContent(ctx, "read file", id, content, leave), nil
}

// WriteFile gives a file the content of r. The session counts as in use while that flows.
func (s *ContainerService) WriteFile(
	ctx context.Context, who Principal, id, path string, r io.Reader, opts container.WriteFileOptions,
) (info *container.FileInfo, err error) {
	defer func(start time.Time) { s.finishOperation(ctx, who, "write file", id, start, &err) }(time.Now())
	if err := cmp.Or(container.ValidateFile(path, opts.User, opts.Mode), opts.Validate()); err != nil {
		return nil, err
	}
	leave, err := s.visit(ctx, who, id)
	if err != nil {
		return nil, err
	}
	defer leave()
	from := &flow{r: r, used: func() { s.activity.noteUse(id) }}
	err = onFiles(ctx, s, id, opts.User, from, func(files container.Files) (err error) {
		info, err = files.WriteFile(ctx, id, path, from, opts)
		return err
	}, func(files *stillFiles) (err error) {
		info, err = files.write(ctx, path, from, opts)
		return err
	})
	return info, s.hintIfChanged(id, from.explain(ctx, err))
}

// MakeDirectory makes a directory.
func (s *ContainerService) MakeDirectory(
	ctx context.Context, who Principal, id, path string, opts container.MakeDirectoryOptions,
) (info *container.FileInfo, err error) {
	defer func(start time.Time) { s.finishOperation(ctx, who, "make directory", id, start, &err) }(time.Now())
	if err := container.ValidateFile(path, opts.User, opts.Mode); err != nil {
		return nil, err
	}
	_, end, err := s.markInUse(ctx, who, id)
	if err != nil {
		return nil, err
	}
	defer end()
	bounded, cancel := context.WithTimeout(ctx, s.cfg.CallTimeout)
	defer cancel()
	err = onFiles(bounded, s, id, opts.User, nil, func(files container.Files) (err error) {
		info, err = files.MakeDirectory(bounded, id, path, opts)
		return err
	}, func(files *stillFiles) (err error) {
		info, err = files.makeDirectory(bounded, path, opts)
		return err
	})
	return info, s.hintIfChanged(id, err)
}

// MoveFile gives what is at a path another.
func (s *ContainerService) MoveFile(
	ctx context.Context, who Principal, id, from, to string, opts container.MoveFileOptions,
) (err error) {
	defer func(start time.Time) { s.finishOperation(ctx, who, "move file", id, start, &err) }(time.Now())
	if err := cmp.Or(container.ValidateFile(from, opts.User, 0), container.ValidateFilePath(to)); err != nil {
		return err
	}
	return s.changeFiles(ctx, who, id, opts.User, "move files", func(files container.Files) error {
		return files.MoveFile(ctx, id, from, to, opts)
	})
}

// RemoveFile removes a file, a link, or a directory.
func (s *ContainerService) RemoveFile(
	ctx context.Context, who Principal, id, path string, opts container.RemoveFileOptions,
) (err error) {
	defer func(start time.Time) { s.finishOperation(ctx, who, "remove file", id, start, &err) }(time.Now())
	if err := container.ValidateFile(path, opts.User, 0); err != nil {
		return err
	}
	return s.changeFiles(ctx, who, id, opts.User, "remove files", func(files container.Files) error {
		return files.RemoveFile(ctx, id, path, opts)
	})
}

// ChangeFile changes mode and owner.
func (s *ContainerService) ChangeFile(
	ctx context.Context, who Principal, id, path string, opts container.ChangeFileOptions,
) (info *container.FileInfo, err error) {
	defer func(start time.Time) { s.finishOperation(ctx, who, "change file", id, start, &err) }(time.Now())
	if err := cmp.Or(container.ValidateFile(path, opts.User, opts.Mode), opts.Validate()); err != nil {
		return nil, err
	}
	err = s.changeFiles(ctx, who, id, opts.User, "change files", func(files container.Files) (err error) {
		info, err = files.ChangeFile(ctx, id, path, opts)
		return err
	})
	return info, err
}

// changeFiles does what no archive can.
func (s *ContainerService) changeFiles(
	ctx context.Context, who Principal, id, user, what string, change func(container.Files) error,
) error {
	_, end, err := s.markInUse(ctx, who, id)
	if err != nil {
		return err
	}
	defer end()
	return s.hintIfChanged(id, onFiles(ctx, s, id, user, nil, change, unsupported(what)))
}

// WatchFiles tells each what happens at a path. Each event is a use of the session; a watch that
// sees nothing does not keep it from idling.
func (s *ContainerService) WatchFiles(
	ctx context.Context, who Principal, id, path string, opts container.WatchFilesOptions,
	each func(container.FileEvent) error,
) (err error) {
	defer func(start time.Time) { s.finishOperation(ctx, who, "watch files", id, start, &err) }(time.Now())
	if err := container.ValidateFile(path, opts.User, 0); err != nil {
		return err
	}
	leave, err := s.visit(ctx, who, id)
	if err != nil {
		return err
	}
	defer leave()
	err = onFiles(ctx, s, id, opts.User, nil, func(files container.FileWatcher) error {
		return files.WatchFiles(ctx, id, path, opts, func(e container.FileEvent) error {
			s.activity.noteUse(id)
			return each(e)
		})
	}, unsupported("watch files"))
	return s.hintIfChanged(id, err)
}

// SearchFiles tells each what it finds below a directory, and why that may not be all.
func (s *ContainerService) SearchFiles(
	ctx context.Context, who Principal, id, dir string, opts container.SearchFilesOptions,
	each func(container.FileMatch) error,
) (incomplete string, err error) {
	defer func(start time.Time) { s.finishOperation(ctx, who, "search files", id, start, &err) }(time.Now())
	if err := cmp.Or(container.ValidateFile(dir, opts.User, 0), opts.Validate()); err != nil {
		return "", err
	}
	_, end, err := s.markInUse(ctx, who, id)
	if err != nil {
		return "", err
	}
	defer end()
	err = onFiles(ctx, s, id, opts.User, nil, func(files container.FileSearcher) (err error) {
		incomplete, err = files.SearchFiles(ctx, id, dir, opts, each)
		return err
	}, unsupported("search files"))
	return incomplete, s.hintIfChanged(id, err)
}

// PackFiles gives a path, with all below it, as a tar archive. The session counts as in use while
// there is reading.
func (s *ContainerService) PackFiles(
	ctx context.Context, who Principal, id, path, user string,
) (archive io.ReadCloser, err error) {
	defer func(start time.Time) { s.finishOperation(ctx, who, "pack files", id, start, &err) }(time.Now())
	if err := container.ValidateFile(path, user, 0); err != nil {
		return nil, err
	}
	leave, err := s.visit(ctx, who, id)
	if err != nil {
		return nil, err
	}
	err = onFiles(ctx, s, id, user, nil, func(files container.FileArchiver) (err error) {
		archive, err = files.PackFiles(ctx, id, path, user)
		return err
	}, func(files *stillFiles) (err error) {
		archive, err = files.pack(ctx, path)
		return err
	})
	if err != nil {
		leave()
		return nil, s.hintIfChanged(id, err)
	}
	return s.usedContent(ctx, "pack files", id, archive, leave), nil
}

// UnpackFiles unpacks a tar archive into a directory. The session counts as in use while it flows.
func (s *ContainerService) UnpackFiles(
	ctx context.Context, who Principal, id, dir string, r io.Reader, opts container.UnpackFilesOptions,
) (err error) {
	defer func(start time.Time) { s.finishOperation(ctx, who, "unpack files", id, start, &err) }(time.Now())
	if err := container.ValidateFile(dir, opts.User, 0); err != nil {
		return err
	}
	leave, err := s.visit(ctx, who, id)
	if err != nil {
		return err
	}
	defer leave()
	from := &flow{r: r, used: func() { s.activity.noteUse(id) }}
	err = onFiles(ctx, s, id, opts.User, from, func(files container.FileArchiver) error {
		return files.UnpackFiles(ctx, id, dir, from, opts)
	}, func(files *stillFiles) error {
		return files.unpack(ctx, dir, from, opts)
	})
	return s.hintIfChanged(id, from.explain(ctx, err))
}

// visit notes a use of a session that who reaches; the caller calls leave once, when it works with
// the session no longer. Unlike markInUse it says nothing of the time until then.
func (s *ContainerService) visit(ctx context.Context, who Principal, id string) (leave func(), err error) {
	leave = s.guests.enter(id)
	if _, err := s.getUsable(ctx, who, id); err != nil {
		leave()
		return nil, err
	}
	s.activity.noteUse(id)
	return leave, nil
}

// onFiles works with a session's files as a user: live, where the runtime is a T and that reaches
// them so, else still. Once something has flowed there is no second try.
func onFiles[T any](
	ctx context.Context, s *ContainerService, id, user string, flowed *flow, live func(T) error,
	still func(*stillFiles) error,
) error {
	err := container.Errorf("files", id, container.ErrUnsupported, "")
	if files, ok := container.As[T](s.rt); ok {
		// What is to be read may be read ahead: whether it will be of use is found out before.
		if err = s.tryFiles(ctx, id, user, flowed); err == nil {
			err = live(files)
		}
	}
	class := container.ClassOf(err)
	if class != container.ErrUnsupported && class != container.ErrContainerStopped || flowed.began() {
		return err
	}
	copier, _ := container.As[container.Copier](s.rt)
	bounded, cancel := context.WithTimeout(ctx, inspectTimeout)
	defer cancel()
	c, inspectErr := s.inspectContainer(bounded, id)
	switch {
	case inspectErr != nil:
		return inspectErr
	case c == nil:
		return container.Errorf("files", id, container.ErrContainerNotFound, "")
	case class == container.ErrContainerStopped && c.Status == container.StatusRunning:
		return err // it is just ending, or was started again
	case c.Status == container.StatusRunning && c.Exec.Agent && !isRoot(user):
		return err // its agent can't be that user: what root may do is not what was asked for
	}
	files := &stillFiles{copier: copier, id: id, user: c.User, runs: c.Status == container.StatusRunning,
		agent: c.Exec.Agent, spools: &s.spools}
	return still(files)
}

// tryFiles finds out whether a user's files are reached at all, for what is about to flow there.
func (s *ContainerService) tryFiles(ctx context.Context, id, user string, flowed *flow) error {
	files, ok := container.As[container.Files](s.rt)
	if !ok || flowed == nil || flowed.r == nil {
		return nil
	}
	_, err := files.StatFile(ctx, id, "/", container.StatFileOptions{User: user})
	if class := container.ClassOf(err); class == container.ErrUnsupported || class == container.ErrContainerStopped {
		return err
	}
	return nil
}

func isRoot(user string) bool {
	name, _, _ := strings.Cut(user, ":")
	return name == "root" || name == "0"
}

// unsupported refuses what can't be done without an agent in a session that runs.
func unsupported(what string) func(*stillFiles) error {
	return func(f *stillFiles) error {
		if !f.runs {
			return refuse(CodeSessionNotRunning, "octobot start", "it does not run, and to %s it has to", what)
		}
		if f.agent {
			return refuse(CodeUnsupported, "run a command that does it: octobot exec --user",
				"to %s as another user takes an agent that is root, which this session's is not", what)
		}
		return refuse(CodeUnsupported, "run a command that does it: octobot exec",
			"to %s takes Octobot's agent, which this session does not have", what)
	}
}

// flow is content on its way into a session, or what was told of one. A nil flow has not begun.
type flow struct {
	r    io.Reader
	used func() // may be nil

	mu    sync.Mutex
	begun bool
	err   error // of r
}

func (f *flow) begin() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.begun = true
}

func (f *flow) began() bool {
	if f == nil {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.begun
}

func (f *flow) Read(b []byte) (int, error) {
	f.begin()
	n, err := f.r.Read(b)
	if n > 0 {
		f.used()
	}
	if err != nil && !errors.Is(err, io.EOF) {
		f.mu.Lock()
		f.err = err
		f.mu.Unlock()
	}
	return n, err
}

// explain gives the reader's error where that is why the operation failed.
func (f *flow) explain(ctx context.Context, err error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil && f.err != nil && ctx.Err() == nil {
		return f.err
	}
	return err
}

// usedContent is what comes out of a session, until it is closed.
type usedContent struct {
	io.ReadCloser
	used  func()
	fault func(error) error
	leave func() // counts once
}

func (s *ContainerService) usedContent(
	ctx context.Context, op, id string, content io.ReadCloser, leave func(),
) io.ReadCloser {
	return &usedContent{ReadCloser: content, used: func() { s.activity.noteUse(id) },
		fault: func(err error) error { return toError(ctx, op, id, s.hintIfChanged(id, err)) },
		leave: sync.OnceFunc(leave)}
}

func (c *usedContent) Read(b []byte) (int, error) {
	n, err := c.ReadCloser.Read(b)
	if n > 0 {
		c.used()
	}
	if err != nil && !errors.Is(err, io.EOF) {
		err = c.fault(err)
	}
	return n, err
}

func (c *usedContent) Close() error {
	defer c.leave()
	return c.ReadCloser.Close()
}
