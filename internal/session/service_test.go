package session_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/container/mock"
	"github.com/octobot-run/octobot/internal/session"
)

func TestLife(t *testing.T) {
	k := newKit(t, func(c *session.Config) {
		c.CPUs, c.Memory, c.PIDs, c.Runtime = 1.5, 64<<20, 100, "runsc"
		c.IdleTimeout, c.MaxAge, c.OnExpire = time.Hour, 24*time.Hour, session.ExpiryClose
	})
	v, err := k.Create(t.Context(), admin, session.CreateRequest{ProjectID: "p", Spec: session.Spec{PIDs: 50}})
	if err != nil {
		t.Fatal(err)
	}
	if err := container.ValidateSessionID(v.ID); err != nil || len(v.ID) != 10 {
		t.Errorf("generated ID %q: %v", v.ID, err)
	}
	want := session.Spec{
		Image: "debian:12", CPUs: 1.5, Memory: 64 << 20, PIDs: 50, Runtime: "runsc",
		IdleTimeout: time.Hour, MaxAge: 24 * time.Hour, OnExpire: session.ExpiryClose,
	}
	if got, want := fmt.Sprintf("%+v", v.Spec), fmt.Sprintf("%+v", want); got != want {
		t.Errorf("spec: got %s, want %s", got, want)
	}
	if v.Status != session.StatusCreated || v.Address != "" || v.ContainerID == "" {
		t.Errorf("created: %+v", v)
	}
	id := v.ID

	v, err = k.Start(t.Context(), admin, id)
	if err != nil || v.Status != session.StatusRunning || v.Address == "" || len(v.Ports) != 1 || v.StartedAt.IsZero() {
		t.Fatalf("start: %+v, %v", v, err)
	}
	address := v.Address
	if again, err := k.Start(t.Context(), admin, id); err != nil || !again.StartedAt.Equal(v.StartedAt) ||
		again.Address != address {
		t.Errorf("start again: %+v, %v", again, err)
	}
	v, err = k.Stop(t.Context(), admin, id, 0)
	if err != nil || v.Status != session.StatusStopped || v.Exit == nil || v.Exit.Code != 137 || v.Address != "" {
		t.Fatalf("stop: %+v, %v", v, err)
	}
	ended := v.Exit.At
	if v, err = k.Stop(t.Context(), admin, id, 0); err != nil || !v.Exit.At.Equal(ended) {
		t.Errorf("stop again: %+v, %v", v.Exit, err)
	}
	if v, err = k.Start(t.Context(), admin, id); err != nil || v.Exit != nil || v.Address == address {
		t.Errorf("start after stop: %+v, %v", v, err)
	}
	for range 2 {
		if err := k.Delete(t.Context(), admin, id); err != nil {
			t.Fatalf("delete: %v", err)
		}
	}
	k.status(t, id, session.StatusClosed)
	if n := k.containers(); n != 0 {
		t.Errorf("%d containers are left", n)
	}
	_, err = k.Start(t.Context(), admin, id)
	wantCode(t, err, session.CodeSessionClosed)
	// The ID is free.
	if v, err := k.Create(t.Context(), admin, session.CreateRequest{ID: id, ProjectID: "p"}); err != nil ||
		v.Status != session.StatusCreated {
		t.Errorf("create again: %+v, %v", v, err)
	}
}

func TestUnknownSession(t *testing.T) {
	k := newKit(t)
	for _, tt := range []struct {
		id   string
		code session.Code
	}{{"nobody", session.CodeSessionNotFound}, {"../x", session.CodeInvalidArgument}, {"",
		session.CodeInvalidArgument}} {
		for name, err := range everything(t.Context(), k.ContainerService, admin, tt.id) {
			if e := wantCode(t, err, tt.code); e.SessionID != tt.id || e.Op == "" {
				t.Errorf("%s %q: %+v", name, tt.id, e)
			}
		}
	}
	if n := k.engine.Calls(""); n != 0 {
		t.Errorf("the engine was asked %d times", n)
	}
}

// everything calls all methods that are about one session.
func everything(
	ctx context.Context, s *session.ContainerService, who session.Principal, id string,
) map[string]error {
	errs := make(map[string]error)
	errs["check"] = s.Check(ctx, who, id)
	_, errs["get"] = s.Get(ctx, who, id)
	_, errs["start"] = s.Start(ctx, who, id)
	_, errs["stop"] = s.Stop(ctx, who, id, 0)
	_, errs["restart"] = s.Restart(ctx, who, id, 0)
	errs["signal"] = s.Signal(ctx, who, id, 15)
	_, errs["update"] = s.Update(ctx, who, id, session.UpdateRequest{})
	_, errs["wait"] = s.Wait(ctx, who, id)
	_, errs["pause"] = s.Pause(ctx, who, id)
	_, errs["unpause"] = s.Unpause(ctx, who, id)
	_, errs["top"] = s.Top(ctx, who, id)
	_, errs["stats"] = s.Stats(ctx, who, id)
	_, errs["exec"] = s.Exec(ctx, who, id, []string{"true"}, container.ExecOptions{})
	_, errs["stream"] = s.ExecStream(ctx, who, id, []string{"true"}, container.ExecOptions{}, nil, nil)
	_, errs["attach"] = s.Attach(ctx, who, id, container.AttachOptions{})
	errs["logs"] = s.Logs(ctx, who, id, container.LogOptions{}, nil, nil)
	errs["delete"] = s.Delete(ctx, who, id)
	return errs
}

