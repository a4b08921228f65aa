// Package account finds users in the container's own /etc/passwd and /etc/group, without libc: the
// agent is static, and the image may hold nothing but these files, or not even them.
package account

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// Account is who a command runs as.
type Account struct {
	UID, GID int
	Groups   []int  // supplementary ones
	Name     string // empty where the number has no entry
	Home     string // "/" where it has none
	Shell    string // may be empty
}

// ErrUnknown is about a name that is in no file.
var ErrUnknown = errors.New("unknown user or group")

const (
	// maxFile bounds what is read of a file: the container's root writes it, and need not be kind.
	maxFile = 1 << 20
	// maxGroups is how many supplementary groups the kernel takes.
	maxGroups = 65536
	// maxName bounds the name of a user or group that is told.
	maxName = 256
)

// Lookup finds "name", "uid", "name:group" or "uid:gid" as engines do: a number needs no entry; a
// user without a group has its own with its supplementary ones, a number without an entry the group
// 0. Empty is root.
//
// A file that is not there, or no regular one, is empty. Of one above 1 MiB only the beginning
// counts.
func Lookup(user string) (Account, error) { return lookup("/", user) }

func lookup(root, user string) (Account, error) {
	userPart, groupPart, _ := strings.Cut(user, ":")
	if userPart == "" {
		userPart = "0"
	}
	number, numeric := id(userPart)
	a := Account{Home: "/"}
	found := false
	for line := range strings.Lines(read(root, "etc/passwd")) {
		// name:password:uid:gid:comment:home:shell
		f := strings.Split(strings.TrimSuffix(line, "\n"), ":")
		if len(f) < 4 || f[0] == "" {
			continue
		}
		uid, ok := id(f[2])
		gid, okGroup := id(f[3])
		if !ok || !okGroup || f[0] != userPart && (!numeric || uid != number) {
			continue
		}
		a.UID, a.GID, a.Name, found = uid, gid, f[0], true
		if len(f) > 5 && strings.HasPrefix(f[5], "/") {
			a.Home = f[5]
		}
		if len(f) > 6 {
			a.Shell = f[6]
		}
		break
	}
	if !found {
		if !numeric {
			return Account{}, fmt.Errorf("%w: no user %q in /etc/passwd", ErrUnknown, userPart)
		}
		a.UID = number
	}
	if groupPart == "" && a.Name == "" {
		return a, nil
	}
	err := a.groups(read(root, "etc/group"), groupPart)
	return a, err
}

// groups gives the account the group that was asked for, and that alone; else its supplementary
// ones.
func (a *Account) groups(file, wanted string) error {
	number, numeric := id(wanted)
	for line := range strings.Lines(file) {
		// name:password:gid:member,member
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 5)
		if len(f) < 3 || f[0] == "" {
			continue
		}
		gid, ok := id(f[2])
		switch {
		case !ok:
		case wanted != "":
			if f[0] == wanted {
				a.GID = gid
				return nil
			}
		case len(f) > 3 && len(a.Groups) < maxGroups && member(f[3], a.Name):
			a.Groups = append(a.Groups, gid)
		}
	}
	if wanted == "" {
		slices.Sort(a.Groups)
		a.Groups = slices.Compact(a.Groups)
		return nil
	}
	if !numeric {
		return fmt.Errorf("%w: no group %q in /etc/group", ErrUnknown, wanted)
	}
	a.GID = number
	return nil
}

// Users gives the names of users by their numbers, of several the first. What of the file counts,
// [Lookup] says.
func Users() map[int]string { return names("etc/passwd") }

// Groups gives the names of groups, as Users does.
func Groups() map[int]string { return names("etc/group") }

func names(file string) map[int]string {
	found := map[int]string{}
	for line := range strings.Lines(read("/", file)) {
		// name:password:number, and more
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 4)
		if len(f) < 3 || f[0] == "" || len(f[0]) > maxName {
			continue
		}
		number, ok := id(f[2])
		if _, known := found[number]; ok && !known {
			found[number] = f[0]
		}
	}
	return found
}

func member(list, name string) bool {
	for m := range strings.SplitSeq(list, ",") {
		if m == name {
			return true
		}
	}
	return false
}

// id is the number of a user or group; engines take 31 bits.
func id(s string) (int, bool) {
	n, err := strconv.ParseUint(s, 10, 31)
	return int(n), err == nil
}

// read gives the lines of a file that are whole within its bound.
func read(root, name string) string {
	// A pipe in its place must not hold us. Each command reads this: an os.File would ask the
	// poller about it.
	fd, err := syscall.Open(filepath.Join(root, name),
		syscall.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return ""
	}
	defer syscall.Close(fd)
	var info syscall.Stat_t
	if err := syscall.Fstat(fd, &info); err != nil || info.Mode&syscall.S_IFMT != syscall.S_IFREG {
		return ""
	}
	buf := make([]byte, min(info.Size, maxFile)+1)
	n := 0
	for n < len(buf) {
		more, err := syscall.Read(fd, buf[n:])
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil || more == 0 {
			break
		}
		n += more
	}
	text := string(buf[:n])
	if n > maxFile {
		text = text[:strings.LastIndexByte(text, '\n')+1]
	}
	return text
}
