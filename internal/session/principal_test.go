package session_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/container/mock"
	"github.com/octobot-run/octobot/internal/session"
)

// of returns one who reaches a project.
func of(project string) session.Principal {
	return session.Principal{Name: "token of " + project, ProjectID: project}
}

// createAs makes a session of a project that runs.
func (k *kit) createAs(t *testing.T, who session.Principal, id string) {
	t.Helper()
	if _, err := k.Create(t.Context(), who, session.CreateRequest{ID: id, Start: true}); err != nil {
		t.Fatal(err)
	}
}

// TestForeignSessions checks that another project's session is one that does not exist: the same
// error after the same calls, whatever is asked of it.
func TestForeignSessions(t *testing.T) {
	k := newKit(t)
	k.createAs(t, of("p"), "theirs")
	k.create(t, "nobodys") // without a project
	for _, who := range []session.Principal{of("q"), {}, {Name: "somebody"}} {
		for _, id := range []string{"theirs", "nobodys"} {
			count := func(id string) (errs map[string]error, calls []string, engine int) {
				k.store.setHook(func(_ context.Context, op string) error {
					calls = append(calls, op)
					return nil
				})
				before := k.engine.Calls("")
				errs = everything(t.Context(), k.ContainerService, who, id)
				k.store.setHook(nil)
				return errs, calls, k.engine.Calls("") - before
			}
			foreign, foreignCalls, engineCalls := count(id)
			unknown, unknownCalls, _ := count("unknown")
			for name, err := range foreign {
				e := *wantCode(t, err, session.CodeSessionNotFound)
				u := *wantCode(t, unknown[name], session.CodeSessionNotFound)
				if e.Detail != u.Detail || e.Hint != u.Hint || e.Op != u.Op {
					t.Errorf("%s by %q: %+v tells more than %+v", name, who.Name, e, u)
				}
			}
			if got, want := strings.Join(foreignCalls, " "), strings.Join(unknownCalls, " "); got != want ||
				engineCalls != 0 {
				t.Errorf("%q: %s, and %d of the engine; unknown: %s", who.Name, got, engineCalls, want)
			}
		}
	}
	k.status(t, "theirs", session.StatusRunning)
	k.status(t, "nobodys", session.StatusRunning)
}

// TestForeignSessionIsNotWaitedFor checks that the time which an answer takes does not tell what
// another project's session is busy with.
func TestForeignSessionIsNotWaitedFor(t *testing.T) {
	k := newKit(t)
	k.createAs(t, of("p"), "theirs")
	release := make(chan struct{})
	k.inject(t, mock.Fault{Op: "stop", SessionID: "theirs", Wait: release})
	var stopping sync.WaitGroup
	stopping.Go(func() {
		if _, err := k.Stop(t.Context(), of("p"), "theirs", 0); err != nil {
			t.Error(err)
		}
	})
	for k.engine.Calls("stop") == 0 {
		time.Sleep(time.Millisecond)
	}
	wantCode(t, k.Delete(t.Context(), of("q"), "theirs"), session.CodeSessionNotFound)
	close(release)
	stopping.Wait()
}

// TestScope checks what a project's principal may list, watch, and create.
func TestScope(t *testing.T) {
	k := newKit(t)
	k.createAs(t, of("p"), "p1")
	k.createAs(t, of("q"), "q1")
	for _, tt := range []struct {
		who     session.Principal
		project string
		want    string // the sessions' IDs; empty: forbidden
	}{
		{of("p"), "", "p1"}, {of("p"), "p", "p1"}, {of("p"), "q", ""},
		{session.Principal{}, "", ""}, {session.Principal{}, "p", ""},
		{admin, "", "q1 p1"}, {admin, "q", "q1"},
	} {
		page, err := k.List(t.Context(), tt.who, session.ListRequest{ProjectID: tt.project})
		sub, subErr := k.Subscribe(tt.who, session.EventSelection{ProjectID: tt.project})
		if tt.want == "" {
			wantCode(t, err, session.CodeForbidden)
			wantCode(t, subErr, session.CodeForbidden)
			_, err := k.Create(t.Context(), tt.who, session.CreateRequest{ProjectID: tt.project})
			wantCode(t, err, session.CodeForbidden)
			continue
		}
		if err != nil || subErr != nil {
			t.Fatal(err, subErr)
		}
		sub.Close()
		var ids []string
		for _, v := range page.Sessions {
			ids = append(ids, v.ID)
		}
		if got := strings.Join(ids, " "); got != tt.want {
			t.Errorf("%+v sees %s of project %q, want %s", tt.who, got, tt.project, tt.want)
		}
	}
	for _, who := range []session.Principal{of("p"), {}} {
		_, _, err := k.CreateToken(t.Context(), who, "new", "", 0)
		wantCode(t, err, session.CodeForbidden)
		_, err = k.ListTokens(t.Context(), who)
		wantCode(t, err, session.CodeForbidden)
		wantCode(t, k.DeleteToken(t.Context(), who, "new"), session.CodeForbidden)
		_, err = k.ReconcilePass(t.Context(), who, session.ReconcileOptions{})
		wantCode(t, err, session.CodeForbidden)
	}
}

