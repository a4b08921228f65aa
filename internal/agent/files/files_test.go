package files

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/octobot-run/octobot/internal/agent"
	"github.com/octobot-run/octobot/internal/agent/account"
	"github.com/octobot-run/octobot/internal/agentproto"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Users of the tests. They need no entry anywhere.
const (
	root  = "0"
	user  = "61000"
	other = "61001"
)

func lookup(name string) (account.Account, error) {
	var uid int
	if _, err := fmt.Sscan(name, &uid); err != nil {
		return account.Account{}, account.ErrUnknown
	}
	return account.Account{UID: uid, GID: uid, Groups: []int{uid, 62000}}, nil
}

// connect starts an agent and gives the daemon's end of a connection to it.
func connect(t testing.TB) *agentproto.Session {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root may be somebody else")
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	var conns [2]net.Conn
	for i, fd := range pair {
		f := os.NewFile(uintptr(fd), "pair")
		if conns[i], err = net.FileConn(f); err != nil {
			t.Fatal(err)
		}
		_ = f.Close()
	}
	server := agent.NewServer(agentproto.Info{})
	newService(lookup).register(server)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := server.Serve(ctx, conns[1]); err != nil {
			t.Error(err)
		}
	}()
	session, _, err := agentproto.Connect(conns[0])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = session.Close()
		cancel()
		<-done
	})
	return session
}

func begin(t testing.TB, session *agentproto.Session, m agentproto.Message) *agentproto.Stream {
	t.Helper()
	s, err := session.Open(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Reset)
	return s
}

func at(user, path string) agentproto.As { return agentproto.As{User: user, Path: path} }

// done waits for KindDone.
func done(s *agentproto.Stream) error {
	frame, err := s.Next()
	if err == nil && frame.Kind == agentproto.KindError {
		err = frame.Decode(&agentproto.FileInfo{})
	} else if err == nil && frame.Kind != agentproto.KindDone {
		err = fmt.Errorf("kind %d", frame.Kind)
	}
	return err
}

func wantClass(t *testing.T, err error, class agentproto.Class) {
	t.Helper()
	if said, ok := errors.AsType[*agentproto.Error](err); !ok || said.Class != class {
		t.Errorf("error %v (%+v), want class %d", err, err, class)
	}
}

func write(
	t testing.TB, session *agentproto.Session, m *agentproto.WriteFile, data string,
) (info agentproto.FileInfo, err error) {
	t.Helper()
	s := begin(t, session, m)
	if len(data) > 0 {
		_ = s.SendData(agentproto.KindData, []byte(data)) // the answer tells
	}
	_ = s.SendData(agentproto.KindEnd, nil)
	return info, s.Receive(&info)
}

func read(t testing.TB, session *agentproto.Session, m *agentproto.ReadFile) (agentproto.FileInfo, string, error) {
	t.Helper()
	s := begin(t, session, m)
	var info agentproto.FileInfo
	if err := s.Receive(&info); err != nil {
		return info, "", err
	}
	b, err := receive(s)
	return info, string(b), err
}

func receive(s *agentproto.Stream) ([]byte, error) {
	var b []byte
	for {
		frame, err := s.Next()
		switch {
		case err != nil:
			return b, err
		case frame.Kind == agentproto.KindDone:
			return b, nil
		case frame.Kind != agentproto.KindData:
			return b, frame.Decode(&agentproto.FileInfo{})
		}
		b = append(b, frame.Payload...)
	}
}

// tree is a directory that everybody may enter.
func tree(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "octobot-files")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func put(t testing.TB, path, data string, mode uint32, uid int) {
	t.Helper()
	if err := errors.Join(os.WriteFile(path, []byte(data), 0o600), os.Chown(path, uid, uid),
		syscall.Chmod(path, mode)); err != nil {
		t.Fatal(err)
	}
}

func mkdir(t testing.TB, path string, mode os.FileMode, uid int) string {
	t.Helper()
	if err := errors.Join(os.Mkdir(path, 0o700), os.Chown(path, uid, uid), os.Chmod(path, mode)); err != nil {
		t.Fatal(err)
	}
	return path
}

