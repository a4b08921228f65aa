package session_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/container/mock"
	"github.com/octobot-run/octobot/internal/session"
)

// settled makes as many passes as it takes for a removal, and one more.
func (k *kit) settled(t *testing.T) (last session.Report) {
	t.Helper()
	for range 4 {
		var err error
		if last, err = k.ReconcilePass(t.Context(), admin, session.ReconcileOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	return last
}

func TestEndedByItself(t *testing.T) {
	k := newKit(t)
	events := k.subscribe(t, "")
	defer events.Close()
	k.create(t, "x")
	k.create(t, "y")
	k.engine.Exit("x", 3, false)
	k.engine.Exit("y", 0, true)
	if v := k.status(t, "x", session.StatusStopped); v.Reason != "exited with code 3" {
		t.Errorf("before it is recorded: %q", v.Reason)
	}
	k.reconcile(t)
	v := k.status(t, "x", session.StatusStopped)
	if v.Exit == nil || v.Exit.Code != 3 || v.Exit.At.IsZero() || v.Desired != session.DesiredStopped {
		t.Errorf("exit: %+v", v.Exit)
	}
	if v = k.status(t, "y", session.StatusStopped); v.Exit == nil || !v.Exit.OOMKilled || v.Exit.Code != 137 {
		t.Errorf("exit: %+v", v.Exit)
	}
	kinds := make(map[string]int)
	for len(events.C()) > 0 {
		kinds[(<-events.C()).Kind]++
	}
	if kinds[session.EventStopped] != 2 || kinds[session.EventStarted] != 2 || kinds[session.EventCreated] != 2 {
		t.Errorf("events: %v", kinds)
	}
	if r := k.settled(t); r.Changed != 0 {
		t.Errorf("not at rest: %+v", r)
	}
}

func TestStartedBySomebodyElse(t *testing.T) {
	k := newKit(t)
	k.create(t, "x")
	if _, err := k.Stop(t.Context(), admin, "x", 0); err != nil {
		t.Fatal(err)
	}
	if err := k.rt.Start(t.Context(), "x"); err != nil {
		t.Fatal(err)
	}
	k.reconcile(t)
	if v := k.status(t, "x", session.StatusRunning); v.Desired != session.DesiredRunning || v.Exit != nil {
		t.Errorf("%+v", v.Session)
	}
}

func TestHeals(t *testing.T) {
	k := newKit(t)
	v := k.create(t, "x")
	engineWithout := session.NewContainerService(mock.NewEngine().Provider("test"), k.store, configure())
	if err := engineWithout.Reconcile(t.Context()); err != nil {
		t.Fatal(err)
	}
	k.status(t, "x", session.StatusFailed)
	k.reconcile(t)
	if v := k.status(t, "x", session.StatusRunning); v.Failure != nil {
		t.Errorf("failure: %+v", v.Failure)
	}
	if again := k.status(t, "x", session.StatusRunning); again.ContainerID != v.ContainerID {
		t.Error("it is another container")
	}
}

// TestTwin checks that a container which took the place of a session's own is held and reported.
func TestTwin(t *testing.T) {
	k := newKit(t)
	v := k.create(t, "x")
	k.engine.Lose("x")
	if _, err := k.rt.Create(t.Context(), "x", v.Options()); err != nil {
		t.Fatal(err)
	}
	r := k.settled(t)
	if r.Held != 1 || r.Changed+r.Removed != 0 || r.Fates[0].Reason == "" || k.containers() != 1 {
		t.Errorf("%+v", r)
	}
	k.status(t, "x", session.StatusUnknown)
}

// TestStoreErrorEndsPass checks that a store which fails is not asked about every session.
func TestStoreErrorEndsPass(t *testing.T) {
	k := newKit(t)
	for i := range 50 {
		k.create(t, fmt.Sprintf("s%d", i))
		k.engine.Exit(fmt.Sprintf("s%d", i), 1, false)
	}
	var mu sync.Mutex
	asked := 0
	k.store.setHook(func(_ context.Context, op string) error {
		if op != "get" {
			return nil
		}
		mu.Lock()
		defer mu.Unlock()
		asked++
		return errDisk
	})
	r, err := k.ReconcilePass(t.Context(), admin, session.ReconcileOptions{})
	wantCode(t, err, session.CodeStoreUnavailable)
	if asked > 16 || r.Changed != 0 {
		t.Errorf("asked %d times: %+v", asked, r)
	}
}

// TestStoreFailsDuringPass lets each call of the store fail in each pass, with containers
// that would be removed.
func TestStoreFailsDuringPass(t *testing.T) {
	for _, op := range []string{"all", "get", "allotted"} {
		for name, hook := range map[string]func(context.Context) error{
			"fails":             func(context.Context) error { return errDisk },
			"hangs":             func(ctx context.Context) error { return hang(ctx, "") },
			"says deadline":     func(context.Context) error { return context.DeadlineExceeded },
			"says it is closed": func(context.Context) error { return errors.New("sql: database is closed") },
		} {
			bubble(t, op+" "+name, func(t *testing.T) {
				k := newKit(t, func(c *session.Config) { c.StoreTimeout = time.Second })
				k.create(t, "running")
				k.create(t, "forgotten")
				k.create(t, "closed")
				forget(t, k, "forgotten")
				closeRecord(t, k, "closed")
				time.Sleep(time.Second) // past the grace period
				k.reconcile(t)
				k.store.setHook(func(ctx context.Context, called string) error {
					if called == op {
						return hook(ctx)
					}
					return nil
				})
				removals := k.engine.Calls("remove")
				wantCode(t, k.Reconcile(t.Context()), session.CodeStoreUnavailable)
				for range 2 {
					_ = k.Reconcile(t.Context()) // it may not come to that call again
				}
				if n := k.engine.Calls("remove") - removals; n != 0 {
					t.Errorf("%d containers were removed", n)
				}
				k.store.setHook(nil)
				k.settled(t)
				if n := k.containers(); n != 1 {
					t.Errorf("%d containers when all is well again", n)
				}
			})
		}
	}
}

func TestEngineFailsDuringPass(t *testing.T) {
	for class, code := range map[error]session.Code{container.ErrUnavailable: session.CodeEngineUnavailable,
		container.ErrRefused: session.CodeEngineRefused} {
		t.Run(string(code), func(t *testing.T) { testEngineFailsDuringPass(t, class, code) })
	}
}

func testEngineFailsDuringPass(t *testing.T, class error, code session.Code) {
	k := newKit(t)
	k.create(t, "running")
	k.create(t, "gone")
	k.create(t, "closed")
	closeRecord(t, k, "closed")
	k.engine.Lose("gone")
	for _, op := range []string{"list", "get", "remove"} {
		remove := k.inject(t, mock.Fault{Op: op, Err: class})
		for range 3 {
			wantCode(t, k.Reconcile(t.Context()), code)
		}
		remove()
		if k.containers() != 2 {
			t.Fatalf("%s fails, and %d containers are left", op, k.containers())
		}
		if op == "get" {
			if v := k.status(t, "gone", session.StatusFailed); v.Failure != nil {
				t.Error("it was recorded as lost while the engine did not answer")
			}
		}
	}
	k.settled(t)
	k.status(t, "running", session.StatusRunning)
	if k.containers() != 1 {
		t.Errorf("%d containers", k.containers())
	}
}

// TestOldList checks that a session is not lost because the list was older than its record.
func TestOldList(t *testing.T) {
	k := newKit(t)
	k.create(t, "x")
	first := true
	k.store.setHook(func(_ context.Context, op string) error {
		if op == "all" && first {
			first = false
			k.create(t, "newer") // after the list, before the sessions are read
		}
		return nil
	})
	r, err := k.ReconcilePass(t.Context(), admin, session.ReconcileOptions{})
	if err != nil || r.Changed+r.Removed+r.Failed != 0 {
		t.Errorf("%+v, %v", r, err)
	}
	k.status(t, "newer", session.StatusRunning)
}

// TestListFirst checks that a container which is made while a pass begins has a record by the time
// that it is compared.
func TestListFirst(t *testing.T) {
	k := newKit(t)
	rt := interrupted{Runtime: k.rt, list: new(sync.Once), first: func() { k.create(t, "x") }}
	r, err := session.NewContainerService(rt, k.store, configure()).ReconcilePass(t.Context(), admin,
		session.ReconcileOptions{})
	if err != nil || r.Sessions != 1 || r.Containers != 1 || r.Held+r.Changed != 0 {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestChangedMeanwhile checks that a session which changed after it was read is left to the next
// pass.
func TestChangedMeanwhile(t *testing.T) {
	k := newKit(t)
	k.create(t, "x")
	k.engine.Exit("x", 1, false)
	first := true
	k.store.setHook(func(_ context.Context, op string) error {
		if op == "get" && first {
			first = false
			s, err := k.store.Store.GetSession(t.Context(), "x")
			if err == nil {
				_, err = k.store.Store.UpdateSession(t.Context(), s)
			}
			return err
		}
		return nil
	})
	r, err := k.ReconcilePass(t.Context(), admin, session.ReconcileOptions{})
	if err != nil || r.Changed != 0 || len(r.Fates) != 1 || r.Fates[0].Action != session.ActionSkip {
		t.Errorf("%+v, %v", r, err)
	}
	k.reconcile(t)
	if v := k.status(t, "x", session.StatusStopped); v.Exit == nil {
		t.Error("not recorded")
	}
}

// intend records a session whose operation was begun, and no more.
func intend(t *testing.T, k *kit, id string, op session.Operation, desired session.Desired) {
	t.Helper()
	now := time.Now().UTC()
	_, err := k.store.CreateSession(t.Context(), session.Session{
		ID: id, Spec: session.Spec{Image: "debian:12"}, Desired: desired, Pending: op,
		PendingSince: now, CreatedAt: now, ActiveAt: now,
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestInterrupted checks that what can't be finished is said, and not tried for ever.
func TestInterrupted(t *testing.T) {
	t.Run("image", func(t *testing.T) {
		k := newKit(t)
		k.engine.SetImages()
		intend(t, k, "x", session.OperationCreate, session.DesiredRunning)
		k.settled(t)
		if v := k.status(t, "x", session.StatusFailed); v.Failure.Code != session.CodeImageNotFound {
			t.Errorf("%+v", v.Failure)
		}
		_, err := k.Start(t.Context(), admin, "x")
		wantCode(t, err, session.CodeImageNotFound)
	})
	t.Run("port", func(t *testing.T) {
		k := newKit(t)
		k.inject(t, mock.Fault{Op: "start", Err: container.ErrPortTaken})
		intend(t, k, "x", session.OperationCreate, session.DesiredRunning)
		k.settled(t)
		k.status(t, "x", session.StatusCreated)
	})
	t.Run("its name is taken", func(t *testing.T) {
		k := newKit(t)
		intend(t, k, "x", session.OperationCreate, session.DesiredRunning)
		if _, err := k.rt.Create(t.Context(), "x",
			container.Options{Image: "debian:12", Origin: "elsewhere:1"}); err != nil {
			t.Fatal(err)
		}
		k.settled(t)
		if v := k.status(t, "x", session.StatusFailed); v.Failure.Code != session.CodeSessionExists {
			t.Errorf("%+v", v.Failure)
		}
		if k.engine.Calls("start") != 0 || k.containers() != 1 {
			t.Error("the container was touched")
		}
	})
	bubble(t, "never done", func(t *testing.T) {
		k := newKit(t)
		k.inject(t, mock.Fault{Op: "create", Wait: make(chan struct{})})
		intend(t, k, "x", session.OperationCreate, session.DesiredRunning)
		k.reconcile(t)
		if v := k.status(t, "x", session.StatusFailed); v.Failure.Code != session.CodeTimeout {
			t.Errorf("%+v", v.Failure)
		}
	})
	for name, limited := range map[string]func(context.Context) (context.Context, context.CancelFunc){
		"whoever looked is leaving": func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(ctx)
			time.AfterFunc(time.Second, cancel)
			return ctx, cancel
		},
		"whoever looked had little time": func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, time.Second)
		},
	} {
		bubble(t, name, func(t *testing.T) {
			k := newKit(t)
			remove := k.inject(t, mock.Fault{Op: "create", Wait: never()})
			intend(t, k, "x", session.OperationCreate, session.DesiredRunning)
			time.Sleep(time.Hour) // nobody was there
			ctx, cancel := limited(t.Context())
			defer cancel()
			if err := k.Reconcile(ctx); err == nil {
				t.Error("it was finished")
			}
			k.status(t, "x", session.StatusCreating)
			remove()
			k.reconcile(t)
			k.status(t, "x", session.StatusRunning)
		})
	}
	bubble(t, "a pull takes long", func(t *testing.T) {
		k := newKit(t, func(c *session.Config) { c.CallTimeout = 30 * time.Second })
		pulled := make(chan struct{})
		k.inject(t, mock.Fault{Op: "create", Wait: pulled})
		time.AfterFunc(10*time.Minute, func() { close(pulled) })
		intend(t, k, "x", session.OperationCreate, session.DesiredRunning)
		k.reconcile(t)
		k.status(t, "x", session.StatusRunning)
		if n := k.engine.Calls("create"); n != 1 {
			t.Errorf("it was begun %d times", n)
		}
	})
	t.Run("until it is finished", func(t *testing.T) {
		k := newKit(t)
		intend(t, k, "x", session.OperationCreate, session.DesiredRunning)
		_, err := k.Start(t.Context(), admin, "x")
		wantCode(t, err, session.CodeBusy)
		if err := k.Delete(t.Context(), admin, "x"); err != nil {
			t.Error(err)
		}
		k.status(t, "x", session.StatusClosed)
	})
}

func TestOnePassAtATime(t *testing.T) {
	k := newKit(t)
	release := make(chan struct{})
	k.inject(t, mock.Fault{Op: "list", Nth: 1, Wait: release})
	done := make(chan error, 1)
	go func() { done <- k.Reconcile(t.Context()) }()
	for k.engine.Calls("list") == 0 {
		time.Sleep(time.Millisecond)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	wantCode(t, k.Reconcile(ctx), session.CodeTimeout)
	close(release)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if n := k.engine.Calls("list"); n != 1 {
		t.Errorf("%d lists", n)
	}
}
