package httpapi

import (
	"context"
	"testing"
	"time"

	v1 "github.com/octobot-run/octobot/api/v1"
	"github.com/octobot-run/octobot/internal/session"
)

// TestFollowUntil checks that what was queued when it was over is sent, and how a stream ends.
func TestFollowUntil(t *testing.T) {
	over := make(chan time.Time)
	close(over)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	const queued = 100
	for _, tt := range []struct {
		name   string
		ctx    context.Context
		over   <-chan time.Time
		closed bool // the queue, by an overflow
		takes  int  // events
		sent   int
		last   string
	}{
		{"over", t.Context(), over, false, queued, queued, v1.EventEnd},
		{"overflow", t.Context(), nil, true, queued, queued, v1.EventOverflow},
		{"over and overflow", t.Context(), over, true, queued, queued, v1.EventOverflow},
		{"gone", t.Context(), over, false, 3, 3, ""},
		{"ended", ended, nil, false, queued, -1, ""},
	} {
		queue := make(chan session.Event, queued)
		for range queued {
			queue <- session.Event{}
		}
		if tt.closed {
			close(queue)
		}
		sent := 0
		last := follow(tt.ctx, queue, tt.over, func(session.Event) bool {
			sent++
			return sent < tt.takes || tt.takes == queued
		})
		if last != tt.last || tt.sent >= 0 && sent != tt.sent {
			t.Errorf("%s: %d are sent, then %q; want %d and %q", tt.name, sent, last, tt.sent, tt.last)
		}
	}
}
