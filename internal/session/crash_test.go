package session_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/session"
)

// process is what dies at a step: from then on, neither its store nor its
// engine does anything for it any more.
type process struct {
	mu    sync.Mutex
	steps int  // taken until now
	last  int  // the step it dies at; 0: none
	after bool // it dies after that step has had its effect, else before
}

var errDead = errors.New("the process is dead")

// step does one thing in the life of a process.
func step[T any](p *process, do func() (T, error)) (T, error) {
	p.mu.Lock()
	p.steps++
	dead := p.last != 0 && (p.steps > p.last || p.steps == p.last && !p.after)
	dying := p.last != 0 && p.steps == p.last
	p.mu.Unlock()
	var zero T
	if dead {
		return zero, errDead
	}
	v, err := do()
	if dying {
		return zero, errDead
	}
	return v, err
}

type mortalStore struct {
	session.Store
	*process
}

func (m mortalStore) CreateSession(ctx context.Context, s session.Session) (session.Session, error) {
	return step(m.process, func() (session.Session, error) { return m.Store.CreateSession(ctx, s) })
}

func (m mortalStore) GetSession(ctx context.Context, id string) (session.Session, error) {
	return step(m.process, func() (session.Session, error) { return m.Store.GetSession(ctx, id) })
}

func (m mortalStore) UpdateSession(ctx context.Context, s session.Session) (session.Session, error) {
	return step(m.process, func() (session.Session, error) { return m.Store.UpdateSession(ctx, s) })
}

// mortalRuntime dies with its process. Its errors have no class, as a crash has none.
type mortalRuntime struct {
	container.Runtime
	*process
}

func (m *mortalRuntime) Create(ctx context.Context, id string, opts container.Options) (*container.Container, error) {
	return step(m.process, func() (*container.Container, error) { return m.Runtime.Create(ctx, id, opts) })
}

func (m *mortalRuntime) Start(ctx context.Context, id string) error {
	_, err := step(m.process, func() (struct{}, error) { return struct{}{}, m.Runtime.Start(ctx, id) })
	return err
}

func (m *mortalRuntime) Stop(ctx context.Context, id string, timeout time.Duration) error {
	_, err := step(m.process, func() (struct{}, error) { return struct{}{}, m.Runtime.Stop(ctx, id, timeout) })
	return err
}

func (m *mortalRuntime) Update(ctx context.Context, id string, limits container.Resources) error {
	_, err := step(m.process, func() (struct{}, error) {
		updater, _ := container.As[container.Updater](m.Runtime)
		return struct{}{}, updater.Update(ctx, id, limits)
	})
	return err
}

func (m *mortalRuntime) Remove(ctx context.Context, id string) error {
	_, err := step(m.process, func() (struct{}, error) { return struct{}{}, m.Runtime.Remove(ctx, id) })
	return err
}

func (m *mortalRuntime) Get(ctx context.Context, id string) (*container.Container, error) {
	return step(m.process, func() (*container.Container, error) { return m.Runtime.Get(ctx, id) })
}

func (m *mortalRuntime) List(ctx context.Context) ([]*container.Container, error) {
	return step(m.process, func() ([]*container.Container, error) { return m.Runtime.List(ctx) })
}

