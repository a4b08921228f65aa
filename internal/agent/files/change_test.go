package files

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/octobot-run/octobot/internal/agentproto"
)

func owned(t *testing.T, path string) (uid, gid, mode uint32) {
	t.Helper()
	var st syscall.Stat_t
	if err := syscall.Lstat(path, &st); err != nil {
		t.Fatal(err)
	}
	return st.Uid, st.Gid, st.Mode & 0o7777
}

// TestGroupsOfDirectories: a directory that gives its group does so to what is new, and not to what
// is somebody's.
func TestGroupsOfDirectories(t *testing.T) {
	session, dir := connect(t), tree(t)
	shared := mkdir(t, dir+"/shared", 0o777, 0)
	if err := errors.Join(os.Chown(shared, 0, 62000), syscall.Chmod(shared, 0o2777)); err != nil {
		t.Fatal(err)
	}
	put(t, shared+"/roots", "x", 0o640, 0)
	if err := os.Chown(shared+"/roots", 0, 0); err != nil {
		t.Fatal(err)
	}
	for _, m := range []*agentproto.WriteFile{{As: at(root, shared+"/roots")},
		{As: at(root, shared+"/owned"), Owner: root, Mode: 0o600}, {As: at(user, shared+"/new")}} {
		if _, err := write(t, session, m, "x"); err != nil {
			t.Fatal(err)
		}
	}
	var info agentproto.FileInfo
	if err := begin(t, session, &agentproto.MakeDirectory{As: at(user, shared+"/a/b"),
		Parents: true}).Receive(&info); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][3]uint32{"roots": {0, 0, 0o640}, "owned": {0, 0, 0o600},
		"new": {61000, 62000, 0o644}, "a": {61000, 62000, 0o2755}, "a/b": {61000, 62000, 0o2755}} {
		uid, gid, mode := owned(t, shared+"/"+name)
		if got := [3]uint32{uid, gid, mode}; got != want {
			t.Errorf("%s has %d:%d, %o; want %v", name, uid, gid, mode, want)
		}
	}
}

// TestWriteOnlyDirectories: the user may make files in them, and not read them.
func TestWriteOnlyDirectories(t *testing.T) {
	session, dir := connect(t), tree(t)
	drop := mkdir(t, dir+"/drop", 0o333, 61000)
	if _, err := write(t, session, &agentproto.WriteFile{As: at(user, drop+"/f"), Sync: true}, "x"); err != nil {
		t.Error(err)
	}
	var info agentproto.FileInfo
	err := begin(t, session, &agentproto.MakeDirectory{As: at(user, drop+"/d"), Mode: 0o333}).Receive(&info)
	if err != nil || info.Mode != 0o333 {
		t.Errorf("%+v, %v", info, err)
	}
	if err := done(begin(t, session, &agentproto.Remove{As: at(user, drop+"/d"), Recursive: true})); err != nil {
		t.Error(err)
	}
}

// TestLinksOfOthers: in a directory that everybody may write to, another's link is not followed,
// whenever it came there.
func TestLinksOfOthers(t *testing.T) {
	_, dir := connect(t), tree(t)
	shared := mkdir(t, dir+"/shared", 0o777, 0)
	if err := errors.Join(syscall.Chmod(shared, 0o1777), os.Symlink(dir+"/f", shared+"/theirs"),
		os.Lchown(shared+"/theirs", 61001, 61001), os.Symlink(dir+"/f", shared+"/roots")); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]error{"theirs": unix.EACCES, "roots": nil, "none": nil} {
		for _, who := range []string{root, user} {
			a, _ := lookup(who)
			err := a.Do(func() error {
				fd, err := open(unix.AT_FDCWD, shared, unix.O_PATH|unix.O_DIRECTORY, 0)
				if err != nil {
					return err
				}
				defer unix.Close(fd)
				return mayFollow(fd, name)
			})
			if !errors.Is(err, want) {
				t.Errorf("%s, as %s: %v; want %v", name, who, err, want)
			}
		}
	}
	a, _ := lookup(other)
	if err := a.Do(func() error {
		fd, err := open(unix.AT_FDCWD, shared, unix.O_PATH, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return mayFollow(fd, "theirs")
	}); err != nil {
		t.Errorf("one's own link: %v", err)
	}
}

