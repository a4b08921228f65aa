package session_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"

	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/container/mock"
	"github.com/octobot-run/octobot/internal/session"
)

// hostMounts notes what is mounted, and mounts nothing.
type hostMounts struct {
	mu        sync.Mutex
	mounted   map[string][]string // sources, by session
	calls     int
	refuse    error // of Mount
	mismatch  error // of Verify
	verified  [][]string
	unmounted []string
}

func (m *hostMounts) Mount(id string, n int, source string) (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.refuse != nil {
		return "", fmt.Errorf("open: %w", m.refuse)
	}
	if m.mounted == nil {
		m.mounted = map[string][]string{}
	}
	m.calls++
	m.mounted[id] = append(slices.Clip(m.mounted[id][:n:n]), source)
	return fmt.Sprintf("/mounts/%s/%d", id, n), nil
}

func (m *hostMounts) Verify(id string, pid int, targets []string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if pid != mainPID {
		return fmt.Errorf("process %d", pid)
	}
	m.verified = append(m.verified, targets)
	if _, ok := m.mounted[id]; !ok {
		return fs.ErrNotExist
	}
	return m.mismatch
}

func (m *hostMounts) Unmount(id string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.mounted, id)
	m.unmounted = append(m.unmounted, id)
	return nil
}

func (m *hostMounts) Mounted() ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var ids []string
	for id := range m.mounted {
		ids = append(ids, id)
	}
	return ids, nil
}

const mainPID = 4711

// hostRuntime is a runtime whose containers have processes of the host.
type hostRuntime struct {
	*mock.MockProvider
	created   []container.Options
	endBefore bool // the container ends when it is to be started
}

func (r *hostRuntime) Start(ctx context.Context, id string) error {
	if r.endBefore {
		if err := r.Stop(ctx, id, 0); err != nil {
			return err
		}
	}
	return r.MockProvider.Start(ctx, id)
}

func (r *hostRuntime) Create(
	ctx context.Context, id string, opts container.Options,
) (*container.Container, error) {
	r.created = append(r.created, opts)
	return r.MockProvider.Create(ctx, id, opts)
}

func (r *hostRuntime) MainPID(ctx context.Context, id string) (int, error) {
	c, err := r.Get(ctx, id)
	if err == nil && c.Status != container.StatusRunning {
		err = container.ErrContainerStopped
	}
	return mainPID, err
}

// mountKit is a kit whose sessions may mount what is in root.
type mountKit struct {
	*kit
	rt     *hostRuntime
	mounts *hostMounts
	root   string
}

