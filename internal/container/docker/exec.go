package docker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	dockercontainer "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/container/provider"
)

const (
	// The engine keeps a command's connection open as long as anything holds its output, a
	// background child too. So while the connection is open, the engine is asked whether the
	// command has ended, after a tenth of the time it has run for; most commands are over before
	// the first time.
	firstLook = 150 * time.Millisecond
	lastLook  = 5 * time.Second
	// drainQuiet is how long the output must be silent after the command's end to be taken as
	// complete. While a child goes on writing it never is: drainMost bounds the time that is waited
	// for more, and drainBytes, above what pipe and sockets hold, how much more is taken.
	drainQuiet = 500 * time.Millisecond
	drainMost  = time.Second
	drainBytes = 4 << 20
	// stopNotice is how long a stop of the container may come after the end of a command that it
	// killed.
	stopNotice = 2 * time.Second
)

// Exec runs cmd and collects its output. It costs three calls to the engine: create, start
// and inspect.
func (p *DockerProvider) Exec(
	ctx context.Context, sessionID string, cmd []string, opts container.ExecOptions,
) (*container.ExecResult, error) {
	return provider.Collect(ctx, opts.MaxOutput, func(stdout, stderr io.Writer) (int, error) {
		return p.exec(ctx, sessionID, cmd, opts, stdout, stderr)
	})
}

// ExecStream runs cmd and passes its output on.
func (p *DockerProvider) ExecStream(
	ctx context.Context, sessionID string, cmd []string, opts container.ExecOptions, stdout, stderr io.Writer,
) (int, error) {
	return p.exec(ctx, sessionID, cmd, opts, orDiscard(stdout), orDiscard(stderr))
}

func (p *DockerProvider) exec(
	ctx context.Context, sessionID string, cmd []string, opts container.ExecOptions, stdout, stderr io.Writer,
) (int, error) {
	c, err := p.beginCall(ctx, "exec", sessionID, func() error { return opts.Validate(cmd) })
	if err != nil {
		return 0, err
	}
	defer c.Done()
	run := &process{
		call: c,
		opts: client.ExecCreateOptions{
			User: opts.User, TTY: opts.Tty, Env: opts.Env, WorkingDir: opts.WorkingDir, Cmd: cmd,
			AttachStdin: opts.Stdin != nil || opts.Tty, AttachStdout: true, AttachStderr: true,
		},
		rows: opts.Rows, cols: opts.Cols,
		noInput: opts.Stdin == nil && opts.Tty,
	}
	if !opts.Tty {
		run.rows, run.cols = 0, 0
	}
	err = run.start()
	code := 0
	if err == nil {
		stdin := opts.Stdin
		if run.noInput {
			stdin = strings.NewReader("") // a terminal's end of input has to be typed
		}
		code, err = run.wait(stdin, stdout, stderr)
	} else if run.killErr == nil && c.Ctx.Err() != nil && !isEngineAnswer(err) {
		run.killErr = errors.New("the engine did not answer whether it has started it") // and may do so yet
	}
	return code, run.toCallError(err)
}

// process is a command that runs in a container.
type process struct {
	*call
	opts       client.ExecCreateOptions
	rows, cols uint
	noInput    bool // the end of the terminal's input is still to be typed, and nothing else

	containerID string
	execID      string
	tag         string
	begun       time.Time // before it was started
	overAt      time.Time // when its output had ended
	conn        *stream
	silent      error // of an engine that did not answer while the process ran
	killed      bool
	killErr     error
}

// wait copies the process's input and output until it has ended, and gives its exit code. When
// ctx ends, or a writer fails, the process and its children are killed.
func (r *process) wait(stdin io.Reader, stdout, stderr io.Writer) (int, error) {
	defer r.conn.Close()
	if stdin != nil {
		// Not waited for: its Read may block for as long as it likes, see ExecOptions.Stdin.
		go r.feed(stdin)
	}
	out := &drain{conn: r.conn}
	ended := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() { r.watch(ended, out) })
	said := &opening{runs: r.runs}
	unread := &unread{w: stderr}
	if stdin != nil && !r.opts.TTY && r.p.podman() {
		stderr = unread
	}
	copyErr := copyOutput(r.opts.TTY, out, said.of(stdout), said.of(stderr))
	r.overAt = time.Now()
	close(ended)
	watch.Wait()

	if r.Ctx.Err() != nil {
		copyErr = r.Ctx.Err()
	} else if r.silent != nil {
		copyErr = r.silent
	} else if _, ok := errors.AsType[*writeError](copyErr); !ok && (out.left || r.resetAtEnd(copyErr)) {
		copyErr = nil // drain may cut a frame of a child that goes on writing
	}
	code, err := 0, copyErr
	if err == nil {
		code, err = r.exitCode(said)
	} else {
		r.kill()
	}
	if errors.Is(err, errNotStarted) {
		return 0, err
	}
	err = cmp.Or(err, said.pass())
	return code, cmp.Or(err, unread.err())
}

