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
	// maxHardLinks bounds the memory for files of several names; those beyond it are packed once
	// for each.
	maxHardLinks = 1 << 14

	mqueueMagic = 0x19800202
)

// unpackable are file systems whose content is the kernel's word about processes and devices. As a
// part of something larger they are left out.
var unpackable = map[int64]bool{
	unix.PROC_SUPER_MAGIC: true, unix.SYSFS_MAGIC: true, unix.CGROUP_SUPER_MAGIC: true, unix.CGROUP2_SUPER_MAGIC: true,
	unix.DEVPTS_SUPER_MAGIC: true, mqueueMagic: true,
}

func (v *service) pack(c *call, r *agentproto.Pack) error {
	out := &sender{s: c.s, buf: v.buffer()[:0]}
	defer func() { v.giveBack(out.buf[:cap(out.buf)]) }()
	err := c.asLong(func() error {
		p := &packer{w: tar.NewWriter(out), out: out, links: map[inode]string{}, copy: v.buffer()}
		defer v.giveBack(p.copy)
		name := path.Base(r.Path)
		if name == "/" || name == ".." || strings.HasSuffix(r.Path, "/.") {
			name = "."
		}
		if err := p.top(r.Path, name); err != nil {
			return err
		}
		if err := p.w.Close(); err != nil {
			return err
		}
		return out.flush()
	})
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

// top packs what a path is.
func (p *packer) top(at, name string) error {
	fd, st, err := look(unix.AT_FDCWD, at, false)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	h := p.header(name, &st)
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		opened, err := openOld(fd, ".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
		if err != nil {
			return err
		}
		return p.directory(opened, h, 0)
	case unix.S_IFLNK:
		return p.link(fd, "", h)
	case unix.S_IFREG:
		opened, st, err := reopen(fd, st, unix.O_RDONLY)
		if err != nil {
			return err
		}
		return p.file(opened, h, &st)
	}
	return agentproto.Errorf(agentproto.NotFound, "%s is neither a file nor a directory nor a link", at)
}

// below packs an entry of a directory. What vanishes meanwhile is left out, as are devices, FIFOs
// and sockets.
func (p *packer) below(dir int, entry, name string, depth int, dev uint64) error {
	var st unix.Stat_t
	if err := unix.Fstatat(dir, entry, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return gone(name, err)
	}
	h := p.header(name, &st)
	flags := unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_NOCTTY
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		fd, err := openOld(dir, entry, flags|unix.O_DIRECTORY, 0)
		if err != nil {
			return gone(name, err)
		}
		var system unix.Statfs_t
		if st.Dev != dev && unix.Fstatfs(fd, &system) == nil && unpackable[int64(system.Type)] {
			_ = unix.Close(fd)
			h.Typeflag, h.Name = tar.TypeDir, name+"/"
			return p.w.WriteHeader(h)
		}
		return p.directory(fd, h, depth)
	case unix.S_IFLNK:
		return gone(name, p.link(dir, entry, h))
	case unix.S_IFREG:
		if done, err := p.again(h, &st); done {
			return err
		}
		fd, err := openOld(dir, entry, flags, 0)
		if err != nil {
			return gone(name, err)
		}
		// What has taken its place meanwhile is packed where it is a file too.
		if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
			_ = unix.Close(fd)
			return err
		}
		return p.file(fd, h, &st)
	}
	return nil
}

func (p *packer) header(name string, st *unix.Stat_t) *tar.Header {
	return &tar.Header{
		Name: name, Mode: int64(st.Mode & 0o7777), Uid: int(st.Uid), Gid: int(st.Gid),
		Uname: p.names.user(st.Uid), Gname: p.names.group(st.Gid),
		// As "docker cp" has it: fractions of seconds would triple the header of a small file.
		ModTime: time.Unix(st.Mtim.Sec, 0),
	}
}

// gone makes nothing of the error of what has vanished.
func gone(name string, err error) error {
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	return named(name, err)
}

// named says which file of many an error is about.
func named(name string, err error) error {
	if _, ok := errors.AsType[syscall.Errno](err); ok {
		return failure(name, err)
	}
	return err
}

func (p *packer) link(dir int, entry string, h *tar.Header) error {
	target, err := readLink(dir, entry)
	if err != nil {
		return err
	}
	h.Typeflag, h.Linkname = tar.TypeSymlink, target
	return p.w.WriteHeader(h)
}

// directory packs the directory fd, which it closes, with what is below.
func (p *packer) directory(fd int, h *tar.Header, depth int) error {
	f := os.NewFile(uintptr(fd), h.Name)
	defer f.Close()
	name := h.Name
	if depth >= maxDepth {
		return tooDeep(name)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return named(name, err)
	}
	h.Typeflag, h.Name = tar.TypeDir, name+"/"
	if err := p.w.WriteHeader(h); err != nil {
		return err
	}
	for {
		entries, err := f.Readdirnames(listStep)
		for _, entry := range entries {
			if err := p.below(fd, entry, name+"/"+entry, depth+1, st.Dev); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return named(name, err)
		}
	}
}

// again packs a file that was packed by another name already as a link to that.
func (p *packer) again(h *tar.Header, st *unix.Stat_t) (done bool, err error) {
	if st.Nlink < 2 {
		return false, nil
	}
	first, ok := p.links[inode{st.Dev, st.Ino}]
	if !ok {
		return false, nil
	}
	h.Typeflag, h.Linkname = tar.TypeLink, first
	return true, p.w.WriteHeader(h)
}

// file packs the file fd, which it closes.
func (p *packer) file(fd int, h *tar.Header, st *unix.Stat_t) error {
	defer unix.Close(fd)
	h.Typeflag, h.Size = tar.TypeReg, st.Size
	if err := p.w.WriteHeader(h); err != nil {
		return err
	}
	if st.Nlink > 1 && len(p.links) < maxHardLinks {
		p.links[inode{st.Dev, st.Ino}] = h.Name
	}
	// The header has promised a size: a file that grows is cut there, one that shrinks is filled
	// with zeros.
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
	in := &received{s: c.s}
	err := c.asLong(func() error {
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
		return unpackError(untar.Unpack(root, in,
			untar.Options{Owners: r.Owners, Special: r.Owners, Before: c.ctx.Err}))
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