func namesIn(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, e := range entries {
		found = append(found, e.Name())
	}
	return found
}

func TestWriteAndRead(t *testing.T) {
	session, dir := connect(t), tree(t)
	home := mkdir(t, dir+"/home", 0o755, 61000)
	big := strings.Repeat("0123456789abcdef", 20000)
	info, err := write(t, session, &agentproto.WriteFile{As: at(user, home+"/new")}, big)
	if err != nil || info.Name != "new" || info.Mode != 0o644 || info.UID != 61000 || info.GID != 61000 ||
		info.Size != int64(len(big)) || info.Type != agentproto.TypeFile {
		t.Errorf("%+v, %v", info, err)
	}
	info, got, err := read(t, session, &agentproto.ReadFile{As: at(user, home+"/new")})
	if err != nil || got != big || info.Size != int64(len(big)) {
		t.Errorf("%d bytes, %+v, %v", len(got), info, err)
	}
	_, got, err = read(t, session, &agentproto.ReadFile{As: at(user, home+"/new"), Offset: 3, Length: 5})
	if err != nil || got != "34567" {
		t.Errorf("%q, %v", got, err)
	}
	// Mode and owner of what is there are kept where root writes; asked for, the mode changes.
	put(t, home+"/kept", "old", 0o640, 61001)
	if info, err = write(t, session, &agentproto.WriteFile{As: at(root, home+"/kept")}, "new"); err != nil ||
		info.Mode != 0o640 || info.UID != 61001 {
		t.Errorf("%+v, %v", info, err)
	}
	if info, err = write(t, session, &agentproto.WriteFile{As: at(root, home+"/kept"), Mode: 0o751}, ""); err != nil ||
		info.Mode != 0o751 || info.Size != 0 {
		t.Errorf("%+v, %v", info, err)
	}
	if _, err = write(t, session, &agentproto.WriteFile{As: at(user, home+"/a/b/c"), Parents: true}, "x"); err != nil {
		t.Error(err)
	}
	if _, err = write(t, session, &agentproto.WriteFile{As: at(user, home+"/x/y")}, "x"); err == nil {
		t.Error("a missing directory was made unasked")
	} else {
		wantClass(t, err, agentproto.NotFound)
	}
	if got := namesIn(t, home); !slices.Equal(got, []string{"a", "kept", "new"}) {
		t.Errorf("left behind: %q", got)
	}
}

