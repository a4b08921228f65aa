package containertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing/iotest"

	"github.com/octobot-run/octobot/internal/container"
)

func testFileWrite(d *disk) {
	i, err := d.write(d.p("a/b/f"), "one", container.WriteFileOptions{Parents: true})
	d.must(err)
	d.equal("name", i.Name, "f")
	d.equal("type", i.Type, container.FileRegular)
	d.equal("size", i.Size, int64(3))
	d.equal("mode", i.Mode, uint32(0o644))
	d.equal("mode of what was made above", d.info(d.p("a/b")).Mode, uint32(0o755))
	now := d.info(d.p("a/b/f"))
	d.equal("version", i.Version, now.Version)
	d.equal("time", i.Modified.Equal(now.Modified), true)
	d.equal("content that a program sees", d.run("cat a/b/f"), "one")
	for _, data := range []string{"second", "3", ""} {
		d.equal("size", d.put(d.p("a/b/f"), data).Size, int64(len(data)))
		d.equal("content that a program sees", d.run("cat a/b/f"), data)
	}
	_, err = d.write(d.p("a/b/f"), "with parents that are there", container.WriteFileOptions{Parents: true, Sync: true})
	d.must(err)
	for _, path := range []string{"none/f", "a", "a/", "new/", "a/b/f/x", "a/b/f/"} {
		d.class(onlyError(d.write(d.p(path), "x", container.WriteFileOptions{})), container.ErrPathNotFound, path)
	}
	d.class(onlyError(d.write(d.p("a/b/f/x/y"), "x", container.WriteFileOptions{Parents: true})),
		container.ErrPathNotFound)
	d.class(onlyError(d.write("/", "x", container.WriteFileOptions{})), container.ErrPathNotFound)
	d.reads(d.p("a/b/f"), "with parents that are there")
	d.holds(d.dir, "a")
	d.holds(d.p("a"), "b")
	d.holds(d.p("a/b"), "f")
}

// testFileWriteWhole: while a file is written, all see the old one, or none.
func testFileWriteWhole(d *disk) {
	d.put(d.p("f"), "old")
	for _, path := range []string{d.p("f"), d.p("new")} {
		r, w := io.Pipe()
		written := make(chan error, 1)
		go func() {
			_, err := d.WriteFile(d.ctx, d.id, path, r, container.WriteFileOptions{})
			r.CloseWithError(err) // the test's writes must not wait for it then
			written <- err
		}()
		for range 8 { // more than fits anywhere on the way
			_, err := w.Write(make([]byte, 1<<20))
			d.must(err)
		}
		d.reads(d.p("f"), "old")
		d.gone(d.p("new"))
		d.must(w.Close())
		d.must(<-written)
		d.equal("size", d.info(path).Size, int64(8<<20))
		d.put(d.p("f"), "old")
	}
	d.holds(d.dir, "f", "new")
}

// testFileWriteFails: where the content fails, the old file stays and nothing else.
func testFileWriteFails(d *disk) {
	d.put(d.p("f"), "old")
	before := d.info(d.p("f"))
	for _, broken := range []error{errors.New("broken"), io.ErrUnexpectedEOF} { // which is no end
		for _, size := range []int{0, 10, 3 << 20} {
			for _, path := range []string{d.p("f"), d.p("new")} {
				r := io.MultiReader(bytes.NewReader(make([]byte, size)), iotest.ErrReader(broken))
				_, err := d.WriteFile(d.ctx, d.id, path, r, container.WriteFileOptions{})
				if !errors.Is(err, broken) {
					d.Errorf("%d bytes: error is %v; want the reader's own, %v", size, err, broken)
				}
			}
		}
	}
	d.holds(d.dir, "f")
	d.reads(d.p("f"), "old")
	d.equal("version", d.info(d.p("f")).Version, before.Version)
}

// testFileWriteLeft: the same where the caller leaves, while a Read waits that never comes back.
func testFileWriteLeft(d *disk) {
	d.put(d.p("f"), "old")
	for _, path := range []string{d.p("f"), d.p("new")} {
		ctx, cancel := context.WithCancel(d.ctx)
		r, w := io.Pipe()
		left := make(chan error, 1)
		go func() {
			_, err := d.WriteFile(ctx, d.id, path, r, container.WriteFileOptions{})
			left <- err
		}()
		_, err := w.Write(make([]byte, 1<<20))
		d.must(err)
		cancel()
		d.mustBePrompt("leaving", func() { d.class(<-left, context.Canceled) })
		d.must(w.Close())
	}
	d.holds(d.dir, "f")
	d.reads(d.p("f"), "old")
}

