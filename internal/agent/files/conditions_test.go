package files

import (
	"errors"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/octobot-run/octobot/internal/agentproto"
)

func TestConditions(t *testing.T) {
	session, dir := connect(t), tree(t)
	at := at(root, dir+"/f")
	wantChanged := func(err error) {
		t.Helper()
		wantClass(t, err, agentproto.Changed)
	}
	_, err := write(t, session, &agentproto.WriteFile{As: at, Version: "*"}, "x")
	wantChanged(err)
	first, err := write(t, session, &agentproto.WriteFile{As: at, New: true}, "first")
	if err != nil || first.Version == "" {
		t.Fatalf("%+v, %v", first, err)
	}
	_, err = write(t, session, &agentproto.WriteFile{As: at, New: true}, "x")
	wantClass(t, err, agentproto.Exists)
	_, err = write(t, session, &agentproto.WriteFile{As: at, Version: "1"}, "x")
	wantChanged(err)
	second, err := write(t, session, &agentproto.WriteFile{As: at, Version: first.Version, Sync: true}, "second")
	if err != nil || second.Version == first.Version {
		t.Errorf("%+v, %v", second, err)
	}
	_, err = write(t, session, &agentproto.WriteFile{As: at, Version: first.Version}, "x")
	wantChanged(err)
	// It changes while the content is on its way.
	s := begin(t, session, &agentproto.WriteFile{As: at, Version: second.Version})
	if err := s.SendData(agentproto.KindData, []byte("third")); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(at.Path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("+"); err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	if err := s.SendData(agentproto.KindEnd, nil); err != nil {
		t.Fatal(err)
	}
	wantChanged(s.Receive(&agentproto.FileInfo{}))
	if b, err := os.ReadFile(at.Path); err != nil || string(b) != "second+" {
		t.Errorf("%q, %v", b, err)
	}
	if got := namesIn(t, dir); !slices.Equal(got, []string{"f"}) {
		t.Errorf("left behind: %q", got)
	}
}

// TestOneNewFile: of many that make the same new file, one does.
func TestOneNewFile(t *testing.T) {
	session, dir := connect(t), tree(t)
	made := make(chan bool)
	for range 16 {
		go func() {
			_, err := write(t, session, &agentproto.WriteFile{As: at(root, dir+"/f"), New: true}, "x")
			made <- err == nil
		}()
	}
	n := 0
	for range 16 {
		if <-made {
			n++
		}
	}
	if n != 1 {
		t.Errorf("%d have made the same new file", n)
	}
}

func TestOwnerAskedFor(t *testing.T) {
	session, dir := connect(t), tree(t)
	info, err := write(t, session, &agentproto.WriteFile{As: at(root, dir+"/f"), Owner: other, Mode: 0o4711}, "x")
	if err != nil || info.UID != 61001 || info.GID != 61001 || info.Mode != 0o4711 {
		t.Errorf("%+v, %v", info, err)
	}
	home := mkdir(t, dir+"/home", 0o755, 61000)
	_, err = write(t, session, &agentproto.WriteFile{As: at(user, home+"/f"), Owner: other}, "x")
	wantClass(t, err, agentproto.PermissionDenied)
	if got := namesIn(t, home); len(got) != 0 {
		t.Errorf("left behind: %q", got)
	}
}

func TestChange(t *testing.T) {
	session, dir := connect(t), tree(t)
	change := func(m *agentproto.ChangeFile) (info agentproto.FileInfo, err error) {
		return info, begin(t, session, m).Receive(&info)
	}
	put(t, dir+"/f", "x", 0o644, 61000)
	info, err := change(&agentproto.ChangeFile{As: at(user, dir+"/f"), Mode: 0o600, SetMode: true})
	if err != nil || info.Mode != 0o600 || info.Name != "f" {
		t.Errorf("%+v, %v", info, err)
	}
	_, err = change(&agentproto.ChangeFile{As: at(user, dir), Mode: 0o700, SetMode: true})
	wantClass(t, err, agentproto.PermissionDenied)
	_, err = change(&agentproto.ChangeFile{As: at(user, dir+"/f"), Owner: other})
	wantClass(t, err, agentproto.PermissionDenied)
	_, err = change(&agentproto.ChangeFile{As: at(root, dir+"/none"), Owner: other})
	wantClass(t, err, agentproto.NotFound)
	below := mkdir(t, dir+"/below", 0o755, 0)
	mkdir(t, below+"/deep", 0o700, 0)
	put(t, below+"/deep/f", "x", 0o600, 0)
	put(t, dir+"/outside", "x", 0o600, 0)
	if err := os.Symlink(dir+"/outside", below+"/link"); err != nil {
		t.Fatal(err)
	}
	if _, err := change(&agentproto.ChangeFile{As: at(root, below), Owner: other, Mode: 0o750, SetMode: true,
		Recursive: true}); err != nil {
		t.Error(err)
	}
	for p, want := range map[string]uint32{below: 61001, below + "/deep/f": 61001, dir + "/outside": 0} {
		var st syscall.Stat_t
		if err := syscall.Lstat(p, &st); err != nil || st.Uid != want || want != 0 && st.Mode&0o777 != 0o750 {
			t.Errorf("%s: %+v, %v", p, st, err)
		}
	}
}

// TestFullDisk: what was there stays.
func TestFullDisk(t *testing.T) {
	session, dir := connect(t), tree(t)
	full := mkdir(t, dir+"/full", 0o755, 0)
	if err := unix.Mount("tmpfs", full, "tmpfs", 0, "size=1m"); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Unmount(full, unix.MNT_DETACH) }()
	put(t, full+"/f", "old", 0o644, 0)
	_, err := write(t, session, &agentproto.WriteFile{As: at(root, full+"/f")}, strings.Repeat("x", 3<<20))
	wantClass(t, err, agentproto.NoSpace)
	if b, err := os.ReadFile(full + "/f"); err != nil || string(b) != "old" {
		t.Errorf("%q, %v", b, err)
	}
	if got := namesIn(t, full); !slices.Equal(got, []string{"f"}) {
		t.Errorf("left behind: %q", got)
	}
}

