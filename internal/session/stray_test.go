package session_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/session"
)

func TestStray(t *testing.T) {
	k := newKit(t)
	k.create(t, "keep")
	k.create(t, "x")
	closeRecord(t, k, "x")
	k.reconcile(t)
	if k.containers() != 2 {
		t.Fatal("one pass was enough")
	}
	dry, err := k.ReconcilePass(t.Context(), admin, session.ReconcileOptions{DryRun: true})
	if err != nil || k.containers() != 2 {
		t.Fatalf("dry run: %v, %d containers", err, k.containers())
	}
	want := map[session.Fate]bool{}
	for _, f := range dry.Fates {
		f.Reason, f.ContainerID = "", ""
		want[f] = true
	}
	if !want[session.Fate{SessionID: "keep", Action: session.ActionKeep}] ||
		!want[session.Fate{SessionID: "x", Action: session.ActionRemove}] {
		t.Errorf("dry run: %+v", dry.Fates)
	}
	k.reconcile(t)
	if k.containers() != 1 {
		t.Errorf("%d containers", k.containers())
	}
	k.status(t, "keep", session.StatusRunning)
}

// TestReplacedStray checks that what is removed is the container that was seen, and not a later one
// of its name.
func TestReplacedStray(t *testing.T) {
	k := newKit(t)
	v := k.create(t, "x")
	closeRecord(t, k, "x")
	rt := interrupted{Runtime: k.rt, get: new(sync.Once), first: func() {
		k.engine.Lose("x")
		if _, err := k.rt.Create(t.Context(), "x", v.Options()); err != nil {
			t.Error(err)
		}
	}}
	s := session.NewContainerService(rt, k.store, configure())
	for range 2 {
		if err := s.Reconcile(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if k.containers() != 1 {
		t.Error("the later one was removed")
	}
}

// forgetful is a store that confirms an origin only as often as it is told to.
type forgetful struct {
	session.Store
	confirm *int
}

func (f forgetful) Allotted(context.Context, string) (bool, error) {
	*f.confirm--
	return *f.confirm >= 0, nil
}

// TestAskedAgain checks that the store is asked once more, right before a removal.
func TestAskedAgain(t *testing.T) {
	for confirm, want := range map[int]int{2: 1, 3: 0} {
		k := newKit(t)
		k.create(t, "x")
		forget(t, k, "x")
		s := session.NewContainerService(k.rt, forgetful{k.store, &confirm}, configure())
		for range 2 {
			if err := s.Reconcile(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if n := k.containers(); n != want {
			t.Errorf("%d containers after %d confirmations", n, confirm)
		}
	}
}

// TestSightingsInARow checks that a pass which failed in between makes the count begin anew.
func TestSightingsInARow(t *testing.T) {
	k := newKit(t)
	k.create(t, "x")
	closeRecord(t, k, "x")
	k.reconcile(t)
	k.engine.SetDown(true)
	wantCode(t, k.Reconcile(t.Context()), session.CodeEngineUnavailable)
	k.engine.SetDown(false)
	k.reconcile(t)
	if k.containers() != 1 {
		t.Fatal("removed")
	}
	k.reconcile(t)
	if k.containers() != 0 {
		t.Fatal("not removed")
	}
}

// forget prunes a closed session, so that the store answers that it never was.
func forget(t *testing.T, k *kit, ids ...string) {
	t.Helper()
	for _, id := range ids {
		closeRecord(t, k, id)
	}
	if n, err := k.store.PruneSessions(t.Context(), time.Now().Add(time.Hour)); err != nil || n != len(ids) {
		t.Fatalf("%d pruned, %v", n, err)
	}
}

func TestForgotten(t *testing.T) {
	t.Run("young", func(t *testing.T) {
		k := newKit(t, func(c *session.Config) { c.Grace = time.Hour })
		k.create(t, "x")
		forget(t, k, "x")
		if r := k.settled(t); r.Held != 1 || k.containers() != 1 {
			t.Errorf("%+v", r)
		}
	})
	t.Run("old enough", func(t *testing.T) {
		k := newKit(t)
		k.create(t, "x")
		forget(t, k, "x")
		k.settled(t)
		if n := k.containers(); n != 0 {
			t.Errorf("%d containers", n)
		}
	})
	t.Run("too many", func(t *testing.T) {
		k := newKit(t)
		ids := []string{"a", "b", "c", "d", "e", "f"}
		for _, id := range ids {
			k.create(t, id)
		}
		forget(t, k, ids...)
		k.reconcile(t)
		for range 3 {
			r, err := k.ReconcilePass(t.Context(), admin, session.ReconcileOptions{})
			wantCode(t, err, session.CodeReconcileRefused)
			if !r.Refused || r.Removed != 0 || k.containers() != 6 {
				t.Fatalf("%+v", r)
			}
		}
		r, err := k.ReconcilePass(t.Context(), admin, session.ReconcileOptions{AllowRemovals: true})
		if err != nil || r.Removed != 6 || k.containers() != 0 {
			t.Errorf("%+v, %v", r, err)
		}
	})
}

// copyFile copies what a backup would; the store is idle.
func copyFile(t *testing.T, to, from string) {
	t.Helper()
	in, err := os.Open(from)
	if errors.Is(err, os.ErrNotExist) {
		if err := os.Remove(to); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(out, in); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestStrangeStore checks that a store which is not the one that recorded the containers
// removes none of them.
func TestStrangeStore(t *testing.T) {
	// restore makes a backup after the sessions "old…", and restores it after "new…" were made and
	// "old1" was deleted.
	restore := func(t *testing.T, k *kit) session.Store {
		for i := range 3 {
			k.create(t, fmt.Sprintf("old%d", i))
		}
		if err := k.store.Store.Close(); err != nil {
			t.Fatal(err)
		}
		backup := filepath.Join(t.TempDir(), "backup.db")
		copyFile(t, backup, k.path)
		k.store.Store = openStore(t, k.path)
		for i := range 3 {
			k.create(t, fmt.Sprintf("new%d", i))
		}
		if err := k.Delete(t.Context(), admin, "old1"); err != nil {
			t.Fatal(err)
		}
		k.create(t, "old1") // the same ID, another session
		if err := k.store.Store.Close(); err != nil {
			t.Fatal(err)
		}
		copyFile(t, k.path, backup)
		copyFile(t, k.path+"-wal", backup+"-wal")
		copyFile(t, k.path+"-shm", backup+"-shm")
		return openStore(t, k.path)
	}
	other := func(t *testing.T, k *kit) session.Store {
		for i := range 6 {
			k.create(t, fmt.Sprintf("old%d", i))
		}
		return openStore(t, filepath.Join(t.TempDir(), "other.db"))
	}
	tests := []struct {
		name  string
		store func(t *testing.T, k *kit) session.Store
		use   bool // sessions are made with the strange store
	}{
		{"restored from a backup", restore, false},
		{"restored from a backup, and used", restore, true},
		{"empty", other, false},
		{"another's, and used", other, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			k := newKit(t)
			k.store.Store = tt.store(t, k)
			k.ContainerService = session.NewContainerService(k.rt, k.store, configure())
			want := 6
			if tt.use {
				for i := range 10 {
					k.create(t, fmt.Sprintf("later%d", i))
				}
				want += 10
			}
			removals := k.engine.Calls("remove")
			r := k.settled(t)
			if n := k.engine.Calls("remove"); n != removals || k.containers() != want {
				t.Errorf("%d removals, %d containers of %d: %+v", n-removals, k.containers(), want, r)
			}
			if r.Held == 0 {
				t.Errorf("nothing is said to be held: %+v", r)
			}
			// A person may decide otherwise.
			if _, err := k.ReconcilePass(t.Context(), admin,
				session.ReconcileOptions{AllowRemovals: true}); err != nil {
				t.Error(err)
			}
			if k.containers() >= want {
				t.Error("nothing was removed although it was allowed")
			}
		})
	}
}

// TestOtherInstance checks that two instances on one engine leave each other's containers alone.
func TestOtherInstance(t *testing.T) {
	k := newKit(t)
	other := k.engine.Provider("other")
	t.Cleanup(func() { _ = other.Close() })
	if _, err := other.Create(t.Context(), "theirs", container.Options{Image: "debian:12", Origin: "g:1"}); err != nil {
		t.Fatal(err)
	}
	k.create(t, "ours")
	if r := k.settled(t); r.Containers != 1 || r.Held != 0 || k.containers() != 2 {
		t.Errorf("%+v", r)
	}
}
