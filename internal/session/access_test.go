package session_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/container/mock"
	"github.com/octobot-run/octobot/internal/session"
)

func TestExec(t *testing.T) {
	k := newKit(t)
	k.create(t, "x")
	r, err := k.Exec(t.Context(), admin, "x", []string{"sh", "-c", "echo out; exit 43"}, container.ExecOptions{})
	if err != nil || r.ExitCode != 43 || r.Stdout != "out\n" {
		t.Errorf("%+v, %v", r, err)
	}
	var out bytes.Buffer
	code, err := k.ExecStream(t.Context(), admin, "x", []string{"cat"},
		container.ExecOptions{Stdin: strings.NewReader("in")},
		&out, nil)
	if err != nil || code != 0 || out.String() != "in" {
		t.Errorf("%d, %q, %v", code, out.String(), err)
	}
	_, err = k.Exec(t.Context(), admin, "x", []string{"no-such-program"}, container.ExecOptions{})
	wantCode(t, err, session.CodeExecFailed)
	if _, err := k.Stop(t.Context(), admin, "x", 0); err != nil {
		t.Fatal(err)
	}
	_, err = k.Exec(t.Context(), admin, "x", []string{"true"}, container.ExecOptions{})
	wantCode(t, err, session.CodeSessionNotRunning)
	_, err = k.Attach(t.Context(), admin, "x", container.AttachOptions{})
	wantCode(t, err, session.CodeSessionNotRunning)
	if err := k.Logs(t.Context(), admin, "x", container.LogOptions{Tail: -1}, io.Discard, io.Discard); err != nil {
		t.Errorf("logs of a stopped session: %v", err)
	}
}

