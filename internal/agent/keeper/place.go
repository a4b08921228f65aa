package keeper

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/octobot-run/octobot/internal/agentproto"
)

const (
	socketName = "keep.sock"
	lockName   = "keep.lock"
)

// Dir is where the keeper of this process's user has its socket and its lock: in the container's
// own memory, below a directory that nobody else enters. It is no abstract socket, which containers
// that share a network would share.
func Dir() string { return filepath.Join(agentproto.RunDir, strconv.Itoa(os.Geteuid())) }

// ErrHeld: there is a keeper already.
var ErrHeld = errors.New("there is a keeper already")

// Place is a keeper's right to be the one, and its socket.
type Place struct {
	lock     *os.File
	listener *net.UnixListener
}

// Take makes this process the keeper of a directory, which it makes where need be; [ErrHeld] where
// another one is.
func Take(dir string) (*Place, error) {
	if err := makeDir(dir); err != nil {
		return nil, err
	}
	lock, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = lock.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, ErrHeld
		}
		return nil, os.NewSyscallError("flock", err)
	}
	path := filepath.Join(dir, socketName)
	_ = os.Remove(path) // of one that was killed
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		_ = lock.Close()
		return nil, err
	}
	return &Place{lock: lock, listener: listener}, nil
}

// makeDir makes a directory that is this user's alone. Whatever else has its name, root takes away:
// another user may have been quicker.
func makeDir(dir string) error {
	uid := os.Geteuid()
	for again := uid == 0; ; again = false {
		err := os.Mkdir(dir, 0o700)
		if err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
		info, err := os.Lstat(dir)
		if err != nil {
			return err
		}
		stat, ok := info.Sys().(*syscall.Stat_t)
		switch {
		case ok && info.IsDir() && int(stat.Uid) == uid && info.Mode().Perm() == 0o700:
			return nil
		case !again:
			return fmt.Errorf("%s is not this user's alone", dir)
		}
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
}

// Close gives the place up.
func (p *Place) Close() error { return errors.Join(p.listener.Close(), p.lock.Close()) }

// isOurs tells whether who is at the other end of a connection is root or this user.
func isOurs(c *net.UnixConn) bool {
	raw, err := c.SyscallConn()
	if err != nil {
		return false
	}
	var peer *unix.Ucred
	failed := raw.Control(func(fd uintptr) {
		peer,
			err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	return failed == nil && err == nil && (peer.Uid == 0 || int(peer.Uid) == os.Geteuid())
}
