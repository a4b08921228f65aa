package session_test

import (
	"strings"
	"testing"

	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/container/mock"
	"github.com/octobot-run/octobot/internal/session"
)

// TestEngineRefusesStart: whether a start that the engine refused in words came about, is seen.
func TestEngineRefusesStart(t *testing.T) {
	for name, tt := range map[string]struct {
		done bool // it came about
		get  bool // it can't be seen at first
		then session.Status
	}{
		"not done":               {false, false, session.StatusCreated},
		"done":                   {true, false, session.StatusStarting},
		"not done, and not seen": {false, true, session.StatusStarting},
		"done, and not seen":     {true, true, session.StatusStarting},
	} {
		t.Run(name, func(t *testing.T) {
			k := newKit(t)
			if _, err := k.Create(t.Context(), admin, session.CreateRequest{ID: "x"}); err != nil {
				t.Fatal(err)
			}
			k.inject(t, mock.Fault{Op: "start", Nth: 1, Err: container.ErrRefused, Done: tt.done})
			see := func() {}
			if tt.get {
				see = k.inject(t, mock.Fault{Op: "get", Err: container.ErrRefused})
			}
			_, err := k.Start(t.Context(), admin, "x")
			e := wantCode(t, err, session.CodeEngineRefused)
			if !strings.Contains(e.Detail, "injected") || e.Hint == "" {
				t.Errorf("detail %q, hint %q", e.Detail, e.Hint)
			}
			see()
			k.status(t, "x", tt.then)
			k.settled(t)
			want := session.StatusRunning
			if tt.then == session.StatusCreated { // the caller knows that it was refused
				want = session.StatusCreated
			}
			k.status(t, "x", want)
		})
	}
}

// TestEngineRefusesEnd: a stop or a removal that the engine refuses in words is neither taken as
// done, nor given up.
func TestEngineRefusesEnd(t *testing.T) {
	for name, tt := range map[string]struct {
		op     string
		end    func(k *kit, t *testing.T) error
		during session.Status
		after  session.Status
	}{
		"stop": {op: "stop", during: session.StatusStopping, after: session.StatusStopped,
			end: func(k *kit, t *testing.T) error { _, err := k.Stop(t.Context(), admin, "x", 0); return err }},
		"remove": {op: "remove", during: session.StatusClosing, after: session.StatusClosed,
			end: func(k *kit, t *testing.T) error { return k.Delete(t.Context(), admin, "x") }},
	} {
		for _, done := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				k := newKit(t)
				k.create(t, "x")
				yield := k.inject(t, mock.Fault{Op: tt.op, Err: container.ErrRefused, Done: done})
				e := wantCode(t, tt.end(k, t), session.CodeEngineRefused)
				if !strings.Contains(e.Detail, "injected") || !strings.Contains(e.Hint, "tried again") {
					t.Errorf("detail %q, hint %q", e.Detail, e.Hint)
				}
				k.status(t, "x", tt.during)
				if !done {
					r, err := k.ReconcilePass(t.Context(), admin, session.ReconcileOptions{})
					wantCode(t, err, session.CodeEngineRefused)
					if r.Failed != 1 || r.Changed != 0 || k.containers() != 1 {
						t.Errorf("a pass under which it is refused again: %+v; %d containers", r, k.containers())
					}
					k.status(t, "x", tt.during)
				}
				yield()
				k.settled(t)
				k.status(t, "x", tt.after)
			})
		}
	}
}

// TestEngineRefusesStray: a stray container whose removal is refused is not counted as removed.
func TestEngineRefusesStray(t *testing.T) {
	k := newKit(t)
	k.create(t, "x")
	closeRecord(t, k, "x")
	k.reconcile(t)
	yield := k.inject(t, mock.Fault{Op: "remove", Err: container.ErrRefused})
	r, err := k.ReconcilePass(t.Context(), admin, session.ReconcileOptions{})
	wantCode(t, err, session.CodeEngineRefused)
	if r.Removed != 0 || r.Failed != 1 || k.containers() != 1 {
		t.Errorf("%+v; %d containers", r, k.containers())
	}
	yield()
	k.settled(t)
	if k.containers() != 0 {
		t.Error("it is still there")
	}
}

// TestInterruptedCreateRefused: a creation that is found interrupted, and that the engine refuses
// in words, has failed with these, unless something was made all the same.
func TestInterruptedCreateRefused(t *testing.T) {
	for name, done := range map[string]bool{"nothing made": false, "made": true} {
		t.Run(name, func(t *testing.T) {
			k := newKit(t)
			intend(t, k, "x", session.OperationCreate, session.DesiredRunning)
			k.inject(t, mock.Fault{Op: "create", Nth: 1, Err: container.ErrRefused, Done: done})
			err := k.Reconcile(t.Context())
			if done {
				wantCode(t, err, session.CodeEngineRefused)
				k.settled(t)
				k.status(t, "x", session.StatusRunning)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			v := k.status(t, "x", session.StatusFailed)
			if v.Failure == nil || v.Failure.Code != session.CodeEngineRefused ||
				!strings.Contains(v.Failure.Detail, "injected") {
				t.Errorf("it failed with %+v", v.Failure)
			}
		})
	}
}
