package session_test

import (
	"context"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/container/mock"
	"github.com/octobot-run/octobot/internal/session"
)

// inBubble gives a kit whose service runs, with time that passes only while everybody waits.
func inBubble(t *testing.T, test func(t *testing.T, k *kit), change ...func(*session.Config)) {
	path := filepath.Join(t.TempDir(), "octobot.db")
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		engine := mock.NewEngine()
		k := &kit{engine: engine, rt: engine.Provider("test"), path: path,
			store: &hookedStore{Store: openStore(t, path)}}
		cfg := configure()
		for _, f := range change {
			f(&cfg)
		}
		k.ContainerService = session.NewContainerService(k.rt, k.store, cfg)
		done := make(chan error, 1)
		go func() { done <- k.Run(ctx) }()
		synctest.Wait()
		test(t, k)
		k.store.setHook(nil)
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
		if err := k.rt.Close(); err != nil {
			t.Error(err)
		}
		engine.Close()
	})
}

func TestRunOnHints(t *testing.T) {
	inBubble(t, func(t *testing.T, k *kit) {
		k.create(t, "x")
		time.Sleep(5 * time.Second)
		k.engine.Exit("x", 3, false)
		time.Sleep(2 * time.Second)
		if v := k.status(t, "x", session.StatusStopped); v.Exit == nil || v.Exit.Code != 3 {
			t.Errorf("%+v", v.Exit)
		}
	}, func(c *session.Config) { c.ReconcileInterval = time.Hour })
}

// TestRunLooksAgain checks that a look which meets a change is made again, and not left to a pass.
func TestRunLooksAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, k *kit) {
		k.create(t, "x")
		time.Sleep(5 * time.Second)
		gets := 0
		k.store.setHook(func(_ context.Context, op string) error {
			if op != "get" {
				return nil
			}
			if gets++; gets != 2 { // before it acts upon what it saw
				return nil
			}
			s, err := k.store.Store.GetSession(t.Context(), "x")
			if err == nil {
				_, err = k.store.Store.UpdateSession(t.Context(), s)
			}
			return err
		})
		k.engine.Exit("x", 3, false)
		time.Sleep(3 * time.Second)
		k.store.setHook(nil)
		if s, err := k.store.GetSession(t.Context(), "x"); err != nil || s.Exit == nil || s.Exit.Code != 3 {
			t.Errorf("three seconds after its end: %+v, %v", s.Exit, err)
		}
		if gets != 4 {
			t.Errorf("its record was read %d times, want four", gets)
		}
	}, func(c *session.Config) { c.ReconcileInterval = time.Hour })
}

func TestRunOnPeriod(t *testing.T) {
	inBubble(t, func(t *testing.T, k *kit) {
		k.create(t, "x")
		k.engine.Lose("x")
		time.Sleep(90 * time.Second)
		s, err := k.store.GetSession(t.Context(), "x")
		if err != nil || s.Failure == nil {
			t.Errorf("%+v, %v", s, err)
		}
		lists := k.engine.Calls("list")
		time.Sleep(10 * time.Minute)
		if n := k.engine.Calls("list") - lists; n != 10 {
			t.Errorf("%d passes in 10 minutes", n)
		}
	}, func(c *session.Config) { c.ReconcileInterval = time.Minute })
}

// TestRunCoalescesHints checks that a storm of events makes few looks, and no pass.
func TestRunCoalescesHints(t *testing.T) {
	inBubble(t, func(t *testing.T, k *kit) {
		time.Sleep(5 * time.Second)
		lists, gets := k.engine.Calls("list"), k.engine.Calls("get")
		for range 50 {
			k.create(t, "x")
			if err := k.Delete(t.Context(), admin, "x"); err != nil {
				t.Fatal(err)
			}
			time.Sleep(100 * time.Millisecond)
		}
		if n := k.engine.Calls("list") - lists; n > 0 {
			t.Errorf("%d passes", n)
		}
		// A creation asks once, and a removal; a look, up to twice.
		if n := k.engine.Calls("get") - gets - 100; n > 12 {
			t.Errorf("%d looks in 5 seconds", n)
		}
	}, func(c *session.Config) { c.ReconcileInterval = time.Hour })
}

