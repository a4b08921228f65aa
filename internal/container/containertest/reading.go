package containertest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/octobot-run/octobot/internal/container"
)

func (f *fixture) detached() container.Processes {
	f.Helper()
	p, ok := container.As[container.Processes](f.rt)
	if !ok {
		f.Fatalf("%T keeps no processes", f.rt)
	}
	return p
}

func (f *fixture) startProcess(id string, cmd ...string) container.ProcessInfo {
	f.Helper()
	return f.startWith(id, container.ProcessOptions{}, cmd...)
}

func (f *fixture) startWith(id string, opts container.ProcessOptions, cmd ...string) container.ProcessInfo {
	f.Helper()
	info, err := f.detached().StartProcess(f.ctx, id, cmd, opts)
	f.must(err)
	return info
}

func (f *fixture) startScript(id, script string) container.ProcessInfo {
	f.Helper()
	return f.startProcess(id, "sh", "-c", script)
}

func (f *fixture) listProcesses(id string) []container.ProcessInfo {
	f.Helper()
	list, err := f.detached().ListProcesses(f.ctx, id)
	f.must(err)
	return list
}

// process gives what is listed of a process, which must be there.
func (f *fixture) process(id, pid string) container.ProcessInfo {
	f.Helper()
	p := f.findProcess(id, pid)
	if p == nil {
		f.Fatalf("the process %s is not listed", pid)
	}
	return *p
}

// findProcess is process; nil where there is no such one.
func (f *fixture) findProcess(id, pid string) *container.ProcessInfo {
	f.Helper()
	list := f.listProcesses(id)
	i := slices.IndexFunc(list, func(p container.ProcessInfo) bool { return p.ID == pid })
	if i < 0 {
		return nil
	}
	return &list[i]
}

// awaitInfo waits until a process is listed as ready wants it.
func (f *fixture) awaitInfo(
	id, pid, what string, ready func(container.ProcessInfo) bool,
) (info container.ProcessInfo) {
	f.Helper()
	defer func() {
		if f.Failed() {
			f.Logf("process %s: %+v", pid, info)
		}
	}()
	f.poll(what, func() bool {
		info = f.process(id, pid)
		return ready(info)
	})
	return info
}

// awaitEnd waits for the end of a process, and not in such a way that it is forgotten soon.
func (f *fixture) awaitEnd(id, pid string) container.ProcessInfo {
	f.Helper()
	return f.awaitInfo(id, pid, "the end of a process", func(p container.ProcessInfo) bool { return !p.Running })
}

func (f *fixture) awaitPosition(id, pid string, position int) container.ProcessInfo {
	f.Helper()
	return f.awaitInfo(id, pid, fmt.Sprintf("%d bytes of output", position),
		func(p container.ProcessInfo) bool { return p.Position == int64(position) })
}

func (f *fixture) signal(id, pid string, signal int) {
	f.Helper()
	f.must(f.detached().SignalProcess(f.ctx, id, pid, signal))
}

// waitProcess waits for the end of a process, and returns its exit code.
func (f *fixture) waitProcess(id, pid string) int {
	f.Helper()
	info, err := f.detached().WaitProcess(f.ctx, id, pid)
	f.must(err)
	f.equal("ID", info.ID, pid)
	f.equal("running", info.Running, false)
	return info.ExitCode
}

// waiting waits for a process in the background.
func (f *fixture) waiting(ctx context.Context, id, pid string) <-chan error {
	f.Helper()
	p, ended := f.detached(), make(chan error, 1)
	go func() {
		_, err := p.WaitProcess(ctx, id, pid)
		ended <- err
	}()
	return ended
}

// processCalls are all that is about one process.
func (f *fixture) processCalls(id, pid string) map[string]func() error {
	p := f.detached()
	return map[string]func() error{
		"signal": func() error { return p.SignalProcess(f.ctx, id, pid, 15) },
		"kill":   func() error { return p.SignalProcess(f.ctx, id, pid, 9) },
		"wait":   func() error { _, err := p.WaitProcess(f.ctx, id, pid); return err },
		"read": func() error {
			_, _, err := p.ReadProcess(f.ctx, id, pid, container.OutputOptions{}, nil, nil)
			return err
		},
		"follow": func() error {
			_, _, err := p.ReadProcess(f.ctx, id, pid, container.OutputOptions{Follow: true}, nil, nil)
			return err
		},
	}
}

// gate is a piece of a script that waits for openGate with the same number. A shell says when a
// signal has killed a child of its: the one in there to nobody.
func gate(n int) string { return fmt.Sprintf("sh -c 'sleep %d; true' 2>/dev/null", n) }

// openGate lets the script of one process go on, which may still be on its way to the gate.
func (f *fixture) openGate(id string, n int) {
	f.Helper()
	pid := ""
	f.poll(fmt.Sprintf("a script to come to the gate %d", n), func() bool {
		pid = f.pidOf(id, fmt.Sprintf("sleep %d", n))
		return pid != ""
	})
	f.sh(id, "kill "+pid)
}

