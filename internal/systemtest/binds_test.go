package systemtest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	v1 "github.com/octobot-run/octobot/api/v1"
	"github.com/octobot-run/octobot/client"
)

// eachEngine runs a test on every engine that the test scripts started.
func eachEngine(t *testing.T, test func(t *testing.T, host string)) {
	for engine, variable := range map[string]string{
		"docker": "OCTOBOT_TEST_DOCKER_HOST", "podman": "OCTOBOT_TEST_PODMAN_HOST"} {
		t.Run(engine, func(t *testing.T) {
			host := os.Getenv(variable)
			if host == "" {
				t.Skipf("%s is not set; run make test", variable)
			}
			t.Parallel()
			test(t, host)
		})
	}
}

// bindFixture is a daemon on one of the engines, and a bind root.
type bindFixture struct {
	*daemon
	root string
}

func newBindFixture(t *testing.T, host string, wrap ...string) *bindFixture {
	t.Helper()
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	f := &bindFixture{daemon: newDaemon(t, host, "--bind-root", root), root: root}
	f.wrap = wrap
	f.start()
	engine, instance := engineClient(t, host), f.instance()
	t.Cleanup(func() { removeAll(t, engine, instance) })
	return f
}

// write writes a file below the root.
func (f *bindFixture) write(name, text string) {
	f.t.Helper()
	path := filepath.Join(f.root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		f.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		f.t.Fatal(err)
	}
}

// createBound makes and starts a session that mounts what binds name, below the root.
func (f *bindFixture) createBound(id string, binds ...string) error {
	for i := range binds {
		binds[i] = filepath.Join(f.root, binds[i])
	}
	_, err := f.api.CreateSession(f.t.Context(), v1.CreateSessionRequest{ID: id, Spec: v1.Spec{
		Cmd: []string{"sleep", "3600"}, Binds: binds}}, nil)
	return err
}

// sh runs a script in a session, and gives its output.
func (f *bindFixture) sh(id, script string) string {
	f.t.Helper()
	res, err := f.api.Exec(f.t.Context(), id, v1.ExecRequest{Cmd: []string{"sh", "-c", script}})
	if err != nil {
		f.t.Fatal(err)
	}
	return strings.TrimSpace(string(res.Stdout) + string(res.Stderr))
}

func (f *bindFixture) want(id, script, want string) {
	f.t.Helper()
	if got := f.sh(id, script); got != want {
		f.t.Errorf("session %s: %s gives %q, want %q", id, script, got, want)
	}
}

// mounts gives what is mounted below the data directory.
func (f *bindFixture) mounts() []string {
	f.t.Helper()
	text, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		f.t.Fatal(err)
	}
	var below []string
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); strings.HasPrefix(fields[1], f.dir+"/") {
			below = append(below, fields[1])
		}
	}
	return below
}

// TestSwappedBinds has a session that can write to the directory in which another's bind lies, and
// swaps what is bound, or the directory that it is in, for a link to the root, again and again,
// while the other is made and started. What that one gets is what was checked, or nothing.
func TestSwappedBinds(t *testing.T) {
	const wantMade, wantSwaps = 20, 10_000
	eachEngine(t, func(t *testing.T, host string) {
		f := newBindFixture(t, host)
		f.write("work/bound/marker", "checked")
		f.write("work/parent/usr/marker", "checked")
		if err := f.createBound("attacker", "work:/work"); err != nil {
			t.Fatal(err)
		}
		f.want("attacker", "cd /work && ln -s / link && ln -s / up && cat bound/marker parent/usr/marker",
			"checkedchecked")

		// As the attacker's process would: both see one directory.
		var swaps atomic.Int64
		stop, done := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(done)
			for {
				for range 2 { // there and back
					for name, with := range map[string]string{"bound": "link", "parent": "up"} {
						if err := unix.Renameat2(unix.AT_FDCWD, filepath.Join(f.root, "work", name), unix.AT_FDCWD,
							filepath.Join(f.root, "work", with), unix.RENAME_EXCHANGE); err != nil {
							t.Error(err)
							return
						}
						swaps.Add(1)
						time.Sleep(10 * time.Microsecond) // leaves the engine some of the machine
					}
				}
				select {
				case <-stop:
					return
				default:
				}
			}
		}()
		made, refused := 0, 0
		deadline := time.Now().Add(3 * time.Minute)
		for i := 0; (made < wantMade || swaps.Load() < wantSwaps) && !t.Failed(); i++ {
			if time.Now().After(deadline) {
				t.Fatalf("made %d, refused %d, swapped %d times in 3 min", made, refused, swaps.Load())
			}
			id := fmt.Sprintf("victim-%d", i)
			err := f.createBound(id, []string{"work/bound:/data", "work/parent/usr:/data"}[i%2])
			for err == nil {
				made++
				f.want(id, "ls -A /data; cat /data/marker", "marker\nchecked")
				if made%2 == 0 {
					break
				}
				// Every second one is started anew.
				if _, err := f.api.StopSession(t.Context(), id, 0); err != nil {
					t.Fatal(err)
				}
				_, err = f.api.StartSession(t.Context(), id)
			}
			switch {
			case err == nil:
			case strings.Contains(err.Error(), "got something else"):
				t.Error(err) // it ran with that, until it was found out
			case client.CodeOf(err) == v1.CodeForbidden:
				refused++
			default:
				t.Errorf("unexpected: %v", err)
			}
			err = f.api.DeleteSession(t.Context(), id)
			if err != nil && client.CodeOf(err) != v1.CodeSessionNotFound {
				t.Error(err)
			}
		}
		close(stop)
		<-done
		t.Logf("made and started %d times, refused %d times, %d swaps", made, refused, swaps.Load())
	})
}

