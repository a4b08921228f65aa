package agented

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/octobot-run/octobot/internal/container"
)

// place is a session's container, and what is done there. What people type at has a link of its
// own: on one with commands, whose output may be much, an echo would wait for that. So have files
// and ports, whose bytes are many more.
type place struct {
	sessionID string
	purpose   purpose
}

type purpose int

const (
	forCommands purpose = iota
	forTerminals
	forFiles
	forPorts
	purposes // how many there are
)

// box is a place, as far as the link to its agent goes.
type box struct {
	r *Runtime
	place

	mu     sync.Mutex
	link   *link    // guarded by mu
	making *making  // guarded by mu
	plain  *noAgent // until then, no link is tried; guarded by mu
	until  time.Time
	lost   lost // guarded by mu
	links  int  // those that have not ended, the current one among them; guarded by mu
	gone   bool // the container has ended: a link that is just made is too late; guarded by mu
	// dropped: the Runtime has another box for the place, or will have; guarded by mu
	dropped bool
}

// connect returns the link, and makes it where there is none. The caller may go before it is made;
// others may wait for the same. An error may be a *noAgent.
func (b *box) connect(ctx context.Context) (*link, error) {
	l, m, err := b.join()
	if l != nil || err != nil {
		return l, err
	}
	select {
	case <-m.done:
		return m.link, m.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// box returns a place's box; nil after Close.
func (r *Runtime) box(at place) *box {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil
	}
	b := r.boxes[at]
	if b == nil {
		b = &box{r: r, place: at}
		r.boxes[at] = b
	}
	return b
}

// forget ends the links of a container that has ended.
func (r *Runtime) forget(sessionID string) {
	var ended []*box
	r.mu.Lock()
	for p := range purposes {
		at := place{sessionID, p}
		if b := r.boxes[at]; b != nil {
			ended = append(ended, b)
			delete(r.boxes, at)
		}
	}
	delete(r.paused, sessionID)
	r.mu.Unlock()
	for _, b := range ended {
		b.close()
	}
}

// errDropped is of a box that held nothing, and was let go of in that moment.
var errDropped = errors.New("the box was dropped")

// join gives the link that there is, or the making of one.
func (b *box) join() (*link, *making, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.dropped {
		return nil, nil, errDropped
	}
	if l := b.link; l != nil && !l.over() {
		l.used = time.Now()
		return l, nil, nil
	}
	if plain := b.plainNow(); plain != nil {
		return nil, nil, plain
	}
	if !b.startMaking() {
		return nil, nil, container.ErrClosed
	}
	return nil, b.making, nil
}

// plainNow is why no link is tried; the caller holds mu.
func (b *box) plainNow() *noAgent {
	if b.plain == nil || time.Now().After(b.until) {
		return nil
	}
	return b.plain
}

func (b *box) remembered() *noAgent {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.plainNow()
}

// current is the link that there is.
func (b *box) current() *link {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.link == nil || b.link.over() {
		return nil
	}
	return b.link
}

// startMaking makes a link, unless that is under way; the caller holds mu. False after Close.
func (b *box) startMaking() bool {
	if b.making != nil {
		return true
	}
	m := &making{done: make(chan struct{})}
	if !b.r.startWork(func() { b.make(m) }) {
		return false
	}
	b.making = m
	return true
}

// make makes a link, and stays with it until its end.
func (b *box) make(m *making) {
	ctx, cancel := context.WithTimeout(b.r.life, linkTimeout)
	begun := time.Now()
	l, err := b.dial(ctx)
	cancel()
	b.r.cfg.Observer.Dialled(l != nil, time.Since(begun))
	b.mu.Lock()
	if plain, ok := errors.AsType[*noAgent](err); ok {
		b.plain = plain
	}
	b.making, b.link = nil, l
	late := b.gone && l != nil
	left := b.lost
	if l != nil || hasEnded(err) {
		b.lost = lost{}
	}
	if l != nil {
		b.links++
	}
	b.mu.Unlock()
	if late {
		_ = l.Close()
	}
	m.link, m.err = l, err
	close(m.done)
	if l == nil {
		return
	}
	// The Runtime may have lost sight of the box, as of one that held nothing.
	defer context.AfterFunc(b.r.life, func() { _ = l.Close() })()
	killed := left.nothing() || b.killLost(l, left)
	select {
	case <-l.Done():
	case <-l.retired:
		l.drain()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.links--
	if b.link == l {
		b.link = nil
	}
	// Their agent kills them, unless it was killed itself.
	b.lost.tags = slices.AppendSeq(b.lost.tags, maps.Keys(l.tags))
	if l.isRetired() {
		b.lost.agents = append(b.lost.agents, l.pid)
	}
	if killed { // else closeIdle has it tried again
		b.findLost()
	}
}

// without remembers for a while that there is no agent to talk to.
func (b *box) without(d time.Duration, why Fallback, reason string) *noAgent {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.until = time.Now().Add(d)
	return &noAgent{why: why, reason: reason}
}

// close ends the link; who makes one sees to the rest.
func (b *box) close() {
	b.mu.Lock()
	b.gone = true
	l := b.link
	b.mu.Unlock()
	if l != nil {
		_ = l.Close()
	}
}

// closeIdle closes links that nobody uses, until the Runtime closes.
func (r *Runtime) closeIdle() {
	tick := time.NewTicker(max(r.cfg.IdleTimeout/4, 10*time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-r.life.Done():
			return
		case <-tick.C:
		}
		r.mu.Lock()
		var idle []*link
		for at, b := range r.boxes {
			l, empty := b.idle(time.Now().Add(-r.cfg.IdleTimeout))
			if l != nil {
				idle = append(idle, l)
			}
			if empty {
				delete(r.boxes, at)
			}
		}
		r.mu.Unlock()
		for _, l := range idle {
			_ = l.Close()
		}
	}
}

// idle returns the link where it was not used since then, and reports whether the box holds nothing
// worth keeping. Where something is still to be killed, it has that tried again.
func (b *box) idle(since time.Time) (idle *link, empty bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.link
	b.findLost()
	if l == nil {
		b.dropped = b.making == nil && b.links == 0 && b.lost.nothing() && b.plainNow() == nil
		return nil, b.dropped
	}
	if l.Streams() > 0 {
		l.used = time.Now()
	}
	if l.used.Before(since) {
		b.link = nil // who comes now has another
		return l, false
	}
	return nil, false
}
