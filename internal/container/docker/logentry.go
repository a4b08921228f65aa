package docker

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/octobot-run/octobot/internal/container"
)

const (
	// entryBuffer is how much of a log is looked at at once. An entry of Docker's fits in.
	entryBuffer = 64 << 10
	// pieceSize is the size of the pieces in which Docker logs a longer line. They have the same
	// time. Podman's are of any size.
	pieceSize = 16 << 10
	// maxStamp bounds the length of a time.
	maxStamp = 64
	// stampForm is Docker's time of an entry, of fixed length, and what follows it.
	stampForm = "2006-01-02T15:04:05.000000000Z "
)

// logStream is one of the streams of a log, as far as a pass has come.
type logStream struct {
	pass   *logPass
	number int
	w      io.Writer

	stamp []byte    // of the entry
	at    time.Time // the same
	n     int       // the entry is the n-th of that time; 0: there was none yet
	size  int       // bytes of the entry
	cut   int       // bytes of the entry that are to be left out; negative: none, and not its time either
	skips bool      // all of it is
	ended bool      // it is there as a whole

	begun bool // the line goes on that an earlier entry has begun
	piece bool // the entry before was a piece of the line, which goes on
	last  byte // that was read
}

// logPass is one reading of a log: what is passed on, and how.
type logPass struct {
	streams [3]logStream // by number; 1 is standard output, 2 standard error
	skip    func(*logStream) bool
	stamps  bool // each line begins with its time
	mends   bool // see logReader

	begun          bool      // something was not skipped
	entries, lines int       // that were read
	first, latest  time.Time // of what was read
}

// begin begins an entry, with the time that the engine gave it, if any.
func (p *logPass) begin(stream int, stamp []byte) (*logStream, error) {
	s := &p.streams[stream]
	s.pass, s.number, s.size, s.cut, s.ended = p, stream, 0, -1, false
	if s.n > 0 && bytes.Equal(stamp, s.stamp) {
		s.n++
	} else {
		at := time.Time{}
		if len(stamp) > 0 {
			var err error
			if at, err = time.Parse(time.RFC3339Nano, string(stamp)); err != nil {
				return nil, fmt.Errorf("the engine gave a log entry the time %q", stamp)
			}
		}
		s.n, s.at, s.piece = 1, at, false
		s.stamp = append(s.stamp[:0], stamp...)
		if at.After(p.latest) {
			p.latest = at
		}
	}
	if p.entries++; p.entries == 1 {
		p.first = s.at
	}
	if !s.begun {
		p.lines++
	}
	s.skips = p.skip(s)
	p.begun = p.begun || !s.skips
	if s.cut < 0 && !s.begun && !s.skips && p.stamps {
		return s, s.pass.write(s, append(stamp[:len(stamp):len(stamp)], ' '))
	}
	return s, nil
}

// isBefore reports whether a pass has come less far in the stream than another.
func (s *logStream) isBefore(other *logStream) bool {
	switch {
	case s.n == 0 || other.n == 0:
		return s.n == 0
	case !s.at.Equal(other.at):
		return s.at.Before(other.at)
	case s.n != other.n:
		return s.n < other.n
	}
	return s.size < other.size
}

// text is more of the entry.
func (s *logStream) text(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	s.size += len(b)
	s.last = b[len(b)-1]
	left := b[min(len(b), max(0, s.cut)):]
	s.cut -= len(b) - len(left)
	if s.skips || len(left) == 0 {
		return nil
	}
	return s.pass.write(s, left)
}

// end ends the entry.
func (s *logStream) end() error {
	s.ended = true
	s.begun = s.size == 0 && s.begun || s.size > 0 && s.last != '\n'
	wasPiece := s.piece
	s.piece = s.begun && s.size == pieceSize
	if !s.begun || !s.pass.mends || !wasPiece || s.piece {
		return nil
	}
	s.begun = false
	if s.skips {
		return nil
	}
	return s.pass.write(s, []byte("\n"))
}

func (p *logPass) write(s *logStream, b []byte) error {
	if _, err := s.w.Write(b); err != nil {
		return &writeError{err}
	}
	return nil
}

// entries are those of a log as it comes from the engine.
type entries struct{ r *bufio.Reader }

func newEntries(from io.Reader) entries { return entries{bufio.NewReaderSize(from, entryBuffer)} }

// copyFrames reads a log in frames of an eight-byte header (stream, three zeros, length) and an
// entry.
func (e entries) copyFrames(to *logPass) error {
	for {
		header, err := e.r.Peek(8)
		switch {
		case errors.Is(err, io.EOF) && len(header) == 0:
			return nil
		case errors.Is(err, io.EOF):
			return io.ErrUnexpectedEOF
		case err != nil:
			return err
		}
		stream, left := int(header[0]), int(binary.BigEndian.Uint32(header[4:]))
		_, _ = e.r.Discard(8)
		switch stream {
		case 0:
			stream = 1
		case 1, 2:
		case 3:
			return e.failure(left)
		default:
			return fmt.Errorf("the engine sent a frame of unknown stream %d", stream)
		}
		head, err := e.r.Peek(min(left, maxStamp))
		if err != nil {
			return unexpected(err)
		}
		stamp, _, found := bytes.Cut(head, []byte(" "))
		if !found {
			return fmt.Errorf("the engine sent a log entry without a time")
		}
		s, err := to.begin(stream, stamp)
		if err != nil {
			return err
		}
		_, _ = e.r.Discard(len(stamp) + 1)
		if err := e.copyText(s, left-len(stamp)-1); err != nil {
			return err
		}
		if err := s.end(); err != nil {
			return err
		}
	}
}