// TestPermissions: the kernel itself judges, and the whole path.
func TestPermissions(t *testing.T) {
	session, dir := connect(t), tree(t)
	put(t, dir+"/secret", "s", 0o600, 61001)
	closed := mkdir(t, dir+"/closed", 0o700, 61001)
	put(t, closed+"/open", "s", 0o666, 61001)
	put(t, dir+"/readonly", "s", 0o644, 0)
	put(t, dir+"/shared", "s", 0o640, 0)
	if err := os.Chown(dir+"/shared", 0, 62000); err != nil {
		t.Fatal(err)
	}
	home := mkdir(t, dir+"/home", 0o755, 61000)
	put(t, home+"/roots", "s", 0o644, 0)
	for name, target := range map[string]string{"link": dir + "/secret", "deep": closed + "/open", "to-readonly": dir +
		"/readonly"} {
		if err := os.Symlink(target, home+"/"+name); err != nil {
			t.Fatal(err)
		}
	}
	if _, got, err := read(t, session, &agentproto.ReadFile{As: at(user, dir+"/shared")}); err != nil || got != "s" {
		t.Errorf("a file of a supplementary group: %q, %v", got, err)
	}
	for _, p := range []string{dir + "/secret", closed + "/open", home + "/link", home + "/deep", home +
		"/../closed/open"} {
		_, _, err := read(t, session, &agentproto.ReadFile{As: at(user, p)})
		wantClass(t, err, agentproto.PermissionDenied)
		_, err = write(t, session, &agentproto.WriteFile{As: at(user, p)}, "owned")
		wantClass(t, err, agentproto.PermissionDenied)
		if _, got, err := read(t, session, &agentproto.ReadFile{As: at(root, p)}); err != nil || got != "s" {
			t.Errorf("%s as root: %q, %v", p, got, err)
		}
	}
	for _, p := range []string{dir + "/new", dir + "/readonly", home + "/to-readonly", home + "/roots",
		"/etc/octobot-test"} {
		_, err := write(t, session, &agentproto.WriteFile{As: at(user, p)}, "owned")
		wantClass(t, err, agentproto.PermissionDenied)
	}
	wantClass(t, done(begin(t, session, &agentproto.Remove{As: at(user, dir+"/secret"), Recursive: true})),
		agentproto.PermissionDenied)
	wantClass(t, done(begin(t, session, &agentproto.Remove{As: at(user, closed), Recursive: true})),
		agentproto.PermissionDenied)
	wantClass(t, done(begin(t, session, &agentproto.Move{As: at(user, dir+"/secret"), To: home + "/x"})),
		agentproto.PermissionDenied)
	var info agentproto.FileInfo
	wantClass(t, begin(t, session, &agentproto.MakeDirectory{As: at(user, dir+"/made")}).Receive(&info),
		agentproto.PermissionDenied)
	wantClass(t, begin(t, session, &agentproto.Stat{As: at(user, closed+"/open")}).Receive(&info),
		agentproto.PermissionDenied)
	wantClass(t, begin(t, session, &agentproto.Watch{As: at(user, closed)}).Receive(&agentproto.Watching{}),
		agentproto.PermissionDenied)
	wantClass(t, begin(t, session, &agentproto.List{As: at(user, closed)}).Receive(&agentproto.Entries{}),
		agentproto.PermissionDenied)
	if _, err := receive(begin(t, session, &agentproto.Pack{As: at(user, dir)})); err == nil {
		t.Error("a tree with another's secrets was packed")
	}
	// All of that left the rest of the process root.
	if b, err := os.ReadFile(dir + "/secret"); err != nil || string(b) != "s" {
		t.Errorf("the process itself reads %q, %v", b, err)
	}
}

func TestOnlyRegularFilesAreOpened(t *testing.T) {
	session, dir := connect(t), tree(t)
	if err := unix.Mkfifo(dir+"/fifo", 0o666); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", dir+"/socket")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, p := range []string{dir + "/fifo", dir + "/socket", "/dev/null", "/dev/tty"} {
		_, _, err := read(t, session, &agentproto.ReadFile{As: at(root, p)})
		wantClass(t, err, agentproto.NotFound)
		_, err = write(t, session, &agentproto.WriteFile{As: at(root, p)}, "x")
		wantClass(t, err, agentproto.NotFound)
	}
	for _, p := range []string{dir, "/", dir + "/"} {
		_, _, err := read(t, session, &agentproto.ReadFile{As: at(root, p)})
		wantClass(t, err, agentproto.NotFound)
		_, err = write(t, session, &agentproto.WriteFile{As: at(root, p)}, "x")
		wantClass(t, err, agentproto.NotFound)
	}
	// The agent's own descriptors are no files of the container's.
	f, err := os.Open("/etc/passwd")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	_, _, err = read(t, session, &agentproto.ReadFile{As: at(user, fmt.Sprintf("/proc/self/fd/%d", f.Fd()))})
	if err == nil {
		t.Error("a descriptor of the agent's was read")
	}
	for _, p := range []string{"relative", "", "/a\x00b"} {
		_, _, err := read(t, session, &agentproto.ReadFile{As: at(root, p)})
		wantClass(t, err, agentproto.InvalidArgument)
	}
	_, _, err = read(t, session, &agentproto.ReadFile{As: at("nobody-knows", "/etc/passwd")})
	wantClass(t, err, agentproto.InvalidArgument)
}

