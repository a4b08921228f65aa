package containertest

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"testing/iotest"
	"time"

	"github.com/octobot-run/octobot/internal/container"
)

var archiveCases = onArchives([]sharedCase{
	{"pack a tree", testPackTree},
	{"pack what a directory holds", testPackContent},
	{"pack a file, a link, a hard link", testPackFiles},
	{"pack what can't be", testPackBad},
	{"packing is left", testPackLeft},
	{"there and back", testPackUnpack},
	{"unpack", testUnpack},
	{"merge and replace", testUnpackMerge},
	{"modes and owners of what is unpacked", testUnpackOwners},
	{"links in an archive", testUnpackLinks},
	{"names that lead elsewhere", testUnpackElsewhere},
	{"links that lead elsewhere", testUnpackThrough},
	{"devices are left out", testUnpackDevices},
	{"long and odd names", testUnpackNames},
	{"archive that is cut", testUnpackCut},
	{"archive that fails", testUnpackFails},
	{"unpack where one can't", testUnpackBad},
})

// onArchives leaves the cases out where there are none.
func onArchives(cases []sharedCase) []sharedCase {
	for i := range cases {
		run := cases[i].run
		cases[i].run = func(d *disk) {
			if _, ok := optional[container.FileArchiver](d.fixture); ok {
				run(d)
			}
		}
	}
	return cases
}

// entry is what an archive has of a file.
type entry struct {
	tar.Header
	data string
}

func (d *disk) packWith(a container.FileArchiver, path string) (map[string]entry, error) {
	r, err := a.PackFiles(d.ctx, d.id, path, d.user)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return readEntries(r)
}

// readEntries reads an archive to its end: what there is of each name, without the slash that ends
// those of directories.
func readEntries(r io.Reader) (map[string]entry, error) {
	entries := make(map[string]entry)
	archive := tar.NewReader(r)
	for {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return entries, nil
		}
		if err != nil {
			return nil, err
		}
		data, err := io.ReadAll(archive)
		if err != nil {
			return nil, err
		}
		name := strings.TrimSuffix(h.Name, "/")
		if _, again := entries[name]; again {
			return nil, fmt.Errorf("%q is packed twice", name)
		}
		entries[name] = entry{*h, string(data)}
	}
}

func (d *disk) archiver() container.FileArchiver {
	a, _ := container.As[container.FileArchiver](d.rt) // onArchives has looked
	return a
}

// pack packs what can be packed.
func (d *disk) pack(path string) map[string]entry {
	d.Helper()
	entries, err := d.packWith(d.archiver(), path)
	d.must(err)
	return entries
}

// packs checks the names that an archive has.
func (d *disk) packs(path string, want ...string) map[string]entry {
	d.Helper()
	entries := d.pack(path)
	var names []string
	for name := range entries {
		names = append(names, name)
	}
	slices.Sort(names)
	if !slices.Equal(names, want) {
		d.Fatalf("%s is packed as %q; want %q", path, names, want)
	}
	return entries
}

func (d *disk) unpackWith(
	a container.FileArchiver, dir string, r io.Reader, opts container.UnpackFilesOptions,
) error {
	opts.User = d.user
	return a.UnpackFiles(d.ctx, d.id, dir, r, opts)
}

// unpack unpacks files into a directory.
func (d *disk) unpack(dir string, files ...tar.Header) error {
	return d.unpackWith(d.archiver(), dir, packed(files...), container.UnpackFilesOptions{})
}

func folder(name string, mode int64) tar.Header {
	return tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: mode}
}

func symlink(name, target string) tar.Header {
	return tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777}
}

func hardLink(name, target string) tar.Header {
	return tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: target, Mode: 0o644}
}

