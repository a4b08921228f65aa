package mock

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

// diskSize bounds the files of one container.
const diskSize = 1 << 30

// account is a user of every container.
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

// file is a file or a directory.
type file struct {
	mode     fs.FileMode // with fs.ModeDir
	uid, gid int
	time     time.Time
	data     []byte // what it shows is never changed in place
}

// image is what every container's disk starts with.
var image = map[string]*file{
	"/": directory, "/bin": directory, "/dev": directory, "/etc": directory, "/home": directory,
	"/home/user": {mode: fs.ModeDir | 0o755, uid: 1000, gid: 1000}, "/proc": directory, "/sys": directory,
	"/tmp":        {mode: fs.ModeDir | fs.ModeSticky | 0o777},
	"/etc/passwd": {mode: 0o644, data: []byte("root:x:0:0:root:/:/bin/sh\nuser:x:1000:1000:user:/home/user:/bin/sh\n")},
}

var directory = &file{mode: fs.ModeDir | 0o755}

// disk is a container's file system. Its paths are absolute and clean. Links there are none.
type disk struct {
	readOnly bool
	writable []string // directories of which readOnly is not true: tmpfs

	mu    sync.Mutex
	files map[string]*file // over those of the image; nil for one that was removed
	used  int64
}

func (d *disk) lookup(p string) (*file, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.lookupLocked(p)
}

func (d *disk) lookupLocked(p string) (*file, error) {
	f, ok := d.files[p]
	if !ok {
		f = image[p]
	}
	if f == nil && slices.Contains(d.writable, p) {
		f = directory
	}
	if f == nil {
		return nil, syscall.ENOENT
	}
	return f, nil
}

func (d *disk) exists(p string) bool {
	_, err := d.lookup(p)
	return err == nil
}

func (d *disk) isDir(p string) bool {
	f, err := d.lookup(p)
	return err == nil && f.mode.IsDir()
}

// put writes a file or makes a directory, in place of a file that is there.
func (d *disk) put(p string, f *file) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.putLocked(p, f)
}

func (d *disk) putLocked(p string, f *file) error {
	parent, err := d.lookupLocked(path.Dir(p))
	if err != nil {
		return err
	}
	if !parent.mode.IsDir() {
		return syscall.ENOTDIR
	}
	if d.readOnly && !slices.ContainsFunc(d.writable, func(dir string) bool { return below(p, dir) }) {
		return syscall.EROFS
	}
	if old, err := d.lookupLocked(p); err == nil && old.mode.IsDir() != f.mode.IsDir() {
		if old.mode.IsDir() {
			return syscall.EISDIR
		}
		return syscall.ENOTDIR
	}
	grown := int64(len(f.data))
	if old := d.files[p]; old != nil {
		grown -= int64(len(old.data))
	}
	if d.used+grown > diskSize {
		return syscall.ENOSPC
	}
	if d.files == nil {
		d.files = make(map[string]*file)
	}
	if f.time.IsZero() {
		f.time = time.Now()
	}
	d.used += grown
	d.files[p] = f
	return nil
}

// appendTo adds to a file, and makes it where it is missing.
func (d *disk) appendTo(p string, data []byte, owner account) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := &file{mode: 0o644, uid: owner.uid, gid: owner.uid}
	if old, err := d.lookupLocked(p); err == nil {
		f.mode, f.uid, f.gid, f.data = old.mode, old.uid, old.gid, old.data
	}
	f.data = append(f.data, data...) // beyond what the old one shows of the same array
	return d.putLocked(p, f)
}

// remove removes a file, or a directory with all below it.
func (d *disk) remove(p string) error {
	if d.readOnly {
		return syscall.EROFS
	}
	paths := d.walk(p)
	if len(paths) == 0 {
		return syscall.ENOENT
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.files == nil {
		d.files = make(map[string]*file)
	}
	for _, q := range paths {
		if f := d.files[q]; f != nil {
			d.used -= int64(len(f.data))
		}
		d.files[q] = nil
	}
	return nil
}

// walk returns p and all below it, in order; nothing where p does not exist.
func (d *disk) walk(p string) []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := maps.Clone(image)
	maps.Copy(all, d.files)
	for _, dir := range d.writable {
		if all[dir] == nil {
			all[dir] = directory
		}
	}
	maps.DeleteFunc(all, func(q string, f *file) bool { return f == nil || !below(q, p) })
	return slices.Sorted(maps.Keys(all))
}

// unmount empties what is in memory only while the container runs.
func (d *disk) unmount() {
	d.mu.Lock()
	defer d.mu.Unlock()
	maps.DeleteFunc(d.files, func(p string, f *file) bool {
		gone := f != nil && slices.ContainsFunc(d.writable, func(dir string) bool { return below(p, dir) })
		if gone {
			d.used -= int64(len(f.data))
		}
		return gone
	})
}

func (d *disk) size() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.used
}

// below tells whether p is dir or in it.
func below(p, dir string) bool {
	return p == dir || dir == "/" || strings.HasPrefix(p, dir+"/")
}
