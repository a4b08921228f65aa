package httpapi

import (
	"context"
	"errors"
	"fmt"
	"sync"

	v1 "github.com/octobot-run/octobot/api/v1"
)

var errShutdown = newProblem(v1.CodeCancelled, "the server is shutting down")

// streams counts what takes as long as its client likes, bounds it, and ends it.
type streams struct {
	ending context.Context // ends with shutdown
	end    context.CancelCauseFunc

	mu   sync.Mutex
	n    int           // guarded by mu
	idle chan struct{} // closed when n falls to 0 after shutdown began; guarded by mu
}

func newStreams() *streams {
	s := &streams{}
	s.ending, s.end = context.WithCancelCause(context.Background())
	return s
}

// open counts a stream. The caller calls leave when it has ended.
func (s *streams) open() (leave func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ending.Err() != nil {
		return nil, newProblem(v1.CodeBusy, "the server is shutting down")
	}
	if s.n >= maxStreams {
		return nil, newProblem(v1.CodeBusy,
			"%d commands, terminals and streams are under way, which is all there may be", s.n).
			hint("end some, or try again later")
	}
	s.n++
	return s.closed, nil
}

func (s *streams) closed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n--
	if s.n == 0 && s.idle != nil {
		close(s.idle)
		s.idle = nil
	}
}

// until returns a ctx that ends with parent, with cancel, or with shutdown.
func (s *streams) until(parent context.Context) (context.Context, context.CancelCauseFunc) {
	ctx, cancel := context.WithCancelCause(parent)
	stop := context.AfterFunc(s.ending, func() { cancel(context.Cause(s.ending)) })
	return ctx, func(cause error) { stop(); cancel(cause) }
}

func (s *streams) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.n
}

func (s *streams) shutdown(ctx context.Context) error {
	s.end(errShutdown)
	s.mu.Lock()
	if s.n == 0 {
		s.mu.Unlock()
		return nil
	}
	if s.idle == nil {
		s.idle = make(chan struct{})
	}
	idle := s.idle
	s.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("shut down the API: %d streams go on: %w", s.count(), context.Cause(ctx))
	}
}

// causeOf gives the reason why ctx ended, where we gave one, instead of err, which came of it.
func causeOf(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if p, ok := errors.AsType[*problem](context.Cause(ctx)); ok {
		return p
	}
	return err
}