func TestAbortedWriteLeavesNothing(t *testing.T) {
	session, dir := connect(t), tree(t)
	put(t, dir+"/file", "old", 0o644, 0)
	for _, name := range []string{"file", "new"} {
		s := begin(t, session, &agentproto.WriteFile{As: at(root, dir+"/"+name)})
		if err := s.SendData(agentproto.KindData, make([]byte, 1<<20)); err != nil {
			t.Fatal(err)
		}
		s.Reset()
	}
	// Each request has its stream; this one follows nothing but its own. So wait.
	for deadline := time.Now().Add(10 * time.Second); session.Streams() > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("streams stay")
		}
	}
	if b, err := os.ReadFile(dir + "/file"); err != nil || string(b) != "old" {
		t.Errorf("%q, %v", b, err)
	}
	if got := namesIn(t, dir); !slices.Equal(got, []string{"file"}) {
		t.Errorf("left behind: %q", got)
	}
}

// TestReadersSeeOldOrNew: never half a file.
func TestReadersSeeOldOrNew(t *testing.T) {
	session, dir := connect(t), tree(t)
	put(t, dir+"/file", strings.Repeat("a", 200000), 0o644, 0)
	stop, ended := make(chan struct{}), make(chan error)
	go func() {
		for {
			select {
			case <-stop:
				ended <- nil
				return
			default:
			}
			b, err := os.ReadFile(dir + "/file")
			if err != nil || len(b) != 200000 || bytes.Count(b, b[:1]) != len(b) {
				ended <- fmt.Errorf("%d bytes, %d like the first, %v", len(b), bytes.Count(b, b[:1]), err)
				return
			}
		}
	}()
	for i := range 50 {
		if _, err := write(t, session, &agentproto.WriteFile{As: at(root, dir+"/file")},
			strings.Repeat(string(rune('b'+i%20)), 200000)); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestWriteFollowsLinks(t *testing.T) {
	session, dir := connect(t), tree(t)
	mkdir(t, dir+"/d", 0o755, 0)
	for name, target := range map[string]string{"relative": "d/one", "absolute": dir + "/d/two", "twice": "absolute",
		"up": "d/../d/three", "loop": "loop"} {
		if err := os.Symlink(target, dir+"/"+name); err != nil {
			t.Fatal(err)
		}
	}
	for name, file := range map[string]string{"relative": "one", "absolute": "two", "twice": "two", "up": "three"} {
		for _, data := range []string{"first", name} { // dangling, then not
			if _, err := write(t, session, &agentproto.WriteFile{As: at(root, dir+"/"+name)}, data); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if b, err := os.ReadFile(dir + "/d/" + file); err != nil || string(b) != data {
				t.Errorf("%s: %q, %v", name, b, err)
			}
		}
		if info, err := os.Lstat(dir + "/" + name); err != nil || info.Mode()&os.ModeSymlink == 0 {
			t.Errorf("%s is %v now, %v", name, info.Mode(), err)
		}
	}
	_, err := write(t, session, &agentproto.WriteFile{As: at(root, dir+"/loop")}, "x")
	wantClass(t, err, agentproto.NotFound)
}

func TestStatAndList(t *testing.T) {
	session, dir := connect(t), tree(t)
	strange := "not\xffutf8\n"
	put(t, dir+"/"+strange, "12345", 0o4711, 61000)
	if err := os.Symlink("../else", dir+"/link"); err != nil {
		t.Fatal(err)
	}
	many := mkdir(t, dir+"/many", 0o755, 0)
	want := map[string]bool{}
	for i := range 3000 {
		name := fmt.Sprintf("%d-%s", i, strings.Repeat("x", 200))
		want[name] = true
		put(t, many+"/"+name, "", 0o600, 0)
	}
	var info agentproto.FileInfo
	if err := begin(t, session, &agentproto.Stat{As: at(user, dir+"/"+strange)}).Receive(&info); err != nil ||
		info.Name != strange || info.Size != 5 ||
		info.Mode != 0o4711 || info.UID != 61000 || info.Owner != "" ||
		time.Since(time.Unix(0, info.Modified)) > time.Minute {
		t.Errorf("%+v, %v", info, err)
	}
	info = agentproto.FileInfo{}
	if err := begin(t, session, &agentproto.Stat{As: at(root, dir+"/link")}).Receive(&info); err != nil ||
		info.Type != agentproto.TypeSymlink || info.Target != "../else" || info.Owner != "root" {
		t.Errorf("%+v, %v", info, err)
	}
	wantClass(t, begin(t, session, &agentproto.Stat{As: at(root, dir+"/link"), Follow: true}).Receive(&info),
		agentproto.NotFound)
	s := begin(t, session, &agentproto.List{As: at(user, many)})
	for {
		frame, err := s.Next()
		if err != nil {
			t.Fatal(err)
		}
		if frame.Kind == agentproto.KindDone {
			break
		}
		var entries agentproto.Entries
		if err := frame.Decode(&entries); err != nil {
			t.Fatal(err)
		}
		if len(frame.Payload) > 256<<10 {
			t.Errorf("a frame of %d bytes", len(frame.Payload))
		}
		for _, e := range entries.Files {
			if !want[e.Name] || e.Mode != 0o600 {
				t.Errorf("entry %+v", e)
			}
			delete(want, e.Name)
		}
	}
	if len(want) > 0 {
		t.Errorf("%d entries are missing", len(want))
	}
	wantClass(t, begin(t, session, &agentproto.List{As: at(root, dir+"/"+strange)}).Receive(&agentproto.Entries{}),
		agentproto.NotFound)
}

func TestMakeMoveRemove(t *testing.T) {
	session, dir := connect(t), tree(t)
	home := mkdir(t, dir+"/home", 0o755, 61000)
	var info agentproto.FileInfo
	make := func(p string, parents bool) error {
		info = agentproto.FileInfo{}
		return begin(t, session, &agentproto.MakeDirectory{As: at(user, p), Mode: 0o2775,
			Parents: parents}).Receive(&info)
	}
	if err := make(home+"/a", false); err != nil || info.Mode != 0o2775 || info.UID != 61000 ||
		info.Type != agentproto.TypeDirectory {
		t.Errorf("%+v, %v", info, err)
	}
	wantClass(t, make(home+"/a", false), agentproto.Exists)
	wantClass(t, make(home+"/b/c", false), agentproto.NotFound)
	if err := errors.Join(make(home+"/a", true), make(home+"/b/c/d/", true)); err != nil {
		t.Error(err)
	}
	put(t, home+"/f", "f", 0o644, 61000)
	put(t, home+"/g", "g", 0o644, 61000)
	wantClass(t, make(home+"/f", true), agentproto.Exists)
	move := func(from, to string, overwrite bool) error {
		return done(begin(t, session, &agentproto.Move{As: at(user, home+from), To: home + to, Overwrite: overwrite}))
	}
	wantClass(t, move("/f", "/g", false), agentproto.Exists)
	wantClass(t, move("/none", "/h", false), agentproto.NotFound)
	wantClass(t, move("/a", "/b", true), agentproto.Exists)
	if err := errors.Join(move("/f", "/g", true), move("/g", "/a/h", false), move("/a", "/moved", false)); err != nil {
		t.Error(err)
	}
	if b, err := os.ReadFile(home + "/moved/h"); err != nil || string(b) != "f" {
		t.Errorf("%q, %v", b, err)
	}
	remove := func(p string, recursive bool) error {
		return done(begin(t, session, &agentproto.Remove{As: at(user, home+p), Recursive: recursive}))
	}
	wantClass(t, remove("/moved", false), agentproto.Exists)
	wantClass(t, remove("/none", true), agentproto.NotFound)
	wantClass(t, remove("/moved/..", true), agentproto.InvalidArgument)
	wantClass(t, done(begin(t, session, &agentproto.Remove{As: at(root, "/"), Recursive: true})),
		agentproto.InvalidArgument)
	outside := mkdir(t, dir+"/outside", 0o777, 0)
	put(t, outside+"/kept", "x", 0o666, 0)
	if err := os.Symlink(outside, home+"/b/c/link"); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(remove("/moved/h", false), remove("/moved", false), remove("/b", true)); err != nil {
		t.Error(err)
	}
	if got := namesIn(t, home); len(got) != 0 {
		t.Errorf("left: %q", got)
	}
	if got := namesIn(t, outside); len(got) != 1 {
		t.Errorf("outside: %q", got)
	}
}

func unpack(t testing.TB, session *agentproto.Session, as agentproto.As, b []byte) error {
	s := begin(t, session, &agentproto.Unpack{As: as, Owners: as.User == root})
	_ = s.SendData(agentproto.KindData, b)
	_ = s.SendData(agentproto.KindEnd, nil)
	return done(s)
}

func TestArchives(t *testing.T) {
	session, dir := connect(t), tree(t)
	src := mkdir(t, dir+"/src", 0o755, 0)
	put(t, src+"/file", "content", 0o4640, 61000)
	mkdir(t, src+"/closed", 0o500, 61001)
	put(t, src+"/"+strings.Repeat("long", 40), strings.Repeat("z", 200000), 0o644, 0)
	if err := errors.Join(os.Link(src+"/file", src+"/second"), os.Symlink("/etc/passwd", src+"/link"),
		unix.Mkfifo(src+"/fifo", 0o666),
		os.Chtimes(src+"/file", time.Unix(1e9, 0), time.Unix(1e9, 0))); err != nil {
		t.Fatal(err)
	}
	b, err := receive(begin(t, session, &agentproto.Pack{As: at(root, src)}))
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]*tar.Header{}
	for r := tar.NewReader(bytes.NewReader(b)); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		found[h.Name] = h
	}
	if len(found) != 6 || found["src/"] == nil || found["src/link"].Linkname != "/etc/passwd" ||
		found["src/fifo"] != nil {
		t.Errorf("packed %v", found)
	}
	wantClass(t, unpack(t, session, at(root, dir+"/none"), b), agentproto.NotFound)
	wantClass(t, unpack(t, session, at(root, "/etc/passwd"), b), agentproto.NotFound)
	wantClass(t, unpack(t, session, at(user, src), b), agentproto.PermissionDenied)
	to := mkdir(t, dir+"/to", 0o755, 0)
	if err := unpack(t, session, at(root, to), b); err != nil {
		t.Fatal(err)
	}
	var st, st2 syscall.Stat_t
	if err := errors.Join(syscall.Lstat(to+"/src/file", &st), syscall.Lstat(to+"/src/second", &st2)); err != nil ||
		st.Ino != st2.Ino ||
		st.Uid != 61000 || st.Mode&0o7777 != 0o4640 || st.Mtim.Sec != 1e9 {
		t.Errorf("%+v, %v", st, err)
	}
	// The user's own are all the user's.
	home := mkdir(t, dir+"/home", 0o755, 61000)
	if err := unpack(t, session, at(user, home), b); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Lstat(home+"/src/closed", &st); err != nil || st.Uid != 61000 || st.Mode&0o777 != 0o500 {
		t.Errorf("%+v, %v", st, err)
	}
	if b, err := receive(begin(t, session, &agentproto.Pack{As: at(root, src+"/.")})); err != nil ||
		!strings.HasPrefix(string(b), "./") && !bytes.Contains(b[:2048], []byte("./")) {
		t.Errorf("with a dot: %q, %v", b[:min(len(b), 100)], err)
	}
	wantClass(t, unpack(t, session, at(root, to), []byte(strings.Repeat("no archive", 100))),
		agentproto.InvalidArgument)
	_, err = receive(begin(t, session, &agentproto.Pack{As: at(root, dir+"/none")}))
	wantClass(t, err, agentproto.NotFound)
	_, err = receive(begin(t, session, &agentproto.Pack{As: at(root, src+"/fifo")}))
	wantClass(t, err, agentproto.NotFound)
}

