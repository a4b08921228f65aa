package daemon

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// dataDir is a data directory that this process alone may use.
type dataDir struct {
	lock *os.File
}

// openDataDir makes the directory, where it is missing, with mode 0700, and locks it. The lock
// ends with the process, however that ends.
func openDataDir(path string) (*dataDir, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("data directory: %w; name another with --data-dir", err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	if info.Mode().Perm()&0o022 != 0 {
		return nil, fmt.Errorf("data directory %s: others can write to it (mode %04o), and could take over the daemon; chmod 700 %s, or name another with --data-dir",
			path, info.Mode().Perm(), path)
	}
	name := filepath.Join(path, "octobot.lock")
	lock, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil {
		return &dataDir{lock: lock}, nil
	}
	_ = lock.Close() // nothing was written to it
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, fmt.Errorf("data directory %s: another daemon is using it; stop that one, or name another directory with --data-dir", path)
	}
	return nil, fmt.Errorf("data directory: lock %s: %w", name, err)
}

// Close gives the directory up.
func (d *dataDir) Close() error { return d.lock.Close() }