func TestMoveToItself(t *testing.T) {
	session, dir := connect(t), tree(t)
	put(t, dir+"/a", "x", 0o644, 0)
	if err := os.Link(dir+"/a", dir+"/b"); err != nil {
		t.Fatal(err)
	}
	for _, to := range []string{"/b", "/b"} {
		if err := done(begin(t, session,
			&agentproto.Move{As: at(root, dir+"/a"), To: dir + to, Overwrite: true})); err != nil {
			wantClass(t, err, agentproto.NotFound) // the second time
		}
	}
	if err := done(begin(t, session,
		&agentproto.Move{As: at(root, dir+"/b"), To: dir + "/./b", Overwrite: true})); err != nil {
		t.Error(err)
	}
	if got := namesIn(t, dir); !slices.Equal(got, []string{"b"}) {
		t.Errorf("left: %q", got)
	}
}

// TestVersionsOfOldFiles: every file has one.
func TestVersionsOfOldFiles(t *testing.T) {
	session, dir := connect(t), tree(t)
	put(t, dir+"/f", "x", 0o644, 0)
	old := time.Date(1960, 1, 1, 0, 0, 0, 0, time.UTC)
	if err := os.Chtimes(dir+"/f", old, old); err != nil {
		t.Fatal(err)
	}
	var info agentproto.FileInfo
	if err := begin(t, session, &agentproto.Stat{As: at(root, dir+"/f")}).Receive(&info); err != nil ||
		info.Version == "" || strings.ContainsFunc(info.Version, func(r rune) bool { return r < '0' }) {
		t.Errorf("%+v, %v", info, err)
	}
}

// TestRemovalEnds: what is left is left, when nobody wants it removed any more.
func TestRemovalEnds(t *testing.T) {
	dir := tree(t)
	many := mkdir(t, dir+"/many", 0o755, 0)
	put(t, many+"/0", "", 0o600, 0)
	const n = 30000
	for i := 1; i < n; i++ { // which is quicker to do than files
		if err := os.Link(many+"/0", fmt.Sprint(many, "/", i)); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { // when the agent has ended
		if got := len(namesIn(t, many)); got == 0 {
			t.Error("all was removed")
		}
	})
	session := connect(t)
	s := begin(t, session, &agentproto.Remove{As: at(root, many), Recursive: true})
	for len(namesIn(t, many)) == n { // it has not begun
	}
	s.Reset()
}

func TestDepth(t *testing.T) {
	session, dir := connect(t), tree(t)
	if err := os.MkdirAll(dir+strings.Repeat("/d", maxDepth+5), 0o755); err != nil {
		t.Fatal(err)
	}
	wantClass(t, done(begin(t, session, &agentproto.Remove{As: at(root, dir+"/d"), Recursive: true})),
		agentproto.InvalidArgument)
	_, err := receive(begin(t, session, &agentproto.Pack{As: at(root, dir+"/d")}))
	wantClass(t, err, agentproto.InvalidArgument)
}

// TestParentsOfLinks: they are made where the kernel finds the way.
func TestParentsOfLinks(t *testing.T) {
	session, dir := connect(t), tree(t)
	if err := errors.Join(os.MkdirAll(dir+"/far/away", 0o755), os.Symlink("far/away", dir+"/link")); err != nil {
		t.Fatal(err)
	}
	if _, err := write(t, session, &agentproto.WriteFile{As: at(root, dir+"/link/../b/f"), Parents: true},
		"x"); err != nil {
		t.Error(err)
	}
	if b, err := os.ReadFile(dir + "/far/b/f"); err != nil || string(b) != "x" {
		t.Errorf("%q, %v", b, err)
	}
}
