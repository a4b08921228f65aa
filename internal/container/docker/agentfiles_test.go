package docker_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/container/agented"
)

func (k agentedKit) files(t *testing.T) interface {
	container.Files
	container.FileArchiver
} {
	t.Helper()
	return k.rt.(*agented.Runtime)
}

// stuck is a file that gives some bytes, says so, and then no more until the test lets it.
type stuck struct {
	given chan struct{}
	more  chan struct{}
	n     int
}

func newStuck() *stuck { return &stuck{make(chan struct{}), make(chan struct{}), 0} }

func (s *stuck) Read(b []byte) (int, error) {
	if s.n++; s.n > 32 {
		if s.n == 33 {
			close(s.given)
		}
		<-s.more
		return 0, io.EOF
	}
	return len(b), nil
}

// TestAgentKilledAmidFiles: what was being written stays as it was, what was being read is not
// taken for all, and what comes next has another agent.
func TestAgentKilledAmidFiles(t *testing.T) {
	onEngines(t, agented.Config{}, container.Options{}, func(t *testing.T, k agentedKit) {
		files := k.files(t)
		k.sh(t, k.rt, "mkdir /w; echo old > /w/f; dd if=/dev/zero of=/big bs=1M count=64 2>/dev/null")
		for _, cut := range []struct {
			how  func()
			want error
		}{
			{func() { k.sh(t, k.below, "kill -9 $(pidof octobot-agent)") }, container.ErrUnavailable},
			{func() {
				if err := k.rt.Stop(t.Context(), k.id, 0); err != nil {
					t.Error(err)
				}
			}, container.ErrContainerStopped},
			{func() {
				if err := k.rt.Remove(t.Context(), k.id); err != nil {
					t.Error(err)
				}
			}, container.ErrContainerNotFound},
		} {
			s := newStuck()
			written := make(chan error, 1)
			go func() {
				_, err := files.WriteFile(t.Context(), k.id, "/w/f", s, container.WriteFileOptions{})
				written <- err
			}()
			_, content, err := files.ReadFile(t.Context(), k.id, "/big", container.ReadFileOptions{})
			if err != nil {
				t.Fatal(err)
			}
			<-s.given
			cut.how()
			// One that is removed has stopped before.
			wrong := func(err error) bool {
				return !errors.Is(err, cut.want) &&
					(cut.want != container.ErrContainerNotFound || !errors.Is(err, container.ErrContainerStopped))
			}
			if err := <-written; wrong(err) {
				t.Errorf("a write that was cut: %v; want %v", err, cut.want)
			}
			close(s.more)
			if _, err := io.Copy(io.Discard, content); wrong(err) {
				t.Errorf("a read that was cut: %v; want %v", err, cut.want)
			}
			_ = content.Close()
			if errors.Is(cut.want, container.ErrContainerNotFound) {
				_, err := k.rt.Create(t.Context(), k.id, container.Options{Image: image,
					Cmd: []string{"sleep", "3600"}}) // which the test's end removes
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if err := k.rt.Start(t.Context(), k.id); err != nil {
				t.Fatal(err)
			}
			// Below the agent: the commands' connection may not have seen yet that it was killed.
			if got := k.sh(t, k.below, "ls -A /w; cat /w/f"); got != "f\nold" {
				t.Errorf("then there is %q", got)
			}
			info, err := files.WriteFile(t.Context(), k.id, "/w/new", strings.NewReader("x"),
				container.WriteFileOptions{})
			if err != nil || info.Size != 1 {
				t.Errorf("the next: %+v, %v", info, err)
			}
			k.sh(t, k.below, "rm /w/new")
		}
	})
}

// TestFilesOnMounts: a read-only root, a file system in memory, and a directory of the host's.
func TestFilesOnMounts(t *testing.T) {
	host := t.TempDir()
	opts := container.Options{ReadOnly: true, Tmpfs: map[string]string{"/t": "size=200m"},
		Binds: []string{host + ":/v"}}
	onEngines(t, agented.Config{}, opts, func(t *testing.T, k agentedKit) {
		files := k.files(t)
		put := func(path, text string) error {
			_, err := files.WriteFile(t.Context(), k.id, path, strings.NewReader(text), container.WriteFileOptions{})
			return err
		}
		if err := put("/etc/x", "x"); !errors.Is(err, container.ErrPermission) {
			t.Errorf("on a read-only root: %v", err)
		}
		if err := errors.Join(put("/t/f", "tmpfs"), put("/v/f", "volume")); err != nil {
			t.Fatal(err)
		}
		if b, err := os.ReadFile(filepath.Join(host, "f")); err != nil || string(b) != "volume" {
			t.Errorf("the host has %q, %v", b, err)
		}
		if err := files.MoveFile(t.Context(), k.id, "/t/f", "/v/g", container.MoveFileOptions{}); !errors.Is(err,
			container.ErrInvalidArgument) {
			t.Errorf("a move to another file system: %v", err)
		}
		t.Run("sparse", func(t *testing.T) { k.sparse(t, filepath.Join(host, "sparse"), "/v/sparse") })
		t.Run("many", func(t *testing.T) { k.manyEntries(t, "/t/many") })
		t.Run("swaps", func(t *testing.T) { k.swaps(t, host, "/v") })
	})
}

// sparse reads the end of a file of 10 GiB that takes no room.
func (k agentedKit) sparse(t *testing.T, onHost, path string) {
	const size = 10 << 30
	f, err := os.Create(onHost)
	if err == nil {
		_, err = f.WriteAt([]byte("the end"), size-7)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(onHost)
	info, content, err := k.files(t).ReadFile(t.Context(), k.id, path, container.ReadFileOptions{Offset: size - 7})
	if err != nil {
		t.Fatal(err)
	}
	defer content.Close()
	if b, err := io.ReadAll(content); err != nil || string(b) != "the end" || info.Size != size {
		t.Errorf("%q of %d bytes, %v", b, info.Size, err)
	}
	if soak(t, 0) == 0 {
		return
	}
	_, all, err := k.files(t).ReadFile(t.Context(), k.id, path, container.ReadFileOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer all.Close()
	if n, err := io.Copy(io.Discard, all); err != nil || n != size {
		t.Errorf("%d bytes of it, %v", n, err)
	}
}

// manyEntries has 100,000 files come and go; on Podman so many with make soak.
func (k agentedKit) manyEntries(t *testing.T, path string) {
	n := 100_000
	if strings.Contains(t.Name(), "podman") && soak(t, 0) == 0 {
		n = 10_000
	}
	files := k.files(t)
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	for i := range n {
		if err := w.WriteHeader(&tar.Header{Name: fmt.Sprint("many/", i), Mode: 0o644}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(path)
	if err := files.UnpackFiles(t.Context(), k.id, dir, &archive, container.UnpackFilesOptions{}); err != nil {
		t.Fatal(err)
	}
	listed := 0
	err := files.ListFiles(t.Context(), k.id, path, "", func(container.FileInfo) error {
		listed++
		return nil
	})
	if err != nil || listed != n {
		t.Errorf("%d entries are listed, %v", listed, err)
	}
	packed, err := files.PackFiles(t.Context(), k.id, path, "")
	if err != nil {
		t.Fatal(err)
	}
	defer packed.Close()
	entries := 0
	for r := tar.NewReader(packed); ; entries++ {
		if _, err := r.Next(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if entries != n+1 {
		t.Errorf("%d entries are packed", entries)
	}
	if err := files.RemoveFile(t.Context(), k.id, path, container.RemoveFileOptions{Recursive: true}); err != nil {
		t.Error(err)
	}
}

// swaps has a directory become a link to another and back, thousands of times, while root copies,
// changes and removes what is in it: what the link leads to is neither changed nor copied.
func (k agentedKit) swaps(t *testing.T, host, path string) {
	files := k.files(t)
	outside, w := filepath.Join(host, "outside"), filepath.Join(host, "w")
	if err := errors.Join(os.Mkdir(outside, 0o755),
		os.WriteFile(filepath.Join(outside, "kept"), []byte("secret"), 0o600),
		os.MkdirAll(filepath.Join(w, "d"), 0o755)); err != nil {
		t.Fatal(err)
	}
	const most = 10_000
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	swapped := make(chan int)
	go func() {
		d, aside := filepath.Join(w, "d"), filepath.Join(w, "aside")
		n := 0
		for ; n < most && ctx.Err() == nil; n++ {
			_ = os.Rename(d, aside)
			_ = os.Symlink("../outside", d)
			time.Sleep(10 * time.Microsecond) // or it is hardly ever met
			_ = os.Remove(d)
			_ = os.Rename(aside, d)
		}
		swapped <- n
	}()
	var archive bytes.Buffer
	a := tar.NewWriter(&archive)
	for _, h := range []*tar.Header{{Typeflag: tar.TypeDir, Name: "d/", Mode: 0o777}, {Name: "d/kept", Mode: 0o666},
		{Typeflag: tar.TypeDir, Name: "d/new/", Mode: 0o777}, {Name: "d/new/f", Mode: 0o666}} {
		_ = a.WriteHeader(h)
	}
	_ = a.Close()
	rounds := 0
	for done := false; !done; rounds++ {
		// They fail as often as not: what they look for is not where it was.
		_ = files.UnpackFiles(t.Context(), k.id, path+"/w", bytes.NewReader(archive.Bytes()),
			container.UnpackFilesOptions{Owners: true})
		_, _ = files.ChangeFile(t.Context(), k.id, path+"/w",
			container.ChangeFileOptions{Mode: 0o777, SetMode: true, Owner: "4321", Recursive: true})
		if packed, err := files.PackFiles(t.Context(), k.id, path+"/w", ""); err == nil {
			if b, _ := io.ReadAll(packed); bytes.Contains(b, []byte("secret")) {
				t.Fatal("what the link leads to was packed")
			}
			_ = packed.Close()
		}
		_ = files.RemoveFile(t.Context(), k.id, path+"/w/d/new", container.RemoveFileOptions{Recursive: true})
		select {
		case n := <-swapped:
			t.Logf("%d swaps, %d rounds", n, rounds)
			done = true
		default:
		}
	}
	info, err := os.Stat(filepath.Join(outside, "kept"))
	if err != nil || info.Mode() != 0o600 || info.Size() != int64(len("secret")) {
		t.Errorf("outside there is %v, %v", info, err)
	}
	if entries, err := os.ReadDir(outside); err != nil || len(entries) != 1 {
		t.Errorf("outside there are %v, %v", entries, err)
	}
	if info, err := os.Stat(outside); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("outside is %v, %v", info, err)
	}
	for _, dir := range []string{outside, w} {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	}
}
