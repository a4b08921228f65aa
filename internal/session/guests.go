package session

import (
	"context"
	"sync"
)

// guests are those who act on a session by its ID after they have read its record, without its
// lock: commands, terminals, logs. An ID may be used anew, for another project's session, and the
// container that they reach by it would be that one's. So a new container of an ID waits for the
// guests who may have read an older record of it. The zero value is ready.
type guests struct {
	mu   sync.Mutex
	byID map[string]*party // guarded by mu
}

// party is the guests of an ID that came since the last wait for it.
type party struct {
	n    int           // guarded by guests.mu
	over chan struct{} // closed when n falls to 0
}

// enter is called before the record is read; the guest calls leave once.
func (g *guests) enter(id string) (leave func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	p := g.byID[id]
	if p == nil {
		p = &party{over: make(chan struct{})}
		if g.byID == nil {
			g.byID = make(map[string]*party)
		}
		g.byID[id] = p
	}
	p.n++
	return func() { g.leave(id, p) }
}

func (g *guests) leave(id string, p *party) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if p.n--; p.n > 0 {
		return
	}
	close(p.over)
	if g.byID[id] == p {
		delete(g.byID, id)
	}
}

// wait waits for those to leave who are there now, not for those who come meanwhile: they read the
// new record.
func (g *guests) wait(ctx context.Context, id string) error {
	g.mu.Lock()
	p := g.byID[id]
	delete(g.byID, id)
	g.mu.Unlock()
	if p == nil {
		return nil
	}
	select {
	case <-p.over:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
