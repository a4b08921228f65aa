package ports

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/octobot-run/octobot/internal/agent/account"
	"github.com/octobot-run/octobot/internal/agentproto"
	"github.com/octobot-run/octobot/internal/relay"
)

const (
	maxPath  = 4096 // bytes of a path
	maxLinks = 40   // symbolic links on the way, as in the kernel
	// firstSocketAgain and lastSocketAgain are how long it takes to try again where a queue is
	// full, which costs a thread each time.
	firstSocketAgain = 10 * time.Millisecond
	lastSocketAgain  = 200 * time.Millisecond
)

func (p *ports) dialSocket(ctx context.Context, s *agentproto.Stream, request []byte) error {
	var r agentproto.DialSocket
	if err := agentproto.Decode(request, &r); err != nil {
		return agentproto.Errorf(agentproto.InvalidArgument, "%v", err)
	}
	if !strings.HasPrefix(r.Path, "/") || strings.ContainsRune(r.Path, 0) || len(r.Path) > maxPath {
		return agentproto.Errorf(agentproto.InvalidArgument, "%q is no absolute path", r.Path)
	}
	as := func(do func() error) error { return do() }
	if r.User != "" {
		who, err := account.Lookup(r.User)
		if err != nil {
			return agentproto.Errorf(agentproto.InvalidArgument, "%v", err)
		}
		as = who.DoAsPeer
	}
	leave, err := p.enter()
	if err != nil {
		return err
	}
	defer leave()
	conn, err := connectSocket(ctx, r.Path, as)
	if err != nil {
		return socketError(r.Path, err)
	}
	return connected(ctx, s, relay.Unix(conn), r.Path)
}

// socketError says what is wrong with a socket.
func socketError(path string, err error) error {
	if cant, ok := errors.AsType[*becomeError](err); ok {
		return agentproto.Errorf(agentproto.Unsupported, "the agent can't act for that user: %v", cant.err)
	}
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return agentproto.Errorf(agentproto.Refused, "nothing listens on %s", path)
	case errors.Is(err, syscall.EAGAIN):
		return agentproto.Errorf(agentproto.Refused, "what listens on %s did not take the connection within %s", path,
			dialTimeout)
	case errors.Is(err, syscall.EPROTOTYPE):
		return agentproto.Errorf(agentproto.NotFound, "%s: it is no socket of streams", path)
	case isShortage(err):
		return agentproto.Errorf(agentproto.LimitReached, "%s: %v", path, err)
	}
	return agentproto.Errorf(agentproto.NotFound, "%s: %v", path, err)
}

// becomeError is why nothing was tried as somebody: this process can't be that user.
type becomeError struct{ err error }

func (e *becomeError) Error() string { return e.err.Error() }
func (e *becomeError) Unwrap() error { return e.err }

// connectSocket connects as somebody.
func connectSocket(ctx context.Context, path string, as func(func() error) error) (conn *net.UnixConn, err error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	for wait := firstSocketAgain; ; wait = min(2*wait, lastSocketAgain) {
		fd, became := -1, false
		err := as(func() (err error) {
			became = true
			fd, err = dialPath(path)
			return err
		})
		if err == nil {
			return connOf(fd)
		}
		if !became {
			return nil, &becomeError{err}
		}
		if !errors.Is(err, syscall.EAGAIN) {
			return nil, err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil, err
		}
	}
}

// connOf makes a connection of a descriptor, which it takes.
func connOf(fd int) (*net.UnixConn, error) {
	f := os.NewFile(uintptr(fd), "socket")
	defer f.Close()
	conn, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	return conn.(*net.UnixConn), nil
}

// dialPath connects to the socket of a path, as the thread that it runs on. EAGAIN: its queue is
// full.
func dialPath(path string) (fd int, err error) {
	at, err := find(path)
	if err != nil {
		return -1, err
	}
	defer unix.Close(at)
	if err := check(at); err != nil {
		return -1, err
	}
	fd, err = unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, err
	}
	// What was found, whatever the path leads to by now. The kernel checks that it may be written.
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: fmt.Sprintf("/proc/self/fd/%d", at)}); err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// check refuses what is no socket, and the agent's own.
func check(fd int) error {
	var st, own, root unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFSOCK {
		return errors.New("it is no socket")
	}
	if unix.Stat(agentproto.RunDir, &own) == nil && unix.Stat("/", &root) == nil && own.Dev != root.Dev &&
		own.Dev == st.Dev {
		return errors.New("it is the agent's own")
	}
	return nil
}

// find opens what a path leads to. It reads symbolic links itself, and goes where their text says:
// those of /proc that the kernel follows to what a process has open, or to its root, it lets this
// process follow to its own, whoever its thread is.
func find(path string) (fd int, err error) {
	const how = unix.O_PATH | unix.O_CLOEXEC | unix.O_NOFOLLOW
	at, err := unix.Open("/", how|unix.O_DIRECTORY, 0)
	if err != nil {
		return -1, err
	}
	defer func() {
		if err != nil {
			_ = unix.Close(at)
		}
	}()
	links := 0
	for left := path; left != ""; {
		var name string
		name, left, _ = strings.Cut(left, "/")
		if name == "" || name == "." {
			continue
		}
		next, err := unix.Openat(at, name, how, 0)
		if err != nil {
			return -1, err
		}
		text, isLink, err := readLink(next)
		if err != nil || !isLink {
			_ = unix.Close(at)
			if at = next; err != nil {
				return -1, err
			}
			continue
		}
		_ = unix.Close(next)
		if links++; links > maxLinks || len(text)+len(left) >= maxPath {
			return -1, unix.ELOOP
		}
		if strings.HasPrefix(text, "/") {
			root, err := unix.Open("/", how|unix.O_DIRECTORY, 0)
			if err != nil {
				return -1, err
			}
			_ = unix.Close(at)
			at = root
		}
		left = text + "/" + left
	}
	return at, nil
}

// readLink reads a symbolic link that is open, if it is one.
func readLink(fd int) (text string, isLink bool, err error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return "", false, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFLNK {
		return "", false, nil
	}
	buf := make([]byte, maxPath)
	n, err := unix.Readlinkat(fd, "", buf)
	return string(buf[:max(0, n)]), true, err
}
