package files

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/octobot-run/octobot/internal/agentproto"
)

func checkMode(mode uint32) error {
	if mode > 0o7777 {
		return agentproto.Errorf(agentproto.InvalidArgument, "%#o is not a mode between 0 and 07777", mode)
	}
	return nil
}

func (v *service) makeDirectory(c *call, r *agentproto.MakeDirectory) error {
	if err := checkMode(r.Mode); err != nil {
		return err
	}
	var info agentproto.FileInfo
	err := c.as(func() error {
		if r.Parents {
			if err := makeParents(r.Path); err != nil {
				return err
			}
		}
		dir, name, err := parent(r.Path)
		if strings.Trim(r.Path, "/") == "" {
			name = "."
			dir, err = open(unix.AT_FDCWD, "/", unix.O_PATH|unix.O_DIRECTORY, 0)
		}
		if err != nil {
			return err
		}
		defer unix.Close(dir)
		err = makeOne(dir, name, r.Mode)
		if err != nil && (!r.Parents || !errors.Is(err, unix.EEXIST)) {
			return err
		}
		fd, err := open(dir, name, unix.O_PATH|unix.O_DIRECTORY, 0)
		if err == unix.ENOTDIR {
			return unix.EEXIST
		}
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			return err
		}
		info = new(names).info(base(r.Path), &st)
		return nil
	})
	if err != nil {
		return err
	}
	_ = c.s.Send(&info)
	return nil
}

// makeOne makes a directory with a mode, whatever the agent's umask is; 0 is 0755, and the group of
// what is in it that of the directory above, where that one wants it so.
func makeOne(dir int, name string, mode uint32) error {
	if err := unix.Mkdirat(dir, name, 0o700); err != nil {
		return err
	}
	fd, err := open(dir, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if mode == 0 {
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			return err
		}
		mode = 0o755 | st.Mode&unix.S_ISGID
	}
	return unix.Fchmod(fd, mode)
}