func newMountKit(t *testing.T) *mountKit {
	t.Helper()
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "b"} {
		if err := os.Mkdir(filepath.Join(root, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	k := &mountKit{kit: newKit(t), mounts: &hostMounts{}, root: root}
	k.rt = &hostRuntime{MockProvider: k.kit.rt}
	cfg := configure()
	cfg.BindRoots, cfg.Mounts = []string{root}, k.mounts
	k.ContainerService = session.NewContainerService(k.rt, k.store, cfg)
	return k
}

func (k *mountKit) create(t *testing.T, id string, start bool) error {
	t.Helper()
	_, err := k.Create(t.Context(), admin, session.CreateRequest{ID: id, Start: start, Spec: session.Spec{
		Binds: []string{k.root + "/a:/x", k.root + "/b:/y/z:ro"}}})
	return err
}

// TestEngineMountsMounts checks that the engine never learns of a path that somebody can change.
func TestEngineMountsMounts(t *testing.T) {
	k := newMountKit(t)
	if err := k.create(t, "s", true); err != nil {
		t.Fatal(err)
	}
	v := k.status(t, "s", session.StatusRunning)
	if want := []string{k.root + "/a:/x", k.root + "/b:/y/z:ro"}; !slices.Equal(v.Spec.Binds, want) {
		t.Errorf("recorded %q, want %q", v.Spec.Binds, want)
	}
	if want := []string{"/mounts/s/0:/x", "/mounts/s/1:/y/z:ro"}; !slices.Equal(k.rt.created[0].Binds, want) {
		t.Errorf("the engine was given %q, want %q", k.rt.created[0].Binds, want)
	}
	if want := []string{k.root + "/a", k.root + "/b"}; !slices.Equal(k.mounts.mounted["s"], want) {
		t.Errorf("mounted %q, want %q", k.mounts.mounted["s"], want)
	}
	if len(k.mounts.verified) != 1 || !slices.Equal(k.mounts.verified[0], []string{"/x", "/y/z"}) {
		t.Errorf("verified %q", k.mounts.verified)
	}

	// A start makes them anew, unless the container runs: it keeps what it has.
	if _, err := k.Start(t.Context(), admin, "s"); err != nil || k.mounts.calls != 2 {
		t.Errorf("start while it runs: %v, mounted %d times", err, k.mounts.calls)
	}
	if _, err := k.Stop(t.Context(), admin, "s", 0); err != nil {
		t.Fatal(err)
	}
	if _, err := k.Start(t.Context(), admin, "s"); err != nil || k.mounts.calls != 4 {
		t.Errorf("start: %v, mounted %d times", err, k.mounts.calls)
	}

	// A daemon that was started again finds nothing mounted for a session that runs.
	delete(k.mounts.mounted, "s")
	if _, err := k.Start(t.Context(), admin, "s"); err != nil {
		t.Errorf("start while it runs, with nothing mounted: %v", err)
	}
	k.status(t, "s", session.StatusRunning)

	// But one that ends as it is started gets nothing, and is not to run so.
	k.rt.endBefore = true
	_, err := k.Start(t.Context(), admin, "s")
	wantCode(t, err, session.CodeForbidden)
	k.status(t, "s", session.StatusStopped)

	if err := k.Delete(t.Context(), admin, "s"); err != nil || !slices.Contains(k.mounts.unmounted, "s") {
		t.Errorf("delete: %v, unmounted %q", err, k.mounts.unmounted)
	}
}

func TestMountRefusedAtCreate(t *testing.T) {
	for _, tt := range []struct {
		err  error
		code session.Code
	}{
		{syscall.ELOOP, session.CodeForbidden},
		{fs.ErrPermission, session.CodeForbidden},
		{fs.ErrNotExist, session.CodePathNotFound},
		{syscall.ENOTDIR, session.CodePathNotFound},
		{errDisk, session.CodeInternal},
	} {
		k := newMountKit(t)
		k.mounts.refuse = tt.err
		wantCode(t, k.create(t, "s", true), tt.code)
		if n := k.engine.Calls("create"); n != 0 {
			t.Errorf("%v: the engine was asked %d times", tt.err, n)
		}
		k.status(t, "s", session.StatusClosed)
	}
}

func TestMountRefusedAtStart(t *testing.T) {
	k := newMountKit(t)
	if err := k.create(t, "s", false); err != nil {
		t.Fatal(err)
	}
	k.mounts.refuse = syscall.ELOOP
	_, err := k.Start(t.Context(), admin, "s")
	wantCode(t, err, session.CodeForbidden)
	if n := k.engine.Calls("start"); n != 0 {
		t.Errorf("the engine was asked %d times", n)
	}
	v := k.status(t, "s", session.StatusCreated)
	if v.Pending != session.OperationNone || v.Desired != session.DesiredStopped {
		t.Errorf("recorded %q, %q", v.Pending, v.Desired)
	}
	k.mounts.refuse = nil
	if _, err := k.Start(t.Context(), admin, "s"); err != nil {
		t.Error(err)
	}
}

// TestNothingToMountBy refuses binds before anything is recorded, with the reason.
func TestNothingToMountBy(t *testing.T) {
	k := newMountKit(t)
	cfg := configure()
	cfg.BindRoots, cfg.NoMounts = []string{k.root}, "the engine is on another host"
	k.ContainerService = session.NewContainerService(k.rt, k.store, cfg)
	e := wantCode(t, k.create(t, "s", true), session.CodeUnsupported)
	if e != nil && e.Detail != "binds can't be mounted: the engine is on another host" {
		t.Errorf("detail %q", e.Detail)
	}
	_, err := k.Get(t.Context(), admin, "s")
	wantCode(t, err, session.CodeSessionNotFound)
}

// TestMismatchIsStopped has the engine give a container something else than was mounted for it.
func TestMismatchIsStopped(t *testing.T) {
	mismatch := errors.New("inode 2 is not inode 7")
	t.Run("create", func(t *testing.T) {
		k := newMountKit(t)
		k.mounts.mismatch = mismatch
		wantCode(t, k.create(t, "s", true), session.CodeForbidden)
		if n := k.containers(); n != 0 {
			t.Errorf("%d containers are left", n)
		}
	})
	t.Run("start", func(t *testing.T) {
		k := newMountKit(t)
		if err := k.create(t, "s", false); err != nil {
			t.Fatal(err)
		}
		k.mounts.mismatch = mismatch
		_, err := k.Start(t.Context(), admin, "s")
		wantCode(t, err, session.CodeForbidden)
		v := k.status(t, "s", session.StatusStopped)
		if !v.StartedAt.IsZero() || v.Desired != session.DesiredStopped || v.Pending != session.OperationNone {
			t.Errorf("recorded %+v", v.Session)
		}
	})
	// The daemon died before it looked.
	t.Run("reconcile", func(t *testing.T) {
		k := newMountKit(t)
		if err := k.create(t, "s", false); err != nil {
			t.Fatal(err)
		}
		s, err := k.store.GetSession(t.Context(), "s")
		if err != nil {
			t.Fatal(err)
		}
		s.Pending, s.PendingSince, s.Desired = session.OperationStart, s.CreatedAt, session.DesiredRunning
		if _, err := k.store.UpdateSession(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		if err := k.rt.Start(t.Context(), "s"); err != nil {
			t.Fatal(err)
		}
		k.mounts.mismatch = mismatch
		k.reconcile(t)
		k.status(t, "s", session.StatusStopped)
	})
	// What can't be stopped does not count as started.
	t.Run("stop fails", func(t *testing.T) {
		k := newMountKit(t)
		if err := k.create(t, "s", false); err != nil {
			t.Fatal(err)
		}
		k.mounts.mismatch = mismatch
		k.inject(t, mock.Fault{Op: "stop", Nth: 1, Err: container.ErrUnavailable})
		_, err := k.Start(t.Context(), admin, "s")
		wantCode(t, err, session.CodeEngineUnavailable)
		v := k.status(t, "s", session.StatusStarting)
		if !v.StartedAt.IsZero() {
			t.Errorf("it counts as started at %v", v.StartedAt)
		}
		k.reconcile(t)
		k.status(t, "s", session.StatusStopped)
	})
}

// TestLeftoversAreUnmounted has mounts of sessions that are gone.
func TestLeftoversAreUnmounted(t *testing.T) {
	k := newMountKit(t)
	for _, id := range []string{"open", "closed"} {
		if err := k.create(t, id, true); err != nil {
			t.Fatal(err)
		}
	}
	if err := k.Delete(t.Context(), admin, "closed"); err != nil {
		t.Fatal(err)
	}
	k.mounts.mounted["closed"], k.mounts.mounted["unknown"] = []string{"/a"}, []string{"/b"}
	k.store.fail("get")
	k.reconcile(t)
	if len(k.mounts.mounted) != 3 {
		t.Errorf("the store did not answer, and what is mounted is %q", k.mounts.mounted)
	}
	k.store.setHook(nil)
	if _, err := k.ReconcilePass(t.Context(), admin, session.ReconcileOptions{DryRun: true}); err != nil ||
		len(k.mounts.mounted) != 3 {
		t.Errorf("after a dry run: %v, %q", err, k.mounts.mounted)
	}
	k.reconcile(t)
	if _, ok := k.mounts.mounted["open"]; !ok || len(k.mounts.mounted) != 1 {
		t.Errorf("mounted is %q", k.mounts.mounted)
	}
}
