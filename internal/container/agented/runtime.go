package agented

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/octobot-run/octobot/internal/agentproto"
	"github.com/octobot-run/octobot/internal/container"
)

// Config is what a [Runtime] is made from.
type Config struct {
	// Binary gives the agent for an architecture ("amd64"), or an error where this build has none.
	Binary func(arch string) ([]byte, error)
	// IdleTimeout is how long a link without commands stays open; zero: five minutes.
	IdleTimeout time.Duration
	Logger      *slog.Logger // nil: slog.Default()
	Observer    Observer     // nil: nobody

	stallTime time.Duration // a field for the tests' sake
}

// Runtime is a [container.Runtime] with an agent in its containers. It has the optional interfaces
// of the one that it wraps.
type Runtime struct {
	container.Runtime // what it wraps
	cfg               Config
	log               *slog.Logger
	dialer            container.Dialer
	program           *container.Program

	life context.Context // ends with Close
	end  context.CancelFunc

	pace pace

	working sync.Mutex     // held while work begins, and while life ends
	work    sync.WaitGroup // links, and what makes them

	mu     sync.Mutex
	boxes  map[place]*box  // those with a link, or about to have one; guarded by mu
	paused map[string]bool // sessions, as far as is known; guarded by mu
	pauses uint64          // how many were asked for; guarded by mu
	closed bool            // guarded by mu
}

var (
	_ container.Wrapper      = (*Runtime)(nil)
	_ container.Closer       = (*Runtime)(nil)
	_ container.StreamExecer = (*Runtime)(nil)
	_ container.Pauser       = (*Runtime)(nil)
)

// New wraps rt, which belongs to the Runtime from then on: Close closes it too. It is rt itself
// where that can't reach programs in its containers.
func New(rt container.Runtime, cfg Config) container.Runtime {
	dialer, ok := container.As[container.Dialer](rt)
	if !ok {
		return rt
	}
	cfg.IdleTimeout = cmp.Or(cfg.IdleTimeout, 5*time.Minute)
	cfg.stallTime = cmp.Or(cfg.stallTime, stallTime)
	cfg.Logger = cmp.Or(cfg.Logger, slog.Default())
	cfg.Observer = cmp.Or[Observer](cfg.Observer, unobserved{})
	r := &Runtime{Runtime: rt, cfg: cfg, log: cfg.Logger, dialer: dialer,
		program: &container.Program{Path: agentproto.Binary, Scratch: agentproto.RunDir, Binary: cfg.Binary},
		boxes:   make(map[place]*box), paused: make(map[string]bool)}
	r.life, r.end = context.WithCancel(context.Background())
	r.work.Go(r.closeIdle)
	return r
}

// Unwrap implements [container.Wrapper].
func (r *Runtime) Unwrap() container.Runtime { return r.Runtime }

// Close ends all links, which kills the commands that run over them, and closes the wrapped
// Runtime. A repeated call: nil.
func (r *Runtime) Close() error {
	r.mu.Lock()
	r.closed = true
	boxes := r.boxes
	r.boxes = make(map[place]*box)
	r.mu.Unlock()
	r.working.Lock()
	r.end()
	r.working.Unlock()
	for _, b := range boxes {
		b.close()
	}
	r.work.Wait()
	if c, ok := container.As[container.Closer](r.Runtime); ok {
		return c.Close()
	}
	return nil
}

// startWork runs work that Close waits for; false after Close.
func (r *Runtime) startWork(work func()) bool {
	r.working.Lock()
	defer r.working.Unlock()
	if r.life.Err() != nil {
		return false
	}
	r.work.Go(work)
	return true
}

// The least that a container's limits must be for it to get the agent. That takes about 6 MiB and
// ten threads of what the session may have, for as long as commands run through it: of less than
// this, the session's own programs would miss them.
const (
	leastMemory = 32 << 20
	leastPIDs   = 32
)

