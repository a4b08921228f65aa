package files

import (
	"errors"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/octobot-run/octobot/internal/agentproto"
)

// maxLinks is how many symbolic links are followed, as the kernel's bound is.
const maxLinks = 40

// open opens a path as the thread's user. Links of /proc that lead to what some process has open
// are not followed: those of the agent itself would lead past every directory's permissions.
func open(dir int, p string, flags int, mode uint32) (int, error) {
	how := unix.OpenHow{Flags: uint64(flags | unix.O_CLOEXEC), Mode: uint64(mode), Resolve: unix.RESOLVE_NO_MAGICLINKS}
	for {
		fd, err := unix.Openat2(dir, p, &how)
		switch err {
		case unix.EINTR, unix.EAGAIN:
			continue
		case unix.ENOSYS, unix.EPERM: // an old kernel, or an old list of allowed system calls
			return openOld(dir, p, flags, mode)
		}
		return fd, err
	}
}

func openOld(dir int, p string, flags int, mode uint32) (int, error) {
	for {
		fd, err := unix.Openat(dir, p, flags|unix.O_CLOEXEC, mode)
		if err != unix.EINTR {
			return fd, err
		}
	}
}

// look opens a path without opening what is there.
func look(dir int, p string, follow bool) (fd int, st unix.Stat_t, err error) {
	flags := unix.O_PATH
	if !follow {
		flags |= unix.O_NOFOLLOW
	}
	if fd, err = open(dir, p, flags, 0); err != nil {
		return -1, st, err
	}
	if err = unix.Fstat(fd, &st); err != nil {
		_ = unix.Close(fd)
		return -1, st, err
	}
	return fd, st, nil
}

// openRegular opens a regular file, and touches nothing else: to open a FIFO or a device is to do
// something to it.
func openRegular(dir int, p string, flags int) (fd int, st unix.Stat_t, err error) {
	seen, st, err := look(dir, p, flags&unix.O_NOFOLLOW == 0)
	if err != nil {
		return -1, st, err
	}
	defer unix.Close(seen)
	if err := checkRegular(p, st); err != nil {
		return -1, st, err
	}
	return reopen(seen, st, flags)
}

// reopen opens what seen, a regular file, is open for looking at.
func reopen(seen int, st unix.Stat_t, flags int) (fd int, _ unix.Stat_t, err error) {
	fd, err = openOld(unix.AT_FDCWD, "/proc/self/fd/"+strconv.Itoa(seen),
		flags&^unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return -1, st, err
	}
	var now unix.Stat_t
	if err = unix.Fstat(fd, &now); err == nil && (now.Dev != st.Dev || now.Ino != st.Ino) {
		err = unix.ENOENT // what stands at /proc is no such thing
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, st, err
	}
	return fd, now, nil
}

func checkRegular(p string, st unix.Stat_t) error {
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		return nil
	case unix.S_IFDIR:
		return unix.EISDIR
	}
	return agentproto.Errorf(agentproto.NotFound, "%s is not a regular file", p)
}

// split gives the directory of a path and the last element. There is none in "/", and in what ends
// in "." or "..".
func split(p string) (dir, name string, err error) {
	p = strings.TrimRight(p, "/")
	dir, name = path.Split(p)
	if name == "" || name == "." || name == ".." {
		return "", "", agentproto.Errorf(agentproto.InvalidArgument, "%.200q has no last element that could be changed",
			p)
	}
	return dir, name, nil
}

// parent opens the directory that holds the last element of p.
func parent(p string) (dir int, name string, err error) {
	above, name, err := split(p)
	if err != nil {
		return -1, "", err
	}
	dir, err = open(unix.AT_FDCWD, above, unix.O_PATH|unix.O_DIRECTORY, 0)
	return dir, name, err
}

// errReplaced: another file has come in the place of the one that was found.
var errReplaced = agentproto.Errorf(agentproto.Changed, "the file is replaced by others all the time")

// maxReplaced is how often in a row that is put up with.
const maxReplaced = 100

// place is placeOnce, again where the file was replaced meanwhile.
func place(p string) (dir int, name string, st *unix.Stat_t, err error) {
	for range maxReplaced {
		if dir, name, st, err = placeOnce(p); err != error(errReplaced) {
			break
		}
	}
	return dir, name, st, err
}

