package files

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/octobot-run/octobot/internal/agentproto"
	"github.com/octobot-run/octobot/internal/untar"
)

const (
	// maxDepth bounds the directories that are open at once.
	maxDepth = 256
	// maxHardLinks bounds the memory for files of several names; those beyond it are packed once for each.
	maxHardLinks = 1 << 14
)

// unpackable are file systems whose content is the kernel's word about processes and devices. As a part of something
// larger they are left out.
var unpackable = map[int64]bool{
	unix.PROC_SUPER_MAGIC: true, unix.SYSFS_MAGIC: true, unix.CGROUP_SUPER_MAGIC: true, unix.CGROUP2_SUPER_MAGIC: true,
	unix.DEVPTS_SUPER_MAGIC: true, 0x19800202 /* mqueue */ : true,
}

func (v *service) pack(c *call, r *agentproto.Pack) error {
	release, err := take(v.long, longOnes)
	if err != nil {
		return err
	}
	defer release()
	out := &sender{s: c.s, buf: v.buffer()[:0]}
	defer func() { v.giveBack(out.buf[:cap(out.buf)]) }()
	err = c.account.Do(func() error {
		p := &packer{w: tar.NewWriter(out), out: out, links: map[inode]string{}, copy: v.buffer()}
		defer v.giveBack(p.copy)
		name := path.Base(r.Path)
		if name == "/" || strings.HasSuffix(r.Path, "/.") {
			name = "."
		}
		if err := p.add(unix.AT_FDCWD, r.Path, name, 0, 0); err != nil {
			return err
		}
		return p.w.Close()
	})
	if err == nil {
		err = out.flush()
	}
	if err != nil {
		return err
	}
	return c.done()
}

// sender sends what is written in full frames.
type sender struct {
	s   *agentproto.Stream
	buf []byte
	err error // of the stream
}

func (o *sender) Write(b []byte) (int, error) {
	written := len(b)
	for len(b) > 0 {
		n := min(len(b), cap(o.buf)-len(o.buf))
		o.buf = append(o.buf, b[:n]...)
		b = b[n:]
		if len(o.buf) == cap(o.buf) {
			if err := o.flush(); err != nil {
				return 0, err
			}
		}
	}
	return written, nil
}

func (o *sender) flush() error {
	if len(o.buf) == 0 {
		return nil
	}
	if err := o.s.SendData(agentproto.KindData, o.buf); err != nil {
		o.err = err
		return err
	}
	o.buf = o.buf[:0]
	return nil
}

type inode struct{ dev, ino uint64 }

// packer packs a tree.
type packer struct {
	w     *tar.Writer
	out   *sender
	names names
	links map[inode]string
	copy  []byte
}

// add packs what is at p, seen from dir, as name. What vanishes meanwhile, below the top, is left out, as are devices,
// FIFOs and sockets.
func (p *packer) add(dir int, at, name string, depth int, dev uint64) error {
	if depth > maxDepth {
		return agentproto.Errorf(agentproto.InvalidArgument, "%.200s: more than %d directories deep", name, maxDepth)
	}
	fd, st, err := look(dir, at, false)
	if err != nil {
		if depth > 0 && err == unix.ENOENT {
			return nil
		}
		return named(name, err)
	}
	defer unix.Close(fd)
	h := &tar.Header{
		Name: name, Mode: int64(st.Mode & 0o7777), Uid: int(st.Uid), Gid: int(st.Gid),
		Uname: p.names.user(st.Uid), Gname: p.names.group(st.Gid),
		ModTime: time.Unix(st.Mtim.Unix()), Format: tar.FormatPAX,
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return p.directory(fd, h, &st, depth, dev)
	case unix.S_IFLNK:
		h.Typeflag = tar.TypeSymlink
		if h.Linkname, err = readLink(fd, ""); err != nil {
			return named(name, err)
		}
		return p.w.WriteHeader(h)
	case unix.S_IFREG:
		return p.file(dir, at, h, &st)
	}
	if depth == 0 {
		return agentproto.Errorf(agentproto.NotFound, "%s is neither a file nor a directory nor a link", at)
	}
	return nil
}

