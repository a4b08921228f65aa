package files

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/octobot-run/octobot/internal/agent/account"
	"github.com/octobot-run/octobot/internal/agentproto"
)

// names gives the names of user and group numbers, for one request.
type names struct {
	users, groups map[int]string // nil until they are needed
}

func (n *names) user(id uint32) string {
	if n.users == nil {
		n.users = account.Users()
	}
	return n.users[int(id)]
}

func (n *names) group(id uint32) string {
	if n.groups == nil {
		n.groups = account.Groups()
	}
	return n.groups[int(id)]
}

func typeOf(mode uint32) agentproto.FileType {
	switch mode & unix.S_IFMT {
	case unix.S_IFREG:
		return agentproto.TypeFile
	case unix.S_IFDIR:
		return agentproto.TypeDirectory
	case unix.S_IFLNK:
		return agentproto.TypeSymlink
	case unix.S_IFIFO:
		return agentproto.TypeFIFO
	case unix.S_IFSOCK:
		return agentproto.TypeSocket
	case unix.S_IFCHR:
		return agentproto.TypeCharDevice
	}
	return agentproto.TypeBlockDevice
}

func (n *names) info(name string, st *unix.Stat_t) agentproto.FileInfo {
	return agentproto.FileInfo{
		Name: name, Type: typeOf(st.Mode), Mode: st.Mode & 0o7777,
		UID: int64(st.Uid), GID: int64(st.Gid), Owner: n.user(st.Uid), Group: n.group(st.Gid),
		Size: st.Size, Modified: st.Mtim.Nano(), Version: version(st),
	}
}

// version is another one whenever a file is replaced, which has another number then, or changed.
func version(st *unix.Stat_t) string {
	return fmt.Sprintf("%x%xg%xg%xg%x", st.Dev, st.Ino, st.Size, uint64(st.Mtim.Nano()), uint64(st.Ctim.Nano()))
}

func (v *service) stat(c *call, r *agentproto.Stat) error {
	var info agentproto.FileInfo
	err := c.as(func() error {
		fd, st, err := look(unix.AT_FDCWD, r.Path, r.Follow)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		info = new(names).info(base(r.Path), &st)
		if info.Type == agentproto.TypeSymlink {
			info.Target, err = readLink(fd, "")
		}
		return err
	})
	if err != nil {
		return err
	}
	_ = c.s.Send(&info)
	return nil
}

const (
	listStep  = 512       // entries that are looked at together
	listFrame = 128 << 10 // bytes of a frame, roughly
)

func (v *service) list(c *call, r *agentproto.List) error {
	var dir *os.File
	known := &names{}
	err := c.as(func() error {
		fd, err := open(unix.AT_FDCWD, r.Path, unix.O_RDONLY|unix.O_DIRECTORY, 0)
		if err == nil {
			dir = os.NewFile(uintptr(fd), r.Path)
		}
		return err
	})
	if err != nil {
		return err
	}
	defer dir.Close()
	for {
		var infos []agentproto.FileInfo
		err := c.as(func() (err error) {
			infos, err = known.entries(dir)
			return err
		})
		if err != nil && err != io.EOF {
			return err
		}
		if err := sendEntries(c.s, infos); err != nil {
			return nil
		}
		if err == io.EOF {
			return c.done()
		}
	}
}

// entries looks at some more of a directory's.
func (n *names) entries(dir *os.File) ([]agentproto.FileInfo, error) {
	entries, err := dir.ReadDir(listStep)
	infos := make([]agentproto.FileInfo, 0, len(entries))
	for _, e := range entries {
		var st unix.Stat_t
		if err := unix.Fstatat(int(dir.Fd()), e.Name(), &st, unix.AT_SYMLINK_NOFOLLOW); err == unix.ENOENT {
			continue // gone meanwhile
		} else if err != nil {
			infos = append(infos, agentproto.FileInfo{Name: e.Name(), Type: typeOf(uint32(e.Type()))})
			continue
		}
		info := n.info(e.Name(), &st)
		if info.Type == agentproto.TypeSymlink {
			info.Target, _ = readLink(int(dir.Fd()), e.Name()) // one that is gone has none
		}
		infos = append(infos, info)
	}
	return infos, err
}

func sendEntries(s *agentproto.Stream, infos []agentproto.FileInfo) error {
	for len(infos) > 0 {
		n, size := 0, 0
		for n < len(infos) && size < listFrame {
			i := &infos[n]
			size += len(i.Name) + len(i.Target) + len(i.Owner) + len(i.Group) + 64
			n++
		}
		if err := s.Send(&agentproto.Entries{Files: infos[:n]}); err != nil {
			return err
		}
		infos = infos[n:]
	}
	return nil
}
