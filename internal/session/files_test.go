package session_test

import (
	"archive/tar"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/session"
)

// still makes a session that was never started.
func (k *kit) still(t *testing.T, id string) {
	t.Helper()
	if _, err := k.Create(t.Context(), admin, session.CreateRequest{ID: id}); err != nil {
		t.Fatal(err)
	}
}

func (k *kit) readFile(t *testing.T, path string, opts container.ReadFileOptions) string {
	t.Helper()
	_, content, err := k.ReadFile(t.Context(), admin, "x", path, opts)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(content)
	if err := errors.Join(err, content.Close()); err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestStillFiles: what works of the files of a session that does not run.
func TestStillFiles(t *testing.T) {
	k := newKit(t)
	k.still(t, "x")
	ctx := t.Context()
	write := func(path, data string, opts container.WriteFileOptions) (*container.FileInfo, error) {
		return k.WriteFile(ctx, admin, "x", path, strings.NewReader(data), opts)
	}
	info, err := write("/tmp/a", "0123456789", container.WriteFileOptions{Mode: 0o640, Owner: "12:34"})
	if err != nil || info.Name != "a" || info.Type != container.FileRegular || info.Size != 10 || info.Mode != 0o640 ||
		info.UID != 12 || info.GID != 34 || info.Version == "" {
		t.Fatalf("wrote %+v, %v", info, err)
	}
	for want, opts := range map[string]container.ReadFileOptions{
		"0123456789": {}, "345": {Offset: 3, Length: 3}, "9": {Offset: 9, Length: 5}, "": {Offset: 20},
		"89": {Offset: 8},
	} {
		if got := k.readFile(t, "/tmp/a", opts); got != want {
			t.Errorf("%+v: read %q, want %q", opts, got, want)
		}
	}
	_, err = write("/tmp/a", "x", container.WriteFileOptions{New: true})
	wantCode(t, err, session.CodePathExists)
	_, err = write("/tmp/a", "x", container.WriteFileOptions{Version: "other"})
	wantCode(t, err, session.CodePathChanged)
	_, err = write("/tmp/none", "x", container.WriteFileOptions{Version: "*"})
	wantCode(t, err, session.CodePathChanged)
	_, err = write("/tmp", "x", container.WriteFileOptions{})
	wantCode(t, err, session.CodePathNotFound)
	_, err = write("/tmp/no/such/dir", "x", container.WriteFileOptions{})
	wantCode(t, err, session.CodePathNotFound)
	_, err = write("relative", "x", container.WriteFileOptions{})
	wantCode(t, err, session.CodeInvalidArgument)
	_, err = write("/tmp/a", "x", container.WriteFileOptions{Owner: "nobody-of-that-name"})
	wantCode(t, err, session.CodeInvalidArgument)
	long := strings.Repeat("long", 100_000) // more than is kept in memory
	changed, err := write("/tmp/a", long, container.WriteFileOptions{Version: info.Version})
	if err != nil || changed.Mode != 0o640 || changed.UID != 12 || changed.Version == info.Version {
		t.Errorf("rewrote %+v, %v", changed, err)
	}
	if got := k.readFile(t, "/tmp/a", container.ReadFileOptions{}); got != long {
		t.Errorf("%d bytes", len(got))
	}
	if _, err := write("/tmp/new/deep/b", "b", container.WriteFileOptions{Parents: true, New: true}); err != nil {
		t.Error(err)
	}
	if got := k.readFile(t, "/tmp/new/deep/b", container.ReadFileOptions{}); got != "b" {
		t.Errorf("read %q", got)
	}

	made, err := k.MakeDirectory(ctx, admin, "x", "/tmp/new/dir", container.MakeDirectoryOptions{Mode: 0o700})
	if err != nil || made.Type != container.FileDirectory || made.Mode != 0o700 {
		t.Errorf("made %+v, %v", made, err)
	}
	_, err = k.MakeDirectory(ctx, admin, "x", "/tmp/new/dir", container.MakeDirectoryOptions{})
	wantCode(t, err, session.CodePathExists)
	_, err = k.MakeDirectory(ctx, admin, "x", "/tmp/no/such", container.MakeDirectoryOptions{})
	wantCode(t, err, session.CodePathNotFound)
	made, err = k.MakeDirectory(ctx, admin, "x", "/tmp/new/dir", container.MakeDirectoryOptions{Parents: true})
	if err != nil || made.Mode != 0o700 {
		t.Errorf("took %+v, %v", made, err)
	}
	if _, err := k.MakeDirectory(ctx, admin, "x", "/tmp/p/q/r",
		container.MakeDirectoryOptions{Parents: true}); err != nil {
		t.Error(err)
	}
	_, err = k.MakeDirectory(ctx, admin, "x", "/tmp/a", container.MakeDirectoryOptions{Parents: true})
	wantCode(t, err, session.CodePathExists)

	var names []string
	err = k.ListFiles(ctx, admin, "x", "/tmp/new", "", func(i container.FileInfo) error {
		names = append(names, i.Name+" "+i.Type)
		return nil
	})
	slices.Sort(names)
	if err != nil || !slices.Equal(names, []string{"deep directory", "dir directory"}) {
		t.Errorf("lists %q, %v", names, err)
	}
	err = k.ListFiles(ctx, admin, "x", "/tmp/a", "", nil)
	wantCode(t, err, session.CodePathNotFound)
	_, err = k.StatFile(ctx, admin, "x", "/none", container.StatFileOptions{})
	wantCode(t, err, session.CodePathNotFound)
	_, _, err = k.ReadFile(ctx, admin, "x", "/tmp", container.ReadFileOptions{})
	wantCode(t, err, session.CodePathNotFound)

	for name, err := range map[string]error{
		"move":   k.MoveFile(ctx, admin, "x", "/tmp/a", "/tmp/b", container.MoveFileOptions{}),
		"remove": k.RemoveFile(ctx, admin, "x", "/tmp/a", container.RemoveFileOptions{}),
		"watch":  k.WatchFiles(ctx, admin, "x", "/tmp", container.WatchFilesOptions{}, nil),
	} {
		if e := wantCode(t, err, session.CodeSessionNotRunning); e.Hint != "octobot start" {
			t.Errorf("%s: hint %q", name, e.Hint)
		}
	}
	_, err = k.ChangeFile(ctx, admin, "x", "/tmp/a", container.ChangeFileOptions{SetMode: true})
	wantCode(t, err, session.CodeSessionNotRunning)
	_, err = k.SearchFiles(ctx, admin, "x", "/tmp", container.SearchFilesOptions{Name: "a"}, nil)
	wantCode(t, err, session.CodeSessionNotRunning)
}

func entriesOf(t *testing.T, r io.Reader) map[string]*tar.Header {
	t.Helper()
	entries := map[string]*tar.Header{}
	for archive := tar.NewReader(r); ; {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return entries
		}
		if err != nil {
			t.Fatal(err)
		}
		entries[h.Name] = h
	}
}

