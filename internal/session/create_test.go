package session_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/container/mock"
	"github.com/octobot-run/octobot/internal/session"
)

// TestRefused checks that bad input reaches neither the engine nor the store.
func TestRefused(t *testing.T) {
	tests := []struct {
		name string
		req  session.CreateRequest
		code session.Code
	}{
		{"ID", session.CreateRequest{ID: "a/b"}, session.CodeInvalidArgument},
		{"long ID", session.CreateRequest{ID: strings.Repeat("a", 4096)}, session.CodeInvalidArgument},
		{"project", session.CreateRequest{ProjectID: "a\x00b"}, session.CodeInvalidArgument},
		{"image", session.CreateRequest{Spec: session.Spec{Image: "UPPER:::"}}, session.CodeInvalidArgument},
		{"label", session.CreateRequest{Spec: session.Spec{Labels: map[string]string{"octobot.x": ""}}},
			session.CodeInvalidArgument},
		{"network", session.CreateRequest{Spec: session.Spec{NetworkMode: "host"}}, session.CodeInvalidArgument},
		{"memory", session.CreateRequest{Spec: session.Spec{Memory: -1}}, session.CodeInvalidArgument},
		{"idle", session.CreateRequest{Spec: session.Spec{IdleTimeout: -1}}, session.CodeInvalidArgument},
		{"age", session.CreateRequest{Spec: session.Spec{MaxAge: -1}}, session.CodeInvalidArgument},
		{"expiry", session.CreateRequest{Spec: session.Spec{OnExpire: "explode"}}, session.CodeInvalidArgument},
		{"agent", session.CreateRequest{Spec: session.Spec{Agent: "on"}}, session.CodeInvalidArgument},
		{"bind", session.CreateRequest{Spec: session.Spec{Binds: []string{"/home:/x"}}}, session.CodeForbidden},
		{"bind of the socket", session.CreateRequest{Spec: session.Spec{Binds: []string{"/var/run/docker.sock:/x"}}},
			session.CodeInvalidArgument},
		{"volume", session.CreateRequest{Spec: session.Spec{Binds: []string{"data:/x"}}}, session.CodeForbidden},
	}
	k := newKit(t)
	k.store.fail()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := k.Create(t.Context(), admin, tt.req)
			wantCode(t, err, tt.code)
		})
	}
	_, err := k.Stop(t.Context(), admin, "x", 2*time.Hour)
	wantCode(t, err, session.CodeInvalidArgument)
	_, err = k.Exec(t.Context(), admin, "x", nil, container.ExecOptions{})
	wantCode(t, err, session.CodeInvalidArgument)
	_, err = k.Attach(t.Context(), admin, "x", container.AttachOptions{Rows: 1})
	wantCode(t, err, session.CodeInvalidArgument)
	if n := k.engine.Calls(""); n != 0 {
		t.Errorf("the engine was asked %d times", n)
	}
}

// TestCreateIsAllOrNothing checks that a failed creation leaves nothing, and frees the ID.
func TestCreateIsAllOrNothing(t *testing.T) {
	tests := []struct {
		name  string
		fault mock.Fault
		code  session.Code
	}{
		{"image", mock.Fault{Op: "create", Nth: 1, Err: container.ErrImageNotFound}, session.CodeImageNotFound},
		{"port", mock.Fault{Op: "start", Nth: 1, Err: container.ErrPortTaken}, session.CodePortTaken},
		{"command", mock.Fault{Op: "start", Nth: 1, Err: container.ErrExecFailed}, session.CodeExecFailed},
		{"engine", mock.Fault{Op: "create", Nth: 1, Err: container.ErrUnavailable}, session.CodeEngineUnavailable},
		{"engine, in words", mock.Fault{Op: "create", Nth: 1, Err: container.ErrRefused}, session.CodeEngineRefused},
		{"engine, in words, half way", mock.Fault{Op: "create", Nth: 1, Err: container.ErrRefused, Done: true},
			session.CodeEngineRefused},
		{"start, in words", mock.Fault{Op: "start", Nth: 1, Err: container.ErrRefused}, session.CodeEngineRefused},
		{"start, in words, half way", mock.Fault{Op: "start", Nth: 1, Err: container.ErrRefused, Done: true},
			session.CodeEngineRefused},
		{"engine, its answer lost", mock.Fault{Op: "create", Nth: 1, Err: container.ErrUnavailable, Done: true},
			session.CodeEngineUnavailable},
		{"start, its answer lost", mock.Fault{Op: "start", Nth: 1, Err: container.ErrUnavailable, Done: true},
			session.CodeEngineUnavailable},
		{"a fault of the provider", mock.Fault{Op: "create", Nth: 1, Err: errors.New("secret internals")},
			session.CodeInternal},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			k := newKit(t)
			k.inject(t, tt.fault)
			_, err := k.Create(t.Context(), admin, session.CreateRequest{ID: "x", Start: true})
			e := wantCode(t, err, tt.code)
			if strings.Contains(e.Detail+e.Hint, "secret") || e.Unwrap() == nil {
				t.Errorf("detail %q, hint %q, cause %v", e.Detail, e.Hint, e.Unwrap())
			}
			v := k.status(t, "x", session.StatusClosed)
			if v.Failure == nil || v.Failure.Code != tt.code || v.Reason != e.Detail {
				t.Errorf("the record keeps %+v", v.Failure)
			}
			if n := k.containers(); n != 0 {
				t.Errorf("%d containers are left", n)
			}
			k.create(t, "x")
		})
	}
}

