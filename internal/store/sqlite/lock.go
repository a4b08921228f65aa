package sqlite

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
)

// acquire takes the lock file, in which its holder names itself. Closing it
// gives the lock back. The file stays: if it were removed, two processes could
// lock two files of that name.
func acquire(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		holder, _ := io.ReadAll(io.LimitReader(f, 32)) // an unnamed one is in the way as well
		err = fmt.Errorf("another octobot is running on it (process %s)", strings.TrimSpace(string(holder)))
	} else if err != nil {
		err = fmt.Errorf("lock %s: %w", path, err)
	} else if err = f.Truncate(0); err == nil {
		_, err = fmt.Fprintln(f, os.Getpid())
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