// TestSessionsDoNotWaitForEachOther has one session hang in the engine.
func TestSessionsDoNotWaitForEachOther(t *testing.T) {
	k := newKit(t)
	k.create(t, "hanging")
	k.create(t, "x")
	release := make(chan struct{})
	k.inject(t, mock.Fault{Op: "stop", SessionID: "hanging", Wait: release})
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := k.Stop(t.Context(), admin, "hanging", 0); err != nil {
			t.Error(err)
		}
	})
	for k.engine.Calls("stop") == 0 {
		time.Sleep(time.Millisecond)
	}
	k.status(t, "hanging", session.StatusStopping)
	if _, err := k.Stop(t.Context(), admin, "x", 0); err != nil {
		t.Error(err)
	}
	report, err := k.ReconcilePass(t.Context(), admin, session.ReconcileOptions{})
	if err != nil || len(report.Fates) != 1 || report.Fates[0].Action != session.ActionSkip {
		t.Errorf("reconcile: %+v, %v", report, err)
	}
	// One that waits for the session may give up.
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	wantCode(t, k.Delete(ctx, admin, "hanging"), session.CodeTimeout)
	close(release)
	wg.Wait()
	k.status(t, "hanging", session.StatusStopped)
}

// TestBindsAreCheckedAtEachStart checks that a session can't have what it mounts replaced by a
// link.
func TestBindsAreCheckedAtEachStart(t *testing.T) {
	root := t.TempDir()
	data := filepath.Join(root, "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	k := newKit(t, func(c *session.Config) { c.BindRoots, c.Mounts = []string{root}, &hostMounts{} })
	v, err := k.Create(t.Context(), admin,
		session.CreateRequest{ID: "x", Spec: session.Spec{Binds: []string{data + ":/data"}}})
	if err != nil || len(v.Spec.Binds) != 1 {
		t.Fatalf("%+v, %v", v.Spec, err)
	}
	if err := os.Remove(data); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc", data); err != nil {
		t.Fatal(err)
	}
	_, err = k.Start(t.Context(), admin, "x")
	wantCode(t, err, session.CodeForbidden)
	// Nor is it started by reconciliation.
	s, err := k.store.GetSession(t.Context(), "x")
	if err != nil {
		t.Fatal(err)
	}
	s.Pending, s.PendingSince, s.Desired = session.OperationStart, s.CreatedAt, session.DesiredRunning
	if _, err := k.store.UpdateSession(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	k.reconcile(t)
	k.status(t, "x", session.StatusCreated)
	if n := k.engine.Calls("start"); n != 0 {
		t.Errorf("the engine was asked %d times", n)
	}
}

func TestStartRefused(t *testing.T) {
	k := newKit(t)
	if _, err := k.Create(t.Context(), admin, session.CreateRequest{ID: "x"}); err != nil {
		t.Fatal(err)
	}
	k.inject(t, mock.Fault{Op: "start", Nth: 1, Err: container.ErrPortTaken})
	_, err := k.Start(t.Context(), admin, "x")
	wantCode(t, err, session.CodePortTaken)
	k.status(t, "x", session.StatusCreated)
	if _, err := k.Start(t.Context(), admin, "x"); err != nil {
		t.Error(err)
	}
}

func TestLost(t *testing.T) {
	k := newKit(t)
	events := k.subscribe(t, "")
	defer events.Close()
	k.create(t, "x")
	k.create(t, "y")
	k.engine.Lose("x")
	if v := k.status(t, "x", session.StatusFailed); v.Reason == "" {
		t.Error("no reason")
	}
	_, err := k.Exec(t.Context(), admin, "x", []string{"true"}, container.ExecOptions{})
	wantCode(t, err, session.CodeContainerLost)
	_, err = k.Start(t.Context(), admin, "x")
	if e := wantCode(t, err, session.CodeContainerLost); !strings.Contains(e.Hint, "octobot rm") {
		t.Errorf("hint: %q", e.Hint)
	}
	created := k.engine.Calls("create")
	k.reconcile(t)
	if v := k.status(t, "x", session.StatusFailed); v.Failure == nil || v.Failure.Code != session.CodeContainerLost {
		t.Errorf("failure: %+v", v.Failure)
	}
	_, err = k.Stop(t.Context(), admin, "x", 0)
	wantCode(t, err, session.CodeContainerLost)
	if k.engine.Calls("create") != created {
		t.Error("it was made anew")
	}
	if err := k.Delete(t.Context(), admin, "x"); err != nil {
		t.Error(err)
	}
	k.status(t, "y", session.StatusRunning)
}

// TestLookDuringDelete checks that a session which is deleted while it is looked at is not called
// lost.
func TestLookDuringDelete(t *testing.T) {
	for _, look := range []string{"get", "list"} {
		t.Run(look, func(t *testing.T) {
			k := newKit(t)
			k.create(t, "x")
			rt := interrupted{Runtime: k.rt, first: func() {
				if err := k.Delete(t.Context(), admin, "x"); err != nil {
					t.Error(err)
				}
			}}
			var v session.View
			var err error
			if look == "get" {
				rt.get = new(sync.Once)
				v, err = session.NewContainerService(rt, k.store, configure()).Get(t.Context(), admin, "x")
			} else {
				rt.list = new(sync.Once)
				var page session.Page
				if page, err = session.NewContainerService(rt, k.store, configure()).List(t.Context(), admin,
					session.ListRequest{}); err == nil {
					v = page.Sessions[0]
				}
			}
			if err != nil || v.Status != session.StatusClosed {
				t.Errorf("it is %s (%s), %v", v.Status, v.Reason, err)
			}
		})
	}
}

// TestEngineDown checks what each call says while the engine is away, and that all is finished when
// it is back.
func TestEngineDown(t *testing.T) {
	k := newKit(t)
	for _, id := range []string{"get", "start", "stop", "delete", "exec"} {
		k.create(t, id)
	}
	if _, err := k.Stop(t.Context(), admin, "start", 0); err != nil {
		t.Fatal(err)
	}
	k.engine.SetDown(true)
	k.status(t, "get", session.StatusUnknown)
	if page, err := k.List(t.Context(), admin, session.ListRequest{}); err != nil || len(page.Sessions) != 5 ||
		page.Sessions[0].Status != session.StatusUnknown {
		t.Errorf("list: %+v, %v", page, err)
	}
	_, err := k.Exec(t.Context(), admin, "exec", []string{"true"}, container.ExecOptions{})
	wantCode(t, err, session.CodeEngineUnavailable)
	_, err = k.Start(t.Context(), admin, "start")
	wantCode(t, err, session.CodeEngineUnavailable)
	_, err = k.Stop(t.Context(), admin, "stop", 0)
	wantCode(t, err, session.CodeEngineUnavailable)
	if e := wantCode(t, k.Delete(t.Context(), admin, "delete"),
		session.CodeEngineUnavailable); !strings.Contains(e.Hint,
		"will be finished") {
		t.Errorf("hint: %q", e.Hint)
	}
	k.status(t, "start", session.StatusStarting)
	k.status(t, "stop", session.StatusStopping)
	k.status(t, "delete", session.StatusClosing)
	wantCode(t, k.Reconcile(t.Context()), session.CodeEngineUnavailable)

	k.engine.SetDown(false)
	k.reconcile(t)
	k.status(t, "get", session.StatusRunning)
	k.status(t, "start", session.StatusRunning)
	k.status(t, "stop", session.StatusStopped)
	k.status(t, "delete", session.StatusClosed)
	if n := k.StatusCounts(t.Context())[session.StatusRunning]; n != 2 { // as the pass found them
		t.Errorf("%d were running", n)
	}
}

// TestCallerLeaves checks that an outcome is recorded although the caller is gone by then.
func TestCallerLeaves(t *testing.T) {
	k := newKit(t)
	k.create(t, "x")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	updates := 0
	k.store.setHook(func(hookCtx context.Context, op string) error {
		if op == "update" {
			if updates++; updates == 2 {
				cancel()
				return hookCtx.Err()
			}
		}
		return nil
	})
	if _, err := k.Stop(ctx, admin, "x", 0); err != nil {
		t.Fatal(err)
	}
	v := k.status(t, "x", session.StatusStopped)
	if v.Pending != session.OperationNone || v.Exit == nil {
		t.Errorf("the record is stale: %+v", v.Session)
	}
}

func TestStoreFails(t *testing.T) {
	k := newKit(t)
	k.create(t, "x")
	k.create(t, "y")
	calls := k.engine.Calls("")
	k.store.fail()
	errs := everything(t.Context(), k.ContainerService, admin, "x")
	_, errs["list"] = k.List(t.Context(), admin, session.ListRequest{})
	_, errs["create"] = k.Create(t.Context(), admin, session.CreateRequest{ID: "z"})
	_, _, errs["authenticate"] = authenticate(t.Context(), k)
	for op, err := range errs {
		if e := wantCode(t, err, session.CodeStoreUnavailable); strings.Contains(e.Error()+e.Hint, errDisk.Error()) ||
			!errors.Is(err, errDisk) {
			t.Errorf("%s: %+v", op, e)
		}
	}
	if n := k.engine.Calls(""); n != calls {
		t.Errorf("the engine was asked %d times", n-calls)
	}
	// What was done and could not be recorded is finished later.
	k.store.setHook(nil)
	updates := 0
	k.store.setHook(func(_ context.Context, op string) error {
		if op == "update" {
			if updates++; updates > 1 {
				return errDisk
			}
		}
		return nil
	})
	_, err := k.Stop(t.Context(), admin, "x", 0)
	wantCode(t, err, session.CodeStoreUnavailable)
	k.store.setHook(nil)
	k.status(t, "x", session.StatusStopping)
	k.reconcile(t)
	if v := k.status(t, "x", session.StatusStopped); v.Exit == nil || v.Exit.Code != 137 {
		t.Errorf("exit: %+v", v.Exit)
	}
	k.status(t, "y", session.StatusRunning)
}

func authenticate(ctx context.Context, k *kit) (session.Token, string, error) {
	secret := "octo_" + strings.Repeat("A", 43)
	token, err := k.Authenticate(ctx, secret)
	return token, secret, err
}

// TestStoreHangs checks that a caller hears of it within a second.
func TestStoreHangs(t *testing.T) {
	bubble(t, "every call", func(t *testing.T) {
		k := newKit(t, func(c *session.Config) { c.StoreTimeout = 0 })
		k.create(t, "x")
		k.store.setHook(hang)
		start := time.Now()
		errs := everything(t.Context(), k.ContainerService, admin, "x")
		for _, err := range errs {
			wantCode(t, err, session.CodeStoreUnavailable)
		}
		if d := time.Since(start); d > time.Duration(len(errs))*time.Second {
			t.Errorf("%d calls took %v", len(errs), d)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := k.Get(ctx, admin, "x")
		wantCode(t, err, session.CodeCancelled)
	})
}

func TestList(t *testing.T) {
	k := newKit(t)
	for i := range 7 {
		req := session.CreateRequest{ID: fmt.Sprintf("s%d", i), Start: i%2 == 0, ProjectID: "even"}
		if i%2 == 1 {
			req.ProjectID = "odd"
		}
		if _, err := k.Create(t.Context(), admin, req); err != nil {
			t.Fatal(err)
		}
	}
	if err := k.Delete(t.Context(), admin, "s6"); err != nil {
		t.Fatal(err)
	}
	k.engine.Lose("s4")
	tests := []struct {
		name string
		req  session.ListRequest
		want string
	}{
		{"all", session.ListRequest{}, "s5 s4 s3 s2 s1 s0"},
		{"closed too", session.ListRequest{Closed: true}, "s6 s5 s4 s3 s2 s1 s0"},
		{"project", session.ListRequest{ProjectID: "odd"}, "s5 s3 s1"},
		{"running", session.ListRequest{Statuses: []session.Status{session.StatusRunning}}, "s2 s0"},
		{"failed or closed", session.ListRequest{Statuses: []session.Status{session.StatusFailed,
			session.StatusClosed}}, "s6 s4"},
		{"none", session.ListRequest{ProjectID: "nobody"}, ""},
	}
	for _, tt := range tests {
		for _, limit := range []int{0, 1, 2, 100} {
			t.Run(fmt.Sprintf("%s by %d", tt.name, limit), func(t *testing.T) {
				req := tt.req
				req.Limit = limit
				var got []string
				for {
					page, err := k.List(t.Context(), admin, req)
					if err != nil {
						t.Fatal(err)
					}
					if limit > 0 && len(page.Sessions) > limit {
						t.Fatalf("a page of %d", len(page.Sessions))
					}
					for _, v := range page.Sessions {
						got = append(got, v.ID)
					}
					if page.Next == nil {
						break
					}
					req.After = *page.Next
				}
				if got := strings.Join(got, " "); got != tt.want {
					t.Errorf("got %q, want %q", got, tt.want)
				}
			})
		}
	}
	lists := k.engine.Calls("list")
	if _, err := k.List(t.Context(), admin, session.ListRequest{}); err != nil || k.engine.Calls("list") != lists+1 {
		t.Errorf("%d lists of the engine, %v", k.engine.Calls("list")-lists, err)
	}
	for _, req := range []session.ListRequest{{Limit: -1}, {ProjectID: "\x00"}, {After: session.Cursor{ID: "\x00"}}} {
		_, err := k.List(t.Context(), admin, req)
		wantCode(t, err, session.CodeInvalidArgument)
	}
}
