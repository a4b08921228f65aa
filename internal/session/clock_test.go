package session

import (
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/octobot-run/octobot/internal/container"
)

// setForward sets the system's clock forward, or back.
func (c *clock) setForward(by time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	wall := c.wall
	c.wall = func(t time.Time) time.Time { return wall(t).Add(by) }
}

// TestClockIsSet checks that neither an idle nor an age limit is reached because the clock was set,
// and that both are reached by the time that has passed.
func TestClockIsSet(t *testing.T) {
	for name, by := range map[string]time.Duration{
		"forward": 10 * time.Hour, "a little": 5 * time.Minute, "back": -10 * time.Hour, "not": 0,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newClock(0, slog.New(slog.DiscardHandler))
				time.Sleep(time.Hour)
				at, _ := c.read()
				s := recorded("", DesiredRunning)
				s.CreatedAt, s.ActiveAt = at, at
				s.Spec = Spec{IdleTimeout: 30 * time.Minute, MaxAge: time.Hour}
				x := boxed("x", container.StatusRunning)
				decide := func() (Action, string) {
					at, line := c.read()
					return decideAction(s, x, moment{at: at, timeline: line})
				}
				time.Sleep(20 * time.Second) // since the clock was looked at
				c.setForward(by)
				time.Sleep(20*time.Minute - 20*time.Second)
				if action, reason := decide(); action != ActionKeep {
					t.Errorf("20 minutes after its last use: %s, %s", action, reason)
				}
				time.Sleep(11 * time.Minute)
				if action, reason := decide(); action != ActionExpire {
					t.Errorf("31 minutes after its last use: %s, %s", action, reason)
				}
				// One that is recorded after the step.
				s.CreatedAt, _ = c.read()
				s.ActiveAt = s.CreatedAt
				time.Sleep(29 * time.Minute)
				if action, reason := decide(); action != ActionKeep {
					t.Errorf("29 minutes after its last use: %s, %s", action, reason)
				}
				time.Sleep(2 * time.Minute)
				if action, reason := decide(); action != ActionExpire {
					t.Errorf("31 minutes after its last use: %s, %s", action, reason)
				}
				s.ActiveAt, _ = c.read()
				time.Sleep(28 * time.Minute)
				if action, reason := decide(); action != ActionKeep {
					t.Errorf("59 minutes after it was created: %s, %s", action, reason)
				}
				time.Sleep(time.Minute)
				if action, reason := decide(); action != ActionExpire || reason != "older than 1h0m0s" {
					t.Errorf("an hour after it was created: %s, %s", action, reason)
				}
			})
		})
	}
}

// TestElapsed checks what is taken for the time that has passed when the clock was set several
// times.
func TestElapsed(t *testing.T) {
	// At noon it is 13:00, an hour later, which is 14:00, it is noon again, and half an hour later
	// it is 12:30.
	line := timeline{steps: []clockStep{
		{noon, noon.Add(time.Hour), time.Hour}, {noon.Add(2 * time.Hour), noon, -2 * time.Hour}}}
	at := noon.Add(30 * time.Minute)
	for _, tt := range []struct {
		recorded time.Time
		want     time.Duration
	}{
		{noon.Add(-10 * time.Minute), 100 * time.Minute}, // before all of it
		{noon.Add(10 * time.Minute), 20 * time.Minute},   // at the end
		{noon.Add(70 * time.Minute), 80 * time.Minute},   // in between
		{noon.Add(48 * time.Hour), 90 * time.Minute},     // from the future
	} {
		if got := line.elapsed(tt.recorded, at); got != tt.want {
			t.Errorf("recorded at %v: got %v, want %v", tt.recorded, got, tt.want)
		}
	}
}

// TestDeadlines checks what is known of when sessions reach their limits.
func TestDeadlines(t *testing.T) { synctest.Test(t, testDeadlines) }

func testDeadlines(t *testing.T) {
	d := newDeadlines()
	spec := Spec{IdleTimeout: time.Minute, MaxAge: time.Hour, OnExpire: ExpiryClose}
	s := Session{ID: "x", Spec: spec, Desired: DesiredRunning, CreatedAt: noon, ActiveAt: noon, Version: 3}
	var used time.Time
	after := func(passed, want time.Duration, due bool) {
		t.Helper()
		ids, wait := d.due(noon.Add(passed), timeline{}, func(string, time.Time) time.Time { return used })
		if wait != want || (len(ids) > 0) != due {
			t.Errorf("after %v: %d are due, and wait %v, want %v", passed, len(ids), wait, want)
		}
	}
	after(time.Second, time.Hour, false)
	d.note(s)
	after(time.Second, 59*time.Second, false)
	used = noon.Add(30 * time.Second) // known in memory alone
	after(time.Minute, 30*time.Second, false)
	d.noteUse(map[string]time.Time{"x": noon.Add(40 * time.Second), "y": noon})
	used = time.Time{}
	after(time.Minute, 40*time.Second, false)
	s.Version, s.ActiveAt = 2, noon // read before
	d.note(s)
	after(time.Minute, 40*time.Second, false)
	after(100*time.Second, minSpacing, true)
	after(100*time.Second, minSpacing, false) // that look is under way
	time.Sleep(minSpacing)
	after(101*time.Second, 2*minSpacing, true)
	s.Version, s.Desired = 4, DesiredStopped
	d.note(s)
	after(101*time.Second, time.Hour-101*time.Second, false) // its age is left
	s.Version, s.Desired = 5, DesiredClosed
	d.note(s)
	after(2*time.Hour, time.Hour, false)
}
