package containertest

import (
	"errors"
	"fmt"

	"github.com/octobot-run/octobot/internal/container"
)

func testFileMakeDirectory(d *disk) {
	parents := container.MakeDirectoryOptions{Parents: true}
	i, err := d.MakeDirectory(d.ctx, d.id, d.p("d"), container.MakeDirectoryOptions{})
	d.must(err)
	d.equal("name", i.Name, "d")
	d.equal("type", i.Type, container.FileDirectory)
	d.equal("mode", i.Mode, uint32(0o755))
	d.must(d.mkdir(d.p("open"), container.MakeDirectoryOptions{Mode: 0o1777}))
	d.equal("mode", d.info(d.p("open")).Mode, uint32(0o1777))
	d.class(d.mkdir(d.p("d"), container.MakeDirectoryOptions{}), container.ErrPathExists)
	d.must(d.mkdir(d.p("open"), container.MakeDirectoryOptions{Parents: true, Mode: 0o700}))
	d.equal("mode", d.info(d.p("open")).Mode, uint32(0o1777))

	d.class(d.mkdir(d.p("x/y/z"), container.MakeDirectoryOptions{}), container.ErrPathNotFound)
	d.must(d.mkdir(d.p("x/y/z/"), container.MakeDirectoryOptions{Parents: true, Mode: 0o711}))
	d.must(d.mkdir(d.p("x/y/z"), parents))
	d.owned(d.p("x"), 0, 0, 0o755)
	d.owned(d.p("x/y/z"), 0, 0, 0o711)
	d.holds(d.p("x/y"), "z")

	d.run("echo x > f; ln -s none dangling; ln -s d link")
	for _, name := range []string{"f", "dangling", "link"} {
		d.class(d.mkdir(d.p(name), container.MakeDirectoryOptions{}), container.ErrPathExists, name)
	}
	d.class(d.mkdir(d.p("f"), parents), container.ErrPathExists)
	d.class(d.mkdir(d.p("f/d"), parents), container.ErrPathNotFound)
	d.class(d.mkdir(d.p("f/d"), container.MakeDirectoryOptions{}), container.ErrPathNotFound)
	d.must(d.mkdir(d.p("link"), parents))
	d.must(d.mkdir(d.p("link/in"), parents))
	d.holds(d.p("d"), "in")
	d.class(d.mkdir("/", container.MakeDirectoryOptions{}), container.ErrPathExists)
	d.holds(d.dir, "d", "dangling", "f", "link", "open", "x")

	d.must(d.as("1000:1000").mkdir(d.p("open/a/b"), parents))
	d.owned(d.p("open/a"), 1000, 1000, 0o755)
	d.owned(d.p("open/a/b"), 1000, 1000, 0o755)
}

func testFileMove(d *disk) {
	d.run("mkdir -p d/sub empty other; echo a > a; echo b > b; echo c > d/sub/c; ln -s b link; chmod 600 a; " +
		"chown 1000:1000 a")
	d.class(d.move(d.p("a"), d.p("b"), false), container.ErrPathExists)
	d.class(d.move(d.p("a"), d.p("link"), false), container.ErrPathExists)
	d.class(d.move(d.p("a"), d.p("a"), false), container.ErrPathExists)
	d.reads(d.p("b"), "b\n")
	version := d.info(d.p("a")).Version
	d.must(d.move(d.p("a"), d.p("link"), true)) // in place of the link, not of its target
	d.reads(d.p("link"), "a\n")
	d.reads(d.p("b"), "b\n")
	d.must(d.move(d.p("link"), d.p("b"), true))
	d.reads(d.p("b"), "a\n")
	d.owned(d.p("b"), 1000, 1000, 0o600)
	if d.info(d.p("b")).Version == "" || version == "" {
		d.Error("a file has no version")
	}
	d.must(d.move(d.p("b"), d.p("new"), false))
	d.gone(d.p("b"))

	d.must(d.move(d.p("d"), d.p("e"), false))
	d.reads(d.p("e/sub/c"), "c\n")
	d.class(d.move(d.p("e"), d.p("empty"), false), container.ErrPathExists)
	d.must(d.move(d.p("e"), d.p("empty"), true))
	d.reads(d.p("empty/sub/c"), "c\n")
	d.class(d.move(d.p("other"), d.p("empty"), true), container.ErrPathExists)
	d.class(d.move(d.p("other"), d.p("new"), true), container.ErrPathExists)
	d.class(d.move(d.p("new"), d.p("other"), true), container.ErrPathExists)
	for _, path := range []string{"none/x", "new/x"} {
		d.class(d.move(d.p("new"), d.p(path), false), container.ErrPathNotFound, path)
		d.class(d.move(d.p(path), d.p("y"), false), container.ErrPathNotFound, path)
	}
	d.class(d.move(d.p("none"), d.p("y"), false), container.ErrPathNotFound)
	d.class(d.move(d.p("empty"), d.p("empty/sub/in"), false), container.ErrInvalidArgument)
	d.holds(d.dir, "empty", "new", "other")
}