func testPackTree(d *disk) {
	d.run("mkdir -p t/sub/empty; echo 1 > t/one; chmod 751 t/one; chown 1000:1000 t/one; echo 22 > t/sub/two; " +
		"ln -s ../none t/sub/link; ln -s sub t/dir; mkfifo t/fifo; chmod 1770 t/sub; : > t/nothing")
	entries := d.packs(d.p("t"), "t", "t/dir", "t/nothing", "t/one", "t/sub", "t/sub/empty", "t/sub/link", "t/sub/two")
	one := entries["t/one"]
	d.equal("content", one.data, "1\n")
	d.equal("mode", one.Mode&0o7777, int64(0o751))
	d.equal("uid", one.Uid, 1000)
	d.equal("gid", one.Gid, 1000)
	d.equal("type", one.Typeflag, byte(tar.TypeReg))
	if off := one.ModTime.Sub(d.info(d.p("t/one")).Modified).Abs(); off > time.Second {
		d.Errorf("the time is %v, which is %v off", one.ModTime, off)
	}
	d.equal("mode", entries["t/sub"].Mode&0o7777, int64(0o1770))
	d.equal("type", entries["t/sub"].Typeflag, byte(tar.TypeDir))
	d.equal("content", entries["t/sub/two"].data, "22\n")
	d.equal("type", entries["t/sub/link"].Typeflag, byte(tar.TypeSymlink))
	d.equal("target", entries["t/sub/link"].Linkname, "../none")
	d.equal("target", entries["t/dir"].Linkname, "sub")
}

func testPackContent(d *disk) {
	d.run("mkdir -p t/sub; echo 1 > t/one; echo 2 > t/sub/two; ln -s t link")
	for _, path := range []string{"t/.", "link/."} {
		entries := d.packs(d.p(path), ".", "./one", "./sub", "./sub/two")
		d.equal("type", entries["."].Typeflag, byte(tar.TypeDir))
		d.equal("content", entries["./sub/two"].data, "2\n")
	}
	d.packs(d.p("t/sub/."), ".", "./two")
}

func testPackFiles(d *disk) {
	d.run("mkdir t; echo one > t/a; ln t/a t/b; ln -s a t/link; ln -s none t/dangling; ln -s . t/dir")
	d.equal("content", d.packs(d.p("t/a"), "a")["a"].data, "one\n")
	for name, target := range map[string]string{"link": "a", "dangling": "none", "dir": "."} {
		link := d.packs(d.p("t/"+name), name)[name]
		d.equal("type of "+name, link.Typeflag, byte(tar.TypeSymlink))
		d.equal("target of "+name, link.Linkname, target)
	}
	entries := d.packs(d.p("t"), "t", "t/a", "t/b", "t/dangling", "t/dir", "t/link")
	a, b := entries["t/a"], entries["t/b"]
	if a.Typeflag == tar.TypeLink { // the directory's order says which comes first
		a, b = b, a
	}
	d.equal("type of the file", a.Typeflag, byte(tar.TypeReg))
	d.equal("content of the file", a.data, "one\n")
	d.equal("type of its other name", b.Typeflag, byte(tar.TypeLink))
	d.equal("what it is a name of", b.Linkname, a.Name)
}

func testPackBad(d *disk) {
	d.run("mkfifo fifo; echo x > f; ln -s loop loop")
	for _, path := range []string{"none", "none/.", "f/.", "f/x", "fifo", "loop/."} {
		r, err := d.archiver().PackFiles(d.ctx, d.id, d.p(path), "")
		if err == nil {
			_ = r.Close()
		}
		d.class(err, container.ErrPathNotFound, path)
	}
}

// testPackLeft: who does not read on holds up nobody, and may leave.
func testPackLeft(d *disk) {
	d.put(d.p("f"), noise(5, 8<<20))
	ctx, cancel := context.WithCancel(d.ctx)
	defer cancel()
	r, err := d.archiver().PackFiles(ctx, d.id, d.p("f"), "")
	d.must(err)
	defer r.Close()
	_, err = io.ReadFull(r, make([]byte, 1000))
	d.must(err)
	d.mustBePrompt("another", func() { d.packs(d.p("."), ".", "./f") })
	cancel()
	d.mustBePrompt("cancelled read", func() {
		_, err := io.Copy(io.Discard, r)
		d.class(err, context.Canceled)
	})
	r, err = d.archiver().PackFiles(d.ctx, d.id, d.p("f"), "")
	d.must(err)
	d.must(r.Close())
	if _, err := r.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
		d.Errorf("a read after Close gives %v", err)
	}
}

