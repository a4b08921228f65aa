package session

import (
	"context"
	"sync"
	"time"
)

const (
	maxPulls     = 16 // of different images at once
	projectPulls = 4  // of those, one project's
)

// startSlot is leave to create or start a container: so many are given at once. It is given back
// while an image is pulled, which a registry can make last.
type startSlot struct {
	s    *ContainerService
	held bool
}

// acquireStartSlot waits for leave to create or start a container; the caller calls free in the
// end.
func (s *ContainerService) acquireStartSlot(ctx context.Context) (*startSlot, error) {
	slot := &startSlot{s: s}
	return slot, slot.acquire(ctx)
}

func (l *startSlot) acquire(ctx context.Context) error {
	timer := time.NewTimer(l.s.cfg.CallTimeout)
	defer timer.Stop()
	select {
	case l.s.creates <- struct{}{}:
		l.held = true
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return refuse(CodeBusy, "try again later", "%d sessions are being created or started already",
			l.s.cfg.Creates)
	}
}

// free gives the slot back. It may be repeated.
func (l *startSlot) free() {
	if l.held {
		l.held = false
		<-l.s.creates
	}
}

// pulling is [container.Options].Pulling for a create that holds the slot.
func (l *startSlot) pulling(of pullOf) func(context.Context) (func() error, error) {
	return func(ctx context.Context) (func() error, error) {
		l.free()
		end, err := l.s.pulls.begin(ctx, of, l.s.cfg.CallTimeout)
		if err != nil {
			return nil, err
		}
		return func() error { end(); return l.acquire(ctx) }, nil
	}
}

// pullOf is what makes two pulls one, as far as they are counted.
type pullOf struct{ projectID, image, platform string }

// pulls counts the pulls under way, so that those of one project leave room for others'. The zero
// value is ready.
type pulls struct {
	mu      sync.Mutex
	waiting map[pullOf]int // creates that wait for it; guarded by mu
	ended   chan struct{}  // closed when one has ended; guarded by mu
}

// begin waits for leave to pull, for so long. The caller calls end when the pull has ended.
func (p *pulls) begin(ctx context.Context, of pullOf, most time.Duration) (end func(), err error) {
	timer := time.NewTimer(most)
	defer timer.Stop()
	for {
		ended, ok := p.tryBegin(of)
		if ok {
			return func() { p.end(of) }, nil
		}
		select {
		case <-ended:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-timer.C:
			return nil, refuse(CodeBusy, "try again later",
				"as many images are being pulled as may be at once: %d, and %d for one project", maxPulls, projectPulls)
		}
	}
}

func (p *pulls) tryBegin(of pullOf) (ended <-chan struct{}, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended == nil {
		p.waiting, p.ended = make(map[pullOf]int), make(chan struct{})
	}
	mine := 0
	for other := range p.waiting {
		if other.projectID == of.projectID {
			mine++
		}
	}
	if p.waiting[of] == 0 && (len(p.waiting) >= maxPulls || mine >= projectPulls) {
		return p.ended, false
	}
	p.waiting[of]++
	return nil, true
}

func (p *pulls) end(of pullOf) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.waiting[of]--; p.waiting[of] == 0 {
		delete(p.waiting, of)
		close(p.ended)
		p.ended = make(chan struct{})
	}
}
