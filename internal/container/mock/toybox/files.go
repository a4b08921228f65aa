package toybox

import (
	"bytes"
	"io"
	"io/fs"
	"path"
)

// path resolves a path against the working directory.
func (p *Process) path(s string) string {
	if !path.IsAbs(s) {
		s = p.Dir + "/" + s
	}
	return s
}

// view is the file system as the process may use it.
func (p *Process) view() View {
	id, _ := LookIdentity(p.User)
	return p.system.config.Files.As(id)
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

// openFile opens a file for reading, as it is now.
func openFile(p *Process, name string) (io.Reader, error) {
	f, err := p.view().Stat(p.path(name), true)
	if err != nil {
		return nil, err
	}
	if f.Mode&fs.ModeDevice != 0 {
		if f.Name == "zero" {
			return zeros{}, nil
		}
		return noInput{}, nil
	}
	_, f, err = p.view().Open(p.path(name))
	if err != nil {
		return nil, err
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

type discard struct{ io.Writer }

func (discard) Close() error { return nil }

// createFile opens a file for writing, at its end or in place of what it holds.
func createFile(p *Process, name string, atEnd bool) (io.WriteCloser, error) {
	if f, err := p.view().Stat(p.path(name), true); err == nil && f.Mode&fs.ModeDevice != 0 {
		return discard{io.Discard}, nil
	}
	w, err := p.view().Append(p.path(name), !atEnd, 0o644)
	if err != nil {
		return nil, err
	}
	return w, nil
}