// Create implements [container.Runtime]. The container gets the agent, where that can be, is wanted
// and has room.
func (r *Runtime) Create(
	ctx context.Context, sessionID string, opts container.Options,
) (*container.Container, error) {
	if !opts.NoProgram && hasRoom(opts.Resources) {
		opts.Program = r.program
	}
	return r.Runtime.Create(ctx, sessionID, opts)
}

// hasRoom reports whether the agent leaves enough of the limits to the session's own programs.
func hasRoom(limits container.Resources) bool {
	return (limits.Memory == 0 || limits.Memory >= leastMemory) && (limits.PIDs == 0 || limits.PIDs >= leastPIDs)
}

// Start implements [container.Runtime]. The link is made meanwhile, so that the first command finds
// it.
func (r *Runtime) Start(ctx context.Context, sessionID string) error {
	if err := r.Runtime.Start(ctx, sessionID); err != nil {
		return err
	}
	if b := r.box(place{sessionID, forCommands}); b != nil {
		_, _, _ = b.join() // who needs it finds out
	}
	return nil
}

// Stop implements [container.Runtime].
func (r *Runtime) Stop(ctx context.Context, sessionID string, timeout time.Duration) error {
	err := r.Runtime.Stop(ctx, sessionID, timeout)
	if err == nil {
		r.forget(sessionID)
	}
	return err
}

// Remove implements [container.Runtime].
func (r *Runtime) Remove(ctx context.Context, sessionID string) error {
	err := r.Runtime.Remove(ctx, sessionID)
	if err == nil || errors.Is(err, container.ErrContainerNotFound) {
		r.forget(sessionID)
	}
	return err
}

// Get implements [container.Runtime].
func (r *Runtime) Get(ctx context.Context, sessionID string) (*container.Container, error) {
	asked := r.pausesSoFar()
	c, err := r.Runtime.Get(ctx, sessionID)
	if err == nil {
		r.sawPaused(sessionID, c.Paused, asked)
		r.setExec(c)
	}
	return c, err
}

// List implements [container.Runtime].
func (r *Runtime) List(ctx context.Context) ([]*container.Container, error) {
	asked := r.pausesSoFar()
	list, err := r.Runtime.List(ctx)
	for _, c := range list {
		r.sawPaused(c.SessionID, c.Paused, asked)
		r.setExec(c)
	}
	return list, err
}

// Pause implements [container.Pauser].
func (r *Runtime) Pause(ctx context.Context, sessionID string) error {
	pauser, ok := container.As[container.Pauser](r.Runtime)
	if !ok {
		return container.Errorf("pause", sessionID, container.ErrUnsupported, "")
	}
	// Before it is: a frozen agent would run a command later that is refused now.
	r.setPaused(sessionID, true)
	return pauser.Pause(ctx, sessionID)
}

// Unpause implements [container.Pauser].
func (r *Runtime) Unpause(ctx context.Context, sessionID string) error {
	pauser, ok := container.As[container.Pauser](r.Runtime)
	if !ok {
		return container.Errorf("unpause", sessionID, container.ErrUnsupported, "")
	}
	err := pauser.Unpause(ctx, sessionID)
	if err == nil {
		r.setPaused(sessionID, false)
	}
	return err
}

func (r *Runtime) setPaused(sessionID string, paused bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if paused {
		r.pauses++
		r.paused[sessionID] = true
		return
	}
	delete(r.paused, sessionID)
}

func (r *Runtime) pausesSoFar() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.pauses
}

// sawPaused notes what the engine has said, who was asked after so many pauses: what it says of
// before another one counts no more.
func (r *Runtime) sawPaused(sessionID string, paused bool, pauses uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case paused:
		r.paused[sessionID] = true
	case r.pauses == pauses:
		delete(r.paused, sessionID)
	}
}

// mayBePaused is cheap; whether it is, the engine tells.
func (r *Runtime) mayBePaused(sessionID string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.paused[sessionID]
}
