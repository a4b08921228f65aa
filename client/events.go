package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"time"

	v1 "github.com/octobot-run/octobot/api/v1"
)

// EventOptions select events. The zero value is all from now on.
type EventOptions struct {
	Project  string
	Sessions []string  // IDs; none: any
	Kinds    []string  // such as v1.KindFailed; none: any
	Since    time.Time // past ones since then as well, as far as the server keeps them; zero: none
	Until    time.Time // the end; zero: none
	// History, where not nil, is told before the first event how far back the server keeps them,
	// with Since.
	History func(from time.Time)
}

// Events gives what happens to sessions from now on, of one project unless that is
// empty, until ctx ends or the loop is left. An error is the last thing it gives; a client that
// was too slow and has missed events gets [ErrOverflow].
func (c *Client) Events(ctx context.Context, project string) iter.Seq2[v1.Event, error] {
	return c.SelectEvents(ctx, EventOptions{Project: project})
}

// SelectEvents is Events for some of them, past ones among them where that is asked for.
func (c *Client) SelectEvents(ctx context.Context, opts EventOptions) iter.Seq2[v1.Event, error] {
	return func(yield func(v1.Event, error) bool) {
		q := url.Values{}
		setString(q, "project", opts.Project)
		for _, id := range opts.Sessions {
			q.Add("session", id)
		}
		for _, kind := range opts.Kinds {
			q.Add("kind", kind)
		}
		setTime(q, "since", opts.Since)
		setTime(q, "until", opts.Until)
		r := request{method: http.MethodGet, path: []string{"v1", "events"}, query: q, accept: eventStream}
		for event, err := range c.stream(ctx, r) {
			if err != nil {
				yield(v1.Event{}, err)
				return
			}
			var e v1.Event
			switch event.name {
			case v1.EventOverflow:
				yield(v1.Event{}, ErrOverflow)
				return
			case v1.EventEnd:
				return
			case v1.EventHistory:
				var h v1.History
				if err = json.Unmarshal(event.data, &h); err == nil {
					if opts.History != nil {
						opts.History(h.From)
					}
					continue
				}
			default:
				err = json.Unmarshal(event.data, &e)
			}
			if err != nil {
				yield(v1.Event{}, c.failed(ctx, r, fmt.Errorf("event %s: %w", event.name, inWords(err))))
				return
			}
			if !yield(e, nil) {
				return
			}
		}
	}
}

// ErrOverflow: events were missed. List the sessions, then follow again.
var ErrOverflow = errors.New("events were missed: the reader was too slow")

func setTime(q url.Values, name string, t time.Time) {
	if !t.IsZero() {
		q.Set(name, t.UTC().Format(time.RFC3339Nano))
	}
}
