package account

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ErrNotRoot is about another account than the process's own, where that is not root's.
var ErrNotRoot = errors.New("only root can act for another user or group")

// Self is the process's own account, as it was started.
func Self() Account {
	groups, _ := os.Getgroups() // those that it was given, if the kernel tells
	return Account{UID: os.Geteuid(), GID: os.Getegid(), Groups: groups, Home: "/"}
}

// Do calls do on a thread that has the account's permissions for files, and no others: the kernel
// itself checks them. Goroutines that do starts have the process's own.
//
// The thread is thrown away: a goroutine that ends while it is locked takes its thread with it, and
// the runtime never makes new threads from a locked one.
func (a Account) Do(do func() error) error { return onThread(a.become, do) }

// DoAsPeer is Do for connections within the machine, whose other ends are told who makes them: the
// thread is the account's to them.
func (a Account) DoAsPeer(do func() error) error { return onThread(a.becomePeer, do) }

func onThread(become, do func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			// The first thread can't be thrown away. While it waits here, the next goroutine gets
			// another.
			defer runtime.UnlockOSThread()
			done <- onThread(become, do)
			return
		}
		defer func() {
			if r := recover(); r != nil {
				done <- fmt.Errorf("panic: %v", r)
			}
		}()
		if err := become(); err != nil {
			done <- err
			return
		}
		done <- do()
	}()
	return <-done
}

// become changes the calling thread alone, unlike the functions of package syscall.
func (a Account) become() error {
	if euid := os.Geteuid(); euid != 0 {
		if a.UID == euid && a.GID == os.Getegid() {
			return nil
		}
		return ErrNotRoot
	}
	if err := a.setGroups(); err != nil {
		return err
	}
	// These two tell of no failure but by what they leave.
	if err := setOne(unix.SetfsgidRetGid, a.GID); err != nil {
		return fmt.Errorf("set group: %w", err)
	}
	if err := setOne(unix.SetfsuidRetUid, a.UID); err != nil {
		return fmt.Errorf("set user: %w", err)
	}
	return a.dropCapabilities()
}

// becomePeer is become for DoAsPeer. The real and the saved user stay, so that no process of the
// account's may signal or trace this one.
func (a Account) becomePeer() error {
	if euid := os.Geteuid(); euid != 0 {
		if a.UID == euid {
			return nil
		}
		return ErrNotRoot
	}
	if err := a.setGroups(); err != nil {
		return err
	}
	const keep = ^uintptr(0)
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESGID, keep, uintptr(a.GID), keep); errno != 0 {
		return fmt.Errorf("set group: %w", errno)
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, keep, uintptr(a.UID), keep); errno != 0 {
		return fmt.Errorf("set user: %w", errno)
	}
	return a.dropCapabilities()
}

func (a Account) setGroups() error {
	groups := make([]uint32, 0, len(a.Groups)+1)
	for _, g := range a.Groups {
		groups = append(groups, uint32(g))
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(groups)),
		uintptr(unsafe.Pointer(unsafe.SliceData(groups))), 0); errno != 0 {
		return fmt.Errorf("set groups: %w", errno)
	}
	return nil
}

func (a Account) dropCapabilities() error {
	if a.UID == 0 {
		return nil
	}
	// Leaving uid 0 this way takes the capabilities about files along. Nobody but root is to have
	// any other.
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return fmt.Errorf("read capabilities: %w", err)
	}
	data[0].Effective, data[1].Effective = 0, 0
	if err := unix.Capset(&header, &data[0]); err != nil {
		return fmt.Errorf("drop capabilities: %w", err)
	}
	return nil
}

func setOne(set func(int) (int, error), id int) error {
	if _, err := set(id); err != nil {
		return err
	}
	now, err := set(-1)
	if err == nil && now != id {
		err = unix.EPERM
	}
	return err
}