// named says which file of many an error is about.
func named(name string, err error) error {
	if _, ok := errors.AsType[syscall.Errno](err); ok {
		return failure(name, err)
	}
	return err
}

func (p *packer) directory(fd int, h *tar.Header, st *unix.Stat_t, depth int, dev uint64) error {
	h.Typeflag = tar.TypeDir
	name := h.Name
	h.Name += "/"
	if err := p.w.WriteHeader(h); err != nil {
		return err
	}
	if depth > 0 && st.Dev != dev {
		var system unix.Statfs_t
		if err := unix.Fstatfs(fd, &system); err == nil && unpackable[int64(system.Type)] {
			return nil
		}
	}
	opened, err := openOld(fd, ".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return named(name, err)
	}
	f := os.NewFile(uintptr(opened), name)
	defer f.Close()
	for {
		entries, err := f.Readdirnames(listStep)
		for _, entry := range entries {
			if err := p.add(opened, entry, name+"/"+entry, depth+1, st.Dev); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return named(name, err)
		}
	}
}

func (p *packer) file(dir int, at string, h *tar.Header, st *unix.Stat_t) error {
	if st.Nlink > 1 {
		key := inode{st.Dev, st.Ino}
		if first, ok := p.links[key]; ok {
			h.Typeflag, h.Linkname = tar.TypeLink, first
			return p.w.WriteHeader(h)
		}
		if len(p.links) < maxHardLinks {
			p.links[key] = h.Name
		}
	}
	fd, now, err := openRegular(dir, at, unix.O_RDONLY|unix.O_NOFOLLOW)
	if err != nil {
		return named(h.Name, err)
	}
	defer unix.Close(fd)
	h.Typeflag, h.Size = tar.TypeReg, now.Size
	if err := p.w.WriteHeader(h); err != nil {
		return err
	}
	// The header has promised a size: a file that grows is cut there, one that shrinks is filled with zeros.
	for left := h.Size; left > 0; {
		b := p.copy[:min(int64(len(p.copy)), left)]
		n, err := unix.Read(fd, b)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return named(h.Name, err)
		case n == 0:
			clear(b)
			n = len(b)
		}
		if _, err := p.w.Write(b[:n]); err != nil {
			return err
		}
		left -= int64(n)
	}
	return nil
}

func (v *service) unpack(c *call, r *agentproto.Unpack) error {
	release, err := take(v.long, longOnes)
	if err != nil {
		return err
	}
	defer release()
	in := &received{s: c.s}
	err = c.account.Do(func() error {
		fd, err := open(unix.AT_FDCWD, r.Path, unix.O_PATH|unix.O_DIRECTORY, 0)
		if err != nil {
			return err
		}
		root, err := os.OpenRoot(fmt.Sprintf("/proc/self/fd/%d", fd))
		_ = unix.Close(fd)
		if err != nil {
			return err
		}
		defer root.Close()
		return unpackError(untar.Unpack(root, in, untar.Options{Owners: r.Owners, Special: r.Owners, Before: c.ctx.Err}))
	})
	if err == nil {
		_, err = io.Copy(io.Discard, in) // what follows an archive's end
	}
	if err != nil {
		return err
	}
	return c.done()
}

// unpackError tells what the archive is at fault for, or what is there already.
func unpackError(err error) error {
	errno, ok := errors.AsType[syscall.Errno](err)
	switch {
	case err == nil || errors.Is(err, errCancelled):
		return err
	case !ok:
		return agentproto.Errorf(agentproto.InvalidArgument, "%v", err)
	case errno == unix.EISDIR || errno == unix.ENOTDIR:
		return agentproto.Errorf(agentproto.Exists, "%v", err)
	}
	said := failure("", errno).(*agentproto.Error)
	return agentproto.Errorf(said.Class, "%v", err)
}
