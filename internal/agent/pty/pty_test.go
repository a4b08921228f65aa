package pty_test

import (
	"errors"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/octobot-run/octobot/internal/agent/pty"
)

func open(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, slave, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = master.Close()
		_ = slave.Close()
	})
	return master, slave
}

func TestOpen(t *testing.T) {
	master, slave := open(t)
	if _, err := slave.WriteString("x"); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 10)
	if n, err := master.Read(b); err != nil || string(b[:n]) != "x" {
		t.Errorf("read %q, %v", b[:n], err)
	}
	// A command must not get either by mistake.
	for _, f := range []*os.File{master, slave} {
		if flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
			t.Errorf("flags of %s are %x, %v", f.Name(), flags, err)
		}
	}
}

// TestSetSize: and the master still knows deadlines, without which a reader could not be ended.
func TestSetSize(t *testing.T) {
	master, slave := open(t)
	if err := pty.SetSize(master, 33, 101); err != nil {
		t.Fatal(err)
	}
	size, err := unix.IoctlGetWinsize(int(slave.Fd()), unix.TIOCGWINSZ)
	if err != nil || size.Row != 33 || size.Col != 101 {
		t.Errorf("size %+v, %v", size, err)
	}
	_ = master.SetReadDeadline(time.Now().Add(-time.Second))
	if _, err := master.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("reading past the deadline gives %v", err)
	}
	_ = master.Close()
	if err := pty.SetSize(master, 1, 1); err == nil {
		t.Error("one that is closed can be sized")
	}
}
