package session

import (
	"archive/tar"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"time"

	"github.com/octobot-run/octobot/internal/container"
)

// stillFiles are the files of a container that does not run, or that has no agent: all there is to
// reach them by is the engine's archives. It works as root, whoever is asked for, but what it makes
// is that user's. What runs may change a file between a look at it and what is done then.
type stillFiles struct {
	copier container.Copier // nil: the engine has none
	id     string
	user   string // whom processes of the container run as
	runs   bool
	agent  bool // it has one, which can't be the user that was asked for
	spools *spools
}

// Bounds of what is read to find something in an archive.
const (
	maxFileLinks   = 40
	maxListed      = 1 << 30 // bytes of a directory, with all below it, that is listed
	maxListEntries = 500_000
)

func (f *stillFiles) fail(class error, format string, args ...any) error {
	return container.Errorf("files", f.id, class, format, args...)
}

// explainMissing has one way to say that there is no such path.
func (f *stillFiles) explainMissing(p string, err error) error {
	if errors.Is(err, container.ErrPathNotFound) {
		return f.fail(container.ErrPathNotFound, "%s: no such file or directory", p)
	}
	return err
}

// stillFile is a path as an archive, from its first header on.
type stillFile struct {
	*tar.Reader
	head   *tar.Header
	from   io.Closer
	cancel context.CancelFunc
}

func (a *stillFile) Close() error {
	a.cancel()
	return a.from.Close()
}

// open gives a path as it stands there; of the archive no more than limit bytes.
func (f *stillFiles) open(ctx context.Context, p string, limit int64) (*stillFile, error) {
	if f.copier == nil {
		return nil, unsupported("use its files")(f)
	}
	ctx, cancel := context.WithCancel(ctx) // most often, the rest is of no interest
	from, err := f.copier.CopyFrom(ctx, f.id, p)
	if err != nil {
		cancel()
		return nil, f.explainMissing(p, err)
	}
	a := &stillFile{Reader: tar.NewReader(&boundedReader{from, limit}), from: from, cancel: cancel}
	if a.head, err = a.Next(); err != nil {
		_ = a.Close()               // it was only read
		if errors.Is(err, io.EOF) { // so Podman has it
			return nil, f.fail(container.ErrPathNotFound, "%s is neither a file nor a directory nor a link", p)
		}
		return nil, fmt.Errorf("read the engine's archive of %.200q: %w", p, err)
	}
	return a, nil
}

// resolve is open for what a path leads to, and says where that is: also beside ErrPathNotFound.
func (f *stillFiles) resolve(ctx context.Context, p string, limit int64) (*stillFile, string, error) {
	for range maxFileLinks {
		a, err := f.open(ctx, p, limit)
		if err != nil || a.head.Typeflag != tar.TypeSymlink {
			return a, p, err
		}
		target := a.head.Linkname
		_ = a.Close() // it was only read
		if !path.IsAbs(target) {
			target = path.Dir(path.Clean(p)) + "/" + target
		}
		p = target
	}
	return nil, p, f.fail(container.ErrPathNotFound, "%s: too many links", p)
}

func (f *stillFiles) stat(
	ctx context.Context, p string, follow bool,
) (info *container.FileInfo, at string, err error) {
	var a *stillFile
	if at = p; follow {
		a, at, err = f.resolve(ctx, p, maxListed)
	} else {
		a, err = f.open(ctx, p, maxListed)
	}
	if err != nil {
		return nil, at, err
	}
	return infoOf(p, a.head), at, a.Close()
}

// infoOf has the version of a file from what the engine tells: of its time, only the second.
func infoOf(p string, h *tar.Header) *container.FileInfo {
	info := &container.FileInfo{
		Name: path.Base(p), Mode: uint32(h.Mode) & 0o7777, UID: int64(h.Uid), GID: int64(h.Gid), Owner: h.Uname,
		Group: h.Gname, Size: h.Size, Modified: sayable(h.ModTime),
	}
	switch h.Typeflag {
	case tar.TypeDir:
		info.Type, info.Size = container.FileDirectory, 0
	case tar.TypeSymlink:
		info.Type, info.Target, info.Size = container.FileSymlink, h.Linkname, int64(len(h.Linkname))
	case tar.TypeFifo:
		info.Type = container.FileFIFO
	case tar.TypeChar:
		info.Type = container.FileCharDevice
	case tar.TypeBlock:
		info.Type = container.FileBlockDevice
	default:
		info.Type = container.FileRegular
		info.Version = fmt.Sprintf("a%xx%xx%xx%xx%x", h.ModTime.UnixNano(), h.Size, h.Mode, h.Uid, h.Gid)
	}
	return info
}

