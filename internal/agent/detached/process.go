package detached

import (
	"cmp"
	"context"
	"errors"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/octobot-run/octobot/internal/agent/process"
	"github.com/octobot-run/octobot/internal/agentproto"
)

// outputChunk is how much is read of a stream at once.
const outputChunk = 32 << 10

// detached is a command that nobody waits for.
type detached struct {
	id      string
	args    []string
	started time.Time
	process *process.Process
	out     *output
	done    chan struct{} // closed when it has ended, and all that it wrote was read
	endedAt time.Time     // after done

	readers sync.WaitGroup // that still use out

	forget   *time.Timer // of its Processes, which guard it
	forgetAt time.Time
}

// start starts the command.
func start(ctx context.Context, m *process.Manager, s *agentproto.StartProcess) (*detached, error) {
	if err := checkKeep(s.Keep); err != nil {
		return nil, agentproto.Errorf(agentproto.InvalidArgument, "%v", err)
	}
	spec, err := m.Resolve(s.Command, false)
	if err != nil {
		return nil, err
	}
	d := &detached{id: process.NewID(), args: process.Shorten(spec.Args), started: time.Now(),
		done: make(chan struct{})}
	if d.out, err = newOutput(s.Keep); err != nil {
		return nil, err
	}
	stdout, theirStdout, err := process.Pipe(true)
	if err != nil {
		d.out.close()
		return nil, err
	}
	defer theirStdout.Close()
	stderr, theirStderr, err := process.Pipe(true)
	if err != nil {
		_ = stdout.Close()
		d.out.close()
		return nil, err
	}
	defer theirStderr.Close()
	spec.Stdout, spec.Stderr = theirStdout, theirStderr
	if d.process, err = m.Start(ctx, spec); err != nil {
		_ = stdout.Close()
		_ = stderr.Close()
		d.out.close()
		return nil, err
	}
	go d.attend(stdout, stderr)
	return d, nil
}

// attend keeps what the command writes, until it has ended. What it has left in the background may
// go on, and is not heard any more.
func (d *detached) attend(stdout, stderr *os.File) {
	var streams sync.WaitGroup
	streams.Go(func() { d.keep(agentproto.KindStdout, stdout) })
	streams.Go(func() { d.keep(agentproto.KindStderr, stderr) })
	<-d.process.Done()
	_ = stdout.SetReadDeadline(time.Unix(1, 0))
	_ = stderr.SetReadDeadline(time.Unix(1, 0))
	streams.Wait()
	d.endedAt = time.Now()
	close(d.done)
	d.out.end()
}

// keep reads a stream until its end, or the command's and what it had written by then.
func (d *detached) keep(kind agentproto.Kind, f *os.File) {
	defer f.Close()
	buf := make([]byte, outputChunk)
	for {
		n, err := f.Read(buf)
		d.out.write(kind, buf[:n])
		if errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
		if err != nil {
			return
		}
	}
	raw, err := f.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		left, _ := unix.IoctlGetInt(int(fd), unix.TIOCINQ)
		for left > 0 {
			n, err := syscall.Read(int(fd), buf[:min(left, len(buf))])
			if errors.Is(err, syscall.EINTR) {
				continue
			}
			if err != nil || n <= 0 {
				return
			}
			d.out.write(kind, buf[:n])
			left -= n
		}
	})
}

func (d *detached) hasEnded() bool {
	select {
	case <-d.done:
		return true
	default:
		return false
	}
}

func (d *detached) info() *agentproto.ProcessInfo {
	i := &agentproto.ProcessInfo{ID: d.id, Args: d.args, PID: d.process.Pid(), Started: d.started.UnixNano()}
	if d.hasEnded() {
		i.Ended, i.ExitCode = d.endedAt.UnixNano(), d.process.Code()
	}
	i.Position, i.Kept = d.out.position()
	return i
}

// read sends what was asked for. cut ends when nobody takes it any more.
func (d *detached) read(cut context.Context, s *agentproto.Stream, r *agentproto.ReadProcess) error {
	if err := d.out.check(r.Since); err != nil {
		return err
	}
	defer context.AfterFunc(cut, d.out.wake)()
	to, _ := d.out.position()
	if r.Follow {
		to = 1<<63 - 1
	}
	buf := make([]byte, outputChunk)
	pos := r.Since
	for {
		at, kind, n := d.out.next(cut, buf, pos, to)
		if at > pos {
			if err := s.Send(&agentproto.Missed{Bytes: at - pos}); err != nil {
				return nil // it is gone
			}
		}
		if pos = at; n == 0 {
			break
		}
		if err := s.SendData(kind, buf[:n]); err != nil {
			return nil
		}
		pos += int64(n)
	}
	info := d.info()
	info.Position = pos
	return s.Send(info)
}

// byStart compares by when they were started.
func byStart(a, b *detached) int {
	return cmp.Or(a.started.Compare(b.started), cmp.Compare(a.id, b.id))
}