func testFileRemove(d *disk) {
	d.run("mkdir -p d/sub/deep empty; echo a > a; echo c > d/sub/c; ln -s d link; ln -s ../a d/sub/out")
	d.must(d.remove(d.p("empty"), false))
	d.class(d.remove(d.p("empty"), false), container.ErrPathNotFound)
	d.class(d.remove(d.p("empty"), true), container.ErrPathNotFound)
	d.class(d.remove(d.p("none/x"), true), container.ErrPathNotFound)
	d.class(d.remove(d.p("a/x"), true), container.ErrPathNotFound)
	d.class(d.remove(d.p("d"), false), container.ErrPathExists)
	d.reads(d.p("d/sub/c"), "c\n")
	d.must(d.remove(d.p("link"), true))
	d.reads(d.p("d/sub/c"), "c\n")
	d.must(d.remove(d.p("d"), true))
	d.reads(d.p("a"), "a\n")
	d.must(d.remove(d.p("a"), true))
	d.class(d.remove(d.p("a"), false), container.ErrPathNotFound)
	d.holds(d.dir)
}

func testFileChange(d *disk) {
	d.run("echo x > f; ln -s f link; mkdir d")
	i, err := d.ChangeFile(d.ctx, d.id, d.p("link"), container.ChangeFileOptions{Mode: 0o4751, SetMode: true})
	d.must(err)
	d.equal("name", i.Name, "link")
	d.equal("type", i.Type, container.FileRegular)
	d.equal("mode", i.Mode, uint32(0o4751))
	d.owned(d.p("f"), 0, 0, 0o4751)
	d.equal("type", d.info(d.p("link")).Type, container.FileSymlink)

	d.must(d.change(d.p("f"), container.ChangeFileOptions{Mode: 0, SetMode: true}))
	d.owned(d.p("f"), 0, 0, 0)
	d.must(d.change(d.p("f"), container.ChangeFileOptions{Owner: "user:1000"}))
	d.owned(d.p("f"), 1000, 1000, 0)
	d.must(d.change(d.p("f"), container.ChangeFileOptions{Owner: "4321:4322", Mode: 0o4755, SetMode: true}))
	d.owned(d.p("f"), 4321, 4322, 0o4755)
	d.must(d.change(d.p("d"), container.ChangeFileOptions{Owner: "1000:1000", Mode: 0o1770, SetMode: true}))
	d.owned(d.p("d"), 1000, 1000, 0o1770)
	d.reads(d.p("f"), "x\n")
	d.class(d.change(d.p("none"), container.ChangeFileOptions{Owner: "1000:1000"}), container.ErrPathNotFound)

	// What is one's own, one may change, but not give away.
	user := d.as("1000:1000")
	d.must(user.change(d.p("d"), container.ChangeFileOptions{Mode: 0o700, SetMode: true}))
	d.class(user.change(d.p("d"), container.ChangeFileOptions{Owner: "root"}), container.ErrPermission)
	d.class(user.change(d.p("f"), container.ChangeFileOptions{Mode: 0o777, SetMode: true}), container.ErrPermission)
	d.owned(d.p("d"), 1000, 1000, 0o700)
}

func testFileChangeAll(d *disk) {
	d.run("mkdir -p t/sub/deep; echo x > t/f; echo x > t/sub/deep/g; echo x > outside; mkdir far; echo x > far/f; " +
		"ln -s ../outside t/link; ln -s ../../far t/sub/far")
	all := container.ChangeFileOptions{Owner: "1000:1000", Mode: 0o750, SetMode: true, Recursive: true}
	d.must(d.change(d.p("t"), all))
	for _, name := range []string{"t", "t/f", "t/sub", "t/sub/deep", "t/sub/deep/g"} {
		d.owned(d.p(name), 1000, 1000, 0o750)
	}
	for name, mode := range map[string]uint32{"outside": 0o644, "far": 0o755, "far/f": 0o644} {
		d.owned(d.p(name), 0, 0, mode)
	}
	d.equal("owner of a link", d.info(d.p("t/link")).UID, int64(0))
	d.must(d.change(d.p("outside"), all)) // of a file it is the same
	d.owned(d.p("outside"), 1000, 1000, 0o750)
}

