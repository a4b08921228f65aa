package cli

import (
	"archive/tar"
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/octobot-run/octobot/internal/untar"
)

// The rules by which docker cp decides what comes to be where. Paths here and in sessions are both
// Unix's.

// maxLinks is how many links in a row are followed, as the kernel's bound is.
const maxLinks = 40

// copyEnd is one end of a copy.
type copyEnd struct {
	path        string // its end counts: "dir/", "dir/."
	exists, dir bool
	size        int64  // of a file here
	rebase      string // the name that was asked for, where path is what a link led to
	packed      string // what the archive calls it, where that is known
}

var (
	errCopyDirectory = errors.New("cannot copy a directory onto a file")
	errNoDirectory   = errors.New("no such directory")
)

// splitEnd splits a path into the directory and the last element, which is "." where the path ends
// so, or in "..". Nothing is cleaned of "..", which leads elsewhere behind a link.
func splitEnd(p string) (dir, base string) {
	p = cmp.Or(p, ".")
	trimmed := strings.TrimRight(p, "/")
	i := strings.LastIndexByte(trimmed, '/')
	switch base = trimmed[i+1:]; {
	case base == "":
		return "/", "/"
	case base == "..":
		return trimmed, "."
	case i < 0:
		return ".", base
	}
	return cmp.Or(strings.TrimRight(trimmed[:i], "/"), "/"), base
}

func assertsDirectory(p string) bool { return strings.HasSuffix(p, "/") || path.Base(p) == "." }

// rebased is the name that was asked for, where another path was found to be meant.
func rebased(asked, found string) string {
	if _, base := splitEnd(asked); base == "." {
		return ""
	}
	if path.Base(asked) != path.Base(found) {
		return path.Base(asked)
	}
	return ""
}

// prepare gives the directory to unpack into, and how the archive's names change.
func prepare(src, dst copyEnd) (dir string, rename func(string) (string, error), err error) {
	dir, from, to, err := place(src, dst)
	return dir, renamed(from, to), err
}

// place gives the directory to unpack into, and what becomes of the first element of the archive's
// names.
func place(src, dst copyEnd) (dir, from, to string, err error) {
	dstDir, dstBase := splitEnd(dst.path)
	_, srcBase := splitEnd(src.path)
	asked := srcBase
	if path.Base(src.path) == ".." { // in a session: it has the name that it seems to have
		asked = path.Base(path.Clean(src.path))
	}
	if src.rebase != "" {
		asked = src.rebase
	}
	if asked == "/" {
		asked = "."
	}
	if src.packed != "" {
		srcBase = src.packed
	}
	switch {
	case dst.exists && dst.dir:
		return dst.path, srcBase, asked, nil
	case dst.exists && src.dir:
		return "", "", "", errCopyDirectory
	case !dst.exists && !src.dir && assertsDirectory(dst.path):
		return "", "", "", errNoDirectory
	case dst.exists && assertsDirectory(dst.path):
		return "", "", "", fmt.Errorf("%s is not a directory", showName(path.Clean(dst.path)))
	}
	return dstDir, srcBase, dstBase, nil
}

// openDestination opens the directory here that an archive is unpacked into, and says how. Of a
// directory it is that very one, made where it is missing, so that no link in the archive leads to
// what is beside it. Of anything else it is the directory around it, in which the archive may make
// nothing but that.
func openDestination(src, dst copyEnd) (*os.Root, untar.Options, error) {
	dir, from, to, err := place(src, dst)
	if err != nil {
		return nil, untar.Options{}, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, untar.Options{}, err
	}
	switch {
	case !src.dir:
		return root, untar.Options{MaxEntries: 1, Rename: func(name string) (string, error) {
			if name != from {
				return "", errNotAskedFor(name)
			}
			return to, nil
		}}, nil
	case to == ".":
		return root, untar.Options{Rename: renamed(from, ".")}, nil
	}
	defer func() { _ = root.Close() }() // nothing was written to it
	below, err := makeRoot(root, to)
	return below, untar.Options{Rename: renamed(from, "."), Itself: true}, err
}

// makeRoot opens a directory, which it makes where there is none. A link to one is none.
func makeRoot(in *os.Root, name string) (*os.Root, error) {
	if err := in.Mkdir(name, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	root, err := in.OpenRoot(name)
	if err != nil {
		return nil, err
	}
	opened, err := root.Stat(".")
	if err == nil {
		var there fs.FileInfo
		if there, err = in.Lstat(name); err == nil && !os.SameFile(there, opened) {
			err = &fs.PathError{Op: "copy into", Path: name, Err: syscall.ENOTDIR}
		}
	}
	if err != nil {
		_ = root.Close() // nothing was written to it
		return nil, err
	}
	return root, nil
}

// renamed changes the first element of names, and refuses names that begin otherwise: an archive
// out of a session is whatever somebody in there made of it, and is to touch nothing beside what
// was asked for.
func renamed(from, to string) func(string) (string, error) {
	return func(name string) (string, error) {
		rest, ok := strings.CutPrefix(name, from)
		switch {
		case ok && (rest == "" || rest[0] == '/'):
			return to + rest, nil
		case from == "." || from == "/": // all there is
			return to + "/" + strings.TrimLeft(name, "/"), nil
		}
		return "", errNotAskedFor(name)
	}
}

func errNotAskedFor(name string) error {
	return fmt.Errorf("the archive holds %.200q, which was not asked for", name)
}

// checkOutput checks that a copy can come to be at p.
func checkOutput(p string) error {
	dir, _ := splitEnd(p)
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return fmt.Errorf("there is no directory %q to copy into", dir)
	}
	info, err := os.Stat(p)
	if err == nil && !info.IsDir() && !info.Mode().IsRegular() {
		return fmt.Errorf("%q is neither a directory nor a file", p)
	}
	return nil
}

