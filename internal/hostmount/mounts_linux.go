package hostmount

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

var errMayNot = errors.New("the daemon may not mount; run it as root, or give it CAP_SYS_ADMIN")

// Mounts are the mounts of one data directory. It is safe for use from many goroutines; calls about
// one session follow one another.
type Mounts struct {
	path string   // of the directory that holds them
	dir  *os.File // that directory
}

// Check says what would keep [Open] from opening the mounts of a data directory, and changes
// nothing. The directory may be still to be made.
func Check(dataDir string) error {
	if _, err := prepare(dataDir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	root, err := unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(root)
	tree, err := cloneTree(root)
	if err == nil {
		_ = unix.Close(tree) // was never attached
	}
	return err
}

// Open opens the mounts of a data directory; there may be some already, of a daemon that was
// killed. It fails, in words that complete "binds can't be mounted: ", where this process can't
// make mounts.
func Open(dataDir string) (*Mounts, error) {
	parent, err := prepare(dataDir)
	if err != nil {
		return nil, err
	}
	m := &Mounts{path: filepath.Join(parent, dirName)}
	if err := os.Mkdir(m.path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	dir, err := unix.Open(m.path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", m.path, err)
	}
	m.dir = os.NewFile(uintptr(dir), m.path)
	tree, err := cloneTree(dir)
	if err != nil {
		_ = m.dir.Close() // nothing was written to it
		return nil, err
	}
	_ = unix.Close(tree) // was never attached
	return m, nil
}

// Mount mounts what source, an absolute path, leads to now, as the session's mount n and in the
// place of what that was before, and gives the path of the mount. A symbolic link on the way is
// ELOOP. What the data directory would be reached through is [fs.ErrPermission].
func (m *Mounts) Mount(sessionID string, n int, source string) (string, error) {
	file, isDir, err := m.open(source)
	if err != nil {
		return "", fmt.Errorf("open %s: %w", source, err)
	}
	defer unix.Close(file)
	tree, err := cloneTree(file)
	if err != nil {
		return "", err
	}
	defer unix.Close(tree)
	place := place(sessionID, n)
	if err := m.clear(place); err != nil {
		return "", err
	}
	if err := m.makePlace(place, isDir); err != nil {
		return "", err
	}
	if err := unix.MoveMount(tree, "", m.fd(), place, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return "", fmt.Errorf("mount on %s: %w", filepath.Join(m.path, place), err)
	}
	return filepath.Join(m.path, place), nil
}

// open walks to a file one name at a time. Each directory on the way is held while the next name is
// looked up in it, so that what comes back was below all of them at some moment, whatever is
// renamed meanwhile.
func (m *Mounts) open(source string) (file int, isDir bool, err error) {
	above, err := m.above()
	if err != nil {
		return -1, false, err
	}
	file, err = unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, false, err
	}
	defer func() {
		if err != nil {
			_ = unix.Close(file)
		}
	}()
	var at inode
	for name := range strings.SplitSeq(strings.Trim(source, "/"), "/") {
		next, err := unix.Openat(file, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			return file, false, err
		}
		_ = unix.Close(file) // a path only
		file = next
		var st unix.Stat_t
		if err := unix.Fstat(file, &st); err != nil {
			return file, false, err
		}
		isDir = st.Mode&unix.S_IFMT == unix.S_IFDIR
		at = inode{st.Dev, st.Ino}
		switch {
		case st.Mode&unix.S_IFMT == unix.S_IFLNK:
			return file, false, unix.ELOOP
		case at == above[0]: // the data directory, under whatever name
			return file, false, fs.ErrPermission
		}
	}
	for _, dir := range above {
		if at == dir {
			return file, false, fs.ErrPermission
		}
	}
	return file, isDir, nil
}

type inode struct{ dev, ino uint64 }

// above gives the data directory and all directories that it is in, that one first.
func (m *Mounts) above() ([]inode, error) {
	var dirs []inode
	for dir := filepath.Dir(m.path); ; dir = filepath.Dir(dir) {
		var st unix.Stat_t
		if err := unix.Stat(dir, &st); err != nil {
			return nil, err
		}
		dirs = append(dirs, inode{st.Dev, st.Ino})
		if dir == "/" {
			return dirs, nil
		}
	}
}

// cloneTree makes a mount of an open file, with what is mounted below it, that is attached nowhere
// yet. It is private: what is unmounted in it stays mounted where it came from.
func cloneTree(file int) (int, error) {
	tree, err := unix.OpenTree(file, "",
		unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH|unix.AT_RECURSIVE)
	if err == nil {
		err = unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE,
			&unix.MountAttr{Propagation: unix.MS_PRIVATE})
		if err != nil {
			_ = unix.Close(tree) // was never attached
		}
	}
	switch {
	case errors.Is(err, unix.EPERM):
		return -1, errMayNot
	case errors.Is(err, unix.ENOSYS):
		return -1, errors.New("the kernel is older than Linux 5.12")
	case err != nil:
		return -1, fmt.Errorf("clone a mount: %w", err)
	}
	return tree, nil
}

// place is the path of a mount below the directory of all.
func place(sessionID string, n int) string { return path.Join(sessionID, strconv.Itoa(n)) }

func (m *Mounts) fd() int { return int(m.dir.Fd()) }