// testFileManyWriters: what is there is always what one of them has written, as a whole.
func testFileManyWriters(d *disk) {
	const size = 300_000
	content := func(i int) string { return strings.Repeat(string(rune('a'+i)), size) }
	check := func() error {
		got, err := d.read(d.p("f"), container.ReadFileOptions{})
		if err == nil && (len(got) != size || got != strings.Repeat(got[:1], size)) {
			err = fmt.Errorf("%d bytes are there, %.8q…", len(got), got)
		}
		return err
	}
	d.put(d.p("f"), content(0))
	var work sync.WaitGroup
	for i := range 4 {
		work.Go(func() {
			for range 5 {
				if err := onlyError(d.write(d.p("f"), content(i), container.WriteFileOptions{})); err != nil {
					d.Error(err)
				}
			}
		})
		work.Go(func() {
			for range 5 {
				if err := check(); err != nil {
					d.Error(err)
				}
			}
		})
	}
	work.Wait()
	d.must(check())
	d.holds(d.dir, "f")
}

// testFileDiskFull: it says so, and leaves what was there.
func testFileDiskFull(d *disk) {
	d.put(smallDisk+"/f", "old")
	d.class(onlyError(d.write(smallDisk+"/f", noise(1, 2<<20), container.WriteFileOptions{})), container.ErrNoSpace)
	d.reads(smallDisk+"/f", "old")
	d.holds(smallDisk, "f")
	d.put(smallDisk+"/f", noise(1, 100_000))

	// To move is not to copy.
	d.put(d.p("f"), "x")
	d.class(d.move(d.p("f"), smallDisk+"/moved", false), container.ErrInvalidArgument)
	d.class(d.move(smallDisk+"/f", d.p("moved"), true), container.ErrInvalidArgument)
	d.holds(d.dir, "f")
	d.holds(smallDisk, "f")
}

// owned checks whose a file is, and its mode.
func (d *disk) owned(path string, uid, gid int64, mode uint32) {
	d.Helper()
	i := d.info(path)
	d.equal("owner, group and mode of "+path, fmt.Sprintf("%d %d %o", i.UID, i.GID, i.Mode),
		fmt.Sprintf("%d %d %o", uid, gid, mode))
}

func testFileWriteOwner(d *disk) {
	d.run("chmod 777 .; echo x > theirs; chown 1000:1000 theirs; chmod 640 theirs; echo x > ours; chmod 666 ours; " +
		"echo x > setuid; chmod 6755 setuid")
	user := d.as("1000:1000")
	write := func(u *disk, name string, opts container.WriteFileOptions) {
		d.Helper()
		i, err := u.write(d.p(name), "y", opts)
		d.must(err)
		d.owned(d.p(name), i.UID, i.GID, i.Mode)
	}
	// Root's writes leave a file whose it is.
	write(d, "theirs", container.WriteFileOptions{})
	d.owned(d.p("theirs"), 1000, 1000, 0o640)
	write(d, "theirs", container.WriteFileOptions{Mode: 0o600})
	d.owned(d.p("theirs"), 1000, 1000, 0o600)
	write(d, "theirs", container.WriteFileOptions{Owner: "4321:4322"})
	d.owned(d.p("theirs"), 4321, 4322, 0o600)
	write(d, "theirs", container.WriteFileOptions{Owner: "root:0", Mode: 0o604})
	d.owned(d.p("theirs"), 0, 0, 0o604)
	write(d, "new", container.WriteFileOptions{Mode: 0o751, Owner: "user:1000"})
	d.owned(d.p("new"), 1000, 1000, 0o751)
	// What another writes is that one's.
	write(user, "ours", container.WriteFileOptions{})
	d.owned(d.p("ours"), 1000, 1000, 0o666)
	write(user, "user's", container.WriteFileOptions{Owner: "1000:1000", Mode: 0o400})
	d.owned(d.p("user's"), 1000, 1000, 0o400)
	d.class(onlyError(user.write(d.p("given"), "x", container.WriteFileOptions{Owner: "root"})),
		container.ErrPermission)
	d.gone(d.p("given"))
	write(d.as("4321:4322"), "stranger's", container.WriteFileOptions{})
	d.owned(d.p("stranger's"), 4321, 4322, 0o644)
	// Other content does not run as somebody else.
	write(d, "setuid", container.WriteFileOptions{})
	d.owned(d.p("setuid"), 0, 0, 0o755)
	i, err := user.write(d.p("x/y/f"), "x", container.WriteFileOptions{Parents: true})
	d.must(err)
	d.equal("uid", i.UID, int64(1000))
	d.owned(d.p("x"), 1000, 1000, 0o755)
	d.owned(d.p("x/y"), 1000, 1000, 0o755)
}

func testFileNew(d *disk) {
	d.run("mkdir sub; ln -s f link")
	fresh := container.WriteFileOptions{New: true}
	i, err := d.write(d.p("f"), "first", fresh)
	d.must(err)
	for _, name := range []string{"f", "link", "sub"} {
		d.class(onlyError(d.write(d.p(name), "second", fresh)), container.ErrPathExists, name)
	}
	d.reads(d.p("f"), "first")
	d.equal("version", d.info(d.p("f")).Version, i.Version)
	d.holds(d.dir, "f", "link", "sub")

	// Of many, one makes it, as a whole.
	var (
		work sync.WaitGroup
		mu   sync.Mutex
		won  []string
	)
	for n := range 6 {
		work.Go(func() {
			data := strings.Repeat(string(rune('a'+n)), 1000)
			_, err := d.write(d.p("one"), data, fresh)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				won = append(won, data)
			} else if container.ClassOf(err) != container.ErrPathExists {
				d.Error(err)
			}
		})
	}
	work.Wait()
	d.equal("number of those that made it", len(won), 1)
	d.reads(d.p("one"), won[0])
	d.holds(d.dir, "f", "link", "one", "sub")
}

