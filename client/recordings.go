package client

import (
	"context"
	"io"
	"net/http"

	v1 "github.com/octobot-run/octobot/api/v1"
)

// ListRecordings gives what was recorded of the session's terminals, the oldest first.
func (c *Client) ListRecordings(ctx context.Context, id string) ([]v1.Recording, error) {
	var list v1.RecordingList
	err := c.call(ctx, request{method: http.MethodGet, path: []string{"v1", "sessions", id, "recordings"}}, &list)
	return list.Recordings, err
}

// ReadRecording opens the recording of a terminal, an asciicast of version 2; the caller closes it.
// One that has not ended is given as far as it got. ctx bounds the reading as well.
//
// It holds what programs in the session have written, which is not to be trusted: a terminal that
// is shown it may be made to answer.
func (c *Client) ReadRecording(ctx context.Context, id, terminalID string) (io.ReadCloser, error) {
	r := request{method: http.MethodGet, path: []string{"v1", "sessions", id, "recordings", terminalID},
		accept: v1.RecordingType}
	body, _, err := c.content(ctx, r)
	return body, err
}
