package untar

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"golang.org/x/sys/unix"
)

type entry struct {
	tar.Header
	data string
}

func pack(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		e.Size = int64(len(e.data))
		if err := w.WriteHeader(&e.Header); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(e.data)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func file(name, data string) entry {
	return entry{tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644}, data}
}
func dir(name string, mode int64) entry {
	return entry{Header: tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: mode}}
}
func symlink(name, target string) entry {
	return entry{Header: tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777}}
}
func hardLink(name, target string) entry {
	return entry{Header: tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: target, Mode: 0o644}}
}

// field is a directory to unpack into, beside one that must stay as it is.
type field struct {
	root            *os.Root
	inside, outside string
}

func newField(t testing.TB) *field {
	t.Helper()
	dir := t.TempDir()
	f := &field{inside: filepath.Join(dir, "inside"), outside: filepath.Join(dir, "outside")}
	for _, d := range []string{f.inside, f.outside} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(f.outside, "kept"), []byte("kept"), 0o600); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(f.inside)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = root.Close() })
	f.root = root
	return f
}

// untouched fails the test where anything outside has changed.
func (f *field) untouched(t testing.TB) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(filepath.Dir(f.outside), "*"))
	if err != nil || len(names) != 2 {
		t.Errorf("beside the directory there are now %q, %v", names, err)
	}
	entries, err := os.ReadDir(f.outside)
	if err != nil || len(entries) != 1 {
		t.Errorf("outside there are now %v, %v", entries, err)
	}
	b, err := os.ReadFile(filepath.Join(f.outside, "kept"))
	if err != nil || string(b) != "kept" {
		t.Errorf("the file outside holds %q, %v", b, err)
	}
	info, err := os.Lstat(filepath.Join(f.outside, "kept"))
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("the file outside is %v, %v", info.Mode(), err)
	}
}