type change struct {
	kind       agentproto.FileChange
	path, from string
}

func TestWatch(t *testing.T) {
	session, dir := connect(t), tree(t)
	mkdir(t, dir+"/sub", 0o755, 0)
	s := begin(t, session, &agentproto.Watch{As: at(user, dir), Recursive: true})
	var watching agentproto.Watching
	if err := s.Receive(&watching); err != nil || watching.Directories != 2 {
		t.Fatal(watching, err)
	}
	until := func(want change) {
		t.Helper()
		var seen []change
		for range 100 {
			var e agentproto.FileEvent
			if err := s.Receive(&e); err != nil {
				t.Fatalf("%v after %+v", err, seen)
			}
			got := change{e.Change, strings.TrimPrefix(e.Path, dir), strings.TrimPrefix(e.From, dir)}
			if got == want {
				return
			}
			seen = append(seen, got)
		}
		t.Fatalf("no %+v in %+v", want, seen)
	}
	put(t, dir+"/sub/f", "x", 0o644, 0)
	until(change{agentproto.FileCreated, "/sub/f", ""})
	until(change{agentproto.FileClosed, "/sub/f", ""})
	if err := os.Rename(dir+"/sub/f", dir+"/g"); err != nil {
		t.Fatal(err)
	}
	until(change{agentproto.FileMoved, "/g", "/sub/f"})
	if err := os.MkdirAll(dir+"/new/deep/er", 0o755); err != nil {
		t.Fatal(err)
	}
	until(change{agentproto.FileCreated, "/new/deep/er", ""})
	put(t, dir+"/new/deep/er/f", "x", 0o644, 0)
	until(change{agentproto.FileCreated, "/new/deep/er/f", ""})
	if err := os.Rename(dir+"/new", dir+"/renamed"); err != nil {
		t.Fatal(err)
	}
	put(t, dir+"/renamed/deep/h", "x", 0o644, 0)
	until(change{agentproto.FileCreated, "/renamed/deep/h", ""})
	if err := os.Remove(dir + "/renamed/deep/h"); err != nil {
		t.Fatal(err)
	}
	until(change{agentproto.FileRemoved, "/renamed/deep/h", ""})
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	until(change{agentproto.FileRemoved, "", ""})
	for {
		var e agentproto.FileEvent
		if err := s.Receive(&e); err != nil {
			wantClass(t, err, agentproto.NotFound)
			return
		}
	}
}