// TestBindsOfSession follows a session's binds through its life.
func TestBindsOfSession(t *testing.T) {
	eachEngine(t, func(t *testing.T, host string) {
		f := newBindFixture(t, host)
		f.write("dir/marker", "first")
		f.write("file", "a file")
		if err := f.createBound("s", "dir:/a/dir", "file:/a/file:ro", "dir:/a/again:ro"); err != nil {
			t.Fatal(err)
		}
		f.want("s", "cat /a/dir/marker /a/file /a/again/marker", "firsta filefirst")
		f.want("s", "echo new >/a/dir/made && cat /a/again/made", "new")
		f.want("s", "touch /a/again/x 2>/dev/null || touch /a/file 2>/dev/null || echo refused", "refused")
		if got, err := os.ReadFile(filepath.Join(f.root, "dir/made")); err != nil || string(got) != "new\n" {
			t.Errorf("on the host: %q, %v", got, err)
		}
		if n := len(f.mounts()); n != 3 {
			t.Errorf("%d are mounted: %q", n, f.mounts())
		}

		// Killed, with its mounts there; then stopped in order, after which they are not.
		f.kill()
		f.start()
		if _, err := f.api.StartSession(t.Context(), "s"); err != nil { // runs already
			t.Error(err)
		}
		f.want("s", "cat /a/dir/marker", "first")
		f.stop()
		if left := f.mounts(); len(left) != 0 {
			t.Errorf("the daemon left %q", left)
		}
		f.start()
		if _, err := f.api.StartSession(t.Context(), "s"); err != nil {
			t.Error(err)
		}
		f.want("s", "cat /a/dir/marker", "first")

		// A start follows the paths anew.
		if _, err := f.api.StopSession(t.Context(), "s", 0); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(f.root, "dir"), filepath.Join(f.root, "old")); err != nil {
			t.Fatal(err)
		}
		if _, err := f.api.StartSession(t.Context(), "s"); client.CodeOf(err) != v1.CodePathNotFound {
			t.Errorf("without the directory: %v", err)
		}
		f.write("dir/marker", "second")
		if _, err := f.api.StartSession(t.Context(), "s"); err != nil {
			t.Fatal(err)
		}
		f.want("s", "cat /a/dir/marker /a/again/marker", "secondsecond")
		if err := f.api.DeleteSession(t.Context(), "s"); err != nil {
			t.Fatal(err)
		}
		if left := f.mounts(); len(left) != 0 {
			t.Errorf("the session left %q", left)
		}

		// The daemon's own directory is nobody's, though it be below a root.
		own := newDaemon(t, host, "--bind-root", filepath.Dir(f.dir))
		own.start()
		for _, source := range []string{own.dir, filepath.Dir(own.dir), own.database()} {
			_, err := own.api.CreateSession(t.Context(), v1.CreateSessionRequest{Spec: v1.Spec{
				Binds: []string{source + ":/x"}}}, nil)
			if client.CodeOf(err) != v1.CodeForbidden {
				t.Errorf("bind of %s: %v", source, err)
			}
		}
	})
}

// TestEngineSeesOtherFiles has a daemon whose mounts no engine sees. The containers get an empty
// directory, and are gone before their sessions count as started.
func TestEngineSeesOtherFiles(t *testing.T) {
	eachEngine(t, func(t *testing.T, host string) {
		f := newBindFixture(t, host, "unshare", "--mount", "--propagation", "private")
		f.write("dir/marker", "checked")
		err := f.createBound("s", "dir:/data")
		if client.CodeOf(err) != v1.CodeForbidden || !strings.Contains(err.Error(), "got something else") {
			t.Errorf("create: %v", err)
		}
		if left := containers(t, engineClient(t, host), f.instance()); len(left) != 0 {
			t.Errorf("left: %+v", left)
		}
	})
}

// TestBindsWithoutPrivilege has a daemon that may not mount.
func TestBindsWithoutPrivilege(t *testing.T) {
	eachEngine(t, func(t *testing.T, host string) {
		f := newBindFixture(t, host, "setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin")
		f.write("dir/marker", "checked")
		err := f.createBound("s", "dir:/data")
		if client.CodeOf(err) != v1.CodeUnsupported || !strings.Contains(err.Error(), "CAP_SYS_ADMIN") {
			t.Errorf("create: %v", err)
		}
		if err := f.createBound("unbound"); err != nil {
			t.Errorf("without binds: %v", err)
		}
	})
}
