package files

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/octobot-run/octobot/internal/agent/account"
	"github.com/octobot-run/octobot/internal/agentproto"
)

func (v *service) read(c *call, r *agentproto.ReadFile) error {
	if r.Offset < 0 || r.Length < 0 {
		return agentproto.Errorf(agentproto.InvalidArgument, "offset and length are not negative")
	}
	release, err := take(v.contents, "files")
	if err != nil {
		return err
	}
	defer release()
	var fd int
	var info agentproto.FileInfo
	err = c.as(func() (err error) {
		var st unix.Stat_t
		if fd, st, err = openRegular(unix.AT_FDCWD, r.Path, unix.O_RDONLY); err == nil {
			info = new(names).info(base(r.Path), &st)
		}
		return err
	})
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := c.s.Send(&info); err != nil {
		return nil
	}
	if r.Offset > 0 {
		switch _, err := unix.Seek(fd, r.Offset, io.SeekStart); err {
		case nil:
		case unix.EINVAL: // past the end of any file there could be
			return c.done()
		default:
			return err
		}
	}
	buf := v.buffer()
	defer v.giveBack(buf)
	for left := r.Length; r.Length == 0 || left > 0; {
		b := buf
		if r.Length > 0 {
			b = buf[:min(int64(len(buf)), left)]
		}
		n, err := unix.Read(fd, b)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		if n == 0 {
			break
		}
		left -= int64(n)
		if err := c.s.SendData(agentproto.KindData, b[:n]); err != nil {
			return nil
		}
	}
	return c.done()
}

func (v *service) write(c *call, r *agentproto.WriteFile) error {
	if err := checkMode(r.Mode); err != nil {
		return err
	}
	owner := c.account
	if r.Owner != "" {
		var err error
		if owner, err = v.account(r.Owner); err != nil {
			return err
		}
	}
	release, err := take(v.contents, "files")
	if err != nil {
		return err
	}
	defer release()
	d := &draft{request: r, owner: owner, user: c.account}
	if err := c.as(d.begin); err != nil {
		return err
	}
	defer d.close()
	in := &received{s: c.s}
	for err == nil {
		var data []byte
		if data, err = in.next(); err == nil {
			err = writeAll(d.fd, data)
		}
	}
	var info agentproto.FileInfo
	if errors.Is(err, io.EOF) && r.Sync {
		if syncErr := unix.Fsync(d.fd); syncErr != nil { // which may take long
			err = syncErr
		}
	}
	if errors.Is(err, io.EOF) {
		v.publish <- struct{}{}
		err = c.as(func() (err error) {
			info, err = d.publish()
			return err
		})
		<-v.publish
	}
	if err == nil {
		_ = c.s.Send(&info)
		return nil
	}
	if d.name != "" {
		// Whatever else is under way or over. It is the user's own to lose.
		_ = c.account.Do(func() error { return unix.Unlinkat(d.dir, d.name, 0) })
	}
	return err
}

func writeAll(fd int, b []byte) error {
	for len(b) > 0 {
		n, err := unix.Write(fd, b)
		if err != nil && err != unix.EINTR {
			return err
		}
		b = b[max(n, 0):]
	}
	return nil
}

// draft is a file that is being written, beside the place that it is to have.
type draft struct {
	request *agentproto.WriteFile
	user    account.Account // who writes
	owner   account.Account // who gets it

	dir    int    // the directory
	target string // the name that it is to have there
	old    *unix.Stat_t
	fd     int
	name   string // that it has meanwhile; empty for none at all
}

// begin finds the place, checks that the user may write there, and makes the draft.
func (d *draft) begin() (err error) {
	if d.request.Parents {
		if err := makeParents(d.request.Path); err != nil {
			return err
		}
	}
	if d.request.New {
		d.dir, d.target, err = free(d.request.Path)
	} else {
		d.dir, d.target, d.old, err = place(d.request.Path)
	}
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = unix.Close(d.dir)
		}
	}()
	if err := d.check(d.old); err != nil {
		return err
	}
	if d.old != nil {
		if err := d.checkWrite(); err != nil {
			return err
		}
	}
	// Without a name nobody sees it, and nothing is left however this ends.
	d.fd, err = openOld(d.dir, ".", unix.O_TMPFILE|unix.O_WRONLY, 0o600)
	if err == unix.EOPNOTSUPP || err == unix.EISDIR || err == unix.EINVAL {
		d.name = draftName()
		d.fd, err = openOld(d.dir, d.name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW, 0o600)
	}
	if err == unix.EACCES || err == unix.EPERM {
		err = agentproto.Errorf(agentproto.PermissionDenied,
			"%s: the user may not make files in its directory, which replacing it as a whole takes", d.request.Path)
	}
	return err
}

