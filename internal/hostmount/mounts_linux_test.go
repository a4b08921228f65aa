package hostmount

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// fixture is a data directory with its mounts, and a directory beside it to mount from.
type fixture struct {
	*Mounts
	t      *testing.T
	source string
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	base, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{t: t, source: filepath.Join(base, "source")}
	f.write("source/dir/marker", "checked")
	f.write("source/file", "checked")
	f.write("data/secret", "secret")
	f.Mounts = f.open(filepath.Join(base, "data"))
	return f
}

// open opens mounts that end with the test, before anybody removes its files.
func (f *fixture) open(dataDir string) *Mounts {
	f.t.Helper()
	m, err := Open(dataDir)
	if errors.Is(err, errMayNot) {
		f.t.Skip("only root may mount; run make test")
	}
	f.must(err)
	f.t.Cleanup(func() {
		if err := m.Close(); err != nil && !errors.Is(err, fs.ErrClosed) {
			f.t.Error(err)
		}
	})
	return m
}

func (f *fixture) base() string { return filepath.Dir(f.source) }

func (f *fixture) write(name, text string) {
	f.t.Helper()
	path := filepath.Join(f.base(), name)
	f.must(os.MkdirAll(filepath.Dir(path), 0o700))
	f.must(os.WriteFile(path, []byte(text), 0o600))
}

func (f *fixture) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) mount(id string, n int, source string) string {
	f.t.Helper()
	path, err := f.Mount(id, n, filepath.Join(f.source, source))
	f.must(err)
	return path
}

func (f *fixture) wantText(path, want string) {
	f.t.Helper()
	if got, err := os.ReadFile(path); err != nil || string(got) != want {
		f.t.Errorf("%s: %q, %v; want %q", path, got, err, want)
	}
}

func TestMount(t *testing.T) {
	f := newFixture(t)
	dir, file := f.mount("x", 0, "dir"), f.mount("x", 1, "file")
	if want := filepath.Join(f.base(), "data/mounts/x/0"); dir != want {
		t.Errorf("got %s, want %s", dir, want)
	}
	f.wantText(dir+"/marker", "checked")
	f.wantText(file, "checked")

	// What the path leads to later does not matter, until it is mounted anew.
	f.must(os.Rename(f.source+"/dir", f.source+"/was"))
	f.write("source/dir/marker", "new")
	f.wantText(dir+"/marker", "checked")
	f.mount("x", 0, "dir")
	f.wantText(dir+"/marker", "new")
	f.mount("x", 0, "file")
	f.wantText(dir, "checked")

	f.mount("y", 0, "dir")
	f.must(f.Unmount("x"))
	f.must(f.Unmount("x"))
	if ids, err := f.Mounted(); err != nil || !slices.Equal(ids, []string{"y"}) {
		t.Errorf("mounted for %q, %v", ids, err)
	}
	f.wantText(f.source+"/dir/marker", "new")
	f.wantText(f.source+"/file", "checked")
}

// TestMountOutlivesProcess leaves mounts as a killed daemon does.
func TestMountOutlivesProcess(t *testing.T) {
	f := newFixture(t)
	dir := f.mount("x", 0, "dir")
	next := f.open(filepath.Join(f.base(), "data"))
	if ids, err := next.Mounted(); err != nil || !slices.Equal(ids, []string{"x"}) {
		t.Errorf("mounted for %q, %v", ids, err)
	}
	f.wantText(dir+"/marker", "checked")
	f.must(next.Close())
	if entries, err := os.ReadDir(filepath.Join(f.base(), "data/mounts")); err != nil || len(entries) != 0 {
		t.Errorf("left: %v, %v", entries, err)
	}
	f.wantText(f.source+"/dir/marker", "checked")
}

// TestUnmountKeepsFiles finds files in the place of a mount: an engine gave it to a container while
// nothing was mounted.
func TestUnmountKeepsFiles(t *testing.T) {
	f := newFixture(t)
	f.write("data/mounts/x/0/work", "kept")
	f.mount("x", 0, "dir")
	f.must(f.Unmount("x"))
	f.wantText(filepath.Join(f.base(), "data/mounts/x/0/work"), "kept")
	f.wantText(f.source+"/dir/marker", "checked")
}

// TestUnmountEndsBelow mounts a directory with a mount in it, which stays where it came from.
func TestUnmountEndsBelow(t *testing.T) {
	f := newFixture(t)
	inner := f.source + "/dir/inner"
	f.must(os.Mkdir(inner, 0o700))
	f.must(unix.Mount(f.source+"/dir", f.source+"/dir", "", unix.MS_BIND, ""))
	t.Cleanup(func() { _ = unix.Unmount(f.source+"/dir", unix.MNT_DETACH) })
	f.must(unix.Mount("", f.source+"/dir", "", unix.MS_SHARED, ""))
	f.must(unix.Mount("tmpfs", inner, "tmpfs", 0, "size=64k"))
	f.write("source/dir/inner/marker", "inner")
	f.wantText(f.mount("x", 0, "dir")+"/inner/marker", "inner")
	f.must(f.Unmount("x"))
	f.wantText(inner+"/marker", "inner")
}

