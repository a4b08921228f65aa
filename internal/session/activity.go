package session

import (
	"sync"
	"time"
)

// activity remembers which sessions are being used, between two writes of that to the store. The
// zero value is ready. It holds only sessions in use, and those used since the last write.
type activity struct {
	mu  sync.Mutex
	use map[string]*use // guarded by mu
}

type use struct {
	open int       // commands and terminals under way
	at   time.Time // last sign of life
	news bool      // at is not written yet
}

// beginUse notes that a command or a terminal of the session begins; end is called once for it.
func (a *activity) beginUse(id string) { a.addUse(id, 1) }

func (a *activity) endUse(id string) { a.addUse(id, -1) }

func (a *activity) noteUse(id string) { a.addUse(id, 0) }

func (a *activity) addUse(id string, open int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	u := a.use[id]
	if u == nil {
		u = &use{}
		if a.use == nil {
			a.use = make(map[string]*use)
		}
		a.use[id] = u
	}
	u.open += open
	u.at, u.news = now(), true
}

// lastUse gives when the session was last used as far as is known here; at t where it is in use.
func (a *activity) lastUse(id string, t time.Time) time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	u := a.use[id]
	switch {
	case u == nil:
		return time.Time{}
	case u.open > 0:
		return t
	}
	return u.at
}

// flush gives what is to be written to write, and keeps it where that fails.
func (a *activity) flush(t time.Time, write func(map[string]time.Time) error) error {
	news := a.takeUnwritten(t)
	if len(news) == 0 {
		return nil
	}
	err := write(news)
	a.mu.Lock()
	defer a.mu.Unlock()
	for id := range news {
		u := a.use[id]
		u.news = u.news || err != nil
		if u.open == 0 && !u.news {
			delete(a.use, id)
		}
	}
	return err
}

func (a *activity) takeUnwritten(t time.Time) map[string]time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	news := make(map[string]time.Time, len(a.use))
	for id, u := range a.use {
		if u.open > 0 {
			u.at = t
		} else if !u.news {
			continue
		}
		news[id] = u.at
		u.news = false
	}
	return news
}
