package session

import (
	"context"
	"maps"
	"sync"
	"time"
)

// maxLookRetry is how long a session that is past a limit waits at most to be looked at again,
// where the looks before have not ended it.
const maxLookRetry = 30 * time.Second

// moment is when a session is looked at.
type moment struct {
	at   time.Time
	used time.Time // when this process last saw the session in use; zero: not yet
	timeline
}

// idleFor gives for how long a session has been idle that was active then by its record. While
// no daemon was there, it was not.
func (m moment) idleFor(active time.Time) time.Duration {
	idle := min(m.elapsed(active, m.at), m.elapsed(m.since, m.at))
	if !m.used.IsZero() {
		idle = min(idle, m.elapsed(m.used, m.at))
	}
	return idle
}

// untilOld gives how long a session is yet to live that was created then. One that grew old while
// no daemon was there is given the grace period, for its owner to come back.
func (m moment) untilOld(created time.Time, maxAge time.Duration) time.Duration {
	age, here := m.elapsed(created, m.at), m.elapsed(m.since, m.at)
	if age-here >= maxAge {
		return max(maxAge-age, m.grace-here)
	}
	return maxAge - age
}

// momentOf reads the clock for a session.
func (s *ContainerService) momentOf(id string) moment {
	at, line := s.clock.read()
	return moment{at: at, used: s.activity.lastUse(id, at), timeline: line}
}

// expiring remembers the sessions that the last look, in a pass or by itself, saw past a limit: the
// next one that sees the same ends them. The zero value is ready.
type expiring struct {
	mu  sync.Mutex
	ids map[string]bool // guarded by mu
}

func (e *expiring) has(id string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.ids[id]
}

func (e *expiring) all() map[string]bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return maps.Clone(e.ids)
}

// note notes what a look at one session saw.
func (e *expiring) note(p planned) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !p.expires {
		delete(e.ids, p.SessionID)
		return
	}
	if e.ids == nil {
		e.ids = make(map[string]bool)
	}
	e.ids[p.SessionID] = true
}

// forget is called when something was done with a session: what was seen before is of the past.
func (e *expiring) forget(id string) { e.note(planned{Fate: Fate{SessionID: id}}) }

// noteAll notes what a pass saw.
func (e *expiring) noteAll(fates []planned) {
	ids := make(map[string]bool)
	for _, p := range fates {
		if p.expires {
			ids[p.SessionID] = true
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ids = ids
}

// deadlines tell when sessions reach their limits as far as is known: then they are looked at, and
// what they are by then decides. newDeadlines makes them.
type deadlines struct {
	news chan struct{} // holds an element when there is a new one

	mu sync.Mutex
	of map[string]*deadline // by session; guarded by mu
}

type deadline struct {
	version         int64
	noted           time.Time
	created, active time.Time
	idle, age       time.Duration // zero: no such limit applies

	looks int       // since it was reached
	next  time.Time // not before that, another
}

func newDeadlines() deadlines {
	return deadlines{news: make(chan struct{}, 1), of: make(map[string]*deadline)}
}

// note notes a session as it was just recorded.
func (d *deadlines) note(s Session) {
	n := &deadline{version: s.Version, noted: time.Now(), created: s.CreatedAt, active: s.ActiveAt}
	if s.Desired == DesiredRunning {
		n.idle = s.Spec.IdleTimeout
	}
	if s.Desired == DesiredRunning || s.Spec.OnExpire == ExpiryClose {
		n.age = s.Spec.MaxAge
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if before := d.of[s.ID]; before != nil && before.created.Equal(n.created) {
		if n.active.Before(before.active) {
			n.active = before.active // a use leaves the version alone
		}
		if before.version >= n.version {
			before.noted, before.active = n.noted, n.active
			return
		}
	}
	if s.Desired == DesiredClosed || n.idle == 0 && n.age == 0 {
		delete(d.of, s.ID)
		return
	}
	d.of[s.ID] = n
	select {
	case d.news <- struct{}{}:
	default:
	}
}

// noteAll notes all sessions as they were read after began.
func (d *deadlines) noteAll(sessions []Session, began time.Time) {
	known := make(map[string]bool, len(sessions))
	for _, s := range sessions {
		known[s.ID] = true
		d.note(s)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for id, n := range d.of {
		if !known[id] && n.noted.Before(began) {
			delete(d.of, id)
		}
	}
}

// noteUse notes uses that are on record now.
func (d *deadlines) noteUse(active map[string]time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for id, at := range active {
		if n := d.of[id]; n != nil && n.active.Before(at) {
			n.active = at
		}
	}
}

// due gives the sessions that have reached a limit, and how long it is until the next one does.
func (d *deadlines) due(
	at time.Time, line timeline, lastUse func(id string, t time.Time) time.Time,
) (ids []string, wait time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	wait = time.Hour
	for id, n := range d.of {
		m, left := moment{at: at, used: lastUse(id, at), timeline: line}, wait
		if n.idle > 0 {
			left = min(left, n.idle-m.idleFor(n.active))
		}
		if n.age > 0 {
			left = min(left, m.untilOld(n.created, n.age))
		}
		if left <= 0 {
			left = time.Until(n.next)
		}
		if left <= 0 {
			ids = append(ids, id)
			left = min(minSpacing<<min(n.looks, 10), maxLookRetry)
			n.looks, n.next = n.looks+1, time.Now().Add(left)
		}
		wait = min(wait, left)
	}
	return ids, wait
}

// watchDeadlines has sessions looked at when they reach their limits, until ctx ends.
func (s *ContainerService) watchDeadlines(ctx context.Context) {
	for {
		at, line := s.clock.read()
		ids, wait := s.deadlines.due(at, line, s.activity.lastUse)
		for _, id := range ids {
			s.hintSession(id)
		}
		due := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-due.C:
		case <-s.deadlines.news:
			select { // there may be much of it
			case <-ctx.Done():
			case <-time.After(minSpacing):
			}
		}
		due.Stop()
		if ctx.Err() != nil {
			return
		}
	}
}
