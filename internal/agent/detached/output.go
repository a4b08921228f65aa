package detached

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/octobot-run/octobot/internal/agent/ring"
	"github.com/octobot-run/octobot/internal/agentproto"
)

const (
	inMemory = 1 << 20
	maxKeep  = 1 << 30
	// maxRuns bounds how often the streams may alternate in what is kept.
	maxRuns = 64 << 10
)

// output is the last that a process has written, of both streams together.
type output struct {
	file *os.File // nil: it is in memory

	mu      sync.Mutex
	changed sync.Cond // of mu: of everything below
	ring    *ring.Ring
	runs    []run // in order, the first of them begins with what is kept at the latest
	ended   bool  // no more follows
}

// run is a part of the output that is all of one stream.
type run struct {
	at   int64
	kind agentproto.Kind
}

func newOutput(keep int64) (*output, error) {
	o := &output{}
	o.changed.L = &o.mu
	if keep <= inMemory {
		if keep == 0 {
			keep = inMemory
		}
		o.ring = ring.New(keep)
		return o, nil
	}
	file, err := diskFile()
	if err != nil {
		return nil, err
	}
	o.file, o.ring = file, ring.OnDisk(keep, file)
	return o, nil
}

// diskFile makes a file without a name, which is gone with this process at the latest.
func diskFile() (*os.File, error) {
	var errs []error
	for _, dir := range slices.Compact([]string{os.TempDir(), "/var/tmp", "/tmp"}) {
		fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
		if err == nil {
			return os.NewFile(uintptr(fd), filepath.Join(dir, "output")), nil
		}
		// File systems that know no such files.
		file, err := os.CreateTemp(dir, ".octobot-output-")
		if err == nil {
			if err = os.Remove(file.Name()); err == nil {
				return file, nil
			}
			_ = file.Close()
		}
		errs = append(errs, err)
	}
	return nil, agentproto.Errorf(agentproto.Unsupported, "there is no place on disk for its output: %v",
		errors.Join(errs...))
}

// write adds what a stream has written.
func (o *output) write(kind agentproto.Kind, b []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(b) == 0 {
		return
	}
	if n := len(o.runs); n == 0 || o.runs[n-1].kind != kind {
		o.runs = append(o.runs, run{o.ring.End(), kind})
	}
	o.ring.Write(b)
	first := 0
	for first+1 < len(o.runs) && (o.runs[first+1].at <= o.ring.Start() || len(o.runs)-first > maxRuns) {
		first++
	}
	o.runs = o.runs[first:] // what is cut off goes when append makes room
	o.changed.Broadcast()
}

// end says that no more follows.
func (o *output) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ended = true
	o.changed.Broadcast()
}

// start is the position of the first byte that is kept; the caller holds mu.
func (o *output) start() int64 {
	if len(o.runs) == 0 {
		return o.ring.Start()
	}
	return max(o.ring.Start(), o.runs[0].at)
}

func (o *output) position() (end, kept int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.ring.End(), o.ring.End() - o.start()
}

// check refuses a position that is not reached yet.
func (o *output) check(since int64) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if since < 0 || since > o.ring.End() {
		return agentproto.Errorf(agentproto.InvalidArgument, "it has written %d bytes so far: there is no position %d",
			o.ring.End(), since)
	}
	return nil
}

// next gives what stands at a position, as far as it is of one stream and fits into b. It waits for
// more where there is none, unless to is reached: that, or the end, gives n of 0. A position that
// is not kept any more is moved on.
func (o *output) next(ctx context.Context, b []byte, pos, to int64) (at int64, kind agentproto.Kind, n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for {
		for pos == o.ring.End() && pos < to && !o.ended && ctx.Err() == nil {
			o.changed.Wait()
		}
		pos = max(pos, o.start())
		end := min(to, o.ring.End())
		if pos >= end || ctx.Err() != nil {
			return pos, 0, 0
		}
		i, exact := slices.BinarySearchFunc(o.runs, pos, func(r run, pos int64) int { return int(r.at - pos) })
		if !exact {
			i--
		}
		if i+1 < len(o.runs) {
			end = min(end, o.runs[i+1].at)
		}
		if n := o.ring.Read(b, pos, end); n > 0 {
			return pos, o.runs[i].kind, n
		}
		pos = end // a disk that does not give it back has lost it
	}
}

// wake has next look at its ctx.
func (o *output) wake() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.changed.Broadcast()
}

func (o *output) close() {
	if o.file != nil {
		_ = o.file.Close()
	}
}

// checkKeep refuses what no output may take.
func checkKeep(keep int64) error {
	if keep < 0 || keep > maxKeep {
		return fmt.Errorf("between 0 and %d bytes of output can be kept, not %d", maxKeep, keep)
	}
	return nil
}
