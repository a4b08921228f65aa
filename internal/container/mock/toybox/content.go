package toybox

import (
	"errors"
	"io/fs"
	"path"
	"strings"
	"syscall"
)

// ErrChanged is about a file that is not the one, or not any more, that it had to be.
var ErrChanged = errors.New("the file has changed")

// Draft is content that takes a file's place as a whole, once it is complete. It ends with
// [View.Replace] or Discard.
type Draft struct {
	fsys *FileSystem
	node *node
}

// Placing says what a [Draft] becomes.
type Placing struct {
	Mode    fs.FileMode // permissions; zero for those of the file that is there, else 0644
	Owner   *Identity   // nil for who places it, or, where that is root, of the file that is there
	Parents bool        // make missing directories above
	New     bool        // nothing may be there
	Version string      // what must be there; "*" for anything
}

// Draft begins what is to become the file p, unless it could not.
func (v View) Draft(p string, to Placing) (*Draft, error) {
	v.fsys.mu.Lock()
	defer v.fsys.mu.Unlock()
	s, err := v.mayReplace(p, to)
	m := v.fsys.tree(true).mount
	switch {
	case err == nil:
		m = s.place.dir.mount
	case !to.Parents || !errors.Is(err, syscall.ENOENT):
		return nil, err
	}
	n := v.fsys.newNode(0, v.id, m)
	n.draft = true
	return &Draft{v.fsys, n}, nil
}

// mayReplace finds where a draft may go. The caller holds the file system's mu.
func (v View) mayReplace(p string, to Placing) (spot, error) {
	s, err := v.walk(p, false, true)
	if err != nil {
		return s, err
	}
	if to.New && s.node != nil {
		return s, syscall.EEXIST
	}
	if s, err = v.walk(p, true, true); err != nil {
		return s, err
	}
	switch {
	case s.node == nil && to.Version != "":
		return s, ErrChanged
	case s.node == nil && s.dir:
		return s, syscall.EISDIR
	case s.node == nil:
	case s.node.mode.IsDir():
		return s, syscall.EISDIR
	case !s.node.mode.IsRegular():
		return s, syscall.ENXIO
	case to.Version != "" && to.Version != "*" && to.Version != s.node.file("").Version:
		return s, ErrChanged
	case !v.id.may(s.node, mayWrite):
		return s, syscall.EACCES
	}
	if to.Owner != nil && v.id.UID != 0 && *to.Owner != v.id {
		return s, syscall.EPERM
	}
	if s.node != nil {
		return s, v.fsys.mayLeave(v.id, s)
	}
	return s, v.fsys.mayEnter(v.id, s.place.dir)
}

// Write adds to the content.
func (d *Draft) Write(b []byte) (int, error) {
	d.fsys.mu.Lock()
	defer d.fsys.mu.Unlock()
	if err := d.fsys.setData(d.node, append(d.node.data, b...)); err != nil {
		return 0, err
	}
	return len(b), nil
}

// Discard gives the content up, unless it was placed.
func (d *Draft) Discard() {
	d.fsys.mu.Lock()
	defer d.fsys.mu.Unlock()
	if d.node.draft {
		d.node.draft = false
		d.fsys.forget(d.node)
	}
}

// Replace gives a draft the place of the file p. Readers of the old one go on reading that.
func (v View) Replace(p string, d *Draft, to Placing) (File, error) {
	if to.Parents {
		if err := v.MkdirAll(path.Dir(p), 0o755); err != nil {
			return File{}, err
		}
	}
	v.fsys.mu.Lock()
	defer v.fsys.mu.Unlock()
	s, err := v.mayReplace(p, to)
	if err != nil {
		return File{}, err
	}
	n, dir := d.node, s.place.dir
	owner, mode := v.id, fs.FileMode(0o644)
	if s.node != nil {
		mode = s.node.mode & fs.ModePerm
		if v.id.UID == 0 {
			owner = Identity{s.node.uid, s.node.gid}
		}
	}
	if to.Owner != nil {
		owner = *to.Owner
	}
	if to.Mode != 0 {
		mode = to.Mode
	}
	if n.mount != dir.mount { // the directories above are new, or others by now
		if err := v.fsys.grow(dir.mount, int64(len(n.data))); err != nil {
			return File{}, err
		}
		v.fsys.forget(n)
		n.mount = dir.mount
	}
	if s.node != nil {
		v.fsys.displace(dir, s.name)
	}
	n.mode, n.uid, n.gid = mode&settable, owner.UID, owner.GID
	if err := v.fsys.place(n, dir, s.name); err != nil {
		return File{}, err
	}
	v.fsys.tell(Created, s.place, n)
	return n.file(path.Base(p)), nil
}