// resetAtEnd recognises an engine's end of a process that has not read all its input: with input
// left, the kernel makes a reset of the closing. On a socket of this host nothing is lost by that.
func (r *process) resetAtEnd(err error) bool {
	return r.opts.AttachStdin && r.p.engine.SharesHost() && errors.Is(err, syscall.ECONNRESET)
}

// feed is the process's stdin. Errors are not told: a process that does not read its input is no
// failure.
func (r *process) feed(stdin io.Reader) {
	if r.p.podman() && !r.opts.TTY && !r.takesInput() {
		return
	}
	last := &lastByte{r: stdin}
	if _, err := io.Copy(r.conn, last); err != nil {
		return
	}
	if r.opts.TTY {
		// A terminal's end of input is a character, and counts at the start of a line only.
		eof := []byte{4}
		if last.b != '\n' && last.b != 0 {
			eof = []byte{4, 4}
		}
		_, _ = r.conn.Write(eof)
		return
	}
	_ = r.conn.closeWrite()
}

// watch ends the copying of output: when the process has ended although the connection
// stays open, and when ctx ends, after killing it.
func (r *process) watch(ended <-chan struct{}, out *drain) {
	started := time.Now()
	look := time.NewTimer(firstLook)
	defer look.Stop()
	for {
		select {
		case <-ended:
			return
		case <-r.Ctx.Done():
			r.kill()
			r.conn.Close()
			return
		case <-look.C:
		}
		state, err := r.inspect()
		if _, silent := errors.AsType[*silentError](err); silent {
			r.silent = err
			r.kill()
			r.conn.Close()
			return
		}
		if err == nil && !state.Running {
			out.end()
			return
		}
		look.Reset(min(max(time.Since(started)/10, firstLook), lastLook))
	}
}

// exitCode gives the exit code of a process whose output has ended. A process may close its output
// and run on.
func (r *process) exitCode(said *opening) (int, error) {
	state, err := r.awaitOver()
	if err != nil {
		return 0, err
	}
	if err := r.notStarted(state, said); err != nil {
		return 0, err
	}
	if r.wasCut(state) {
		r.kill()
		return 0, r.stoppedOr(errCut())
	}
	if *state.ExitCode == 137 && r.containerStops() { // killed with the container, not by somebody
		return 0, container.Errorf("", "", container.ErrContainerStopped, "it stopped while the command ran")
	}
	return *state.ExitCode, nil
}

// awaitOver gives the last state of a process whose output has ended, with its exit code.
func (r *process) awaitOver() (execState, error) {
	var state execState
	outputs := outputs{ended: r.overAt}
	err := provider.Poll(r.Ctx, "the command to end", time.Millisecond, lastLook, func() (ended bool, err error) {
		if state, err = r.inspect(); err != nil {
			return true, r.stoppedOr(err)
		}
		if !state.Running {
			return true, nil
		}
		err = outputs.check(r)
		return err != nil, err
	})
	if err != nil && state.Running {
		r.kill()
	}
	if err == nil && (state.ExitCode == nil || *state.ExitCode < 0) {
		err = r.stoppedOr(container.Errorf("", "", container.ErrUnavailable, "the engine told no exit code"))
	}
	return state, err
}

// stoppedOr is ErrContainerStopped where the container does not run any more, else err.
func (r *process) stoppedOr(err error) error {
	if _, silent := errors.AsType[*silentError](err); silent {
		return err
	}
	if r.containerStopped() {
		return container.Errorf("", "", container.ErrContainerStopped, "it stopped while the command ran")
	}
	return err
}

