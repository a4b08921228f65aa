package session_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/container/mock"
	"github.com/octobot-run/octobot/internal/session"
)

// never is a fault's Wait that only the end of the call's ctx ends.
func never() <-chan struct{} { return make(chan struct{}) }

// TestRemovalOvertakes has each operation hang in the engine, and a removal come behind it.
func TestRemovalOvertakes(t *testing.T) {
	create := func(start bool) func(*kit) error {
		return func(k *kit) error {
			_, err := k.Create(context.Background(), admin, session.CreateRequest{ID: "x", Start: start})
			return err
		}
	}
	unpause := func(k *kit) error { _, err := k.Unpause(context.Background(), admin, "x"); return err }
	update := func(k *kit) error {
		_, err := k.Update(context.Background(), admin, "x", session.UpdateRequest{Memory: new(int64(64 << 20))})
		return err
	}
	restart := func(k *kit) error { _, err := k.Restart(context.Background(), admin, "x", 0); return err }
	running := func(t *testing.T, k *kit) { k.create(t, "x") }
	stopped := func(t *testing.T, k *kit) {
		k.create(t, "x")
		if _, err := k.Stop(t.Context(), admin, "x", 0); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name    string
		prepare func(*testing.T, *kit)
		op      string // that hangs, whatever comes
		do      func(*kit) error
	}{
		{"create", nil, "create", create(false)},
		{"create and start", nil, "start", create(true)},
		{"start", stopped, "start", func(k *kit) error {
			_, err := k.Start(context.Background(), admin, "x")
			return err
		}},
		{"pause", running, "pause", func(k *kit) error {
			_, err := k.Pause(context.Background(), admin, "x")
			return err
		}},
		{"unpause", func(t *testing.T, k *kit) { k.create(t, "x"); k.pause(t, "x") }, "unpause", unpause},
		{"update", running, "update", update},
		{"an update before", func(t *testing.T, k *kit) {
			k.create(t, "x")
			remove := k.inject(t, mock.Fault{Op: "update", Err: container.ErrUnavailable})
			wantCode(t, update(k), session.CodeEngineUnavailable)
			remove()
		}, "update", unpause},
		{"restart, stopping", running, "stop", restart},
		{"restart, starting", running, "start", restart},
		{"a look before", running, "origin", unpause},
		{"a look before a stop", running, "origin", func(k *kit) error {
			_, err := k.Stop(context.Background(), admin, "x", 0)
			return err
		}},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			k := newKit(t)
			if tt.prepare != nil {
				tt.prepare(t, k)
			}
			k.inject(t, mock.Fault{Op: tt.op, Wait: never()})
			done := make(chan error, 1)
			go func() { done <- tt.do(k) }()
			synctest.Wait()
			began := time.Now()
			if err := k.Delete(t.Context(), admin, "x"); err != nil {
				t.Fatal(err)
			}
			if e := wantCode(t, <-done, session.CodeSessionClosed); e.Detail != "it was removed meanwhile" {
				t.Errorf("%+v", e)
			}
			if d := time.Since(began); d > 0 {
				t.Errorf("it took %v", d)
			}
			k.status(t, "x", session.StatusClosed)
			if n := k.containers(); n != 0 {
				t.Errorf("%d containers are left", n)
			}
		})
	}
}

