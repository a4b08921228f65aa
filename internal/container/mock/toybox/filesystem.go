package toybox

import (
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// MaxFiles bounds the bytes in the files of one file system.
const MaxFiles = 1 << 30

// account is a user of every system.
type account struct {
	name, home string
	uid        int
}

var accounts = []account{{"root", "/", 0}, {"user", "/home/user", 1000}}

// lookUser finds a user by name or number; empty is root.
func lookUser(s string) (account, bool) {
	if s == "" {
		return accounts[0], true
	}
	i := slices.IndexFunc(accounts, func(a account) bool { return s == a.name || s == itoa(a.uid) })
	if i < 0 {
		return account{}, false
	}
	return accounts[i], true
}

// File is a file or a directory. What is in a [FileSystem] is never changed in place.
type File struct {
	Mode     fs.FileMode // with fs.ModeDir
	UID, GID int
	Time     time.Time // of its last change; zero for the time of Put
	Data     []byte
}

// image is what every file system starts with.
var image = map[string]*File{
	"/": directory, "/bin": directory, "/dev": directory, "/etc": directory, "/home": directory,
	"/home/user": {Mode: fs.ModeDir | 0o755, UID: 1000, GID: 1000}, "/proc": directory, "/sys": directory,
	"/tmp":        {Mode: fs.ModeDir | fs.ModeSticky | 0o777},
	"/etc/passwd": {Mode: 0o644, Data: []byte("root:x:0:0:root:/:/bin/sh\nuser:x:1000:1000:user:/home/user:/bin/sh\n")},
}

var directory = &File{Mode: fs.ModeDir | 0o755}

// FileSystem holds files in memory. Paths are absolute and clean, links there are none, and
// permissions are shown, not enforced. The zero value has what every system starts with. Errors are
// those of the system calls.
//
// It is safe for concurrent use, apart from its exported fields.
type FileSystem struct {
	ReadOnly bool
	// Tmpfs are directories that can be written all the same. They are emptied when a system on
	// the file system ends.
	Tmpfs []string

	mu    sync.Mutex
	files map[string]*File // over those of the image; nil for one that was removed
	used  int64
}

// Lookup finds a file or a directory.
func (fsys *FileSystem) Lookup(p string) (*File, error) {
	fsys.mu.Lock()
	defer fsys.mu.Unlock()
	return fsys.lookupLocked(p)
}

func (fsys *FileSystem) lookupLocked(p string) (*File, error) {
	f, ok := fsys.files[p]
	if !ok {
		f = image[p]
	}
	if f == nil && slices.Contains(fsys.Tmpfs, p) {
		f = directory
	}
	if f == nil {
		return nil, syscall.ENOENT
	}
	return f, nil
}

func (fsys *FileSystem) exists(p string) bool {
	_, err := fsys.Lookup(p)
	return err == nil
}

// IsDir reports whether there is a directory of that path.
func (fsys *FileSystem) IsDir(p string) bool {
	f, err := fsys.Lookup(p)
	return err == nil && f.Mode.IsDir()
}

// Put writes a file or makes a directory, in place of a file that is there, and makes the
// directories above that are missing.
func (fsys *FileSystem) Put(p string, f *File) error {
	if parent := path.Dir(p); !fsys.exists(parent) {
		if err := fsys.Put(parent, &File{Mode: fs.ModeDir | 0o755}); err != nil {
			return err
		}
	}
	return fsys.put(p, f)
}

// put is Put into a directory that is there.
func (fsys *FileSystem) put(p string, f *File) error {
	fsys.mu.Lock()
	defer fsys.mu.Unlock()
	return fsys.putLocked(p, f)
}

func (fsys *FileSystem) putLocked(p string, f *File) error {
	parent, err := fsys.lookupLocked(path.Dir(p))
	if err != nil {
		return err
	}
	if !parent.Mode.IsDir() {
		return syscall.ENOTDIR
	}
	if fsys.ReadOnly && !slices.ContainsFunc(fsys.Tmpfs, func(dir string) bool { return below(p, dir) }) {
		return syscall.EROFS
	}
	if old, err := fsys.lookupLocked(p); err == nil && old.Mode.IsDir() != f.Mode.IsDir() {
		if old.Mode.IsDir() {
			return syscall.EISDIR
		}
		return syscall.ENOTDIR
	}
	grown := int64(len(f.Data))
	if old := fsys.files[p]; old != nil {
		grown -= int64(len(old.Data))
	}
	if fsys.used+grown > MaxFiles {
		return syscall.ENOSPC
	}
	if fsys.files == nil {
		fsys.files = make(map[string]*File)
	}
	if f.Time.IsZero() {
		f.Time = time.Now()
	}
	fsys.used += grown
	fsys.files[p] = f
	return nil
}

// appendTo adds to a file, and makes it where it is missing.
func (fsys *FileSystem) appendTo(p string, data []byte, owner account) error {
	fsys.mu.Lock()
	defer fsys.mu.Unlock()
	f := &File{Mode: 0o644, UID: owner.uid, GID: owner.uid}
	if old, err := fsys.lookupLocked(p); err == nil {
		f.Mode, f.UID, f.GID, f.Data = old.Mode, old.UID, old.GID, old.Data
	}
	f.Data = append(f.Data, data...) // beyond what the old one shows of the same array
	return fsys.putLocked(p, f)
}

// remove removes a file, or a directory with all below it.
func (fsys *FileSystem) remove(p string) error {
	if fsys.ReadOnly {
		return syscall.EROFS
	}
	paths := fsys.Walk(p)
	if len(paths) == 0 {
		return syscall.ENOENT
	}
	fsys.mu.Lock()
	defer fsys.mu.Unlock()
	if fsys.files == nil {
		fsys.files = make(map[string]*File)
	}
	for _, q := range paths {
		if f := fsys.files[q]; f != nil {
			fsys.used -= int64(len(f.Data))
		}
		fsys.files[q] = nil
	}
	return nil
}

// Walk returns p and all below it, in order; nothing where p does not exist.
func (fsys *FileSystem) Walk(p string) []string {
	fsys.mu.Lock()
	defer fsys.mu.Unlock()
	all := maps.Clone(image)
	maps.Copy(all, fsys.files)
	for _, dir := range fsys.Tmpfs {
		if all[dir] == nil {
			all[dir] = directory
		}
	}
	maps.DeleteFunc(all, func(q string, f *File) bool { return f == nil || !below(q, p) })
	return slices.Sorted(maps.Keys(all))
}

// unmount empties the tmpfs.
func (fsys *FileSystem) unmount() {
	fsys.mu.Lock()
	defer fsys.mu.Unlock()
	maps.DeleteFunc(fsys.files, func(p string, f *File) bool {
		gone := f != nil && slices.ContainsFunc(fsys.Tmpfs, func(dir string) bool { return below(p, dir) })
		if gone {
			fsys.used -= int64(len(f.Data))
		}
		return gone
	})
}

// Size is how many bytes the files have that were written.
func (fsys *FileSystem) Size() int64 {
	fsys.mu.Lock()
	defer fsys.mu.Unlock()
	return fsys.used
}

// below reports whether p is dir or in it.
func below(p, dir string) bool {
	return p == dir || dir == "/" || strings.HasPrefix(p, dir+"/")
}