// containerStopped reports whether the engine says that the container does not run any more.
func (r *process) containerStopped() (stopped bool) {
	_ = r.call.answered(func(c *call) error {
		state, err := c.inspectState(r.containerID)
		stopped = err == nil && status(state.Status) != container.StatusRunning
		return err
	})
	return stopped
}

// containerStops waits a little for the container to have stopped: the engine hears of the death of
// a container's commands before it hears of the container's own.
func (r *process) containerStops() bool {
	ctx, cancel := context.WithTimeout(r.Ctx, stopNotice)
	defer cancel()
	wait := r.p.client.ContainerWait(ctx, r.containerID, client.ContainerWaitOptions{})
	select {
	case <-wait.Result:
		return true
	case err := <-wait.Error:
		return isNoContainer(err)
	}
}

// toCallError makes err the call's: a writer's error stays as it was, and the trouble that
// killing had goes beside it.
func (r *process) toCallError(err error) error {
	if err == nil {
		return nil
	}
	told := r.toError(err)
	if failure, ok := errors.AsType[*writeError](err); ok {
		told = failure.err
	}
	if r.killErr == nil {
		return told
	}
	return errors.Join(told, fmt.Errorf("%w: %s", container.ErrMayStillRun, engineText(r.killErr)))
}

// execState is what the engine says of an exec.
type execState struct {
	Running bool
	// ExitCode is null with Docker until it is known, and 0 with Podman.
	ExitCode *int
	// Pid is on the engine's host, and 0 before it is started. With Docker it stays after the end,
	// so that it is 0 for what never was. With Podman it is 0 again then.
	Pid int
	// CanRemove is Podman's word that it is over; Docker's has another meaning.
	CanRemove bool
}

func (p *DockerProvider) inspectExec(ctx context.Context, id string) (execState, error) {
	var state execState
	_, err := p.get(ctx, p.url("/exec/"+id+"/json", nil), &state)
	return state, err
}

// create makes the exec, not yet started, in the session's container.
func (r *process) create() error {
	return r.call.answered(func(c *call) error {
		return c.withContainer(func(id string) error {
			res, err := c.p.client.ExecCreate(c.Ctx, id, r.opts)
			if err != nil {
				return c.pausedOr(id, err)
			}
			r.containerID, r.execID = id, res.ID
			return nil
		})
	})
}

// attach starts the exec and takes its connection. Where that fails, it may have been started all
// the same.
func (r *process) attach(size *[2]uint) error {
	r.begun = time.Now()
	err := r.call.answered(func(c *call) (err error) {
		r.conn, err = c.p.startExec(c.Ctx, c.SessionID, r.execID,
			dockercontainer.ExecStartRequest{Tty: r.opts.TTY, ConsoleSize: size})
		return err
	})
	if err == nil {
		return nil
	}
	if _, silent := errors.AsType[*silentError](err); silent {
		r.silent = err
	}
	if !isEngineAnswer(err) {
		r.kill()
		return err
	}
	// Of an exec whose container has ended Docker says that there is none.
	if r.containerStopped() {
		return container.Errorf("", "", container.ErrContainerStopped, "it stopped before the command could start")
	}
	return r.pausedOr(r.containerID, err)
}

// drain reads a process's output, and stops reading when the process has ended and
// what it wrote has come.
type drain struct {
	conn   *stream
	ended  atomic.Bool
	waited time.Duration // in Read, since the end
	got    int           // bytes, since the end
	left   bool          // more may have come
}

func (d *drain) end() {
	d.ended.Store(true)
	_ = d.conn.SetReadDeadline(time.Now().Add(drainQuiet)) // for a Read under way
}

// Read counts only the time that it waits itself: with a slow writer nothing is lost of what the
// process wrote.
func (d *drain) Read(b []byte) (int, error) {
	started := time.Now()
	ended := d.ended.Load()
	if ended {
		if d.waited >= drainMost || d.got >= drainBytes {
			d.left = true
			return 0, io.EOF
		}
		_ = d.conn.SetReadDeadline(started.Add(drainQuiet))
	}
	n, err := d.conn.Read(b)
	if ended {
		d.waited += time.Since(started)
		d.got += n
	}
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() && d.ended.Load() {
		d.left, err = true, io.EOF
		if n > 0 {
			err = nil
		}
	}
	return n, err
}