// placeOnce finds where a file is to be written that the user would open as p: the directory, and
// the name in it, which is no symbolic link. st is of what is there; nil where nothing is.
func placeOnce(p string) (dir int, name string, st *unix.Stat_t, err error) {
	if strings.HasSuffix(p, "/") {
		return -1, "", nil, unix.EISDIR
	}
	// The kernel follows first: it knows which links may be followed in a directory like /tmp.
	var found unix.Stat_t
	fd, found, err := look(unix.AT_FDCWD, p, true)
	switch {
	case err == nil:
		_ = unix.Close(fd)
		st = &found
		if err := checkRegular(p, found); err != nil {
			return -1, "", nil, err
		}
	case !errors.Is(err, unix.ENOENT):
		return -1, "", nil, err
	}
	dir, name, err = parent(p)
	if err != nil {
		return -1, "", nil, err
	}
	for range maxLinks {
		if err := mayFollow(dir, name); err != nil {
			_ = unix.Close(dir)
			return -1, "", nil, err
		}
		target, err := readLink(dir, name)
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
			return dir, name, st, unchanged(dir, name, st)
		}
		if err != nil {
			_ = unix.Close(dir)
			return -1, "", nil, err
		}
		above, last, err := split(target)
		next := dir
		if err == nil && above != "" {
			next, err = open(dir, above, unix.O_PATH|unix.O_DIRECTORY, 0)
			_ = unix.Close(dir)
		} else if err != nil {
			_ = unix.Close(dir)
		}
		if err != nil {
			return -1, "", nil, err
		}
		dir, name = next, last
	}
	_ = unix.Close(dir)
	return -1, "", nil, unix.ELOOP
}

// mayFollow refuses what the kernel does, where fs.protected_symlinks is on: links in a directory
// like /tmp that neither the user nor the directory's owner has made.
func mayFollow(dir int, name string) error {
	var link, above unix.Stat_t
	if unix.Fstatat(dir, name, &link, unix.AT_SYMLINK_NOFOLLOW) != nil || link.Mode&unix.S_IFMT != unix.S_IFLNK {
		return nil
	}
	if err := unix.Fstat(dir, &above); err != nil {
		return err
	}
	const shared = unix.S_ISVTX | unix.S_IWOTH
	self, err := unix.SetfsuidRetUid(-1) // which changes nothing
	if err != nil {
		return err
	}
	if above.Mode&shared == shared && link.Uid != uint32(self) && link.Uid != above.Uid {
		return unix.EACCES
	}
	return nil
}

// free finds where a file is to be written that is not there yet, not even as a link.
func free(p string) (dir int, name string, err error) {
	if dir, name, err = parent(p); err != nil {
		return -1, "", err
	}
	var st unix.Stat_t
	switch err = unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW); {
	case err == nil:
		err = unix.EEXIST
	case err == unix.ENOENT && !strings.HasSuffix(p, "/"):
		return dir, name, nil
	}
	_ = unix.Close(dir)
	return -1, "", err
}

// unchanged checks that a name is still what the kernel found for the user. It closes dir where
// not.
func unchanged(dir int, name string, st *unix.Stat_t) error {
	var now unix.Stat_t
	err := unix.Fstatat(dir, name, &now, unix.AT_SYMLINK_NOFOLLOW)
	switch {
	case st == nil && errors.Is(err, unix.ENOENT):
		return nil
	case st != nil && err == nil && now.Dev == st.Dev && now.Ino == st.Ino:
		return nil
	case err == nil || errors.Is(err, unix.ENOENT):
		err = errReplaced
	}
	_ = unix.Close(dir)
	return err
}

// readLink reads a link; EINVAL where it is none. An empty name is what dir itself is.
func readLink(dir int, name string) (string, error) {
	b := make([]byte, 256)
	for {
		n, err := unix.Readlinkat(dir, name, b)
		if err != nil {
			return "", err
		}
		if n < len(b) || len(b) >= maxPath {
			return string(b[:n]), nil
		}
		b = make([]byte, maxPath)
	}
}
