package keeper

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/octobot-run/octobot/internal/agent"
	"github.com/octobot-run/octobot/internal/agent/process"
	"github.com/octobot-run/octobot/internal/agentproto"
)

const (
	// meetTimeout bounds the way to a keeper, with its start.
	meetTimeout = 10 * time.Second
	// lastPause is the longest pause between two attempts: another keeper may be about to end, or
	// to listen.
	firstPause, lastPause = time.Millisecond, 50 * time.Millisecond
	maxWords              = 4 << 10
)

// errImpostor: another user's process answers. A keeper that is started takes the place from it.
var errImpostor = errors.New("what answers is no keeper")

// Door is an agent's way to the keeper, which is started where there is none.
type Door struct {
	dir   string
	start func(ctx context.Context) error

	starting sync.Mutex
}

// NewDoor makes the way to the keeper that has this directory. start starts one and returns when
// it listens, or another one is there.
func NewDoor(dir string, start func(ctx context.Context) error) *Door {
	return &Door{dir: dir, start: start}
}

// Start gives a way to start keepers: as processes of m's, with this program, arguments and
// environment, in which [Ready] is called.
func Start(m *process.Manager, program string, args, env []string) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		r, w, err := os.Pipe()
		if err != nil {
			return err
		}
		defer r.Close()
		err = m.StartDaemon(program, args, env, w)
		_ = w.Close()
		if err != nil {
			return err
		}
		defer context.AfterFunc(ctx, func() { _ = r.SetReadDeadline(time.Unix(1, 0)) })()
		said, err := io.ReadAll(io.LimitReader(r, maxWords))
		if err == nil && len(said) > 0 {
			err = errors.New(string(said))
		}
		return err
	}
}

// Ready says that a keeper listens: what it is told of is its standard output, and nothing was
// written there.
func Ready() error {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	for fd := range 3 {
		if err := syscall.Dup3(int(null.Fd()), fd, 0); err != nil {
			return os.NewSyscallError("dup", err)
		}
	}
	return nil
}

// Register has the keeper serve requests of these kinds. Where there is none, those that have an
// answer get that, and the others start one.
func (d *Door) Register(reg agent.Registry, absent map[agentproto.Kind]agentproto.Message) {
	for kind, answer := range absent {
		reg.Handle(kind, func(ctx context.Context, s *agentproto.Stream, request []byte) error {
			conn, err := d.meet(ctx, answer == nil)
			if err != nil {
				return agentproto.Errorf(agentproto.Internal, "what outlives the agent can't be reached: %v", err)
			}
			if conn == nil {
				return s.Send(answer)
			}
			return s.Relay(agentproto.Frame{Kind: kind, Payload: request}, conn)
		})
	}
}

// meet connects to the keeper; nil where there is none and none is to be started.
func (d *Door) meet(ctx context.Context, start bool) (*net.UnixConn, error) {
	ctx, cancel := context.WithTimeout(ctx, meetTimeout)
	defer cancel()
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		conn, err := d.dial(ctx)
		if err == nil {
			return conn, nil
		}
		absent := errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) || err == errImpostor
		if absent && !start {
			return nil, nil
		}
		if absent {
			if err := d.startOne(ctx); err != nil {
				return nil, err
			}
			if conn, err = d.dial(ctx); err == nil {
				return conn, nil
			}
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, err
		}
	}
}

// startOne starts a keeper, unless somebody else has while it waited for that.
func (d *Door) startOne(ctx context.Context) error {
	d.starting.Lock()
	defer d.starting.Unlock()
	if conn, err := d.dial(ctx); err == nil {
		return conn.Close()
	}
	if err := d.start(ctx); err != nil {
		return fmt.Errorf("it can't be started: %w", err)
	}
	return nil
}

// dial connects to the keeper that is there, which takes a request then.
func (d *Door) dial(ctx context.Context) (*net.UnixConn, error) {
	var dialer net.Dialer
	conn, err := dialer.DialUnix(ctx, "unix", nil, &net.UnixAddr{Net: "unix", Name: filepath.Join(d.dir, socketName)})
	if err != nil {
		return nil, err
	}
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetReadDeadline(deadline)
	}
	var first [1]byte
	_, err = io.ReadFull(conn, first[:])
	if err == nil && (first[0] != here || !isOurs(conn)) {
		err = errImpostor
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	_ = conn.SetReadDeadline(time.Time{})
	return conn, nil
}