func TestMountRefused(t *testing.T) {
	f := newFixture(t)
	f.must(os.Symlink("dir", f.source+"/link"))
	f.must(os.Symlink("/", f.source+"/slash"))
	for source, want := range map[string]error{
		f.source + "/link":             unix.ELOOP,
		f.source + "/link/marker":      unix.ELOOP,
		f.source + "/slash":            unix.ELOOP,
		f.source + "/missing":          fs.ErrNotExist,
		f.source + "/missing/more":     fs.ErrNotExist,
		f.source + "/file/more":        unix.ENOTDIR,
		f.base():                       fs.ErrPermission,
		f.base() + "/data":             fs.ErrPermission,
		f.base() + "/data/secret":      fs.ErrPermission,
		f.base() + "/data/mounts":      fs.ErrPermission,
		filepath.Dir(f.base()):         fs.ErrPermission,
		f.base() + "/data/mounts/none": fs.ErrPermission,
	} {
		if _, err := f.Mount("x", 0, source); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", source, err, want)
		}
	}
	if ids, err := f.Mounted(); err != nil || len(ids) != 0 {
		t.Errorf("mounted for %q, %v", ids, err)
	}

	// The data directory is known by any name.
	alias := f.source + "/alias"
	f.must(os.Mkdir(alias, 0o700))
	f.must(unix.Mount(f.base(), alias, "", unix.MS_BIND, ""))
	t.Cleanup(func() { _ = unix.Unmount(alias, unix.MNT_DETACH) })
	for _, source := range []string{alias, alias + "/data", alias + "/data/secret"} {
		if _, err := f.Mount("x", 0, source); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("%s: %v", source, err)
		}
	}
}

func TestOpenRefused(t *testing.T) {
	newFixture(t)
	base := t.TempDir()
	dir := filepath.Join(base, "with:colon")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := Check(dir); err == nil {
		t.Error("a colon passes the check")
	}
	for _, good := range []string{base, filepath.Join(base, "to be made")} {
		if err := Check(good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	if m, err := Open(dir); err == nil {
		t.Errorf("opened %v", m)
	}
}

// TestVerify looks at this process, in which the mounts' own paths are where a container has them.
func TestVerify(t *testing.T) {
	f := newFixture(t)
	dir, file := f.mount("x", 0, "dir"), f.mount("x", 1, "file")
	f.must(f.Verify("x", os.Getpid(), []string{dir, file}))
	again := f.mount("y", 0, "dir")
	f.mount("y", 1, "dir")
	f.must(f.Verify("y", os.Getpid(), []string{dir, again}))
	f.must(os.Symlink(dir, f.source+"/link"))
	f.must(f.Verify("x", os.Getpid(), []string{f.source + "/link"}))
	for name, targets := range map[string][]string{
		"others":             {file, dir},
		"one mount as two":   {f.source + "/link", dir},
		"not a mount":        {f.source + "/dir"},
		"nothing":            {f.source + "/missing"},
		"inside of a mount":  {dir + "/marker"},
		"the host's root":    {"/"},
		"a link to the root": {"/proc/self/root"},
	} {
		id := "x"
		if name == "one mount as two" {
			id = "y"
		}
		if err := f.Verify(id, os.Getpid(), targets); err == nil || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := f.Verify("x", 1<<30, []string{dir}); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no such process: %v", err)
	}
	f.must(f.Unmount("x"))
	if err := f.Verify("x", os.Getpid(), []string{dir}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("unmounted: %v", err)
	}
}

// TestMountOfSwapped mounts a name that is now a directory, now a link to the root, and now a
// directory that leads on to the root.
func TestMountOfSwapped(t *testing.T) {
	f := newFixture(t)
	f.write("source/parent/dir/marker", "checked")
	f.must(os.Symlink("/", f.source+"/link"))
	f.must(os.Mkdir(f.source+"/other", 0o700))
	f.must(os.Symlink("/", f.source+"/other/dir"))
	var swaps atomic.Int64
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			for _, with := range []string{"link", "link", "other", "other"} { // there and back
				if err := unix.Renameat2(unix.AT_FDCWD, f.source+"/parent", unix.AT_FDCWD, f.source+"/"+with,
					unix.RENAME_EXCHANGE); err != nil {
					t.Error(err)
					return
				}
				swaps.Add(1)
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	}()
	mounted, refused := 0, 0
	for mounted < 100 || refused < 100 || swaps.Load() < 10_000 {
		path, err := f.Mount("x", 0, f.source+"/parent/dir")
		switch {
		case err == nil:
			mounted++
			f.wantText(path+"/marker", "checked")
		case errors.Is(err, unix.ELOOP):
			refused++
		default:
			t.Errorf("unexpected: %v", err)
		}
		if t.Failed() {
			break
		}
	}
	close(stop)
	<-done
	t.Logf("%d swaps, mounted %d times, refused %d times", swaps.Load(), mounted, refused)
}
