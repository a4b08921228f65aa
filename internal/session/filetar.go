package session

import (
	"archive/tar"
	"bufio"
	"cmp"
	"context"
	"errors"
	"io"
	"math"
	"path"
	"strconv"
	"strings"

	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/untar"
)

const (
	unlimited  = math.MaxInt64
	copyBuffer = 64 << 10
	// maxSparse bounds what a file with holes may expand to, which costs its sender nothing.
	maxSparse = 1 << 30
	// maxArchiveLinks bounds what is remembered of an archive's links, in bytes.
	maxArchiveLinks = 4 << 20
	maxAccounts     = 1 << 20 // bytes of /etc/passwd and /etc/group
)

// pack gives a path as an archive, as [container.FileArchiver] promises it.
func (f *stillFiles) pack(ctx context.Context, p string) (io.ReadCloser, error) {
	name, asserted := path.Base(p), strings.HasSuffix(p, "/") // which links are followed for
	if path.Clean(p) == "/" || strings.HasSuffix(p, "/.") || name == ".." {
		name, asserted = ".", true
	}
	// Engines do not agree on what "/." is called, nor on links before a slash.
	from, err := f.open(ctx, path.Clean(p), unlimited)
	if err == nil && asserted && from.head.Typeflag == tar.TypeSymlink {
		_ = from.Close() // it was only read
		from, _, err = f.resolve(ctx, path.Clean(p), unlimited)
	}
	if err != nil {
		return nil, err
	}
	if asserted && from.head.Typeflag != tar.TypeDir {
		_ = from.Close() // it was only read
		return nil, f.fail(container.ErrPathNotFound, "%s is not a directory", p)
	}
	out, in := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		first := from.head.Name
		in.CloseWithError(rewriteFrom(from.Reader, from.head, in, func(h *tar.Header) (keep bool, err error) {
			keep = isPlain(h)
			if h.Name, err = renamed(first, name, h.Name); err == nil && h.Typeflag == tar.TypeLink {
				h.Linkname, err = renamed(first, name, h.Linkname)
			}
			if h.Typeflag == tar.TypeDir {
				h.Name += "/"
			}
			return keep, err
		}))
	}()
	return &packed{PipeReader: out, from: from, done: done}, nil
}

func renamed(first, as, name string) (string, error) {
	rest, err := belowFirst(first, name)
	return as + rest, err
}

// packed is an archive on its way through rewriteFrom.
type packed struct {
	*io.PipeReader
	from io.Closer
	done <-chan struct{}
}

func (p *packed) Close() error {
	_ = p.PipeReader.Close() // always nil
	err := p.from.Close()
	<-p.done
	return err
}

// unpack gives the engine an archive in which nothing is left of what is not to be made. Links that
// are there already lead where they lead in the container: the engine does not look at that.
func (f *stillFiles) unpack(ctx context.Context, dir string, r io.Reader, opts container.UnpackFilesOptions) error {
	uid, gid := 0, 0
	if !opts.Owners {
		var err error
		if uid, gid, err = f.owner(ctx, opts.User); err != nil {
			return err
		}
	}
	check := archiveCheck{links: map[string]bool{}}
	return f.copyTo(ctx, dir, func(w *tar.Writer) error {
		err := rewrite(untar.NewReader(r), w, func(h *tar.Header) (bool, error) {
			if err := check.entry(h); err != nil {
				return false, f.fail(container.ErrInvalidArgument, "%s", err)
			}
			if !opts.Owners {
				h.Uid, h.Gid, h.Uname, h.Gname, h.Mode = uid, gid, "", "", h.Mode&0o777
			}
			// The directory itself stays what it is.
			return isPlain(h) && (h.Typeflag != tar.TypeDir || path.Clean(h.Name) != "."), nil
		})
		switch {
		case err == nil:
			_, err = io.Copy(io.Discard, r) // what follows an archive's end
		case errors.Is(err, tar.ErrHeader):
			err = f.fail(container.ErrInvalidArgument, "it is no tar archive")
		case errors.Is(err, io.ErrUnexpectedEOF):
			err = f.fail(container.ErrInvalidArgument, "the archive is cut off: its end is missing")
		}
		return err
	})
}

