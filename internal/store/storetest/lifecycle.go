package storetest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/octobot-run/octobot/internal/session"
)

var lifecycleTests = map[string]func(*testing.T, Database){
	"reopen":          testReopen,
	"one owner":       testOneOwner,
	"cancelled calls": on(testCancelled),
	"cancelled later": on(testCancelledLater),
	"close":           testClose,
	"ping":            on(testPing),
	"displaced":       testDisplaced,
	"adopted":         testAdopted,
	"killed":          testKilled,
}

func testReopen(t *testing.T, d Database) {
	s := d.open(t)
	instance, err := s.Instance(t.Context())
	if err != nil || instance == "" {
		t.Fatalf("instance %q, %v", instance, err)
	}
	want := create(t, s, full())
	token := session.Token{Name: "t", Hash: []byte{1}, CreatedAt: start}
	if err := s.CreateToken(t.Context(), token); err != nil {
		t.Fatal(err)
	}
	closeStore(t, s)

	s = d.open(t)
	if again, err := s.Instance(t.Context()); again != instance || err != nil {
		t.Errorf("instance %q, %v; was %q", again, err, instance)
	}
	if got := get(t, s, want.ID); !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v, want\n%+v", got, want)
	}
	if got, err := s.TokenByHash(t.Context(), token.Hash); err != nil || !reflect.DeepEqual(got, token) {
		t.Errorf("got %+v, %v; want %+v", got, err, token)
	}
}

// testDisplaced: under the open store, its database becomes another installation's.
func testDisplaced(t *testing.T, d Database) {
	s := d.open(t)
	a := create(t, s, session.Session{ID: "a", CreatedAt: start})
	for _, statement := range []string{"UPDATE installation SET instance = 'another'", "DELETE FROM installation"} {
		d.Exec(t, statement)
		_, createErr := s.CreateSession(t.Context(), session.Session{ID: "b", CreatedAt: start})
		_, updateErr := s.UpdateSession(t.Context(), a)
		for _, err := range []error{createErr, updateErr, s.Ping(t.Context())} {
			if !errors.Is(err, session.ErrDisplaced) {
				t.Errorf("%s: error is %v", statement, err)
			}
		}
	}
	if all, err := s.AllSessions(t.Context()); err != nil || len(all) != 1 {
		t.Errorf("there are %d sessions, error %v", len(all), err)
	}
}

