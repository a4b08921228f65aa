package account

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
)

const passwd = `# a comment
root:x:0:0:root:/root:/bin/bash

broken line
short:x:1
daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin
user:x:1000:1000:A user,,,:/home/user:/bin/sh
twin:x:1000:1001::/home/twin:
homeless:x:1002:1002
relative:x:1003:1003::home:/bin/sh
bad:x:-5:0::/:/bin/sh
4242:x:7:7::/seven:/bin/sh
+nis`

const group = `root:x:0:
wheel:x:10:root,user
docker:x:999:user
docker2:x:999:user
user:x:1000:
notuser:x:50:username,xuser
seven:x:7:4242
broken
neg:x:-1:user
late:x:20:user,
`

func root(t *testing.T, passwd, group string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"passwd": passwd, "group": group} {
		if text == "" {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, "etc", name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestLookup(t *testing.T) {
	dir := root(t, passwd, group)
	bash := Account{Home: "/root", Shell: "/bin/bash", Name: "root", Groups: []int{10}}
	user := Account{UID: 1000, GID: 1000, Groups: []int{10, 20, 999}, Name: "user", Home: "/home/user",
		Shell: "/bin/sh"}
	in := func(a Account, gid int) Account {
		a.GID, a.Groups = gid, nil
		return a
	}
	for text, want := range map[string]Account{
		"":             bash,
		"root":         bash,
		"0":            bash,
		"user":         user,
		"1000":         user,
		"user:":        user,
		"twin":         {UID: 1000, GID: 1001, Name: "twin", Home: "/home/twin"},
		"user:docker":  in(user, 999),
		"1000:1000":    in(user, 1000),
		"user:77":      in(user, 77),
		":docker":      in(bash, 999),
		"0:0":          in(bash, 0),
		"5000":         {UID: 5000, Home: "/"},
		"5000:6000":    {UID: 5000, GID: 6000, Home: "/"},
		"5000:docker":  {UID: 5000, GID: 999, Home: "/"},
		"homeless":     {UID: 1002, GID: 1002, Name: "homeless", Home: "/"},
		"relative":     {UID: 1003, GID: 1003, Name: "relative", Home: "/", Shell: "/bin/sh"},
		"4242":         {UID: 7, GID: 7, Groups: []int{7}, Name: "4242", Home: "/seven", Shell: "/bin/sh"},
		"2147483647:1": {UID: 2147483647, GID: 1, Home: "/"},
	} {
		got, err := lookup(dir, text)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q is %+v, %v; want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{"nobody", "user:nogroup", "bad", "-1", "2147483648", "1000:-1", "1000:a:b",
		"broken line", "# a comment"} {
		if got, err := lookup(dir, text); !errors.Is(err, ErrUnknown) {
			t.Errorf("%q is %+v, %v; want it unknown", text, got, err)
		}
	}
}

func TestLookupWithoutFiles(t *testing.T) {
	dir := t.TempDir()
	for text, want := range map[string]Account{
		"":        {Home: "/"},
		"1000":    {UID: 1000, Home: "/"},
		"1000:20": {UID: 1000, GID: 20, Home: "/"},
	} {
		if got, err := lookup(dir, text); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q is %+v, %v; want %+v", text, got, err, want)
		}
	}
	if _, err := lookup(dir, "root"); !errors.Is(err, ErrUnknown) {
		t.Errorf("root is %v without a file", err)
	}
}

func TestHostileFiles(t *testing.T) {
	line := "late:x:5:5::/:/bin/sh\n"
	dir := root(t, strings.Repeat("#\n", maxFile/2)+line, "")
	if _, err := lookup(dir, "late"); !errors.Is(err, ErrUnknown) {
		t.Errorf("an entry after the bound: %v", err)
	}
	// The last line within the bound is cut: "5" of "500" must not count.
	long := strings.Repeat("#\n", maxFile/2-5) + "cut:x:500:5::/:/bin/sh\n"
	if _, err := lookup(root(t, long, ""), "cut"); !errors.Is(err, ErrUnknown) {
		t.Errorf("a line across the bound: %v", err)
	}
	dir = root(t, "", "")
	if err := syscall.Mkfifo(filepath.Join(dir, "etc/passwd"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/dev/zero", filepath.Join(dir, "etc/group")); err != nil {
		t.Fatal(err)
	}
	if got, err := lookup(dir, "5:6"); err != nil || got.GID != 6 {
		t.Errorf("with a pipe and a device for files: %+v, %v", got, err)
	}
}

func FuzzLookup(f *testing.F) {
	f.Add(passwd, group, "user")
	f.Add(passwd, group, "1000:docker")
	f.Add("a:b:0:0", "\x00:::\n", "a:\x00")
	dir := f.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "etc"), 0o755); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, passwd, group, user string) {
		for name, text := range map[string]string{"passwd": passwd, "group": group} {
			if err := os.WriteFile(filepath.Join(dir, "etc", name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		a, err := lookup(dir, user)
		if err != nil {
			if !errors.Is(err, ErrUnknown) {
				t.Fatalf("error is %v", err)
			}
			return
		}
		if a.UID < 0 || a.GID < 0 || !strings.HasPrefix(a.Home, "/") || strings.Contains(a.Home+a.Shell+a.Name, "\n") {
			t.Fatalf("account is %+v", a)
		}
	})
}
