// Package terminal keeps the terminals of a container: commands on PTYs that live on when nobody
// looks at them, each with the last of its output for whoever comes back.
package terminal

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/octobot-run/octobot/internal/agent"
	"github.com/octobot-run/octobot/internal/agent/process"
	"github.com/octobot-run/octobot/internal/agentproto"
)

const (
	maxTerminals  = 64
	defaultLinger = 24 * time.Hour
	maxLinger     = 365 * 24 * time.Hour
	// keepEnded is how long one that has ended is kept, for viewers that come back for the rest and
	// the exit code.
	keepEnded  = 10 * time.Minute
	hangUpTime = 10 * time.Second
)

// Terminals are the terminals of a container. Make them with [New].
type Terminals struct {
	processes *process.Manager
	timing    timing

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	work   sync.WaitGroup

	mu    sync.Mutex
	named map[string]*terminal // guarded by mu
}

// timing is a field for the tests' sake.
type timing struct {
	keepEnded, patience time.Duration
}

// New makes Terminals without any. The caller closes them.
func New(processes *process.Manager) *Terminals {
	r := &Terminals{processes: processes, named: map[string]*terminal{},
		timing: timing{keepEnded: keepEnded, patience: patience}}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	return r
}

// Register makes reg serve the requests about terminals.
func (r *Terminals) Register(reg agent.Registry) {
	reg.Handle(agentproto.KindOpenTerminal, r.open)
	reg.Handle(agentproto.KindListTerminals, r.list)
	reg.Handle(agentproto.KindEndTerminal, r.endNamed)
}

// Absent are the requests about terminals, with what to answer where nobody keeps any; nil where
// somebody must.
func Absent() map[agentproto.Kind]agentproto.Message {
	return map[agentproto.Kind]agentproto.Message{
		agentproto.KindOpenTerminal:  nil,
		agentproto.KindListTerminals: &agentproto.Terminals{},
		agentproto.KindEndTerminal:   agentproto.Errorf(agentproto.NotFound, "there are no terminals"),
	}
}

// Kept is how many terminals there are, those that have ended among them.
func (r *Terminals) Kept() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.named)
}

// Close hangs all terminals up and waits for them. The handlers must have returned, and none may be
// called any more.
func (r *Terminals) Close() {
	r.cancel()
	r.work.Wait()
}

func (r *Terminals) open(ctx context.Context, s *agentproto.Stream, request []byte) error {
	var o agentproto.OpenTerminal
	if err := agentproto.Decode(request, &o); err != nil {
		return agentproto.Errorf(agentproto.InvalidArgument, "%s", err)
	}
	switch {
	case !validName(o.Name):
		return agentproto.Errorf(agentproto.InvalidArgument, "%q is no name of a terminal", o.Name)
	case o.Linger < 0 || o.Linger > int64(maxLinger/time.Second):
		return agentproto.Errorf(agentproto.InvalidArgument, "a terminal lingers between 0 and %d seconds",
			maxLinger/time.Second)
	}
	v := newViewer(&o)
	t, made, err := r.find(ctx, &o, v)
	if err != nil {
		return err
	}
	attached := &agentproto.Attached{}
	if !made {
		if attached, err = t.join(v, &o); err != nil {
			return err
		}
	}
	attached.Made = made
	defer v.leave()
	v.serve(s, attached)
	return nil
}

// find finds the terminal that a request wants, or makes it; v is the first viewer of one that is
// made.
func (r *Terminals) find(
	ctx context.Context, o *agentproto.OpenTerminal, v *viewer,
) (t *terminal, made bool, err error) {
	for {
		t, made, err = r.reserve(o)
		if err != nil {
			return nil, false, err
		}
		if made {
			return t, true, r.make(ctx, t, o, v)
		}
		select {
		case <-t.ready:
		case <-ctx.Done():
			return nil, false, ctx.Err()
		}
		if t.failed == nil {
			return t, false, nil
		}
		// Whoever was making it could not; the name is free again.
	}
}