func search(t *testing.T, session *agentproto.Session, m *agentproto.Search) ([]agentproto.Match, string, error) {
	t.Helper()
	if m.Limit == 0 {
		m.Limit = 100
	}
	m.MaxSize = 1 << 20
	s := begin(t, session, m)
	var found []agentproto.Match
	for {
		frame, err := s.Next()
		if err != nil {
			return found, "", err
		}
		if frame.Kind == agentproto.KindMatch {
			var m agentproto.Match
			if err := frame.Decode(&m); err != nil {
				return found, "", err
			}
			found = append(found, m)
			continue
		}
		var end agentproto.Searched
		err = frame.Decode(&end)
		return found, end.Incomplete, err
	}
}

func TestSearch(t *testing.T) {
	session, dir := connect(t), tree(t)
	mkdir(t, dir+"/sub", 0o755, 0)
	put(t, dir+"/one.go", "package one\n\n// needle\nfunc Needle() {}\nno newline needle", 0o644, 0)
	put(t, dir+"/sub/two.go", strings.Repeat("x", 2000)+"needle"+strings.Repeat("y", 2000)+"\r\n", 0o644, 0)
	put(t, dir+"/sub/two.txt", "needle\n", 0o644, 0)
	put(t, dir+"/sub/closed.go", "needle\n", 0o600, 61001)
	put(t, dir+"/sub/binary.go", "needle\n\x00", 0o644, 0)
	put(t, dir+"/sub/huge.go", strings.Repeat("needle\n", 1<<18), 0o644, 0)
	mkdir(t, dir+"/closed", 0o700, 61001)
	put(t, dir+"/closed/in.go", "needle\n", 0o644, 0)
	if err := errors.Join(os.Symlink("one.go", dir+"/link.go"), unix.Mkfifo(dir+"/fifo.go", 0o644)); err != nil {
		t.Fatal(err)
	}
	paths := func(found []agentproto.Match) (all []string) {
		for _, m := range found {
			all = append(all, strings.TrimPrefix(m.Path, dir))
		}
		slices.Sort(all)
		return all
	}
	found, incomplete, err := search(t, session, &agentproto.Search{As: at(user, dir), Name: "*.GO", IgnoreCase: true})
	want := []string{"/fifo.go", "/link.go", "/one.go", "/sub/binary.go", "/sub/closed.go", "/sub/huge.go",
		"/sub/two.go"}
	if err != nil || incomplete != "" || !slices.Equal(paths(found), want) {
		t.Errorf("%q, %q, %v", paths(found), incomplete, err)
	}
	found, incomplete, err = search(t, session,
		&agentproto.Search{As: at(user, dir+"/"), Name: "*.go", Content: "needle"})
	if err != nil || incomplete != "" || !slices.Equal(paths(found), []string{"/one.go", "/one.go", "/sub/two.go"}) {
		t.Fatalf("%q, %q, %v", paths(found), incomplete, err)
	}
	for _, m := range found {
		switch {
		case m.Type != agentproto.TypeFile || !strings.Contains(m.Text, "needle") || len(m.Text) > maxText:
			t.Errorf("%+v", m)
		case strings.HasSuffix(m.Path, "one.go") && m.Line != 3 && m.Line != 5, strings.HasSuffix(m.Path, "two.go") &&
			m.Line != 1:
			t.Errorf("line %d of %s", m.Line, m.Path)
		}
	}
	found, _, err = search(t, session,
		&agentproto.Search{As: at(user, dir), Content: "needle", IgnoreCase: true, Name: "one*"})
	if err != nil || len(found) != 3 {
		t.Errorf("%+v, %v", found, err)
	}
	found, _, err = search(t, session, &agentproto.Search{As: at(user, dir), Content: `^func \w+`, Regexp: true})
	if err != nil || len(found) != 1 || found[0].Line != 4 || found[0].Text != "func Needle() {}" {
		t.Errorf("%+v, %v", found, err)
	}
	found, incomplete, err = search(t, session, &agentproto.Search{As: at(user, dir), Name: "*", Limit: 2})
	if err != nil || len(found) != 2 || incomplete == "" {
		t.Errorf("%+v, %q, %v", found, incomplete, err)
	}
	_, _, err = search(t, session, &agentproto.Search{As: at(user, dir), Content: "(", Regexp: true})
	wantClass(t, err, agentproto.InvalidArgument)
	_, _, err = search(t, session, &agentproto.Search{As: at(user, dir+"/one.go"), Name: "*"})
	wantClass(t, err, agentproto.NotFound)
	_, _, err = search(t, session, &agentproto.Search{As: at(user, dir+"/closed"), Name: "*"})
	wantClass(t, err, agentproto.PermissionDenied)
}
