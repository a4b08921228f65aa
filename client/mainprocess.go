package client

import (
	"context"
	"net/http"
	"net/url"
	"time"

	v1 "github.com/octobot-run/octobot/api/v1"
)

// RestartSession stops a session as StopSession does and starts it again, with no other change in
// between. One that does not run is started.
func (c *Client) RestartSession(ctx context.Context, id string, timeout time.Duration) (s v1.Session, err error) {
	q := url.Values{}
	if timeout >= 0 {
		q.Set("timeout", timeout.String())
	}
	err = c.call(ctx, request{method: http.MethodPost, path: []string{"v1", "sessions", id, "restart"}, query: q}, &s)
	return s, err
}

// SignalSession sends a running session's main process a signal, by its name or number.
func (c *Client) SignalSession(ctx context.Context, id, signal string) error {
	return c.call(ctx, request{method: http.MethodPost, path: []string{"v1", "sessions", id, "signal"},
		body: v1.SignalSessionRequest{Signal: signal}}, nil)
}

// WaitSession waits for a session's main process to end, and tells how it did; of a session that is
// stopped, how it last did.
func (c *Client) WaitSession(ctx context.Context, id string) (exit v1.Exit, err error) {
	err = c.call(ctx, request{method: http.MethodPost, path: []string{"v1", "sessions", id, "wait"}}, &exit)
	return exit, err
}
