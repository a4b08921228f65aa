package toybox

import (
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// account is a user of every system.
type account struct {
	name, home string
	uid        int
}

var accounts = []account{{"root", "/", 0}, {"user", "/home/user", 1000}}

// lookUser finds a user by name or number; empty is root. A number need not have a name.
func lookUser(s string) (account, bool) {
	if s == "" {
		return accounts[0], true
	}
	i := slices.IndexFunc(accounts, func(a account) bool { return s == a.name || s == itoa(a.uid) })
	if i >= 0 {
		return accounts[i], true
	}
	if n, err := strconv.ParseUint(s, 10, 31); err == nil {
		return account{itoa(int(n)), "/", int(n)}, true
	}
	return account{}, false
}

// AccountName is the name of a user, or of a user's group, by its number; empty where it has none.
func AccountName(id int) string {
	i := slices.IndexFunc(accounts, func(a account) bool { return a.uid == id })
	if i < 0 {
		return ""
	}
	return accounts[i].name
}

// Identity is whose permissions count. The zero value is root.
type Identity struct{ UID, GID int }

// LookIdentity finds a user, with a group where one is named, by names or numbers; empty is root. A
// number without a name has the group 0.
func LookIdentity(s string) (Identity, bool) {
	name, group, hasGroup := strings.Cut(s, ":")
	a, ok := lookUser(name)
	if !ok {
		return Identity{}, false
	}
	id := Identity{a.uid, a.uid}
	if AccountName(a.uid) == "" {
		id.GID = 0
	}
	if hasGroup {
		g, ok := lookUser(group)
		if !ok {
			return Identity{}, false
		}
		id.GID = g.uid
	}
	return id, true
}

const (
	mayRead   = 4
	mayWrite  = 2
	maySearch = 1
)

// may tells whether a file's permissions have all of the bits for id.
func (id Identity) may(n *node, bits fs.FileMode) bool {
	shift := 0
	switch {
	case id.UID == 0:
		return true
	case id.UID == n.uid:
		shift = 6
	case id.GID == n.gid:
		shift = 3
	}
	return n.mode.Perm()>>shift&bits == bits
}

// spot is where a path leads: a name in a directory, and what is there, or nil.
type spot struct {
	place
	node *node
	dots bool // the path ended in "." or "..", or is the root
	dir  bool // the path ended in a slash: it is a directory's
}

const (
	maxName  = 255
	maxPath  = 4096
	maxLinks = 40
)

func splitPath(p string) []string {
	return strings.FieldsFunc(p, func(r rune) bool { return r == '/' })
}

// walker finds what paths lead to, as one who looks.
type walker struct {
	id   Identity
	root *node // at which ".." and absolute links end, or, where beneath is set, fail
	// beneath: nothing outside the root is to be reached.
	beneath bool
}

// walk follows a path from the root, and links on it, the last one where follow is set. A missing
// last element is no error.
func (w walker) walk(p string, follow bool) (spot, error) {
	dir, rest, links := w.root, p, 0
	if w.beneath && strings.HasPrefix(p, "/") {
		return spot{}, syscall.EXDEV
	}
	for {
		rest = strings.TrimLeft(rest, "/")
		name, after, slash := strings.Cut(rest, "/")
		last := strings.Trim(after, "/") == ""
		if name == "" {
			return spot{place: dir.places[0], node: dir, dots: true}, nil
		}
		switch {
		case !w.id.may(dir, maySearch):
			return spot{}, syscall.EACCES
		case len(name) > maxName:
			return spot{}, syscall.ENAMETOOLONG
		}
		next := dir.children[name]
		switch name {
		case ".":
			next = dir
		case "..":
			if w.beneath && dir == w.root {
				return spot{}, syscall.EXDEV
			}
			if next = dir; dir != w.root {
				next = dir.places[0].dir
			}
		}
		switch {
		case next == nil && last:
			return spot{place: place{dir, name}, dir: slash}, nil
		case next == nil:
			return spot{}, syscall.ENOENT
		case next.mode&fs.ModeSymlink != 0 && (follow || slash):
			if links++; links > maxLinks {
				return spot{}, syscall.ELOOP
			}
			if strings.HasPrefix(next.target, "/") {
				if w.beneath {
					return spot{}, syscall.EXDEV
				}
				dir = w.root
			}
			rest = next.target
			if slash {
				rest += "/" + after
			}
			continue
		case (slash || !last) && !next.mode.IsDir():
			return spot{}, syscall.ENOTDIR
		case last:
			s := spot{place: place{dir, name}, node: next, dir: slash}
			if name == "." || name == ".." {
				s.place, s.dots = next.places[0], true
			}
			return s, nil
		}
		dir, rest = next, after
	}
}

// mayEnter tells why id may not make a name in a directory.
func (fsys *FileSystem) mayEnter(id Identity, dir *node) error {
	switch {
	case fsys.readOnly(dir.mount):
		return syscall.EROFS
	case len(dir.places) == 0:
		return syscall.ENOENT // it was removed
	case !id.may(dir, mayWrite|maySearch):
		return syscall.EACCES
	}
	return nil
}

// mayLeave tells why id may not take a name from what is there.
func (fsys *FileSystem) mayLeave(id Identity, s spot) error {
	if err := fsys.mayEnter(id, s.place.dir); err != nil {
		return err
	}
	if s.node.mount != s.place.dir.mount {
		return syscall.EBUSY
	}
	if s.place.dir.mode&fs.ModeSticky != 0 && id.UID != 0 && id.UID != s.node.uid && id.UID != s.place.dir.uid {
		return syscall.EPERM
	}
	return nil
}