// testPackUnpack: what is packed in one place is the same in another.
func testPackUnpack(d *disk) {
	random := noise(6, 8<<20+3)
	d.run("mkdir -p from/sub/deep to; cd from; echo x > sub/f; chmod 4755 sub/f; ln sub/f hard; ln -s sub/f link; " +
		"chown 1000:1000 sub; chmod 700 sub/deep; mkfifo sub/fifo")
	d.put(d.p("from/random"), random)
	names := []string{strings.Repeat("n", 255), "a\nb", "\xff\xfe", "日本", "-rf"}
	for _, name := range names {
		d.put(d.p("from/sub/deep/"+name), name)
	}
	r, err := d.archiver().PackFiles(d.ctx, d.id, d.p("from/."), "")
	d.must(err)
	defer r.Close()
	d.must(d.unpackWith(d.archiver(), d.p("to"), r, container.UnpackFilesOptions{Owners: true}))
	d.reads(d.p("to/random"), random)
	d.owned(d.p("to/sub"), 1000, 1000, 0o755)
	d.owned(d.p("to/sub/deep"), 0, 0, 0o700)
	d.owned(d.p("to/sub/f"), 0, 0, 0o4755)
	d.equal("target", d.info(d.p("to/link")).Target, "sub/f")
	d.run("echo y >> to/hard")
	d.reads(d.p("to/sub/f"), "x\ny\n")
	d.reads(d.p("from/sub/f"), "x\n")
	slices.Sort(names)
	d.holds(d.p("to/sub/deep"), names...)
	for _, name := range names {
		d.reads(d.p("to/sub/deep/"+name), name)
	}
	d.holds(d.p("to/sub"), "deep", "f")
	d.holds(d.p("to"), "hard", "link", "random", "sub")
}

func testUnpack(d *disk) {
	when := time.Unix(1_000_000_000, 0)
	one := regular("a/b/one", "1")
	one.Mode, one.ModTime = 0o640, when
	sub := folder("a/sub/", 0o711)
	sub.ModTime = when
	d.must(d.unpack(d.dir, sub, one, regular("./a/sub/two", "2"), regular("empty", "")))
	d.reads(d.p("a/b/one"), "1")
	d.equal("time", d.info(d.p("a/b/one")).Modified.Unix(), when.Unix())
	d.owned(d.p("a/b/one"), 0, 0, 0o640)
	d.owned(d.p("a/b"), 0, 0, 0o755)
	d.owned(d.p("a/sub"), 0, 0, 0o711)
	d.reads(d.p("a/sub/two"), "2")
	d.reads(d.p("empty"), "")
	d.holds(d.dir, "a", "empty")
	d.must(d.unpack(d.dir))
	d.holds(d.dir, "a", "empty")
	d.run("ln -s a link")
	d.must(d.unpack(d.p("link"), regular("through", "x"))) // the directory may be a link
	d.reads(d.p("a/through"), "x")
}

