package command

import (
	"errors"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/octobot-run/octobot/internal/agentproto"
)

const (
	// smallRead suffices for the output of most commands.
	smallRead = 1 << 10
	// terminalRest bounds what is taken of a terminal after the command's end: more than the kernel
	// holds of it, but a child may go on writing.
	terminalRest = 1 << 20
	// After so many reads in a row a command writes much. It gets a pipe that holds more then, and
	// a pause before each read, in which it fills some of that.
	muchInRow = 4
	muchPause = 200 * time.Microsecond
	widePipe  = 256 << 10
)

// buffers are for commands that write more, and only while they do.
var buffers = sync.Pool{New: func() any { return new([agentproto.MaxData]byte) }}

// output is one stream of a command's output.
type output struct {
	from     *os.File // our end
	kind     agentproto.Kind
	terminal bool

	small []byte
	large *[agentproto.MaxData]byte // while it is needed
	row   int                       // reads into large, one right after the other
	wide  bool                      // the pipe holds more
}

// finish makes copy return when what is there now was sent.
func (o *output) finish() { _ = o.from.SetReadDeadline(time.Unix(1, 0)) }

// copy sends what the command writes, as it comes. It waits while the stream does not take it, and
// so does the command then. An error is the stream's.
func (o *output) copy(s *agentproto.Stream) error {
	defer o.release()
	raw, err := o.from.SyscallConn()
	if err != nil {
		return nil
	}
	o.small = make([]byte, smallRead)
	for {
		var b []byte
		var readErr error
		err := raw.Read(func(fd uintptr) bool {
			b, readErr = o.read(int(fd), terminalRest)
			return !errors.Is(readErr, syscall.EAGAIN)
		})
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return o.drain(s, raw)
		}
		// A terminal without a process at its other end says EIO.
		if err != nil || readErr != nil || len(b) == 0 {
			return nil
		}
		if err := s.SendData(o.kind, b); err != nil {
			return err
		}
		o.pace(raw, len(b))
	}
}

// pace lets a command that writes much, a little at a time, write some more before the next read:
// every frame has a long way to go, and many small ones take the processors from the command.
func (o *output) pace(raw syscall.RawConn, n int) {
	if o.large == nil || o.terminal {
		o.row = 0
		return
	}
	if o.row++; o.row < muchInRow {
		return
	}
	if !o.wide {
		o.wide = true
		_ = raw.Control(func(fd uintptr) { _, _ = unix.FcntlInt(fd, unix.F_SETPIPE_SZ, widePipe) }) // or it stays
	}
	if n < agentproto.MaxData/2 {
		time.Sleep(muchPause)
	}
}

// drain sends what is there now. It does not wait for a child that has the other end and may write
// more, nor for the end of one that never ceases to.
func (o *output) drain(s *agentproto.Stream, raw syscall.RawConn) error {
	left := terminalRest
	if !o.terminal {
		if err := raw.Control(func(fd uintptr) { left, _ = unix.IoctlGetInt(int(fd), unix.TIOCINQ) }); err != nil {
			return nil
		}
	}
	for left > 0 {
		var b []byte
		var readErr error
		if err := raw.Control(func(fd uintptr) { b, readErr = o.read(int(fd), left) }); err != nil || readErr != nil ||
			len(b) == 0 {
			return nil
		}
		left -= len(b)
		if err := s.SendData(o.kind, b); err != nil {
			return err
		}
	}
	return nil
}

// read reads once, without waiting. After a read that has filled the small buffer, it takes a large
// one for as long as there is something to read.
func (o *output) read(fd, most int) ([]byte, error) {
	b := o.small
	if o.large != nil {
		b = o.large[:]
	}
	b = b[:min(len(b), most)]
	for {
		n, err := syscall.Read(fd, b)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case err != nil:
			o.release()
			return nil, err
		case n == len(o.small) && o.large == nil:
			o.large = buffers.Get().(*[agentproto.MaxData]byte)
		}
		return b[:n], nil
	}
}

func (o *output) release() {
	if o.large != nil {
		buffers.Put(o.large)
		o.large = nil
	}
}
