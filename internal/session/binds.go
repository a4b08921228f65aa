package session

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/octobot-run/octobot/internal/container"
)

const bindHint = "the daemon's administrator names the directories that may be mounted (bind roots)"

// resolveBinds gives binds with their sources free of symbolic links, so that what is mounted is
// what was looked at. It refuses volumes, and every source that is not below one of roots. Whether
// something outside the roots exists, it does not tell.
func resolveBinds(roots, binds []string) ([]string, error) {
	if len(binds) == 0 {
		return binds, nil
	}
	allowed := resolveRoots(roots)
	resolved := make([]string, len(binds))
	for i, text := range binds {
		bind, err := container.ParseBind(text)
		if err != nil {
			return nil, err
		}
		if bind.Volume {
			return nil, refuse(CodeForbidden, bindHint, "binds[%d]: named volumes can't be mounted: %.64q", i,
				bind.Source)
		}
		source, missing, err := resolvePath(bind.Source)
		if err != nil || !below(allowed, source) {
			return nil, refuse(CodeForbidden, bindHint,
				"binds[%d]: %.200q is not below a directory that may be mounted", i, bind.Source)
		}
		if missing {
			return nil, refuse(CodePathNotFound, "", "binds[%d]: %.200q does not exist", i, bind.Source)
		}
		bind.Source = source
		// The links may have led to what is never mounted, or to a name that the form can't hold.
		if _, err := container.ParseBind(bind.String()); err != nil {
			return nil, err
		}
		resolved[i] = bind.String()
	}
	return resolved, nil
}

// checkBinds refuses binds, as resolveBinds gave them, that would not come out the same now.
func checkBinds(roots, binds []string) error {
	resolved, err := resolveBinds(roots, binds)
	if err != nil {
		return err
	}
	for i := range binds {
		if resolved[i] != binds[i] {
			return errBecameLink(i, binds[i])
		}
	}
	return nil
}

func errBecameLink(i int, bind string) error {
	return refuse(CodeForbidden, "remove the session (octobot rm) and create it again",
		"binds[%d]: %.200q has become a symbolic link", i, bind)
}

// resolveRoots gives roots free of symbolic links. A root that can't be resolved now allows nothing
// now; nor does one with a link on its way that lies in another root, for a session may have put it
// there.
func resolveRoots(roots []string) []string {
	resolved := make([]string, 0, len(roots))
	for i, root := range roots {
		if !filepath.IsAbs(root) {
			continue
		}
		var others []string
		for _, other := range slices.Concat(roots[:i], roots[i+1:]) {
			if filepath.Clean(other) == filepath.Clean(root) {
				continue
			}
			others = append(others, filepath.Clean(other))
			if path, err := filepath.EvalSymlinks(other); err == nil {
				others = append(others, path)
			}
		}
		if path, err := resolveOutside(filepath.Clean(root), others); err == nil {
			resolved = append(resolved, path)
		}
	}
	return resolved
}

// maxLinks is how many symbolic links Linux follows in a path.
const maxLinks = 40

// resolveOutside follows the symbolic links of an absolute path, and none that lies in one of dirs.
func resolveOutside(path string, dirs []string) (string, error) {
	at, links := "/", 0
	for rest := strings.Split(path, "/"); len(rest) > 0; {
		name := rest[0]
		rest = rest[1:]
		if name == "" {
			continue
		}
		next := filepath.Join(at, name) // of which "." and ".." are right, since at has no links
		info, err := os.Lstat(next)
		switch {
		case err != nil:
			return "", err
		case info.Mode()&fs.ModeSymlink == 0:
			at = next
			continue
		case below(dirs, at):
			return "", fs.ErrPermission
		}
		if links++; links > maxLinks {
			return "", syscall.ELOOP
		}
		target, err := os.Readlink(next)
		if err != nil {
			return "", err
		}
		if filepath.IsAbs(target) {
			at = "/"
		}
		rest = append(strings.Split(target, "/"), rest...)
	}
	return at, nil
}

// resolvePath follows the symbolic links of the longest part of an absolute path that exists;
// the rest, if any, is missing.
func resolvePath(path string) (resolved string, missing bool, err error) {
	rest := ""
	for {
		resolved, err = filepath.EvalSymlinks(path)
		if err == nil {
			return filepath.Join(resolved, rest), rest != "", nil
		}
		if !errors.Is(err, fs.ErrNotExist) || path == "/" {
			return "", false, err
		}
		// A link that leads nowhere is not missing; where it leads is not for the caller to learn.
		if _, statErr := os.Lstat(path); statErr == nil {
			return "", false, err
		}
		rest = filepath.Join(filepath.Base(path), rest)
		path = filepath.Dir(path)
	}
}

// below reports whether path is one of dirs or inside one.
func below(dirs []string, path string) bool {
	for _, dir := range dirs {
		if path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/") {
			return true
		}
	}
	return false
}