func (f *field) read(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(f.inside, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestUnpack(t *testing.T) {
	f := newField(t)
	at := time.Unix(1234567890, 0)
	long := strings.Repeat("long/", 30) + "name"
	timed := file("d/timed", "x")
	timed.ModTime = at
	closed := dir("closed", 0o500)
	closed.ModTime = at
	suid := file("suid", "x")
	suid.Mode = 0o4755
	if err := Unpack(f.root, bytes.NewReader(pack(t, dir("d", 0o700), timed, file("deep/er/file", "y"), closed,
		file("closed/in", "z"),
		symlink("link", "/etc/passwd"), file("first", "1"), hardLink("second", "first"), file(long, "l"), suid)),
		Options{}); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"d/timed": "x", "deep/er/file": "y", "closed/in": "z", "second": "1",
		long: "l"} {
		if got := f.read(t, name); got != want {
			t.Errorf("%s holds %q, want %q", name, got, want)
		}
	}
	if target, err := os.Readlink(filepath.Join(f.inside, "link")); err != nil || target != "/etc/passwd" {
		t.Errorf("link to %q, %v", target, err)
	}
	for name, mode := range map[string]fs.FileMode{"d": fs.ModeDir | 0o700, "closed": fs.ModeDir | 0o500, "suid": 0o755,
		"first": 0o644} {
		info, err := os.Lstat(filepath.Join(f.inside, name))
		if err != nil || info.Mode() != mode {
			t.Errorf("%s is %v, %v; want %v", name, info.Mode(), err, mode)
		}
	}
	for _, name := range []string{"d/timed", "closed"} {
		info, err := os.Lstat(filepath.Join(f.inside, name))
		if err != nil || !info.ModTime().Equal(at) {
			t.Errorf("%s is of %v, %v; want %v", name, info.ModTime(), err, at)
		}
	}
	// Again, and with other content.
	if err := Unpack(f.root, bytes.NewReader(pack(t, dir("d", 0o755), file("link", "file now"), symlink("first", "d"))),
		Options{}); err != nil {
		t.Fatal(err)
	}
	if got := f.read(t, "link"); got != "file now" {
		t.Errorf("link holds %q", got)
	}
	if got := f.read(t, "d/timed"); got != "x" {
		t.Errorf("a merge changed the directory's file to %q", got)
	}
}

// TestHostile: archives whose author wants something outside changed.
func TestHostile(t *testing.T) {
	f := newField(t)
	absolute := filepath.Join(f.outside, "kept")
	for name, entries := range map[string][]entry{
		"absolute":              {file(absolute, "owned")},
		"dots":                  {file("../outside/kept", "owned")},
		"dots inside":           {file("a/../../outside/kept", "owned")},
		"dots at the end":       {dir("a/..", 0o777)},
		"through a link":        {symlink("out", "../outside"), file("out/kept", "owned")},
		"through absolute":      {symlink("out", f.outside), file("out/kept", "owned")},
		"through two":           {symlink("a", "."), symlink("a/b", "../outside"), file("b/kept", "owned")},
		"directory over link":   {symlink("out", f.outside), dir("out", 0o777)},
		"hard link out":         {hardLink("x", absolute), file("x", "owned")},
		"hard link by dots":     {hardLink("x", "../outside/kept")},
		"hard link via link":    {symlink("out", f.outside), hardLink("x", "out/kept")},
		"new file in link":      {symlink("out", f.outside), file("out/new/file", "owned")},
		"link in link":          {symlink("out", f.outside), symlink("out/x", "y")},
		"through a link in it":  {dir("d", 0o755), symlink("l", "d"), file("l/x", "owned")},
		"directory in a link":   {dir("d", 0o755), symlink("l", "d"), dir("l/x", 0o755)},
		"through two names":     {dir("d", 0o755), symlink("l", "d"), hardLink("h", "l"), file("h/x", "owned")},
		"hard link by a link":   {file("d/x", "1"), symlink("l", "d"), hardLink("h", "l/x")},
		"over a directory":      {dir("d", 0o755), file("d", "x")},
		"link over a directory": {dir("e", 0o755), symlink("e", "/")},
		"directory over file":   {file("f", "x"), dir("f", 0o755)},
		"the root as a file":    {file(".", "x")},
	} {
		t.Run(name, func(t *testing.T) {
			f := newField(t)
			for i := range entries { // the absolute ones are of another field
				entries[i].Linkname = strings.Replace(entries[i].Linkname, filepath.Dir(absolute), f.outside, 1)
				entries[i].Name = strings.Replace(entries[i].Name, filepath.Dir(absolute), f.outside, 1)
			}
			if err := Unpack(f.root, bytes.NewReader(pack(t, entries...)), Options{}); err == nil {
				t.Error("it was unpacked")
			}
			f.untouched(t)
		})
	}
	t.Run("links are written over, not through", func(t *testing.T) {
		f := newField(t)
		if err := Unpack(f.root, bytes.NewReader(pack(t, symlink("x", absolute), file("x", "mine"))),
			Options{}); err != nil {
			t.Fatal(err)
		}
		if got := f.read(t, "x"); got != "mine" {
			t.Errorf("x holds %q", got)
		}
		f.untouched(t)
	})
	t.Run("devices", func(t *testing.T) {
		f := newField(t)
		device := entry{Header: tar.Header{Typeflag: tar.TypeBlock, Name: "sda", Devmajor: 8, Mode: 0o666}}
		fifo := entry{Header: tar.Header{Typeflag: tar.TypeFifo, Name: "fifo", Mode: 0o666}}
		if err := Unpack(f.root, bytes.NewReader(pack(t, device, fifo, file("x", "1"))), Options{}); err != nil {
			t.Fatal(err)
		}
		if names, _ := filepath.Glob(f.inside + "/*"); !slices.Equal(names, []string{f.inside + "/x"}) {
			t.Errorf("made %q", names)
		}
	})
}

// TestLinksThatWereThere are followed, as they are not the archive's, as long as they stay inside.
func TestLinksThatWereThere(t *testing.T) {
	f := newField(t)
	for name, target := range map[string]string{"l": "d", "out": "../outside"} {
		if err := os.Symlink(target, filepath.Join(f.inside, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := Unpack(f.root, bytes.NewReader(pack(t, dir("d", 0o755), symlink("other", "d"), file("l/x", "1"))),
		Options{}); err != nil {
		t.Fatal(err)
	}
	if got := f.read(t, "d/x"); got != "1" {
		t.Errorf("holds %q", got)
	}
	if err := Unpack(f.root, bytes.NewReader(pack(t, file("out/kept", "owned"))), Options{}); err == nil {
		t.Error("it was unpacked")
	}
	f.untouched(t)
}

// TestItself: the root stays what it was unless it is one of the archive's directories.
func TestItself(t *testing.T) {
	f := newField(t)
	for _, itself := range []bool{false, true} {
		want := fs.FileMode(0o755)
		if itself {
			want = 0o510
		}
		if err := Unpack(f.root, bytes.NewReader(pack(t, dir("./", 0o510), file("x", "1"))),
			Options{Itself: itself}); err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(f.inside); err != nil || info.Mode().Perm() != want {
			t.Errorf("with %t, the root is %v, %v; want %v", itself, info.Mode(), err, want)
		}
	}
}

// TestCutArchive: of what is cut off there is nothing, and what it would have replaced is left.
func TestCutArchive(t *testing.T) {
	for _, size := range []int{4096, 10 * copyBuffer} {
		b := pack(t, file("x", strings.Repeat("x", size)))
		for _, n := range []int{100, 600, 2000, size} {
			f := newField(t)
			if err := os.WriteFile(filepath.Join(f.inside, "x"), []byte("old"), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := Unpack(f.root, bytes.NewReader(b[:n]), Options{}); err == nil {
				t.Errorf("%d bytes of an archive were taken for all of it", n)
			}
			if names, err := os.ReadDir(f.inside); err != nil || len(names) != 1 || f.read(t, "x") != "old" {
				t.Errorf("%d of %d bytes left %v, %v", n, size, names, err)
			}
		}
	}
	b := pack(t, dir("d", 0o755), file("d/a", "1"), file("d/zeros", string(make([]byte, 512))),
		file("d/long", strings.Repeat("x", 3000)), symlink("d/l", strings.Repeat("long", 100)))
	for n := 0; n <= len(b); n += block {
		for _, r := range []io.Reader{bytes.NewReader(b[:n]), iotest.HalfReader(bytes.NewReader(b[:n]))} {
			err := Unpack(newField(t).root, r, Options{})
			if whole := n >= len(b)-block; whole != (err == nil) {
				t.Errorf("%d of %d bytes: %v", n, len(b), err)
			}
		}
	}
	f := newField(t)
	long := strings.Repeat("long", copyBuffer)
	for range 2 {
		if err := Unpack(f.root, bytes.NewReader(pack(t, file("x", long))), Options{}); err != nil ||
			f.read(t, "x") != long {
			t.Fatal(err)
		}
	}
	over := pack(t, dir("d", 0o755), file("d", long))
	if err := Unpack(f.root, bytes.NewReader(over), Options{}); !errors.Is(err, syscall.EISDIR) {
		t.Errorf("a file in a directory's place: %v", err)
	}
}

// TestFailedReplacement: what can't be made as it should be leaves what it would have replaced, and
// nothing else.
func TestFailedReplacement(t *testing.T) {
	theirs := func(e entry) entry {
		e.Uid, e.Gid = 1, 1 // which takes root
		return e
	}
	for name, e := range map[string]entry{
		"short": theirs(file("x", "new")), "long": theirs(file("x", strings.Repeat("new", copyBuffer))),
		"link": theirs(symlink("x", "new")), "hard link": hardLink("x", "missing"),
	} {
		for _, was := range []string{"", "old"} {
			f := newField(t)
			if err := os.WriteFile(filepath.Join(f.inside, "x"), []byte(was), 0o600); err != nil {
				t.Fatal(err)
			}
			want := 1
			if was == "" {
				_ = os.Remove(filepath.Join(f.inside, "x"))
				want = 0
			}
			err := asNobody(t, f, func() error {
				return Unpack(f.root, bytes.NewReader(pack(t, e)), Options{Owners: true})
			})
			if err == nil {
				t.Errorf("%s: it was unpacked", name)
			}
			if names, err := os.ReadDir(f.inside); err != nil || len(names) != want ||
				want > 0 && f.read(t, "x") != was {
				t.Errorf("%s: there are now %v, %v", name, names, err)
			}
		}
	}
}

// TestLinkOverItself: another name of a file replaces that name, and leaves no third.
func TestLinkOverItself(t *testing.T) {
	f := newField(t)
	b := pack(t, file("a", "1"), hardLink("b", "a"), hardLink("b", "a"))
	if err := Unpack(f.root, bytes.NewReader(b), Options{}); err != nil {
		t.Fatal(err)
	}
	if names, err := os.ReadDir(f.inside); err != nil || len(names) != 2 || f.read(t, "b") != "1" {
		t.Errorf("there are now %v, %v", names, err)
	}
}

// TestSwappedDirectory: while an archive is unpacked, somebody makes directories and files into
// links to where nothing may change, 10,000 times.
func TestSwappedDirectory(t *testing.T) {
	f := newField(t)
	var swaps atomic.Int64
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		d, aside := filepath.Join(f.inside, "d"), filepath.Join(f.inside, "aside")
		inner := filepath.Join(d, "sub")
		for {
			select {
			case <-stop:
				return
			default:
			}
			_ = os.RemoveAll(aside) // an unpacking may have made a new one meanwhile
			_ = os.Rename(d, aside)
			if os.Symlink(f.outside, d) == nil {
				swaps.Add(1)
			}
			_ = os.Remove(d)
			_ = os.Rename(aside, d)
			if os.Rename(inner, aside) == nil {
				_ = os.Symlink("../../outside", inner)
				_ = os.Remove(inner)
				_ = os.RemoveAll(aside)
			}
			_ = os.Remove(filepath.Join(d, "kept"))
			_ = os.Symlink(filepath.Join(f.outside, "kept"), filepath.Join(d, "kept"))
		}
	}()
	b := pack(t, dir("d", 0o777), file("d/kept", "owned"), dir("d/sub", 0o700), file("d/sub/kept", "owned"),
		symlink("d/l", "x"), file("d/kept", "owned"), hardLink("d/h", "d/kept"),
		file("d/kept", strings.Repeat("long", copyBuffer)))
	unpacked := 0
	for swaps.Load() < 10_000 {
		err := Unpack(f.root, bytes.NewReader(b), Options{Special: true})
		var pathErr *fs.PathError
		var linkErr *os.LinkError
		if err != nil && !errors.As(err, &pathErr) && !errors.As(err, &linkErr) {
			t.Fatal(err)
		}
		if err == nil {
			unpacked++
		}
	}
	close(stop)
	<-done
	f.untouched(t)
	t.Logf("unpacked whole %d times", unpacked)
}

// TestHoles: what is all zeros takes no room, and is there all the same.
func TestHoles(t *testing.T) {
	f := newField(t)
	data := bytes.Repeat([]byte{0}, 3<<20)
	copy(data[1<<20:], "in the middle")
	unaligned := append(bytes.Repeat([]byte{0}, 5000), 'x')
	if err := Unpack(f.root, bytes.NewReader(pack(t, file("all", string(make([]byte, 1<<20))),
		file("some", string(data)),
		file("unaligned", string(unaligned)), file("short", "\x00\x00"))), Options{}); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"all": string(make([]byte, 1<<20)), "some": string(data),
		"unaligned": string(unaligned), "short": "\x00\x00"} {
		if got := f.read(t, name); got != want {
			t.Errorf("%s has other content, of %d bytes", name, len(got))
		}
		info, err := os.Stat(filepath.Join(f.inside, name))
		if err != nil {
			t.Fatal(err)
		}
		if taken := info.Sys().(*syscall.Stat_t).Blocks * 512; taken > 64<<10 {
			t.Errorf("%s takes %d bytes", name, taken)
		}
	}
}

// sparse makes an archive of one file of that size, of which there is nothing in it.
func sparse(t testing.TB, size int64) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	// The writer knows no sparse files; the reader takes this for one of the format 0.1.
	records := map[string]string{"GNU.sparse.size": strconv.FormatInt(size, 10), "GNU.sparse.numblocks": "1",
		"GNU.sparse.map": strconv.FormatInt(size, 10) + ",0"}
	h := tar.Header{Typeflag: tar.TypeReg, Name: "PaxHeaders", Size: 0, Mode: 0o644, Format: tar.FormatPAX}
	var body bytes.Buffer
	for _, key := range slices.Sorted(maps.Keys(records)) {
		line := " " + key + "=" + records[key] + "\n"
		n := len(line)
		n += len(strconv.Itoa(n + 2))
		body.WriteString(strconv.Itoa(n) + line)
	}
	// A PAX header is an entry before the file's.
	block := make([]byte, 512)
	copy(block, "pax")
	copy(block[100:], "0000644\x00")
	copy(block[124:], fmt.Sprintf("%011o\x00", body.Len()))
	copy(block[136:], "00000000000\x00")
	block[156] = 'x'
	copy(block[257:], "ustar\x0000")
	copy(block[148:], "        ")
	sum := 0
	for _, c := range block {
		sum += int(c)
	}
	copy(block[148:], fmt.Sprintf("%06o\x00 ", sum))
	b.Write(block)
	b.Write(body.Bytes())
	b.Write(make([]byte, (512-body.Len()%512)%512))
	h.Name, h.Format = "bomb", tar.FormatUSTAR
	if err := w.WriteHeader(&h); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestBombs: archives that would take far more than they are.
func TestBombs(t *testing.T) {
	f := newField(t)
	if err := Unpack(f.root, bytes.NewReader(sparse(t, 1<<30)), Options{}); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(f.inside, "bomb"))
	if err != nil || info.Size() != 1<<30 || info.Sys().(*syscall.Stat_t).Blocks != 0 {
		t.Fatalf("a sparse file is %+v, %v", info, err)
	}
	many := make([]entry, 11)
	for i := range many {
		many[i] = file(strconv.Itoa(i), "")
	}
	once := sparse(t, 1<<20)
	once = once[: len(once)-1024 : len(once)-1024] // without its end
	for name, c := range map[string]struct {
		archive []byte
		opts    Options
	}{
		"sparse":        {sparse(t, 1<<60), Options{}},
		"sparse, twice": {append(once, sparse(t, 1<<20)...), Options{MaxSparse: 1<<20 + 1}},
		"entries":       {pack(t, many...), Options{MaxEntries: 10}},
		"depth":         {pack(t, file(strings.Repeat("d/", maxDepth)+"x", "")), Options{}},
	} {
		if err := Unpack(f.root, bytes.NewReader(c.archive), c.opts); !errors.Is(err, ErrLimit) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

// asNobody does something as a user who may not write everywhere, where the test's may.
func asNobody(t *testing.T, f *field, do func() error) error {
	t.Helper()
	if os.Geteuid() != 0 {
		return do()
	}
	if err := os.Chown(f.inside, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and end with the thread, whose user it changes
		if err := unix.Setfsuid(65534); err != nil {
			done <- err
			return
		}
		done <- do()
	}()
	return <-done
}

// TestManyDirectories: those that nobody may write to get their content first, also where more wait
// for theirs than are remembered.
func TestManyDirectories(t *testing.T) {
	defer func(n int) { maxDelayed = n }(maxDelayed)
	maxDelayed = 300
	f := newField(t)
	entries := []entry{dir("top", 0o555)}
	for i := range 50 {
		name := "top/" + strconv.Itoa(i)
		entries = append(entries, dir(name, 0o555), dir(name+"/in", 0o500), file(name+"/in/x", "1"),
			file(name+"/y", "2"))
	}
	entries = append(entries, file("top/last", "3"))
	b := pack(t, entries...)
	if err := asNobody(t, f, func() error { return Unpack(f.root, bytes.NewReader(b), Options{}) }); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]fs.FileMode{"top": 0o555, "top/0": 0o555, "top/49/in": 0o500} {
		info, err := os.Stat(filepath.Join(f.inside, name))
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s is %v, %v", name, info.Mode(), err)
		}
	}
	if got := f.read(t, "top/last"); got != "3" {
		t.Errorf("last holds %q", got)
	}
}

func FuzzUnpack(f *testing.F) {
	f.Add(pack(f, dir("d", 0o755), file("d/x", "1"), symlink("l", "../outside"), file("l/kept", "owned"),
		hardLink("h", "d/x")))
	f.Add(pack(f, file("/absolute", "1")))
	f.Add(pack(f, file("../outside/kept", "1")))
	f.Fuzz(func(t *testing.T, b []byte) {
		field := newField(t)
		_ = Unpack(field.root, bytes.NewReader(b), Options{})
		field.untouched(t)
		_ = filepath.WalkDir(field.inside, func(p string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				_ = os.Chmod(p, 0o700) // so that the directory can be removed
			}
			return nil
		})
	})
}

// BenchmarkSmallFiles unpacks 10,000 files in 100 directories.
func BenchmarkSmallFiles(b *testing.B) {
	var entries []entry
	for i := range 100 {
		d := fmt.Sprintf("some/where/d%d", i)
		entries = append(entries, dir(d, 0o755))
		for j := range 100 {
			entries = append(entries, file(fmt.Sprintf("%s/f%d", d, j), "small"))
		}
	}
	archive := pack(b, entries...)
	for b.Loop() {
		b.StopTimer()
		f := newField(b)
		b.StartTimer()
		if err := Unpack(f.root, bytes.NewReader(archive), Options{}); err != nil {
			b.Fatal(err)
		}
	}
}
