// Package pty makes pseudo-terminals for the agent's commands and terminals. It takes no library:
// the agent needs four system calls of them, and knows that it runs on Linux.
package pty

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Open makes a pseudo-terminal. The master does not block its goroutine's thread, and knows
// deadlines; the slave blocks, as programs expect. Both are the caller's to close.
func Open() (master, slave *os.File, err error) {
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, nil, &os.PathError{Op: "open", Path: "/dev/ptmx", Err: err}
	}
	master = os.NewFile(uintptr(fd), "/dev/ptmx")
	number, err := unix.IoctlGetUint32(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		_ = master.Close()
		return nil, nil, fmt.Errorf("a new terminal: %w", err)
	}
	name := fmt.Sprintf("/dev/pts/%d", number)
	fd, err = unix.Open(name, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		_ = master.Close()
		return nil, nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	return master, os.NewFile(uintptr(fd), name), nil
}

// SetSize sets a pseudo-terminal's size, which the processes on it are told.
func SetSize(pty *os.File, rows, cols uint16) error {
	// Not by Fd, after which the file has no deadlines any more.
	conn, err := pty.SyscallConn()
	if err != nil {
		return err
	}
	failed := conn.Control(func(fd uintptr) {
		err = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: cols})
	})
	if failed != nil {
		return failed
	}
	return err
}

// ReadNow reads what the master has, without waiting; nothing gives 0.
func ReadNow(master *os.File, b []byte) int {
	conn, err := master.SyscallConn()
	if err != nil {
		return 0
	}
	n := 0
	failed := conn.Control(func(fd uintptr) {
		for {
			if n, err = unix.Read(int(fd), b); err != unix.EINTR {
				return
			}
		}
	})
	if failed != nil || err != nil {
		return 0
	}
	return n
}

// WriteNow writes to the master what it takes without waiting, and gives what is left. An error
// comes again in the write that waits.
func WriteNow(master *os.File, b []byte) []byte {
	conn, err := master.SyscallConn()
	if err != nil {
		return b
	}
	n := 0
	_ = conn.Control(func(fd uintptr) {
		for {
			if n, err = unix.Write(int(fd), b); err != unix.EINTR {
				return
			}
		}
	})
	return b[max(n, 0):]
}