// testAdopted: a store becomes another installation's, and records its sessions.
func testAdopted(t *testing.T, d Database) {
	s := d.open(t).(session.AdoptingStore)
	own, err := s.Instance(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	const origin = "0123456789abcdef0123456789abcdef:7"
	lost := []session.Session{
		{ID: "a", ProjectID: "p", Origin: origin, Desired: session.DesiredRunning, CreatedAt: start, ContainerID: "c1"},
		{ID: "b", Origin: "0123456789abcdef0123456789abcdef:9", Desired: session.DesiredStopped, CreatedAt: start},
	}
	a := create(t, s, session.Session{ID: "a", CreatedAt: start})
	if err := s.AdoptInstance(t.Context(), "lost", lost); !errors.Is(err, session.ErrInUse) {
		t.Fatalf("with a session of its own: error is %v", err)
	}
	if instance, err := s.Instance(t.Context()); instance != own || err != nil {
		t.Fatalf("refused, it is %q, error %v", instance, err)
	}
	a.ClosedAt = start
	if _, err := s.UpdateSession(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	if err := s.AdoptInstance(t.Context(), "lost", lost); err != nil {
		t.Fatal(err)
	}
	closeStore(t, s)

	again := d.open(t)
	if instance, err := again.Instance(t.Context()); instance != "lost" || err != nil {
		t.Errorf("it is %q, error %v", instance, err)
	}
	if all, err := again.AllSessions(t.Context()); err != nil || len(all) != 2 {
		t.Errorf("it has %d sessions, error %v", len(all), err)
	}
	if got := get(t, again, "a"); got.Origin != origin || got.ProjectID != "p" || got.ContainerID != "c1" ||
		got.Version != 1 || !got.ClosedAt.IsZero() {
		t.Errorf("the session is %+v", got)
	}
	// What its store gave out, and this one did not, it must never confirm.
	if given, err := again.Allotted(t.Context(), origin); given || err != nil {
		t.Errorf("its origin is allotted: %t, %v", given, err)
	}
	if c := create(t, again, session.Session{ID: "c", CreatedAt: start}); c.Origin == "" {
		t.Error("a new session has no origin")
	}
}

func testOneOwner(t *testing.T, d Database) {
	s := d.open(t)
	if second, err := d.Open(t.Context(), d.DSN); err == nil {
		closeStore(t, second)
		t.Error("it can be opened twice")
	}
	create(t, s, session.Session{ID: "a", CreatedAt: start})
	closeStore(t, s)
	get(t, d.open(t), "a")
}

// calls are all of the contract's that talk to the database.
func calls(s session.Store) map[string]func(context.Context) error {
	token := session.Token{Name: "new", Hash: []byte{2}, CreatedAt: start}
	return map[string]func(context.Context) error{
		"Instance": func(ctx context.Context) error { _, err := s.Instance(ctx); return err },
		"CreateSession": func(ctx context.Context) error {
			_, err := s.CreateSession(ctx, session.Session{ID: "new"})
			return err
		},
		"GetSession": func(ctx context.Context) error { _, err := s.GetSession(ctx, "a"); return err },
		"UpdateSession": func(ctx context.Context) error {
			_, err := s.UpdateSession(ctx, session.Session{ID: "a", Version: 1})
			return err
		},
		"TouchSessions": func(ctx context.Context) error {
			return s.TouchSessions(ctx,
				map[string]time.Time{"a": start})
		},
		"ListSessions": func(ctx context.Context) error {
			_,
				err := s.ListSessions(ctx, session.Filter{})
			return err
		},
		"AllSessions":   func(ctx context.Context) error { _, err := s.AllSessions(ctx); return err },
		"SetProject":    func(ctx context.Context) error { return s.SetProject(ctx, session.Project{ID: "p"}) },
		"ListProjects":  func(ctx context.Context) error { _, err := s.ListProjects(ctx); return err },
		"DeleteProject": func(ctx context.Context) error { return s.DeleteProject(ctx, "p") },
		"Allotted":      func(ctx context.Context) error { _, err := s.Allotted(ctx, "x:1"); return err },
		"PruneSessions": func(ctx context.Context) error {
			_,
				err := s.PruneSessions(ctx, start.Add(time.Hour))
			return err
		},
		"CreateToken": func(ctx context.Context) error { return s.CreateToken(ctx, token) },
		"TokenByHash": func(ctx context.Context) error { _, err := s.TokenByHash(ctx, []byte{1}); return err },
		"ListTokens":  func(ctx context.Context) error { _, err := s.ListTokens(ctx); return err },
		"DeleteToken": func(ctx context.Context) error { return s.DeleteToken(ctx, "t") },
		"Ping":        s.Ping,
	}
}

func testCancelled(t *testing.T, s session.Store) {
	before := create(t, s, session.Session{ID: "a", ClosedAt: start})
	if err := s.CreateToken(t.Context(), session.Token{Name: "t", Hash: []byte{1}}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, call := range calls(s) {
		err := call(ctx)
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: error is %v", name, err)
		}
		wantFailure(t, err)
	}
	all, err := s.AllSessions(t.Context())
	if err != nil || len(all) != 1 || !reflect.DeepEqual(all[0], before) {
		t.Errorf("left are %+v, %v; want %+v", all, err, before)
	}
	if tokens, err := s.ListTokens(t.Context()); err != nil || len(tokens) != 1 {
		t.Errorf("left are %+v, %v", tokens, err)
	}
}

// Whenever the context ends, the store is as good as before, and a call that
// reported success has happened.
func testCancelledLater(t *testing.T, s session.Store) {
	for i := range 200 {
		id := fmt.Sprint(i)
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*10*time.Microsecond)
		_, err := s.CreateSession(ctx, session.Session{ID: id, CreatedAt: start})
		cancel()
		if err != nil {
			wantFailure(t, err)
			wantError(t, err, context.DeadlineExceeded)
			continue
		}
		get(t, s, id)
	}
	create(t, s, session.Session{ID: "after", CreatedAt: start})
}

func testClose(t *testing.T, d Database) {
	s, err := d.Open(t.Context(), d.DSN)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for n := 0; ; n++ {
				if _, err := s.CreateSession(t.Context(), session.Session{ID: fmt.Sprint(i, "-", n)}); err != nil {
					wantFailure(t, err)
					return
				}
			}
		})
	}
	for range 2 {
		wg.Go(func() { closeStore(t, s) })
	}
	wg.Wait()
	closeStore(t, s)
	for name, call := range calls(s) {
		t.Run(name, func(t *testing.T) { wantFailure(t, call(t.Context())) })
	}
}