// reserve finds a terminal by its name, or takes that for one that the caller then makes.
func (r *Terminals) reserve(o *agentproto.OpenTerminal) (t *terminal, made bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if t = r.named[o.Name]; t != nil {
		_, ended := t.over()
		switch {
		case o.ID != "" && o.ID != t.id:
			return nil, false, agentproto.Errorf(agentproto.NotFound, "the terminal %q is another one now", o.Name)
		case o.ID != "", o.ReadOnly, !ended && !o.New:
			return t, false, nil
		case !ended:
			return nil, false, agentproto.Errorf(agentproto.Exists, "there is a terminal %q already", o.Name)
		}
		r.forget(t)
	}
	if o.ID != "" || o.ReadOnly {
		return nil, false, notFound(o.Name)
	}
	if len(r.named) >= maxTerminals && !r.evict() {
		return nil, false, agentproto.Errorf(agentproto.LimitReached,
			"there are %d terminals, and no more may be; end one first", maxTerminals)
	}
	t = newTerminal(o, r.timing)
	r.named[o.Name] = t
	return t, true, nil
}

// evict forgets the terminal that has ended first, if any has. The caller holds mu.
func (r *Terminals) evict() bool {
	var first *terminal
	var when time.Time
	for _, t := range r.named {
		if at, ended := t.over(); ended && (first == nil || at.Before(when)) {
			first, when = t, at
		}
	}
	if first != nil {
		r.forget(first)
	}
	return first != nil
}

// forget frees the name of a terminal. Viewers that it has get the rest of it. The caller holds mu.
func (r *Terminals) forget(t *terminal) {
	if r.named[t.name] == t {
		delete(r.named, t.name)
		close(t.forgotten)
	}
}

// make makes the terminal that reserve has taken the name for.
func (r *Terminals) make(ctx context.Context, t *terminal, o *agentproto.OpenTerminal, v *viewer) error {
	defer close(t.ready)
	if t.failed = t.start(ctx, r.processes, o.Command, v); t.failed != nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.forget(t)
		return t.failed
	}
	r.work.Go(func() { r.keep(t) })
	return nil
}

// keep looks after a terminal until it is forgotten.
func (r *Terminals) keep(t *terminal) {
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.forget(t)
	}()
	for running := true; running; {
		select {
		case <-t.done:
			running = false
		case <-t.expiry.C:
			if t.abandoned() && r.end(t) {
				return
			}
		case <-r.ctx.Done():
			r.end(t)
			return
		}
	}
	timer := time.NewTimer(r.timing.keepEnded)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.forgotten:
	case <-r.ctx.Done():
	}
	t.work.Wait()
}

// end hangs a terminal up, and waits for all that it has under way; false where its command has not
// ended after some time.
func (r *Terminals) end(t *terminal) bool {
	ctx, cancel := context.WithTimeout(context.Background(), hangUpTime)
	defer cancel()
	if !t.hangUp(ctx) {
		return false
	}
	t.work.Wait()
	return true
}

func (r *Terminals) list(_ context.Context, s *agentproto.Stream, _ []byte) error {
	r.mu.Lock()
	all := make([]*terminal, 0, len(r.named))
	for _, t := range r.named {
		all = append(all, t)
	}
	r.mu.Unlock()
	var answer agentproto.Terminals
	for _, t := range all {
		select {
		case <-t.ready:
			if t.failed == nil {
				answer.List = append(answer.List, t.info())
			}
		default: // it is being made
		}
	}
	slices.SortFunc(answer.List, func(a, b agentproto.TerminalInfo) int {
		return cmp.Or(cmp.Compare(a.Created, b.Created), cmp.Compare(a.Name, b.Name))
	})
	return s.Send(&answer)
}

func (r *Terminals) endNamed(ctx context.Context, s *agentproto.Stream, request []byte) error {
	var e agentproto.EndTerminal
	if err := agentproto.Decode(request, &e); err != nil {
		return agentproto.Errorf(agentproto.InvalidArgument, "%s", err)
	}
	r.mu.Lock()
	t := r.named[e.Name]
	r.mu.Unlock()
	if t == nil {
		return notFound(e.Name)
	}
	select {
	case <-t.ready:
	case <-ctx.Done():
		return ctx.Err()
	}
	if t.failed != nil {
		return notFound(e.Name)
	}
	if !r.end(t) {
		return agentproto.Errorf(agentproto.Internal, "the command of terminal %q does not end", e.Name)
	}
	r.mu.Lock()
	r.forget(t)
	r.mu.Unlock()
	return s.Send(&agentproto.Done{})
}

func notFound(name string) error {
	return agentproto.Errorf(agentproto.NotFound, "there is no terminal %q", name)
}

// validName tells whether a name has a session ID's form.
func validName(name string) bool {
	if len(name) > 63 {
		return false
	}
	for i := range len(name) {
		c := name[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case i > 0 && (c == '_' || c == '.' || c == '-'):
		default:
			return false
		}
	}
	return name != ""
}
