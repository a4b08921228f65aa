package client

import (
	"context"
	"net/http"

	v1 "github.com/octobot-run/octobot/api/v1"
)

// UpdateSession changes a session's limits, when it expires, and its labels. What the request does
// not name stays as it is.
func (c *Client) UpdateSession(
	ctx context.Context, id string, req v1.UpdateSessionRequest,
) (s v1.Session, err error) {
	err = c.call(ctx, request{method: http.MethodPatch, path: []string{"v1", "sessions", id}, body: req}, &s)
	return s, err
}
