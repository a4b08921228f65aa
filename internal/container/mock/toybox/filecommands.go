package toybox

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"syscall"
)

func cmdLs(_ context.Context, p *Process) int {
	dir := p.Dir
	if n := len(p.Args); n > 1 {
		dir = p.path(p.Args[n-1])
	}
	list, err := p.view().ReadDir(dir)
	if errors.Is(err, syscall.ENOTDIR) {
		if _, err := p.view().Stat(dir, false); err == nil {
			return p.print(path.Base(dir) + "\n")
		}
	}
	if err != nil {
		return p.fail(1, "%s: %s", dir, err)
	}
	code := 0
	for _, f := range list {
		code = max(code, p.print(f.Name+"\n"))
	}
	return code
}

// options are the letters of the arguments that begin with a dash; names are the others.
func (p *Process) options() (letters string, names []string) {
	for i, arg := range p.Args[1:] {
		if arg == "--" {
			return letters, append(names, p.Args[i+2:]...)
		}
		if len(arg) > 1 && arg[0] == '-' {
			letters += arg[1:]
			continue
		}
		names = append(names, arg)
	}
	return letters, names
}

// eachPath runs fn over the paths named, and says which failed.
func (p *Process) eachPath(names []string, fn func(path string) error) int {
	code := 0
	for _, name := range names {
		if err := fn(p.path(name)); err != nil {
			code = p.fail(1, "%s: %s", name, err)
		}
	}
	return code
}

func cmdMkdir(_ context.Context, p *Process) int {
	letters, names := p.options()
	return p.eachPath(names, func(q string) error {
		if strings.Contains(letters, "p") {
			return p.view().MkdirAll(q, 0o755)
		}
		return p.view().Mkdir(q, 0o755)
	})
}

func cmdRm(_ context.Context, p *Process) int {
	letters, names := p.options()
	return p.eachPath(names, func(q string) error {
		f, err := p.view().Stat(q, false)
		switch {
		case err != nil:
		case f.Mode.IsDir() && !strings.ContainsAny(letters, "rR"):
			return syscall.EISDIR
		default:
			err = p.view().RemoveAll(q)
		}
		if errors.Is(err, syscall.ENOENT) && strings.Contains(letters, "f") {
			return nil
		}
		return err
	})
}

func cmdRmdir(_ context.Context, p *Process) int {
	return p.eachPath(p.Args[1:], func(q string) error {
		if f, err := p.view().Stat(q, false); err == nil && !f.Mode.IsDir() {
			return syscall.ENOTDIR
		}
		return p.view().Remove(q)
	})
}

func cmdTouch(_ context.Context, p *Process) int {
	return p.eachPath(p.Args[1:], func(q string) error {
		w, err := p.view().Append(q, false, 0o644)
		if err != nil {
			return err
		}
		return w.Close()
	})
}

// into gives the path that something gets which is moved or linked to dest: below it where it is a
// directory.
func (p *Process) into(dest, name string) string {
	if f, err := p.view().Stat(p.path(dest), true); err == nil && f.Mode.IsDir() {
		return p.path(dest) + "/" + path.Base(name)
	}
	return p.path(dest)
}

func cmdMv(_ context.Context, p *Process) int {
	_, names := p.options()
	if len(names) != 2 {
		return p.fail(1, "two names are needed")
	}
	if err := p.view().Rename(p.path(names[0]), p.into(names[1], names[0]), true); err != nil {
		return p.fail(1, "can't rename '%s': %s", names[0], err)
	}
	return 0
}

func cmdLn(_ context.Context, p *Process) int {
	letters, names := p.options()
	if len(names) != 2 {
		return p.fail(1, "two names are needed")
	}
	to := p.into(names[1], names[0])
	var err error
	if strings.Contains(letters, "s") {
		err = p.view().Symlink(names[0], to)
	} else {
		err = p.view().Link(p.path(names[0]), to)
	}
	if err != nil {
		return p.fail(1, "%s: %s", names[1], err)
	}
	return 0
}

func cmdReadlink(_ context.Context, p *Process) int {
	return p.eachPath(p.Args[1:], func(q string) error {
		f, err := p.view().Stat(q, false)
		switch {
		case err != nil:
			return err
		case f.Target == "":
			return syscall.EINVAL
		}
		p.print(f.Target + "\n")
		return nil
	})
}

func cmdMkfifo(_ context.Context, p *Process) int {
	return p.eachPath(p.Args[1:], func(q string) error { return p.view().Mkfifo(q, 0o644) })
}

// Mode makes permissions of what chmod and tar take for them.
func Mode(bits uint32) fs.FileMode {
	mode := fs.FileMode(bits) & fs.ModePerm
	for bit, m := range map[uint32]fs.FileMode{0o4000: fs.ModeSetuid, 0o2000: fs.ModeSetgid, 0o1000: fs.ModeSticky} {
		if bits&bit != 0 {
			mode |= m
		}
	}
	return mode
}

// cmdChmod knows modes in numbers alone.
func cmdChmod(_ context.Context, p *Process) int {
	_, names := p.options()
	if len(names) < 2 {
		return p.fail(1, "a mode and a name are needed")
	}
	bits, err := strconv.ParseUint(names[0], 8, 12)
	if err != nil {
		return p.fail(1, "invalid mode '%s'", names[0])
	}
	return p.eachPath(names[1:], func(q string) error { return p.view().Chmod(q, Mode(uint32(bits))) })
}

func cmdChown(_ context.Context, p *Process) int {
	letters, names := p.options()
	if len(names) < 2 {
		return p.fail(1, "an owner and a name are needed")
	}
	owner, ok := LookIdentity(names[0])
	if !ok {
		return p.fail(1, "unknown user %s", names[0])
	}
	return p.eachPath(names[1:], func(q string) error {
		return p.view().Chown(q, owner, !strings.Contains(letters, "h"))
	})
}