func tarOf(t *testing.T, headers ...tar.Header) *bytes.Buffer {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(make([]byte, h.Size)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return &b
}

// TestStillArchives: what goes into a session that does not run is the session's user's, and comes
// out under the names that are promised.
func TestStillArchives(t *testing.T) {
	k := newKit(t)
	k.still(t, "x")
	ctx := t.Context()
	archive := tarOf(t, tar.Header{Typeflag: tar.TypeDir, Name: "./", Mode: 0o700},
		tar.Header{Typeflag: tar.TypeDir, Name: "d/", Mode: 0o755, Uid: 5, Gid: 6},
		tar.Header{Typeflag: tar.TypeReg, Name: "d/f", Mode: 0o4755, Uid: 5, Gid: 6, Size: 3},
		tar.Header{Typeflag: tar.TypeFifo, Name: "d/fifo", Mode: 0o644})
	packed := append(archive.Bytes(), make([]byte, 10240)...) // tar fills up its last record
	for _, c := range []struct {
		opts     container.UnpackFilesOptions
		uid, gid int64
		mode     uint32
	}{
		{container.UnpackFilesOptions{User: "7:8"}, 7, 8, 0o755},
		{container.UnpackFilesOptions{Owners: true}, 5, 6, 0o755}, // the mock knows no setuid
	} {
		r := bytes.NewReader(packed)
		if err := k.UnpackFiles(ctx, admin, "x", "/tmp", r, c.opts); err != nil || r.Len() > 0 {
			t.Fatal(err, r.Len())
		}
		info, err := k.StatFile(ctx, admin, "x", "/tmp/d/f", container.StatFileOptions{})
		if err != nil || info.UID != c.uid || info.GID != c.gid || info.Mode != c.mode || info.Size != 3 {
			t.Errorf("%+v: unpacked %+v, %v", c.opts, info, err)
		}
	}
	wantCode(t, k.UnpackFiles(ctx, admin, "x", "/none", bytes.NewReader(packed), container.UnpackFilesOptions{}),
		session.CodePathNotFound)
	for path, want := range map[string][]string{
		"/tmp/d": {"d/", "d/f"}, "/tmp/d/": {"d/", "d/f"}, "/tmp/d/.": {"./", "./f"}, "/tmp/d/f": {"f"},
		"/tmp/d/none/..": {"./", "./f"},
	} {
		out, err := k.PackFiles(ctx, admin, "x", path, "")
		if err != nil {
			t.Fatal(err)
		}
		got := slices.Sorted(maps.Keys(entriesOf(t, out)))
		if err := out.Close(); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: packed %q, %v, want %q", path, got, err, want)
		}
	}
	_, err := k.PackFiles(ctx, admin, "x", "/none", "")
	wantCode(t, err, session.CodePathNotFound)
	// Closed before it was read, it leaves nobody behind.
	out, err := k.PackFiles(ctx, admin, "x", "/", "")
	if err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Error(err)
	}
}

