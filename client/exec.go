package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/coder/websocket"

	v1 "github.com/octobot-run/octobot/api/v1"
)

// ExecResult is how a command ended, and what it wrote.
type ExecResult struct {
	ExitCode  int
	Stdout    []byte
	Stderr    []byte
	Truncated bool // a stream was longer than the server keeps, and was cut
}

// Exec runs a command and waits for it. An exit code other than 0 is no error. When ctx
// ends, the command and its children are killed.
func (c *Client) Exec(ctx context.Context, id string, req v1.ExecRequest) (ExecResult, error) {
	r := request{method: http.MethodPost, path: []string{"v1", "sessions", id, "exec"}, body: req}
	var resp v1.ExecResponse
	if err := c.call(ctx, r, &resp); err != nil {
		return ExecResult{}, err
	}
	stdout, stderr, err := resp.Output()
	if err != nil {
		return ExecResult{}, c.failed(ctx, r, err)
	}
	return ExecResult{ExitCode: resp.ExitCode, Stdout: stdout, Stderr: stderr, Truncated: resp.Truncated}, nil
}

// Streams are a command's. Nil: no input, output is dropped.
type Streams struct {
	// Stdin is read until its EOF, or until the command has ended. A Read that blocks
	// then is abandoned: its goroutine ends when that Read returns.
	Stdin io.Reader
	// Stdout and Stderr are written from the calling goroutine. A slow one slows the command;
	// an error of one kills it, and comes back.
	Stdout, Stderr io.Writer
}

// ExecStream runs a command with its streams connected, any bytes and any number of
// them, and returns its exit code. The request's own stdin must be empty. When ctx
// ends, the command and its children are killed.
func (c *Client) ExecStream(ctx context.Context, id string, req v1.ExecRequest, streams Streams) (int, error) {
	r := request{method: http.MethodGet, path: []string{"v1", "sessions", id, "exec"}}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	conn, err := c.dial(ctx, r)
	if err != nil {
		return 0, err
	}
	defer func() { _ = conn.CloseNow() }()

	if err := writeControl(ctx, conn, v1.Control{Start: &req}); err != nil {
		return 0, c.failed(ctx, r, err)
	}
	go func() {
		if err := sendStdin(ctx, conn, streams.Stdin); err != nil {
			cancel(err)
		}
	}()
	code, err := receiveOutput(ctx, conn, streams)
	if err != nil {
		if _, ok := errors.AsType[*Error](err); ok {
			return 0, err
		}
		return 0, c.failed(ctx, r, err)
	}
	_ = conn.Close(websocket.StatusNormalClosure, "")
	return code, nil
}

// chunk is how much is read of a stream at a time.
const chunk = 32 << 10

// sendStdin returns an error only where reading stdin failed: what is wrong with
// the connection, receiving finds out too.
func sendStdin(ctx context.Context, conn *websocket.Conn, stdin io.Reader) error {
	if stdin == nil {
		stdin = http.NoBody
	}
	frame := make([]byte, 1+chunk)
	frame[0] = v1.ChannelStdin
	for {
		n, err := stdin.Read(frame[1:])
		if n > 0 && conn.Write(ctx, websocket.MessageBinary, frame[:1+n]) != nil {
			return nil
		}
		if errors.Is(err, io.EOF) {
			_ = writeControl(ctx, conn, v1.Control{EOF: true})
			return nil
		}
		if err != nil {
			return &worded{"stdin can't be read: " + err.Error(), err}
		}
	}
}

func receiveOutput(ctx context.Context, conn *websocket.Conn, streams Streams) (int, error) {
	buf := make([]byte, chunk)
	for {
		kind, frame, err := conn.Reader(ctx)
		if err != nil {
			return 0, connectionCut(err)
		}
		if kind == websocket.MessageText {
			control, err := readControl(frame)
			if err != nil {
				return 0, err
			}
			if control.Exit != nil {
				return control.Exit.Code, nil
			}
			continue
		}
		if _, err := io.ReadFull(frame, buf[:1]); err != nil {
			return 0, connectionCut(err)
		}
		var w io.Writer
		switch buf[0] {
		case v1.ChannelStdout:
			w = streams.Stdout
		case v1.ChannelStderr:
			w = streams.Stderr
		}
		if w == nil {
			w = io.Discard
		}
		// Only Write is used, so that the buffer bounds what a writer is given.
		if _, err := io.CopyBuffer(struct{ io.Writer }{w}, frameReader{frame}, buf); err != nil {
			return 0, fmt.Errorf("output: %w", err)
		}
	}
}

// frameReader tells the connection's errors from those of who is written to.
type frameReader struct{ frame io.Reader }

func (f frameReader) Read(p []byte) (int, error) {
	n, err := f.frame.Read(p)
	if err != nil && err != io.EOF { // itself: others are of what is beneath
		err = connectionCut(err)
	}
	return n, err
}

// LogOptions select from a session's log. The zero value is all there is.
type LogOptions struct {
	Follow     bool      // go on until the main process ends
	Tail       *int      // only the last n lines; nil: all
	Since      time.Time // only what was written since; zero: all
	Timestamps bool      // an RFC 3339 time and a space before every line
}

// Logs writes what the session's main process has written, and returns at its end; with Follow,
// when the process ends. The writers are called from the calling goroutine.
func (c *Client) Logs(ctx context.Context, id string, opts LogOptions, stdout, stderr io.Writer) error {
	q := url.Values{}
	setBool(q, "follow", opts.Follow)
	setBool(q, "timestamps", opts.Timestamps)
	if opts.Tail != nil {
		q.Set("tail", strconv.Itoa(*opts.Tail))
	}
	if !opts.Since.IsZero() {
		q.Set("since", opts.Since.UTC().Format(time.RFC3339Nano))
	}
	r := request{method: http.MethodGet, path: []string{"v1", "sessions", id, "logs"}, query: q, accept: eventStream}
	for event, err := range c.stream(ctx, r) {
		if err != nil {
			return err
		}
		switch event.name {
		case v1.EventStdout:
			err = writeOutput(stdout, event.data)
		case v1.EventStderr:
			err = writeOutput(stderr, event.data)
		case v1.EventEnd:
			return nil
		}
		if err != nil {
			return c.failed(ctx, r, err)
		}
	}
	return c.failed(ctx, r, errCut)
}