func testFileVersion(d *disk) {
	d.run("ln -s f link")
	with := func(version string) container.WriteFileOptions { return container.WriteFileOptions{Version: version} }
	for _, version := range []string{"*", "abc123"} {
		d.class(onlyError(d.write(d.p("f"), "x", with(version))), container.ErrPathChanged, version)
	}
	d.holds(d.dir, "link")
	first := d.put(d.p("f"), "1")
	if first.Version == "" {
		d.Fatal("a file has no version")
	}
	second, err := d.write(d.p("f"), "2", with(first.Version))
	d.must(err)
	if second.Version == first.Version {
		d.Fatalf("the version stays %s", first.Version)
	}
	d.class(onlyError(d.write(d.p("f"), "x", with(first.Version))), container.ErrPathChanged)
	d.reads(d.p("f"), "2")
	third, err := d.write(d.p("link"), "3", with(second.Version))
	d.must(err)
	_, err = d.write(d.p("f"), "4", with("*"))
	d.must(err)
	d.class(onlyError(d.write(d.p("f"), "x", with(third.Version))), container.ErrPathChanged)
	d.reads(d.p("f"), "4")

	// Even where the content comes to be the same.
	i := d.put(d.p("f"), "4")
	j := d.put(d.p("f"), "4")
	if i.Version == j.Version {
		d.Errorf("a file that was replaced has the same version")
	}

	// A change that comes while the content does is not lost.
	r, w := io.Pipe()
	written := make(chan error, 1)
	go func() {
		_, err := d.WriteFile(d.ctx, d.id, d.p("f"), r, with(j.Version))
		r.CloseWithError(err)
		written <- err
	}()
	_, err = w.Write(make([]byte, 1<<20))
	d.must(err)
	d.put(d.p("f"), "meanwhile")
	_ = w.Close() // the write may have been refused already
	d.class(<-written, container.ErrPathChanged)
	d.reads(d.p("f"), "meanwhile")
	d.must(d.remove(d.p("f"), false))
	d.class(onlyError(d.write(d.p("f"), "x", with("*"))), container.ErrPathChanged)
	d.holds(d.dir, "link")
}

// testFileVersionProgram: what programs write changes the version, once the kernel's clock has
// ticked.
func testFileVersionProgram(d *disk) {
	for _, script := range []string{"echo x > f", "echo x >> f", "echo x > g; mv g f"} {
		i := d.put(d.p("f"), "y\n")
		d.poll("another version after "+script, func() bool {
			d.run(script)
			return d.info(d.p("f")).Version != i.Version
		})
		d.class(onlyError(d.write(d.p("f"), "z", container.WriteFileOptions{Version: i.Version})),
			container.ErrPathChanged)
	}
}

func testFileWriteLinks(d *disk) {
	d.run("mkdir sub; echo x > sub/f; chmod 640 sub/f; ln -s sub/f link; ln -s sub/new dangling; ln -s sub dir; " +
		"ln -s link again; ln -s loop loop; ln -s none/f nowhere; ln -s sub/f/ slash")
	d.put(d.p("link"), "y")
	d.put(d.p("dangling"), "z")
	d.put(d.p("dir/g"), "g")
	d.equal("content", d.run("cat sub/f sub/new sub/g"), "yzg")
	d.put(d.p("again"), "w")
	d.reads(d.p("sub/f"), "w")
	d.owned(d.p("sub/f"), 0, 0, 0o640)
	for name, target := range map[string]string{"link": "sub/f", "dangling": "sub/new", "dir": "sub", "again": "link"} {
		d.equal("target of "+name, d.info(d.p(name)).Target, target)
	}
	d.class(onlyError(d.write(d.p("loop"), "x", container.WriteFileOptions{})), container.ErrPathNotFound)
	d.class(onlyError(d.write(d.p("nowhere"), "x", container.WriteFileOptions{})), container.ErrPathNotFound)
	d.class(onlyError(d.write(d.p("dir"), "x", container.WriteFileOptions{})), container.ErrPathNotFound)
	d.holds(d.dir, "again", "dangling", "dir", "link", "loop", "nowhere", "slash", "sub")
	d.holds(d.p("sub"), "f", "g", "new")

	// Other names of a file keep what they have: it is the one that was written that is replaced.
	d.run("ln sub/f hard")
	d.put(d.p("sub/f"), "other")
	d.reads(d.p("hard"), "w")
}