// TestWatchOverflow: a daemon that does not read costs nothing, and is told that it has missed
// some.
func TestWatchOverflow(t *testing.T) {
	session, dir := connect(t), tree(t)
	s := begin(t, session, &agentproto.Watch{As: at(root, dir)})
	if err := s.Receive(&agentproto.Watching{}); err != nil {
		t.Fatal(err)
	}
	for i := range 30000 {
		name := fmt.Sprintf("%s/%d", dir, i)
		if err := errors.Join(os.WriteFile(name, nil, 0o644), os.Remove(name)); err != nil {
			t.Fatal(err)
		}
	}
	for {
		var e agentproto.FileEvent
		if err := s.Receive(&e); err != nil {
			t.Fatal(err)
		}
		if e.Change == agentproto.FileOverflow {
			return
		}
	}
}

// TestSingleFileWatch: it goes on when the file is replaced, and ends when that is gone.
func TestSingleFileWatch(t *testing.T) {
	session, dir := connect(t), tree(t)
	put(t, dir+"/f", "x", 0o644, 61001)
	if err := os.Symlink("f", dir+"/link"); err != nil {
		t.Fatal(err)
	}
	closed := mkdir(t, dir+"/closed", 0o711, 0)
	put(t, closed+"/f", "x", 0o644, 0)
	for _, tt := range []struct {
		path    string
		follows bool
	}{{dir + "/link", true}, {closed + "/f", false}} {
		s := begin(t, session, &agentproto.Watch{As: at(user, tt.path), Recursive: true})
		if err := s.Receive(&agentproto.Watching{}); err != nil {
			t.Fatal(err)
		}
		until := func(want agentproto.FileChange) {
			t.Helper()
			for {
				var e agentproto.FileEvent
				if err := s.Receive(&e); err != nil || e.Path != tt.path {
					t.Fatalf("%+v, %v; want %d", e, err, want)
				}
				if e.Change == want {
					return
				}
			}
		}
		file := strings.Replace(tt.path, "link", "f", 1)
		put(t, filepath.Dir(file)+"/another", "x", 0o644, 0)
		put(t, file, "y", 0o644, 0)
		until(agentproto.FileWritten)
		if tt.follows {
			for range 2 {
				if err := os.Rename(dir+"/another", file); err != nil {
					t.Fatal(err)
				}
				until(agentproto.FileCreated)
				put(t, dir+"/another", "x", 0o644, 0)
			}
		}
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		until(agentproto.FileRemoved)
		for {
			if err := s.Receive(&agentproto.FileEvent{}); err != nil {
				wantClass(t, err, agentproto.NotFound)
				break
			}
		}
	}
}