// TestRunHintsDelayNothing checks that hints never put off a regular pass.
func TestRunHintsDelayNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, k *kit) {
		time.Sleep(1010 * time.Millisecond)
		lists := k.engine.Calls("list")
		for range 40 {
			k.create(t, "x")
			if err := k.Delete(t.Context(), admin, "x"); err != nil {
				t.Fatal(err)
			}
			time.Sleep(50 * time.Millisecond)
		}
		if n := k.engine.Calls("list") - lists; n < 19 {
			t.Errorf("%d passes in 2 seconds", n)
		}
	}, func(c *session.Config) { c.ReconcileInterval = 100 * time.Millisecond })
}

// TestRunAfterOutage checks that what an outage interrupted is finished soon after it.
func TestRunAfterOutage(t *testing.T) {
	inBubble(t, func(t *testing.T, k *kit) {
		k.create(t, "x")
		time.Sleep(time.Minute)
		k.engine.SetDown(true)
		wantCode(t, k.Delete(t.Context(), admin, "x"), session.CodeEngineUnavailable)
		time.Sleep(10 * time.Minute)
		k.status(t, "x", session.StatusClosing)
		k.engine.SetDown(false)
		time.Sleep(10 * time.Second)
		k.status(t, "x", session.StatusClosed)
		// And the event stream is there again.
		k.create(t, "y")
		time.Sleep(time.Minute)
		k.engine.Exit("y", 1, false)
		time.Sleep(5 * time.Second)
		if v := k.status(t, "y", session.StatusStopped); v.Exit == nil {
			t.Error("the end was not noticed")
		}
	}, func(c *session.Config) { c.ReconcileInterval = time.Hour })
}

