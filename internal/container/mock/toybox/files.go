package toybox

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"path"
	"strings"
)

// path resolves a path against the working directory.
func (p *Process) path(s string) string {
	if !path.IsAbs(s) {
		s = path.Join(p.Dir, s)
	}
	return path.Clean(s)
}

func (p *Process) files() *FileSystem { return p.system.config.Files }

type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

// openFile opens a file for reading.
func openFile(p *Process, name string) (io.Reader, error) {
	switch p.path(name) {
	case "/dev/null":
		return noInput{}, nil
	case "/dev/zero":
		return zeros{}, nil
	}
	f, err := p.files().Lookup(p.path(name))
	if err != nil {
		return nil, err
	}
	if f.Mode.IsDir() {
		return nil, errors.New("is a directory")
	}
	return bytes.NewReader(f.Data), nil
}

func readFile(p *Process, name string) ([]byte, error) {
	r, err := openFile(p, name)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(r, maxArgument))
}

// createFile opens a file for writing, at its end or in place of what it holds.
func createFile(p *Process, name string, atEnd bool) (io.Writer, error) {
	to := p.path(name)
	if to == "/dev/null" {
		return io.Discard, nil
	}
	owner, _ := lookUser(p.User)
	w := fileWriter{p.files(), to, owner}
	var err error
	if atEnd {
		_, err = w.Write(nil)
	} else {
		err = p.files().put(to, &File{Mode: 0o644, UID: owner.uid, GID: owner.uid})
	}
	return w, err
}

type fileWriter struct {
	files *FileSystem
	path  string
	owner account
}

func (w fileWriter) Write(b []byte) (int, error) {
	if err := w.files.appendTo(w.path, b, w.owner); err != nil {
		return 0, err
	}
	return len(b), nil
}

func cmdLs(_ context.Context, p *Process) int {
	dir := p.Dir
	if n := len(p.Args); n > 1 {
		dir = p.path(p.Args[n-1])
	}
	code := 0
	paths := p.files().Walk(dir)
	if len(paths) == 0 {
		return p.fail(1, "%s: no such file or directory", dir)
	}
	for _, q := range paths {
		if q == dir && p.files().IsDir(dir) || q != dir && path.Dir(q) != dir {
			continue
		}
		code = max(code, p.print(path.Base(q)+"\n"))
	}
	return code
}

// eachPath runs fn over the paths named, and says which failed.
func (p *Process) eachPath(fn func(path string) error) int {
	code := 0
	for _, name := range p.Args[1:] {
		if strings.HasPrefix(name, "-") {
			continue
		}
		if err := fn(p.path(name)); err != nil {
			code = p.fail(1, "%s: %s", name, err)
		}
	}
	return code
}

func cmdMkdir(_ context.Context, p *Process) int {
	owner, _ := lookUser(p.User)
	return p.eachPath(func(q string) error {
		if p.files().IsDir(q) {
			return nil
		}
		return p.files().Put(q, &File{Mode: fs.ModeDir | 0o755, UID: owner.uid, GID: owner.uid})
	})
}

func cmdRm(_ context.Context, p *Process) int { return p.eachPath(p.files().remove) }

func cmdTouch(_ context.Context, p *Process) int {
	owner, _ := lookUser(p.User)
	return p.eachPath(func(q string) error { return p.files().appendTo(q, nil, owner) })
}