// failure is the engine's own word in a log.
func (e entries) failure(size int) error {
	text, err := io.ReadAll(io.LimitReader(e.r, int64(min(size, 4<<10))))
	if err != nil {
		return err
	}
	return container.Errorf("", "", container.ErrUnavailable, "%s", bytes.TrimSpace(text))
}

// copyText copies the next n bytes.
func (e entries) copyText(to *logStream, n int) error {
	for n > 0 {
		if _, err := e.r.Peek(1); err != nil {
			return unexpected(err)
		}
		b, _ := e.r.Peek(min(n, e.r.Buffered()))
		if err := to.text(b); err != nil {
			return err
		}
		_, _ = e.r.Discard(len(b))
		n -= len(b)
	}
	return nil
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// copyStamped reads the log of a TTY with Docker's times. Each entry begins with its time; a line
// feed ends it, or the next time does, where it has none.
func (e entries) copyStamped(to *logPass) error {
	var s *logStream // nil between entries
	for {
		b, err := e.line()
		if len(b) == 0 {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			if s != nil && err == nil {
				return s.end()
			}
			return err
		}
		if s == nil {
			if !isStamp(b) {
				return fmt.Errorf("the engine sent a log entry without a time: %.40q", b)
			}
			stamp := b[:len(stampForm)-1]
			if s, err = to.begin(1, stamp); err != nil {
				return err
			}
			_, _ = e.r.Discard(len(stampForm))
			continue
		}
		n := s.nextEntry(b)
		if n < 0 {
			n = len(b)
			if b[n-1] != '\n' && err == nil {
				n -= len(stampForm) // that may be the beginning of a time
			}
		}
		ends := n < len(b) && isStamp(b[n:]) || b[max(0, n-1)] == '\n'
		if err := s.text(b[:n]); err != nil {
			return err
		}
		_, _ = e.r.Discard(n)
		if ends {
			if err := s.end(); err != nil {
				return err
			}
			s = nil
		}
	}
}

// line is what is left of the line, up to and with its end, or a buffer full of it. At the end of
// the log it is what is left, with the error.
func (e entries) line() ([]byte, error) {
	for n := 1; ; {
		b, err := e.r.Peek(n)
		if err == nil {
			b, _ = e.r.Peek(e.r.Buffered())
		}
		if i := bytes.IndexByte(b, '\n'); i >= 0 {
			return b[:i+1], nil
		}
		if err != nil || len(b) == entryBuffer {
			return b, err
		}
		n = len(b) + 1
	}
}

// nextEntry finds where in the text an entry begins that nothing but its time parts from this one;
// -1: nowhere. What a program has written itself was written before, so a time in it is earlier.
func (s *logStream) nextEntry(b []byte) int {
	for from := 0; ; {
		i := bytes.Index(b[from:], []byte("Z "))
		if i < 0 {
			return -1
		}
		from += i + 2
		start := from - len(stampForm)
		if start < 0 || !isStamp(b[start:]) {
			continue
		}
		at, err := time.Parse(time.RFC3339Nano, string(b[start:from-1]))
		if err == nil && (at.After(s.at) || at.Equal(s.at) && s.size+start == pieceSize) {
			return start
		}
	}
}

// isStamp reports whether b begins with a time of Docker's.
func isStamp(b []byte) bool {
	if len(b) < len(stampForm) {
		return false
	}
	for i := range len(stampForm) {
		if digit := b[i] >= '0' && b[i] <= '9'; digit != (stampForm[i] >= '0' && stampForm[i] <= '9') ||
			!digit && b[i] != stampForm[i] {
			return false
		}
	}
	return true
}

// copyRaw reads the log of a TTY without times: an entry is a line.
func (e entries) copyRaw(to *logPass) error {
	var s *logStream // nil between lines
	for {
		if _, err := e.r.Peek(1); err != nil {
			if !errors.Is(err, io.EOF) {
				return err
			}
			if s != nil {
				return s.end()
			}
			return nil
		}
		b, _ := e.r.Peek(e.r.Buffered())
		i := bytes.IndexByte(b, '\n')
		if i >= 0 {
			b = b[:i+1]
		}
		if s == nil {
			var err error
			if s, err = to.begin(1, nil); err != nil {
				return err
			}
		}
		if err := s.text(b); err != nil {
			return err
		}
		_, _ = e.r.Discard(len(b))
		if i >= 0 {
			if err := s.end(); err != nil {
				return err
			}
			s = nil
		}
	}
}
