package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"

	v1 "github.com/octobot-run/octobot/api/v1"
)

const eventStream = "text/event-stream"

// maxEvent bounds one server-sent event, in bytes.
const maxEvent = 4 << 20

// errCut: a stream ended without its last event. What came before is not the whole.
var errCut error = &worded{"the stream was cut", io.ErrUnexpectedEOF}

// sse is one server-sent event.
type sse struct {
	name string
	data []byte // valid until the next one
}

// stream does a request and gives the events of its answer. The stream's error event and any other
// trouble is given as an error, and is the last.
func (c *Client) stream(ctx context.Context, r request) iter.Seq2[sse, error] {
	return func(yield func(sse, error) bool) {
		resp, err := c.send(ctx, r)
		if err != nil {
			yield(sse{}, err)
			return
		}
		defer func() { _ = resp.Body.Close() }()
		for event, err := range parseEvents(resp.Body) {
			if err == nil && event.name == v1.EventError {
				err = problemOf(event.data)
				yield(sse{}, err)
				return
			}
			if err != nil {
				yield(sse{}, c.failed(ctx, r, err))
				return
			}
			if !yield(event, nil) {
				return
			}
		}
	}
}

func problemOf(data []byte) error {
	var p v1.Problem
	if err := json.Unmarshal(data, &p); err != nil {
		return fmt.Errorf("error event: %w", inWords(err))
	}
	return fromProblem(p)
}

// parseEvents reads events of text/event-stream. The end of r is [errCut]: the API's streams say
// when they end.
func parseEvents(r io.Reader) iter.Seq2[sse, error] {
	return func(yield func(sse, error) bool) {
		scanner := bufio.NewScanner(r)
		scanner.Buffer(make([]byte, 0, 64<<10), maxEvent)
		var event sse
		for scanner.Scan() {
			line := scanner.Bytes()
			if len(line) == 0 {
				if event.name != "" && !yield(event, nil) {
					return
				}
				event = sse{data: event.data[:0]}
				continue
			}
			field, value, _ := bytes.Cut(line, []byte(":"))
			value = bytes.TrimPrefix(value, []byte(" "))
			switch string(field) {
			case "event":
				event.name = string(value)
			case "data":
				event.data = append(event.data, value...)
			}
			if len(event.data) > maxEvent {
				yield(sse{}, errors.New("an event is too long"))
				return
			}
		}
		err := scanner.Err()
		if err == nil {
			err = errCut
		}
		yield(sse{}, err)
	}
}
