package process

import (
	"os"
	"syscall"
)

// Pipe makes a pipe of which our end can be waited for, which is the one to read or the other, and
// theirs is as commands expect it.
func Pipe(read bool) (r, w *os.File, err error) {
	var p [2]int
	if err := syscall.Pipe2(p[:], syscall.O_CLOEXEC); err != nil {
		return nil, nil, os.NewSyscallError("pipe2", err)
	}
	ours := p[1]
	if read {
		ours = p[0]
	}
	if err := syscall.SetNonblock(ours, true); err != nil {
		_ = syscall.Close(p[0])
		_ = syscall.Close(p[1])
		return nil, nil, os.NewSyscallError("fcntl", err)
	}
	return os.NewFile(uintptr(p[0]), "|0"), os.NewFile(uintptr(p[1]), "|1"), nil
}
