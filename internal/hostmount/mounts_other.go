//go:build !linux

package hostmount

import "errors"

var errNotLinux = errors.New("the daemon's system is not Linux")

// Mounts can't be had on this system.
type Mounts struct{}

// Check refuses.
func Check(dataDir string) error { return errNotLinux }

// Open refuses.
func Open(dataDir string) (*Mounts, error) { return nil, errNotLinux }

// Mount refuses.
func (*Mounts) Mount(string, int, string) (string, error) { return "", errNotLinux }

// Verify refuses.
func (*Mounts) Verify(string, int, []string) error { return errNotLinux }

// Unmount has nothing to do.
func (*Mounts) Unmount(string) error { return nil }

// Mounted lists nothing.
func (*Mounts) Mounted() ([]string, error) { return nil, nil }

// Close has nothing to do.
func (*Mounts) Close() error { return nil }