// copied keeps what would be unpacked.
type copied struct {
	container.Runtime
	container.Copier
	got *bytes.Buffer
	err error
}

func (c copied) Unwrap() container.Runtime { return c.Runtime }

func (c copied) CopyTo(_ context.Context, _, _ string, r io.Reader) error {
	c.got.Reset()
	_, err := io.Copy(c.got, r)
	if err != nil {
		return err
	}
	return c.err
}

// kept gives what is there by path.
type kept struct {
	copied
	files map[string]*tar.Header
}

func (k kept) CopyFrom(_ context.Context, _, path string) (io.ReadCloser, error) {
	h := k.files[path]
	if h == nil {
		return nil, container.ErrPathNotFound
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	return io.NopCloser(&b), cmp.Or(w.WriteHeader(h), w.Close())
}

// TestOddStillFiles: what is there has special modes, leads nowhere, or is of no year.
func TestOddStillFiles(t *testing.T) {
	k := newKit(t)
	k.still(t, "x")
	var got bytes.Buffer
	rt := kept{copied{Runtime: k.rt, Copier: k.rt, got: &got}, map[string]*tar.Header{
		"/suid":     {Typeflag: tar.TypeReg, Name: "suid", Mode: 0o6755},
		"/closed":   {Typeflag: tar.TypeReg, Name: "closed"},
		"/dangling": {Typeflag: tar.TypeSymlink, Name: "dangling", Linkname: "/none"},
		"/late":     {Typeflag: tar.TypeReg, Name: "late", ModTime: time.Unix(1<<60, 0)},
		"/early":    {Typeflag: tar.TypeReg, Name: "early", ModTime: time.Unix(-1<<60, 0), Format: tar.FormatPAX},
	}}
	s := session.NewContainerService(rt, k.store, configure())
	for name, mode := range map[string]int64{"suid": 0o755, "closed": 0} {
		_, err := s.WriteFile(t.Context(), admin, "x", "/"+name, strings.NewReader("new"), container.WriteFileOptions{})
		if h := entriesOf(t, &got)[name]; err != nil || h == nil || h.Mode != mode {
			t.Errorf("%s: wrote %+v, %v", name, h, err)
		}
	}
	_, err := s.WriteFile(t.Context(), admin, "x", "/dangling", strings.NewReader("new"),
		container.WriteFileOptions{New: true})
	wantCode(t, err, session.CodePathExists)
	for _, path := range []string{"/late", "/early"} {
		info, err := s.StatFile(t.Context(), admin, "x", path, container.StatFileOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := json.Marshal(info.Modified.UTC()); err != nil {
			t.Error(err)
		}
	}
}

// TestHostileArchives do not reach the engine, or not whole.
func TestHostileArchives(t *testing.T) {
	k := newKit(t)
	k.still(t, "x")
	var got bytes.Buffer
	s := session.NewContainerService(copied{Runtime: k.rt, Copier: k.rt, got: &got}, k.store, configure())
	file := func(name string) tar.Header { return tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644} }
	link := func(name, to string) tar.Header {
		return tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: to}
	}
	for name, headers := range map[string][]tar.Header{
		"absolute":       {file("/etc/passwd")},
		"dots":           {file("a/../../b")},
		"through a link": {link("a", "/etc"), file("a/passwd")},
		"below a link":   {link("a/b", "/etc"), file("a/b/c/d")},
		"hard link out":  {{Typeflag: tar.TypeLink, Name: "a", Linkname: "../etc/passwd"}},
		"hard link via link": {link("a", "/etc"),
			{Typeflag: tar.TypeLink, Name: "b", Linkname: "a/passwd"}},
		"through a hard link to a link": {link("a", "/etc"), {Typeflag: tar.TypeLink, Name: "b", Linkname: "a"},
			file("b/passwd")},
		"through a link that only seems replaced": {link("a", "/etc"), {Typeflag: tar.TypeChar, Name: "a"},
			file("a/passwd")},
	} {
		t.Run(name, func(t *testing.T) {
			err := s.UnpackFiles(t.Context(), admin, "x", "/tmp", tarOf(t, headers...), container.UnpackFilesOptions{})
			wantCode(t, err, session.CodeInvalidArgument)
			if bytes.HasSuffix(got.Bytes(), make([]byte, 1024)) {
				t.Error("the engine was told that it had all of it")
			}
			if entries := entriesOf(t, &got); entries[headers[len(headers)-1].Name] != nil {
				t.Errorf("the engine got %v", entries)
			}
		})
	}
	t.Run("devices and links that are replaced", func(t *testing.T) {
		b := tarOf(t, tar.Header{Typeflag: tar.TypeBlock, Name: "sda", Devmajor: 8},
			tar.Header{Typeflag: tar.TypeReg, Name: "caps", Mode: 0o6755, Uid: 1,
				PAXRecords: map[string]string{"SCHILY.xattr.security.capability": "x"}},
			link("a", "b"), file("a"), tar.Header{Typeflag: tar.TypeDir, Name: "d/", Mode: 0o755}, file("d/x"))
		err := s.UnpackFiles(t.Context(), admin, "x", "/tmp", b, container.UnpackFilesOptions{User: "7:8"})
		if err != nil {
			t.Fatal(err)
		}
		entries := entriesOf(t, &got)
		if want := []string{"a", "caps", "d/", "d/x"}; !slices.Equal(slices.Sorted(maps.Keys(entries)), want) {
			t.Errorf("the engine got %q", slices.Sorted(maps.Keys(entries)))
		}
		if h := entries["caps"]; h == nil || h.Mode != 0o755 || h.Uid != 7 || h.Gid != 8 || len(h.PAXRecords) > 0 {
			t.Errorf("the engine got %+v", h)
		}
	})
}

