package systemtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	v1 "github.com/octobot-run/octobot/api/v1"
	"github.com/octobot-run/octobot/client"
)

// octobot runs the built binary, as its user does.
func (d *daemon) octobot(args ...string) (string, error) {
	cmd := exec.CommandContext(d.t.Context(), binary, append([]string{"--data-dir", d.dir}, args...)...)
	// A race detector waits a second at the end for what others may still have to say.
	cmd.Env = append(os.Environ(), "GORACE=halt_on_error=1 atexit_sleep_ms=0")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (d *daemon) must(args ...string) string {
	d.t.Helper()
	out, err := d.octobot(args...)
	if err != nil {
		d.t.Fatalf("octobot %q: %v: %s", args, err, out)
	}
	return out
}

// refused runs the binary, which has to fail with such words.
func (d *daemon) refused(words string, args ...string) {
	d.t.Helper()
	if out, err := d.octobot(args...); err == nil || !strings.Contains(out, words) {
		d.t.Errorf("octobot %q: %v: %s; want %q", args, err, out, words)
	}
}

// withFiles starts a daemon with a session of such a spec, and one of a user who may not do all.
func withFiles(t *testing.T, name string, spec v1.Spec) (d *daemon, id string) {
	t.Helper()
	host, engine := sharedEngine(t)
	d, id = newDaemon(t, host), fmt.Sprintf("%s-%d", name, os.Getpid())
	d.start()
	instance := d.instance()
	t.Cleanup(func() { removeAll(t, engine, instance) })
	spec.Cmd = []string{"sleep", "3600"}
	if _, err := d.api.CreateSession(t.Context(), v1.CreateSessionRequest{ID: id, Spec: spec}, nil); err != nil {
		t.Fatal(err)
	}
	return d, id
}

// tree tells of all that is below a directory: name, type, permissions, and content or target.
func tree(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(p string, e os.DirEntry, err error) error {
		if err != nil || p == dir {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		content := ""
		switch {
		case info.Mode()&os.ModeSymlink != 0:
			content, err = os.Readlink(p)
		case info.Mode().IsRegular():
			var data []byte
			data, err = os.ReadFile(p)
			content = string(data)
		}
		fmt.Fprintf(&b, "%q %v %q\n", strings.TrimPrefix(p, dir), info.Mode(), content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestFiles works with the files of a session as people do: one that runs, as a user who may not do
// all, and one that has stopped. The rules of cp one by one are tests of package cli.
func TestFiles(t *testing.T) {
	d, id := withFiles(t, "files", v1.Spec{User: "1000:1000"})
	ctx, here := t.Context(), t.TempDir()
	src := here + "/src"
	run(t, "sh", "-c", `mkdir -p "$1/sub/closed"; cd "$1"; echo 1 >one; echo 2 >"sub/two
lines"; echo 3 >sub/closed/three; ln -s one link; ln one hard; chmod 640 one; chmod 555 sub/closed; printf '\377' >"$(printf '\377')"`,
		"sh", src)
	want := tree(t, src)

	d.must("cp", src, id+":/tmp")
	if got := d.must("files", "ls", "-l", id+":/tmp/src"); strings.Count(got, " user user ") != 5 ||
		!strings.Contains(got, "link -> one\n") || !strings.Contains(got, `\xff`) {
		t.Errorf("ls:\n%s", got)
	}
	if got := d.must("files", "ls", id+":/tmp/src/sub"); got != "closed\ntwo\\nlines\n" {
		t.Errorf("ls: %q", got)
	}
	d.must("cp", id+":/tmp/src", here+"/back")
	if got := tree(t, here+"/back"); got != want {
		t.Errorf("there and back there is\n%s, want\n%s", got, want)
	}
	// What the session's user may not, another may.
	d.refused("permission denied", "cp", src+"/one", id+":/etc/one")
	d.must("cp", "--user", "root", src+"/one", id+":/etc/one")
	d.refused("only root can act", "files", "rm", "--user", "2000", id+":/etc/one")
	if got := d.must("files", "cat", "--user", "0", id+":/etc/one"); got != "1\n" {
		t.Errorf("cat: %q", got)
	}
	d.must("cp", "-a", src+"/one", id+":/tmp/owned")
	if got := d.must("files", "ls", "-l", id+":/tmp/owned"); !strings.Contains(got, "-rw-r----- root") {
		t.Errorf("with -a: %s", got)
	}

	watchFiles(t, d, id)
	editFiles(t, d, id)

	// Content, as programs have it.
	info, err := d.api.WriteFile(ctx, id, "/tmp/v", strings.NewReader("0123456789"), client.WriteFileOptions{New: true})
	if err != nil || info.UID != 1000 {
		t.Fatalf("%+v, %v", info, err)
	}
	content, etag, err := d.api.ReadFile(ctx, id, "/tmp/v", client.ReadFileOptions{Offset: 3, Length: 4})
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(content)
	if err := errors.Join(err, content.Close()); err != nil || string(b) != "3456" || etag != info.ETag {
		t.Errorf("%q, %s, %v", b, etag, err)
	}
	_, err = d.api.WriteFile(ctx, id, "/tmp/v", strings.NewReader("x"), client.WriteFileOptions{ETag: `"other"`})
	if client.CodeOf(err) != v1.CodePathChanged {
		t.Errorf("a wrong ETag: %v", err)
	}
	found, err := d.api.SearchFiles(ctx, id, "/tmp", client.SearchFilesOptions{Content: "345"})
	if err != nil || len(found.Matches) != 1 || found.Matches[0].Path != "/tmp/v" {
		t.Errorf("%+v, %v", found, err)
	}

	d.must("stop", "-t", "0", id)
	stoppedFiles(t, d, id, src, here)
	d.must("start", id)
	if got := d.must("files", "ls", "-l", id+":/tmp/late"); strings.Count(got, " user user ") != 5 {
		t.Errorf("what came into the session while it was stopped:\n%s", got)
	}
	d.must("files", "chmod", "-R", "0700", id+":/tmp/late")
	d.must("files", "rm", "-r", id+":/tmp/late")
	d.refused("path not found", "files", "ls", id+":/tmp/late")
}

// watchFiles sees what a program in the session does.
func watchFiles(t *testing.T, d *daemon, id string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var kinds []string
	for e, err := range d.api.WatchFiles(ctx, id, "/tmp", client.WatchFilesOptions{Recursive: true}) {
		if err != nil {
			t.Fatal(err)
		}
		kinds = append(kinds, e.Kind)
		switch {
		case e.Kind == v1.FileWatching:
			d.must("exec", id, "--", "sh", "-c", "mkdir /tmp/w; echo x >/tmp/w/f; mv /tmp/w/f /tmp/w/g")
		case e.Kind == v1.FileMoved && e.From == "/tmp/w/f" && e.Path == "/tmp/w/g":
			return
		case e.Path == "/tmp/w/g":
			return // it was moved before the new directory was watched
		}
	}
	t.Errorf("the watch ended after %q", kinds)
}

// editFiles edits a file that somebody else writes meanwhile, and one that nobody does.
func editFiles(t *testing.T, d *daemon, id string) {
	t.Helper()
	tmp, editor := t.TempDir(), filepath.Join(t.TempDir(), "editor")
	t.Setenv("TMPDIR", tmp)
	t.Setenv("VISUAL", editor)
	script := func(s string) {
		if err := os.WriteFile(editor, []byte("#!/bin/sh\nset -e\n"+s+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	script(`echo mine >>"$1"`)
	d.must("files", "edit", id+":/tmp/e.txt")
	script(`echo lost >>"$1"; ` + binary + " --data-dir " + d.dir + " exec " + id +
		" -- sh -c 'echo theirs >>/tmp/e.txt'")
	d.refused("your copy is kept as "+tmp, "files", "edit", id+":/tmp/e.txt")
	if got := d.must("files", "cat", id+":/tmp/e.txt"); got != "mine\ntheirs\n" {
		t.Errorf("the file holds %q", got)
	}
	kept, err := filepath.Glob(tmp + "/octobot-edit-*/e.txt")
	if err != nil || len(kept) != 1 {
		t.Fatalf("kept is %q, %v", kept, err)
	}
	if b, err := os.ReadFile(kept[0]); err != nil || string(b) != "mine\nlost\n" {
		t.Errorf("kept is %q, %v", b, err)
	}
}

// stoppedFiles does what can be done in a session that has stopped.
func stoppedFiles(t *testing.T, d *daemon, id, src, here string) {
	t.Helper()
	d.must("cp", src, id+":/tmp/late")
	d.must("cp", id+":/tmp/late", here+"/late")
	if got, want := tree(t, here+"/late"), tree(t, src); got != want {
		t.Errorf("there and back, stopped, there is\n%s, want\n%s", got, want)
	}
	d.must("cp", id+":/tmp/late/.", here+"/dot")
	if got, want := tree(t, here+"/dot"), tree(t, src); got != want {
		t.Errorf("what is in it, stopped, is\n%s, want\n%s", got, want)
	}
	long := d.must("files", "ls", "-l", id+":/tmp/late")
	if n := strings.Count(long, "-rw-r-----"); n != 2 ||
		strings.Count(long, " user    2 ")+strings.Count(long, " user 2 ") != 2 {
		t.Errorf("ls:\n%s", long) // each of a file's names has its size
	}
	if got := d.must("files", "cat", id+":/tmp/late/link", id+":/tmp/late/one"); got != "1\n1\n" {
		t.Errorf("cat: %q", got)
	}
	d.must("files", "mkdir", "-p", id+":/tmp/made/deep")
	t.Setenv("VISUAL", `sh -c 'echo edited >>"$1"' sh`)
	d.must("files", "edit", id+":/tmp/made/deep/new")
	d.must("files", "edit", id+":/tmp/made/deep/new")
	d.must("files", "edit", id+":/tmp/late/link") // through the link
	if got := d.must("files", "ls", "-l", id+":/tmp/late"); !strings.Contains(got, "link -> one\n") {
		t.Errorf("ls:\n%s", got)
	}
	if got := d.must("files", "cat", id+":/tmp/made/deep/new"); got != "edited\nedited\n" {
		t.Errorf("cat: %q", got)
	}
	d.refused("octobot start", "files", "rm", id+":/tmp/late")
	d.refused("path not found", "files", "cat", id+":/tmp/none")
	d.refused("no such directory", "cp", src+"/one", id+":/tmp/none/")
}

// TestFilesOfLockedSession: a root that nobody may write, and a file system in memory.
func TestFilesOfLockedSession(t *testing.T) {
	d, id := withFiles(t, "locked", v1.Spec{ReadOnly: true, Tmpfs: map[string]string{"/work": "mode=1777,size=16m"}})
	here := t.TempDir()
	run(t, "sh", "-c", `cd "$1"; echo 1 >one; head -c 20000000 /dev/urandom >large`, "sh", here)
	d.must("cp", here+"/one", id+":/work")
	if got := d.must("files", "cat", id+":/work/one"); got != "1\n" {
		t.Errorf("cat: %q", got)
	}
	d.refused("read-only", "cp", here+"/one", id+":/etc/one")
	d.refused("no space left", "cp", here+"/large", id+":/work")
	if got := d.must("files", "ls", "-a", id+":/work"); got != "one\n" {
		t.Errorf("what did not fit has left %q", got)
	}
}

// TestLargeFiles: what streams through the daemon is not kept in it.
func TestLargeFiles(t *testing.T) {
	d, id := withFiles(t, "large", v1.Spec{})
	size, most := int64(64<<20), int64(16<<20)
	if os.Getenv("OCTOBOT_TEST_SOAK") != "" {
		size = 1 << 30
	}
	transfer := func(size int64) {
		t.Helper()
		ctx := t.Context()
		if _, err := d.api.WriteFile(ctx, id, "/tmp/f", io.LimitReader(zeros{}, size),
			client.WriteFileOptions{}); err != nil {
			t.Fatal(err)
		}
		content, _, err := d.api.ReadFile(ctx, id, "/tmp/f", client.ReadFileOptions{})
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, content)
		if err := errors.Join(err, content.Close()); err != nil || n != size {
			t.Fatalf("%d bytes, %v", n, err)
		}
		archive, err := d.api.PackFiles(ctx, id, "/tmp/f", "")
		if err != nil {
			t.Fatal(err)
		}
		err = d.api.UnpackFiles(ctx, id, "/tmp/d", archive, client.UnpackFilesOptions{})
		if err := errors.Join(err, archive.Close()); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := d.api.MakeDirectory(t.Context(), id, "/tmp/d", client.MakeDirectoryOptions{}); err != nil {
		t.Fatal(err)
	}
	transfer(8 << 20) // for what is needed once
	before := d.peak(true)
	transfer(size)
	grown := d.peak(false) - before
	t.Logf("%d MiB in and out, twice: the daemon grew by %d KiB, from %d", size>>20, grown>>10, before>>10)
	if grown > most {
		t.Errorf("the daemon grew by %d KiB", grown>>10)
	}
}

// peak is the most memory that the daemon has had resident, since it was last reset.
func (d *daemon) peak(reset bool) int64 {
	d.t.Helper()
	dir := fmt.Sprintf("/proc/%d/", d.cmd.Process.Pid)
	if reset {
		if err := os.WriteFile(dir+"clear_refs", []byte("5"), 0); err != nil {
			d.t.Fatal(err)
		}
	}
	b, err := os.ReadFile(dir + "status")
	if err != nil {
		d.t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), "VmHWM:")
	kib, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
	if err != nil {
		d.t.Fatal(err)
	}
	return kib << 10
}
