package toybox

import (
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// MaxFiles bounds the bytes in the files of one file system, and maxNodes how many there are.
const (
	MaxFiles = 1 << 30
	maxNodes = 1 << 20
)

// FileSystem holds files in memory: with owners, permissions and links, and watches that are told
// of changes. The zero value has what every system starts with. Errors are those of the system
// calls.
//
// It is safe for concurrent use, apart from its exported fields, which are set before anything
// else.
type FileSystem struct {
	ReadOnly bool
	// Tmpfs are directories that can be written all the same, and how many bytes each holds, 0 for
	// as many as there is room for. They are emptied when a system on the file system ends.
	Tmpfs map[string]int64

	mu      sync.Mutex
	root    *node // nil as long as nothing has changed
	mounts  []*mount
	used    int64 // bytes, and files
	nodes   int
	serial  uint64 // of the last change
	watches map[*Watch]struct{}
}

// mount is a part of the tree with a bound of its own, out of which nothing can be moved.
type mount struct {
	root *node
	most int64 // bytes; 0 for no bound but the file system's
	used int64
}

// node is a file of any type.
type node struct {
	mode     fs.FileMode
	uid, gid int
	modified time.Time
	data     []byte // what it shows is never changed in place
	target   string // of a symbolic link; of a device, its name
	children map[string]*node
	places   []place // where it is; one of a directory; none of what was removed
	mount    *mount
	number   uint64
	version  uint64
	draft    bool // it is to be placed
}

// place is a name in a directory.
type place struct {
	dir  *node
	name string
}

// File is what there is of a file at one moment.
type File struct {
	Name     string
	Mode     fs.FileMode
	UID, GID int
	Time     time.Time
	Size     int64
	Target   string // of a symbolic link
	Number   uint64 // the same for every name of a file
	Links    int
	// Version is another one when the content is.
	Version string
	Data    []byte // not to be changed
}

// imageTime is when the image was made.
var imageTime = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// image is what every file system starts with, as long as nothing is changed.
var image = newImage()

const passwd = "root:x:0:0:root:/:/bin/sh\nuser:x:1000:1000:user:/home/user:/bin/sh\n"

func newImage() *node {
	m := new(mount)
	dir := func() *node {
		return &node{mode: fs.ModeDir | 0o755, modified: imageTime, children: map[string]*node{}, mount: m}
	}
	root := dir()
	m.root = root
	root.places = []place{{root, "/"}}
	add := func(parent *node, name string, n *node) *node {
		n.modified, n.mount = imageTime, m
		n.places = []place{{parent, name}}
		parent.children[name] = n
		return n
	}
	for _, name := range []string{"bin", "dev", "etc", "home", "proc", "sys", "tmp"} {
		add(root, name, dir())
	}
	root.children["tmp"].mode |= fs.ModeSticky | 0o777
	user := add(root.children["home"], "user", dir())
	user.uid, user.gid = 1000, 1000
	add(root.children["etc"], "passwd", &node{mode: 0o644, data: []byte(passwd)})
	for _, name := range []string{"null", "zero"} {
		add(root.children["dev"], name, &node{mode: fs.ModeDevice | fs.ModeCharDevice | 0o666, target: name})
	}
	return root
}

// tree is the root directory, of the file system's own tree where something is to be changed or
// watched. The caller holds mu.
func (fsys *FileSystem) tree(change bool) *node {
	if fsys.root != nil {
		return fsys.root
	}
	if !change && len(fsys.Tmpfs) == 0 {
		return image
	}
	disk := new(mount)
	fsys.root = fsys.adopt(image, nil, "/", disk)
	disk.root = fsys.root
	fsys.mounts = []*mount{disk}
	for _, p := range slices.Sorted(maps.Keys(fsys.Tmpfs)) {
		fsys.mountTmpfs(p, fsys.Tmpfs[p])
	}
	return fsys.root
}

// adopt copies a part of the image.
func (fsys *FileSystem) adopt(from, parent *node, name string, m *mount) *node {
	n := new(*from)
	fsys.serial++
	n.mount, n.number, n.version = m, fsys.serial, fsys.serial
	if parent == nil {
		parent = n
	}
	n.places = []place{{parent, name}}
	if from.children != nil {
		n.children = make(map[string]*node, len(from.children))
		for _, child := range slices.Sorted(maps.Keys(from.children)) {
			n.children[child] = fsys.adopt(from.children[child], n, child, m)
		}
	}
	return n
}

func (fsys *FileSystem) mountTmpfs(p string, most int64) {
	m := &mount{most: most}
	dir := fsys.root
	for _, name := range splitPath(p) {
		next := dir.children[name]
		if next == nil || !next.mode.IsDir() {
			next = fsys.newNode(fs.ModeDir|0o755, Identity{}, dir.mount)
			next.places = []place{{dir, name}}
			dir.children[name] = next
		}
		dir = next
	}
	dir.mode, dir.mount, m.root = fs.ModeDir|fs.ModeSticky|0o777, m, dir
	clear(dir.children)
	fsys.mounts = append(fsys.mounts, m)
}

// newNode makes a file that is nowhere yet.
func (fsys *FileSystem) newNode(mode fs.FileMode, owner Identity, m *mount) *node {
	fsys.serial++
	n := &node{mode: mode, uid: owner.UID, gid: owner.GID, modified: time.Now(), mount: m,
		number: fsys.serial, version: fsys.serial}
	if mode.IsDir() {
		n.children = map[string]*node{}
	}
	return n
}

func (fsys *FileSystem) readOnly(m *mount) bool { return fsys.ReadOnly && m == fsys.mounts[0] }

// grow takes room for bytes, or gives it back.
func (fsys *FileSystem) grow(m *mount, by int64) error {
	if by > 0 && (fsys.used+by > MaxFiles || m.most > 0 && m.used+by > m.most) {
		return syscall.ENOSPC
	}
	fsys.used += by
	m.used += by
	return nil
}

// setData gives a file other content, and another version.
func (fsys *FileSystem) setData(n *node, data []byte) error {
	if len(n.places) == 0 && !n.draft {
		return nil // it was removed: nobody sees it any more
	}
	if err := fsys.grow(n.mount, int64(len(data)-len(n.data))); err != nil {
		return err
	}
	fsys.serial++
	n.data, n.version, n.modified = data, fsys.serial, time.Now()
	return nil
}

// place gives a file a name that is free.
func (fsys *FileSystem) place(n, dir *node, name string) error {
	if len(n.places) == 0 {
		if fsys.nodes >= maxNodes {
			return syscall.ENOSPC
		}
		fsys.nodes++
	}
	n.places = append(n.places, place{dir, name})
	n.draft = false
	dir.children[name] = n
	dir.modified = time.Now()
	return nil
}

// displace takes a name from what has it, and gives the room back with the last one.
func (fsys *FileSystem) displace(dir *node, name string) {
	n := dir.children[name]
	delete(dir.children, name)
	dir.modified = time.Now()
	n.places = slices.DeleteFunc(n.places, func(p place) bool { return p == place{dir, name} })
	if len(n.places) == 0 {
		fsys.forget(n)
		fsys.nodes--
	}
}

// forget gives back the room of a file's content.
func (fsys *FileSystem) forget(n *node) {
	_ = fsys.grow(n.mount, -int64(len(n.data))) // never fails
}

// unmount empties the tmpfs.
func (fsys *FileSystem) unmount() {
	fsys.mu.Lock()
	defer fsys.mu.Unlock()
	if fsys.root == nil {
		return
	}
	for _, m := range fsys.mounts[1:] {
		fsys.empty(m.root)
	}
}

func (fsys *FileSystem) empty(dir *node) {
	for name, n := range dir.children {
		fsys.empty(n)
		fsys.displace(dir, name)
	}
}

// Size is how many bytes the files have that were written.
func (fsys *FileSystem) Size() int64 {
	fsys.mu.Lock()
	defer fsys.mu.Unlock()
	return fsys.used
}

// exists, IsDir and Lookup are of paths that anybody may look at, links followed.
func (fsys *FileSystem) exists(p string) bool {
	_, err := fsys.Lookup(p)
	return err == nil
}

// IsDir reports whether there is a directory of that path.
func (fsys *FileSystem) IsDir(p string) bool {
	f, err := fsys.Lookup(p)
	return err == nil && f.Mode.IsDir()
}

// Lookup finds a file as root does, links followed.
func (fsys *FileSystem) Lookup(p string) (*File, error) {
	f, err := fsys.As(Identity{}).Stat(p, true)
	if err != nil {
		return nil, err
	}
	return &f, nil
}

// file is what there is of n. The caller holds mu.
func (n *node) file(name string) File {
	return File{
		Name: name, Mode: n.mode, UID: n.uid, GID: n.gid, Time: n.modified,
		Size: int64(len(n.data) + len(n.linkTarget())), Target: n.linkTarget(),
		Number: n.number, Links: len(n.places), Data: n.data,
		Version: strconv.FormatUint(n.number, 36) + "v" + strconv.FormatUint(n.version, 36),
	}
}

func (n *node) linkTarget() string {
	if n.mode&fs.ModeSymlink == 0 {
		return ""
	}
	return n.target
}
