package containertest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/octobot-run/octobot/internal/container"
)

var filesystemCases = []sharedCase{
	{"stat", testFileStat},
	{"list", testFileList},
	{"list of many", testFileListMany},
	{"read", testFileRead},
	{"read what changes", testFileReadChanging},
	{"reading ends with ctx", testFileReadCancelled},
	{"write", testFileWrite},
	{"write seen as a whole", testFileWriteWhole},
	{"write that fails", testFileWriteFails},
	{"write that is left", testFileWriteLeft},
	{"many writers", testFileManyWriters},
	{"disk full", testFileDiskFull},
	{"mode and owner of what is written", testFileWriteOwner},
	{"new alone", testFileNew},
	{"version", testFileVersion},
	{"version of what a program writes", testFileVersionProgram},
	{"make directory", testFileMakeDirectory},
	{"move", testFileMove},
	{"remove", testFileRemove},
	{"change", testFileChange},
	{"change all below", testFileChangeAll},
	{"what another may not", testFilePermissions},
	{"what another may", testFilePermitted},
	{"links", testFileLinks},
	{"writing through links", testFileWriteLinks},
	{"names that are no text", testFileNames},
	{"neither file nor directory", testFileSpecial},
	{"what the kernel shows", testFileProc},
	{"bad arguments", testFileBadArguments},
}

// filesCases are those that need containers of their own.
var filesCases = []testCase{
	{"container's own user, stop and close", testFilesStop},
}

func testFileStat(d *disk) {
	d.run("mkdir sub; chmod 1750 sub; echo text > f; chmod 640 f; chown 1000:1000 f; echo > g; chown 4321:4322 g")
	i := d.info(d.p("f"))
	d.equal("name", i.Name, "f")
	d.equal("type", i.Type, container.FileRegular)
	d.equal("mode", i.Mode, uint32(0o640))
	d.equal("uid", i.UID, int64(1000))
	d.equal("gid", i.GID, int64(1000))
	d.equal("owner", i.Owner, "user")
	d.equal("size", i.Size, int64(5))
	d.equal("target", i.Target, "")
	if age := time.Since(i.Modified); age < -time.Minute || age > caseTimeout+time.Minute {
		d.Errorf("it was modified at %v, %v ago", i.Modified, age)
	}
	if i.Version != strings.Trim(i.Version, " \"*/") || i.Version != strings.ToValidUTF8(i.Version, "") {
		d.Errorf("version is %q", i.Version)
	}
	d.equal("version, once more", d.info(d.p("f")).Version, i.Version)

	i = d.info(d.p("g"))
	d.equal("uid", i.UID, int64(4321))
	d.equal("gid", i.GID, int64(4322))
	d.equal("owner", i.Owner, "")
	d.equal("group", i.Group, "")

	i = d.info(d.p("sub"))
	d.equal("name", i.Name, "sub")
	d.equal("type", i.Type, container.FileDirectory)
	d.equal("mode", i.Mode, uint32(0o1750))
	for _, path := range []string{"/", d.p("sub/"), d.p("sub/."), d.p("sub/.."), d.p("sub//")} {
		d.equal("type of "+path, d.info(path).Type, container.FileDirectory)
	}
	for _, path := range []string{"none", "none/none", "f/x", "f/"} {
		d.gone(d.p(path))
	}
}

func testFileList(d *disk) {
	d.run("mkdir -p l/sub; cd l; echo 1 > one; echo 22 > .two; ln -s none link; chmod 600 one")
	seen := make(map[string]container.FileInfo)
	d.must(d.ListFiles(d.ctx, d.id, d.p("l"), "", func(i container.FileInfo) error {
		seen[i.Name] = i
		return nil
	}))
	d.equal("number of entries", len(seen), 4)
	d.equal("size of one", seen["one"].Size, int64(2))
	d.equal("mode of one", seen["one"].Mode, uint32(0o600))
	d.equal("version of one", seen["one"].Version, d.info(d.p("l/one")).Version)
	d.equal("size of two", seen[".two"].Size, int64(3))
	d.equal("type of the directory", seen["sub"].Type, container.FileDirectory)
	d.equal("type of the link", seen["link"].Type, container.FileSymlink)
	d.equal("target of the link", seen["link"].Target, "none")
	d.holds(d.p("l/sub"))
	d.holds(d.p("l/"), ".two", "link", "one", "sub")
	for _, path := range []string{"none", "l/one", "l/link"} {
		d.class(onlyError(d.list(d.p(path))), container.ErrPathNotFound, path)
	}

	enough, n := errors.New("enough"), 0
	err := d.ListFiles(d.ctx, d.id, d.p("l"), "", func(container.FileInfo) error {
		n++
		return enough
	})
	if !errors.Is(err, enough) || n != 1 {
		d.Errorf("error is %v, after %d entries; want the callback's own after one", err, n)
	}
}

