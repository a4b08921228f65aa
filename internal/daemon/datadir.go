package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// dataDir is a data directory that this process alone may use.
type dataDir struct {
	lock *os.File
}

// openDataDir makes the directory, where it is missing, with mode 0700, and locks it. The lock
// ends with the process, however that ends. One that others can read is closed to them, with what
// is in it, unless it holds other people's files too.
func openDataDir(path string, log *slog.Logger) (*dataDir, error) {
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
	if err := closeToOthers(path, info, log); err != nil {
		return nil, fmt.Errorf("data directory %s: %w", path, err)
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

// closeToOthers takes from the directory, and from the files in it that Octobot knows by name, what
// they let others do.
func closeToOthers(path string, dir fs.FileInfo, log *slog.Logger) error {
	entries, err := os.ReadDir(path)
	if err != nil {
		return err
	}
	ours := func(e fs.DirEntry) bool {
		return e.Name() == "config.yaml" || e.Name() == recordingsDir || strings.HasPrefix(e.Name(), "octobot.")
	}
	if mode := dir.Mode().Perm(); mode&0o077 != 0 {
		foreign := slices.IndexFunc(entries, func(e fs.DirEntry) bool { return !ours(e) })
		if foreign >= 0 {
			return fmt.Errorf("others can read it (mode %04o), and it holds files that are not Octobot's, such as %s; chmod 700 %s, or name another with --data-dir",
				mode, entries[foreign].Name(), path)
		}
		if err := os.Chmod(path, 0o700); err != nil {
			return fmt.Errorf("others can read it (mode %04o), and it can't be closed to them: %w; name another with --data-dir", mode, err)
		}
		log.Warn("others could read the data directory; its mode is 0700 now", "path", path, "was",
			fmt.Sprintf("%04o", mode))
	}
	for _, e := range entries {
		info, err := e.Info()
		if !ours(e) || err != nil || !info.Mode().IsRegular() || info.Mode().Perm()&0o077 == 0 {
			continue // what vanishes is read by nobody
		}
		name := filepath.Join(path, e.Name())
		mode := info.Mode().Perm()
		if err := os.Chmod(name, mode&^0o077); err != nil {
			// Somebody else's. The directory is closed, and the store sees to its own.
			log.Warn("the mode of a file in the data directory lets others read it", "path", name,
				"mode", fmt.Sprintf("%04o", mode), "error", err)
			continue
		}
		log.Warn("the mode of a file in the data directory let others read it; it is for its owner alone now",
			"path", name, "was", fmt.Sprintf("%04o", mode))
	}
	return nil
}

// Close gives the directory up.
func (d *dataDir) Close() error { return d.lock.Close() }