func FuzzRequests(f *testing.F) {
	f.Add(uint8(agentproto.KindStat), []byte{6, 1, '0', 4, '/', 't', 'm', 'p'})
	f.Fuzz(func(t *testing.T, kind uint8, payload []byte) {
		for _, m := range []agentproto.Message{&agentproto.Stat{}, &agentproto.FileInfo{}, &agentproto.Entries{},
			&agentproto.Move{},
			&agentproto.WriteFile{}, &agentproto.FileEvent{}, &agentproto.MakeDirectory{}, &agentproto.ReadFile{}} {
			if uint8(m.Kind()) == kind {
				_ = agentproto.Decode(payload, m)
			}
		}
	})
}

func benchWrite(b *testing.B, size int) {
	session, dir := connect(b), tree(b)
	data := make([]byte, size)
	if err := os.Chown(dir, 61000, 61000); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(size))
	for b.Loop() {
		s, err := session.Open(b.Context(), &agentproto.WriteFile{As: at(user, dir+"/f")})
		if err != nil {
			b.Fatal(err)
		}
		if err := errors.Join(s.SendData(agentproto.KindData, data), s.SendData(agentproto.KindEnd, nil),
			s.Receive(&agentproto.FileInfo{}), s.Close()); err != nil {
			b.Fatal(err)
		}
	}
}