func testFileListMany(d *disk) {
	var want []string
	for i := range 2000 {
		want = append(want, fmt.Sprintf("f%04d", i))
	}
	d.run("mkdir many; cd many; touch " + strings.Join(want, " "))
	d.holds(d.p("many"), want...)
}

// noise is what nobody guesses, and nothing makes shorter.
func noise(seed byte, size int) string {
	b := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(b) // never fails
	return string(b)
}

func testFileRead(d *disk) {
	all := noise(3, 8<<20+17)
	size := int64(len(all))
	d.equal("size", d.put(d.p("f"), all).Size, size)
	d.equal("size that a program sees", d.run("wc -c < f"), fmt.Sprint(size))
	for _, part := range []struct{ offset, length, from, to int64 }{
		{0, 0, 0, size},
		{0, 1, 0, 1},
		{5, 10, 5, 15},
		{1 << 20, 1 << 20, 1 << 20, 2 << 20},
		{8 << 20, 0, 8 << 20, size},
		{8 << 20, 1 << 40, 8 << 20, size},
		{size, 0, size, size},
		{1 << 50, 7, size, size},
	} {
		got, err := d.read(d.p("f"), container.ReadFileOptions{Offset: part.offset, Length: part.length})
		d.must(err)
		if got != all[part.from:part.to] {
			d.Errorf("offset %d, length %d: %d bytes; want %d", part.offset, part.length, len(got), part.to-part.from)
		}
	}
	d.put(d.p("empty"), "")
	d.reads(d.p("empty"), "")
	d.run("mkdir sub")
	for _, path := range []string{"none", "sub", "f/", "f/x"} {
		d.class(onlyError(d.read(d.p(path), container.ReadFileOptions{})), container.ErrPathNotFound, path)
	}

	// One who does not read on holds up nobody.
	info, content, err := d.ReadFile(d.ctx, d.id, d.p("f"), container.ReadFileOptions{Offset: 3})
	d.must(err)
	d.equal("size", info.Size, size)
	d.equal("name", info.Name, "f")
	d.equal("version", info.Version, d.info(d.p("f")).Version)
	d.mustBePrompt("reading beside", func() { d.reads(d.p("empty"), "") })
	d.must(content.Close())
	if _, err := content.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
		d.Errorf("a read after Close gives %v", err)
	}
}

// testFileReadChanging: a file that is replaced or removed goes on being read; one that grows is
// read to its new end.
func testFileReadChanging(d *disk) {
	old := noise(1, 4<<20)
	for name, happen := range map[string]func(path string){
		"replaced": func(path string) { d.put(path, "new") },
		"removed":  func(path string) { d.must(d.remove(path, false)) },
	} {
		path := d.p(name)
		d.put(path, old)
		_, content, err := d.ReadFile(d.ctx, d.id, path, container.ReadFileOptions{})
		d.must(err)
		defer content.Close()
		happen(path)
		got, err := io.ReadAll(content)
		d.must(err)
		d.equal("content of what was "+name, string(got), old)
	}
	d.reads(d.p("replaced"), "new")

	d.put(d.p("grown"), old)
	_, content, err := d.ReadFile(d.ctx, d.id, d.p("grown"), container.ReadFileOptions{})
	d.must(err)
	defer content.Close()
	_, err = io.ReadFull(content, make([]byte, 10))
	d.must(err)
	d.run("echo more >> grown")
	got, err := io.ReadAll(content)
	d.must(err)
	// How much of it was on its way already is the provider's affair.
	if s := string(got); s != old[10:] && s != old[10:]+"more\n" {
		d.Errorf("%d bytes, that are neither the file's of then nor those of now", len(s))
	}
}

func testFileReadCancelled(d *disk) {
	d.put(d.p("f"), noise(4, 8<<20))
	ctx, cancel := context.WithCancel(d.ctx)
	defer cancel()
	_, content, err := d.ReadFile(ctx, d.id, d.p("f"), container.ReadFileOptions{})
	d.must(err)
	defer content.Close()
	_, err = io.ReadFull(content, make([]byte, 1000))
	d.must(err)
	cancel()
	d.mustBePrompt("cancelled read", func() {
		_, err := io.Copy(io.Discard, content)
		d.class(err, context.Canceled)
	})
	d.each(d.under(ctx).calls(d.p("f")), context.Canceled)
	d.holds(d.dir, "f")
	d.equal("size", d.info(d.p("f")).Size, int64(8<<20))
}

