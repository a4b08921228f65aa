package mock

import (
	"cmp"
	"context"
	"errors"
	"io"
	"io/fs"
	"math"
	"path"
	"strconv"
	"strings"
	"syscall"

	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/container/mock/toybox"
)

// tmpfsSize is what the mount options of a tmpfs say of its size; 0 for nothing.
func tmpfsSize(options string) int64 {
	for option := range strings.SplitSeq(options, ",") {
		size, ok := strings.CutPrefix(option, "size=")
		if !ok {
			continue
		}
		shift := 10 * (1 + strings.IndexAny("kmg", strings.ToLower(size[len(size)-1:])))
		n, err := strconv.ParseInt(strings.TrimRight(size, "kKmMgG"), 10, 64)
		if err == nil && n < toybox.MaxFiles {
			return n << shift
		}
	}
	return 0
}

// fileUser is the files of a container that runs, as one of its users may use them.
type fileUser struct {
	toybox.View
	id     toybox.Identity
	system *toybox.System
}

// lookFileUser finds a container's files; an empty user is the container's own.
func (m *MockProvider) lookFileUser(sessionID, user string) (fileUser, error) {
	m.engine.mu.Lock()
	defer m.engine.mu.Unlock()
	b, err := m.ownRunning(sessionID)
	if err != nil {
		return fileUser{}, err
	}
	id, err := lookIdentity(cmp.Or(user, b.opts.User))
	if err != nil {
		return fileUser{}, err
	}
	return fileUser{b.files.As(id), id, b.system}, nil
}

func lookIdentity(user string) (toybox.Identity, error) {
	id, ok := toybox.LookIdentity(user)
	if !ok {
		return id, refuse(container.ErrInvalidArgument, "the container has no user %s", user)
	}
	return id, nil
}

// fileCall is the frame of a method about a path of a container that runs.
func (m *MockProvider) fileCall(
	ctx context.Context, op, sessionID, user string, check func() error, do func(context.Context, fileUser) error,
) error {
	return m.sessionCall(ctx, op, sessionID, check, func(ctx context.Context) error {
		u, err := m.lookFileUser(sessionID, user)
		if err != nil {
			return err
		}
		return do(ctx, u)
	})
}

// fileError makes what a system call gives for a path an error of the seam. Others it leaves.
func fileError(p string, err error) error {
	errno, ok := errors.AsType[syscall.Errno](err)
	if errors.Is(err, toybox.ErrChanged) {
		return refuse(container.ErrPathChanged, "%s", p)
	}
	if !ok {
		return err
	}
	class := container.ErrPathNotFound // ENOENT, ENOTDIR, EISDIR, ELOOP, ENXIO
	switch errno {
	case syscall.EACCES, syscall.EPERM, syscall.EROFS:
		class = container.ErrPermission
	case syscall.EEXIST, syscall.ENOTEMPTY:
		class = container.ErrPathExists
	case syscall.ENOSPC:
		class = container.ErrNoSpace
	case syscall.EBUSY, syscall.EINVAL, syscall.EXDEV, syscall.ENAMETOOLONG:
		class = container.ErrInvalidArgument
	}
	return refuse(class, "%s: %s", p, err)
}

var fileTypes = map[fs.FileMode]string{
	0: container.FileRegular, fs.ModeDir: container.FileDirectory, fs.ModeSymlink: container.FileSymlink,
	fs.ModeNamedPipe: container.FileFIFO, fs.ModeDevice | fs.ModeCharDevice: container.FileCharDevice,
}

func modeBits(mode fs.FileMode) uint32 {
	bits := uint32(mode.Perm())
	for m, bit := range map[fs.FileMode]uint32{fs.ModeSetuid: 0o4000, fs.ModeSetgid: 0o2000, fs.ModeSticky: 0o1000} {
		if mode&m != 0 {
			bits |= bit
		}
	}
	return bits
}

func fileInfo(f toybox.File) container.FileInfo {
	return container.FileInfo{
		Name: f.Name, Type: fileTypes[f.Mode.Type()], Mode: modeBits(f.Mode), UID: int64(f.UID), GID: int64(f.GID),
		Owner: toybox.AccountName(f.UID), Group: toybox.AccountName(f.GID), Size: f.Size, Modified: f.Time,
		Target: f.Target, Version: f.Version,
	}
}

// StatFile implements [container.Files].
func (m *MockProvider) StatFile(
	ctx context.Context, sessionID, p string, opts container.StatFileOptions,
) (info *container.FileInfo, err error) {
	check := func() error { return container.ValidateFile(p, opts.User, 0) }
	err = m.fileCall(ctx, "statfile", sessionID, opts.User, check, func(_ context.Context, u fileUser) error {
		info, err = u.stat(p, opts.Follow)
		return err
	})
	if err != nil {
		return nil, err
	}
	return info, nil
}

