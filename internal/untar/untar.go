// Package untar unpacks tar archives that nobody vouches for, into a directory that may be changed
// by somebody hostile at the same time. Nothing outside the directory is touched, whatever names
// and links the archive holds and whatever links appear while it is unpacked.
package untar

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
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
	// Absolute takes names that begin with a slash, as relative to the directory.
	Absolute bool
	// Rename gives names, and those that hard links name, others before they are looked at, or
	// refuses them. May be nil.
	Rename func(name string) (string, error)
	// Before is asked ahead of each entry; its error ends the unpacking. May be nil.
	Before func() error
}

// ErrName is about a name in an archive that leads elsewhere.
var ErrName = errors.New("a name in the archive leads out of it")

const (
	// maxDelayed bounds the directories whose times and modes wait for what is in them, in bytes;
	// those of more are set at once.
	maxDelayed = 8 << 20
	// delayedSize is what one takes beside its name.
	delayedSize = 64
	maxName     = 1 << 16
	copyBuffer  = 64 << 10
)

// Unpack unpacks the archive r into root. Directories are merged with those that are there, and
// files and links replaced; a directory never takes the place of something else, nor the other way
// round. Links are made as they are and never followed out of root. Devices, FIFOs and sockets are
// left out. What was unpacked before a failure stays. An archive that is cut off is a failure.
func Unpack(root *os.Root, r io.Reader, opts Options) error {
	u := &unpacker{root: root, opts: opts, buf: make([]byte, copyBuffer)}
	err := u.all(tar.NewReader(r))
	return errors.Join(err, u.finish())
}

type unpacker struct {
	root    *os.Root
	opts    Options
	buf     []byte
	delayed []delayed
	waiting int // bytes of those
}

// delayed is what is set of a directory when all is in it.
type delayed struct {
	name     string
	mode     fs.FileMode
	modified time.Time
}

func (u *unpacker) all(archive *tar.Reader) error {
	for {
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
		name, err := u.local(h.Name)
		if err != nil {
			return err
		}
		if err := u.entry(archive, h, name); err != nil {
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
	if strings.HasPrefix(name, "/") {
		if !u.opts.Absolute {
			return "", fmt.Errorf("%w: %.200q", ErrName, name)
		}
		name = strings.TrimLeft(name, "/")
	}
	if len(name) > maxName || strings.ContainsRune(name, 0) {
		return "", fmt.Errorf("%w: %.200q", ErrName, name)
	}
	for element := range strings.SplitSeq(name, "/") {
		if element == ".." {
			return "", fmt.Errorf("%w: %.200q", ErrName, name)
		}
	}
	return path.Clean("./" + name), nil
}

func (u *unpacker) entry(archive *tar.Reader, h *tar.Header, name string) error {
	switch h.Typeflag {
	case tar.TypeDir:
		return u.directory(h, name)
	case tar.TypeReg, tar.TypeGNUSparse:
	case tar.TypeSymlink, tar.TypeLink:
	default:
		return nil
	}
	if name == "." {
		return fmt.Errorf("%.200q: %w", h.Name, syscall.EISDIR)
	}
	if err := u.makeRoom(name); err != nil {
		return err
	}
	switch h.Typeflag {
	case tar.TypeSymlink:
		return u.symlink(h, name)
	case tar.TypeLink:
		target, err := u.local(h.Linkname)
		if err != nil {
			return err
		}
		return u.root.Link(target, name)
	}
	return u.file(archive, h, name)
}

// makeRoom makes the directories above name, and removes what is there, unless it is a directory.
func (u *unpacker) makeRoom(name string) error {
	info, err := u.root.Lstat(name)
	switch {
	case err == nil && info.IsDir():
		return &fs.PathError{Op: "replace directory", Path: name, Err: syscall.EISDIR}
	case err == nil:
		return u.root.Remove(name)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	return u.root.MkdirAll(path.Dir(name), 0o755)
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
	case name == ".":
		return nil // the destination itself stays what it was
	}
	if u.opts.Owners {
		if err := u.root.Lchown(name, h.Uid, h.Gid); err != nil {
			return err
		}
	}
	d := delayed{name, u.mode(h), h.ModTime}
	if u.waiting += len(name) + delayedSize; u.waiting > maxDelayed {
		u.waiting = maxDelayed
		return u.set(d)
	}
	u.delayed = append(u.delayed, d)
	return nil
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
	return u.setTime(d.name, d.modified)
}

// setTime sets a time by name. Were that another file's by now, it would be one below the root.
func (u *unpacker) setTime(name string, t time.Time) error {
	if t.IsZero() {
		return nil
	}
	return u.root.Chtimes(name, t, t)
}

func (u *unpacker) finish() error {
	var errs []error
	for i := len(u.delayed) - 1; i >= 0; i-- {
		if err := u.set(u.delayed[i]); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
		if len(errs) == 8 {
			break
		}
	}
	return errors.Join(errs...)
}

func (u *unpacker) symlink(h *tar.Header, name string) error {
	if len(h.Linkname) > maxName {
		return fmt.Errorf("%w: the target of %.200q", ErrName, h.Name)
	}
	if err := u.root.Symlink(h.Linkname, name); err != nil {
		return err
	}
	if u.opts.Owners {
		return u.root.Lchown(name, h.Uid, h.Gid)
	}
	return nil
}

func (u *unpacker) file(archive *tar.Reader, h *tar.Header, name string) (err error) {
	f, err := u.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := f.Close(); err == nil {
			err = closeErr
		}
	}()
	// Without the reader's own ways to write, which would copy in small steps.
	if _, err := io.CopyBuffer(struct{ io.Writer }{f}, struct{ io.Reader }{archive}, u.buf); err != nil {
		return err
	}
	if u.opts.Owners {
		if err := f.Chown(h.Uid, h.Gid); err != nil {
			return err
		}
	}
	if err := f.Chmod(u.mode(h)); err != nil {
		return err
	}
	return u.setTime(name, h.ModTime)
}