func testFileLinks(d *disk) {
	d.run("mkdir sub; echo x > sub/f; ln -s sub/f link; ln -s none dangling; ln -s sub dir; ln -s loop loop; " +
		"ln -s " + d.p("sub/f") + " absolute; ln -s link again")
	i := d.info(d.p("link"))
	d.equal("type", i.Type, container.FileSymlink)
	d.equal("name", i.Name, "link")
	d.equal("target", i.Target, "sub/f")
	d.equal("target", d.info(d.p("dangling")).Target, "none")
	d.equal("target", d.info(d.p("loop")).Target, "loop")
	for _, name := range []string{"link", "absolute", "again", "dir/f"} {
		i, err := d.StatFile(d.ctx, d.id, d.p(name), container.StatFileOptions{Follow: true})
		d.must(err)
		d.equal("type", i.Type, container.FileRegular)
		d.equal("name", i.Name, name[strings.LastIndex(name, "/")+1:])
		d.equal("size", i.Size, int64(2))
		d.reads(d.p(name), "x\n")
	}
	d.holds(d.p("dir"), "f")
	follow := func(path string) error {
		return onlyError(d.StatFile(d.ctx, d.id, path, container.StatFileOptions{Follow: true}))
	}
	for _, name := range []string{"dangling", "loop"} {
		d.class(follow(d.p(name)), container.ErrPathNotFound, name)
		d.class(follow(d.p(name+"/x")), container.ErrPathNotFound, name)
		d.class(onlyError(d.read(d.p(name), container.ReadFileOptions{})), container.ErrPathNotFound, name)
		d.class(onlyError(d.list(d.p(name))), container.ErrPathNotFound, name)
		d.class(d.change(d.p(name), container.ChangeFileOptions{SetMode: true, Mode: 0o600}), container.ErrPathNotFound,
			name)
	}
	info, content, err := d.ReadFile(d.ctx, d.id, d.p("link"), container.ReadFileOptions{})
	d.must(err)
	d.must(content.Close())
	d.equal("name of what is read", info.Name, "link")
	d.equal("type of what is read", info.Type, container.FileRegular)

	// Moving and removing are about the link.
	d.must(d.move(d.p("link"), d.p("moved"), false))
	d.equal("target", d.info(d.p("moved")).Target, "sub/f")
	d.must(d.remove(d.p("moved"), true))
	d.must(d.remove(d.p("dir"), true))
	d.must(d.remove(d.p("loop"), false))
	d.must(d.remove(d.p("dangling"), false))
	d.holds(d.dir, "absolute", "again", "sub")
	d.holds(d.p("sub"), "f")
}

// testFileNames: names are bytes.
func testFileNames(d *disk) {
	names := []string{"\x01\n", "a\nb", " ", "*?", "-rf", "\\", "\"'", "grüß", "\xff\xfe", "日本",
		strings.Repeat("n", 255)}
	slices.Sort(names)
	for _, name := range names {
		d.equal("name of what was written", d.put(d.p(name), name).Name, name)
	}
	d.holds(d.dir, names...)
	for _, name := range names {
		d.equal("name", d.info(d.p(name)).Name, name)
		d.reads(d.p(name), name)
		d.must(d.move(d.p(name), d.p("moved"), false))
		d.must(d.mkdir(d.p(name), container.MakeDirectoryOptions{}))
		d.must(d.move(d.p("moved"), d.p(name)+"/"+name, false))
		d.holds(d.p(name), name)
		d.must(d.remove(d.p(name), true))
	}
	d.holds(d.dir)
	long := d.p(strings.Repeat("n", 256))
	d.class(onlyError(d.write(long, "x", container.WriteFileOptions{})), container.ErrInvalidArgument)
	d.class(d.mkdir(long, container.MakeDirectoryOptions{}), container.ErrInvalidArgument)
	d.holds(d.dir)
}

