package docker

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
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

// opening is the beginning of a command's output. Engines say there, too, why a command did not
// come to run. Whether they do is not in the words, which a command may say as well, but in what
// the engine says of the exec. So what begins like a reason is held until the engine was asked
// whether the command runs; and what is held is passed on unless it did not.
type opening struct {
	// runs asks the engine. Nothing is read meanwhile.
	runs func(words []byte) bool

	words []byte  // the output's first bytes, at most maxReason
	first *opened // the stream of the first
	other bool    // there is more than words
	held  bool
}

const maxReason = 4 << 10

// How the reasons start. They decide no more than whether the engine is asked. One that is missing
// here is passed on as output. If it is Docker's, it is told as the reason all the same; Podman's
// word on the exec does not tell, and the command is taken for one that was started.
var reasonStarts = [][]byte{
	[]byte("OCI runtime exec failed:"),  // Docker 20.10, moby 29
	[]byte("unable to find user "),      // Docker 20.10, moby 29
	[]byte("Error: "),                   // Podman 4.3, before anything
	[]byte("cannot exec in a stopped "), // Docker 20.10, runc 1.1
	[]byte("container "),                // moby 29: container … is not running
	[]byte("failed to create "),         // containerd's, of an exec's task
	[]byte("exec failed:"),              // runc's own
	execWords,
}

// execWords start what the OCI runtime's child says where execve fails.
var execWords = []byte("exec ")

func (o *opening) of(w io.Writer) io.Writer { return &opened{opening: o, w: w} }

type opened struct {
	*opening
	w io.Writer
}

func (w *opened) Write(b []byte) (int, error) {
	o := w.opening
	if o.first == nil {
		o.first = w
		starts := func(start []byte) bool { return bytes.HasPrefix(b, start) }
		o.held = slices.ContainsFunc(reasonStarts, starts) && !o.runs(b)
	}
	kept := 0
	if w == o.first {
		kept = min(len(b), maxReason-len(o.words))
	}
	o.other = o.other || kept < len(b)
	if o.other {
		if err := o.pass(); err != nil {
			return 0, err
		}
	}
	o.words = append(o.words, b[:kept]...)
	if o.held {
		return len(b), nil
	}
	return w.w.Write(b)
}

// pass passes on what is held.
func (o *opening) pass() error {
	if !o.held {
		return nil
	}
	o.held = false
	if _, err := o.first.w.Write(o.words); err != nil {
		return &writeError{err}
	}
	return nil
}

// reason is what an engine says that did not start the command.
func (o *opening) reason() string {
	line, _, _ := strings.Cut(string(o.words), "\n")
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