// copyTo has the engine unpack what fill writes.
func (f *stillFiles) copyTo(ctx context.Context, dir string, fill func(*tar.Writer) error) error {
	if f.copier == nil {
		return unsupported("use its files")(f)
	}
	out, in := io.Pipe()
	filled := make(chan error, 1)
	go func() { // ends when out is closed, unless a caller's Read blocks, which is abandoned
		buffered := bufio.NewWriterSize(in, copyBuffer)
		w := tar.NewWriter(buffered)
		err := fill(w)
		if err == nil { // else there must be no end that looks like the archive's
			err = cmp.Or(w.Close(), buffered.Flush())
		}
		filled <- err
		in.CloseWithError(err)
	}()
	err := f.copier.CopyTo(ctx, f.id, dir, out)
	_ = out.CloseWithError(errEngineLeft) // always nil
	if err == nil {
		// The engine has seen the end of the archive.
		return nil
	}
	err = f.explainMissing(dir, err)
	select {
	case cause := <-filled:
		if cause != nil && !errors.Is(cause, errEngineLeft) && ctx.Err() == nil {
			return cause
		}
	default:
	}
	return err
}

var errEngineLeft = errors.New("the engine reads no more of the archive")

// archiveCheck refuses names and links of an archive by which it would be unpacked elsewhere.
type archiveCheck struct {
	links map[string]bool // the archive's symbolic links so far
	bytes int
}

var (
	errArchiveName   = errors.New("a name in the archive leads out of it")
	errArchiveLink   = errors.New("a name in the archive leads through a link of its own")
	errArchiveSparse = errors.New("a file with holes in the archive is too large")
	errArchiveLinks  = errors.New("the archive has too many links")
)

func (c *archiveCheck) entry(h *tar.Header) error {
	name, err := c.local(h.Name)
	if err != nil {
		return err
	}
	switch h.Typeflag {
	case tar.TypeLink:
		target, err := c.local(h.Linkname)
		if err != nil {
			return err
		}
		if c.links[target] { // then so is this
			return c.remember(name)
		}
	case tar.TypeSymlink:
		return c.remember(name)
	}
	if isPlain(h) {
		delete(c.links, name) // it is replaced
	}
	if isSparse(h) && h.Size > maxSparse {
		return errArchiveSparse
	}
	return nil
}

func (c *archiveCheck) remember(link string) error {
	if c.bytes += len(link) + 64; c.bytes > maxArchiveLinks {
		return errArchiveLinks
	}
	c.links[link] = true
	return nil
}

// local accepts a name below the archive's own root that no link of the archive leads elsewhere.
func (c *archiveCheck) local(name string) (string, error) {
	if strings.HasPrefix(name, "/") || strings.ContainsRune(name, 0) {
		return "", errArchiveName
	}
	for element := range strings.SplitSeq(name, "/") {
		if element == ".." {
			return "", errArchiveName
		}
	}
	name = path.Clean(name)
	for i := range len(name) {
		if name[i] == '/' && c.links[name[:i]] {
			return "", errArchiveLink
		}
	}
	return name, nil
}

// isPlain reports whether an entry is what may come out of a session, or go into one.
func isPlain(h *tar.Header) bool {
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeDir, tar.TypeSymlink, tar.TypeLink:
		return true
	}
	return isSparse(h)
}

func isSparse(h *tar.Header) bool {
	if h.Typeflag == tar.TypeGNUSparse {
		return true
	}
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return true
		}
	}
	return false
}

// entryReader is a [tar.Reader], or one that misses an end.
type entryReader interface {
	io.Reader
	Next() (*tar.Header, error)
}

// rewrite copies an archive as change wants each entry, without its end.
func rewrite(r entryReader, w *tar.Writer, change func(*tar.Header) (keep bool, err error)) error {
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := rewriteEntry(r, h, w, change); err != nil {
			return err
		}
	}
}

