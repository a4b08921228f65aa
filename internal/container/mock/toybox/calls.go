package toybox

import (
	"errors"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"syscall"
	"time"
)

// View is a file system as somebody may use it. Paths are absolute.
type View struct {
	fsys   *FileSystem
	id     Identity
	root   string // where paths begin, in a view of what is beneath a directory
	within bool
}

// As is the file system as id may use it.
func (fsys *FileSystem) As(id Identity) View { return View{fsys: fsys, id: id} }

// Beneath is what there is below a directory: paths are relative to it, and none leads out of it.
func (v View) Beneath(dir string) View { return View{v.fsys, v.id, dir, true} }

// walk follows a path. The caller holds the file system's mu.
func (v View) walk(p string, follow, change bool) (spot, error) {
	if len(p) >= maxPath {
		return spot{}, syscall.ENAMETOOLONG
	}
	tree := v.fsys.tree(change)
	if !v.within {
		return walker{id: v.id, root: tree}.walk(p, follow)
	}
	top, err := walker{id: v.id, root: tree}.existing(v.root, true)
	if err != nil {
		return spot{}, err
	}
	if !top.node.mode.IsDir() {
		return spot{}, syscall.ENOTDIR
	}
	return walker{id: v.id, root: top.node, beneath: true}.walk(p, follow)
}

func (w walker) existing(p string, follow bool) (spot, error) {
	s, err := w.walk(p, follow)
	if err == nil && s.node == nil {
		err = syscall.ENOENT
	}
	return s, err
}

func (v View) existing(p string, follow, change bool) (spot, error) {
	s, err := v.walk(p, follow, change)
	if err == nil && s.node == nil {
		err = syscall.ENOENT
	}
	return s, err
}

// Stat tells of a file, or, without follow, of a link.
func (v View) Stat(p string, follow bool) (File, error) {
	v.fsys.mu.Lock()
	defer v.fsys.mu.Unlock()
	s, err := v.existing(p, follow, false)
	if err != nil {
		return File{}, err
	}
	return s.node.file(path.Base(p)), nil
}