func testUnpackMerge(d *disk) {
	d.run("mkdir -p t/sub t/dir target; echo old > t/f; chmod 600 t/f; echo kept > t/sub/kept; echo old > t/sub/g; " +
		"ln -s ../target/f t/link; echo target > target/f; ln t/f t/hard; ln -s ../target t/dirlink")
	d.must(d.unpack(d.p("t"), folder("./", 0o700), folder("sub/", 0o750), regular("f", "new"), regular("sub/g", "new"),
		regular("link", "new"), symlink("hard2", "f")))
	d.reads(d.p("t/f"), "new")
	d.equal("mode", d.info(d.p("t/f")).Mode, uint32(0o644))
	d.reads(d.p("t/hard"), "old\n") // it was another name of what was replaced
	d.reads(d.p("t/sub/kept"), "kept\n")
	d.reads(d.p("t/sub/g"), "new")
	d.equal("mode of a directory", d.info(d.p("t/sub")).Mode, uint32(0o750))
	d.equal("mode of the directory itself", d.info(d.p("t")).Mode, uint32(0o755))
	d.equal("type of what was a link", d.info(d.p("t/link")).Type, container.FileRegular)
	d.reads(d.p("target/f"), "target\n")
	d.must(d.unpack(d.p("t"), symlink("f", "other"), regular("sub/g", "newer")))
	d.equal("target", d.info(d.p("t/f")).Target, "other")
	d.reads(d.p("t/sub/g"), "newer")

	for what, h := range map[string]tar.Header{
		"directory for a file":  folder("sub/g/", 0o755),
		"file for a directory":  regular("sub", "x"),
		"link for a directory":  symlink("dir", "sub"),
		"hard for a directory":  hardLink("dir", "link"),
		"directory for a link":  folder("dirlink/", 0o755),
		"directory for nothing": folder("f/", 0o755),
	} {
		d.class(d.unpack(d.p("t"), h), container.ErrPathExists, what)
	}
	d.reads(d.p("t/sub/g"), "newer")
	d.holds(d.p("t"), "dir", "dirlink", "f", "hard", "hard2", "link", "sub")
	d.holds(d.p("target"), "f")
}

func testUnpackOwners(d *disk) {
	owned := func(h tar.Header, uid, gid int) tar.Header {
		h.Uid, h.Gid = uid, gid
		return h
	}
	special := regular("setuid", "x")
	special.Mode = 0o6755
	files := []tar.Header{
		owned(regular("f", "x"), 4321, 4322), owned(folder("sub/", 0o1777), 1000, 1000), owned(special, 1000, 1000),
		owned(symlink("link", "f"), 4321, 4322),
	}
	d.run("mkdir root user with; chmod 777 user")
	d.must(d.unpack(d.p("root"), files...))
	d.owned(d.p("root/f"), 0, 0, 0o644)
	d.owned(d.p("root/sub"), 0, 0, 0o777)
	d.owned(d.p("root/setuid"), 0, 0, 0o755)

	user := d.as("1000:1000")
	d.must(user.unpack(d.p("user"), files...))
	d.owned(d.p("user/f"), 1000, 1000, 0o644)
	d.owned(d.p("user/sub"), 1000, 1000, 0o777)
	d.owned(d.p("user/setuid"), 1000, 1000, 0o755)
	d.equal("owner of a link", d.info(d.p("user/link")).UID, int64(1000))

	owners := container.UnpackFilesOptions{Owners: true}
	d.must(d.unpackWith(d.archiver(), d.p("with"), packed(files...), owners))
	d.owned(d.p("with/f"), 4321, 4322, 0o644)
	d.owned(d.p("with/sub"), 1000, 1000, 0o1777)
	d.owned(d.p("with/setuid"), 1000, 1000, 0o6755)
	d.equal("owner of a link", d.info(d.p("with/link")).UID, int64(4321))
	d.class(user.unpackWith(d.archiver(), d.p("user"), packed(files...), owners), container.ErrPermission)
}

func testUnpackLinks(d *disk) {
	d.must(d.unpack(d.dir, regular("sub/f", "one"), hardLink("hard", "sub/f"), symlink("link", "sub/f"),
		symlink("far", "/etc/passwd"), symlink("up", "../.."), symlink("dir", "sub")))
	d.reads(d.p("link"), "one")
	d.must(d.unpack(d.dir, regular("dir/g", "two")))
	d.reads(d.p("sub/g"), "two") // a link that was there, and stays inside, is followed
	for _, last := range []tar.Header{regular("own/g", "x"), folder("own/d/", 0o755), hardLink("h", "own/g"),
		regular("too/g", "x")} {
		d.class(d.unpack(d.dir, symlink("own", "sub"), hardLink("too", "own"), last), container.ErrInvalidArgument,
			last.Name)
	}
	d.reads(d.p("sub/g"), "two")
	d.run("rm own too")
	for name, target := range map[string]string{"link": "sub/f", "far": "/etc/passwd", "up": "../..", "dir": "sub"} {
		d.equal("target of "+name, d.info(d.p(name)).Target, target)
	}
	d.run("echo more >> hard")
	d.reads(d.p("sub/f"), "onemore\n")
	d.class(d.unpack(d.dir, hardLink("h", "none")), container.ErrPathNotFound)
	d.gone(d.p("h"))
}

