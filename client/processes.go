package client

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strconv"

	v1 "github.com/octobot-run/octobot/api/v1"
)

func processPath(id string, more ...string) []string {
	return append([]string{"v1", "sessions", id, "processes"}, more...)
}

// StartProcess starts a command that nobody waits for.
func (c *Client) StartProcess(ctx context.Context, id string, req v1.StartProcessRequest) (v1.Process, error) {
	var p v1.Process
	err := c.call(ctx, request{method: http.MethodPost, path: processPath(id), body: req}, &p)
	return p, err
}

// ListProcesses gives what StartProcess has started in the session, in that order.
func (c *Client) ListProcesses(ctx context.Context, id string) ([]v1.Process, error) {
	var list v1.ProcessList
	err := c.call(ctx, request{method: http.MethodGet, path: processPath(id)}, &list)
	return list.Processes, err
}

// SignalProcess sends a signal, by its name or number.
func (c *Client) SignalProcess(ctx context.Context, id, process, signal string) error {
	return c.call(ctx, request{method: http.MethodPost, path: processPath(id, process, "signal"),
		body: v1.SignalRequest{Signal: signal}}, nil)
}

// WaitProcess waits for a process to end, which is forgotten a few seconds later.
func (c *Client) WaitProcess(ctx context.Context, id, process string) (v1.Process, error) {
	var p v1.Process
	err := c.call(ctx, request{method: http.MethodPost, path: processPath(id, process, "wait")}, &p)
	return p, err
}

// OutputOptions say what to read of a process's output.
type OutputOptions struct {
	Since  int64 // position of the first byte that is wanted, of both streams together
	Follow bool  // go on until it ends
}

// ProcessOutput writes what a process has written, as far as it is kept; a nil writer drops it. The
// answer says how the process is then, where a later call goes on, and what was missed.
func (c *Client) ProcessOutput(
	ctx context.Context, id, process string, opts OutputOptions, stdout, stderr io.Writer,
) (v1.ProcessOutput, error) {
	var last v1.ProcessOutput
	q := url.Values{}
	setBool(q, "follow", opts.Follow)
	if opts.Since != 0 {
		q.Set("since", strconv.FormatInt(opts.Since, 10))
	}
	r := request{method: http.MethodGet, path: processPath(id, process, "output"), query: q, accept: eventStream}
	for event, err := range c.stream(ctx, r) {
		if err != nil {
			return last, err
		}
		switch event.name {
		case v1.EventStdout:
			err = writeOutput(stdout, event.data)
		case v1.EventStderr:
			err = writeOutput(stderr, event.data)
		case v1.EventProcess:
			if err := json.Unmarshal(event.data, &last); err != nil {
				return last, c.failed(ctx, r, err)
			}
			return last, nil
		}
		if err != nil {
			return last, c.failed(ctx, r, err)
		}
	}
	return last, c.failed(ctx, r, errCut)
}
