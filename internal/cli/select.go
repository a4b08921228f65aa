package cli

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// readable waits until a Read of f would not block, true, or until stop can be
// read, false. Files of the kernel that can't be waited for are always ready.
func readable(f, stop *os.File) (bool, error) {
	// select, because poll of some systems does not take terminals.
	for {
		var set unix.FdSet
		in, wake := int(f.Fd()), int(stop.Fd())
		if max(in, wake) >= unix.FD_SETSIZE {
			return false, fmt.Errorf("too many open files")
		}
		set.Set(in)
		set.Set(wake)
		_, err := unix.Select(max(in, wake)+1, &set, nil, nil, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return false, fmt.Errorf("wait for input: %w", err)
		}
		if set.IsSet(wake) {
			return false, nil
		}
		return true, nil
	}
}
