package session

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

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
	allowed := make([]string, 0, len(roots))
	for _, root := range roots {
		// A root that can't be resolved now allows nothing now.
		if resolved, err := filepath.EvalSymlinks(root); err == nil && filepath.IsAbs(resolved) {
			allowed = append(allowed, resolved)
		}
	}
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
			return refuse(CodeForbidden, "remove the session (octobot rm) and create it again",
				"binds[%d]: %.200q has become a symbolic link", i, binds[i])
		}
	}
	return nil
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
