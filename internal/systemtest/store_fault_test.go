package systemtest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	moby "github.com/moby/moby/client"

	v1 "github.com/octobot-run/octobot/api/v1"
	"github.com/octobot-run/octobot/client"
)

// faulty is an installation whose store is about to fail.
type faulty struct {
	*daemon
	engine   *moby.Client
	instance string
	kept     []string // IDs of its containers
}

// withSessions starts d and gives it three sessions, one of them stopped.
func withSessions(t *testing.T, d *daemon, engine *moby.Client) faulty {
	t.Helper()
	d.start()
	f := faulty{daemon: d, engine: engine, instance: d.instance()}
	t.Cleanup(func() { removeAll(t, engine, f.instance) })
	for i := range 3 {
		if err := d.create(t.Context(), sessionID(t, i)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := d.api.StopSession(t.Context(), sessionID(t, 2), 0); err != nil {
		t.Fatal(err)
	}
	f.kept = f.containerIDs(t)
	return f
}

// sessionID is unique on the engine that the tests share.
func sessionID(t *testing.T, i int) string {
	name := strings.NewReplacer("/", "-", "_", "-").Replace(t.Name())
	return fmt.Sprintf("%.40s-%d-%d", name, os.Getpid(), i)
}

func (f faulty) containerIDs(t *testing.T) []string {
	var ids []string
	for _, c := range containers(t, f.engine, f.instance) {
		ids = append(ids, c.ID)
	}
	slices.Sort(ids)
	return ids
}

// survives shows that a store that fails costs no container: changes are refused with the store's
// code, passes end without removing anything, and when the store is well again, so is everything.
func (f faulty) survives(t *testing.T, mend func()) {
	t.Helper()
	promptly(t, "create", func(ctx context.Context) {
		if code := client.CodeOf(f.create(ctx, sessionID(t, 9))); code != v1.CodeStoreUnavailable {
			t.Errorf("create: %q, want %q", code, v1.CodeStoreUnavailable)
		}
	})
	promptly(t, "delete", func(ctx context.Context) {
		if code := client.CodeOf(f.api.DeleteSession(ctx, sessionID(t, 0))); code != v1.CodeStoreUnavailable {
			t.Errorf("delete: %q, want %q", code, v1.CodeStoreUnavailable)
		}
	})
	for range 3 { // more than the two passes that a removal takes
		promptly(t, "reconcile", func(ctx context.Context) {
			_, _ = f.api.Reconcile(ctx, client.ReconcileOptions{}) // may fail; must not remove
		})
	}
	if now := f.containerIDs(t); !slices.Equal(now, f.kept) {
		t.Errorf("containers while the store was away: %q, were %q", now, f.kept)
	}
	mend()
	eventually(t, 30*time.Second, "a session can be created again", func(ctx context.Context) error {
		err := f.create(ctx, sessionID(t, 9))
		if client.CodeOf(err) == v1.CodeSessionExists {
			return nil
		}
		return err
	})
	if err := f.api.DeleteSession(t.Context(), sessionID(t, 9)); err != nil {
		t.Errorf("delete when the store is back: %v", err)
	}
	if now := f.containerIDs(t); !slices.Equal(now, f.kept) {
		t.Errorf("containers when the store is back: %q, were %q", now, f.kept)
	}
}

func TestSQLiteHangs(t *testing.T) {
	host, engine := sharedEngine(t)
	f := withSessions(t, newDaemon(t, host, "--reconcile-grace", "1s", "--reconcile-interval", "1s"), engine)
	db, err := sql.Open("sqlite", f.database())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	holder, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer holder.Close()
	if _, err := holder.ExecContext(t.Context(), "PRAGMA busy_timeout=5000; BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	f.survives(t, func() {
		if _, err := holder.ExecContext(t.Context(), "ROLLBACK"); err != nil {
			t.Fatal(err)
		}
	})
}

func TestSQLiteDiskFull(t *testing.T) {
	host, engine := sharedEngine(t)
	d := newDaemon(t, host, "--reconcile-grace", "1s", "--reconcile-interval", "1s")
	if err := syscall.Mount("tmpfs", d.dir, "tmpfs", 0, "size=4m,mode=0700"); err != nil {
		t.Fatalf("mount a small disk: %v", err)
	}
	t.Cleanup(func() { d.kill(); _ = syscall.Unmount(d.dir, syscall.MNT_DETACH) })
	f := withSessions(t, d, engine)
	filler := filepath.Join(d.dir, "filler")
	file, err := os.Create(filler)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(file, zeros{}); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("fill the disk: %v, want ENOSPC", err)
	}
	file.Close()
	// The WAL may have room in pages that it holds already; use that up.
	for range 2000 {
		if client.CodeOf(d.api.DeleteToken(t.Context(), "none")) == v1.CodeStoreUnavailable {
			break
		}
		name := fmt.Sprint("filler-", time.Now().UnixNano())
		if _, err := d.api.CreateToken(t.Context(),
			v1.CreateTokenRequest{Name: name}); client.CodeOf(err) == v1.CodeStoreUnavailable {
			break
		}
	}
	f.survives(t, func() {
		if err := os.Remove(filler); err != nil {
			t.Fatal(err)
		}
	})
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// TestStoreOfAnotherTime replaces the store under a stopped daemon. What the new one
// does not know is not thereby unwanted: it stays, and is reported.
func TestStoreOfAnotherTime(t *testing.T) {
	host, engine := sharedEngine(t)
	flags := []string{"--reconcile-grace", "1s", "--reconcile-interval", "1s"}

	t.Run("empty", func(t *testing.T) {
		f := withSessions(t, newDaemon(t, host, flags...), engine)
		f.stop()
		removeDatabase(t, f.database())
		f.start()
		if again := f.daemon.instance(); again == f.instance {
			t.Fatalf("a new store has the old instance ID %q", again)
		}
		f.staysThroughPasses(t)
	})

	t.Run("old backup", func(t *testing.T) {
		f := withSessions(t, newDaemon(t, host, flags...), engine)
		f.stop()
		backup, err := os.ReadFile(f.database())
		if err != nil {
			t.Fatal(err)
		}
		f.start()
		for i := range 3 {
			if err := f.create(t.Context(), sessionID(t, 10+i)); err != nil {
				t.Fatal(err)
			}
		}
		f.kept = f.containerIDs(t)
		f.stop()
		removeDatabase(t, f.database())
		if err := os.WriteFile(f.database(), backup, 0o600); err != nil {
			t.Fatal(err)
		}
		f.start()
		// New sessions must not make the lost ones look as if they had been recorded.
		for i := range 4 {
			if err := f.create(t.Context(), sessionID(t, 20+i)); err != nil {
				t.Fatal(err)
			}
		}
		// All from before are wanted still, whether they are there by now or not.
		f.kept = append(f.kept, f.containerIDs(t)...)
		slices.Sort(f.kept)
		f.kept = slices.Compact(f.kept)
		report := f.staysThroughPasses(t)
		for i := range 3 {
			id := sessionID(t, 10+i)
			if !slices.ContainsFunc(report.Fates,
				func(fate v1.Fate) bool { return fate.SessionID == id && fate.Reason != "" }) {
				t.Errorf("the report does not mention %q, which the store lost: %+v", id, report.Fates)
			}
		}
	})

	t.Run("another instance", func(t *testing.T) {
		f := withSessions(t, newDaemon(t, host, flags...), engine)
		other := newDaemon(t, host, flags...)
		other.start()
		other.stop()
		f.stop()
		db, err := os.ReadFile(other.database())
		if err != nil {
			t.Fatal(err)
		}
		removeDatabase(t, f.database())
		if err := os.WriteFile(f.database(), db, 0o600); err != nil {
			t.Fatal(err)
		}
		f.start()
		f.staysThroughPasses(t)
	})
}

// staysThroughPasses runs more passes than a removal takes, past the grace, and returns the last
// one's report.
func (f faulty) staysThroughPasses(t *testing.T) v1.ReconcileReport {
	t.Helper()
	var report v1.ReconcileReport
	for range 4 {
		time.Sleep(600 * time.Millisecond) // so that the grace of a second passes
		var err error
		if report, err = f.api.Reconcile(t.Context(), client.ReconcileOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if now := f.containerIDs(t); !slices.Equal(now, f.kept) {
		t.Errorf("containers are %q, were %q", now, f.kept)
	}
	return report
}

func removeDatabase(t *testing.T, path string) {
	t.Helper()
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := os.Remove(path + suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
	}
}