// TestStopsOvertake has a stop that gives the session an hour, and somebody who has not that much
// time. Whoever asked for the first has what he wanted.
func TestStopsOvertake(t *testing.T) {
	for name, tt := range map[string]struct {
		hurry func(context.Context, *kit) error
		took  time.Duration
		left  int
	}{
		"remove": {func(ctx context.Context, k *kit) error { return k.Delete(ctx, admin, "x") }, 0, 0},
		"stop at once": {func(ctx context.Context, k *kit) error {
			_, err := k.Stop(ctx, admin, "x", 0)
			return err
		}, 0, 1},
		"stop sooner": {func(ctx context.Context, k *kit) error {
			_, err := k.Stop(ctx, admin, "x", 7*time.Second)
			return err
		}, 7 * time.Second, 1},
		"stop in the usual time": {func(ctx context.Context, k *kit) error {
			_, err := k.Stop(ctx, admin, "x", -1)
			return err
		}, container.DefaultStopTimeout, 1},
		"stop later": {func(ctx context.Context, k *kit) error {
			_, err := k.Stop(ctx, admin, "x", time.Hour)
			return err
		}, time.Hour - time.Minute, 1},
	} {
		bubble(t, name, func(t *testing.T) {
			k := newKit(t)
			if _, err := k.Create(t.Context(), admin, session.CreateRequest{ID: "x", Start: true,
				Spec: session.Spec{Cmd: []string{"sh", "-c", "trap '' TERM; sleep 100000"}}}); err != nil {
				t.Fatal(err)
			}
			synctest.Wait() // until it is deaf
			first := make(chan error, 1)
			go func() {
				_, err := k.Stop(t.Context(), admin, "x", time.Hour)
				first <- err
			}()
			time.Sleep(time.Minute)
			k.status(t, "x", session.StatusStopping)
			began := time.Now()
			if err := tt.hurry(t.Context(), k); err != nil {
				t.Fatal(err)
			}
			if d := time.Since(began); d != tt.took {
				t.Errorf("it took %v, want %v", d, tt.took)
			}
			if err := <-first; err != nil {
				t.Errorf("the stop that was cut short: %v", err)
			}
			if n := k.containers(); n != tt.left {
				t.Errorf("%d containers are left, want %d", n, tt.left)
			}
		})
	}
}

// TestRemovalOvertakesReconciliation has a pass hang amid a creation that was interrupted.
func TestRemovalOvertakesReconciliation(t *testing.T) {
	bubble(t, "create", func(t *testing.T) {
		k := newKit(t)
		intend(t, k, "x", session.OperationCreate, session.DesiredRunning)
		k.inject(t, mock.Fault{Op: "create", Wait: never()})
		report := make(chan session.Report, 1)
		go func() {
			r, err := k.ReconcilePass(t.Context(), admin, session.ReconcileOptions{})
			if err != nil {
				t.Error(err)
			}
			report <- r
		}()
		synctest.Wait()
		if err := k.Delete(t.Context(), admin, "x"); err != nil {
			t.Fatal(err)
		}
		if r := <-report; r.Failed != 0 || len(r.Fates) != 1 || r.Fates[0].Action != session.ActionSkip {
			t.Errorf("%+v", r)
		}
		k.status(t, "x", session.StatusClosed)
	})
}

// TestOthersOvertakeNothing checks that whoever does not reach a session neither cuts short what is
// done with it nor learns of it.
func TestOthersOvertakeNothing(t *testing.T) {
	bubble(t, "create", func(t *testing.T) {
		k := newKit(t)
		release := make(chan struct{})
		k.inject(t, mock.Fault{Op: "create", Wait: release})
		done := make(chan error, 1)
		go func() {
			_, err := k.Create(t.Context(), admin, session.CreateRequest{ID: "x", ProjectID: "p"})
			done <- err
		}()
		synctest.Wait()
		other := session.Principal{Name: "other", ProjectID: "q"}
		wantCode(t, k.Delete(t.Context(), other, "x"), session.CodeSessionNotFound)
		_, err := k.Stop(t.Context(), other, "x", 0)
		wantCode(t, err, session.CodeSessionNotFound)
		// Nor does a stop give up a creation.
		stopped := make(chan error, 1)
		go func() {
			_, err := k.Stop(t.Context(), admin, "x", 0)
			stopped <- err
		}()
		synctest.Wait()
		close(release)
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := <-stopped; err != nil {
			t.Error(err)
		}
		k.status(t, "x", session.StatusCreated)
	})
}
