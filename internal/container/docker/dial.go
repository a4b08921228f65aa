package docker

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"

	"github.com/moby/moby/client"

	"github.com/octobot-run/octobot/internal/container"
)

// maxComplaint is how much of a dialled program's standard error is kept.
const maxComplaint = 1 << 10

// Dial runs a program and connects its input and output; see [container.Dialer].
func (p *DockerProvider) Dial(
	ctx context.Context, sessionID, user string, cmd []string,
) (container.Conn, error) {
	c, err := p.beginCall(ctx, "dial", sessionID,
		func() error { return container.ExecOptions{User: user}.Validate(cmd) })
	if err != nil {
		return nil, err
	}
	defer c.Done()
	run := &process{call: c, opts: client.ExecCreateOptions{
		User: user, Cmd: cmd, AttachStdin: true, AttachStdout: true, AttachStderr: true,
	}}
	run.addTag()
	if err := run.create(); err != nil {
		return nil, c.toError(err)
	}
	if err := run.attach(nil); err != nil {
		return nil, c.toError(err)
	}
	conn := &dialled{stream: run.conn}
	// What it is for may be silent for hours, and so may a frozen engine.
	heard := p.onSilence(func() {
		conn.silent.Store(true)
		_ = run.conn.Close()
	})
	conn.forget = func() {
		heard()
		p.calls.Forget(conn)
	}
	if !p.calls.Keep(conn) {
		_ = conn.Close() // what matters is that the provider is closed
		return nil, c.toError(container.ErrClosed)
	}
	return conn, nil
}

// dialled is a connection to a program: what it writes comes in the engine's frames.
type dialled struct {
	*stream
	forget func()
	close  sync.Once
	silent atomic.Bool // the engine does not answer

	left   int // bytes of the frame of standard output that is being read
	mu     sync.Mutex
	errors []byte // the end of what it said on standard error; guarded by mu
}

// Read reads the program's standard output. One goroutine reads.
func (d *dialled) Read(b []byte) (int, error) {
	n, err := d.read(b)
	if err != nil && d.silent.Load() {
		err = errors.New(errSilent.Detail)
	}
	return n, err
}

func (d *dialled) read(b []byte) (int, error) {
	for d.left == 0 {
		var header [8]byte
		if _, err := io.ReadFull(d.r, header[:]); err != nil {
			if errors.Is(err, io.ErrUnexpectedEOF) {
				err = io.EOF // cut within a header: the rest will not come
			}
			return 0, err
		}
		size := binary.BigEndian.Uint32(header[4:])
		switch header[0] {
		case 0, 1:
			d.left = int(size)
		case 2:
			if err := d.complain(int64(size)); err != nil {
				return 0, err
			}
		default:
			return 0, fmt.Errorf("the engine sent a frame of unknown stream %d", header[0])
		}
	}
	n, err := d.r.Read(b[:min(len(b), d.left)])
	d.left -= n
	return n, err
}

// complain reads a frame of standard error.
func (d *dialled) complain(size int64) error {
	head := make([]byte, min(size, maxComplaint))
	if _, err := io.ReadFull(d.r, head); err != nil {
		return err
	}
	d.mu.Lock()
	d.errors = append(d.errors, head...)
	d.errors = d.errors[max(0, len(d.errors)-maxComplaint):]
	d.mu.Unlock()
	_, err := io.CopyN(io.Discard, d.r, size-int64(len(head)))
	return err
}

// Stderr returns the end of what the program said on standard error so far.
func (d *dialled) Stderr() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return string(d.errors)
}

// Close hangs up: the program's input ends.
func (d *dialled) Close() error {
	var err error
	d.close.Do(func() {
		_ = d.closeWrite() // Podman tells the program of an end only so
		err = d.Conn.Close()
		if d.forget != nil {
			d.forget()
		}
	})
	return err
}

var _ net.Conn = (*dialled)(nil)