func TestIdle(t *testing.T) {
	idle := func(c *session.Config) { c.IdleTimeout, c.ReconcileInterval = 30*time.Minute, 10*time.Second }
	exec := func(t *testing.T, k *kit, id string) {
		t.Helper()
		if _, err := k.Exec(t.Context(), admin, id, []string{"true"}, container.ExecOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("stops", func(t *testing.T) {
		inBubble(t, func(t *testing.T, k *kit) {
			k.create(t, "x")
			k.create(t, "never")
			time.Sleep(29 * time.Minute)
			exec(t, k, "x")
			time.Sleep(29 * time.Minute)
			k.status(t, "x", session.StatusRunning)
			if v := k.status(t, "never", session.StatusStopped); v.Reason != "idle for 30m0s" {
				t.Errorf("reason: %q", v.Reason)
			}
			time.Sleep(2 * time.Minute)
			k.status(t, "x", session.StatusStopped)
			if _, err := k.Start(t.Context(), admin, "x"); err != nil {
				t.Error(err)
			}
			time.Sleep(29 * time.Minute)
			k.status(t, "x", session.StatusRunning)
		}, idle)
	})
	t.Run("closes", func(t *testing.T) {
		inBubble(t, func(t *testing.T, k *kit) {
			k.create(t, "x")
			time.Sleep(31 * time.Minute)
			if v := k.status(t, "x", session.StatusClosed); v.Exit == nil || v.Exit.Reason != "idle for 30m0s" {
				t.Errorf("%+v", v.Exit)
			}
			if k.containers() != 0 {
				t.Error("the container is left")
			}
		}, idle, func(c *session.Config) { c.OnExpire = session.ExpiryClose })
	})
	t.Run("not while a terminal is open", func(t *testing.T) {
		inBubble(t, func(t *testing.T, k *kit) {
			k.create(t, "x")
			pty, err := k.Attach(t.Context(), admin, "x", container.AttachOptions{Cmd: []string{"cat"}})
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Hour)
			k.status(t, "x", session.StatusRunning)
			if err := pty.Close(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(29 * time.Minute)
			k.status(t, "x", session.StatusRunning)
			time.Sleep(2 * time.Minute)
			k.status(t, "x", session.StatusStopped)
		}, idle)
	})
	t.Run("not while a command runs", func(t *testing.T) {
		inBubble(t, func(t *testing.T, k *kit) {
			k.create(t, "x")
			if _, err := k.Exec(t.Context(), admin, "x", []string{"sleep", "7200"},
				container.ExecOptions{}); err != nil {
				t.Fatal(err)
			}
			k.status(t, "x", session.StatusRunning)
		}, idle)
	})
}

func TestMaxAge(t *testing.T) {
	inBubble(t, func(t *testing.T, k *kit) {
		k.create(t, "x")
		pty, err := k.Attach(t.Context(), admin, "x", container.AttachOptions{Cmd: []string{"cat"}})
		if err != nil {
			t.Fatal(err)
		}
		defer pty.Close()
		time.Sleep(59 * time.Minute)
		k.status(t, "x", session.StatusRunning)
		time.Sleep(2 * time.Minute)
		if v := k.status(t, "x", session.StatusStopped); v.Reason != "older than 1h0m0s" {
			t.Errorf("reason: %q", v.Reason)
		}
	}, func(c *session.Config) { c.MaxAge = time.Hour })
}

// TestActivityIsWritten checks that use is on record, so that a new process knows of it.
func TestActivityIsWritten(t *testing.T) {
	inBubble(t, func(t *testing.T, k *kit) {
		k.create(t, "x")
		activeAt := func() time.Time {
			t.Helper()
			s, err := k.store.GetSession(t.Context(), "x")
			if err != nil {
				t.Fatal(err)
			}
			return s.ActiveAt
		}
		time.Sleep(time.Hour)
		if _, err := k.Exec(t.Context(), admin, "x", []string{"true"}, container.ExecOptions{}); err != nil {
			t.Fatal(err)
		}
		used := time.Now().UTC()
		k.store.fail("touch")
		time.Sleep(time.Minute)
		k.store.setHook(nil)
		time.Sleep(16 * time.Second)
		if got := activeAt(); !got.Equal(used) {
			t.Errorf("active at %v, want %v", got, used)
		}
		pty, err := k.Attach(t.Context(), admin, "x", container.AttachOptions{Cmd: []string{"cat"}})
		if err != nil {
			t.Fatal(err)
		}
		defer pty.Close()
		time.Sleep(time.Hour)
		if ago := time.Since(activeAt()); ago > 15*time.Second {
			t.Errorf("a terminal is open, and the last use was %v ago", ago)
		}
	})
}

// TestHangingSessionHoldsNobody has the engine hang with some sessions, and checks that what
// happens to others is seen to within a second, and that passes go on.
func TestHangingSessionHoldsNobody(t *testing.T) {
	inBubble(t, func(t *testing.T, k *kit) {
		hanging := []string{"h1", "h2", "h3", "h4", "h5", "h6", "h7", "h8", "h9"}
		for _, id := range append(hanging, "ends", "closes") {
			k.create(t, id)
		}
		time.Sleep(time.Minute)
		for _, id := range hanging {
			k.inject(t, mock.Fault{Op: "get", SessionID: id, Wait: never()})
			k.engine.Exit(id, 1, false)
		}
		time.Sleep(11 * time.Second) // looks and passes have met them
		k.engine.Exit("ends", 3, false)
		k.inject(t, mock.Fault{Op: "remove", Nth: 1, Err: container.ErrUnavailable})
		wantCode(t, k.Delete(t.Context(), admin, "closes"), session.CodeEngineUnavailable)
		time.Sleep(time.Second)
		if s, err := k.store.GetSession(t.Context(), "ends"); err != nil || s.Exit == nil || s.Exit.Code != 3 {
			t.Errorf("a second after its end: %+v, %v", s.Exit, err)
		}
		k.status(t, "closes", session.StatusClosed)
		lists := k.engine.Calls("list")
		time.Sleep(time.Minute)
		if n := k.engine.Calls("list") - lists; n < 4 {
			t.Errorf("%d passes in a minute", n)
		}
		start := time.Now()
		_ = k.Reconcile(t.Context()) // some may be skipped, and some not be waited for
		if d := time.Since(start); d > 5*time.Second {
			t.Errorf("a pass took %v", d)
		}
		// A person's pass waits, and holds up no other.
		lists, start = k.engine.Calls("list"), time.Now()
		r, err := k.ReconcilePass(t.Context(), admin, session.ReconcileOptions{})
		if len(r.Fates) != len(hanging) {
			t.Errorf("%+v, %v", r, err)
		}
		if d := time.Since(start); d < 10*time.Second || d > 70*time.Second {
			t.Errorf("a person's pass took %v", d)
		}
		if n := k.engine.Calls("list") - lists; n < 3 {
			t.Errorf("%d passes meanwhile", n)
		}
	}, func(c *session.Config) { c.CallTimeout, c.ReconcileInterval = 30*time.Second, 10*time.Second })
}

// TestSlowWorkGoesOn checks that a pass leaves what takes long, which goes on without it and ends
// with Run.
func TestSlowWorkGoesOn(t *testing.T) {
	inBubble(t, func(t *testing.T, k *kit) {
		pulled := make(chan struct{})
		k.inject(t, mock.Fault{Op: "create", Wait: pulled})
		intend(t, k, "x", session.OperationCreate, session.DesiredRunning)
		r, err := k.ReconcilePass(t.Context(), admin, session.ReconcileOptions{})
		if err != nil || len(r.Fates) != 1 || r.Fates[0].Action != session.ActionSkip || r.Changed != 0 {
			t.Errorf("%+v, %v", r, err)
		}
		time.Sleep(10 * time.Minute)
		k.status(t, "x", session.StatusCreating)
		close(pulled)
		time.Sleep(time.Second)
		k.status(t, "x", session.StatusRunning)
		if n := k.engine.Calls("create"); n != 1 {
			t.Errorf("it was begun %d times", n)
		}
		k.inject(t, mock.Fault{Op: "create", Wait: never()})
		intend(t, k, "y", session.OperationCreate, session.DesiredRunning)
		time.Sleep(time.Minute) // it is under way when Run ends
	})
}

// TestHangingSession has one session's engine calls hang, while others reach their limits.
func TestHangingSession(t *testing.T) {
	inBubble(t, func(t *testing.T, k *kit) {
		for _, id := range []string{"a", "hanging", "z"} {
			k.create(t, id)
		}
		k.inject(t, mock.Fault{Op: "get", SessionID: "hanging", Wait: make(chan struct{})})
		time.Sleep(32 * time.Minute)
		k.status(t, "a", session.StatusStopped)
		k.status(t, "z", session.StatusStopped)
		k.status(t, "hanging", session.StatusUnknown)
	}, func(c *session.Config) { c.IdleTimeout, c.CallTimeout = 30*time.Minute, 30*time.Second })
}

func TestRunForgetsClosedSessions(t *testing.T) {
	inBubble(t, func(t *testing.T, k *kit) {
		k.create(t, "x")
		k.create(t, "y")
		if err := k.Delete(t.Context(), admin, "x"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(50 * time.Minute)
		k.status(t, "x", session.StatusClosed)
		time.Sleep(12 * time.Minute)
		_, err := k.Get(t.Context(), admin, "x")
		wantCode(t, err, session.CodeSessionNotFound)
		k.status(t, "y", session.StatusRunning)
	}, func(c *session.Config) { c.Retention = time.Hour })
}

// TestRunPassesWhileBulkWritesHang checks that a store that hangs in a write about many sessions
// holds no pass up.
func TestRunPassesWhileBulkWritesHang(t *testing.T) {
	inBubble(t, func(t *testing.T, k *kit) {
		k.create(t, "x")
		k.store.setHook(func(ctx context.Context, op string) error {
			if op == "prune" || op == "touch" {
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		})
		time.Sleep(2 * time.Minute)
		lists := k.engine.Calls("list")
		time.Sleep(time.Minute)
		if n := k.engine.Calls("list") - lists; n < 50 { // one that waited would make two or three
			t.Errorf("%d passes in a minute", n)
		}
	}, func(c *session.Config) { c.ReconcileInterval = time.Second })
}

// TestHealth checks that what is wrong is told within a second, and that many who ask cost one
// look.
func TestHealth(t *testing.T) {
	inBubble(t, func(t *testing.T, k *kit) {
		if h := k.Health(t.Context()); h.Store != nil || h.Engine != nil || h.Info.Name == "" {
			t.Errorf("all is well, and it says %+v", h)
		}
		k.engine.SetDown(true)
		time.Sleep(time.Second)
		probes := k.engine.Calls("probe")
		for range 100 {
			if h := k.Health(t.Context()); h.Store != nil || session.CodeOf(h.Engine) != session.CodeEngineUnavailable {
				t.Fatalf("the engine is down, and it says %+v", h)
			}
		}
		if n := k.engine.Calls("probe") - probes; n > 1 {
			t.Errorf("%d probes for 100 questions", n)
		}
		k.engine.SetDown(false)
		time.Sleep(time.Second)
		if h := k.Health(t.Context()); h.Store != nil || h.Engine != nil {
			t.Errorf("all is well again, and it says %+v", h)
		}
	}, func(c *session.Config) { c.ReconcileInterval = time.Hour })
}