// testFileSpecial: to open a FIFO or a device is to do something to it, or to wait for ever.
func testFileSpecial(d *disk) {
	d.run("mkfifo fifo; ln -s fifo link")
	kinds := map[string]string{
		d.p("fifo"): container.FileFIFO, d.p("link"): container.FileFIFO,
		"/dev/null": container.FileCharDevice, "/dev/zero": container.FileCharDevice,
	}
	if d.caps.RealProcesses && d.exec(d.id, container.ExecOptions{}, "sh", "-c", "syslogd -O /dev/null").ExitCode == 0 {
		d.poll("syslogd's socket", func() bool { return onlyError(d.stat("/dev/log")) == nil })
		kinds["/dev/log"] = container.FileSocket
	}
	for path, kind := range kinds {
		i, err := d.StatFile(d.ctx, d.id, path, container.StatFileOptions{Follow: true})
		d.must(err)
		d.equal("type of "+path, i.Type, kind)
		d.mustBePrompt(path, func() {
			d.class(onlyError(d.read(path, container.ReadFileOptions{})), container.ErrPathNotFound, path)
			d.class(onlyError(d.write(path, "x", container.WriteFileOptions{})), container.ErrPathNotFound, path)
			d.class(onlyError(d.list(path)), container.ErrPathNotFound, path)
		})
		i, err = d.StatFile(d.ctx, d.id, path, container.StatFileOptions{Follow: true})
		d.must(err)
		d.equal("type of "+path, i.Type, kind)
	}
	// It can be changed, moved and removed like all else.
	d.must(d.change(d.p("link"), container.ChangeFileOptions{SetMode: true, Mode: 0o600}))
	d.equal("mode", d.info(d.p("fifo")).Mode, uint32(0o600))
	d.must(d.move(d.p("fifo"), d.p("moved"), false))
	d.must(d.remove(d.p("moved"), false))
	d.holds(d.dir, "link")
}

// testFileProc: what the kernel shows of processes is what it would show the user, and what else is
// among it does not hold anybody up.
func testFileProc(d *disk) {
	if !d.caps.RealProcesses {
		return
	}
	d.mustBePrompt("/proc", func() {
		text, err := d.read("/proc/version", container.ReadFileOptions{})
		d.must(err)
		if !strings.HasPrefix(text, "Linux") {
			d.Errorf("/proc/version is %q", text)
		}
		user := d.as("1000:1000")
		for _, path := range []string{"/proc/1/environ", "/proc/self/environ"} {
			d.class(onlyError(user.read(path, container.ReadFileOptions{})), container.ErrPermission, path)
		}
		// Of descriptors, some may be files that everybody may read.
		for n := range 32 {
			path := fmt.Sprintf("/proc/self/fd/%d", n)
			for _, u := range []*disk{d, user} {
				_, content, err := u.ReadFile(d.ctx, d.id, path, container.ReadFileOptions{Length: 1, User: u.user})
				switch class := container.ClassOf(err); {
				case err == nil:
					d.must(content.Close())
				case class != container.ErrPathNotFound && class != container.ErrPermission:
					d.Errorf("%s: error is %v, of class %v", path, err, class)
				}
			}
		}
	})
}

func testFileBadArguments(d *disk) {
	for _, path := range []string{"", "relative", "./x", "/a\x00b", "/" + strings.Repeat("a/", 2048)} {
		d.each(d.calls(path), container.ErrInvalidArgument)
	}
	d.each(d.as("a:b:c").calls(d.p("x")), container.ErrInvalidArgument)
	d.each(d.as("nobody-of-that-name").calls(d.p("x")), container.ErrInvalidArgument)
	for what, err := range map[string]error{
		"offset":        onlyError(d.read(d.p("x"), container.ReadFileOptions{Offset: -1})),
		"length":        onlyError(d.read(d.p("x"), container.ReadFileOptions{Length: -1})),
		"mode of write": onlyError(d.write(d.p("x"), "", container.WriteFileOptions{Mode: 0o10000})),
		"mode of mkdir": d.mkdir(d.p("x"), container.MakeDirectoryOptions{Mode: 0o10000}),
		"mode":          d.change(d.dir, container.ChangeFileOptions{SetMode: true, Mode: 0o10000}),
		"no change":     d.change(d.dir, container.ChangeFileOptions{}),
		"owner":         d.change(d.dir, container.ChangeFileOptions{Owner: "a b"}),
		"owner of file": onlyError(d.write(d.p("x"), "", container.WriteFileOptions{Owner: "a b"})),
		"new of version": onlyError(d.write(d.p("x"), "", container.WriteFileOptions{New: true,
			Version: "*"})),
		"unknown owner": onlyError(d.write(d.p("x"), "", container.WriteFileOptions{Owner: "nobody-of-that-name"})),
		"root moved":    d.move("/", d.p("x"), false),
		"root removed":  d.remove("/", true),
	} {
		d.class(err, container.ErrInvalidArgument, what)
	}
	d.holds(d.dir)
}