// makeParents makes the directories above p that are missing, mode 0755.
func makeParents(p string) error {
	above, _, err := split(p)
	if err != nil || strings.Trim(above, "/") == "" {
		return nil // which is there, or for who asked to find wrong
	}
	fd, err := open(unix.AT_FDCWD, above, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err == nil {
		return unix.Close(fd)
	}
	if !errors.Is(err, unix.ENOENT) {
		return err
	}
	if err := makeParents(above); err != nil {
		return err
	}
	dir, name, err := parent(above)
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	if err := makeOne(dir, name, 0); !errors.Is(err, unix.EEXIST) { // made by somebody else meanwhile
		return err
	}
	return nil
}

func (v *service) move(c *call, r *agentproto.Move) error {
	if err := checkPath(r.To); err != nil {
		return err
	}
	err := c.as(func() error {
		from, name, err := parent(r.Path)
		if err != nil {
			return err
		}
		defer unix.Close(from)
		to, newName, err := parent(r.To)
		if err != nil {
			return failure(r.To, err)
		}
		defer unix.Close(to)
		if r.Overwrite {
			err = rename(from, name, to, newName)
		} else {
			err = renameNew(from, name, to, newName)
		}
		switch err {
		case unix.EXDEV:
			return agentproto.Errorf(agentproto.InvalidArgument,
				"%s and %s are on different file systems: copy, then remove", r.Path, r.To)
		case unix.EEXIST, unix.ENOTEMPTY, unix.EISDIR, unix.ENOTDIR: // both directories are open
			return agentproto.Errorf(agentproto.Exists, "%s: %v", r.To, err)
		}
		return err
	})
	if err != nil {
		return err
	}
	return c.done()
}

// rename renames, also where both names are one file's: the kernel leaves both then.
func rename(from int, name string, to int, newName string) error {
	var a, b, fromDir, toDir unix.Stat_t
	same := unix.Fstatat(from, name, &a, unix.AT_SYMLINK_NOFOLLOW) == nil &&
		unix.Fstatat(to, newName, &b, unix.AT_SYMLINK_NOFOLLOW) == nil && a.Dev == b.Dev && a.Ino == b.Ino
	if err := unix.Renameat(from, name, to, newName); err != nil || !same {
		return err
	}
	if err := errors.Join(unix.Fstat(from, &fromDir), unix.Fstat(to, &toDir)); err != nil {
		return err
	}
	if name == newName && fromDir.Dev == toDir.Dev && fromDir.Ino == toDir.Ino {
		return nil // it is one name
	}
	return unix.Unlinkat(from, name, 0)
}

// renameNew renames to a name that must be free.
func renameNew(from int, name string, to int, newName string) error {
	err := unix.Renameat2(from, name, to, newName, unix.RENAME_NOREPLACE)
	if err != unix.EINVAL && err != unix.ENOSYS {
		return err
	}
	// A file system that can't: what comes between is lost.
	var st unix.Stat_t
	if err := unix.Fstatat(to, newName, &st, unix.AT_SYMLINK_NOFOLLOW); err == nil {
		return unix.EEXIST
	}
	return unix.Renameat(from, name, to, newName)
}

func (v *service) remove(c *call, r *agentproto.Remove) error {
	as := c.as
	if r.Recursive {
		as = c.asLong
	}
	err := as(func() error {
		dir, name, err := parent(r.Path)
		if err != nil {
			return err
		}
		defer unix.Close(dir)
		if r.Recursive {
			return (&remover{c: c}).remove(dir, name, 0)
		}
		err = unix.Unlinkat(dir, name, 0)
		if err == unix.EISDIR {
			err = unix.Unlinkat(dir, name, unix.AT_REMOVEDIR)
		}
		return err
	})
	if err != nil {
		return err
	}
	return c.done()
}

// remover removes trees.
type remover struct {
	c       *call
	removed int
}

// remove removes an entry of a directory with all below it, as long as somebody wants that: what
// comes into a directory meanwhile goes too.
func (rm *remover) remove(dir int, name string, depth int) error {
	if rm.removed++; rm.removed%overEvery == 0 && rm.c.over() {
		return errCancelled
	}
	err := unix.Unlinkat(dir, name, 0)
	if err != unix.EISDIR {
		return err
	}
	err = unix.Unlinkat(dir, name, unix.AT_REMOVEDIR)
	for err == unix.ENOTEMPTY || err == unix.EEXIST {
		if err := rm.empty(dir, name, depth); err != nil {
			return err
		}
		err = unix.Unlinkat(dir, name, unix.AT_REMOVEDIR)
	}
	return err
}

// empty removes what is in a directory.
func (rm *remover) empty(dir int, name string, depth int) error {
	if depth >= maxDepth {
		return tooDeep(name)
	}
	fd, err := openOld(dir, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	for {
		entries, err := f.Readdirnames(listStep)
		for _, entry := range entries {
			if err := rm.remove(fd, entry, depth+1); err != nil && err != unix.ENOENT {
				return named(entry, err)
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func tooDeep(name string) error {
	return agentproto.Errorf(agentproto.InvalidArgument, "%.200s: more than %d directories deep", name, maxDepth)
}

func (v *service) change(c *call, r *agentproto.ChangeFile) error {
	if err := checkMode(r.Mode); err != nil {
		return err
	}
	ch := &changer{c: c, request: r, uid: -1, gid: -1}
	if r.Owner != "" {
		owner, err := v.account(r.Owner)
		if err != nil {
			return err
		}
		ch.uid, ch.gid = owner.UID, owner.GID
	}
	as := c.as
	if r.Recursive {
		as = c.asLong
	}
	var info agentproto.FileInfo
	err := as(func() error {
		fd, st, err := look(unix.AT_FDCWD, r.Path, true)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if err := ch.change(fd, &st, 0); err != nil {
			return err
		}
		if err := unix.Fstat(fd, &st); err != nil {
			return err
		}
		info = new(names).info(base(r.Path), &st)
		return nil
	})
	if err != nil {
		return err
	}
	_ = c.s.Send(&info)
	return nil
}

type changer struct {
	c        *call
	request  *agentproto.ChangeFile
	uid, gid int // -1: as it is
	changed  int
}

// change changes what fd, which is open for looking alone, leads to. A directory's content comes
// first: its new mode may close it.
func (ch *changer) change(fd int, st *unix.Stat_t, depth int) error {
	if ch.changed++; ch.changed%overEvery == 0 && ch.c.over() {
		return errCancelled
	}
	if ch.request.Recursive && st.Mode&unix.S_IFMT == unix.S_IFDIR {
		if err := ch.below(fd, depth); err != nil {
			return err
		}
	}
	self := fmt.Sprintf("/proc/self/fd/%d", fd)
	if ch.uid >= 0 {
		if err := unix.Chown(self, ch.uid, ch.gid); err != nil {
			return err
		}
	}
	if ch.request.SetMode {
		return unix.Chmod(self, ch.request.Mode)
	}
	return nil
}

func (ch *changer) below(fd, depth int) error {
	if depth >= maxDepth {
		return tooDeep(ch.request.Path)
	}
	opened, err := openOld(fd, ".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	dir := os.NewFile(uintptr(opened), ".")
	defer dir.Close()
	for {
		entries, err := dir.Readdirnames(listStep)
		for _, name := range entries {
			below, st, err := look(opened, name, false)
			if err == unix.ENOENT {
				continue // gone meanwhile
			}
			if err != nil {
				return named(name, err)
			}
			if st.Mode&unix.S_IFMT != unix.S_IFLNK {
				err = ch.change(below, &st, depth+1)
			}
			_ = unix.Close(below)
			if err != nil {
				return named(name, err)
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
