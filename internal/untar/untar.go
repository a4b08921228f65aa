// Package untar unpacks tar archives that nobody vouches for, into a directory that may be changed
// by somebody hostile at the same time. Nothing outside the directory is touched, whatever names
// and links the archive holds and whatever links appear while it is unpacked.
package untar

import (
	"archive/tar"
	"crypto/rand"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Options say how to unpack. The zero value makes everything the caller's own.
type Options struct {
	// Owners gives everything the archive's numeric owners. It takes root.
	Owners bool
	// Special keeps setuid, setgid and sticky bits.
	Special bool
	// Rename gives names, and those that hard links name, others before they are looked at, or
	// refuses them. May be nil.
	Rename func(name string) (string, error)
	// Itself has the archive's entry for its top, too, set owner, mode and time of the root.
	Itself bool
	// Before is asked ahead of each entry; its error ends the unpacking. May be nil.
	Before func() error
	// MaxEntries bounds how many files, links and directories there may be; zero: 4 million.
	MaxEntries int
	// MaxSparse bounds, in bytes, to what those files may expand of which the archive holds only
	// parts, all together; zero: 16 GiB. What else is in an archive is as long as it.
	MaxSparse int64
}

var (
	// ErrName is about a name in an archive that leads elsewhere.
	ErrName = errors.New("a name in the archive leads out of it")
	// ErrLimit is about an archive that is made to take more than there is.
	ErrLimit = errors.New("the archive is out of all proportion")
)

const (
	defaultEntries = 4 << 20
	defaultSparse  = 16 << 30
	// delayedSize is what one takes beside its name.
	delayedSize = 64
	maxName     = 1 << 16
	maxDepth    = 512
	copyBuffer  = 64 << 10
	maxErrors   = 8 // about directories; more say no more
	// blockSize is what becomes a hole where it is all zeros.
	blockSize = 4096
)

// maxDelayed bounds the directories whose times and modes wait for what is in them, in bytes. It is
// a variable for the tests' sake.
var maxDelayed = 8 << 20

// Unpack unpacks the archive r into root. Directories are merged with those that are there, and
// files and links replaced; a directory never takes the place of something else, nor the other way
// round. Links are made as they are. Those that were there are never followed out of root, and no
// name may lead through one that the archive has made. Devices, FIFOs and sockets are left out.
// Blocks of zeros become holes. What was unpacked before a failure stays, but never a part of a
// file. An archive that is cut off is a failure.
func Unpack(root *os.Root, r io.Reader, opts Options) error {
	if opts.MaxEntries == 0 {
		opts.MaxEntries = defaultEntries
	}
	if opts.MaxSparse == 0 {
		opts.MaxSparse = defaultSparse
	}
	u := &unpacker{root: root, opts: opts, buf: make([]byte, copyBuffer), seed: maphash.MakeSeed()}
	err := u.all(NewReader(r))
	u.leaveDirectory()
	return errors.Join(err, u.finish())
}

type unpacker struct {
	root *os.Root
	opts Options
	buf  []byte

	// The directory of the last entry stays open, so that its next needs no way to it.
	dir     *os.Root // nil: none
	dirName string

	delayed []delayed
	waiting int // bytes of those

	// The links of the archive so far, as the hashes of their names, which are short.
	links map[uint64]struct{}
	seed  maphash.Seed
}

// delayed is what is set of a directory when all is in it.
type delayed struct {
	name     string
	mode     fs.FileMode
	modified time.Time
}

func (u *unpacker) all(archive *Reader) error {
	for entries := 0; ; entries++ {
		if u.opts.Before != nil {
			if err := u.opts.Before(); err != nil {
				return err
			}
		}
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if entries >= u.opts.MaxEntries {
			return fmt.Errorf("%w: it has more than %d entries", ErrLimit, u.opts.MaxEntries)
		}
		name, err := u.local(h.Name)
		if err != nil {
			return err
		}
		if err := u.entry(archive.Reader, h, name); err != nil {
			return err
		}
	}
}

// local makes a name of the archive one below the root.
func (u *unpacker) local(name string) (string, error) {
	if u.opts.Rename != nil {
		var err error
		if name, err = u.opts.Rename(name); err != nil {
			return "", err
		}
	}
	if strings.HasPrefix(name, "/") || len(name) > maxName || strings.ContainsRune(name, 0) {
		return "", fmt.Errorf("%w: %.200q", ErrName, name)
	}
	depth := 0
	for element := range strings.SplitSeq(name, "/") {
		if element == ".." {
			return "", fmt.Errorf("%w: %.200q", ErrName, name)
		}
		if depth++; depth > maxDepth {
			return "", fmt.Errorf("%w: %.200q is more than %d directories deep", ErrLimit, name, maxDepth)
		}
	}
	return path.Clean("./" + name), nil
}

func (u *unpacker) entry(archive *tar.Reader, h *tar.Header, name string) error {
	switch h.Typeflag {
	case tar.TypeDir:
		if u.throughLink(name) {
			return errThroughLink(h.Name)
		}
		return u.directory(h, name)
	case tar.TypeReg, tar.TypeGNUSparse:
	case tar.TypeSymlink, tar.TypeLink:
	default:
		return nil
	}
	if name == "." {
		return fmt.Errorf("%.200q: %w", h.Name, syscall.EISDIR)
	}
	if u.throughLink(name) {
		return errThroughLink(h.Name)
	}
	dir, err := u.enterDirectory(path.Dir(name))
	if err != nil {
		return err
	}
	base := path.Base(name)
	switch h.Typeflag {
	case tar.TypeSymlink:
		err = u.symlink(dir, h, name)
	case tar.TypeLink:
		err = u.link(dir, h, name)
	default:
		if err = u.bound(h); err == nil {
			err = u.file(dir, archive, h, base)
		}
	}
	if pathErr, ok := errors.AsType[*fs.PathError](err); ok && pathErr.Path == base {
		pathErr.Path = name
	}
	return err
}

// throughLink reports whether a link of the archive is on the way to name.
func (u *unpacker) throughLink(name string) bool {
	if len(u.links) == 0 {
		return false
	}
	for i := range len(name) {
		if name[i] == '/' && u.isLink(name[:i]) {
			return true
		}
	}
	return false
}

func errThroughLink(name string) error {
	return fmt.Errorf("%w: %.200q leads through a link of the archive's own", ErrName, name)
}

func (u *unpacker) isLink(name string) bool {
	_, is := u.links[maphash.String(u.seed, name)]
	return is
}

// rememberLink is for good: where something replaces the link, it is no directory either.
func (u *unpacker) rememberLink(name string) {
	if u.links == nil {
		u.links = map[uint64]struct{}{}
	}
	u.links[maphash.String(u.seed, name)] = struct{}{}
}

// enterDirectory opens a directory for the entries in it, and makes it where it is missing.
func (u *unpacker) enterDirectory(name string) (*os.Root, error) {
	if u.dir != nil && u.dirName == name {
		return u.dir, nil
	}
	u.leaveDirectory()
	dir, err := u.root.OpenRoot(name)
	if errors.Is(err, fs.ErrNotExist) {
		if err := u.root.MkdirAll(name, 0o755); err != nil {
			return nil, err
		}
		dir, err = u.root.OpenRoot(name)
	}
	if err != nil {
		return nil, err
	}
	u.dir, u.dirName = dir, name
	return dir, nil
}

func (u *unpacker) leaveDirectory() {
	if u.dir != nil {
		_ = u.dir.Close() // nothing was written to it
		u.dir = nil
	}
}

// place has do make something new. Where something is there already it is made beside that, and
// then takes its place: what was there is left where it fails. A do that fails leaves nothing.
func place(dir *os.Root, base string, do func(name string) error) error {
	err := do(base)
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	return replace(dir, base, do)
}

func replace(dir *os.Root, base string, do func(name string) error) error {
	if info, err := dir.Lstat(base); err == nil && info.IsDir() {
		return &fs.PathError{Op: "replace directory", Path: base, Err: syscall.EISDIR}
	}
	beside := ".octobot-" + rand.Text()
	if err := do(beside); err != nil {
		return err
	}
	err := dir.Rename(beside, base)
	_ = dir.Remove(beside) // it is there where that failed, or both were names of one file
	return err
}

// bound refuses a file that has become too long for how little of it the archive holds.
func (u *unpacker) bound(h *tar.Header) error {
	sparse := h.Typeflag == tar.TypeGNUSparse
	for key := range h.PAXRecords {
		sparse = sparse || strings.HasPrefix(key, "GNU.sparse.")
	}
	if !sparse {
		return nil
	}
	if h.Size > u.opts.MaxSparse {
		return fmt.Errorf("%w: %.200q expands to %d bytes", ErrLimit, h.Name, h.Size)
	}
	u.opts.MaxSparse -= h.Size
	return nil
}

func (u *unpacker) mode(h *tar.Header) fs.FileMode {
	mode := h.FileInfo().Mode()
	if u.opts.Special {
		return mode & (fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky)
	}
	return mode & fs.ModePerm
}

func (u *unpacker) directory(h *tar.Header, name string) error {
	info, err := u.root.Lstat(name)
	switch {
	case err == nil && !info.IsDir():
		return &fs.PathError{Op: "replace with a directory", Path: name, Err: syscall.ENOTDIR}
	case errors.Is(err, fs.ErrNotExist):
		if err := u.root.MkdirAll(path.Dir(name), 0o755); err != nil {
			return err
		}
		if err := u.root.Mkdir(name, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	case err != nil:
		return err
	case name == "." && !u.opts.Itself:
		return nil // it stays what it was
	}
	if u.opts.Owners {
		if err := u.root.Lchown(name, h.Uid, h.Gid); err != nil {
			return err
		}
	}
	u.delayed = append(u.delayed, delayed{name, u.mode(h), h.ModTime})
	if u.waiting += len(name) + delayedSize; u.waiting > maxDelayed {
		return u.setOthers(name)
	}
	return nil
}

// setOthers sets the directories that name is not in. What still comes into them is not foreseen by
// any packer, which go through a tree a directory at a time.
func (u *unpacker) setOthers(name string) error {
	all := u.delayed
	u.delayed, u.waiting = nil, 0
	var errs []error
	for i := len(all) - 1; i >= 0; i-- {
		d := all[i]
		if name == d.name || d.name == "." || strings.HasPrefix(name, d.name+"/") {
			u.delayed = append(u.delayed, d)
			u.waiting += len(d.name) + delayedSize
		} else if err := u.set(d); err != nil && !errors.Is(err, fs.ErrNotExist) && len(errs) < maxErrors {
			errs = append(errs, err)
		}
	}
	slices.Reverse(u.delayed)
	return errors.Join(errs...)
}

// set sets mode and time of a directory. One that is none any more is somebody else's.
func (u *unpacker) set(d delayed) error {
	f, err := u.root.OpenFile(d.name, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		if errors.Is(err, fs.ErrPermission) { // as its own mode may have it
			return u.root.Chmod(d.name, d.mode)
		}
		return err
	}
	defer f.Close()
	if err := f.Chmod(d.mode); err != nil {
		return err
	}
	return setTime(u.root, d.name, d.modified)
}

// setTime sets a time by name. Were that another file's by now, it would be one below the root.
func setTime(dir *os.Root, name string, t time.Time) error {
	if t.IsZero() {
		return nil
	}
	return dir.Chtimes(name, t, t)
}

func (u *unpacker) finish() error {
	var errs []error
	for i := len(u.delayed) - 1; i >= 0; i-- {
		if err := u.set(u.delayed[i]); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
		if len(errs) == maxErrors {
			break
		}
	}
	return errors.Join(errs...)
}

func (u *unpacker) symlink(dir *os.Root, h *tar.Header, name string) error {
	base := path.Base(name)
	if len(h.Linkname) > maxName {
		return fmt.Errorf("%w: the target of %.200q", ErrName, h.Name)
	}
	err := place(dir, base, func(name string) error {
		err := dir.Symlink(h.Linkname, name)
		if err != nil || !u.opts.Owners {
			return err
		}
		if err = dir.Lchown(name, h.Uid, h.Gid); err != nil {
			_ = dir.Remove(name) // there is an error already
		}
		return err
	})
	if err == nil {
		u.rememberLink(name)
	}
	return err
}

func (u *unpacker) link(dir *os.Root, h *tar.Header, name string) error {
	target, err := u.local(h.Linkname)
	if err != nil {
		return err
	}
	if target == name {
		return fmt.Errorf("%w: %.200q is a link to itself", ErrName, h.Name)
	}
	if u.throughLink(target) {
		return errThroughLink(h.Linkname)
	}
	if u.isLink(target) {
		u.rememberLink(name)
	}
	// By the way from the root: a target may be anywhere below it.
	return place(dir, path.Base(name), func(base string) error {
		return u.root.Link(target, path.Join(path.Dir(name), base))
	})
}
