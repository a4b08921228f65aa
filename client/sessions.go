package client

import (
	"context"
	"encoding/json"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"time"

	v1 "github.com/octobot-run/octobot/api/v1"
)

// CreateSession creates a session, and starts it unless the request says otherwise. While its image
// is being pulled, progress is told how that goes, unless it is nil: from the calling goroutine. A
// ctx that ends undoes the creation.
func (c *Client) CreateSession(
	ctx context.Context, req v1.CreateSessionRequest, progress func(v1.Progress),
) (v1.Session, error) {
	r := request{method: http.MethodPost, path: []string{"v1", "sessions"}, body: req}
	var s v1.Session
	if progress == nil {
		return s, c.call(ctx, r, &s)
	}
	r.accept = eventStream
	for event, err := range c.stream(ctx, r) {
		if err != nil {
			return v1.Session{}, err
		}
		switch event.name {
		case v1.EventProgress:
			var p v1.Progress
			if err := json.Unmarshal(event.data, &p); err != nil {
				return v1.Session{}, c.failed(ctx, r, err)
			}
			progress(p)
		case v1.EventSession:
			if err := json.Unmarshal(event.data, &s); err != nil {
				return v1.Session{}, c.failed(ctx, r, err)
			}
			return s, nil
		}
	}
	return v1.Session{}, c.failed(ctx, r, errCut)
}

// GetSession returns a session, closed ones among them while they are remembered.
func (c *Client) GetSession(ctx context.Context, id string) (s v1.Session, err error) {
	err = c.call(ctx, request{method: http.MethodGet, path: []string{"v1", "sessions", id}}, &s)
	return s, err
}

// ListOptions select sessions. The zero value is all that are not closed.
type ListOptions struct {
	Project  string
	Statuses []v1.Status // none: any
	Labels   []string    // "name=value", or "name" for any value; those with all of them
	Closed   bool        // closed ones as well
	Limit    int         // of one page; 0: the server's default
	After    string      // v1.SessionList.Next of the page before
}

// ListSessions returns one page of sessions, newest first.
func (c *Client) ListSessions(ctx context.Context, opts ListOptions) (page v1.SessionList, err error) {
	q := url.Values{}
	setString(q, "project", opts.Project)
	for _, s := range opts.Statuses {
		q.Add("status", string(s))
	}
	for _, l := range opts.Labels {
		q.Add("label", l)
	}
	setBool(q, "closed", opts.Closed)
	if opts.Limit > 0 {
		q.Set("limit", strconv.Itoa(opts.Limit))
	}
	setString(q, "after", opts.After)
	err = c.call(ctx, request{method: http.MethodGet, path: []string{"v1", "sessions"}, query: q}, &page)
	return page, err
}

// Sessions goes through all sessions, newest first, page by page. An error is the last thing it
// gives.
func (c *Client) Sessions(ctx context.Context, opts ListOptions) iter.Seq2[v1.Session, error] {
	return func(yield func(v1.Session, error) bool) {
		for {
			page, err := c.ListSessions(ctx, opts)
			if err != nil {
				yield(v1.Session{}, err)
				return
			}
			for _, s := range page.Sessions {
				if !yield(s, nil) {
					return
				}
			}
			if page.Next == "" {
				return
			}
			opts.After = page.Next
		}
	}
}

// StartSession starts a session; one that runs already stays as it is.
func (c *Client) StartSession(ctx context.Context, id string) (s v1.Session, err error) {
	err = c.call(ctx, request{method: http.MethodPost, path: []string{"v1", "sessions", id, "start"}}, &s)
	return s, err
}

// StopSession stops a session: politely, and after timeout with SIGKILL. 0 kills at once, a
// negative timeout means the server's default. One that is stopped already stays so.
func (c *Client) StopSession(ctx context.Context, id string, timeout time.Duration) (s v1.Session, err error) {
	q := url.Values{}
	if timeout >= 0 {
		q.Set("timeout", timeout.String())
	}
	err = c.call(ctx, request{method: http.MethodPost, path: []string{"v1", "sessions", id, "stop"}, query: q}, &s)
	return s, err
}

// PauseSession freezes a running session's processes; one that is paused already stays so. It is
// running still, and says that it is paused.
func (c *Client) PauseSession(ctx context.Context, id string) (s v1.Session, err error) {
	err = c.call(ctx, request{method: http.MethodPost, path: []string{"v1", "sessions", id, "pause"}}, &s)
	return s, err
}

// UnpauseSession lets a paused session's processes go on; one that is not paused stays as it is.
func (c *Client) UnpauseSession(ctx context.Context, id string) (s v1.Session, err error) {
	err = c.call(ctx, request{method: http.MethodPost, path: []string{"v1", "sessions", id, "unpause"}}, &s)
	return s, err
}

// SessionStats returns one sample of what a running session uses.
func (c *Client) SessionStats(ctx context.Context, id string) (stats v1.SessionStats, err error) {
	err = c.call(ctx, request{method: http.MethodGet, path: []string{"v1", "sessions", id, "stats"}}, &stats)
	return stats, err
}

// DeleteSession closes a session and removes its container. A closed one: nil.
func (c *Client) DeleteSession(ctx context.Context, id string) error {
	return c.call(ctx, request{method: http.MethodDelete, path: []string{"v1", "sessions", id}}, nil)
}

func setString(q url.Values, name, value string) {
	if value != "" {
		q.Set(name, value)
	}
}

func setBool(q url.Values, name string, value bool) {
	if value {
		q.Set(name, "true")
	}
}
