package mock

import (
	"archive/tar"
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"io/fs"
	"path"
	"strings"
	"syscall"
	"time"

	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/container/mock/toybox"
	"github.com/octobot-run/octobot/internal/untar"
)

// PackFiles implements [container.FileArchiver].
func (m *MockProvider) PackFiles(ctx context.Context, sessionID, p, user string) (io.ReadCloser, error) {
	var archive io.ReadCloser
	check := func() error { return container.ValidateFile(p, user, 0) }
	err := m.fileCall(ctx, "packfiles", sessionID, user, check, func(_ context.Context, u fileUser) error {
		q, err := newPacker(u.View, p)
		if err != nil {
			return fileError(p, err)
		}
		archive = m.stream(ctx, "packfiles", sessionID, u.system, packReader{q, sessionID})
		return nil
	})
	if err != nil {
		return nil, err
	}
	return archive, nil
}

// packReader is a packer with errors of the seam.
type packReader struct {
	*packer
	sessionID string
}

func (r packReader) Read(b []byte) (int, error) {
	n, err := r.packer.Read(b)
	if e, ok := errors.AsType[*container.Error](fileError("", err)); ok {
		err = container.Errorf("packfiles", r.sessionID, e.Class, "%s", e.Detail)
	}
	return n, err
}

// packer is an archive that is made as it is read.
type packer struct {
	view    toybox.View
	buf     bytes.Buffer // written and not yet read
	archive *tar.Writer
	todo    []packed // the next one last
	names   map[uint64]string
	at      toybox.Reader // what is being packed
	offset  int64
	left    int64
	err     error // after what is in buf
}

// packed is what is to be packed: its path, and its name in the archive.
type packed struct{ path, name string }

const packPortion = 32 << 10

// newPacker packs a path with all below it.
func newPacker(view toybox.View, p string) (*packer, error) {
	name, clean := path.Base(p), strings.TrimRight(p, "/")
	if clean == "" || strings.HasSuffix(clean, "/.") {
		name = "."
	}
	f, err := view.Stat(p, name == ".")
	switch {
	case err != nil:
		return nil, err
	case !packable(f):
		return nil, syscall.ENXIO
	}
	q := &packer{view: view, todo: []packed{{p, name}}, names: make(map[uint64]string)}
	q.archive = tar.NewWriter(&q.buf)
	return q, nil
}

func packable(f toybox.File) bool {
	return f.Mode.IsRegular() || f.Mode.IsDir() || f.Target != ""
}

// Read implements [io.Reader].
func (q *packer) Read(b []byte) (int, error) {
	for q.buf.Len() == 0 && q.err == nil {
		q.err = q.step()
	}
	if q.buf.Len() == 0 {
		return 0, q.err
	}
	return q.buf.Read(b)
}

// step packs a portion, or tells that nothing is left.
func (q *packer) step() error {
	if q.left > 0 {
		// What the file lacks by now is zeros: the archive has told of its size.
		b := make([]byte, min(q.left, packPortion))
		_, _ = q.at.ReadAt(b, q.offset)
		q.offset, q.left = q.offset+int64(len(b)), q.left-int64(len(b))
		_, err := q.archive.Write(b)
		return err
	}
	n := len(q.todo) - 1
	if n < 0 {
		return cmp.Or(q.archive.Close(), io.EOF)
	}
	next := q.todo[n]
	q.todo = q.todo[:n]
	f, err := q.view.Stat(next.path, strings.HasSuffix(next.path, "/."))
	if errors.Is(err, syscall.ENOENT) {
		return nil // it has vanished meanwhile
	}
	if err != nil || !packable(f) {
		return err
	}
	return q.entry(next, f)
}

func (q *packer) entry(next packed, f toybox.File) error {
	h := &tar.Header{
		Name: next.name, Mode: int64(modeBits(f.Mode)), Uid: f.UID, Gid: f.GID, ModTime: f.Time, Typeflag: tar.TypeReg,
		Uname: toybox.AccountName(f.UID), Gname: toybox.AccountName(f.GID), Format: tar.FormatPAX,
	}
	first, again := q.names[f.Number]
	switch {
	case f.Mode.IsDir():
		list, err := q.view.ReadDir(next.path)
		if err != nil {
			return err
		}
		for i := len(list) - 1; i >= 0; i-- {
			q.todo = append(q.todo, packed{next.path + "/" + list[i].Name, next.name + "/" + list[i].Name})
		}
		h.Typeflag = tar.TypeDir
		h.Name += "/"
	case f.Target != "":
		h.Typeflag, h.Linkname = tar.TypeSymlink, f.Target
	case again:
		h.Typeflag, h.Linkname = tar.TypeLink, first
	default:
		r, f, err := q.view.Open(next.path)
		if err != nil {
			return err
		}
		if f.Links > 1 {
			q.names[f.Number] = next.name
		}
		q.at, q.offset, q.left, h.Size = r, 0, f.Size, f.Size
	}
	return q.archive.WriteHeader(h)
}

// UnpackFiles implements [container.FileArchiver].
func (m *MockProvider) UnpackFiles(
	ctx context.Context, sessionID, dir string, r io.Reader, opts container.UnpackFilesOptions,
) error {
	check := func() error { return container.ValidateFile(dir, opts.User, 0) }
	return m.fileCall(ctx, "unpackfiles", sessionID, opts.User, check, func(ctx context.Context, u fileUser) error {
		f, err := u.Stat(dir, true)
		if err == nil && !f.Mode.IsDir() {
			err = syscall.ENOTDIR
		}
		if err != nil {
			return fileError(dir, err)
		}
		in, end := bounded(ctx, u.system, r)
		defer end()
		x := &unpacker{ctx: ctx, view: u.Beneath(dir), owners: opts.Owners, links: map[string]bool{}}
		return cmp.Or(x.all(untar.NewReader(in)), x.finish())
	})
}

