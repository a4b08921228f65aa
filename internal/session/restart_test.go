package session_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/container/mock"
	"github.com/octobot-run/octobot/internal/session"
)

func (k *kit) restart(t *testing.T, id string) session.View {
	t.Helper()
	v, err := k.Restart(t.Context(), admin, id, 0)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestRestart(t *testing.T) {
	k := newKit(t)
	created := k.create(t, "x")
	sub := k.subscribe(t, "")
	v := k.restart(t, "x")
	if v.Status != session.StatusRunning || !v.StartedAt.After(created.StartedAt) || v.Exit != nil ||
		v.Pending != session.OperationNone || v.Desired != session.DesiredRunning || k.containers() != 1 {
		t.Errorf("restarted: %+v", v)
	}
	if e := <-sub.C(); e.Kind != session.EventStopped || e.Exit == nil || e.Exit.Code != 137 {
		t.Errorf("event %+v", e)
	}
	if e := <-sub.C(); e.Kind != session.EventStarted || e.Exit != nil {
		t.Errorf("event %+v", e)
	}
	k.pause(t, "x")
	if v = k.restart(t, "x"); v.Paused {
		t.Errorf("restarted while it was paused: %+v", v)
	}
	if _, err := k.Stop(t.Context(), admin, "x", 0); err != nil {
		t.Fatal(err)
	}
	if v = k.restart(t, "x"); v.Status != session.StatusRunning {
		t.Errorf("restarted while it was stopped: %+v", v)
	}
	k.reconcile(t)
	k.status(t, "x", session.StatusRunning)
	_, err := k.Restart(t.Context(), admin, "x", 2*time.Hour)
	wantCode(t, err, session.CodeInvalidArgument)
}

// TestRestartIsOne checks that nobody finds the session stopped in between, and that what was
// interrupted is finished.
func TestRestartIsOne(t *testing.T) {
	for _, op := range []string{"stop", "start"} {
		t.Run(op, func(t *testing.T) {
			k := newKit(t)
			before := k.create(t, "x")
			remove := k.inject(t, mock.Fault{Op: op, Err: container.ErrUnavailable})
			_, err := k.Restart(t.Context(), admin, "x", 0)
			if e := wantCode(t, err, session.CodeEngineUnavailable); e.Hint == "" {
				t.Errorf("error %+v", e)
			}
			if v := k.status(t, "x", session.StatusStarting); v.Reason != "it is being restarted" {
				t.Errorf("amid a restart: %+v", v)
			}
			remove()
			k.reconcile(t)
			if v := k.status(t, "x", session.StatusRunning); !v.StartedAt.After(before.StartedAt) ||
				v.Pending != session.OperationNone {
				t.Errorf("restarted: %+v", v)
			}
		})
	}
}

// TestInterruptedRestartTellsRuns checks that a run is ended that began before the restart, also
// where the engine did not show it then, and not the one that the restart began.
func TestInterruptedRestartTellsRuns(t *testing.T) {
	for name, tt := range map[string]struct {
		fault mock.Fault
		stops int // once the engine answers again
	}{
		"before": {mock.Fault{Op: "stop", Err: container.ErrUnavailable}, 1},
		"after":  {mock.Fault{Op: "start", Err: container.ErrUnavailable, Done: true}, 0},
	} {
		bubble(t, name, func(t *testing.T) {
			k := newKit(t)
			remove := k.inject(t, mock.Fault{Op: "get", Wait: never()})
			v := k.create(t, "x")
			remove()
			c, err := k.rt.Get(t.Context(), "x")
			if err != nil || !c.StartedAt.Before(v.StartedAt) {
				t.Fatalf("%+v started at %v by its record, %v", c, v.StartedAt, err)
			}
			time.Sleep(time.Minute)
			asked := time.Now()
			remove = k.inject(t, tt.fault)
			_, err = k.Restart(t.Context(), admin, "x", 0)
			wantCode(t, err, session.CodeEngineUnavailable)
			remove()
			time.Sleep(time.Minute)
			stops := k.engine.Calls("stop")
			k.reconcile(t)
			if v := k.status(t, "x", session.StatusRunning); v.StartedAt.Before(asked) ||
				v.Pending != session.OperationNone {
				t.Errorf("restarted: %+v", v)
			}
			c, err = k.rt.Get(t.Context(), "x")
			if n := k.engine.Calls("stop") - stops; err != nil || c.StartedAt.Before(asked) || n != tt.stops {
				t.Errorf("after %d stops it runs since %v, %v", n, c.StartedAt, err)
			}
		})
	}
}

// TestRestartRefused checks that a start that the engine refuses leaves the session stopped.
func TestRestartRefused(t *testing.T) {
	k := newKit(t)
	k.create(t, "x")
	k.inject(t, mock.Fault{Op: "start", Err: container.ErrPortTaken})
	_, err := k.Restart(t.Context(), admin, "x", 0)
	wantCode(t, err, session.CodePortTaken)
	if v := k.status(t, "x", session.StatusStopped); v.Exit == nil || v.Exit.Code != 137 ||
		v.Desired != session.DesiredStopped || v.Pending != session.OperationNone {
		t.Errorf("after a refused start: %+v", v)
	}
}

func TestSignal(t *testing.T) {
	k := newKit(t)
	k.create(t, "x")
	if err := k.Signal(t.Context(), admin, "x", 28); err != nil {
		t.Error(err)
	}
	k.status(t, "x", session.StatusRunning)
	wantCode(t, k.Signal(t.Context(), admin, "x", 99), session.CodeInvalidArgument)
	k.pause(t, "x")
	if e := wantCode(t, k.Signal(t.Context(), admin, "x", 9),
		session.CodeSessionNotRunning); e.Detail != "it is paused" {
		t.Errorf("of a paused session: %+v", e)
	}
	if _, err := k.Unpause(t.Context(), admin, "x"); err != nil {
		t.Fatal(err)
	}
	// A session that is being stopped can be killed.
	release := make(chan struct{})
	k.inject(t, mock.Fault{Op: "stop", Wait: release})
	stopped := make(chan error, 1)
	go func() {
		_, err := k.Stop(t.Context(), admin, "x", time.Minute)
		stopped <- err
	}()
	for k.engine.Calls("stop") == 0 {
		time.Sleep(time.Millisecond)
	}
	if err := k.Signal(t.Context(), admin, "x", 9); err != nil {
		t.Error(err)
	}
	close(release)
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if v := k.status(t, "x", session.StatusStopped); v.Exit.Code != 137 {
		t.Errorf("killed: %+v", v)
	}
	wantCode(t, k.Signal(t.Context(), admin, "x", 9), session.CodeSessionNotRunning)
}

// wait waits for a session in the background.
func (k *kit) wait(t *testing.T, id string) <-chan any {
	t.Helper()
	looks := k.engine.Calls("get")
	ended := make(chan any, 1)
	go func() {
		exit, err := k.Wait(t.Context(), admin, id)
		if err != nil {
			ended <- err
			return
		}
		ended <- exit
	}()
	for k.engine.Calls("get") == looks { // until it waits
		time.Sleep(time.Millisecond)
	}
	return ended
}

func wantExit(t *testing.T, ended <-chan any, code int) {
	t.Helper()
	if exit, ok := (<-ended).(session.Exit); !ok || exit.Code != code || exit.At.IsZero() {
		t.Errorf("waited for %+v, want code %d", exit, code)
	}
}

func TestWait(t *testing.T) {
	k := newKit(t)
	k.create(t, "x")
	ended := k.wait(t, "x")
	k.engine.Exit("x", 3, false)
	wantExit(t, ended, 3) // which no reconciliation has recorded
	wantExit(t, k.wait(t, "x"), 3)
	k.reconcile(t)
	wantExit(t, k.wait(t, "x"), 3)

	k.restart(t, "x")
	ended = k.wait(t, "x")
	k.restart(t, "x") // too quick for a look
	wantExit(t, ended, 137)

	ended = k.wait(t, "x")
	if err := k.Delete(t.Context(), admin, "x"); err != nil {
		t.Fatal(err)
	}
	wantFailedWait(t, ended, session.CodeSessionClosed)

	if _, err := k.Create(t.Context(), admin, session.CreateRequest{ID: "idle"}); err != nil {
		t.Fatal(err)
	}
	_, err := k.Wait(t.Context(), admin, "idle")
	wantCode(t, err, session.CodeSessionNotRunning)

	k.create(t, "lost")
	ended = k.wait(t, "lost")
	k.engine.Lose("lost")
	wantFailedWait(t, ended, session.CodeContainerLost)
}

// TestWaitAmidChanges has the session change while a look for its end is under way.
func TestWaitAmidChanges(t *testing.T) {
	for name, want := range map[string]session.Code{
		"removed": session.CodeSessionClosed, "made anew": session.CodeSessionNotFound,
	} {
		t.Run(name, func(t *testing.T) {
			k := newKit(t)
			k.create(t, "x")
			rt := interrupted{Runtime: k.rt, get: new(sync.Once), first: func() {
				if err := k.Delete(t.Context(), admin, "x"); err != nil {
					t.Error(err)
				}
				if want == session.CodeSessionNotFound { // of the one that was waited for
					k.create(t, "x")
				}
			}}
			_, err := session.NewContainerService(rt, k.store, configure()).Wait(t.Context(), admin, "x")
			wantCode(t, err, want)
		})
	}
	bubble(t, "restarted", func(t *testing.T) {
		k := newKit(t)
		k.create(t, "x")
		ended := k.wait(t, "x")
		synctest.Wait()
		k.store.setHook(func(_ context.Context, op string) error {
			if op == "get" { // of the next look
				k.store.setHook(nil)
				k.restart(t, "x")
			}
			return nil
		})
		wantExit(t, ended, 137)
	})
}

func wantFailedWait(t *testing.T, ended <-chan any, code session.Code) {
	t.Helper()
	err, ok := (<-ended).(error)
	if !ok {
		t.Fatal("waited for an end that there was none of")
	}
	wantCode(t, err, code)
}

// TestWaitGoesOn where the engine does not answer, and ends with its caller.
func TestWaitGoesOn(t *testing.T) {
	bubble(t, "engine down", func(t *testing.T) {
		k := newKit(t)
		k.create(t, "x")
		ended := k.wait(t, "x")
		k.engine.SetDown(true)
		time.Sleep(time.Minute)
		k.engine.SetDown(false)
		k.engine.Exit("x", 4, false)
		wantExit(t, ended, 4)
	})
	k := newKit(t)
	k.create(t, "x")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	_, err := k.Wait(ctx, admin, "x")
	if wantCode(t, err, session.CodeTimeout); errors.Is(ctx.Err(), nil) {
		t.Error("it ended before its caller")
	}
}
