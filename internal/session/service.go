package session

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/keylock"
)

// Config says how a [ContainerService] works. Zero durations and counts mean
// the defaults that their comments name.
type Config struct {
	// What a session gets where it does not say otherwise.
	DefaultImage string
	CPUs         float64 // zero: the provider's
	Memory       int64   // bytes; zero: the provider's
	PIDs         int64   // zero: the provider's
	Runtime      string  // OCI runtime; empty: the engine's
	IdleTimeout  time.Duration
	MaxAge       time.Duration
	OnExpire     Expiry // empty: stop

	Policy Policy // binds everybody but admins

	// BindRoots are the host directories below which sessions may mount. The service looks
	// at them itself, so they mean something only where it shares the engine's host.
	BindRoots []string
	// Mounts mounts for the engine what binds name; nil: binds are refused, and NoMounts says why.
	Mounts   HostMounts
	NoMounts string

	ReconcileInterval time.Duration // 30 s
	// Grace is the age from which an unknown container may be removed, and how long sessions live
	// from the service's making that grew too old before it; 2 min.
	Grace     time.Duration
	Retention time.Duration // how long closed sessions are remembered; 7 days

	Creates      int           // creates and starts at once; 16
	CallTimeout  time.Duration // of one call to the engine; 30 s
	StoreTimeout time.Duration // of one call to the store; 900 ms, so that callers hear within a second
	// TerminalLinger is how long terminals live that nobody looks at; 24 h.
	TerminalLinger time.Duration
	// Recorder keeps recordings of terminals; nil: no session can have any. It is to be closed when
	// Run has returned.
	Recorder Recorder
	// SpoolDir is where files are kept on their way into sessions that do not run; empty: the
	// system's directory for temporary files, which may be in memory.
	SpoolDir string

	Logger   *slog.Logger // nil: slog.Default()
	Observer Observer     // nil: none
	// Audit is told of every change that was asked for and of what was refused, before the caller
	// hears of it, from many goroutines; nil: nobody is.
	Audit func(AuditEntry)
}

// Observer is told what the service does, for metrics. Its methods are called from many
// goroutines and must return at once.
type Observer interface {
	// Operation tells of a call that ended; code is "" where it succeeded.
	Operation(op string, code Code, d time.Duration)
	// Reconciled tells of a reconciliation that ended; err is nil where it was complete.
	Reconciled(r Report, err error, d time.Duration)
}

// createTimeout bounds the making of a container; it is long, for it may pull an image.
const createTimeout = 15 * time.Minute

// ContainerService owns the life of sessions. It is safe for use from many
// goroutines; operations on one session follow one another, those on different
// sessions never wait for each other. All its errors are [*Error] values.
//
// Operations work without [ContainerService.Run], but only Run finishes what a
// crash or an outage interrupted, and enforces the limits.
type ContainerService struct {
	rt    container.Runtime
	store records
	cfg   Config
	log   *slog.Logger

	locks      keylock.Locks
	creates    chan struct{} // one element for each create or start under way
	activity   activity
	guests     guests
	urgencies  urgencies
	pulls      pulls
	quotas     quotas
	projects   keylock.Locks // what quotas are about changes under its project's lock; taken after a session's
	hub        hub
	tokens     tokenCache
	holders    holders
	recorders  recorders
	background background
	spools     spools
	clock      *clock
	deadlines  deadlines
	expiring   expiring
	hints      chan struct{} // wakes Run for a pass; coalesces

	examining chan struct{} // holds an element while Health looks
	health    struct {      // guarded by examining
		Health
		at time.Time
	}

	passing chan struct{} // holds an element while a pass is under way
	memory  memory        // of the last pass; guarded by passing

	mu     sync.Mutex
	counts map[Status]int // guarded by mu
}

