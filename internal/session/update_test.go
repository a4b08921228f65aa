package session_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/container/mock"
	"github.com/octobot-run/octobot/internal/session"
)

func (k *kit) update(t *testing.T, id string, req session.UpdateRequest) session.View {
	t.Helper()
	v, err := k.Update(t.Context(), admin, id, req)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// memoryOf gives the limit that the engine has.
func (k *kit) memoryOf(t *testing.T, id string) int64 {
	t.Helper()
	stats, err := k.rt.Stats(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return stats.MemoryLimit
}

func TestUpdate(t *testing.T) {
	k := newKit(t)
	_, err := k.Create(t.Context(), admin, session.CreateRequest{ID: "x", Start: true, Spec: session.Spec{
		Memory: 64 << 20, CPUs: 1, Labels: map[string]string{"tier": "front", "old": ""}}})
	if err != nil {
		t.Fatal(err)
	}
	v := k.update(t, "x", session.UpdateRequest{
		Memory: new(int64(96 << 20)), PIDs: new(int64(50)), IdleTimeout: new(time.Hour), MaxAge: new(2 * time.Hour),
		OnExpire: new(session.ExpiryClose),
		Labels:   map[string]*string{"tier": new("back"), "new": new("1"), "old": nil},
	})
	if v.Status != session.StatusRunning || v.Spec.Memory != 96<<20 || v.Spec.CPUs != 1 || v.Spec.PIDs != 50 ||
		v.Spec.IdleTimeout != time.Hour || v.Spec.MaxAge != 2*time.Hour || v.Spec.OnExpire != session.ExpiryClose ||
		len(v.Spec.Labels) != 2 || v.Spec.Labels["tier"] != "back" || v.Spec.Labels["new"] != "1" ||
		v.Pending != session.OperationNone || v.Next != nil {
		t.Errorf("updated %+v", v)
	}
	if got := k.memoryOf(t, "x"); got != 96<<20 {
		t.Errorf("the engine has %d", got)
	}
	asked := k.engine.Calls("update")
	v = k.update(t, "x", session.UpdateRequest{
		Memory: new(int64(96 << 20)), IdleTimeout: new(time.Duration(session.NoLimit))})
	if v.Spec.IdleTimeout != 0 || v.Spec.Memory != 96<<20 || k.engine.Calls("update") != asked {
		t.Errorf("updated %+v, with %d calls of the engine", v, k.engine.Calls("update")-asked)
	}
	page, err := k.List(t.Context(), admin, session.ListRequest{Labels: []string{"tier=back"}})
	if err != nil || len(page.Sessions) != 1 {
		t.Errorf("by its new label: %+v, %v", page, err)
	}
	if _, err := k.Stop(t.Context(), admin, "x", 0); err != nil {
		t.Fatal(err)
	}
	v = k.update(t, "x", session.UpdateRequest{CPUs: new(0.5)})
	if v.Status != session.StatusStopped || v.Spec.CPUs != 0.5 {
		t.Errorf("updated while it was stopped: %+v", v)
	}
	k.reconcile(t)
	for name, req := range map[string]session.UpdateRequest{
		"memory taken away": {Memory: new(int64(session.NoLimit))},
		"cpus taken away":   {CPUs: new(float64(session.NoLimit))},
		"pids taken away":   {PIDs: new(int64(session.NoLimit))}, "too little": {Memory: new(int64(1))},
		"negative": {IdleTimeout: new(-time.Second)}, "expiry": {OnExpire: new(session.Expiry("explode"))},
		"label": {Labels: map[string]*string{"octobot.session": new("y")}},
	} {
		_, err := k.Update(t.Context(), admin, "x", req)
		if session.CodeOf(err) != session.CodeInvalidArgument {
			t.Errorf("%s: %v", name, err)
		}
	}
	if v := k.status(t, "x", session.StatusStopped); v.Spec.Memory != 96<<20 || v.Spec.OnExpire != session.ExpiryClose {
		t.Errorf("after refusals: %+v", v)
	}
}

// TestUpdateRefusedByEngine checks that the session stays as it was, all of it.
func TestUpdateRefusedByEngine(t *testing.T) {
	k := newKit(t)
	before := k.create(t, "x")
	for class, code := range map[error]session.Code{
		container.ErrInvalidArgument: session.CodeInvalidArgument, container.ErrUnsupported: session.CodeUnsupported,
	} {
		remove := k.inject(t, mock.Fault{Op: "update", Err: class})
		_, err := k.Update(t.Context(), admin, "x", session.UpdateRequest{
			Memory: new(int64(64 << 20)), MaxAge: new(time.Hour)})
		wantCode(t, err, code)
		remove()
		v := k.status(t, "x", session.StatusRunning)
		if v.Spec.Memory != before.Spec.Memory || v.Spec.MaxAge != 0 || v.Pending != session.OperationNone ||
			v.Next != nil {
			t.Errorf("after %v: %+v", class, v)
		}
	}
}

// TestUpdateInterrupted checks that what the engine may have done is finished: by a reconciliation,
// or by who comes first.
func TestUpdateInterrupted(t *testing.T) {
	for name, next := range map[string]func(k *kit, ctx context.Context) error{
		"reconcile": func(k *kit, ctx context.Context) error { return k.Reconcile(ctx) },
		"restart":   func(k *kit, ctx context.Context) error { _, err := k.Restart(ctx, admin, "x", 0); return err },
		"update": func(k *kit, ctx context.Context) error {
			_, err := k.Update(ctx, admin, "x", session.UpdateRequest{MaxAge: new(time.Hour)})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			k := newKit(t)
			k.create(t, "x")
			remove := k.inject(t, mock.Fault{Op: "update", Err: container.ErrUnavailable, Done: true})
			_, err := k.Update(t.Context(), admin, "x", session.UpdateRequest{Memory: new(int64(64 << 20))})
			wantCode(t, err, session.CodeEngineUnavailable)
			if v := k.status(t, "x", session.StatusRunning); v.Spec.Memory != 0 || v.Next == nil {
				t.Errorf("amid it: %+v", v)
			}
			remove()
			if err := next(k, t.Context()); err != nil {
				t.Fatal(err)
			}
			v := k.status(t, "x", session.StatusRunning)
			if v.Spec.Memory != 64<<20 || v.Next != nil || v.Pending != session.OperationNone {
				t.Errorf("finished: %+v", v)
			}
			if got := k.memoryOf(t, "x"); got != 64<<20 {
				t.Errorf("the engine has %d", got)
			}
		})
	}
}

// TestUpdateLeavesIntents checks that what is yet to be finished is finished, whatever is changed
// meanwhile.
func TestUpdateLeavesIntents(t *testing.T) {
	start := func(k *kit) error { _, err := k.Start(context.Background(), admin, "x"); return err }
	stop := func(k *kit) error { _, err := k.Stop(context.Background(), admin, "x", 0); return err }
	restart := func(k *kit) error { _, err := k.Restart(context.Background(), admin, "x", 0); return err }
	for name, tt := range map[string]struct {
		prepare func(*kit) error // nil: nothing
		op      string           // that the engine does not answer
		do      func(*kit) error
		want    session.Status
	}{
		"stop": {nil, "stop", stop, session.StatusStopped}, "start": {stop, "start", start, session.StatusRunning},
		"restart": {nil, "start", restart, session.StatusRunning},
	} {
		t.Run(name, func(t *testing.T) {
			k := newKit(t)
			k.create(t, "x")
			if tt.prepare != nil {
				if err := tt.prepare(k); err != nil {
					t.Fatal(err)
				}
			}
			remove := k.inject(t, mock.Fault{Op: tt.op, Err: container.ErrUnavailable})
			wantCode(t, tt.do(k), session.CodeEngineUnavailable)
			remove()
			less := session.UpdateRequest{Memory: new(int64(64 << 20))}
			_, err := k.Update(t.Context(), admin, "x", less)
			wantCode(t, err, session.CodeBusy)
			k.update(t, "x", session.UpdateRequest{MaxAge: new(time.Hour)})
			k.reconcile(t)
			if v := k.status(t, "x", tt.want); v.Spec.MaxAge != time.Hour || v.Spec.Memory != 0 {
				t.Errorf("finished: %+v", v)
			}
			if v := k.update(t, "x", less); v.Status != tt.want || v.Spec.Memory != 64<<20 {
				t.Errorf("updated then: %+v", v)
			}
		})
	}
}

// TestUpdateHoldsUpNothing has an engine never answer to an update: all else is done, a stop at
// once, and the update in the end.
func TestUpdateHoldsUpNothing(t *testing.T) {
	type operation func(k *kit, ctx context.Context) error
	start := func(k *kit, ctx context.Context) error { _, err := k.Start(ctx, admin, "x"); return err }
	stop := func(k *kit, ctx context.Context) error { _, err := k.Stop(ctx, admin, "x", 0); return err }
	for name, tt := range map[string]struct {
		do   []operation
		took time.Duration
		want session.Status
	}{
		"stop":           {[]operation{stop}, 0, session.StatusStopped},
		"stop and start": {[]operation{stop, start}, time.Minute, session.StatusRunning},
		"restart": {[]operation{func(k *kit, ctx context.Context) error {
			_, err := k.Restart(ctx, admin, "x", 0)
			return err
		}}, time.Minute, session.StatusRunning},
		"pause": {[]operation{func(k *kit, ctx context.Context) error {
			_, err := k.Pause(ctx, admin, "x")
			return err
		}}, time.Minute, session.StatusRunning},
	} {
		bubble(t, name, func(t *testing.T) {
			k := newKit(t)
			k.create(t, "x")
			remove := k.inject(t, mock.Fault{Op: "update", Wait: never()})
			more := session.UpdateRequest{Memory: new(int64(64 << 20))}
			_, err := k.Update(t.Context(), admin, "x", more)
			wantCode(t, err, session.CodeTimeout)
			began := time.Now()
			for _, do := range tt.do {
				if err := do(k, t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if d := time.Since(began); d != tt.took {
				t.Errorf("it took %v, want %v", d, tt.took)
			}
			k.update(t, "x", session.UpdateRequest{Labels: map[string]*string{"l": new("1")}})
			_, err = k.Update(t.Context(), admin, "x", more)
			wantCode(t, err, session.CodeBusy)
			if v := k.status(t, "x", tt.want); v.Spec.Memory != 0 || v.Next == nil || v.Spec.Labels["l"] != "1" {
				t.Errorf("beside it: %+v", v)
			}
			remove()
			k.reconcile(t)
			if v := k.status(t, "x", tt.want); v.Spec.Memory != 64<<20 || v.Next != nil ||
				v.Pending != session.OperationNone || v.Spec.Labels["l"] != "1" {
				t.Errorf("finished: %+v", v)
			}
		})
	}
}

// TestUpdateEndsWithItsSession checks that nothing is left to be updated of a session that is lost.
func TestUpdateEndsWithItsSession(t *testing.T) {
	k := newKit(t)
	k.create(t, "x")
	k.inject(t, mock.Fault{Op: "update", Err: container.ErrUnavailable})
	_, err := k.Update(t.Context(), admin, "x", session.UpdateRequest{Memory: new(int64(64 << 20))})
	wantCode(t, err, session.CodeEngineUnavailable)
	k.engine.Lose("x")
	k.reconcile(t)
	if v := k.status(t, "x", session.StatusFailed); v.Next != nil || v.Pending != session.OperationNone {
		t.Errorf("lost: %+v", v)
	}
}

// TestUpdateBounds checks that a project gets no more by an update than by a create, and that what
// an admin gave it does not keep it from changing the rest.
func TestUpdateBounds(t *testing.T) {
	k := newKit(t, func(c *session.Config) {
		c.Policy = session.Policy{MaxMemory: 128 << 20, MaxIdleTimeout: time.Hour, MaxSpec: 1000,
			Quota: session.Quota{Memory: 200 << 20}}
	})
	give := func(id string, memory int64) {
		t.Helper()
		_, err := k.Create(t.Context(), admin, session.CreateRequest{ID: id, ProjectID: "p", Start: true,
			Spec: session.Spec{Memory: memory}})
		if err != nil {
			t.Fatal(err)
		}
	}
	give("small", 64<<20)
	give("other", 96<<20)
	who := of("p")
	for _, tt := range []struct {
		name string
		id   string
		req  session.UpdateRequest
		want session.Code
	}{
		{"more than the policy", "small", session.UpdateRequest{Memory: new(int64(256 << 20))},
			session.CodePolicyDenied},
		{"more than the quota", "small", session.UpdateRequest{Memory: new(int64(120 << 20))},
			session.CodeQuotaExceeded},
		{"no idle limit", "small", session.UpdateRequest{IdleTimeout: new(time.Duration(session.NoLimit))},
			session.CodePolicyDenied},
		{"a long label", "small", session.UpdateRequest{
			Labels: map[string]*string{"l": new(strings.Repeat("x", 1000))}}, session.CodePolicyDenied},
		{"within both", "small", session.UpdateRequest{Memory: new(int64(96 << 20))}, ""},
		{"less", "other", session.UpdateRequest{Memory: new(int64(32 << 20))}, ""},
	} {
		_, err := k.Update(t.Context(), who, tt.id, tt.req)
		if session.CodeOf(err) != tt.want {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
	give("gift", 512<<20)
	v, err := k.Update(t.Context(), who, "gift", session.UpdateRequest{IdleTimeout: new(time.Minute)})
	if err != nil || v.Spec.Memory != 512<<20 || v.Spec.IdleTimeout != time.Minute {
		t.Errorf("beside an admin's gift: %+v, %v", v, err)
	}
	if v, err = k.Update(t.Context(), who, "gift", session.UpdateRequest{Memory: new(int64(100 << 20))}); err != nil ||
		v.Spec.Memory != 100<<20 {
		t.Errorf("less of too much: %+v, %v", v, err)
	}
}

// TestPendingUpdateCounts checks that what a session is about to have is nobody else's.
func TestPendingUpdateCounts(t *testing.T) {
	k := newKit(t, func(c *session.Config) {
		c.Policy = session.Policy{MaxMemory: 1 << 30, Quota: session.Quota{Memory: 200 << 20}}
	})
	for _, id := range []string{"a", "b"} {
		_, err := k.Create(t.Context(), of("p"), session.CreateRequest{ID: id, Start: true,
			Spec: session.Spec{Memory: 64 << 20}})
		if err != nil {
			t.Fatal(err)
		}
	}
	more := session.UpdateRequest{Memory: new(int64(128 << 20))}
	remove := k.inject(t, mock.Fault{Op: "update", Err: container.ErrUnavailable})
	_, err := k.Update(t.Context(), of("p"), "a", more)
	wantCode(t, err, session.CodeEngineUnavailable)
	remove()
	_, err = k.Update(t.Context(), of("p"), "b", more)
	wantCode(t, err, session.CodeQuotaExceeded)
	k.reconcile(t)
	if v := k.status(t, "a", session.StatusRunning); v.Spec.Memory != 128<<20 {
		t.Errorf("finished: %+v", v)
	}
}

// TestUpdateIsNoUse checks that a session that is updated goes on to be idle, by its new limit.
func TestUpdateIsNoUse(t *testing.T) {
	inBubble(t, func(t *testing.T, k *kit) {
		k.create(t, "x")
		time.Sleep(10 * time.Minute)
		k.update(t, "x", session.UpdateRequest{IdleTimeout: new(15 * time.Minute)})
		time.Sleep(6 * time.Minute)
		if v := k.status(t, "x", session.StatusStopped); v.Reason != "idle for 15m0s" {
			t.Errorf("%+v", v)
		}
	}, func(c *session.Config) { c.IdleTimeout, c.ReconcileInterval = time.Hour, 10*time.Second })
}
