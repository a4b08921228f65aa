package front

import (
	"context"
	"fmt"
	"sync"

	v1 "github.com/octobot-run/octobot/api/v1"
	"github.com/octobot-run/octobot/internal/problem"
)

// ErrShutdown is why streams end with the server.
var ErrShutdown = problem.New(v1.CodeCancelled, "the server is shutting down")

// Streams counts what takes as long as its client likes, bounds it, and ends it.
type Streams struct {
	auth   Authenticator
	ending context.Context // ends with shutdown
	end    context.CancelCauseFunc

	mu   sync.Mutex
	n    int           // guarded by mu
	idle chan struct{} // closed when n falls to 0 after shutdown began; guarded by mu
}

func newStreams(auth Authenticator) *Streams {
	s := &Streams{auth: auth}
	s.ending, s.end = context.WithCancelCause(context.Background())
	return s
}

// Open counts a stream of the request that parent belongs to. It lives in ctx, which ends with
// parent, and with the right of its caller: once the token is deleted or has expired, the cause of
// ctx says so. The caller calls leave when the stream has ended.
func (s *Streams) Open(parent context.Context) (ctx context.Context, leave func(), err error) {
	if err := s.enter(); err != nil {
		return nil, nil, err
	}
	token := callerOf(parent).token
	if token == nil {
		return parent, s.closed, nil
	}
	ctx, release, err := s.auth.WhileValid(parent, *token)
	if err != nil {
		s.closed()
		return nil, nil, err
	}
	return ctx, func() { release(); s.closed() }, nil
}

func (s *Streams) enter() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ending.Err() != nil {
		return problem.New(v1.CodeBusy, "the server is shutting down")
	}
	if s.n >= maxStreams {
		return problem.New(v1.CodeBusy,
			"%d commands, terminals and streams are under way, which is all there may be", s.n).
			WithHint("end some, or try again later")
	}
	s.n++
	return nil
}

func (s *Streams) closed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n--
	if s.n == 0 && s.idle != nil {
		close(s.idle)
		s.idle = nil
	}
}

// Until returns a ctx that ends with parent, with cancel, or with shutdown.
func (s *Streams) Until(parent context.Context) (context.Context, context.CancelCauseFunc) {
	ctx, cancel := context.WithCancelCause(parent)
	stop := context.AfterFunc(s.ending, func() { cancel(context.Cause(s.ending)) })
	return ctx, func(cause error) { stop(); cancel(cause) }
}

// Count returns how many are open.
func (s *Streams) Count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.n
}

func (s *Streams) shutdown(ctx context.Context) error {
	s.end(ErrShutdown)
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
		return fmt.Errorf("shut down the API: %d streams go on: %w", s.Count(), context.Cause(ctx))
	}
}