// pidOf finds the process with that command line; empty where there is none.
func (f *fixture) pidOf(id, args string) string {
	f.Helper()
	for line := range strings.Lines(f.exec(id, container.ExecOptions{}, "ps", "-o", "pid,args").Stdout) {
		if pid, rest, ok := strings.Cut(strings.TrimSpace(line), " "); ok && strings.TrimSpace(rest) == args {
			return pid
		}
	}
	return ""
}

// reading is what somebody has read of a process's output.
type reading struct {
	f    *fixture
	take func(b []byte) (int, error) // what the writers do; nil: take all
	busy atomic.Bool                 // a writer is
	done chan struct{}               // closed with the end of the reading

	mu        sync.Mutex
	data      []byte // of both streams
	tags      []byte // for each byte of it the stream, as 'o' or 'e'
	out, errs []byte // of each stream

	// Once done is closed:
	info   container.ProcessInfo
	missed int64
	err    error
}

func (f *fixture) newReading() *reading { return &reading{f: f, done: make(chan struct{})} }

// run reads, and checks that what ReadProcess says of it is consistent.
func (r *reading) run(ctx context.Context, p container.Processes, id, pid string, opts container.OutputOptions) {
	defer close(r.done)
	r.info, r.missed, r.err = p.ReadProcess(ctx, id, pid, opts, r.to(&r.out, 'o'), r.to(&r.errs, 'e'))
	if got := int64(len(r.data)); opts.Since+r.missed+got != r.info.Position {
		r.f.Errorf("since %d, with %d missed and %d got (%v), the position is %d", opts.Since, r.missed, got, r.err,
			r.info.Position)
	}
}

// to is the writer of a stream.
func (r *reading) to(stream *[]byte, tag byte) io.Writer {
	return writerFunc(func(b []byte) (n int, err error) {
		if !r.busy.CompareAndSwap(false, true) {
			r.f.Error("there is a second write at the same time")
		}
		defer r.busy.Store(false)
		n = len(b)
		if r.take != nil {
			n, err = r.take(b)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.data, *stream = append(r.data, b[:n]...), append(*stream, b[:n]...)
		r.tags = append(r.tags, bytes.Repeat([]byte{tag}, n)...)
		return n, err
	})
}

// read reads what there is since a position.
func (f *fixture) read(id, pid string, since int64) *reading {
	f.Helper()
	return f.readWith(id, pid, container.OutputOptions{Since: since})
}

// readAll reads to the end of the process.
func (f *fixture) readAll(id, pid string) *reading {
	f.Helper()
	return f.readWith(id, pid, container.OutputOptions{Follow: true})
}

func (f *fixture) readWith(id, pid string, opts container.OutputOptions) *reading {
	f.Helper()
	r := f.newReading()
	r.run(f.ctx, f.detached(), id, pid, opts)
	f.must(r.err)
	return r
}

// follow reads in the background.
func (f *fixture) follow(ctx context.Context, id, pid string, since int64) *reading {
	f.Helper()
	return f.followAs(ctx, f.newReading(), id, pid, since)
}

func (f *fixture) followAs(ctx context.Context, r *reading, id, pid string, since int64) *reading {
	f.Helper()
	p := f.detached()
	go r.run(ctx, p, id, pid, container.OutputOptions{Since: since, Follow: true})
	f.Cleanup(func() { <-r.done }) // f.ctx, or one below it, has ended
	return r
}

func (r *reading) stdout() string { return r.text(&r.out) }
func (r *reading) stderr() string { return r.text(&r.errs) }

func (r *reading) text(stream *[]byte) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return string(*stream)
}

// both are the bytes of both streams, and whose each of them is.
func (r *reading) both() (data, tags string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return string(r.data), string(r.tags)
}

// await waits until stdout is want.
func (r *reading) await(want string) {
	r.f.Helper()
	r.f.poll(fmt.Sprintf("the reader to get %s", show(want)), func() bool {
		select {
		case <-r.done:
			if r.stdout() != want {
				r.f.Fatalf("the reading ended (%v) with %s; want %s", r.err, show(r.stdout()), show(want))
			}
		default:
		}
		return r.stdout() == want
	})
}

// awaitEnd waits until the process that is followed has ended.
func (r *reading) awaitEnd() {
	r.f.Helper()
	select {
	case <-r.done:
	case <-r.f.ctx.Done():
		r.f.Fatalf("no end after %s", show(tailOf(r.stdout())))
	}
	r.f.must(r.err)
	r.f.equal("running", r.info.Running, false)
}

// lines is what "seq first last" writes.
func lines(first, last int) string { return strings.ReplaceAll(numbers(first, last), "\r\n", "\n") }
