package httpapi

import "time"

// SetPatience shortens how long a viewer may leave output unread. It is called before the API
// serves.
func (a *API) SetPatience(d time.Duration) { a.timing.write = d }

// SetTiming shortens what tests would otherwise wait for; 0 leaves as is. It is called before the
// API serves.
func (a *API) SetTiming(keepalive, start time.Duration) {
	for v, d := range map[*time.Duration]time.Duration{&a.timing.keepalive: keepalive, &a.timing.start: start} {
		if d > 0 {
			*v = d
		}
	}
}
