package httpapi

import (
	"errors"
	"io"
	"net/http"
	"time"

	v1 "github.com/octobot-run/octobot/api/v1"
	"github.com/octobot-run/octobot/internal/front"
	"github.com/octobot-run/octobot/internal/problem"
)

// execSocket runs a command whose streams are a WebSocket's frames; see v1.Control.
func (a *API) execSocket(w *front.ResponseWriter, r *http.Request, in *sessionPath) error {
	if err := checkUpgrade(r); err != nil {
		return err
	}
	if err := a.service.Check(r.Context(), front.PrincipalOf(r.Context()), in.ID); err != nil {
		return err
	}
	s, err := a.accept(w, r)
	if err != nil {
		return nil // it was answered
	}
	code, err := a.runOn(s, in.ID)
	if err != nil {
		s.closeWith(v1.Control{Error: &a.problemOf(s.ctx, err).Problem})
		return nil
	}
	s.closeWith(v1.Control{Exit: &v1.ExitStatus{Code: code}})
	return nil
}

// runOn runs the command that the client asks for, and returns when it has ended and
// nothing writes to the client any more.
func (a *API) runOn(s *socket, id string) (int, error) {
	stdin, input := io.Pipe()
	defer func() { _ = stdin.Close() }() // releases the reader, which drops what still comes
	starts := make(chan v1.ExecRequest, 1)
	started := false
	s.read(func(frame io.Reader) error {
		if !started {
			return errNoStart
		}
		defer s.watchUntaken()()
		return receiveStdin(frame, input)
	}, func(c v1.Control) error {
		switch {
		case !started && c.Start != nil:
			started = true
			starts <- *c.Start
			return nil
		case !started:
			return errNoStart
		case !c.EOF:
			return problem.New(v1.CodeInvalidArgument, "control frame: only eof may follow start")
		}
		return input.Close()
	})

	var req v1.ExecRequest
	select {
	case req = <-starts:
	case <-s.ctx.Done():
		return 0, problem.CauseOf(s.ctx, errGone)
	case <-time.After(a.timing.start):
		return 0, problem.New(v1.CodeRequestTimeout, "the start frame did not arrive within %s", a.timing.start)
	}
	if req.Stdin != "" {
		return 0, problem.New(v1.CodeInvalidArgument, "start: stdin: is sent in binary frames")
	}
	opts, err := execOptions(req)
	if err != nil {
		return 0, err
	}
	opts.Stdin = stdin
	ctx, cancel, err := a.execTime(s.ctx, req)
	if err != nil {
		return 0, err
	}
	defer cancel()
	code, err := a.service.ExecStream(ctx, front.PrincipalOf(ctx), id, req.Cmd, opts,
		&channelWriter{s: s, channel: v1.ChannelStdout}, &channelWriter{s: s, channel: v1.ChannelStderr})
	return code, execError(ctx, id, err)
}

var errNoStart = problem.New(v1.CodeInvalidArgument, "the first frame is not {\"start\": …}")

// receiveStdin passes a binary frame on to the command. What it does not want, or can't take
// any more because it has ended, is dropped.
func receiveStdin(frame io.Reader, input *io.PipeWriter) error {
	var channel [1]byte
	if _, err := io.ReadFull(frame, channel[:]); err != nil {
		return problem.New(v1.CodeInvalidArgument, "a binary frame without a channel")
	}
	if channel[0] != v1.ChannelStdin {
		return problem.New(v1.CodeInvalidArgument, "channel %d is not the client's to write", channel[0])
	}
	_, err := io.Copy(input, frame)
	if errors.Is(err, io.ErrClosedPipe) {
		_, err = io.Copy(io.Discard, frame)
	}
	return err
}

// channelWriter sends what is written to it in binary frames. A write waits for a slow client.
type channelWriter struct {
	s       *socket
	channel byte
	frame   []byte
}

func (c *channelWriter) Write(b []byte) (int, error) {
	const most = v1.MaxFrame - 1
	n := 0
	for n < len(b) {
		part := b[n:min(n+most, len(b))]
		c.frame = append(append(c.frame[:0], c.channel), part...)
		if err := c.s.write(c.s.life, c.frame); err != nil {
			return n, err
		}
		n += len(part)
	}
	return n, nil
}