func TestExecCut(t *testing.T) {
	k := newKit(t)
	k.create(t, "x")
	wrote := make(chan struct{})
	k.engine.Handle("chatty", func(ctx context.Context, p *mock.Process) int {
		_, _ = io.WriteString(p.Stdout, "partial")
		close(wrote)
		<-ctx.Done()
		return 1
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-wrote
		cancel()
	}()
	r, err := k.Exec(ctx, admin, "x", []string{"chatty"}, container.ExecOptions{})
	wantCode(t, err, session.CodeCancelled)
	if r == nil || r.Stdout != "partial" {
		t.Errorf("what was written: %+v", r)
	}
}

func TestTerminal(t *testing.T) {
	k := newKit(t)
	k.create(t, "x")
	pty, err := k.Attach(t.Context(), admin, "x",
		container.AttachOptions{Cmd: []string{"sh", "-c", "exit 7"}, Rows: 24, Cols: 80})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(pty); err != nil {
		t.Error(err)
	}
	coder, ok := pty.(container.ExitCoder)
	if !ok {
		t.Fatal("the exit code can't be asked for")
	}
	if code, err := coder.ExitCode(t.Context()); err != nil || code != 7 {
		t.Errorf("exit code %d, %v", code, err)
	}
	for range 2 {
		if err := pty.Close(); err != nil {
			t.Error(err)
		}
	}
}

// bare is a runtime without any optional interface.
type bare struct{ container.Runtime }

func TestUnsupported(t *testing.T) {
	k := newKit(t)
	k.create(t, "x")
	s := session.NewContainerService(bare{k.rt}, k.store, configure())
	wantCode(t, s.Logs(t.Context(), admin, "x", container.LogOptions{}, nil, nil), session.CodeUnsupported)
	_, err := s.ExecStream(t.Context(), admin, "x", []string{"true"}, container.ExecOptions{}, nil, nil)
	wantCode(t, err, session.CodeUnsupported)
	_, err = s.Pause(t.Context(), admin, "x")
	wantCode(t, err, session.CodeUnsupported)
	_, err = s.Unpause(t.Context(), admin, "x")
	wantCode(t, err, session.CodeUnsupported)
	_, err = s.Stats(t.Context(), admin, "x")
	wantCode(t, err, session.CodeUnsupported)
	if h := s.Health(t.Context()); h.Engine != nil || h.Store != nil {
		t.Errorf("health: %+v", h)
	}
}

func TestEvents(t *testing.T) {
	k := newKit(t)
	all, p, q := k.subscribe(t, ""), k.subscribe(t, "p"), k.subscribe(t, "q")
	if _, err := k.Create(t.Context(), admin, session.CreateRequest{ID: "x", ProjectID: "p", Start: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := k.Stop(t.Context(), admin, "x", 0); err != nil {
		t.Fatal(err)
	}
	if err := k.Delete(t.Context(), admin, "x"); err != nil {
		t.Fatal(err)
	}
	for _, s := range []*session.Subscription{all, p, q} {
		s.Close()
		s.Close()
	}
	for _, s := range []*session.Subscription{all, p} {
		var kinds []string
		for e := range s.C() {
			kinds = append(kinds, e.Kind)
			if e.SessionID != "x" || e.ProjectID != "p" || e.Time.IsZero() || e.Status == "" {
				t.Errorf("%+v", e)
			}
		}
		want := "session.created session.started session.stopped session.closed"
		if got := strings.Join(kinds, " "); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	if e, ok := <-q.C(); ok {
		t.Errorf("another project's event: %+v", e)
	}
}

// TestCreateEvents checks that a session is told of before its container is made, and that what
// fails then is told after.
func TestCreateEvents(t *testing.T) {
	k := newKit(t)
	events := k.subscribe(t, "")
	next := func() string {
		t.Helper()
		e := <-events.C()
		return fmt.Sprintf("%s %s %s", e.Kind, e.Status, e.Reason)
	}
	release := make(chan struct{})
	remove := k.inject(t, mock.Fault{Op: "create", Wait: release})
	done := make(chan struct{})
	go func() {
		defer close(done)
		k.create(t, "x")
	}()
	if got := next(); got != "session.created creating " {
		t.Errorf("while the container is being made: %s", got)
	}
	close(release)
	<-done
	remove()
	if got := next(); got != "session.started running " {
		t.Errorf("then: %s", got)
	}
	for _, op := range []string{"create", "start"} {
		remove := k.inject(t, mock.Fault{Op: op, Err: container.ErrPortTaken})
		_, err := k.Create(t.Context(), admin, session.CreateRequest{ID: "y", Start: true})
		e := wantCode(t, err, session.CodePortTaken)
		remove()
		for _, want := range []string{"session.created creating ", "session.failed failed " + e.Detail,
			"session.closed closed " + e.Detail} {
			if got := next(); got != want {
				t.Errorf("%s fails: got %q, want %q", op, got, want)
			}
		}
	}
}

// TestRemovedCreateEvents checks that a creation which a removal cut short is told of as closed,
// and not as failed.
func TestRemovedCreateEvents(t *testing.T) {
	k := newKit(t)
	events := k.subscribe(t, "")
	k.inject(t, mock.Fault{Op: "create", Wait: never()})
	done := make(chan error, 1)
	go func() {
		_, err := k.Create(t.Context(), admin, session.CreateRequest{ID: "x"})
		done <- err
	}()
	for _, want := range []string{session.EventCreated, session.EventClosed} {
		if e := <-events.C(); e.Kind != want {
			t.Errorf("got %+v, want %s", e, want)
		}
		if err := k.Delete(t.Context(), admin, "x"); err != nil {
			t.Error(err)
		}
	}
	wantCode(t, <-done, session.CodeSessionClosed)
}

// TestSlowSubscriber checks that one who does not read is ended, and holds up nobody.
func TestSlowSubscriber(t *testing.T) {
	k := newKit(t)
	slow, other := k.subscribe(t, ""), k.subscribe(t, "nobody's")
	defer other.Close()
	k.create(t, "x")
	for !slow.Overflowed() {
		if _, err := k.Stop(t.Context(), admin, "x", 0); err != nil {
			t.Fatal(err)
		}
		if _, err := k.Start(t.Context(), admin, "x"); err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	for range slow.C() {
		n++
	}
	if n == 0 || other.Overflowed() {
		t.Errorf("%d events; the other overflowed: %t", n, other.Overflowed())
	}
	slow.Close()
}

func TestTokens(t *testing.T) {
	k := newKit(t)
	root, secret, err := k.CreateToken(t.Context(), admin, "root", "", 0)
	if err != nil || !strings.HasPrefix(secret, "octo_") || len(secret) != 48 || !root.ExpiresAt.IsZero() {
		t.Fatalf("%+v, %q, %v", root, secret, err)
	}
	_, _, err = k.CreateToken(t.Context(), admin, "root", "", 0)
	wantCode(t, err, session.CodeTokenExists)
	for _, bad := range []struct {
		name, project string
		ttl           time.Duration
	}{{"", "", 0}, {"a b", "", 0}, {"a", "../b", 0}, {"a", "", -1}} {
		_, _, err := k.CreateToken(t.Context(), admin, bad.name, bad.project, bad.ttl)
		wantCode(t, err, session.CodeInvalidArgument)
	}
	if _, _, err := k.CreateToken(t.Context(), admin, "lab", "p", time.Hour); err != nil {
		t.Fatal(err)
	}
	tokens, err := k.ListTokens(t.Context(), admin)
	if err != nil || len(tokens) != 2 || tokens[0].Name != "lab" || tokens[0].ProjectID != "p" ||
		tokens[0].ExpiresAt.IsZero() {
		t.Errorf("%+v, %v", tokens, err)
	}
	for _, token := range tokens {
		if bytes.Contains(token.Hash, []byte(secret)) || len(token.Hash) != 32 {
			t.Errorf("hash: %x", token.Hash)
		}
	}
	for range 3 {
		if got, err := k.Authenticate(t.Context(), secret); err != nil || got.Name != "root" {
			t.Errorf("%+v, %v", got, err)
		}
	}
	for _, wrong := range []string{"", "octo_", secret[:47], secret + "x", "octo_" + strings.Repeat("A", 43),
		strings.ToUpper(secret)} {
		_, err := k.Authenticate(t.Context(), wrong)
		wantCode(t, err, session.CodeUnauthenticated)
	}
	if err := k.DeleteToken(t.Context(), admin, "root"); err != nil {
		t.Fatal(err)
	}
	_, err = k.Authenticate(t.Context(), secret)
	wantCode(t, err, session.CodeUnauthenticated)
	for _, name := range []string{"root", "\x00"} {
		wantCode(t, k.DeleteToken(t.Context(), admin, name), session.CodeTokenNotFound)
	}
}

// TestTokenCache checks that the store is spared, and for how long it may be wrong.
func TestTokenCache(t *testing.T) {
	inBubble(t, func(t *testing.T, k *kit) {
		_, secret, err := k.CreateToken(t.Context(), admin, "t", "", time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		asked := 0
		k.store.setHook(func(_ context.Context, op string) error {
			if op == "token" {
				asked++
			}
			return nil
		})
		for range 100 {
			if _, err := k.Authenticate(t.Context(), secret); err != nil {
				t.Fatal(err)
			}
		}
		if asked != 1 {
			t.Errorf("the store was asked %d times", asked)
		}
		if err := k.store.Store.DeleteToken(t.Context(), "t"); err != nil { // as another process would
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		_, err = k.Authenticate(t.Context(), secret)
		wantCode(t, err, session.CodeUnauthenticated)

		_, secret, err = k.CreateToken(t.Context(), admin, "t", "", 500*time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := k.Authenticate(t.Context(), secret); err != nil {
			t.Fatal(err)
		}
		time.Sleep(500 * time.Millisecond)
		_, err = k.Authenticate(t.Context(), secret)
		if e := wantCode(t, err, session.CodeUnauthenticated); !strings.Contains(e.Detail, "expired") {
			t.Errorf("%q", e.Detail)
		}
		synctest.Wait()
	})
}

// recorder is an observer.
type recorder struct {
	ops    []string
	passes []error
}

func (r *recorder) Operation(op string, code session.Code, _ time.Duration) {
	r.ops = append(r.ops, op+" "+string(code))
}

func (r *recorder) Reconciled(_ session.Report, err error, _ time.Duration) {
	r.passes = append(r.passes, err)
}

func TestObserver(t *testing.T) {
	var r recorder
	k := newKit(t, func(c *session.Config) { c.Observer = &r })
	k.create(t, "x")
	_, err := k.Get(t.Context(), admin, "y")
	wantCode(t, err, session.CodeSessionNotFound)
	k.reconcile(t)
	if _, err := k.ReconcilePass(t.Context(), admin, session.ReconcileOptions{DryRun: true}); err != nil {
		t.Error(err)
	}
	k.engine.SetDown(true)
	if err := k.Reconcile(t.Context()); err == nil {
		t.Error("no error")
	}
	if got := strings.Join(r.ops, ","); got != "create ,get session_not_found" {
		t.Errorf("%q", got)
	}
	if len(r.passes) != 2 || r.passes[0] != nil || !errors.Is(r.passes[1], container.ErrUnavailable) {
		t.Errorf("%v", r.passes)
	}
}
