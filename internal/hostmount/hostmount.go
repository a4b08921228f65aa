// Package hostmount mounts host directories and files on paths of the daemon's own, for an engine
// to mount in containers from there.
//
// An engine is told the path of what it is to mount, and follows that path itself, later. Whoever
// can write to a directory on the way can lead it elsewhere meanwhile. So nothing on the way may be
// anybody's but root's and the daemon's: what a path leads to is opened, without following a
// symbolic link, and the open file is what is mounted, as <data directory>/mounts/<session>/<n>.
package hostmount

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
)

// dirName is the directory of all mounts, in the data directory.
const dirName = "mounts"

// errNotMounted: nothing is mounted where something should be.
var errNotMounted = fmt.Errorf("nothing is mounted for the session: %w", fs.ErrNotExist)

// prepare gives the data directory's path as an engine is to follow it.
func prepare(dataDir string) (string, error) {
	path, err := filepath.Abs(dataDir)
	if err == nil {
		path, err = filepath.EvalSymlinks(path)
	}
	switch {
	case err != nil:
		return "", err
	case strings.Contains(path, ":"):
		return "", errors.New("the data directory's path holds a colon, which ends a path for the engine")
	}
	return path, nil
}