// broken gives some content, and then an error.
type broken struct {
	io.Reader
	err error
}

func (b broken) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if errors.Is(err, io.EOF) {
		err = b.err
	}
	return n, err
}

// TestCutWrites change nothing, and say why.
func TestCutWrites(t *testing.T) {
	k := newKit(t)
	k.still(t, "x")
	ctx := t.Context()
	if _, err := k.WriteFile(ctx, admin, "x", "/tmp/a", strings.NewReader("old"),
		container.WriteFileOptions{}); err != nil {
		t.Fatal(err)
	}
	gone := &session.Error{Code: session.CodeCancelled, Detail: "the client is gone"}
	_, err := k.WriteFile(ctx, admin, "x", "/tmp/a", broken{strings.NewReader(strings.Repeat("new", 1<<17)), gone},
		container.WriteFileOptions{})
	if e := wantCode(t, err, session.CodeCancelled); e.Detail != gone.Detail {
		t.Errorf("error %v", err)
	}
	archive := tarOf(t, tar.Header{Typeflag: tar.TypeReg, Name: "b", Size: 4096}).Bytes()
	err = k.UnpackFiles(ctx, admin, "x", "/tmp", broken{bytes.NewReader(archive[:2000]), gone},
		container.UnpackFilesOptions{})
	if e := wantCode(t, err, session.CodeCancelled); e.Detail != gone.Detail {
		t.Errorf("error %v", err)
	}
	for _, n := range []int{0, 2000, 512 + 4096} {
		err = k.UnpackFiles(ctx, admin, "x", "/tmp", bytes.NewReader(archive[:n]), container.UnpackFilesOptions{})
		wantCode(t, err, session.CodeInvalidArgument)
	}
	err = k.UnpackFiles(ctx, admin, "x", "/tmp", strings.NewReader(strings.Repeat("no", 1000)),
		container.UnpackFilesOptions{})
	wantCode(t, err, session.CodeInvalidArgument)
	// A reader that blocks is abandoned.
	stuck, release := io.Pipe()
	bounded, cancel := context.WithCancel(ctx)
	go func() {
		_, _ = release.Write([]byte("new"))
		cancel()
	}()
	_, err = k.WriteFile(bounded, admin, "x", "/tmp/a", stuck, container.WriteFileOptions{})
	wantCode(t, err, session.CodeCancelled)
	_ = release.Close()
	if got := k.readFile(t, "/tmp/a", container.ReadFileOptions{}); got != "old" {
		t.Errorf("the file holds %q", got)
	}
}