// TestQueuedDeleteLeavesTheNextOwner has a project's deletion wait for the session's lock until the
// ID is another project's: what was right when it was asked for is not when it is done.
func TestQueuedDeleteLeavesTheNextOwner(t *testing.T) {
	k := newKit(t, func(cfg *session.Config) { cfg.Retention = time.Nanosecond })
	k.createAs(t, of("p"), "ci")
	release := make(chan struct{})
	remove := k.inject(t, mock.Fault{Op: "remove", SessionID: "ci", Wait: release})
	errs := make(chan error, 2)
	go func() { errs <- k.Delete(t.Context(), of("p"), "ci") }()
	for k.engine.Calls("remove") == 0 {
		time.Sleep(time.Millisecond)
	}
	remove()
	// The second has looked, and waits for the first; the record becomes the next owner's
	// meanwhile.
	looked := make(chan struct{})
	var once sync.Once
	k.store.setHook(func(_ context.Context, op string) error {
		if op == "get" {
			once.Do(func() { close(looked) })
		}
		return nil
	})
	go func() { errs <- k.Delete(t.Context(), of("p"), "ci") }()
	<-looked
	k.store.setHook(nil)
	handOver := sync.OnceFunc(func() {
		replaceOwner(t, k, "ci", "q")
	})
	k.store.setHook(func(_ context.Context, op string) error {
		if op == "get" {
			handOver()
		}
		return nil
	})
	close(release)
	for range 2 {
		if err := <-errs; err != nil {
			wantCode(t, err, session.CodeSessionNotFound)
		}
	}
	k.store.setHook(nil)
	if got, err := k.store.GetSession(t.Context(), "ci"); err != nil || got.ProjectID != "q" || !got.ClosedAt.IsZero() {
		t.Errorf("the next owner's session: %+v, %v", got, err)
	}
}

// replaceOwner has the closed record of an ID forgotten, and records another project's session.
func replaceOwner(t *testing.T, k *kit, id, project string) {
	if _, err := k.store.Store.PruneSessions(t.Context(), time.Now().Add(time.Hour)); err != nil {
		t.Error(err)
	}
	if _, err := k.store.Store.CreateSession(t.Context(), session.Session{ID: id, ProjectID: project,
		Desired: session.DesiredStopped, CreatedAt: time.Now()}); err != nil {
		t.Error(err)
	}
}