func TestCreateCancelled(t *testing.T) {
	for _, op := range []string{"create", "start"} {
		t.Run(op, func(t *testing.T) {
			k := newKit(t)
			never := make(chan struct{})
			k.inject(t, mock.Fault{Op: op, Nth: 1, Wait: never})
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				for k.engine.Calls(op) == 0 {
					time.Sleep(time.Millisecond)
				}
				cancel()
			}()
			_, err := k.Create(ctx, admin, session.CreateRequest{ID: "x", Start: true})
			wantCode(t, err, session.CodeCancelled)
			k.status(t, "x", session.StatusClosed)
			if n := k.containers(); n != 0 {
				t.Errorf("%d containers are left", n)
			}
		})
	}
}

// lossyStore does what it is told and loses its answer to the first creation.
type lossyStore struct {
	session.Store
	lost *bool
}

func (l lossyStore) CreateSession(ctx context.Context, s session.Session) (session.Session, error) {
	s, err := l.Store.CreateSession(ctx, s)
	if err == nil && !*l.lost {
		*l.lost = true
		return session.Session{}, errDisk
	}
	return s, err
}

// TestCreateTakenBack checks that a record which was written, although the store said otherwise,
// does not become a session that the caller was refused.
func TestCreateTakenBack(t *testing.T) {
	k := newKit(t)
	s := session.NewContainerService(k.rt, lossyStore{k.store, new(bool)}, configure())
	_, err := s.Create(t.Context(), admin, session.CreateRequest{ID: "x", Start: true})
	wantCode(t, err, session.CodeStoreUnavailable)
	k.settled(t)
	k.status(t, "x", session.StatusClosed)
	if n := k.engine.Calls("create"); n != 0 {
		t.Errorf("%d containers were made", n)
	}
}

// TestCreateWithoutEngine checks that what could not be undone at once is closed later.
func TestCreateWithoutEngine(t *testing.T) {
	k := newKit(t)
	k.engine.SetDown(true)
	_, err := k.Create(t.Context(), admin, session.CreateRequest{ID: "x", Start: true})
	wantCode(t, err, session.CodeEngineUnavailable)
	k.status(t, "x", session.StatusClosing)
	k.engine.SetDown(false)
	k.reconcile(t)
	k.status(t, "x", session.StatusClosed)
}

func TestCreateExists(t *testing.T) {
	k := newKit(t)
	before := k.create(t, "x")
	_, err := k.Create(t.Context(), admin, session.CreateRequest{ID: "x"})
	wantCode(t, err, session.CodeSessionExists)
	if after := k.status(t, "x", session.StatusRunning); after.Version != before.Version {
		t.Error("the session was touched")
	}
}

// TestCreateBesideStranger checks that a container which the store does not know is neither adopted
// nor removed by the failed creation of a session of its name, nor by what follows.
func TestCreateBesideStranger(t *testing.T) {
	k := newKit(t)
	if _, err := k.rt.Create(t.Context(), "x",
		container.Options{Image: "debian:12", Origin: "elsewhere:1"}); err != nil {
		t.Fatal(err)
	}
	_, err := k.Create(t.Context(), admin, session.CreateRequest{ID: "x"})
	wantCode(t, err, session.CodeSessionExists)
	for range 3 {
		k.reconcile(t)
	}
	if n := k.containers(); n != 1 {
		t.Errorf("%d containers", n)
	}
}

func TestConcurrentCreates(t *testing.T) {
	k := newKit(t, func(c *session.Config) { c.Creates = 2 })
	var wg sync.WaitGroup
	errs := make([]error, 16)
	for i := range errs {
		wg.Go(func() {
			_, errs[i] = k.Create(t.Context(), admin, session.CreateRequest{ID: "x", Start: true})
		})
	}
	wg.Wait()
	created := 0
	for _, err := range errs {
		if err == nil {
			created++
		} else {
			wantCode(t, err, session.CodeSessionExists)
		}
	}
	if created != 1 || k.containers() != 1 {
		t.Errorf("%d creates succeeded, %d containers", created, k.containers())
	}
}

func TestBusy(t *testing.T) {
	bubble(t, "one at a time", func(t *testing.T) {
		k := newKit(t, func(c *session.Config) { c.Creates = 1 })
		release := make(chan struct{})
		k.inject(t, mock.Fault{Op: "create", SessionID: "slow", Wait: release})
		var wg sync.WaitGroup
		wg.Go(func() { _, _ = k.Create(t.Context(), admin, session.CreateRequest{ID: "slow"}) })
		synctest.Wait()
		_, err := k.Create(t.Context(), admin, session.CreateRequest{ID: "other"})
		wantCode(t, err, session.CodeBusy)
		_, err = k.Get(t.Context(), admin, "other")
		wantCode(t, err, session.CodeSessionNotFound)
		close(release)
		wg.Wait()
	})
}
