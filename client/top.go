package client

import (
	"context"
	"net/http"

	v1 "github.com/octobot-run/octobot/api/v1"
)

// Top lists all processes of a running session, whoever started them.
func (c *Client) Top(ctx context.Context, id string) (top v1.Top, err error) {
	err = c.call(ctx, request{method: http.MethodGet, path: []string{"v1", "sessions", id, "top"}}, &top)
	return top, err
}