// sayable keeps a time, which is whatever somebody in the session likes, to those that JSON knows.
func sayable(t time.Time) time.Time {
	const first, last = -62135596800, 253402300799 // seconds: the years 1 to 9999
	if s := t.Unix(); s < first || s > last {
		return time.Unix(min(max(s, first), last), 0)
	}
	return t
}

func (f *stillFiles) list(ctx context.Context, p string, each func(container.FileInfo) error) error {
	a, at, err := f.resolve(ctx, path.Clean(p), maxListed)
	if err != nil {
		return err
	}
	defer func() { _ = a.Close() }() // it was only read
	if a.head.Typeflag != tar.TypeDir {
		return f.fail(container.ErrPathNotFound, "%s is not a directory", p)
	}
	for range maxListEntries {
		h, err := a.Next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, errTooLong):
			return f.tooMuch(p)
		case err != nil:
			return err
		}
		name, err := belowFirst(a.head.Name, h.Name)
		if err != nil {
			return err
		}
		if name = strings.TrimPrefix(name, "/"); name == "" || strings.Contains(name, "/") {
			continue
		}
		info := infoOf(name, h)
		if h.Typeflag == tar.TypeLink { // to another name of the file, which has its size
			if info, _, err = f.stat(ctx, path.Join(at, name), false); err != nil {
				return err
			}
		}
		if err := each(*info); err != nil {
			return err
		}
	}
	return f.tooMuch(p)
}

func (f *stillFiles) tooMuch(p string) error {
	return f.fail(container.ErrLimitReached, "%s has more than %d files or %d bytes below it, which is too much to "+
		"list without an agent: start the session, or run ls in it", p, maxListEntries, maxListed)
}

// belowFirst gives what name is to first, the name of an archive's first entry: "" or "/…".
func belowFirst(first, name string) (string, error) {
	first, name = strings.Trim(first, "/"), strings.Trim(name, "/")
	if first == "" || first == "." { // the root's
		if name = strings.TrimPrefix(name, "./"); name == "" || name == "." {
			return "", nil
		}
		return "/" + name, nil
	}
	rest, ok := strings.CutPrefix(name, first)
	if !ok || rest != "" && rest[0] != '/' {
		return "", fmt.Errorf("the engine's archive of %.200q holds %.200q", first, name)
	}
	return rest, nil
}

func (f *stillFiles) read(
	ctx context.Context, p string, offset, length int64,
) (*container.FileInfo, io.ReadCloser, error) {
	a, _, err := f.resolve(ctx, p, unlimited)
	if err != nil {
		return nil, nil, err
	}
	info := infoOf(p, a.head)
	if info.Type != container.FileRegular {
		_ = a.Close() // it was only read
		return nil, nil, f.fail(container.ErrPathNotFound, "%s is a %s, not a file", p, info.Type)
	}
	// An archive begins at the beginning: what is before the offset comes, and is dropped.
	if _, err := io.CopyN(io.Discard, a, offset); err != nil && !errors.Is(err, io.EOF) {
		_ = a.Close() // it was only read
		return nil, nil, err
	}
	if length == 0 {
		return info, a, nil
	}
	return info, struct {
		io.Reader
		io.Closer
	}{io.LimitReader(a, length), a}, nil
}

// write has all of the content before it changes anything, as an archive says first how long a
// file is. The conditions are checked before that, and again after it.
func (f *stillFiles) write(
	ctx context.Context, p string, r io.Reader, opts container.WriteFileOptions,
) (*container.FileInfo, error) {
	h, at, err := f.prepareWrite(ctx, p, opts)
	if err != nil {
		return nil, err
	}
	content, err := f.spools.fill(ctx, r)
	if err != nil {
		return nil, err
	}
	defer content.close()
	if opts.New || opts.Version != "" {
		if h, at, err = f.prepareWrite(ctx, p, opts); err != nil {
			return nil, err
		}
	}
	h.Size, h.ModTime = content.size, time.Now()
	dir, entries, err := f.parents(ctx, path.Dir(at), opts.Parents, h)
	if err != nil {
		return nil, err
	}
	err = f.copyTo(ctx, dir, func(w *tar.Writer) error {
		if err := writeHeaders(w, append(entries, h)); err != nil {
			return err
		}
		_, err := io.CopyBuffer(onlyWriter{w}, content.read(), make([]byte, copyBuffer))
		return err
	})
	if err != nil {
		return nil, err
	}
	info, _, err := f.stat(ctx, p, true)
	return info, err
}