// localDestination finds out what is at p, and where a link there leads.
func localDestination(p string) (copyEnd, error) {
	asked := p
	for range maxLinks {
		info, err := os.Lstat(p)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			dir, _ := splitEnd(p)
			if info, err := os.Stat(dir); err != nil {
				return copyEnd{}, err
			} else if !info.IsDir() {
				return copyEnd{}, fmt.Errorf("%s is not a directory", dir)
			}
			return copyEnd{path: p}, nil
		case err != nil:
			return copyEnd{}, err
		case info.Mode()&fs.ModeSymlink == 0:
			return copyEnd{path: p, exists: true, dir: info.IsDir()}, nil
		}
		target, err := os.Readlink(p)
		if err != nil {
			return copyEnd{}, err
		}
		p = linked(p, target)
	}
	return copyEnd{}, fmt.Errorf("%s: too many links", asked)
}

// localSource finds out what is at p. A link in its directory part, or before a slash at its end,
// is always followed, a link at its end where follow says so. What ".." leads to has a name of its
// own.
func localSource(p string, follow bool) (copyEnd, error) {
	if path.Base(p) == ".." {
		here, err := os.Getwd()
		if err != nil {
			return copyEnd{}, err
		}
		if !filepath.IsAbs(p) {
			p = here + "/" + p
		}
		if p, err = filepath.EvalSymlinks(p); err != nil {
			return copyEnd{}, err
		}
	}
	resolved, rebase := "", ""
	if follow {
		var err error
		if resolved, err = filepath.EvalSymlinks(p); err != nil {
			return copyEnd{}, err
		}
		if path.Base(p) == "." && path.Base(resolved) != "." {
			resolved += "/."
		}
		rebase = rebased(p, resolved)
	} else {
		dir, base := filepath.Split(p)
		if dir == "" {
			dir = "."
		}
		dir, err := filepath.EvalSymlinks(dir)
		if err != nil {
			return copyEnd{}, err
		}
		resolved = strings.TrimSuffix(dir, "/") + "/" + base
		if base == "" {
			rebase = rebased(p, dir)
		}
	}
	info, err := os.Lstat(resolved)
	if err != nil {
		return copyEnd{}, err
	}
	return copyEnd{path: resolved, exists: true, dir: info.IsDir(), size: info.Size(), rebase: rebase}, nil
}

// pack writes src as a tar archive. Owners are root unless they are asked for. Devices, FIFOs and
// sockets are left out.
func pack(w io.Writer, src copyEnd, rename func(string) (string, error), owners bool) error {
	buffered := bufio.NewWriterSize(w, 64<<10)
	p := packer{w: tar.NewWriter(buffered), links: map[fileID]string{}, owners: owners, buf: make([]byte, 64<<10)}
	_, base := splitEnd(src.path)
	top := filepath.Clean(src.path)
	err := filepath.WalkDir(top, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := base
		if rest, err := filepath.Rel(top, file); err == nil && rest != "." {
			name = base + "/" + rest
		}
		if name, err = rename(name); err != nil {
			return err
		}
		return p.add(file, name, d)
	})
	if err != nil { // no end then that looks like the archive's
		return err
	}
	if err := p.w.Close(); err != nil {
		return err
	}
	return buffered.Flush()
}

type fileID struct{ dev, ino uint64 }

type packer struct {
	w      *tar.Writer
	links  map[fileID]string // files of several names, by the first of them
	owners bool
	buf    []byte
}

func (p *packer) add(file, name string, d fs.DirEntry) error {
	info, err := d.Info()
	if err != nil {
		return err
	}
	target := ""
	switch info.Mode().Type() {
	case 0, fs.ModeDir:
	case fs.ModeSymlink:
		if target, err = os.Readlink(file); err != nil {
			return err
		}
	default:
		return nil
	}
	h, err := tar.FileInfoHeader(info, target)
	if err != nil {
		return err
	}
	// Fractions of seconds would triple the header of a small file.
	h.Name, h.Uname, h.Gname, h.ModTime = name, "", "", h.ModTime.Truncate(time.Second)
	h.AccessTime, h.ChangeTime = time.Time{}, time.Time{}
	if info.IsDir() {
		h.Name += "/"
	}
	if !p.owners {
		h.Uid, h.Gid = 0, 0
	}
	if !info.Mode().IsRegular() {
		return p.w.WriteHeader(h)
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Nlink > 1 {
		id := fileID{uint64(st.Dev), st.Ino}
		if first, ok := p.links[id]; ok {
			h.Typeflag, h.Linkname, h.Size = tar.TypeLink, first, 0
			return p.w.WriteHeader(h)
		}
		p.links[id] = name
	}
	return p.content(file, h)
}

func (p *packer) content(file string, h *tar.Header) error {
	// What has taken its place since is not waited for, nor followed.
	f, err := os.OpenFile(file, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // it was only read
	if err := p.w.WriteHeader(h); err != nil {
		return err
	}
	n, err := io.CopyBuffer(struct{ io.Writer }{p.w}, io.LimitReader(f, h.Size), p.buf)
	if err == nil && n < h.Size {
		err = fmt.Errorf("%s became shorter while it was copied", file)
	}
	return err
}
