package agented

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/octobot-run/octobot/internal/agentproto"
	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/container/provider"
)

// Exec implements [container.Runtime].
func (r *Runtime) Exec(
	ctx context.Context, sessionID string, cmd []string, opts container.ExecOptions,
) (*container.ExecResult, error) {
	begun := time.Now()
	o, err := r.begin(ctx, sessionID, cmd, opts)
	switch {
	case err != nil && ctx.Err() != nil:
		return &container.ExecResult{}, err
	case err != nil:
		return nil, err
	}
	defer func() { r.cfg.Observer.Command(o != nil, time.Since(begun)) }()
	if o == nil {
		return r.Runtime.Exec(ctx, sessionID, cmd, opts)
	}
	return provider.Collect(ctx, opts.MaxOutput, func(stdout, stderr io.Writer) (int, error) {
		return o.run(opts.Stdin, stdout, stderr)
	})
}

// ExecStream implements [container.StreamExecer].
func (r *Runtime) ExecStream(
	ctx context.Context, sessionID string, cmd []string, opts container.ExecOptions, stdout, stderr io.Writer,
) (int, error) {
	begun := time.Now()
	o, err := r.begin(ctx, sessionID, cmd, opts)
	if err != nil {
		return 0, err
	}
	defer func() { r.cfg.Observer.Command(o != nil, time.Since(begun)) }()
	if o != nil {
		return o.run(opts.Stdin, stdout, stderr)
	}
	streams, ok := container.As[container.StreamExecer](r.Runtime)
	if !ok {
		return 0, container.Errorf("exec", sessionID, container.ErrUnsupported, "")
	}
	return streams.ExecStream(ctx, sessionID, cmd, opts, stdout, stderr)
}

// begin begins a command. Neither an operation nor an error: it is the engine's to run.
func (r *Runtime) begin(
	ctx context.Context, sessionID string, cmd []string, opts container.ExecOptions,
) (*operation, error) {
	if container.ValidateSessionID(sessionID) != nil || opts.Validate(cmd) != nil {
		return nil, nil // which the engine's own refuses
	}
	rows, cols := opts.Rows, opts.Cols
	if !opts.Tty {
		rows, cols = 0, 0
	}
	o, err := r.open(ctx, "exec", place{sessionID, forCommands}, &agentproto.Exec{
		Command: agentproto.Command{
			Args: cmd, Env: opts.Env, Dir: opts.WorkingDir, User: opts.User, Rows: uint16(rows), Cols: uint16(cols),
		},
		Tty:   opts.Tty,
		Stdin: opts.Stdin != nil,
	})
	if r.fallBack(err) {
		return nil, nil
	}
	return o, err
}

// run passes input and output on until the command has ended.
func (o *operation) run(stdin io.Reader, stdout, stderr io.Writer) (int, error) {
	defer o.end()
	if stdin != nil {
		// Not waited for: its Read may block for as long as it likes, see ExecOptions.Stdin.
		go o.feed(stdin)
	}
	for {
		frame, err := o.Next()
		if err != nil {
			return 0, o.notKilled(o.fail(cutShort(err)))
		}
		var to io.Writer
		switch frame.Kind {
		case agentproto.KindStdout:
			to = stdout
		case agentproto.KindStderr:
			to = stderr
		default:
			o.over = true
			code, err := exitCode(frame)
			if err == nil {
				err = o.ctx.Err()
			}
			if err != nil {
				return 0, o.fail(err)
			}
			return code, nil
		}
		if to == nil {
			continue
		}
		if _, err := to.Write(frame.Payload); err != nil {
			o.Reset() // which kills the command
			return 0, err
		}
	}
}

// notKilled marks the error of a command that nobody is known to have killed: the agent kills it as
// soon as it reads that it is to, unless it, or what is between, stands still.
func (o *operation) notKilled(err error) error {
	switch {
	case o.ctx.Err() != nil:
		o.Reset()
		answered := make(chan struct{})
		o.r.startWork(func() {
			if o.link.Ping() {
				close(answered)
			}
		})
		select {
		case <-answered:
			return err
		case <-time.After(killNotice):
		}
	case container.ClassOf(err) != container.ErrUnavailable:
		return err
	}
	return errors.Join(err, container.ErrMayStillRun)
}

// exitCode takes the last frame of a command.
func exitCode(frame agentproto.Frame) (int, error) {
	var exit agentproto.Exit
	if err := frame.Decode(&exit); err != nil {
		return 0, err
	}
	if exit.Code < 0 || exit.Code > 255 {
		return 0, fmt.Errorf("%w: exit code %d", agentproto.ErrFrame, exit.Code)
	}
	return exit.Code, nil
}

// cutShort makes an error of the good order in which a stream ends before its answer.
func cutShort(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// feed sends a command's input. Errors are not told: a command that does not read its input is no
// failure.
func (o *operation) feed(stdin io.Reader) {
	buf := make([]byte, 32<<10)
	for {
		n, err := stdin.Read(buf)
		if n > 0 && o.SendData(agentproto.KindData, buf[:n]) != nil {
			return
		}
		if err != nil {
			_ = o.SendData(agentproto.KindEnd, nil)
			return
		}
	}
}