// TestCommandStaysOutOfTheNextOwnersContainer has a command read its session's record, and reach
// the engine only when the session is gone and another project's wants the ID.
func TestCommandStaysOutOfTheNextOwnersContainer(t *testing.T) {
	k := newKit(t)
	k.createAs(t, of("p"), "ci")
	slow := &slowRuntime{Runtime: k.rt, reached: make(chan struct{}), release: make(chan struct{})}
	s := session.NewContainerService(slow, k.store, configure())
	ran := make(chan error, 1)
	go func() {
		_, err := s.Exec(t.Context(), of("p"), "ci", []string{"true"}, container.ExecOptions{})
		ran <- err
	}()
	<-slow.reached
	if err := s.Delete(t.Context(), of("p"), "ci"); err != nil {
		t.Fatal(err)
	}
	if _, err := k.store.Store.PruneSessions(t.Context(), time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	creates := k.engine.Calls("create")
	created := make(chan error, 1)
	go func() {
		_, err := s.Create(t.Context(), of("q"), session.CreateRequest{ID: "ci", Start: true})
		created <- err
	}()
	for v, err := s.Get(t.Context(), of("q"), "ci"); err != nil || v.Status != session.StatusCreating; {
		time.Sleep(time.Millisecond)
		v, err = s.Get(t.Context(), of("q"), "ci")
	}
	// Those who come now read the new record, and are not waited for.
	_, err := s.Exec(t.Context(), of("p"), "ci", []string{"true"}, container.ExecOptions{})
	wantCode(t, err, session.CodeSessionNotFound)
	if n := k.engine.Calls("create") - creates; n != 0 {
		t.Fatal("the new container was made while the old session's command could still reach it")
	}
	close(slow.release)
	wantCode(t, <-ran, session.CodeContainerLost)
	if err := <-created; err != nil {
		t.Error(err)
	}
}

// slowRuntime takes its time with the first command.
type slowRuntime struct {
	container.Runtime
	once             sync.Once
	reached, release chan struct{}
}

func (r *slowRuntime) Exec(
	ctx context.Context, id string, cmd []string, opts container.ExecOptions,
) (*container.ExecResult, error) {
	r.once.Do(func() { close(r.reached); <-r.release })
	return r.Runtime.Exec(ctx, id, cmd, opts)
}

// TestTakenIDs checks what the refusal of an ID tells.
func TestTakenIDs(t *testing.T) {
	k := newKit(t)
	k.createAs(t, of("p"), "open")
	k.createAs(t, of("p"), "closed")
	if err := k.Delete(t.Context(), of("p"), "closed"); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		who      session.Principal
		id, want string // part of the detail; empty: it can be had
	}{
		{of("q"), "open", "the ID is taken"}, {of("q"), "closed", "the ID is taken"},
		{of("p"), "open", "already"},
		{admin, "open", "already"}, {admin, "closed", `of the project "p"`},
		{of("p"), "closed", ""},
	} {
		_, err := k.Create(t.Context(), tt.who, session.CreateRequest{ID: tt.id})
		if tt.want == "" {
			if err != nil {
				t.Error(err)
			}
			continue
		}
		if e := wantCode(t, err, session.CodeSessionExists); !strings.Contains(e.Detail, tt.want) {
			t.Errorf("%q of %s: %+v", tt.who.Name, tt.id, e)
		}
	}
	k.status(t, "open", session.StatusRunning)
}

// TestWhileValid checks that what goes on by a token's right ends with it.
func TestWhileValid(t *testing.T) {
	k := newKit(t)
	hold := func(t *testing.T, name string, ttl time.Duration) (session.Token, context.Context, func()) {
		t.Helper()
		token, _, err := k.CreateToken(t.Context(), admin, name, "p", ttl)
		if err != nil {
			t.Fatal(err)
		}
		ctx, release, err := k.WhileValid(t.Context(), token)
		if err != nil {
			t.Fatal(err)
		}
		return token, ctx, release
	}
	ended := func(t *testing.T, ctx context.Context, say string) {
		t.Helper()
		<-ctx.Done()
		if e := wantCode(t, context.Cause(ctx), session.CodeUnauthenticated); !strings.Contains(e.Detail, say) {
			t.Errorf("cause: %v", e)
		}
	}
	t.Run("deleted", func(t *testing.T) {
		token, ctx, release := hold(t, "deleted", 0)
		defer release()
		_, other, releaseOther := hold(t, "other", 0)
		defer releaseOther()
		if err := k.DeleteToken(t.Context(), admin, "deleted"); err != nil {
			t.Fatal(err)
		}
		ended(t, ctx, "was deleted")
		if other.Err() != nil {
			t.Errorf("another token's ctx: %v", context.Cause(other))
		}
		_, _, err := k.WhileValid(t.Context(), token)
		wantCode(t, err, session.CodeUnauthenticated)
	})
	t.Run("deleted, the answer lost", func(t *testing.T) {
		_, ctx, release := hold(t, "lost", 0)
		defer release()
		if err := k.store.Store.DeleteToken(t.Context(), "lost"); err != nil {
			t.Fatal(err)
		}
		wantCode(t, k.DeleteToken(t.Context(), admin, "lost"), session.CodeTokenNotFound)
		ended(t, ctx, "was deleted")
	})
	t.Run("expired", func(t *testing.T) {
		token, ctx, release := hold(t, "expires", 50*time.Millisecond)
		defer release()
		ended(t, ctx, "has expired")
		_, _, err := k.WhileValid(t.Context(), token)
		wantCode(t, err, session.CodeUnauthenticated)
	})
	t.Run("released", func(t *testing.T) {
		_, ctx, release := hold(t, "released", time.Hour)
		release()
		if !errors.Is(context.Cause(ctx), context.Canceled) {
			t.Errorf("cause: %v", context.Cause(ctx))
		}
		if err := k.DeleteToken(t.Context(), admin, "released"); err != nil {
			t.Error(err)
		}
	})
}
