package agent

import (
	"errors"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// pipeSize is what one write to the engine's pipe may hold. With the kernel's own 64 KiB, both
// sides wait for each other after every frame.
const pipeSize = 256 << 10

// Stdio makes a connection of this process's standard input and output, and takes them away from
// everybody else in the process: what is written to them by mistake would be a frame, and a child
// would inherit them. They are /dev/null from then on.
func Stdio() (net.Conn, error) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	var files [2]*os.File
	for i := range files {
		fd, err := unix.FcntlInt(uintptr(i), unix.F_DUPFD_CLOEXEC, 3)
		if err == nil {
			err = unix.Dup3(int(null.Fd()), i, 0)
		}
		if err != nil {
			return nil, os.NewSyscallError("dup", err)
		}
		// So that it can be waited for with a deadline, and closed under a read.
		_ = syscall.SetNonblock(fd, true)
		files[i] = os.NewFile(uintptr(fd), "connection")
		_, _ = unix.FcntlInt(uintptr(fd), unix.F_SETPIPE_SZ, pipeSize) // what is no pipe stays as it is
	}
	return &duplex{in: files[0], out: files[1]}, nil
}

// duplex is a connection of two files.
type duplex struct {
	in, out *os.File
	once    sync.Once
}

func (d *duplex) Read(b []byte) (int, error)  { return d.in.Read(b) }
func (d *duplex) Write(b []byte) (int, error) { return d.out.Write(b) }

// Close implements [net.Conn].
func (d *duplex) Close() error {
	d.once.Do(func() {
		_ = d.in.Close()
		_ = d.out.Close()
	})
	return nil
}

func (d *duplex) LocalAddr() net.Addr  { return &net.UnixAddr{Name: "agent", Net: "unix"} }
func (d *duplex) RemoteAddr() net.Addr { return &net.UnixAddr{Name: "daemon", Net: "unix"} }

func (d *duplex) SetDeadline(t time.Time) error {
	return errors.Join(d.in.SetReadDeadline(t), d.out.SetWriteDeadline(t))
}
func (d *duplex) SetReadDeadline(t time.Time) error  { return d.in.SetReadDeadline(t) }
func (d *duplex) SetWriteDeadline(t time.Time) error { return d.out.SetWriteDeadline(t) }
