package docker

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/moby/moby/client"

	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/container/provider"
)

//go:embed tty.sh
var ttyScript string

// start starts the process. A terminal whose size is given has it before the command's first
// instruction.
func (r *process) start() error {
	r.addTag()
	sized := r.rows != 0 && r.cols != 0
	// Podman writes an error of its own into the output where it gets input, the typed end of
	// the input too, for a command that has ended.
	if sized && !r.p.known.Load().consoleSize || r.noInput && r.p.podman() {
		return r.startOnTerminal(r.opts.Cmd)
	}
	if err := r.create(); err != nil {
		return err
	}
	if sized {
		return r.attach(&[2]uint{r.rows, r.cols})
	}
	return r.attach(nil)
}

// addTag gives the process the tag by which it is found again.
func (r *process) addTag() {
	r.tag = rand.Text()
	r.opts.Env = append(slices.Clip(r.opts.Env), tagName+"="+r.tag)
}

// startOnTerminal starts cmd, or the user's shell where it is empty, through tty.sh, so that its
// terminal has its size and it is known to have been found. An image without a shell gets cmd as it
// is: it may see the engine's default size for a moment.
func (r *process) startOnTerminal(cmd []string) error {
	marker := "\x1e" + rand.Text() + "\x1e"
	r.opts.Cmd = append([]string{"/bin/sh", "-c", ttyScript, "sh", marker}, cmd...)
	if err := r.create(); err != nil {
		return err
	}
	if err := r.attach(nil); err != nil {
		return err
	}
	var said []byte
	err := r.call.answered(func(c *call) (err error) {
		said, err = r.handshake(c.Ctx, []byte(marker))
		return err
	})
	if err == nil {
		return nil
	}
	r.conn.Close()
	if r.Ctx.Err() != nil || !errors.Is(err, io.EOF) {
		r.kill()
		return err
	}
	return r.startAnyway(cmd, said)
}

// startAnyway judges a tty.sh that has ended before its marker: it has not found the command, or
// was not started itself.
func (r *process) startAnyway(cmd []string, said []byte) error {
	r.overAt = time.Now()
	state, err := r.awaitOver()
	if err != nil {
		return err
	}
	opening := &opening{words: said, held: true}
	err = r.notStarted(state, opening)
	switch {
	case len(cmd) == 0:
		return cmp.Or(err, r.stoppedOr(container.Errorf("", "", container.ErrExecFailed, "the image has no shell")))
	case err == nil:
		reason := cmp.Or(opening.reason(), cmd[0]+": no such command")
		return r.stoppedOr(container.Errorf("", "", container.ErrExecFailed, "%s", reason))
	case !errors.Is(err, container.ErrExecFailed):
		return err
	}
	r.opts.Cmd = cmd
	return r.startBare()
}

// handshake lets tty.sh go on when the size is set, and reads up to its marker. io.EOF, with
// what was said until then, means that it did not come to that.
func (r *process) handshake(ctx context.Context, marker []byte) ([]byte, error) {
	stop := context.AfterFunc(ctx, func() { r.conn.Close() })
	defer stop()
	typed := "\n"
	if r.rows != 0 && r.cols != 0 {
		if err := r.resize(ctx); err != nil {
			return nil, err
		}
		if r.p.podman() { // which answers before the size is in force
			typed = fmt.Sprintf("rows %d cols %d\n", r.rows, r.cols)
		}
	}
	if r.noInput {
		typed += "\x04"
	}
	if _, err := io.WriteString(r.conn, typed); err != nil {
		return nil, err
	}
	var said []byte
	for len(said) < 64<<10 {
		b, err := r.conn.r.ReadByte()
		if err != nil {
			return said, err
		}
		if said = append(said, b); bytes.HasSuffix(said, marker) {
			r.noInput = false
			return nil, nil
		}
	}
	return nil, bufio.ErrBufferFull
}

// startBare starts the command itself.
func (r *process) startBare() error {
	if err := r.create(); err != nil {
		return err
	}
	if err := r.attach(nil); err != nil {
		return err
	}
	var state execState
	err := provider.Poll(r.Ctx, "the command to start", time.Millisecond, time.Second, func() (_ bool, err error) {
		state, err = r.inspect()
		return err != nil || state.Running && state.Pid != 0 || state.over(r.p.podman()), err
	})
	if err == nil && state.over(r.p.podman()) {
		r.overAt = time.Now()
		if err = r.notStarted(state, &opening{words: r.peek(), held: true}); err != nil {
			r.conn.Close()
		}
		return err
	}
	if err == nil && r.rows != 0 && r.cols != 0 {
		err = r.call.answered(func(c *call) error { return r.resize(c.Ctx) })
	}
	if err != nil {
		r.conn.Close()
		if _, silent := errors.AsType[*silentError](err); silent {
			r.silent = err
		}
		r.kill()
	}
	return err
}

// peek gives the beginning of what a command has said that is over, and leaves it to be read. It
// may still be on its way.
func (r *process) peek() []byte {
	_ = r.conn.SetReadDeadline(time.Now().Add(drainQuiet))
	said, _ := r.conn.r.Peek(maxReason)
	_ = r.conn.SetReadDeadline(time.Time{})
	return slices.Clone(said)
}

// resize sets the terminal's size. Engines refuse it for the moment between their
// answer to the start and the process.
func (r *process) resize(ctx context.Context) error {
	started := time.Now()
	try := func() (done bool, err error) {
		_, err = r.p.client.ExecResize(ctx, r.execID, client.ExecResizeOptions{Height: r.rows, Width: r.cols})
		if err == nil || !isEngineAnswer(err) {
			return true, err
		}
		state, inspectErr := r.p.inspectExec(ctx, r.execID)
		switch {
		case inspectErr != nil:
			return true, inspectErr
		case !state.Running && state.ExitCode != nil && *state.ExitCode != 0:
			return true, nil // it has ended, which its reader finds out
		case state.Running && time.Since(started) > 100*time.Millisecond:
			return true, err
		}
		return false, nil
	}
	return provider.Poll(ctx, "the terminal to take its size", time.Millisecond, 100*time.Millisecond, try)
}