func (u fileUser) stat(p string, follow bool) (*container.FileInfo, error) {
	f, err := u.Stat(p, follow)
	if err != nil {
		return nil, fileError(p, err)
	}
	info := fileInfo(f)
	return &info, nil
}

// ListFiles implements [container.Files].
func (m *MockProvider) ListFiles(
	ctx context.Context, sessionID, p, user string, each func(container.FileInfo) error,
) error {
	check := func() error { return container.ValidateFile(p, user, 0) }
	return m.fileCall(ctx, "listfiles", sessionID, user, check, func(ctx context.Context, u fileUser) error {
		list, err := u.ReadDir(p)
		if err != nil {
			return fileError(p, err)
		}
		for _, f := range list {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := each(fileInfo(f)); err != nil {
				return err
			}
		}
		return nil
	})
}

// ReadFile implements [container.Files].
func (m *MockProvider) ReadFile(
	ctx context.Context, sessionID, p string, opts container.ReadFileOptions,
) (*container.FileInfo, io.ReadCloser, error) {
	var (
		info    container.FileInfo
		content io.ReadCloser
	)
	check := func() error { return cmp.Or(container.ValidateFile(p, opts.User, 0), opts.Validate()) }
	err := m.fileCall(ctx, "readfile", sessionID, opts.User, check, func(_ context.Context, u fileUser) error {
		r, f, err := u.Open(p)
		if err != nil {
			return fileError(p, err)
		}
		info = fileInfo(f)
		length := cmp.Or(opts.Length, math.MaxInt64)
		content = m.stream(ctx, "readfile", sessionID, u.system, io.NewSectionReader(r, opts.Offset, length))
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	return &info, content, nil
}

// stream is what a call gives to be read later. It ends with ctx, with the provider, and with the
// container.
func (m *MockProvider) stream(
	ctx context.Context, op, sessionID string, system *toybox.System, r io.Reader,
) io.ReadCloser {
	ctx, cancel := context.WithCancelCause(ctx)
	return &stream{ctx, cancel, m.calls.Life(), system.Ending(), op, sessionID, r}
}

type stream struct {
	ctx           context.Context
	cancel        context.CancelCauseFunc
	life          context.Context
	ending        <-chan struct{}
	op, sessionID string
	r             io.Reader
}

func (s *stream) Read(b []byte) (int, error) {
	if cause := context.Cause(s.ctx); cause != nil {
		if errors.Is(cause, fs.ErrClosed) {
			return 0, cause
		}
		return 0, container.Errorf(s.op, s.sessionID, s.ctx.Err(), "")
	}
	if s.life.Err() != nil {
		return 0, container.Errorf(s.op, s.sessionID, container.ErrClosed, "")
	}
	select {
	case <-s.ending:
		return 0, container.Errorf(s.op, s.sessionID, container.ErrContainerStopped, "")
	default:
		return s.r.Read(b)
	}
}

// Close ends the reading. A repeated call: nil.
func (s *stream) Close() error {
	s.cancel(fs.ErrClosed)
	return nil
}

// bounded reads from r until ctx or the container ends. The function that it returns ends it; a
// Read that blocks is abandoned then.
func bounded(ctx context.Context, system *toybox.System, r io.Reader) (io.Reader, func()) {
	pr, pw := io.Pipe()
	go func() { // ends with r's Read, as the contract says
		_, err := io.Copy(pw, r)
		pw.CloseWithError(err)
	}()
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		select {
		case <-ctx.Done():
			pr.CloseWithError(ctx.Err())
		case <-system.Ending():
			pr.CloseWithError(refuse(container.ErrContainerStopped, ""))
		case <-done:
			pr.CloseWithError(io.ErrClosedPipe)
		}
	}()
	// The pipe's other end is told the error with which this one is closed; who reads here, its
	// own.
	return pipeEnd{pr, ctx, system.Ending()}, func() {
		close(done)
		<-ended
	}
}

// pipeEnd is a pipe's end that tells why it was closed.
type pipeEnd struct {
	r      *io.PipeReader
	ctx    context.Context
	ending <-chan struct{}
}

func (p pipeEnd) Read(b []byte) (int, error) {
	n, err := p.r.Read(b)
	if !errors.Is(err, io.ErrClosedPipe) {
		return n, err
	}
	select {
	case <-p.ending:
		return n, refuse(container.ErrContainerStopped, "")
	default:
		return n, cmp.Or(p.ctx.Err(), err)
	}
}

// WriteFile implements [container.Files].
func (m *MockProvider) WriteFile(
	ctx context.Context, sessionID, p string, r io.Reader, opts container.WriteFileOptions,
) (info *container.FileInfo, err error) {
	check := func() error { return cmp.Or(container.ValidateFile(p, opts.User, opts.Mode), opts.Validate()) }
	err = m.fileCall(ctx, "writefile", sessionID, opts.User, check, func(ctx context.Context, u fileUser) error {
		info, err = u.write(ctx, p, r, opts)
		return err
	})
	if err != nil {
		return nil, err
	}
	return info, nil
}

func (u fileUser) write(
	ctx context.Context, p string, r io.Reader, opts container.WriteFileOptions,
) (*container.FileInfo, error) {
	to := toybox.Placing{Mode: toybox.Mode(opts.Mode), Parents: opts.Parents, New: opts.New, Version: opts.Version}
	if opts.Owner != "" {
		owner, err := lookIdentity(opts.Owner)
		if err != nil {
			return nil, err
		}
		to.Owner = &owner
	}
	draft, err := u.Draft(p, to)
	if err != nil {
		return nil, fileError(p, err)
	}
	defer draft.Discard()
	in, end := bounded(ctx, u.system, r)
	defer end()
	if _, err := io.Copy(draft, in); err != nil {
		return nil, fileError(p, err)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	f, err := u.Replace(p, draft, to)
	if err != nil {
		return nil, fileError(p, err)
	}
	info := fileInfo(f)
	return &info, nil
}

// MakeDirectory implements [container.Files].
func (m *MockProvider) MakeDirectory(
	ctx context.Context, sessionID, p string, opts container.MakeDirectoryOptions,
) (info *container.FileInfo, err error) {
	check := func() error { return container.ValidateFile(p, opts.User, opts.Mode) }
	err = m.fileCall(ctx, "makedirectory", sessionID, opts.User, check, func(_ context.Context, u fileUser) error {
		mode := toybox.Mode(cmp.Or(opts.Mode, 0o755))
		if opts.Parents {
			err = u.MkdirAll(p, mode)
		} else {
			err = u.Mkdir(p, mode)
		}
		if errors.Is(err, syscall.ENOTDIR) {
			if f, statErr := u.Stat(p, false); statErr == nil && !f.Mode.IsDir() {
				err = syscall.EEXIST
			}
		}
		if err != nil {
			return fileError(p, err)
		}
		info, err = u.stat(p, true)
		return err
	})
	if err != nil {
		return nil, err
	}
	return info, nil
}

// MoveFile implements [container.Files].
func (m *MockProvider) MoveFile(
	ctx context.Context, sessionID, from, to string, opts container.MoveFileOptions,
) error {
	check := func() error {
		return cmp.Or(container.ValidateFile(from, opts.User, 0), container.ValidateFilePath(to))
	}
	return m.fileCall(ctx, "movefile", sessionID, opts.User, check, func(_ context.Context, u fileUser) error {
		return fileError(from+" to "+to, u.Rename(from, to, opts.Overwrite))
	})
}

// RemoveFile implements [container.Files].
func (m *MockProvider) RemoveFile(
	ctx context.Context, sessionID, p string, opts container.RemoveFileOptions,
) error {
	check := func() error { return container.ValidateFile(p, opts.User, 0) }
	return m.fileCall(ctx, "removefile", sessionID, opts.User, check, func(_ context.Context, u fileUser) error {
		if opts.Recursive {
			return fileError(p, u.RemoveAll(p))
		}
		return fileError(p, u.Remove(p))
	})
}

// ChangeFile implements [container.Files].
func (m *MockProvider) ChangeFile(
	ctx context.Context, sessionID, p string, opts container.ChangeFileOptions,
) (info *container.FileInfo, err error) {
	check := func() error { return cmp.Or(container.ValidateFile(p, opts.User, opts.Mode), opts.Validate()) }
	err = m.fileCall(ctx, "changefile", sessionID, opts.User, check, func(ctx context.Context, u fileUser) error {
		var owner *toybox.Identity
		if opts.Owner != "" {
			id, err := lookIdentity(opts.Owner)
			if err != nil {
				return err
			}
			owner = &id
		}
		if err := u.change(ctx, p, owner, opts); err != nil {
			return err
		}
		info, err = u.stat(p, true)
		return err
	})
	if err != nil {
		return nil, err
	}
	return info, nil
}

func (u fileUser) change(
	ctx context.Context, p string, owner *toybox.Identity, opts container.ChangeFileOptions,
) error {
	// What is below comes first: the mode to come may forbid to go there.
	f, err := u.Stat(p, true)
	if err == nil && opts.Recursive && f.Mode.IsDir() {
		list, err := u.ReadDir(p)
		if err != nil {
			return fileError(p, err)
		}
		for _, f := range list {
			if f.Mode&fs.ModeSymlink != 0 {
				continue
			}
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := u.change(ctx, path.Join(p, f.Name), owner, opts); err != nil {
				return err
			}
		}
	}
	if owner != nil {
		if err := u.Chown(p, *owner, true); err != nil {
			return fileError(p, err)
		}
	}
	if opts.SetMode {
		return fileError(p, u.Chmod(p, toybox.Mode(opts.Mode)))
	}
	return nil
}