// TestCrash lets the process die before and after every single step of every
// operation, starts a new one, and expects two passes to put everything right.
func TestCrash(t *testing.T) {
	operations := []struct {
		name    string
		prepare func(t *testing.T, k *kit)
		do      func(ctx context.Context, s *session.ContainerService) error
		// want is what the session may be afterwards; none: there is none, or it is closed.
		want []session.Status
		also func(t *testing.T, k *kit) // checks more; may be nil
	}{
		{
			name: "create and start",
			do: func(ctx context.Context, s *session.ContainerService) error {
				_, err := s.Create(ctx, admin, session.CreateRequest{ID: "x", Start: true})
				return err
			},
			want: []session.Status{session.StatusRunning, ""},
		},
		{
			name: "create",
			do: func(ctx context.Context, s *session.ContainerService) error {
				_, err := s.Create(ctx, admin, session.CreateRequest{ID: "x"})
				return err
			},
			want: []session.Status{session.StatusCreated, ""},
		},
		{
			name:    "create that fails",
			prepare: func(_ *testing.T, k *kit) { k.engine.SetImages("another:image") },
			do: func(ctx context.Context, s *session.ContainerService) error {
				_, err := s.Create(ctx, admin, session.CreateRequest{ID: "x", Start: true})
				return err
			},
			want: []session.Status{session.StatusFailed, ""},
		},
		{
			name: "start",
			prepare: func(t *testing.T, k *kit) {
				k.create(t, "x")
				if _, err := k.Stop(t.Context(), admin, "x", 0); err != nil {
					t.Fatal(err)
				}
			},
			do: func(ctx context.Context, s *session.ContainerService) error {
				_, err := s.Start(ctx, admin, "x")
				return err
			},
			want: []session.Status{session.StatusRunning, session.StatusStopped},
		},
		{
			name:    "stop",
			prepare: func(t *testing.T, k *kit) { k.create(t, "x") },
			do: func(ctx context.Context, s *session.ContainerService) error {
				_, err := s.Stop(ctx, admin, "x", 0)
				return err
			},
			want: []session.Status{session.StatusRunning, session.StatusStopped},
		},
		{
			name:    "restart",
			prepare: func(t *testing.T, k *kit) { k.create(t, "x") },
			do: func(ctx context.Context, s *session.ContainerService) error {
				_, err := s.Restart(ctx, admin, "x", 0)
				return err
			},
			want: []session.Status{session.StatusRunning},
		},
		{
			name:    "update",
			prepare: func(t *testing.T, k *kit) { k.create(t, "x") },
			do: func(ctx context.Context, s *session.ContainerService) error {
				_, err := s.Update(ctx, admin, "x", session.UpdateRequest{Memory: new(int64(64 << 20)),
					IdleTimeout: new(time.Hour)})
				return err
			},
			want: []session.Status{session.StatusRunning},
			also: func(t *testing.T, k *kit) {
				v := k.status(t, "x", session.StatusRunning)
				stats, err := k.Stats(t.Context(), admin, "x")
				if err != nil || v.Spec.Memory != stats.MemoryLimit || v.Next != nil ||
					(v.Spec.Memory != 0) != (v.Spec.IdleTimeout != 0) {
					t.Errorf("the record is %+v, the container's %+v, %v", v.Session, stats, err)
				}
			},
		},
		{
			name:    "delete",
			prepare: func(t *testing.T, k *kit) { k.create(t, "x") },
			do:      func(ctx context.Context, s *session.ContainerService) error { return s.Delete(ctx, admin, "x") },
			want:    []session.Status{session.StatusRunning, ""},
		},
		{
			name: "reconcile a stray",
			prepare: func(t *testing.T, k *kit) {
				k.create(t, "x")
				closeRecord(t, k, "x")
				k.reconcile(t)
			},
			do:   func(ctx context.Context, s *session.ContainerService) error { return s.Reconcile(ctx) },
			want: []session.Status{""},
		},
	}
	for _, op := range operations {
		t.Run(op.name, func(t *testing.T) {
			for last, finished := 1, false; !finished; last++ {
				for _, after := range []bool{false, true} {
					t.Run(fmt.Sprintf("step %d after=%t", last, after), func(t *testing.T) {
						k := newKit(t)
						if op.prepare != nil {
							op.prepare(t, k)
						}
						p := &process{last: last, after: after}
						dying := session.NewContainerService(&mortalRuntime{k.rt, p}, mortalStore{k.store, p},
							configure())
						_ = op.do(t.Context(), dying) // nobody is there to hear it
						finished = p.steps < last
						k.assertRight(t, "x", op.want)
						if op.also != nil {
							op.also(t, k)
						}
					})
				}
			}
		})
	}
}

// assertRight has a new process reconcile twice, and checks what every crash must leave.
func (k *kit) assertRight(t *testing.T, id string, want []session.Status) {
	t.Helper()
	k.ContainerService = session.NewContainerService(k.rt, k.store, configure())
	k.reconcile(t)
	k.reconcile(t)
	got := session.Status("")
	v, err := k.Get(t.Context(), admin, id)
	switch {
	case err == nil && v.Status != session.StatusClosed:
		got = v.Status
	case err != nil:
		wantCode(t, err, session.CodeSessionNotFound)
	}
	ok := false
	for _, w := range want {
		ok = ok || got == w
	}
	if !ok {
		t.Fatalf("the session is %q (%s), want one of %q", got, v.Reason, want)
	}
	containers := 1
	if got == "" || got == session.StatusFailed {
		containers = 0
	}
	if n := k.containers(); n != containers {
		t.Fatalf("%d containers beside a session that is %q", n, got)
	}
	report, err := k.ReconcilePass(t.Context(), admin, session.ReconcileOptions{})
	if err != nil || report.Changed+report.Removed+report.Failed+report.Held != 0 {
		t.Fatalf("not at rest: %+v, %v", report, err)
	}
}

// closeRecord closes a session's record behind the service's back; its container stays.
func closeRecord(t *testing.T, k *kit, id string) {
	t.Helper()
	s, err := k.store.GetSession(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	s.Desired, s.ClosedAt = session.DesiredClosed, s.CreatedAt.Add(1)
	if s.ClosedAt.Before(s.ActiveAt) {
		s.ClosedAt = s.ActiveAt
	}
	if _, err := k.store.UpdateSession(t.Context(), s); err != nil {
		t.Fatal(err)
	}
}
