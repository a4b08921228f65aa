package mock

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/container/mock/toybox"
)

// readChunk bounds what a writer is given at a time.
const readChunk = 32 << 10

// process is a command that nobody waits for, with the last of its output.
type process struct {
	id      string
	cmd     []string
	started time.Time
	system  *toybox.System
	running *toybox.Process
	done    chan struct{} // closed when it has ended

	mu      sync.Mutex
	out     output
	changed chan struct{} // closed at the next change; nil while nobody waits for one
	ended   time.Time     // zero while it runs
	waited  time.Time     // when its end was told first to somebody who waited; zero before
	code    int
	cut     bool // by the container's end: the code says nothing
}

// notify tells whoever waits for a change. The caller holds mu.
func (p *process) notify() {
	if p.changed != nil {
		close(p.changed)
		p.changed = nil
	}
}

// follow makes the command's end known.
func (p *process) follow() {
	<-p.running.Done()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended, p.code = time.Now(), p.running.ExitCode()
	select {
	case <-p.system.Ending():
		p.cut = true
	default:
	}
	p.notify()
	close(p.done)
}

// signal sends a signal; SIGKILL returns when it has done its work.
func (p *process) signal(ctx context.Context, s toybox.Signal) error {
	select {
	case <-p.done:
		return nil
	default:
	}
	if s != toybox.SIGKILL {
		p.running.SignalJob(s)
		return nil
	}
	p.running.KillJob()
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// wait waits for the end.
func (p *process) wait(ctx context.Context) (container.ProcessInfo, error) {
	select {
	case <-p.done:
	case <-ctx.Done():
		return container.ProcessInfo{}, ctx.Err()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.lost(); err != nil {
		return container.ProcessInfo{}, err
	}
	if p.waited.IsZero() {
		p.waited = time.Now()
	}
	return p.infoLocked(), nil
}

// lost is the error for who waits for more of a process that the container's end has taken with it.
// The caller holds mu.
func (p *process) lost() error {
	if p.cut {
		return refuse(container.ErrContainerStopped, "the container ended before the process")
	}
	return nil
}

// read writes the output; see [container.Processes].
func (p *process) read(ctx context.Context, opts container.OutputOptions, out, errs io.Writer) (
	info container.ProcessInfo, missed int64, err error,
) {
	at, limit := opts.Since, int64(math.MaxInt64)
	info = p.info()
	if at > info.Position {
		return container.ProcessInfo{}, 0, refuse(container.ErrInvalidArgument,
			"the process has written %d bytes so far: there is no position %d", info.Position, at)
	}
	if !opts.Follow {
		limit = info.Position
	}
	for {
		x := p.next(at, limit)
		missed += x.missed
		at += x.missed
		switch {
		case ctx.Err() != nil:
			err = ctx.Err()
		case len(x.data) > 0:
			w := out
			if x.stream == stderr {
				w = errs
			}
			var n int
			if n, err = w.Write(x.data); err != nil {
				err = fmt.Errorf("write output: %w", err)
			}
			at += int64(n)
		case x.changed != nil:
			select {
			case <-x.changed:
			case <-ctx.Done():
			}
			continue
		default:
			return readUpTo(x.info, at), missed, x.lost
		}
		if err != nil {
			return readUpTo(p.info(), at), missed, err
		}
	}
}

// readUpTo is the process as somebody knows it who has read up to a position.
func readUpTo(info container.ProcessInfo, at int64) container.ProcessInfo {
	start := info.Position - info.Kept
	info.Position, info.Kept = at, max(0, at-start)
	return info
}

// part is what comes next for somebody who reads.
type part struct {
	missed  int64 // bytes before data
	stream  int
	data    []byte
	changed <-chan struct{} // without data: when there may be more; nil: that was all

	// Where that was all:
	info container.ProcessInfo
	lost error
}

// next gives what follows a position, up to limit while the process runs: who reads what never ends
// must come to an end, and who reads what has ended is to have it all.
func (p *process) next(at, limit int64) part {
	p.mu.Lock()
	defer p.mu.Unlock()
	to := p.out.end
	if p.ended.IsZero() {
		to = min(to, limit)
	}
	var x part
	x.missed = max(0, min(p.out.start(), to)-at)
	at += x.missed
	switch {
	case at < to:
		var data []byte
		x.stream, data = p.out.between(at, min(to, at+readChunk))
		x.data = bytes.Clone(data) // the writer may take its time
	case p.ended.IsZero() && at < limit:
		if p.changed == nil {
			p.changed = make(chan struct{})
		}
		x.changed = p.changed
	default:
		x.info, x.lost = p.infoLocked(), p.lost()
	}
	return x
}

func (p *process) info() container.ProcessInfo {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.infoLocked()
}

func (p *process) infoLocked() container.ProcessInfo {
	return container.ProcessInfo{
		ID: p.id, Cmd: slices.Clone(p.cmd), PID: p.running.PID, Started: p.started, Ended: p.ended,
		Position: p.out.end, Kept: int64(len(p.out.data)), Running: p.ended.IsZero(), ExitCode: p.code,
	}
}

// over tells whether the process has ended, and when.
func (p *process) over() (time.Time, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ended, !p.ended.IsZero()
}

// old tells whether the process is to be forgotten.
func (p *process) old(keep keepTimes) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.ended.IsZero() && time.Since(p.ended) >= keep.ended ||
		!p.waited.IsZero() && time.Since(p.waited) >= keep.waited
}
