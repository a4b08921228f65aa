package containertest

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"path"
	"slices"
	"strings"

	"github.com/octobot-run/octobot/internal/container"
)

var fileCases = []testCase{
	{"in and out", testCopy},
	{"not running", testCopyNotRunning},
	{"directory out", testCopyDirectory},
	{"links out", testCopyLinks},
	{"modes and owners", testCopyModes},
	{"missing path", testCopyMissing},
	{"paths", testCopyBadPath},
}

// packed is a tar archive.
func packed(files ...tar.Header) *bytes.Buffer {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range files {
		data := h.PAXRecords["test.data"]
		h.PAXRecords = nil
		h.Size = int64(len(data))
		// Writes to a buffer do not fail, and a bad header shows in what comes of it.
		_ = w.WriteHeader(&h)
		_, _ = io.WriteString(w, data)
	}
	_ = w.Close()
	return &b
}

func emptyTar() io.Reader { return packed() }

func regular(name, data string) tar.Header {
	return tar.Header{Name: name, Mode: 0o644, Typeflag: tar.TypeReg, PAXRecords: map[string]string{"test.data": data}}
}

// unpacked reads an archive to its end: name to content.
func (f *fixture) unpacked(c container.Copier, id, path string) (map[string]string, []string) {
	f.Helper()
	r, err := c.CopyFrom(f.ctx, id, path)
	f.must(err)
	defer r.Close()
	files := make(map[string]string)
	var names []string
	archive := tar.NewReader(r)
	for {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		f.must(err)
		data, err := io.ReadAll(archive)
		f.must(err)
		files[h.Name] = string(data)
		names = append(names, h.Name)
	}
	return files, names
}

func testCopy(f *fixture) {
	id := f.shared()
	c, ok := optional[container.Copier](f)
	if !ok {
		return
	}
	random := make([]byte, 3<<20)
	_, _ = rand.NewChaCha8([32]byte{2}).Read(random) // never fails
	f.must(c.CopyTo(f.ctx, id, "/tmp", packed(regular("text", "hello\n"), regular("binary", string(random)))))
	f.equal("text", f.exec(id, container.ExecOptions{}, "cat", "/tmp/text").Stdout, "hello\n")
	f.equal("binary", f.exec(id, container.ExecOptions{}, "cat", "/tmp/binary").Stdout, string(random))

	files, _ := f.unpacked(c, id, "/tmp/binary")
	f.equal("number of files", len(files), 1)
	f.equal("binary", files["binary"], string(random))

	// A second time replaces.
	f.must(c.CopyTo(f.ctx, id, "/tmp", packed(regular("text", "bye\n"))))
	f.equal("text", f.exec(id, container.ExecOptions{}, "cat", "/tmp/text").Stdout, "bye\n")
}

func testCopyNotRunning(f *fixture) {
	c, ok := optional[container.Copier](f)
	if !ok {
		return
	}
	id := f.id("s")
	f.create(id, f.idle())
	f.must(c.CopyTo(f.ctx, id, "/tmp", packed(regular("before", "x"))))
	f.must(f.rt.Start(f.ctx, id))
	f.equal("file", f.sh(id, "cat /tmp/before"), "x")
	if !f.caps.KeepsFilesOnStop {
		return
	}
	f.must(f.rt.Stop(f.ctx, id, 0))
	files, _ := f.unpacked(c, id, "/tmp/before")
	f.equal("file", files["before"], "x")
}

func testCopyDirectory(f *fixture) {
	id := f.shared()
	c, ok := optional[container.Copier](f)
	if !ok {
		return
	}
	f.sh(id, "mkdir -p /tmp/d/sub; echo 1 > /tmp/d/one; echo 2 > /tmp/d/sub/two")
	files, names := f.unpacked(c, id, "/tmp/d")
	for i, name := range names {
		names[i] = strings.TrimSuffix(name, "/") // which some engines end directories with
	}
	slices.Sort(names)
	if want := []string{"d", "d/one", "d/sub", "d/sub/two"}; !slices.Equal(names, want) {
		f.Fatalf("names are %q; want %q", names, want)
	}
	f.equal("file", files["d/sub/two"], "2\n")
}

func testCopyLinks(f *fixture) {
	id := f.shared()
	c, ok := optional[container.Copier](f)
	if !ok {
		return
	}
	f.sh(id, "cd /tmp; echo 1 > one; ln -s one link")
	r, err := c.CopyFrom(f.ctx, id, "/tmp/link")
	f.must(err)
	h, err := tar.NewReader(r).Next()
	f.must(errors.Join(err, r.Close()))
	f.equal("name", h.Name, "link")
	f.equal("type", h.Typeflag, byte(tar.TypeSymlink))
	f.equal("target's name", path.Base(h.Linkname), "one")
}

func testCopyModes(f *fixture) {
	id := f.shared()
	c, ok := optional[container.Copier](f)
	if !ok {
		return
	}
	owned := regular("owned", "x")
	owned.Mode, owned.Uid, owned.Gid = 0o751, 1000, 1000
	f.must(c.CopyTo(f.ctx, id, "/tmp", packed(owned)))
	r, err := c.CopyFrom(f.ctx, id, "/tmp/owned")
	f.must(err)
	defer r.Close()
	h, err := tar.NewReader(r).Next()
	f.must(err)
	f.equal("mode", h.Mode&0o777, int64(0o751))
	f.equal("uid", h.Uid, 1000)
	f.equal("gid", h.Gid, 1000)
}

func testCopyMissing(f *fixture) {
	id := f.shared()
	c, ok := optional[container.Copier](f)
	if !ok {
		return
	}
	f.class(c.CopyTo(f.ctx, id, "/no/such/directory", packed(regular("x", "x"))), container.ErrPathNotFound)
	f.class(c.CopyTo(f.ctx, id, "/etc/passwd", packed(regular("x", "x"))), container.ErrPathNotFound)
	r, err := c.CopyFrom(f.ctx, id, "/no/such/file")
	if err == nil {
		_ = r.Close()
	}
	f.class(err, container.ErrPathNotFound)
}

func testCopyBadPath(f *fixture) {
	id := f.shared()
	c, ok := optional[container.Copier](f)
	if !ok {
		return
	}
	for _, path := range []string{"", "relative", "/a\x00b", "/\xff"} {
		f.class(c.CopyTo(f.ctx, id, path, emptyTar()), container.ErrInvalidArgument)
		r, err := c.CopyFrom(f.ctx, id, path)
		if err == nil {
			_ = r.Close()
		}
		f.class(err, container.ErrInvalidArgument)
	}
}