func benchRead(b *testing.B, size int) {
	session, dir := connect(b), tree(b)
	put(b, dir+"/f", strings.Repeat("x", size), 0o644, 61000)
	b.SetBytes(int64(size))
	for b.Loop() {
		s, err := session.Open(b.Context(), &agentproto.ReadFile{As: at(user, dir+"/f")})
		if err != nil {
			b.Fatal(err)
		}
		if err := s.Receive(&agentproto.FileInfo{}); err != nil {
			b.Fatal(err)
		}
		for {
			frame, err := s.Next()
			if err != nil {
				b.Fatal(err)
			}
			if frame.Kind == agentproto.KindDone {
				break
			}
		}
		_ = s.Close()
	}
}

func BenchmarkWrite1MiB(b *testing.B)  { benchWrite(b, 1<<20) }
func BenchmarkWrite64MiB(b *testing.B) { benchWrite(b, 64<<20) }
func BenchmarkRead1MiB(b *testing.B)   { benchRead(b, 1<<20) }
func BenchmarkRead64MiB(b *testing.B)  { benchRead(b, 64<<20) }
func BenchmarkStat(b *testing.B) {
	session := connect(b)
	for b.Loop() {
		s, err := session.Open(b.Context(), &agentproto.Stat{As: at(user, "/etc/passwd")})
		if err != nil {
			b.Fatal(err)
		}
		if err := errors.Join(s.Receive(&agentproto.FileInfo{}), s.Close()); err != nil {
			b.Fatal(err)
		}
	}
}
