package session_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/session"
)

// TestShortLimits checks that limits much shorter than the time between passes are kept within two
// seconds, and that a session in use costs the engine nothing.
func TestShortLimits(t *testing.T) {
	limited := func(t *testing.T, k *kit, id string, spec session.Spec) {
		t.Helper()
		if _, err := k.Create(t.Context(), admin, session.CreateRequest{ID: id, Start: true, Spec: spec}); err != nil {
			t.Fatal(err)
		}
	}
	inBubble(t, func(t *testing.T, k *kit) {
		time.Sleep(10 * time.Second)
		limited(t, k, "idle", session.Spec{IdleTimeout: 3 * time.Second})
		limited(t, k, "closed", session.Spec{IdleTimeout: 3 * time.Second, OnExpire: session.ExpiryClose})
		limited(t, k, "old", session.Spec{MaxAge: 4 * time.Second, OnExpire: session.ExpiryClose})
		limited(t, k, "used", session.Spec{IdleTimeout: 3 * time.Second})
		limited(t, k, "later", session.Spec{IdleTimeout: time.Minute})
		exec := func() {
			t.Helper()
			if _, err := k.Exec(t.Context(), admin, "used", []string{"true"}, container.ExecOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(2900 * time.Millisecond)
		for _, id := range []string{"idle", "closed", "old", "used", "later"} {
			k.status(t, id, session.StatusRunning)
		}
		exec()
		time.Sleep(2100 * time.Millisecond)
		if v := k.status(t, "idle", session.StatusStopped); v.Reason != "idle for 3s" {
			t.Errorf("reason: %q", v.Reason)
		}
		k.status(t, "closed", session.StatusClosed)
		exec()
		time.Sleep(time.Second)
		k.status(t, "old", session.StatusClosed)
		gets := k.engine.Calls("get")
		for range 30 {
			time.Sleep(time.Second)
			exec()
		}
		if n := k.engine.Calls("get") - gets; n != 0 {
			t.Errorf("the engine was asked %d times about sessions that are in use", n)
		}
		k.status(t, "used", session.StatusRunning)
		k.status(t, "later", session.StatusRunning)
		time.Sleep(26 * time.Second)
		k.status(t, "later", session.StatusStopped)
		k.status(t, "used", session.StatusStopped)
	}, func(c *session.Config) { c.ReconcileInterval = time.Hour })
}

// TestLimitsAfterDowntime checks that a daemon which comes back after an hour gives the sessions'
// owners time to come back too.
func TestLimitsAfterDowntime(t *testing.T) {
	bubble(t, "an hour", func(t *testing.T) {
		k := newKit(t)
		for id, spec := range map[string]session.Spec{
			"idle": {IdleTimeout: 30 * time.Minute}, "old": {MaxAge: 50 * time.Minute},
		} {
			spec.OnExpire = session.ExpiryClose
			if _, err := k.Create(t.Context(), admin,
				session.CreateRequest{ID: id, Start: true, Spec: spec}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Hour)
		cfg := configure()
		cfg.Grace = 2 * time.Minute
		k.ContainerService = session.NewContainerService(k.rt, k.store, cfg)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- k.Run(ctx) }()
		time.Sleep(119 * time.Second)
		k.status(t, "old", session.StatusRunning)
		time.Sleep(4 * time.Second)
		k.status(t, "old", session.StatusClosed)
		time.Sleep(27 * time.Minute)
		k.status(t, "idle", session.StatusRunning)
		time.Sleep(time.Minute)
		k.status(t, "idle", session.StatusClosed)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// TestTwoLooksAgree checks that a session past a limit is ended by the second look that sees it so,
// and that neither a dry run nor a look between which it was used counts.
func TestTwoLooksAgree(t *testing.T) {
	bubble(t, "passes", func(t *testing.T) {
		k := newKit(t, func(c *session.Config) { c.IdleTimeout, c.OnExpire = time.Minute, session.ExpiryClose })
		k.create(t, "x")
		pass := func(dry bool) session.Report {
			t.Helper()
			r, err := k.ReconcilePass(t.Context(), admin, session.ReconcileOptions{DryRun: dry})
			if err != nil {
				t.Fatal(err)
			}
			return r
		}
		time.Sleep(2 * time.Minute)
		for range 3 {
			if f := pass(true).Fates[0]; f.Action != session.ActionKeep ||
				!strings.HasPrefix(f.Reason, "idle for 1m0s; ") {
				t.Errorf("%+v", f)
			}
		}
		if r := pass(false); r.Changed != 0 {
			t.Errorf("the first look: %+v", r)
		}
		if f := pass(true).Fates[0]; f.Action != session.ActionExpire {
			t.Errorf("%+v", f)
		}
		if _, err := k.Exec(t.Context(), admin, "x", []string{"true"}, container.ExecOptions{}); err != nil {
			t.Fatal(err)
		}
		pass(false)
		time.Sleep(2 * time.Minute)
		if r := pass(false); r.Changed != 0 {
			t.Errorf("the first look after a use: %+v", r)
		}
		k.status(t, "x", session.StatusRunning)
		if r := pass(false); r.Changed != 1 {
			t.Errorf("the second look: %+v", r)
		}
		k.status(t, "x", session.StatusClosed)
	})
}