func rewriteEntry(r entryReader, h *tar.Header, w *tar.Writer, change func(*tar.Header) (bool, error)) error {
	keep, err := change(h)
	if err != nil || !keep {
		return err
	}
	// Nothing else of the header: above all no capabilities of programs, which are as setuid.
	out := &tar.Header{Typeflag: h.Typeflag, Name: h.Name, Linkname: h.Linkname, Size: h.Size, Mode: h.Mode & 0o7777,
		Uid: h.Uid, Gid: h.Gid, Uname: h.Uname, Gname: h.Gname, ModTime: h.ModTime}
	if isSparse(h) {
		out.Typeflag = tar.TypeReg
	}
	if out.Typeflag != tar.TypeReg {
		out.Size = 0
	}
	if err := w.WriteHeader(out); err != nil {
		return err
	}
	_, err = io.CopyBuffer(onlyWriter{w}, onlyReader{r}, make([]byte, min(copyBuffer, out.Size+1)))
	return err
}

// rewriteFrom is rewrite for all of an archive whose first header was read, into w.
func rewriteFrom(r *tar.Reader, first *tar.Header, w io.Writer, change func(*tar.Header) (bool, error)) error {
	buffered := bufio.NewWriterSize(w, copyBuffer)
	out := tar.NewWriter(buffered)
	if err := rewriteEntry(r, first, out, change); err != nil {
		return err
	}
	if err := rewrite(r, out, change); err != nil { // no end then that looks like the archive's
		return err
	}
	return cmp.Or(out.Close(), buffered.Flush())
}

// onlyReader and onlyWriter hide ways to copy that would not use the copier's buffer.
type (
	onlyReader struct{ io.Reader }
	onlyWriter struct{ io.Writer }
)

var errTooLong = errors.New("it is too long")

// boundedReader fails beyond so many bytes.
type boundedReader struct {
	io.Reader
	left int64
}

func (b *boundedReader) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errTooLong
	}
	n, err := b.Reader.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

// owner gives the numbers of a user, empty for the container's own.
func (f *stillFiles) owner(ctx context.Context, user string) (uid, gid int, err error) {
	if user = cmp.Or(user, f.user); user == "" {
		return 0, 0, nil
	}
	name, group, hasGroup := strings.Cut(user, ":")
	uid, err = strconv.Atoi(name)
	if err != nil || !hasGroup {
		found, lookErr := f.account(ctx, "/etc/passwd", name)
		if lookErr != nil {
			return 0, 0, lookErr
		}
		switch {
		case found != nil:
			uid, gid = found[0], found[1]
		case err != nil:
			return 0, 0, f.fail(container.ErrInvalidArgument, "there is no user %.64q in the session", name)
		}
	}
	if !hasGroup {
		return uid, gid, nil
	}
	if gid, err = strconv.Atoi(group); err == nil {
		return uid, gid, nil
	}
	found, err := f.account(ctx, "/etc/group", group)
	if err == nil && found == nil {
		err = f.fail(container.ErrInvalidArgument, "there is no group %.64q in the session", group)
	}
	if err != nil {
		return 0, 0, err
	}
	return uid, found[0], nil
}

// account finds a line by its name or number; nil where there is none. It gives that number, and
// the one behind it.
func (f *stillFiles) account(ctx context.Context, file, name string) (*[2]int, error) {
	_, content, err := f.read(ctx, file, 0, maxAccounts)
	if errors.Is(err, container.ErrPathNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = content.Close() }() // it was only read
	lines := bufio.NewScanner(content)
	for lines.Scan() {
		fields := strings.Split(lines.Text(), ":")
		if len(fields) < 4 || fields[0] != name && fields[2] != name {
			continue
		}
		number, err := strconv.Atoi(fields[2])
		second, _ := strconv.Atoi(fields[3]) // of a group's line, its members
		if err == nil {
			return &[2]int{number, second}, nil
		}
	}
	return nil, lines.Err()
}