func testPing(t *testing.T, s session.Store) {
	for range 3 {
		if err := s.Ping(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

const childEnv = "OCTOBOT_STORETEST_DSN"

// Child does the work of the process that the suite starts and kills: it writes
// to a store until the end. In any other process it does nothing.
func Child(open OpenFunc) {
	dsn := os.Getenv(childEnv)
	if dsn == "" {
		return
	}
	ctx := context.Background()
	s, err := open(ctx, dsn)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for n := 0; ; n++ {
				sess, err := s.CreateSession(ctx,
					session.Session{ID: fmt.Sprintf("%d-%d-%d", os.Getpid(), i, n), CreatedAt: start})
				if err == nil {
					fmt.Println(sess.ID, sess.Version)
					sess.ContainerID = "c"
					sess, err = s.UpdateSession(ctx, sess)
				}
				if err != nil {
					fmt.Fprintln(os.Stderr, err)
					os.Exit(1)
				}
				fmt.Println(sess.ID, sess.Version)
			}
		})
	}
	wg.Wait()
}

// A process is killed at any moment, again and again; what the store had
// acknowledged is there.
func testKilled(t *testing.T, d Database) {
	closeStore(t, d.open(t))
	acknowledged := make(map[string]string)
	for round := range 5 {
		child := exec.Command(os.Args[0], "-test.run=^$")
		child.Env = append(os.Environ(), childEnv+"="+d.DSN)
		var complaints strings.Builder
		child.Stderr = &complaints
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		before := len(acknowledged)
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); n++ {
			if n == 50+37*round {
				if err := child.Process.Kill(); err != nil { // it goes on reading what was written before
					t.Error(err)
				}
			}
			if id, version, ok := strings.Cut(lines.Text(), " "); ok {
				acknowledged[id] = max(acknowledged[id], version)
			}
		}
		if err := child.Wait(); err == nil || complaints.Len() > 0 || len(acknowledged) == before {
			t.Fatalf("the child ended with %v after %d sessions: %s", err, len(acknowledged)-before,
				complaints.String())
		}
	}

	s := d.open(t)
	all, err := s.AllSessions(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[string]session.Session)
	origins := make(map[string]bool)
	for _, sess := range all {
		found[sess.ID] = sess
		origins[sess.Origin] = true
		wantAllotted(t, s, sess.Origin, true)
		if (sess.Version == 2) != (sess.ContainerID == "c") {
			t.Errorf("half a change is there: %+v", sess)
		}
	}
	if len(origins) != len(all) {
		t.Errorf("%d sessions have %d origins", len(all), len(origins))
	}
	for id, version := range acknowledged {
		if got, ok := found[id]; !ok || fmt.Sprint(got.Version) < version {
			t.Errorf("session %s: %+v, acknowledged at version %s", id, got, version)
		}
	}
	t.Logf("%d sessions acknowledged, %d found", len(acknowledged), len(all))
}
