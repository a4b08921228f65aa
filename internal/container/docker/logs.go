package docker

import (
	"context"
	"errors"
	"io"
	"strconv"
	"time"

	"github.com/moby/moby/client"

	"github.com/octobot-run/octobot/internal/container"
)

// Logs writes the container's log.
func (p *DockerProvider) Logs(
	ctx context.Context, sessionID string, opts container.LogOptions, stdout, stderr io.Writer,
) error {
	c, err := p.beginCall(ctx, "logs", sessionID, nil)
	if err != nil {
		return err
	}
	defer c.Done()
	c, stop := c.watched()
	defer stop()
	found, err := c.inspect() // whether it has a TTY decides how its log is framed
	if err != nil {
		return c.toError(err)
	}
	ask := client.ContainerLogsOptions{ShowStdout: true, ShowStderr: true, Timestamps: opts.Timestamps,
		Follow: opts.Follow}
	if opts.Tail >= 0 {
		ask.Tail = strconv.Itoa(opts.Tail)
	}
	if !opts.Since.IsZero() {
		ask.Since = opts.Since.Format(time.RFC3339Nano)
	}
	out, errOut := &skipper{w: orDiscard(stdout)}, &skipper{w: orDiscard(stderr)}
	read := func() error {
		log, err := p.client.ContainerLogs(c.Ctx, found.Container.ID, ask)
		if err != nil {
			return err
		}
		defer log.Close()
		return copyOutput(found.Container.Config.Tty, log, out, errOut)
	}
	err = read()
	if err == nil && opts.Follow && opts.Tail < 0 {
		// Docker 20.10 stops following when the container stops, and may leave
		// out what was written last. It is in the log, behind what has been read.
		ask.Follow = false
		out.skip, errOut.skip = out.passed, errOut.passed
		err = read()
	}
	if failure, ok := errors.AsType[*writeError](err); ok {
		return failure.err
	}
	if err == nil {
		err = c.Ctx.Err()
	}
	return c.toError(err)
}

// skipper counts what it passes on, and can leave out the start.
type skipper struct {
	w            io.Writer
	passed, skip int64
}

func (s *skipper) Write(b []byte) (int, error) {
	left := b[min(int64(len(b)), s.skip):]
	s.skip -= int64(len(b) - len(left))
	if len(left) == 0 {
		return len(b), nil
	}
	s.passed += int64(len(left))
	if _, err := s.w.Write(left); err != nil {
		return 0, err
	}
	return len(b), nil
}

func orDiscard(w io.Writer) io.Writer {
	if w == nil {
		return io.Discard
	}
	return w
}