// testFilePermissions: what is root's, another user has only as far as its permissions go.
func testFilePermissions(d *disk) {
	d.run("mkdir secret tree; echo x > secret/f; chmod 700 secret; echo x > private; chmod 600 private; " +
		"echo x > public; mkdir readable; echo x > readable/f; mkdir sticky; chmod 1777 sticky; echo x > sticky/f; " +
		"chmod 666 sticky/f; mkdir open; chmod 777 open; echo x > open/f; mkdir tree/secret; " +
		"echo x > tree/secret/f; chmod 700 tree/secret; chmod 777 tree")
	for _, user := range []string{"1000:1000", "user", "4321:4322"} {
		u := d.as(user)
		read := func(name string) func() error {
			return func() error { return onlyError(u.read(d.p(name), container.ReadFileOptions{})) }
		}
		write := func(name string, opts container.WriteFileOptions) func() error {
			return func() error { return onlyError(u.write(d.p(name), "y", opts)) }
		}
		mkdir := func(name string, parents bool) func() error {
			return func() error { return u.mkdir(d.p(name), container.MakeDirectoryOptions{Parents: parents}) }
		}
		remove := func(name string, recursive bool) func() error {
			return func() error { return u.remove(d.p(name), recursive) }
		}
		change := func(opts container.ChangeFileOptions) func() error {
			return func() error { return u.change(d.p("public"), opts) }
		}
		calls := map[string]func() error{
			"read":           read("private"),
			"read below":     read("secret/f"),
			"stat below":     func() error { return onlyError(u.stat(d.p("secret/f"))) },
			"list":           func() error { return onlyError(u.list(d.p("secret"))) },
			"write":          write("public", container.WriteFileOptions{}),
			"write new":      write("new", container.WriteFileOptions{}),
			"write below":    write("secret/f", container.WriteFileOptions{}),
			"write sticky":   write("sticky/f", container.WriteFileOptions{}),
			"write in open":  write("open/f", container.WriteFileOptions{}),
			"parents":        write("x/y", container.WriteFileOptions{Parents: true}),
			"make directory": mkdir("new", false),
			"make above":     mkdir("new/x", true),
			"move":           func() error { return u.move(d.p("public"), d.p("sticky/"+u.user), false) },
			"move sticky":    func() error { return u.move(d.p("sticky/f"), d.p("sticky/g"), false) },
			"remove":         remove("public", false),
			"remove sticky":  remove("sticky/f", false),
			"remove all":     remove("readable", true),
			"remove tree":    remove("tree", true),
			"mode":           change(container.ChangeFileOptions{SetMode: true, Mode: 0o666}),
			"owner":          change(container.ChangeFileOptions{Owner: "1000:1000"}),
		}
		if a, ok := container.As[container.FileArchiver](d.rt); ok {
			calls["pack"] = func() error { return onlyError(u.packWith(a, d.p("secret"))) }
			calls["pack file"] = func() error { return onlyError(u.packWith(a, d.p("private"))) }
			calls["pack tree"] = func() error { return onlyError(u.packWith(a, d.p("tree"))) }
			calls["unpack"] = func() error {
				return u.unpackWith(a, d.p("readable"), packed(regular("f", "y")), container.UnpackFilesOptions{})
			}
			calls["unpack new"] = func() error {
				return u.unpackWith(a, d.p("readable"), packed(regular("g", "y")), container.UnpackFilesOptions{})
			}
		}
		if w, ok := container.As[container.FileWatcher](d.rt); ok {
			calls["watch"] = func() error {
				return w.WatchFiles(d.ctx, d.id, d.p("secret"), container.WatchFilesOptions{User: u.user},
					func(e container.FileEvent) error { return fmt.Errorf("it is watched: %v", e) })
			}
		}
		d.each(calls, container.ErrPermission)
	}
	for _, path := range []string{"secret/f", "private", "public", "readable/f", "sticky/f", "open/f",
		"tree/secret/f"} {
		d.reads(d.p(path), "x\n")
	}
	d.holds(d.dir, "open", "private", "public", "readable", "secret", "sticky", "tree")
	d.holds(d.p("sticky"), "f")
	d.holds(d.p("readable"), "f")
}

