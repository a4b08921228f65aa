package toybox_test

import (
	"bytes"
	"errors"
	"io/fs"
	"syscall"
	"testing"

	"github.com/octobot-run/octobot/internal/container/mock/toybox"
)

func put(t *testing.T, fsys *toybox.FileSystem, p, data string) {
	t.Helper()
	if err := fsys.Put(p, toybox.File{Mode: 0o644, Data: []byte(data)}); err != nil {
		t.Fatal(err)
	}
}

// TestRoom: what is removed, replaced, or never placed gives its room back.
func TestRoom(t *testing.T) {
	fsys := &toybox.FileSystem{Tmpfs: map[string]int64{"/small": 100}}
	root := fsys.As(toybox.Identity{})
	put(t, fsys, "/small/a", "0123456789")
	put(t, fsys, "/small/a", "01234")
	if err := root.Link("/small/a", "/small/b"); err != nil {
		t.Fatal(err)
	}
	if n := fsys.Size(); n != 5 {
		t.Errorf("there are %d bytes; want 5", n)
	}
	d, err := root.Draft("/small/c", toybox.Placing{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Write(make([]byte, 95)); err != nil {
		t.Errorf("to fill it: %v", err)
	}
	if _, err := d.Write([]byte("x")); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("beyond it: %v", err)
	}
	d.Discard()
	d.Discard()
	w, err := root.Append("/small/a", false, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{"/small/a", "/small/b"} {
		if err := root.Remove(p); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Write(make([]byte, 1000)); err != nil {
		t.Errorf("to what was removed: %v", err)
	}
	if n := fsys.Size(); n != 0 {
		t.Errorf("%d bytes are left", n)
	}
}

// TestProcessPermissions: programs have the permissions of their user.
func TestProcessPermissions(t *testing.T) {
	m := boot(t)
	m.sh(t, "echo x > /tmp/private; chmod 600 /tmp/private; mkdir /tmp/sub; echo x > /tmp/sub/f")
	for _, script := range []string{
		"cat /tmp/private", "echo y >> /tmp/private", "rm /tmp/private", "mv /tmp/private /tmp/mine",
		"chmod 777 /tmp/private", "chown 1000 /tmp/sub", "echo x > /tmp/sub/g", "rm -r /tmp/sub", "touch /etc/x",
		"ln -s x /etc/x", "mkdir /x",
	} {
		var stdout, stderr bytes.Buffer
		p, err := m.Spawn(toybox.Spec{Args: []string{"sh", "-c", script}, User: "user", Stdout: &stdout,
			Stderr: &stderr})
		if err != nil {
			t.Fatal(err)
		}
		if <-p.Done(); p.ExitCode() == 0 || stdout.Len() > 0 {
			t.Errorf("%s: code %d, %q, %q", script, p.ExitCode(), &stdout, &stderr)
		}
	}
	if got := m.sh(t, "cat /tmp/private /tmp/sub/f; ls /tmp/sub"); got.stdout != "x\nx\nf\n" {
		t.Errorf("there is %q", got.stdout)
	}
}

// TestWatchBound: a watch keeps no more than its bound, says that it has dropped some, and goes on.
func TestWatchBound(t *testing.T) {
	fsys := new(toybox.FileSystem)
	root := fsys.As(toybox.Identity{})
	w, err := root.Watch("/tmp", false)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	for range 5000 {
		put(t, fsys, "/tmp/a", "x")
	}
	<-w.Ready()
	changes, gone := w.Take()
	if n := len(changes); n != 4097 || changes[n-1].Kind != toybox.Overflow || gone {
		t.Errorf("%d changes, the last of them %v", n, changes[n-1])
	}
	if changes, _ := w.Take(); len(changes) != 0 {
		t.Errorf("they are given again: %v", changes)
	}
	if err := root.Mkdir("/tmp/d", 0o755); err != nil {
		t.Fatal(err)
	}
	<-w.Ready()
	want := toybox.Change{Kind: toybox.Created, Path: "/tmp/d", Directory: true}
	if changes, _ := w.Take(); len(changes) != 1 || changes[0] != want {
		t.Errorf("changes are %v", changes)
	}
}

// TestImage: what every system starts with is of nobody's making, and the same in the next.
func TestImage(t *testing.T) {
	a, b := new(toybox.FileSystem), new(toybox.FileSystem)
	root := a.As(toybox.Identity{})
	if err := root.Chmod("/tmp", 0o700); err != nil {
		t.Fatal(err)
	}
	put(t, a, "/etc/passwd", "nobody")
	if err := root.RemoveAll("/home"); err != nil {
		t.Fatal(err)
	}
	if f, err := b.Lookup("/tmp"); err != nil || f.Mode != fs.ModeDir|fs.ModeSticky|0o777 {
		t.Errorf("/tmp is %+v, %v", f, err)
	}
	if f, err := b.Lookup("/home/user"); err != nil || f.UID != 1000 {
		t.Errorf("/home/user is %+v, %v", f, err)
	}
	if n := b.Size(); n != 0 {
		t.Errorf("%d bytes were written", n)
	}
}