// TestFilesOfOthers are as if they were not there.
func TestFilesOfOthers(t *testing.T) {
	k := newKit(t)
	k.still(t, "x")
	who, ctx := session.Principal{Name: "t", ProjectID: "other"}, t.Context()
	check := func(err error) {
		t.Helper()
		wantCode(t, err, session.CodeSessionNotFound)
	}
	_, err := k.StatFile(ctx, who, "x", "/a", container.StatFileOptions{})
	check(err)
	check(k.ListFiles(ctx, who, "x", "/a", "", nil))
	_, _, err = k.ReadFile(ctx, who, "x", "/a", container.ReadFileOptions{})
	check(err)
	_, err = k.WriteFile(ctx, who, "x", "/a", nil, container.WriteFileOptions{})
	check(err)
	_, err = k.MakeDirectory(ctx, who, "x", "/a", container.MakeDirectoryOptions{})
	check(err)
	check(k.MoveFile(ctx, who, "x", "/a", "/b", container.MoveFileOptions{}))
	check(k.RemoveFile(ctx, who, "x", "/a", container.RemoveFileOptions{}))
	_, err = k.ChangeFile(ctx, who, "x", "/a", container.ChangeFileOptions{SetMode: true})
	check(err)
	check(k.WatchFiles(ctx, who, "x", "/a", container.WatchFilesOptions{}, nil))
	_, err = k.SearchFiles(ctx, who, "x", "/a", container.SearchFilesOptions{Name: "*"}, nil)
	check(err)
	_, err = k.PackFiles(ctx, who, "x", "/a", "")
	check(err)
	check(k.UnpackFiles(ctx, who, "x", "/a", nil, container.UnpackFilesOptions{}))
}

// humble is a runtime whose agents can't be anybody but their containers' own user.
type humble struct {
	container.Runtime
	container.Files
	container.FileArchiver
}

func (h humble) Unwrap() container.Runtime { return h.Runtime }

func (h humble) Get(ctx context.Context, id string) (*container.Container, error) {
	c, err := h.Runtime.Get(ctx, id)
	if err == nil {
		c.Exec.Agent = true
	}
	return c, err
}

