package process

import (
	"bytes"
	"errors"
	"os"
	"runtime"
	"slices"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// entry is what /proc tells of a process.
type entry struct {
	pid, parent, session int
	started              uint64 // in ticks since the machine's start
	dead                 bool   // a zombie: nothing can be done to it
	kernel               bool   // a thread of the kernel's: it has no environment
}

// kernelThread is PF_KTHREAD among the flags of a process.
const kernelThread = 0x00200000

// look reads a process's entry; false where there is none.
func look(pid int, buf []byte) (entry, bool) {
	n, err := readAll("/proc/"+strconv.Itoa(pid)+"/stat", buf)
	if err != nil {
		return entry{}, false
	}
	return parseStat(pid, buf[:n])
}

// parseStat takes the fields after the name, which may hold anything, newlines and parentheses too.
func parseStat(pid int, stat []byte) (entry, bool) {
	f := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	// state, ppid, pgrp, session, … and the start time as the 20th
	if len(f) < 20 {
		return entry{}, false
	}
	// One whose first thread alone has ended looks like a zombie, and runs on.
	threads, _ := strconv.Atoi(string(f[17]))
	e := entry{pid: pid, dead: f[0][0] == 'X' || f[0][0] == 'Z' && threads < 2}
	flags, _ := strconv.ParseUint(string(f[6]), 10, 64)
	e.kernel = flags&kernelThread != 0
	var err1, err2, err3 error
	e.parent, err1 = strconv.Atoi(string(f[1]))
	e.session, err2 = strconv.Atoi(string(f[3]))
	e.started, err3 = strconv.ParseUint(string(f[19]), 10, 64)
	return e, err1 == nil && err2 == nil && err3 == nil
}

// pids lists all processes.
func pids() ([]int, error) {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	var all []int
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			all = append(all, pid)
		}
	}
	return all, nil
}

// ticks is the time in the clock of [entry.started].
func ticks() uint64 {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &t) != nil {
		return 0
	}
	const perSecond = 100 // USER_HZ, of every architecture that Go knows
	return uint64(t.Sec)*perSecond + uint64(t.Nsec)*perSecond/1e9
}

func readAll(path string, buf []byte) (int, error) {
	fd, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer syscall.Close(fd)
	n := 0
	for n < len(buf) {
		more, err := syscall.Read(fd, buf[n:])
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil || more == 0 {
			return n, err
		}
		n += more
	}
	return n, nil
}

// maxEnviron bounds what is read of a process's environment, which the kernel bounds for programs
// that are executed.
const maxEnviron = 8 << 20

// doubt is why a process can't be told by its environment.
type doubt int

const (
	certain  doubt = iota
	isEmpty        // it has no environment, or had none in that moment
	amidExec       // it has neither environment nor arguments: it is executing a program, or about to end
)

// tagged tells whether a process has one of the variables in its environment, or why it is not
// known. All are of one length.
func tagged(pid int, tags []string, buf []byte) (has bool, d doubt) {
	dir := "/proc/" + strconv.Itoa(pid)
	fd, err := syscall.Open(dir+"/environ", syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if errors.Is(err, syscall.EACCES) || errors.Is(err, syscall.EPERM) {
		fd, err = openAsOwner(dir)
	}
	switch {
	case errors.Is(err, syscall.ESRCH):
		return false, amidExec // what has no memory any more, or is gone, has no environment to open, since Linux 6.16
	case err != nil:
		return false, certain
	}
	defer syscall.Close(fd)
	// A zero before and after, so that only the whole variable counts.
	want := make([][]byte, len(tags))
	for i, tag := range tags {
		want[i] = append(append([]byte{0}, tag...), 0)
	}
	buf[0] = 0
	kept := 1
	for total := 0; total < maxEnviron; {
		n, err := syscall.Read(fd, buf[kept:])
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil || n <= 0 {
			if err != nil || total > 0 {
				return false, certain
			}
			// The kernel shows both only when the program is in place, whose arguments are one byte
			// at least.
			if n, err := readAll(dir+"/cmdline", buf); err == nil && n == 0 {
				return false, amidExec
			}
			return false, isEmpty
		}
		total += n
		text := buf[:kept+n]
		if slices.ContainsFunc(want, func(w []byte) bool { return bytes.Contains(text, w) }) {
			return true, certain
		}
		// What is found may lie across two reads.
		kept = copy(buf, text[max(0, len(text)-len(want[0])+1):])
	}
	return false, certain
}

// openAsOwner opens a process's environment as the user that the process runs as: the agent's root
// has, in a container, not the right to look into other users' processes, but may become those
// users.
func openAsOwner(dir string) (int, error) {
	var st syscall.Stat_t
	if err := syscall.Stat(dir, &st); err != nil {
		return -1, err
	}
	// These are of the thread alone. It is not given back unless it is what it was.
	runtime.LockOSThread()
	uid, gid := os.Geteuid(), os.Getegid()
	_ = unix.Setfsgid(int(st.Gid))
	_ = unix.Setfsuid(int(st.Uid))
	fd, err := syscall.Open(dir+"/environ", syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	_ = unix.Setfsuid(uid)
	_ = unix.Setfsgid(gid)
	nowUID, _ := unix.SetfsuidRetUid(-1)
	nowGID, _ := unix.SetfsgidRetGid(-1)
	if nowUID == uid && nowGID == gid {
		runtime.UnlockOSThread()
	}
	return fd, err
}