// Writer is a regular file that a program has open for writing.
type Writer struct {
	fsys *FileSystem
	node *node
}

// Append opens a regular file for writing at its end, and makes it where it is missing; with
// truncate it is emptied first.
func (v View) Append(p string, truncate bool, mode fs.FileMode) (*Writer, error) {
	v.fsys.mu.Lock()
	defer v.fsys.mu.Unlock()
	s, err := v.walk(p, true, true)
	switch {
	case err != nil:
		return nil, err
	case s.node == nil && s.dir:
		return nil, syscall.EISDIR
	case s.node == nil:
		n := v.fsys.newNode(mode, v.id, s.place.dir.mount)
		if err := v.fsys.mayEnter(v.id, s.place.dir); err != nil {
			return nil, err
		}
		if err := v.fsys.place(n, s.place.dir, s.name); err != nil {
			return nil, err
		}
		v.fsys.tell(Created, s.place, n)
		return &Writer{v.fsys, n}, nil
	case s.node.mode.IsDir():
		return nil, syscall.EISDIR
	case !s.node.mode.IsRegular():
		return nil, syscall.ENXIO
	case !v.id.may(s.node, mayWrite):
		return nil, syscall.EACCES
	case v.fsys.readOnly(s.node.mount):
		return nil, syscall.EROFS
	}
	w := &Writer{v.fsys, s.node}
	if truncate && len(s.node.data) > 0 {
		if err := w.set(nil); err != nil {
			return nil, err
		}
	}
	return w, nil
}

// Write adds to the file. To one that was removed it adds nothing.
func (w *Writer) Write(b []byte) (int, error) {
	w.fsys.mu.Lock()
	defer w.fsys.mu.Unlock()
	if len(b) == 0 {
		return 0, nil
	}
	if err := w.set(append(w.node.data, b...)); err != nil { // beyond what others see of the same array
		return 0, err
	}
	return len(b), nil
}

func (w *Writer) set(data []byte) error {
	if err := w.fsys.setData(w.node, data); err != nil {
		return err
	}
	w.node.mode &^= fs.ModeSetuid | fs.ModeSetgid
	w.tell(Written)
	return nil
}

// Close tells that the program is done with the file. It never fails.
func (w *Writer) Close() error {
	w.fsys.mu.Lock()
	defer w.fsys.mu.Unlock()
	w.tell(Closed)
	return nil
}

func (w *Writer) tell(kind Kind) {
	for _, at := range w.node.places {
		w.fsys.tell(kind, at, w.node)
	}
}

// Put makes a regular file or a directory of what f says, as root and with the directories above
// that are missing. A file takes the place of one that is there, and a directory is merged with it.
func (fsys *FileSystem) Put(p string, f File) error {
	v, owner := fsys.As(Identity{}), Identity{f.UID, f.GID}
	p = strings.TrimRight(p, "/")
	if f.Mode.IsDir() {
		if p == "" {
			return nil
		}
		if err := v.MkdirAll(p, f.Mode.Perm()); err != nil {
			return err
		}
		return errors.Join(v.Chown(p, owner, true), v.Chmod(p, f.Mode), v.Chtimes(p, f.Time))
	}
	to := Placing{Mode: f.Mode, Owner: &owner, Parents: true}
	d, err := v.Draft(p, to)
	if err != nil {
		return err
	}
	defer d.Discard()
	if _, err := d.Write(f.Data); err != nil {
		return err
	}
	if _, err := v.Replace(p, d, to); err != nil {
		return err
	}
	return v.Chtimes(p, f.Time)
}