// testUnpackElsewhere: no name leads out of the directory.
func testUnpackElsewhere(d *disk) {
	d.run("mkdir in; echo x > f; echo x > in/inside")
	for _, name := range []string{"../f", "../new", "sub/../../new", "..", "a/../../../tmp/new", "./../new"} {
		d.class(d.unpack(d.p("in"), regular(name, "y")), container.ErrInvalidArgument, name)
		d.class(d.unpack(d.p("in"), symlink(name, "y")), container.ErrInvalidArgument, name)
		d.class(d.unpack(d.p("in"), folder(name+"/", 0o777)), container.ErrInvalidArgument, name)
		d.class(d.unpack(d.p("in"), hardLink(name, "inside")), container.ErrInvalidArgument, name)
		d.class(d.unpack(d.p("in"), hardLink("h", name)), container.ErrInvalidArgument, name)
	}
	// An absolute one is refused, or is one below the directory.
	outside := d.p("absolute")
	if err := d.unpack(d.p("in"), regular(outside, "y")); err != nil {
		d.class(err, container.ErrInvalidArgument)
	} else {
		d.reads(d.p("in")+outside, "y")
	}
	if err := d.unpack(d.p("in"), hardLink("h", d.p("f"))); err == nil ||
		container.ClassOf(err) != container.ErrInvalidArgument {
		d.class(err, container.ErrPathNotFound) // there is none below the directory
	}
	d.gone(d.p("in/h"))
	d.reads(d.p("f"), "x\n")
	d.holds(d.dir, "f", "in")
}

// testUnpackThrough: nor does a link, whoever has made it.
func testUnpackThrough(d *disk) {
	d.run("mkdir in outside; echo x > outside/f; ln -s ../outside in/there; ln -s " + d.p("outside") + " in/far; " +
		"ln -s ../outside/new in/new")
	for _, name := range []string{"there", "far"} {
		d.class(d.unpack(d.p("in"), regular(name+"/f", "y")), container.ErrInvalidArgument, name)
		d.class(d.unpack(d.p("in"), folder(name+"/sub/", 0o755)), container.ErrInvalidArgument, name)
		d.class(d.unpack(d.p("in"), hardLink("h", name+"/f")), container.ErrInvalidArgument, name)
	}
	d.class(d.unpack(d.p("in"), symlink("made", "../outside"), regular("made/f", "y")), container.ErrInvalidArgument)
	d.class(d.unpack(d.p("in"), symlink("a", ".."), symlink("b", "a/outside"), regular("b/f", "y")),
		container.ErrInvalidArgument)
	d.must(d.unpack(d.p("in"), regular("new", "y")))
	d.equal("type", d.info(d.p("in/new")).Type, container.FileRegular)
	d.must(d.unpackWith(d.archiver(), d.p("in"), packed(symlink("own", "../outside/f")),
		container.UnpackFilesOptions{Owners: true}))
	d.reads(d.p("outside/f"), "x\n")
	d.holds(d.p("outside"), "f")
}

