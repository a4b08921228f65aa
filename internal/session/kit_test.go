package session_test

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/container/mock"
	"github.com/octobot-run/octobot/internal/session"
	"github.com/octobot-run/octobot/internal/store/sqlite"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// admin asks for whatever the tests do not ask for in somebody else's name.
var admin = session.Principal{Name: "admin", Admin: true}

// kit is a service over a mock engine and a real store in a file.
type kit struct {
	*session.ContainerService
	engine *mock.Engine
	rt     *mock.MockProvider
	store  *hookedStore
	path   string // of the store's file
}

// configure is the tests' configuration: bounds that a slow machine does not meet, and no grace.
func configure() session.Config {
	return session.Config{
		DefaultImage: "debian:12", Grace: time.Nanosecond,
		StoreTimeout: time.Minute, CallTimeout: time.Minute, Logger: slog.New(slog.DiscardHandler),
	}
}

func newKit(t testing.TB, change ...func(*session.Config)) *kit {
	t.Helper()
	engine := mock.NewEngine()
	k := &kit{engine: engine, rt: engine.Provider("test"), path: filepath.Join(t.TempDir(), "octobot.db")}
	t.Cleanup(func() {
		if err := k.rt.Close(); err != nil {
			t.Error(err)
		}
		engine.Close()
	})
	k.store = &hookedStore{Store: openStore(t, k.path)}
	cfg := configure()
	for _, f := range change {
		f(&cfg)
	}
	k.ContainerService = session.NewContainerService(k.rt, k.store, cfg)
	return k
}

func openStore(t testing.TB, path string) session.Store {
	t.Helper()
	store, err := sqlite.Open(context.WithoutCancel(t.Context()), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return store
}

// bubble runs a subtest in which time passes only while everybody waits, so that a slow machine
// meets no bound.
func bubble(t *testing.T, name string, test func(t *testing.T)) {
	t.Run(name, func(t *testing.T) { synctest.Test(t, test) })
}

// create makes a session that runs.
func (k *kit) create(t *testing.T, id string) session.View {
	t.Helper()
	v, err := k.Create(t.Context(), admin, session.CreateRequest{ID: id, Start: true})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// subscribe subscribes to a project's events, or to all.
func (k *kit) subscribe(t *testing.T, projectID string) *session.Subscription {
	t.Helper()
	sub, err := k.Subscribe(admin, session.EventSelection{ProjectID: projectID})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sub.Close)
	return sub
}

func (k *kit) reconcile(t *testing.T) {
	t.Helper()
	if err := k.Reconcile(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// status asserts what a session is.
func (k *kit) status(t *testing.T, id string, want session.Status) session.View {
	t.Helper()
	v, err := k.Get(t.Context(), admin, id)
	if err != nil {
		t.Fatal(err)
	}
	if v.Status != want {
		t.Fatalf("session %q is %s (%s), want %s", id, v.Status, v.Reason, want)
	}
	return v
}

// containers counts those of the engine.
func (k *kit) containers() int { return k.engine.Count(nil) }

// wantCode asserts the class of an error.
func wantCode(t *testing.T, err error, want session.Code) *session.Error {
	t.Helper()
	if got := session.CodeOf(err); got != want {
		t.Fatalf("got code %q (%v), want %q", got, err, want)
	}
	e, _ := errors.AsType[*session.Error](err)
	return e
}

// hookedStore is a store whose calls a test can make fail or hang.
type hookedStore struct {
	session.Store
	mu   sync.Mutex
	hook func(ctx context.Context, op string) error
}

func (h *hookedStore) setHook(hook func(ctx context.Context, op string) error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.hook = hook
}

func (h *hookedStore) meet(ctx context.Context, op string) error {
	h.mu.Lock()
	hook := h.hook
	h.mu.Unlock()
	if hook == nil {
		return nil
	}
	return hook(ctx, op)
}

var errDisk = errors.New("disk I/O error")

// fail makes the named calls fail, or all where none is named.
func (h *hookedStore) fail(ops ...string) {
	h.setHook(func(_ context.Context, op string) error {
		if len(ops) == 0 {
			return errDisk
		}
		for _, o := range ops {
			if o == op {
				return errDisk
			}
		}
		return nil
	})
}

func (h *hookedStore) CreateSession(ctx context.Context, s session.Session) (session.Session, error) {
	if err := h.meet(ctx, "create"); err != nil {
		return session.Session{}, err
	}
	return h.Store.CreateSession(ctx, s)
}

func (h *hookedStore) GetSession(ctx context.Context, id string) (session.Session, error) {
	if err := h.meet(ctx, "get"); err != nil {
		return session.Session{}, err
	}
	return h.Store.GetSession(ctx, id)
}

func (h *hookedStore) UpdateSession(ctx context.Context, s session.Session) (session.Session, error) {
	if err := h.meet(ctx, "update"); err != nil {
		return session.Session{}, err
	}
	return h.Store.UpdateSession(ctx, s)
}

func (h *hookedStore) AllSessions(ctx context.Context) ([]session.Session, error) {
	if err := h.meet(ctx, "all"); err != nil {
		return nil, err
	}
	return h.Store.AllSessions(ctx)
}

func (h *hookedStore) ListSessions(ctx context.Context, f session.Filter) ([]session.Session, error) {
	if err := h.meet(ctx, "list"); err != nil {
		return nil, err
	}
	return h.Store.ListSessions(ctx, f)
}

func (h *hookedStore) Allotted(ctx context.Context, origin string) (bool, error) {
	if err := h.meet(ctx, "allotted"); err != nil {
		return false, err
	}
	return h.Store.Allotted(ctx, origin)
}

func (h *hookedStore) TouchSessions(ctx context.Context, active map[string]time.Time) error {
	if err := h.meet(ctx, "touch"); err != nil {
		return err
	}
	return h.Store.TouchSessions(ctx, active)
}

func (h *hookedStore) PruneSessions(ctx context.Context, t time.Time) (int, error) {
	if err := h.meet(ctx, "prune"); err != nil {
		return 0, err
	}
	return h.Store.PruneSessions(ctx, t)
}

func (h *hookedStore) TokenByHash(ctx context.Context, hash []byte) (session.Token, error) {
	if err := h.meet(ctx, "token"); err != nil {
		return session.Token{}, err
	}
	return h.Store.TokenByHash(ctx, hash)
}

// interrupted is a runtime in whose calls something else happens first, once.
type interrupted struct {
	container.Runtime
	list, get *sync.Once
	first     func()
}

func (i interrupted) List(ctx context.Context) ([]*container.Container, error) {
	if i.list != nil {
		i.list.Do(i.first)
	}
	return i.Runtime.List(ctx)
}

func (i interrupted) Get(ctx context.Context, id string) (*container.Container, error) {
	if i.get != nil {
		i.get.Do(i.first)
	}
	return i.Runtime.Get(ctx, id)
}

// hang is a hook under which the store never answers.
func hang(ctx context.Context, _ string) error {
	<-ctx.Done()
	return ctx.Err()
}

// inject makes trouble until the test ends, or remove is called.
func (k *kit) inject(t *testing.T, f mock.Fault) (remove func()) {
	t.Helper()
	remove = k.engine.Inject(f)
	t.Cleanup(remove)
	return remove
}

var _ container.Runtime = (*mortalRuntime)(nil)