// ReadDir tells what is in a directory, in the order of the names.
func (v View) ReadDir(p string) ([]File, error) {
	v.fsys.mu.Lock()
	defer v.fsys.mu.Unlock()
	s, err := v.existing(p, true, false)
	switch {
	case err != nil:
		return nil, err
	case !s.node.mode.IsDir():
		return nil, syscall.ENOTDIR
	case !v.id.may(s.node, mayRead|maySearch):
		return nil, syscall.EACCES
	}
	list := make([]File, 0, len(s.node.children))
	for name, n := range s.node.children {
		list = append(list, n.file(name))
	}
	slices.SortFunc(list, func(a, b File) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

// Reader reads a regular file, as far as it reaches when it is read.
type Reader struct {
	fsys *FileSystem
	node *node
}

// Open opens a regular file for reading.
func (v View) Open(p string) (Reader, File, error) {
	v.fsys.mu.Lock()
	defer v.fsys.mu.Unlock()
	s, err := v.existing(p, true, false)
	switch {
	case err != nil:
		return Reader{}, File{}, err
	case s.node.mode.IsDir():
		return Reader{}, File{}, syscall.EISDIR
	case !s.node.mode.IsRegular():
		return Reader{}, File{}, syscall.ENXIO
	case !v.id.may(s.node, mayRead):
		return Reader{}, File{}, syscall.EACCES
	}
	return Reader{v.fsys, s.node}, s.node.file(path.Base(p)), nil
}

// ReadAt implements [io.ReaderAt].
func (r Reader) ReadAt(b []byte, offset int64) (int, error) {
	r.fsys.mu.Lock()
	data := r.node.data
	r.fsys.mu.Unlock()
	if offset >= int64(len(data)) {
		return 0, io.EOF
	}
	n := copy(b, data[offset:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

// Mkdir makes a directory, with the permissions that mode has.
func (v View) Mkdir(p string, mode fs.FileMode) error {
	v.fsys.mu.Lock()
	defer v.fsys.mu.Unlock()
	return v.make(p, v.fsys.newNode(fs.ModeDir|mode, v.id, nil))
}

// Symlink makes a symbolic link.
func (v View) Symlink(target, p string) error {
	if target == "" || len(target) >= maxPath {
		return syscall.ENOENT
	}
	v.fsys.mu.Lock()
	defer v.fsys.mu.Unlock()
	n := v.fsys.newNode(fs.ModeSymlink|0o777, v.id, nil)
	n.target = target
	return v.make(p, n)
}

// Mkfifo makes a FIFO, which nothing opens.
func (v View) Mkfifo(p string, mode fs.FileMode) error {
	v.fsys.mu.Lock()
	defer v.fsys.mu.Unlock()
	return v.make(p, v.fsys.newNode(fs.ModeNamedPipe|mode, v.id, nil))
}

// make gives what is new a name that is free. The caller holds the file system's mu.
func (v View) make(p string, n *node) error {
	s, err := v.walk(p, false, true)
	switch {
	case err != nil:
		return err
	case s.node != nil:
		return syscall.EEXIST
	case s.dir && !n.mode.IsDir():
		return syscall.ENOENT
	}
	if err := v.fsys.mayEnter(v.id, s.place.dir); err != nil {
		return err
	}
	n.mount = s.place.dir.mount
	if err := v.fsys.place(n, s.place.dir, s.name); err != nil {
		return err
	}
	v.fsys.tell(Created, s.place, n)
	return nil
}

// MkdirAll makes a directory and those above it, unless they are there.
func (v View) MkdirAll(p string, mode fs.FileMode) error {
	f, err := v.Stat(p, true)
	if err == nil {
		if !f.Mode.IsDir() {
			return syscall.ENOTDIR
		}
		return nil
	}
	if !errors.Is(err, syscall.ENOENT) {
		return err
	}
	if parent := path.Dir(strings.TrimRight(p, "/")); parent != p && parent != "." {
		if err := v.MkdirAll(parent, 0o755); err != nil {
			return err
		}
	}
	err = v.Mkdir(p, mode)
	if errors.Is(err, syscall.EEXIST) { // made meanwhile, or a link that leads nowhere
		f, err = v.Stat(p, true)
		if err == nil && !f.Mode.IsDir() {
			err = syscall.ENOTDIR
		}
	}
	return err
}

// Link gives a file one more name.
func (v View) Link(old, p string) error {
	v.fsys.mu.Lock()
	defer v.fsys.mu.Unlock()
	from, err := v.existing(old, false, true)
	if err != nil {
		return err
	}
	to, err := v.walk(p, false, true)
	switch {
	case err != nil:
		return err
	case to.node != nil:
		return syscall.EEXIST
	case from.node.mode.IsDir():
		return syscall.EPERM
	case from.node.mount != to.place.dir.mount:
		return syscall.EXDEV
	}
	if err := v.fsys.mayEnter(v.id, to.place.dir); err != nil {
		return err
	}
	if err := v.fsys.place(from.node, to.place.dir, to.name); err != nil {
		return err
	}
	v.fsys.tell(Created, to.place, from.node)
	return nil
}

// Rename moves a file, a link or a directory. With replace it takes the place of a file, or of an
// empty directory.
func (v View) Rename(from, to string, replace bool) error {
	v.fsys.mu.Lock()
	defer v.fsys.mu.Unlock()
	old, err := v.existing(from, false, true)
	if err != nil {
		return err
	}
	dest, err := v.walk(to, false, true)
	switch {
	case err != nil:
		return err
	case old.dots || dest.dots:
		return syscall.EBUSY
	case dest.dir && !old.node.mode.IsDir():
		return syscall.ENOTDIR
	}
	if err := v.fsys.mayLeave(v.id, old); err != nil {
		return err
	}
	if err := v.fsys.mayEnter(v.id, dest.place.dir); err != nil {
		return err
	}
	switch {
	case old.node.mount != dest.place.dir.mount:
		return syscall.EXDEV
	case old.node.mode.IsDir() && dest.place.dir.isBelow(old.node):
		return syscall.EINVAL
	case dest.node == nil:
	case !replace:
		return syscall.EEXIST
	case dest.node == old.node:
		return nil
	case dest.node.mode.IsDir() != old.node.mode.IsDir():
		return syscall.EEXIST
	case len(dest.node.children) > 0:
		return syscall.ENOTEMPTY
	default:
		if err := v.fsys.mayLeave(v.id, dest); err != nil {
			return err
		}
		v.fsys.displace(dest.place.dir, dest.name)
	}
	delete(old.place.dir.children, old.name)
	old.place.dir.modified, dest.place.dir.modified = time.Now(), time.Now()
	dest.place.dir.children[dest.name] = old.node
	old.node.places[slices.Index(old.node.places, old.place)] = dest.place
	v.fsys.tellMoved(old.place, dest.place, old.node)
	return nil
}

// isBelow tells whether a directory is other or below it.
func (n *node) isBelow(other *node) bool {
	for n != other {
		if len(n.places) == 0 || n.places[0].dir == n {
			return false
		}
		n = n.places[0].dir
	}
	return true
}

// Remove removes a file, a link, or an empty directory.
func (v View) Remove(p string) error { return v.removeAt(p, false) }

// RemoveAll is Remove with all that is below.
func (v View) RemoveAll(p string) error { return v.removeAt(p, true) }

func (v View) removeAt(p string, all bool) error {
	v.fsys.mu.Lock()
	defer v.fsys.mu.Unlock()
	s, err := v.existing(p, false, true)
	switch {
	case err != nil:
		return err
	case s.dots:
		return syscall.EBUSY
	}
	return v.remove(s, all)
}

func (v View) remove(s spot, all bool) error {
	if err := v.fsys.mayLeave(v.id, s); err != nil {
		return err
	}
	if len(s.node.children) > 0 {
		switch {
		case !all:
			return syscall.ENOTEMPTY
		case !v.id.may(s.node, mayRead|maySearch):
			return syscall.EACCES
		}
	}
	for name, child := range s.node.children {
		if err := v.remove(spot{place: place{s.node, name}, node: child}, true); err != nil {
			return err
		}
	}
	v.fsys.tell(Removed, s.place, s.node)
	v.fsys.displace(s.place.dir, s.name)
	return nil
}

// settable are the bits that can be changed.
const settable = fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky

// Chmod changes permissions, links followed.
func (v View) Chmod(p string, mode fs.FileMode) error {
	return v.change(p, true, func(n *node) error {
		if v.id.UID != 0 && v.id.UID != n.uid {
			return syscall.EPERM
		}
		n.mode = n.mode&^settable | mode&settable
		return nil
	})
}

// Chown changes owner and group; what runs as its owner does so no more.
func (v View) Chown(p string, owner Identity, follow bool) error {
	return v.change(p, follow, func(n *node) error {
		if v.id.UID != 0 && (v.id.UID != n.uid || owner.UID != n.uid || owner.GID != n.gid && owner.GID != v.id.GID) {
			return syscall.EPERM
		}
		n.uid, n.gid = owner.UID, owner.GID
		if !n.mode.IsDir() {
			n.mode &^= fs.ModeSetuid | fs.ModeSetgid
		}
		return nil
	})
}

// Chtimes sets when a file was modified, links followed.
func (v View) Chtimes(p string, modified time.Time) error {
	return v.change(p, true, func(n *node) error {
		if v.id.UID != 0 && v.id.UID != n.uid {
			return syscall.EPERM
		}
		n.modified = modified
		return nil
	})
}

func (v View) change(p string, follow bool, set func(*node) error) error {
	v.fsys.mu.Lock()
	defer v.fsys.mu.Unlock()
	s, err := v.existing(p, follow, true)
	if err != nil {
		return err
	}
	if v.fsys.readOnly(s.node.mount) {
		return syscall.EROFS
	}
	if err := set(s.node); err != nil {
		return err
	}
	for _, at := range s.node.places {
		v.fsys.tell(Changed, at, s.node)
	}
	return nil
}
