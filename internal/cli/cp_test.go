package cli

import (
	"archive/tar"
	"bytes"
	"cmp"
	"context"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// here makes files below a new directory: names that end in "/" are directories, values that begin
// with "->" links.
func here(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, data := range files {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if target, ok := strings.CutPrefix(data, "->"); ok {
			err = os.Symlink(target, p)
		} else if strings.HasSuffix(name, "/") {
			err = os.MkdirAll(p, 0o755)
		} else {
			err = os.WriteFile(p, []byte(data), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// found tells what is below dir, in one line.
func found(t *testing.T, dir string) string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		name, _ := filepath.Rel(dir, p)
		switch {
		case err != nil || name == ".":
			return err
		case d.Type() == fs.ModeSymlink:
			target, _ := os.Readlink(p)
			name += "->" + target
		case !d.IsDir():
			b, _ := os.ReadFile(p)
			name += "=" + string(b)
		default:
			name += "/"
		}
		all = append(all, name)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(all, " ")
}

// TestCopyRules is docker's table, both ways.
func TestCopyRules(t *testing.T) {
	dir := startDaemon(t)
	must(t, dir, "create", "demo")
	src := map[string]string{"file": "F", "d/one": "1", "d/sub/two": "2"}
	for _, c := range []struct {
		name, from, to string
		there          map[string]string // at the destination
		want, err      string
	}{
		{"file to a new name", "file", "new", nil, "new=F", ""},
		{"file to a new directory", "file", "new/", nil, "", "no such directory"},
		{"file over a file", "file", "old", map[string]string{"old": "x"}, "old=F", ""},
		{"file into a directory", "file", "dir", map[string]string{"dir/": ""}, "dir/ dir/file=F", ""},
		{"file below nothing", "file", "none/new", nil, "", "does not exist|not a directory"},
		{"directory to a new name", "d", "new", nil, "new/ new/one=1 new/sub/ new/sub/two=2", ""},
		{"directory with a slash to a new name", "d/", "new/", nil, "new/ new/one=1 new/sub/ new/sub/two=2", ""},
		{"directory over a file", "d", "old", map[string]string{"old": "x"}, "", "cannot copy a directory"},
		{"directory into a directory", "d", "dir", map[string]string{"dir/x": "x"},
			"dir/ dir/d/ dir/d/one=1 dir/d/sub/ dir/d/sub/two=2 dir/x=x", ""},
		{"content into a directory", "d/.", "dir", map[string]string{"dir/x": "x"},
			"dir/ dir/one=1 dir/sub/ dir/sub/two=2 dir/x=x", ""},
		{"content to a new name", "d/.", "new", nil, "new/ new/one=1 new/sub/ new/sub/two=2", ""},
		{"content into a directory's content", "d/.", "dir/.", map[string]string{"dir/": ""},
			"dir/ dir/one=1 dir/sub/ dir/sub/two=2", ""},
		{"directory over a file in it", "d", "dir", map[string]string{"dir/d/sub": "x"}, "", "directory"},
	} {
		for _, way := range []string{"in", "out"} {
			t.Run(c.name+" "+way, func(t *testing.T) {
				srcDir, dstDir := here(t, src), here(t, c.there)
				// One end is put into the session, beforehand, with plain tar.
				must(t, dir, "exec", "demo", "--", "sh", "-c", "rm -rf /tmp/s; mkdir /tmp/s")
				far := srcDir
				if way == "in" {
					far = dstDir
				}
				if r := octobotWith(t, dir, string(tarOf(t, far)), "cp", "-", "demo:/tmp/s"); r.code != 0 {
					t.Fatal(r)
				}
				var r result
				if way == "in" {
					r = octobot(t, dir, "cp", srcDir+"/"+c.from, "demo:/tmp/s/"+c.to)
				} else {
					r = octobot(t, dir, "cp", "demo:tmp/s/"+c.from, dstDir+"/"+c.to)
				}
				if c.err != "" {
					if r.code == 0 {
						t.Errorf("it was copied: %s", found(t, dstDir))
					}
					return
				}
				if r.code != 0 || r.stdout != "" || r.stderr != "" {
					t.Fatalf("%+v", r)
				}
				if way == "in" {
					dstDir = t.TempDir()
					must(t, dir, "cp", "demo:/tmp/s/.", dstDir)
				}
				if got := found(t, dstDir); got != c.want {
					t.Errorf("there is now\n%s, want\n%s", got, c.want)
				}
			})
		}
	}
}

func tarOf(t *testing.T, dir string) []byte {
	t.Helper()
	var b bytes.Buffer
	err := pack(&b, copyEnd{path: dir + "/.", exists: true, dir: true},
		func(s string) (string, error) { return s, nil }, false)
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestCopyAnswers(t *testing.T) {
	dir := startDaemon(t)
	must(t, dir, "create", "--no-start", "demo")
	local := here(t, map[string]string{"file": strings.Repeat("x", 20000)})
	if r := octobot(t, dir, "cp", "-q=false", local+"/file", "demo:/tmp"); r.code != 0 ||
		r.stderr != "Successfully copied 22kB to demo:/tmp\n" {
		t.Errorf("%+v", r)
	}
	if r := octobot(t, dir, "cp", "demo:/tmp/file", "-"); r.code != 0 || len(r.stdout) < 20000 {
		t.Errorf("exit code %d, %d bytes", r.code, len(r.stdout))
	}
	for _, args := range [][]string{
		{"demo:/a", "demo:/b"}, {"a", "b"}, {"demo:/none", local}, {local + "/none", "demo:/tmp"}, {"-", "demo:/none"},
		{"-", "demo:/tmp/file"}, {"none:/tmp", local}, {"demo:/tmp/file", "/nonexistent/x"}, {"demo:/tmp/file"},
		{"-a", "--user", "x", "demo:/tmp/file", local},
	} {
		if r := octobot(t, dir, append([]string{"cp"}, args...)...); r.code != 1 ||
			!strings.HasPrefix(r.stderr, "octobot: cp") {
			t.Errorf("cp %q: %+v", args, r)
		}
	}
}

func TestCopyLocalLinks(t *testing.T) {
	dir := here(t, map[string]string{"real/f": "1", "real/deep/": "", "deep": "->real/deep", "link": "->real",
		"file": "2", "flink": "->file"})
	for _, c := range []struct {
		path   string
		follow bool
		want   []string
	}{
		{"link", false, []string{"link->real"}},
		{"link/", false, []string{"link/", "link/deep/", "link/f"}},
		{"link/.", false, []string{"./", "./deep/", "./f"}},
		{"link", true, []string{"link/", "link/deep/", "link/f"}},
		{"flink", true, []string{"flink"}},
		{"link/f", false, []string{"f"}},
		{"real/deep/..", false, []string{"real/", "real/deep/", "real/f"}},
		{"real/deep/../", true, []string{"real/", "real/deep/", "real/f"}},
		{"deep/..", false, []string{"real/", "real/deep/", "real/f"}},
		{"real/deep/../.", false, []string{"./", "./deep/", "./f"}},
	} {
		src, err := localSource(dir+"/"+c.path, c.follow)
		if err != nil {
			t.Fatal(err)
		}
		_, rename, err := prepare(src, copyEnd{path: "/dst", exists: true, dir: true})
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := pack(&b, src, rename, false); err != nil {
			t.Fatal(err)
		}
		var got []string
		for r := tar.NewReader(&b); ; {
			h, err := r.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if h.Uid != 0 {
				t.Errorf("%s has the owner %d", h.Name, h.Uid)
			}
			if h.Linkname != "" {
				h.Name += "->" + h.Linkname
			}
			got = append(got, h.Name)
		}
		if strings.Join(got, " ") != strings.Join(c.want, " ") {
			t.Errorf("%s (follow %t): %q, want %q", c.path, c.follow, got, c.want)
		}
	}
}

func TestSplitEnd(t *testing.T) {
	for p, want := range map[string][2]string{
		"": {".", "."}, ".": {".", "."}, "a": {".", "a"}, "a/": {".", "a"}, "a/.": {"a", "."}, "a//b//": {"a", "b"},
		"/": {"/", "/"}, "//": {"/", "/"}, "/.": {"/", "."}, "/a": {"/", "a"}, "/a/b": {"/a", "b"},
		"..": {"..", "."}, "a/..": {"a/..", "."}, "/a/../b/": {"/a/..", "b"},
	} {
		if dir, base := splitEnd(p); dir != want[0] || base != want[1] {
			t.Errorf("%q is %q and %q, want %q", p, dir, base, want)
		}
	}
}

// TestCopyDots: ".." behind a link leads to where the link does, and gives nothing a name.
func TestCopyDots(t *testing.T) {
	dir := startDaemon(t)
	must(t, dir, "create", "demo")
	src := here(t, map[string]string{"f": "1", "d/x": "2", "d/sub/": ""})
	must(t, dir, "exec", "demo", "--", "sh", "-c",
		"mkdir -p /tmp/a/b /tmp/c; ln -s /tmp/a/b /tmp/c/l; ln -s l/../to /tmp/c/to")
	must(t, dir, "cp", src+"/f", "demo:/tmp/c/to")
	if got := must(t, dir, "files", "cat", "demo:/tmp/a/to"); got != "1" {
		t.Errorf("the file holds %q", got)
	}
	must(t, dir, "cp", src+"/d/sub/..", "demo:/tmp/a/b")
	if got := must(t, dir, "files", "ls", "demo:/tmp/a/b"); got != "d\n" {
		t.Errorf("there is now %q", got)
	}
	dst := here(t, map[string]string{"a/b/": "", "c/l": "->../a/b", "c/to": "->l/../to", "into/": ""})
	must(t, dir, "cp", "demo:/tmp/a/to", dst+"/c/to")
	must(t, dir, "cp", "demo:/tmp/a/b/d/sub/..", dst+"/into")
	if got, want := found(t, dst), "a/ a/b/ a/to=1 c/ c/l->../a/b c/to->l/../to into/ into/d/ into/d/sub/ "+
		"into/d/x=2"; got != want {
		t.Errorf("there is now\n%s, want\n%s", got, want)
	}
}

// TestCopyOutOfAHostileSession: what comes is whatever somebody in the session likes.
func TestCopyOutOfAHostileSession(t *testing.T) {
	outside := here(t, map[string]string{"kept": "kept"})
	archive := func(headers ...tar.Header) []byte {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for _, h := range headers {
			h.Mode, h.Size = 0o4777, 0
			if h.Typeflag == tar.TypeReg {
				h.Size = 5
			}
			if err := w.WriteHeader(&h); err != nil {
				t.Fatal(err)
			}
			if h.Size > 0 {
				_, _ = w.Write([]byte("owned")) // a buffer
			}
		}
		_ = w.Close()
		return b.Bytes()
	}
	reg := func(name string) tar.Header { return tar.Header{Typeflag: tar.TypeReg, Name: name} }
	link := func(name, target string) tar.Header {
		return tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target}
	}
	hardLink := func(name, target string) tar.Header {
		return tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: target}
	}
	dirEntry := func(name string) tar.Header { return tar.Header{Typeflag: tar.TypeDir, Name: name} }
	for name, b := range map[string][]byte{
		"absolute":           archive(reg(outside + "/kept")),
		"absolute later":     archive(dirEntry("d/"), reg(outside+"/kept")),
		"dots":               archive(dirEntry("d/"), reg("d/../../kept")),
		"first is dots":      archive(reg("../kept"), reg("../kept/../../kept")),
		"through a link":     archive(link("d", outside), reg("d/kept")),
		"renamed to a link":  archive(dirEntry("d/"), link("d/x", outside), reg("d/x/kept")),
		"hard link":          archive(dirEntry("d/"), hardLink("d/x", outside+"/kept"), reg("d/x")),
		"not an archive":     []byte(strings.Repeat("no", 1000)),
		"beside":             archive(reg("d"), reg("kept")),
		"beside a directory": archive(dirEntry("d/"), reg("kept"), reg("d/../kept")),
		"hard link beside":   archive(dirEntry("d/"), hardLink("d/x", "kept")),
		"nothing":            nil,

		"a link instead of a directory": archive(link("d", "."), reg("d/kept")),
		"twice":                         archive(reg("d"), link("d", "."), reg("d/kept")),
		"by a link in it":               archive(dirEntry("d/"), link("d/l", ".."), reg("d/l/kept")),
		"by a link of the destination":  archive(dirEntry("d/"), reg("d/up/kept")),
		"hard link by a link in it":     archive(dirEntry("d/"), link("d/l", ".."), hardLink("d/x", "d/l/kept")),
		"hard link by a link there":     archive(dirEntry("d/"), hardLink("d/x", "d/up/kept")),
	} {
		t.Run(name, func(t *testing.T) {
			url := playServer(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(b) })
			for _, to := range []string{"", "/new"} {
				dst := here(t, map[string]string{"kept": "mine", "d/up": "->.."})
				if name == "a link instead of a directory" || name == "twice" {
					_ = os.RemoveAll(dst + "/d")
				}
				r := octobot(t, "", "--url", url, "cp", "demo:/d", dst+to)
				if r.code == 0 {
					// A first name other than was asked for counts as that: it must be inside then.
					if got := found(t, dst); strings.Contains(got, "../") {
						t.Errorf("%+v: %s", r, got)
					}
				}
				if b, err := os.ReadFile(dst + "/kept"); string(b) != "mine" {
					t.Errorf("what was not asked for is now %q, %v", b, err)
				}
				if _, err := os.Stat(dst + "/d/x"); strings.HasPrefix(name, "hard link") && err == nil {
					t.Error("the session got a hold of what is beside the destination")
				}
				if got := found(t, outside); got != "kept=kept" {
					t.Fatalf("outside there is now %q", got)
				}
				if names, err := filepath.Glob(filepath.Dir(dst) + "/kept"); err != nil || len(names) > 0 {
					t.Errorf("beside the destination: %q, %v", names, err)
				}
			}
		})
	}
}

// TestCopyOutOverALink: a directory that comes is not unpacked where a link leads that has its
// name.
func TestCopyOutOverALink(t *testing.T) {
	src := here(t, map[string]string{"d/kept": "theirs"})
	var b bytes.Buffer
	if err := pack(&b, copyEnd{path: src + "/d", exists: true, dir: true},
		func(s string) (string, error) { return s, nil }, false); err != nil {
		t.Fatal(err)
	}
	url := playServer(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(b.Bytes()) })
	dst := here(t, map[string]string{"kept": "mine", "d": "->."})
	r := octobot(t, "", "--url", url, "cp", "demo:/d", dst)
	if got := found(t, dst); r.code == 0 || got != "d->. kept=mine" {
		t.Errorf("%+v; there is now %q", r, got)
	}
}

// TestCopyOutKeepsModes: the directory that was asked for has the mode and time that it has there.
func TestCopyOutKeepsModes(t *testing.T) {
	var b bytes.Buffer
	w, at := tar.NewWriter(&b), time.Unix(1234567890, 0)
	if err := cmp.Or(w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: "d/", Mode: 0o2750, ModTime: at}),
		w.Close()); err != nil {
		t.Fatal(err)
	}
	url := playServer(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(b.Bytes()) })
	dst := here(t, map[string]string{"d/": ""})
	for _, to := range []string{"", "/new"} {
		if r := octobot(t, "", "--url", url, "cp", "demo:/d", dst+to); r.code != 0 {
			t.Fatalf("%+v", r)
		}
	}
	for _, name := range []string{"/d", "/new"} {
		info, err := os.Stat(dst + name)
		if err != nil || info.Mode() != fs.ModeDir|0o750 || !info.ModTime().Equal(at) {
			t.Errorf("%s is %v of %v, %v", name, info.Mode(), info.ModTime(), err)
		}
	}
}

