package front

import (
	"cmp"
	"context"
	"fmt"
	"sync"

	v1 "github.com/octobot-run/octobot/api/v1"
	"github.com/octobot-run/octobot/internal/problem"
	"github.com/octobot-run/octobot/internal/session"
)

// ErrShutdown is why streams end with the server.
var ErrShutdown = problem.New(v1.CodeCancelled, "the server is shutting down")

// Kind is what a stream is for. Those of one kind leave no less room for those of another.
type Kind string

const (
	Work  Kind = "commands, terminals and logs"
	Watch Kind = "event streams"
	Ports Kind = "connections to ports"
)

// portsFactor is how many times more connections to ports one owner may have than other streams.
const portsFactor = 4

// Streams counts what takes as long as its client likes, bounds it, and ends it.
type Streams struct {
	auth   Authenticator
	most   int             // of each kind, from callers that were asked who they are
	share  int             // of those, for one owner
	ports  int             // in place of most, for connections to ports
	ending context.Context // ends with shutdown
	end    context.CancelCauseFunc

	mu   sync.Mutex
	n    int               // guarded by mu
	open map[streamsOf]int // guarded by mu
	idle chan struct{}     // closed when n falls to 0 after shutdown began; guarded by mu
}

// streamsOf are the streams of a kind: all, where owner is zero, or one owner's.
type streamsOf struct {
	kind  Kind
	owner Owner
}

// Owner is whom something counts for: a project, whatever its tokens are called, or an admin's
// token.
type Owner struct{ Project, Admin string }

// OwnerOf returns whom what the request of ctx takes counts for.
func OwnerOf(ctx context.Context) Owner { return ownerOf(PrincipalOf(ctx)) }

func ownerOf(who session.Principal) Owner {
	if who.Admin {
		return Owner{Admin: who.Name}
	}
	return Owner{Project: who.ProjectID}
}

func newStreams(auth Authenticator, most, share, ports int) *Streams {
	s := &Streams{auth: auth, most: most, share: min(share, most), ports: ports, open: make(map[streamsOf]int)}
	s.ending, s.end = context.WithCancelCause(context.Background())
	return s
}

// Open counts a stream of the request that parent belongs to. It lives in ctx, which ends with
// parent, and with the right of its caller: once the token is deleted or has expired, the cause of
// ctx says so. The caller calls leave when the stream has ended.
//
// There may be so many of a kind, and so many of them one project's. Trusted callers are counted,
// but never refused for that, so that whoever takes all that there is locks no operator out.
func (s *Streams) Open(parent context.Context, kind Kind) (ctx context.Context, leave func(), err error) {
	by := callerOf(parent)
	counts := []streamsOf{{kind: kind}, {kind: kind, owner: ownerOf(by.Principal)}}
	if by.token == nil {
		counts = nil
	}
	share := s.share
	if project := by.ProjectID; project != "" {
		own, err := s.auth.MaxStreams(parent, project)
		if err != nil {
			return nil, nil, err
		}
		share = min(cmp.Or(own, share), s.most)
	}
	most := s.most
	if kind == Ports { // a page alone takes dozens, each of which costs little
		most, share = s.ports, min(portsFactor*share, s.ports)
	}
	if err := s.enter(kind, counts, most, share); err != nil {
		return nil, nil, err
	}
	if by.token == nil {
		return parent, func() { s.leave(counts) }, nil
	}
	ctx, release, err := s.auth.WhileValid(parent, *by.token)
	if err != nil {
		s.leave(counts)
		return nil, nil, err
	}
	return ctx, func() { release(); s.leave(counts) }, nil
}

func (s *Streams) enter(kind Kind, counts []streamsOf, most, share int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ending.Err() != nil {
		return problem.New(v1.CodeBusy, "the server is shutting down")
	}
	for _, c := range counts {
		switch {
		case c.owner == Owner{} && s.open[c] >= most:
			return problem.New(v1.CodeBusy, "%d %s are under way, which is all there may be", most, kind).
				WithHint("end some, or try again later")
		case c.owner != Owner{} && s.open[c] >= share:
			return problem.New(v1.CodeQuotaExceeded,
				"%d %s of this caller's are under way, which is all that one may have here", share, kind).
				WithHint("end some, or have the server's operator allow more (max_streams): octobot project set")
		}
	}
	for _, c := range counts {
		s.open[c]++
	}
	s.n++
	return nil
}

func (s *Streams) leave(counts []streamsOf) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range counts {
		if s.open[c]--; s.open[c] == 0 {
			delete(s.open, c)
		}
	}
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