// NewContainerService returns a service over rt and store, which stay the
// caller's to close, after every call to the service has returned.
func NewContainerService(rt container.Runtime, store Store, cfg Config) *ContainerService {
	setDefault(&cfg.OnExpire, ExpiryStop)
	setDefault(&cfg.ReconcileInterval, 30*time.Second)
	setDefault(&cfg.Grace, 2*time.Minute)
	setDefault(&cfg.Retention, 7*24*time.Hour)
	setDefault(&cfg.Creates, 16)
	setDefault(&cfg.TerminalLinger, container.TerminalLinger)
	setDefault(&cfg.CallTimeout, 30*time.Second)
	setDefault(&cfg.StoreTimeout, 900*time.Millisecond)
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	return &ContainerService{
		rt:      rt,
		store:   records{store: store, timeout: cfg.StoreTimeout},
		cfg:     cfg,
		log:     cfg.Logger,
		creates: make(chan struct{}, cfg.Creates),
		hints:   make(chan struct{}, 1),
		passing: make(chan struct{}, 1),

		examining: make(chan struct{}, 1),
		clock:     newClock(cfg.Grace, cfg.Logger),
		deadlines: newDeadlines(),
		hub:       hub{past: history{from: now()}},
		recorders: recorders{news: make(chan []recordable, 1)},
		spools:    spools{dir: cfg.SpoolDir},
	}
}

func setDefault[T comparable](v *T, value T) {
	var zero T
	if *v == zero {
		*v = value
	}
}

// now is the time as stores keep it.
func now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }

// finishOperation makes *err an [*Error] about op, and tells the observer and the audit. It is
// deferred by every exported operation.
func (s *ContainerService) finishOperation(
	ctx context.Context, who Principal, op, id string, start time.Time, err *error,
) {
	if *err != nil {
		*err = toError(ctx, op, id, *err)
	}
	if op != "authenticate" { // the door knows more of who it was
		s.audit(who, op, id, *err)
	}
	switch op {
	case "create", "start", "stop", "restart", "update", "delete":
		switch CodeOf(*err) {
		case CodeEngineRefused, CodeEngineUnavailable, CodeStoreUnavailable, CodeTimeout, CodeCancelled:
			s.hintSession(id) // it may have left something to be finished
		}
	}
	if s.cfg.Observer != nil {
		s.cfg.Observer.Operation(op, CodeOf(*err), time.Since(start))
	}
}

// hintReconcile asks Run for a reconciliation soon.
func (s *ContainerService) hintReconcile() {
	select {
	case s.hints <- struct{}{}:
	default:
	}
}

// Health is what the service depends on, and whether it answers.
type Health struct {
	Store  error // nil: it can be read and written
	Engine error // nil: it answers
	Info   container.EngineInfo
}

// healthAge is how old an answer of Health may be. Anybody may ask the API whether it is ready, and
// each look costs the store a write.
const healthAge = time.Second

// Health asks the store and the engine, at the same time, unless that was done within the last
// second. It answers within two seconds.
func (s *ContainerService) Health(ctx context.Context) Health {
	select {
	case s.examining <- struct{}{}:
		defer func() { <-s.examining }()
	case <-ctx.Done():
		err := toError(ctx, "health", "", ctx.Err())
		return Health{Store: err, Engine: err}
	}
	if s.health.at.IsZero() || time.Since(s.health.at) >= healthAge {
		// For all who wait, so not the first one's to cancel.
		s.health.Health = s.examineHealth(context.WithoutCancel(ctx))
		s.health.at = time.Now()
	}
	return s.health.Health
}

func (s *ContainerService) examineHealth(ctx context.Context) Health {
	var h Health
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.store.ping(ctx); err != nil {
			h.Store = toError(ctx, "health", "", err)
		}
	})
	wg.Go(func() {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		prober, ok := container.As[container.Prober](s.rt)
		if !ok {
			return
		}
		info, err := prober.Probe(ctx)
		if err != nil {
			if errors.Is(err, context.DeadlineExceeded) {
				err = container.ErrUnavailable
			}
			h.Engine = toError(ctx, "health", "", err)
			return
		}
		h.Info = info
	})
	wg.Wait()
	return h
}

// StatusCounts returns how many sessions had each status at the last
// reconciliation. It asks neither store nor engine.
func (s *ContainerService) StatusCounts(context.Context) map[Status]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	counts := make(map[Status]int, len(s.counts))
	for status, n := range s.counts {
		counts[status] = n
	}
	return counts
}
