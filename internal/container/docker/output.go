package docker

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
)

// writeError is an error of the writer that a caller gave.
type writeError struct{ err error }

func (e *writeError) Error() string { return e.err.Error() }
func (e *writeError) Unwrap() error { return e.err }

// copyOutput copies the engine's stream to its end: one raw stream of a terminal, else two in
// frames of an eight-byte header (stream, three zeros, length) and content.
func copyOutput(tty bool, from io.Reader, stdout, stderr io.Writer) error {
	buf := make([]byte, 32<<10)
	if tty {
		return copyFrame(stdout, from, buf, -1)
	}
	for {
		var header [8]byte
		if _, err := io.ReadFull(from, header[:]); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		to := stdout
		switch header[0] {
		case 0, 1:
		case 2:
			to = stderr
		default:
			return fmt.Errorf("the engine sent a frame of unknown stream %d", header[0])
		}
		if err := copyFrame(to, from, buf, int64(binary.BigEndian.Uint32(header[4:]))); err != nil {
			return err
		}
	}
}

// copyFrame copies n bytes, or all where n is negative.
func copyFrame(to io.Writer, from io.Reader, buf []byte, n int64) error {
	for n != 0 {
		b := buf
		if n > 0 && n < int64(len(b)) {
			b = b[:n]
		}
		got, err := from.Read(b)
		if got > 0 {
			if _, err := to.Write(b[:got]); err != nil {
				return &writeError{err}
			}
			if n > 0 {
				n -= int64(got)
			}
		}
		switch {
		case err == io.EOF && n < 0:
			return nil
		case err == io.EOF && n > 0:
			return io.ErrUnexpectedEOF
		case err != nil && err != io.EOF:
			return err
		}
	}
	return nil
}

// refusalFilter holds back output that starts as an engine's report that it could not start a
// command. Only the exit code reports whether that is what it is; a real command's output is passed
// on then.
type refusalFilter struct {
	text   []byte
	to     io.Writer // of what is held; nil while nothing is
	passed bool      // something else came first
}

const maxRefusal = 4 << 10

// How Docker's and Podman's reports start.
var refusals = [][]byte{
	[]byte("OCI runtime exec failed:"),
	[]byte("Error: "),
	[]byte("unable to find user "),
	[]byte("failed to create "),
	[]byte("exec failed:"),
	[]byte("cannot exec "),
}

func (f *refusalFilter) of(w io.Writer) io.Writer { return &filtered{f, w} }

type filtered struct {
	*refusalFilter
	w io.Writer
}

func (w *filtered) Write(b []byte) (int, error) {
	f := w.refusalFilter
	if !f.passed && f.to == nil {
		f.passed = true
		for _, start := range refusals {
			if bytes.HasPrefix(b, start) {
				f.passed, f.to = false, w.w
			}
		}
	}
	if f.to != nil && !f.passed {
		if len(f.text)+len(b) <= maxRefusal && f.to == w.w {
			f.text = append(f.text, b...)
			return len(b), nil
		}
		if err := f.flush(); err != nil {
			return 0, err
		}
	}
	return w.w.Write(b)
}

// flush passes on what was held.
func (f *refusalFilter) flush() error {
	if f.to == nil || f.passed {
		return nil
	}
	f.passed = true
	if _, err := f.to.Write(f.text); err != nil {
		return &writeError{err}
	}
	return nil
}

// held reports whether all there was looks like an engine's report.
func (f *refusalFilter) held() bool {
	return f.to != nil && !f.passed &&
		(bytes.HasPrefix(f.text, []byte("OCI runtime")) || errorSays(errors.New(string(f.text)), saysNoCommand))
}

func (f *refusalFilter) reason() string {
	line, _, _ := strings.Cut(string(f.text), "\n")
	return strings.TrimSpace(strings.TrimPrefix(line, "Error: "))
}

// lastByte remembers the last byte that was read.
type lastByte struct {
	r io.Reader
	b byte
}

func (l *lastByte) Read(b []byte) (int, error) {
	n, err := l.r.Read(b)
	if n > 0 {
		l.b = b[n-1]
	}
	return n, err
}