// unpacker unpacks an archive below a directory.
type unpacker struct {
	ctx     context.Context
	view    toybox.View
	owners  bool
	delayed []delayed
	links   map[string]bool // the archive's own
}

// delayed is what is set of a directory when all is in it.
type delayed struct {
	name     string
	mode     fs.FileMode
	modified time.Time
}

func (x *unpacker) all(archive *untar.Reader) error {
	for {
		if err := x.ctx.Err(); err != nil {
			return err
		}
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return archiveError(err)
		}
		name, err := x.localName(h.Name)
		if err != nil {
			return err
		}
		if err := x.entry(archive.Reader, h, name); err != nil {
			return fileError(h.Name, err)
		}
	}
}

// archiveError tells an archive that is none, or is cut, from other trouble with reading it.
func archiveError(err error) error {
	if errors.Is(err, tar.ErrHeader) || errors.Is(err, io.ErrUnexpectedEOF) {
		return refuse(container.ErrInvalidArgument, "the archive is broken: %s", err)
	}
	return err
}

// localName makes a name of an archive one below the directory that it is unpacked into.
func (x *unpacker) localName(name string) (string, error) {
	elsewhere := strings.HasPrefix(name, "/") || strings.ContainsRune(name, 0)
	for element := range strings.SplitSeq(name, "/") {
		elsewhere = elsewhere || element == ".."
	}
	if elsewhere {
		return "", refuse(container.ErrInvalidArgument, "the archive's name %.200q leads out of it", name)
	}
	name = path.Clean("./" + name)
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		if x.links[dir] {
			return "", refuse(container.ErrInvalidArgument, "the archive's name %.200q leads through its link", name)
		}
	}
	return name, nil
}

func (x *unpacker) entry(archive *tar.Reader, h *tar.Header, name string) error {
	switch h.Typeflag {
	case tar.TypeDir:
		return x.directory(h, name)
	case tar.TypeReg, tar.TypeGNUSparse, tar.TypeSymlink, tar.TypeLink:
	default:
		return nil
	}
	if err := x.makeRoom(name); err != nil {
		return err
	}
	switch h.Typeflag {
	case tar.TypeSymlink:
		if err := x.view.Symlink(h.Linkname, name); err != nil {
			return err
		}
		x.links[name] = true
	case tar.TypeLink:
		target, err := x.localName(h.Linkname)
		if err != nil {
			return err
		}
		x.links[name] = x.links[target]
		return x.view.Link(target, name)
	default:
		if err := x.file(archive, name); err != nil {
			return err
		}
	}
	if x.owners {
		if err := x.view.Chown(name, toybox.Identity{UID: h.Uid, GID: h.Gid}, false); err != nil {
			return err
		}
	}
	if h.Typeflag == tar.TypeSymlink {
		return nil
	}
	return cmp.Or(x.view.Chmod(name, x.mode(h)), x.view.Chtimes(name, h.ModTime))
}

// makeRoom makes the directories above name, and removes what is there, unless it is a directory.
func (x *unpacker) makeRoom(name string) error {
	f, err := x.view.Stat(name, false)
	switch {
	case err == nil && f.Mode.IsDir():
		return syscall.EEXIST
	case err == nil:
		return x.view.Remove(name)
	case !errors.Is(err, syscall.ENOENT):
		return err
	}
	return x.makeAbove(name)
}

func (x *unpacker) makeAbove(name string) error {
	if dir := path.Dir(name); dir != "." {
		return x.view.MkdirAll(dir, 0o755)
	}
	return nil
}

func (x *unpacker) file(archive *tar.Reader, name string) error {
	draft, err := x.view.Draft(name, toybox.Placing{})
	if err != nil {
		return err
	}
	defer draft.Discard()
	if _, err := io.Copy(draft, archive); err != nil {
		return archiveError(err)
	}
	_, err = x.view.Replace(name, draft, toybox.Placing{})
	return err
}

func (x *unpacker) directory(h *tar.Header, name string) error {
	if name == "." {
		return nil // the destination itself stays what it was
	}
	f, err := x.view.Stat(name, false)
	switch {
	case err == nil && !f.Mode.IsDir():
		return syscall.EEXIST
	case errors.Is(err, syscall.ENOENT):
		if err = x.makeAbove(name); err == nil {
			err = x.view.Mkdir(name, 0o700)
		}
	}
	if err != nil {
		return err
	}
	if x.owners {
		if err := x.view.Chown(name, toybox.Identity{UID: h.Uid, GID: h.Gid}, true); err != nil {
			return err
		}
	}
	x.delayed = append(x.delayed, delayed{name, x.mode(h), h.ModTime})
	return nil
}

func (x *unpacker) mode(h *tar.Header) fs.FileMode {
	mode := toybox.Mode(uint32(h.Mode) & 0o7777)
	if !x.owners {
		mode &= fs.ModePerm
	}
	return mode
}

// finish sets the times and the modes of directories.
func (x *unpacker) finish() error {
	for i := len(x.delayed) - 1; i >= 0; i-- {
		d := x.delayed[i]
		// The time first: of a directory that nobody may enter, it could not be set any more.
		if err := cmp.Or(x.view.Chtimes(d.name, d.modified), x.view.Chmod(d.name, d.mode)); err != nil &&
			!errors.Is(err, syscall.ENOENT) {
			return fileError(d.name, err)
		}
	}
	return nil
}