// makePlace makes the file or directory that something is mounted on.
func (m *Mounts) makePlace(place string, isDir bool) error {
	err := unix.Mkdirat(m.fd(), path.Dir(place), 0o700)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make the place of a mount: %w", err)
	}
	if isDir {
		if err := unix.Mkdirat(m.fd(), place, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("make the place of a mount: %w", err)
		}
		return nil
	}
	file, err := unix.Openat(m.fd(), place, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_CLOEXEC, 0o600)
	if err == nil {
		err = unix.Close(file)
	}
	if err != nil {
		return fmt.Errorf("make the place of a mount: %w", err)
	}
	return nil
}

// clear unmounts what is mounted on place, and removes the place. It never removes what is in a
// directory: that may be somebody's, whom an engine gave the place without the mount.
func (m *Mounts) clear(place string) error {
	for {
		root, err := m.statRoot(place)
		switch {
		case errors.Is(err, errNotMounted):
			return m.removePlace(place)
		case err != nil:
			return err
		}
		err = unix.Unmount(fmt.Sprintf("/proc/self/fd/%d/%s", m.fd(), place), unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		if err != nil {
			return fmt.Errorf("unmount %s (mount %d): %w", filepath.Join(m.path, place), root.Mnt_id, err)
		}
	}
}

func (m *Mounts) removePlace(place string) error {
	err := unix.Unlinkat(m.fd(), place, 0)
	if errors.Is(err, unix.EISDIR) {
		err = unix.Unlinkat(m.fd(), place, unix.AT_REMOVEDIR)
	}
	switch {
	case err == nil, errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENOTEMPTY):
		return nil
	}
	return fmt.Errorf("remove %s: %w", filepath.Join(m.path, place), err)
}

// statRoot looks at the root of what is mounted on a place; errNotMounted where nothing is.
func (m *Mounts) statRoot(place string) (unix.Statx_t, error) {
	var st unix.Statx_t
	err := unix.Statx(m.fd(), place, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT, unix.STATX_INO|unix.STATX_MNT_ID,
		&st)
	switch {
	case errors.Is(err, fs.ErrNotExist), err == nil && st.Attributes&unix.STATX_ATTR_MOUNT_ROOT == 0:
		return st, errNotMounted
	case err != nil:
		return st, fmt.Errorf("look at %s: %w", filepath.Join(m.path, place), err)
	}
	return st, nil
}

// Unmount unmounts all that is mounted for the session. A repeated call: nil.
func (m *Mounts) Unmount(sessionID string) error {
	places, err := m.list(sessionID)
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range places {
		errs = append(errs, m.clear(path.Join(sessionID, name)))
	}
	return errors.Join(append(errs, m.removePlace(sessionID))...)
}

// Mounted lists the sessions that something is mounted for.
func (m *Mounts) Mounted() ([]string, error) { return m.list(".") }

// list gives the names in a directory; none where it does not exist.
func (m *Mounts) list(name string) ([]string, error) {
	fd, err := unix.Openat(m.fd(), name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", filepath.Join(m.path, name), err)
	}
	dir := os.NewFile(uintptr(fd), name)
	defer dir.Close()
	return dir.Readdirnames(-1)
}

// Close unmounts everything, so that nobody who removes the data directory removes what was mounted
// there. Containers that run keep what they have.
func (m *Mounts) Close() error {
	sessions, err := m.Mounted()
	errs := []error{err}
	for _, id := range sessions {
		errs = append(errs, m.Unmount(id))
	}
	return errors.Join(append(errs, m.dir.Close())...)
}

// Verify compares what a container whose main process is pid has mounted on targets, in the order
// of the session's mounts, with those: it must be the same files, each the root of a mount of its
// own. The processes of the container may make a target lead elsewhere in it, but they can make no
// mounts, and so none that pass. Where nothing is mounted for the session, the error is
// [fs.ErrNotExist]; no other is.
func (m *Mounts) Verify(sessionID string, pid int, targets []string) error {
	root, err := unix.Open(fmt.Sprintf("/proc/%d/root", pid), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open the root of process %d: %v", pid, err)
	}
	defer unix.Close(root)
	seen := make(map[uint64]bool, len(targets))
	for n, target := range targets {
		want, err := m.statRoot(place(sessionID, n))
		if err != nil {
			return err
		}
		got, err := statTarget(root, target)
		if err != nil {
			return fmt.Errorf("look at the container's %s: %v", target, err)
		}
		same := got.Dev_major == want.Dev_major && got.Dev_minor == want.Dev_minor && got.Ino == want.Ino
		if !same || got.Attributes&unix.STATX_ATTR_MOUNT_ROOT == 0 || seen[got.Mnt_id] {
			return fmt.Errorf("the container's %s is inode %d of %d:%d, and not %d of %d:%d", target,
				got.Ino, got.Dev_major, got.Dev_minor, want.Ino, want.Dev_major, want.Dev_minor)
		}
		seen[got.Mnt_id] = true
	}
	return nil
}

// maxTries bounds how often a look is repeated that the kernel gave up.
const maxTries = 100

// statTarget looks at a path as a process with that root sees it.
func statTarget(root int, target string) (unix.Statx_t, error) {
	var st unix.Statx_t
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
	fd, err := unix.Openat2(root, target, &how)
	for tries := 0; errors.Is(err, unix.EAGAIN) && tries < maxTries; tries++ {
		fd, err = unix.Openat2(root, target, &how) // something was renamed somewhere, at a ".." on the way
	}
	if err != nil {
		return st, err
	}
	defer unix.Close(fd)
	err = unix.Statx(fd, "", unix.AT_EMPTY_PATH|unix.AT_NO_AUTOMOUNT, unix.STATX_INO|unix.STATX_MNT_ID, &st)
	return st, err
}