// check tells whether what is there is what the request wants to be there.
func (d *draft) check(now *unix.Stat_t) error {
	switch r := d.request; {
	case r.New && now != nil:
		return unix.EEXIST
	case r.Version == "" || r.Version == "*" && now != nil:
	case now == nil:
		return agentproto.Errorf(agentproto.Changed, "%s does not exist", r.Path)
	case r.Version != version(now):
		return agentproto.Errorf(agentproto.Changed, "%s was changed by somebody else", r.Path)
	}
	return nil
}

func draftName() string { return ".octobot-" + strings.ToLower(rand.Text()[:16]) }

// publish gives the draft owner, mode and name. What a file was to be, other programs of the
// container may still change in between; other requests wait.
func (d *draft) publish() (agentproto.FileInfo, error) {
	var none agentproto.FileInfo
	var now unix.Stat_t
	there := &now
	switch err := unix.Fstatat(d.dir, d.target, &now, unix.AT_SYMLINK_NOFOLLOW); err {
	case nil:
	case unix.ENOENT:
		there = nil
	default:
		return none, err
	}
	if err := d.check(there); err != nil {
		return none, err
	}
	if there != nil && (d.old == nil || d.old.Dev != there.Dev || d.old.Ino != there.Ino) {
		if err := d.checkWrite(); err != nil { // another has come since
			return none, err
		}
	}
	if err := d.own(there); err != nil {
		return none, err
	}
	if err := d.link(there != nil); err != nil {
		return none, err
	}
	if d.request.Sync {
		if err := syncDirectory(d.dir, d.fd); err != nil {
			return none, err
		}
	}
	var st unix.Stat_t
	if err := unix.Fstat(d.fd, &st); err != nil {
		return none, err
	}
	return new(names).info(base(d.request.Path), &st), nil
}

// checkWrite checks that the user may write to what is there: to replace it takes less. A program
// that runs is busy to its writers only.
func (d *draft) checkWrite() error {
	fd, _, err := openRegular(d.dir, d.target, unix.O_WRONLY|unix.O_NOFOLLOW)
	if err == nil {
		_ = unix.Close(fd)
	} else if err != unix.ETXTBSY {
		return err
	}
	return nil
}

// own gives the draft owner and mode, of what is there where the request names none.
func (d *draft) own(there *unix.Stat_t) error {
	var st unix.Stat_t
	if err := unix.Fstat(d.fd, &st); err != nil {
		return err
	}
	uid, gid := int(st.Uid), int(st.Gid) // a directory may give its group
	switch {
	case d.request.Owner != "":
		uid, gid = d.owner.UID, d.owner.GID
	case d.user.UID == 0 && there != nil:
		uid, gid = int(there.Uid), int(there.Gid)
	}
	if uid != int(st.Uid) || gid != int(st.Gid) {
		if err := unix.Fchown(d.fd, uid, gid); err != nil {
			return err
		}
	}
	mode := d.request.Mode
	switch {
	case mode != 0:
	case there != nil:
		mode = there.Mode & 0o777 // a program that changes does not stay setuid
	default:
		mode = 0o644
	}
	return unix.Fchmod(d.fd, mode)
}

// syncDirectory syncs one that is open for looking alone, or, where the user may not read it, the
// whole file system, by fd.
func syncDirectory(dir, fd int) error {
	opened, err := openOld(dir, ".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return unix.Syncfs(fd)
	}
	defer unix.Close(opened)
	return unix.Fsync(opened)
}

// link puts the draft in its place, which is taken, or was free a moment ago.
func (d *draft) link(taken bool) error {
	if d.name == "" {
		self := fmt.Sprintf("/proc/self/fd/%d", d.fd)
		if !taken {
			err := unix.Linkat(unix.AT_FDCWD, self, d.dir, d.target, unix.AT_SYMLINK_FOLLOW)
			if err != unix.EEXIST || d.request.New {
				return err
			}
		}
		// A link never takes a name that is taken; a rename does.
		name := draftName()
		if err := unix.Linkat(unix.AT_FDCWD, self, d.dir, name, unix.AT_SYMLINK_FOLLOW); err != nil {
			return err
		}
		d.name = name
	}
	rename := unix.Renameat
	if d.request.New {
		rename = renameNew
	}
	if err := rename(d.dir, d.name, d.dir, d.target); err != nil {
		return err
	}
	d.name = ""
	return nil
}

func (d *draft) close() {
	_ = unix.Close(d.fd)
	_ = unix.Close(d.dir)
}