// playServer is a daemon that a test makes up; it gives its address.
func playServer(t *testing.T, handle http.HandlerFunc) string {
	t.Helper()
	socket := filepath.Join(shortDir(t), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server, done := &http.Server{Handler: handle}, make(chan struct{})
	go func() { defer close(done); _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close(); <-done })
	return "unix://" + socket
}

// TestCopyOutWhileSwapped: directories here become links while a copy comes out, 10,000 times, by
// the hands of somebody who may write in the destination.
func TestCopyOutWhileSwapped(t *testing.T) {
	outside := here(t, map[string]string{"kept": "kept"})
	src := here(t, map[string]string{"d/kept": "owned", "d/sub/kept": "owned", "d/sub/x": "x"})
	var b bytes.Buffer
	if err := pack(&b, copyEnd{path: src + "/d", exists: true, dir: true},
		func(s string) (string, error) { return s, nil }, false); err != nil {
		t.Fatal(err)
	}
	url := playServer(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(b.Bytes()) })
	dst := here(t, map[string]string{"d/sub/": ""})
	var swaps atomic.Int64
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for d, aside := dst+"/d", dst+"/aside"; ; {
			select {
			case <-stop:
				return
			default:
			}
			_ = os.RemoveAll(aside)
			_ = os.Rename(d, aside)
			if os.Symlink(outside, d) == nil {
				swaps.Add(1)
			}
			_ = os.Remove(d)
			_ = os.Rename(aside, d)
		}
	}()
	for swaps.Load() < 10_000 {
		octobot(t, "", "--url", url, "cp", "demo:/d", dst)
	}
	close(stop)
	<-done
	if got := found(t, outside); got != "kept=kept" {
		t.Errorf("outside there is now %q", got)
	}
}

