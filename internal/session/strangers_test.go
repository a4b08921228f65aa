package session_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/container/mock"
	"github.com/octobot-run/octobot/internal/session"
)

// neighbour makes containers of another installation on the kit's engine.
func (k *kit) neighbour(t *testing.T, instance string, ids ...string) {
	t.Helper()
	rt := k.engine.Provider(instance)
	t.Cleanup(func() { rt.Close() })
	for _, id := range ids {
		if _, err := rt.Create(t.Context(), id, container.Options{Image: "debian:12", Origin: "theirs:1"}); err != nil {
			t.Fatal(err)
		}
	}
}

// TestStrangers checks that other installations' containers are shown, and removed only where a
// person names the installation.
func TestStrangers(t *testing.T) {
	k := newKit(t)
	k.create(t, "own")
	k.neighbour(t, "lost", "a", "b")
	k.neighbour(t, "alive", "c")
	own, err := k.store.Instance(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	fates := func(opts session.ReconcileOptions) string {
		t.Helper()
		report, err := k.ReconcilePass(t.Context(), admin, opts)
		if err != nil {
			t.Fatal(err)
		}
		var all []string
		for _, f := range report.Fates {
			all = append(all, strings.TrimSpace(fmt.Sprint(f.Action, " ", f.SessionID, " ", f.Instance)))
			if f.Instance != "" && !strings.Contains(f.Reason, f.Instance+", since 2") {
				t.Errorf("%s is not said whose and since when: %s", f.SessionID, f.Reason)
			}
		}
		return strings.Join(all, ", ")
	}
	for _, tt := range []struct {
		opts session.ReconcileOptions
		want string
		left int
	}{
		{session.ReconcileOptions{}, "", 4},
		{session.ReconcileOptions{DryRun: true}, "keep own, hold a lost, hold b lost, hold c alive", 4},
		{session.ReconcileOptions{AllowRemovals: true}, "", 4},
		{session.ReconcileOptions{DryRun: true, Instance: "lost"},
			"keep own, remove a lost, remove b lost, hold c alive", 4},
		{session.ReconcileOptions{AllowRemovals: true, Instance: "lost"}, "remove a lost, remove b lost", 2},
	} {
		if got := fates(tt.opts); got != tt.want || k.containers() != tt.left {
			t.Errorf("%+v: %q and %d containers, want %q and %d", tt.opts, got, k.containers(), tt.want, tt.left)
		}
	}
	k.status(t, "own", session.StatusRunning)
	for _, opts := range []session.ReconcileOptions{
		{Instance: "alive"}, // nobody allowed it
		{Instance: own, AllowRemovals: true},
		{Instance: "lost", AllowRemovals: true}, // there are none any more
	} {
		_, err := k.ReconcilePass(t.Context(), admin, opts)
		wantCode(t, err, session.CodeInvalidArgument)
	}
	k.inject(t, mock.Fault{Op: "removestranger", Err: container.ErrUnavailable})
	report, err := k.ReconcilePass(t.Context(), admin, session.ReconcileOptions{AllowRemovals: true, Instance: "alive"})
	wantCode(t, err, session.CodeEngineUnavailable)
	if report.Removed != 0 || report.Failed != 1 || k.containers() != 2 {
		t.Errorf("the report is %+v, with %d containers", report, k.containers())
	}
}

// TestAllowedForOneInstanceAlone checks that a person's word about another installation's
// containers is none about this one's.
func TestAllowedForOneInstanceAlone(t *testing.T) {
	k := newKit(t)
	if _, err := k.rt.Create(t.Context(), "unknown", container.Options{Image: "debian:12"}); err != nil {
		t.Fatal(err)
	}
	k.neighbour(t, "lost", "a", "b", "c")
	for range 2 {
		_, err := k.ReconcilePass(t.Context(), admin, session.ReconcileOptions{AllowRemovals: true, Instance: "lost"})
		if session.CodeOf(err) != "" && session.CodeOf(err) != session.CodeInvalidArgument {
			t.Fatal(err)
		}
	}
	if n := k.containers(); n != 1 {
		t.Errorf("%d containers are left", n)
	}
}

// TestTakenByAnotherInstallation checks that an ID which another installation has on the engine is
// refused with who that is, and that a session without an ID gets another one.
func TestTakenByAnotherInstallation(t *testing.T) {
	k := newKit(t)
	k.neighbour(t, "other", "demo", "demo-p", "demo-q")
	_, err := k.Create(t.Context(), admin, session.CreateRequest{ID: "demo"})
	e := wantCode(t, err, session.CodeSessionExists)
	if !strings.Contains(e.Detail, "the installation other has a session of that ID on this engine since 2") {
		t.Errorf("it says %q", e.Detail)
	}
	_, err = k.Create(t.Context(), of("p"), session.CreateRequest{ID: "demo-p"})
	if e := wantCode(t, err, session.CodeSessionExists); strings.Contains(e.Detail, "other") {
		t.Errorf("a project is told %q", e.Detail)
	}
	_, err = k.Create(t.Context(), admin, session.CreateRequest{ID: "demo-q", ProjectID: "q"})
	if e := wantCode(t, err, session.CodeSessionExists); !strings.Contains(e.Detail, "the installation other") {
		t.Errorf("an admin is told %q of a project's session", e.Detail)
	}
	for _, project := range []string{"p", "q"} {
		v, err := k.Get(t.Context(), of(project), "demo-"+project)
		if err != nil || v.Failure == nil || v.Failure.Detail != "the ID is taken" {
			t.Errorf("the record of %s: %+v, %v", project, v, err)
		}
		if reasons := failures(t, k, of(project)); !slices.Equal(reasons, []string{"the ID is taken"}) {
			t.Errorf("the events of %s: %q", project, reasons)
		}
	}

	tries := k.engine.Calls("create")
	remove := k.inject(t, mock.Fault{Op: "create", Nth: 1, Err: container.ErrContainerExists})
	v, err := k.Create(t.Context(), admin, session.CreateRequest{})
	if n := k.engine.Calls("create") - tries; err != nil || v.ID == "" || n != 2 {
		t.Fatalf("without an ID, after %d tries: %+v, %v", n, v, err)
	}
	failed := failures(t, k, admin)
	if len(failed) != 3 { // those of demo
		t.Errorf("a session that was made is told as failed: %q", failed)
	}
	remove()
	tries = k.engine.Calls("create")
	k.inject(t, mock.Fault{Op: "create", Err: container.ErrContainerExists})
	_, err = k.Create(t.Context(), admin, session.CreateRequest{})
	wantCode(t, err, session.CodeSessionExists)
	if n := k.engine.Calls("create") - tries; n != 3 {
		t.Errorf("it was tried %d times", n)
	}
	if now := failures(t, k, admin); len(now) != len(failed)+1 {
		t.Errorf("one failure after three tries is told as %q", now[len(failed):])
	}
	page, err := k.List(t.Context(), admin, session.ListRequest{Closed: true})
	onRecord := 0
	for _, v := range page.Sessions {
		if v.Failure != nil && !strings.HasPrefix(v.ID, "demo") {
			onRecord++
		}
	}
	if err != nil || onRecord != 1 {
		t.Errorf("one failure after three tries is on record %d times, %v", onRecord, err)
	}
}

// failures gives the reasons of the failures that somebody was told of.
func failures(t *testing.T, k *kit, who session.Principal) (reasons []string) {
	t.Helper()
	sub, err := k.Subscribe(who, session.EventSelection{Kinds: []string{session.EventFailed},
		Since: time.Now().Add(-time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	sub.Close()
	for _, e := range sub.Past() {
		reasons = append(reasons, e.Reason)
	}
	return reasons
}