var errHumble = container.Errorf("files", "x", container.ErrUnsupported, "the agent is not root")

func (h humble) StatFile(
	ctx context.Context, id, path string, opts container.StatFileOptions,
) (*container.FileInfo, error) {
	if opts.User != "" {
		return nil, errHumble
	}
	return h.Files.StatFile(ctx, id, path, opts)
}

func (h humble) WriteFile(
	ctx context.Context, id, path string, r io.Reader, opts container.WriteFileOptions,
) (*container.FileInfo, error) {
	if opts.User != "" {
		_, _ = r.Read(make([]byte, 1)) // ahead
		return nil, errHumble
	}
	return h.Files.WriteFile(ctx, id, path, r, opts)
}

func (h humble) RemoveFile(context.Context, string, string, container.RemoveFileOptions) error {
	return errHumble
}

// TestFilesAsOthers: where an agent can't be who is asked for, the engine is root; nobody else is
// taken for that.
func TestFilesAsOthers(t *testing.T) {
	k := newKit(t)
	k.create(t, "x")
	s := session.NewContainerService(humble{k.rt, k.rt, k.rt}, k.store, configure())
	ctx := t.Context()
	for user, want := range map[string]session.Code{"": "", "root": "", "0:0": "", "7": session.CodeUnsupported,
		"nobody": session.CodeUnsupported} {
		name := "/tmp/f" + strings.ReplaceAll(user, ":", "-")
		_, err := s.WriteFile(ctx, admin, "x", name, strings.NewReader("whole"),
			container.WriteFileOptions{User: user})
		if session.CodeOf(err) != want {
			t.Errorf("write as %q: %v", user, err)
		}
		if want != "" {
			continue
		}
		if got := k.readFile(t, name, container.ReadFileOptions{}); got != "whole" {
			t.Errorf("%q has written %q", user, got)
		}
	}
	e := wantCode(t, s.RemoveFile(ctx, admin, "x", "/tmp/root", container.RemoveFileOptions{User: "root"}),
		session.CodeUnsupported)
	if !strings.Contains(e.Hint, "exec --user") {
		t.Errorf("hint %q", e.Hint)
	}
}

// TestFilesInUse: content that flows is a use of a session, a watch that sees nothing is none.
func TestFilesInUse(t *testing.T) {
	inBubble(t, func(t *testing.T, k *kit) {
		k.create(t, "watched")
		k.create(t, "written")
		watch := make(chan error, 1)
		go func() {
			watch <- k.WatchFiles(t.Context(), admin, "watched", "/tmp", container.WatchFilesOptions{},
				func(container.FileEvent) error { return nil })
		}()
		r, w := io.Pipe()
		written := make(chan error, 1)
		go func() {
			_, err := k.WriteFile(t.Context(), admin, "written", "/tmp/a", r, container.WriteFileOptions{})
			written <- err
		}()
		for range 6 {
			if _, err := w.Write([]byte("slow")); err != nil {
				t.Fatal(err)
			}
			time.Sleep(20 * time.Minute)
		}
		k.status(t, "watched", session.StatusStopped)
		wantCode(t, <-watch, session.CodeSessionNotRunning)
		k.status(t, "written", session.StatusRunning)
		if err := errors.Join(w.Close(), <-written); err != nil {
			t.Error(err)
		}
		_, content, err := k.ReadFile(t.Context(), admin, "written", "/tmp/a", container.ReadFileOptions{})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(29 * time.Minute)
		if b, err := io.ReadAll(content); err != nil || len(b) != 24 {
			t.Errorf("read %q, %v", b, err)
		}
		time.Sleep(29 * time.Minute)
		k.status(t, "written", session.StatusRunning)
		// That it is open is no use of it.
		time.Sleep(2 * time.Minute)
		k.status(t, "written", session.StatusStopped)
		if err := content.Close(); err != nil {
			t.Error(err)
		}
	}, func(c *session.Config) { c.IdleTimeout, c.ReconcileInterval = 30*time.Minute, 10*time.Second })
}