// TestCopyInterrupted leaves nothing of a file that did not come whole, and what it would have
// replaced.
func TestCopyInterrupted(t *testing.T) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "f", Size: 1 << 20, Mode: 0o644}); err != nil {
		t.Fatal(err)
	}
	_, _ = w.Write(make([]byte, 1<<19)) // a buffer
	ctx, cancel := context.WithCancelCause(t.Context())
	url := playServer(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write(b.Bytes())
		_ = http.NewResponseController(w).Flush()
		cancel(signalled{syscall.SIGINT})
		<-r.Context().Done()
	})
	dst := here(t, map[string]string{"f": "old"})
	var stdout, stderr bytes.Buffer
	code := run(ctx, []string{"--url", url, "cp", "demo:/f", dst}, strings.NewReader(""), &stdout, &stderr)
	if code != exitSignal+int(syscall.SIGINT) {
		t.Errorf("exit code %d, %s", code, stderr.String())
	}
	if got := found(t, dst); got != "f=old" {
		t.Errorf("there is now %q", got)
	}
}

func TestCopyProgress(t *testing.T) {
	for _, c := range []struct {
		moved, total int64
		want         string
	}{
		{2_000_000, 0, "copying: 2MB, 1MB/s"},
		{500_000, 1_000_000, "copying: [===============>              ]  50% of 1MB, 250kB/s"},
		{2_000_000, 1_000_000, "copying: [==============================] 100% of 1MB, 1MB/s"},
	} {
		if got := copyProgress(c.moved, c.total, 2*time.Second); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

func TestDecimalSize(t *testing.T) {
	for n, want := range map[int64]string{0: "0B", 999: "999B", 12345: "12.3kB", 2048: "2.05kB", 5e9: "5GB"} {
		if got := decimalSize(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}