// testFilePermitted: and what is the user's, or everybody's, it has.
func testFilePermitted(d *disk) {
	d.run("echo x > public; mkdir theirs; chown 1000:1000 theirs; chmod 700 theirs; mkdir readable; mkdir -p group; " +
		"chown 0:1000 group; chmod 770 group; mkdir blind; echo x > blind/f; chmod 711 blind")
	for _, user := range []string{"1000:1000", "user"} {
		u := d.as(user)
		u.reads(d.p("public"), "x\n")
		u.reads(d.p("blind/f"), "x\n")
		u.holds(d.p("readable"))
		u.put(d.p("theirs/f"), "x")
		d.owned(d.p("theirs/f"), 1000, 1000, 0o644)
		u.put(d.p("theirs/f"), "y")
		u.reads(d.p("theirs/f"), "y")
		u.put(d.p("group/f"), "x")
		d.must(u.mkdir(d.p("theirs/d"), container.MakeDirectoryOptions{}))
		d.must(u.move(d.p("theirs/f"), d.p("theirs/d/f"), false))
		u.holds(d.p("theirs/d"), "f")
		d.must(u.remove(d.p("theirs/d"), true))
		d.must(u.remove(d.p("group/f"), false))
		u.holds(d.p("theirs"))
		d.class(onlyError(u.list(d.p("blind"))), container.ErrPermission)

		name := "/tmp/" + d.dir[len("/tmp/"):] + "-everybody's"
		u.put(name, "x")
		d.owned(name, 1000, 1000, 0o644)
		d.must(u.remove(name, false))
	}
	d.class(onlyError(d.as("4321:4322").list(d.p("group"))), container.ErrPermission)
	d.must(onlyError(d.as("4321:1000").list(d.p("group"))))
}

// testFilesStop goes through a container's life, with all that is about its files.
func testFilesStop(f *fixture) {
	files, ok := optional[container.Files](f)
	if !ok {
		return
	}
	d := &disk{f, files, f.id("s"), "", "/tmp"}
	d.each(d.calls("/tmp/x"), container.ErrContainerNotFound)
	opts := d.idle()
	opts.User = "user"
	d.create(d.id, opts)
	d.each(d.calls("/tmp/x"), container.ErrContainerStopped)
	d.must(d.rt.Start(d.ctx, d.id))

	// Who is not named is the container's own.
	d.put("/tmp/x", "x")
	d.equal("uid", d.info("/tmp/x").UID, int64(1000))
	// It may what its commands may: some engines let them do more than their user could.
	may, err := d.rt.Exec(d.ctx, d.id, []string{"sh", "-c", "echo x > /etc/y"}, container.ExecOptions{})
	d.must(err)
	if err := onlyError(d.write("/etc/x", "x", container.WriteFileOptions{})); may.ExitCode == 0 {
		d.must(err)
	} else {
		d.class(err, container.ErrPermission)
	}
	// Another may be out of reach for who works as the container's own.
	if _, err := d.as("root").write("/etc/x", "x",
		container.WriteFileOptions{}); !errors.Is(err, container.ErrUnsupported) {
		d.must(err)
	}

	if p, ok := optional[container.Pauser](f); ok {
		d.must(p.Pause(d.ctx, d.id))
		d.each(d.calls("/tmp/x"), container.ErrContainerPaused)
		d.must(p.Unpause(d.ctx, d.id))
	}
	watched := d.watchUntil("/tmp")
	d.must(d.rt.Stop(d.ctx, d.id, 0))
	d.mustBePrompt("end of a watch", func() { watched(container.ErrContainerStopped) })
	d.each(d.calls("/tmp/x"), container.ErrContainerStopped)
	d.must(d.rt.Start(d.ctx, d.id))
	if d.caps.KeepsFilesOnStop {
		d.reads("/tmp/x", "x")
	}

	if _, ok := optional[container.Closer](f); ok {
		watched = d.watchUntil("/tmp")
		_, content, err := d.ReadFile(d.ctx, d.id, "/tmp/x", container.ReadFileOptions{})
		d.must(err)
		d.mustBePrompt("close", func() {
			closeRuntime(d.T, d.rt)
			watched(container.ErrClosed)
		})
		d.must(content.Close())
		d.each(d.calls("/tmp/x"), container.ErrClosed)
	}
}

// watchUntil begins a watch, where there are any; the function that it returns waits for its end,
// and checks the class of the error.
func (d *disk) watchUntil(path string) func(want error) {
	d.Helper()
	w, ok := optional[container.FileWatcher](d.fixture)
	if !ok {
		return func(error) {}
	}
	on, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- w.WatchFiles(d.ctx, d.id, path, container.WatchFilesOptions{}, func(e container.FileEvent) error {
			if e.Kind == container.FileWatching {
				close(on)
			}
			return nil
		})
	}()
	select {
	case <-on:
	case err := <-ended:
		d.Fatalf("the watch ended before it began: %v", err)
	}
	return func(want error) {
		d.Helper()
		d.class(<-ended, want)
	}
}
