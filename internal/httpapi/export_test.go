package httpapi

import "time"

// SetTiming shortens what tests would otherwise wait for; 0 leaves as is. It is called before the
// API serves.
func (a *API) SetTiming(keepalive, write, start time.Duration) {
	for v, d := range map[*time.Duration]time.Duration{&a.timing.keepalive: keepalive, &a.timing.write: write,
		&a.timing.start: start} {
		if d > 0 {
			*v = d
		}
	}
}

// SetBodyTime bounds how long a body may take to arrive.
func (a *API) SetBodyTime(d time.Duration) { a.timing.body = d }

// Statuses is the table of statuses.
var Statuses = statuses

// Streams tells how many streams are under way.
func (a *API) Streams() int { return a.streams.count() }
