package session

import (
	"log/slog"
	"slices"
	"sync"
	"time"
)

const (
	// clockTolerance is what the system's clock may run ahead or behind between two readings
	// without having been set.
	clockTolerance = time.Second
	maxClockSteps  = 64
)

// clock reads the system's clock, and notices where that was set, or where it went on while the
// machine slept: times are recorded by it, and limits are of time that has passed. newClock makes
// one.
type clock struct {
	log *slog.Logger
	// wall gives the system's clock for a time that has the monotonic clock's reading as well. It
	// is a field for the tests' sake.
	wall func(time.Time) time.Time

	mu       sync.Mutex
	last     time.Time // of the monotonic clock. Guarded by mu
	lastWall time.Time // at that moment. Guarded by mu
	timeline timeline  // guarded by mu; its steps are copied to be changed
}

func newClock(grace time.Duration, log *slog.Logger) *clock {
	t := time.Now()
	wall := t.Round(0)
	return &clock{log: log, wall: func(t time.Time) time.Time { return t.Round(0) }, last: t, lastWall: wall,
		timeline: timeline{since: wall.UTC(), grace: grace}}
}

// read gives the time as now does, and how to tell from it what has passed.
func (c *clock) read() (at time.Time, l timeline) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := time.Now()
	wall := c.wall(t)
	if by := wall.Sub(c.lastWall) - t.Sub(c.last); by.Abs() > clockTolerance {
		c.log.Warn("The system's clock was set, or stood still; limits go by the time that has passed", "by", by)
		// It was between the last reading and this one.
		step := clockStep{from: wall.Add(-by), to: c.lastWall.Add(by), by: by}
		steps := append(slices.Clone(c.timeline.steps), step)
		c.timeline.steps = steps[max(0, len(steps)-maxClockSteps):]
	}
	c.last, c.lastWall = t, wall
	return wall.UTC().Truncate(time.Microsecond), c.timeline
}

// timeline tells how much time has passed since something was recorded.
type timeline struct {
	since time.Time // when this process began to see what sessions are used for
	grace time.Duration
	steps []clockStep // of the clock since, in their order
}

// clockStep is a setting of the clock.
type clockStep struct {
	from time.Time     // what it said before, or later
	to   time.Time     // what it was set to, or earlier
	by   time.Duration // negative: back
}

// elapsed is how much time has passed between t, as the clock said then, and at. Where the clock
// has said t more than once, it is since the last time.
func (l timeline) elapsed(t, at time.Time) time.Duration {
	passed, end := time.Duration(0), at
	for _, step := range slices.Backward(l.steps) {
		if !t.Before(step.to) && !t.After(end) {
			return passed + at.Sub(t)
		}
		passed += at.Sub(step.to)
		at, end = step.to.Add(-step.by), step.from
	}
	if passed > 0 && t.After(at) {
		return passed // it is from the future
	}
	return passed + at.Sub(t)
}