// prepareWrite looks at what a write is about to replace, and gives the header of what does.
func (f *stillFiles) prepareWrite(
	ctx context.Context, p string, opts container.WriteFileOptions,
) (h *tar.Header, at string, err error) {
	there, at, err := f.stat(ctx, p, !opts.New) // a link that leads nowhere is something, too
	missing := errors.Is(err, container.ErrPathNotFound)
	switch {
	case err != nil && !missing:
		return nil, at, err
	case !missing && opts.New:
		return nil, at, f.fail(container.ErrPathExists, "%s", p)
	case !missing && there.Type != container.FileRegular:
		return nil, at, f.fail(container.ErrPathNotFound, "%s is a %s, not a file", p, there.Type)
	case missing && opts.Version != "":
		return nil, at, f.fail(container.ErrPathChanged, "%s is not there", p)
	case opts.Version != "" && opts.Version != "*" && opts.Version != there.Version:
		return nil, at, f.fail(container.ErrPathChanged, "%s", p)
	}
	h = &tar.Header{Typeflag: tar.TypeReg, Name: path.Base(at), Mode: int64(opts.Mode)}
	if !missing { // root writes: it stays whose it was
		h.Uid, h.Gid = int(there.UID), int(there.GID)
	}
	switch {
	case h.Mode != 0:
	case missing:
		h.Mode = 0o644
	default: // what root may do as that user, others' content is not to
		h.Mode = int64(there.Mode & 0o777)
	}
	if missing || opts.Owner != "" {
		h.Uid, h.Gid, err = f.owner(ctx, cmp.Or(opts.Owner, opts.User))
	}
	return h, at, err
}

func (f *stillFiles) makeDirectory(
	ctx context.Context, p string, opts container.MakeDirectoryOptions,
) (*container.FileInfo, error) {
	p = path.Clean(p)
	there, _, err := f.stat(ctx, p, opts.Parents)
	switch {
	case err == nil && opts.Parents && there.Type == container.FileDirectory:
		return there, nil
	case err == nil:
		return nil, f.fail(container.ErrPathExists, "%s", p)
	case !errors.Is(err, container.ErrPathNotFound):
		return nil, err
	}
	h := &tar.Header{Typeflag: tar.TypeDir, Name: path.Base(p), Mode: cmp.Or(int64(opts.Mode), 0o755),
		ModTime: time.Now()}
	if h.Uid, h.Gid, err = f.owner(ctx, opts.User); err != nil {
		return nil, err
	}
	dir, entries, err := f.parents(ctx, path.Dir(p), opts.Parents, h)
	if err != nil {
		return nil, err
	}
	err = f.copyTo(ctx, dir, func(w *tar.Writer) error { return writeHeaders(w, append(entries, h)) })
	if err != nil {
		return nil, err
	}
	info, _, err := f.stat(ctx, p, false)
	return info, err
}

// parents gives the directory to unpack into, and the entries of those that are missing below it,
// where they are to be made, owned as h, whose name it makes one below them.
func (f *stillFiles) parents(
	ctx context.Context, dir string, make bool, h *tar.Header,
) (at string, entries []*tar.Header, err error) {
	if !make {
		return dir, nil, nil
	}
	var missing []string
	for ; dir != "/"; dir = path.Dir(dir) {
		info, _, err := f.stat(ctx, dir, true)
		if err == nil && info.Type != container.FileDirectory {
			return "", nil, f.fail(container.ErrPathNotFound, "%s is not a directory", dir)
		}
		if err == nil {
			break
		}
		if !errors.Is(err, container.ErrPathNotFound) {
			return "", nil, err
		}
		missing = append(missing, path.Base(dir))
	}
	name := ""
	for i := len(missing) - 1; i >= 0; i-- {
		name = path.Join(name, missing[i])
		entries = append(entries, &tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: 0o755, Uid: h.Uid,
			Gid: h.Gid, ModTime: h.ModTime})
	}
	h.Name = path.Join(name, h.Name)
	return dir, entries, nil
}

func writeHeaders(w *tar.Writer, headers []*tar.Header) error {
	for _, h := range headers {
		if err := w.WriteHeader(h); err != nil {
			return err
		}
	}
	return nil
}