func testUnpackDevices(d *disk) {
	device := func(kind byte, name string) tar.Header {
		return tar.Header{Typeflag: kind, Name: name, Mode: 0o666, Devmajor: 1, Devminor: 3}
	}
	d.mustBePrompt("unpack", func() {
		d.must(d.unpackWith(d.archiver(), d.dir,
			packed(device(tar.TypeChar, "char"), device(tar.TypeBlock, "sub/block"),
				device(tar.TypeFifo, "fifo"), regular("after", "x")), container.UnpackFilesOptions{Owners: true}))
	})
	d.reads(d.p("after"), "x")
	for _, name := range []string{"char", "sub/block", "fifo"} {
		d.gone(d.p(name))
	}
}

func testUnpackNames(d *disk) {
	deep := strings.Repeat("directory-with-a-long-name/", 20) + "f" // beyond what ustar holds
	names := []string{strings.Repeat("n", 255), deep, "a\nb", "\xff\xfe", "日本", " ", "-rf"}
	for _, name := range names {
		d.must(d.unpack(d.dir, regular(name, name)))
		d.reads(d.p(name), name)
	}
	target := strings.Repeat("t/", 150)
	d.must(d.unpack(d.dir, symlink("link", target)))
	d.equal("target", d.info(d.p("link")).Target, target)
	d.class(d.unpack(d.dir, regular(strings.Repeat("n", 256), "x")), container.ErrInvalidArgument)
}

// testUnpackCut: an archive that ends too early is none, and what was unpacked stays.
func testUnpackCut(d *disk) {
	whole := packed(regular("a", "first"), regular("b", noise(7, 100_000)), regular("c", "last")).Bytes()
	for name, archive := range map[string][]byte{
		"within a header":  whole[:1024+100],
		"within a file":    whole[:50_000],
		"no archive":       bytes.Repeat([]byte("no archive"), 1000),
		"a byte":           whole[:1],
		"nothing":          nil,
		"between entries":  whole[:1024],
		"broken in itself": append(slices.Clone(whole[:1024]), bytes.Repeat([]byte{'x'}, 4096)...),
	} {
		dir := d.p(path.Base(strings.ReplaceAll(name, " ", "-")))
		d.must(d.mkdir(dir, container.MakeDirectoryOptions{}))
		d.mustBePrompt(name, func() {
			err := d.unpackWith(d.archiver(), dir, bytes.NewReader(archive), container.UnpackFilesOptions{})
			d.class(err, container.ErrInvalidArgument, name)
		})
		d.gone(dir + "/c")
		if len(archive) >= 1024 && name != "no archive" {
			d.reads(dir+"/a", "first")
		}
	}
}

func testUnpackFails(d *disk) {
	whole := packed(regular("a", "first"), regular("b", noise(7, 3<<20))).Bytes()
	broken := errors.New("broken")
	for _, size := range []int{0, 100, 1024, 2 << 20} {
		r := io.MultiReader(bytes.NewReader(whole[:size]), iotest.ErrReader(broken))
		if err := d.unpackWith(d.archiver(), d.dir, r, container.UnpackFilesOptions{}); !errors.Is(err, broken) {
			d.Errorf("%d bytes: error is %v; want the reader's own", size, err)
		}
	}
	d.reads(d.p("a"), "first")

	ctx, cancel := context.WithCancel(d.ctx)
	r, w := io.Pipe()
	left := make(chan error, 1)
	go func() {
		left <- d.under(ctx).unpackWith(d.archiver(), d.dir, r, container.UnpackFilesOptions{})
	}()
	_, err := w.Write(whole[:2<<20])
	d.must(err)
	cancel()
	d.mustBePrompt("leaving", func() { d.class(<-left, context.Canceled) })
	d.must(w.Close())
}

func testUnpackBad(d *disk) {
	d.run("echo x > f; ln -s loop loop; ln -s none dangling")
	for _, path := range []string{"none", "f", "f/x", "loop", "dangling"} {
		d.class(d.unpack(d.p(path), regular("x", "y")), container.ErrPathNotFound, path)
	}
	d.class(d.unpack(smallDisk, regular("before", "x"), regular("big", noise(8, 2<<20))), container.ErrNoSpace)
	d.reads(smallDisk+"/before", "x")
	d.holds(d.dir, "dangling", "f", "loop")
}
