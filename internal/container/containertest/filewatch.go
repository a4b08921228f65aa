package containertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/octobot-run/octobot/internal/container"
)

var watchCases = onFileWatcher([]sharedCase{
	{"what programs do", testWatchPrograms},
	{"what is done through the seam", testWatchCalls},
	{"moves", testWatchMoves},
	{"one directory alone", testWatchFlat},
	{"a file", testWatchFile},
	{"a tree", testWatchTree},
	{"a tree that grows quickly", testWatchGrowing},
	{"names that are no text", testWatchNames},
	{"two at once", testWatchTwo},
	{"what is watched is removed", testWatchRemoved},
	{"a file that is replaced", testWatchReplaced},
	{"ends", testWatchEnds},
	{"overflow", testWatchOverflow},
	{"what can't be watched", testWatchBad},
	{"as another user", testWatchUser},
})

// onFileWatcher leaves the cases out where there is none.
func onFileWatcher(cases []sharedCase) []sharedCase {
	for i := range cases {
		run := cases[i].run
		cases[i].run = func(d *disk) {
			if _, ok := optional[container.FileWatcher](d.fixture); ok {
				run(d)
			}
		}
	}
	return cases
}

// watch is a watch under way.
type watch struct {
	*disk
	events chan container.FileEvent
	seen   []string
	ended  chan struct{}
	err    error // once ended is closed
	stop   context.CancelFunc
}

// watch begins a watch, and returns when it is on.
func (d *disk) watch(path string, recursive bool) *watch {
	d.Helper()
	files, _ := container.As[container.FileWatcher](d.rt) // onFileWatcher has looked
	ctx, cancel := context.WithCancel(d.ctx)
	w := &watch{disk: d, events: make(chan container.FileEvent, 1024), ended: make(chan struct{}), stop: cancel}
	opts := container.WatchFilesOptions{User: d.user, Recursive: recursive}
	go func() {
		defer close(w.ended)
		w.err = files.WatchFiles(ctx, d.id, path, opts, func(e container.FileEvent) error {
			select {
			case w.events <- e:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()
	d.Cleanup(func() {
		cancel()
		<-w.ended
	})
	first := w.next("the watch")
	d.equal("first event", first.Kind, container.FileWatching)
	d.equal("its path", first.Path, path)
	return w
}

// next waits for an event.
func (w *watch) next(want string) container.FileEvent {
	w.Helper()
	select {
	case e := <-w.events:
		return w.saw(e)
	case <-w.ended: // its events came first
		select {
		case e := <-w.events:
			return w.saw(e)
		default:
			w.Fatalf("the watch ended before %s: %v; seen: %q", want, w.err, w.seen)
		}
	case <-w.ctx.Done():
		w.Fatalf("waited in vain for %s; seen: %q", want, w.seen)
	}
	panic("not reached")
}

func (w *watch) saw(e container.FileEvent) container.FileEvent {
	w.seen = append(w.seen, told(e))
	return e
}

// told is an event as its kind, its path, and where it moved from.
func told(e container.FileEvent) string {
	if e.From != "" {
		return e.Kind + " " + e.Path + " from " + e.From
	}
	return e.Kind + " " + e.Path
}

// await waits for an event of a path in the case's directory; from is empty, or where it has moved
// from. Others may come before it: one change can be several events.
func (w *watch) await(kind, name, from string) container.FileEvent {
	w.Helper()
	want := container.FileEvent{Kind: kind, Path: strings.TrimSuffix(w.p(name), "/")}
	if from != "" {
		want.From = w.p(from)
	}
	for {
		if e := w.next(told(want)); told(e) == told(want) {
			return e
		}
	}
}

// settled waits until all that has happened so far has been told, by way of a file that is made in
// the case's directory, which is watched.
func (w *watch) settled(name string) {
	w.Helper()
	w.run("> " + name)
	w.await(container.FileCreated, name, "")
}

// unseen checks that nothing was told of a path in the case's directory, or below it.
func (w *watch) unseen(name string) {
	w.Helper()
	if slices.ContainsFunc(w.seen, func(s string) bool { return strings.Contains(s, w.p(name)) }) {
		w.Errorf("%s was told of: %q", name, w.seen)
	}
}

// end waits for the watch's end.
func (w *watch) end() error {
	w.Helper()
	w.mustBePrompt("end of the watch", func() {
		for {
			select {
			case e := <-w.events:
				w.saw(e)
			case <-w.ended:
				for len(w.events) > 0 {
					w.saw(<-w.events)
				}
				return
			}
		}
	})
	return w.err
}

func testWatchPrograms(d *disk) {
	w := d.watch(d.dir, false)
	d.run("echo x > f")
	d.equal("directory", w.await(container.FileCreated, "f", "").Directory, false)
	w.await(container.FileWritten, "f", "")
	w.await(container.FileClosed, "f", "")
	d.run("echo y >> f")
	w.await(container.FileWritten, "f", "")
	w.await(container.FileClosed, "f", "")
	d.run("chmod 600 f")
	w.await(container.FileChanged, "f", "")
	d.run("chown 1000:1000 f")
	w.await(container.FileChanged, "f", "")
	d.run("mkdir sub")
	d.equal("directory", w.await(container.FileCreated, "sub", "").Directory, true)
	d.run("ln -s f link")
	w.await(container.FileCreated, "link", "")
	d.run("ln f hard")
	w.await(container.FileCreated, "hard", "")
	d.run("mv f g")
	w.await(container.FileMoved, "g", "f")
	d.run("rm g")
	d.equal("directory", w.await(container.FileRemoved, "g", "").Directory, false)
	d.run("rmdir sub")
	d.equal("directory", w.await(container.FileRemoved, "sub", "").Directory, true)
	d.run("chmod 711 .")
	w.await(container.FileChanged, "", "")
}

func testWatchCalls(d *disk) {
	w := d.watch(d.dir, false)
	d.must(d.mkdir(d.p("sub"), container.MakeDirectoryOptions{}))
	w.await(container.FileCreated, "sub", "")
	// How a file takes its place, and what else is there meanwhile, is the provider's affair; but
	// nobody sees it while it is written.
	for _, data := range []string{"first", "second"} {
		from := len(w.seen)
		d.put(d.p("f"), data)
		for e := w.next("the file"); e.Path != d.p("f"); e = w.next("the file") {
		}
		w.settled(data)
		if slices.Contains(w.seen[from:], container.FileWritten+" "+d.p("f")) {
			d.Errorf("the file was seen as it was written: %q", w.seen[from:])
		}
	}
	d.must(d.change(d.p("f"), container.ChangeFileOptions{SetMode: true, Mode: 0o600}))
	w.await(container.FileChanged, "f", "")
	d.must(d.move(d.p("f"), d.p("g"), false))
	w.await(container.FileMoved, "g", "f")
	d.must(d.remove(d.p("g"), false))
	w.await(container.FileRemoved, "g", "")
	if a, ok := container.As[container.FileArchiver](d.rt); ok {
		d.must(d.unpackWith(a, d.dir, packed(regular("unpacked", "x")), container.UnpackFilesOptions{}))
		w.await(container.FileCreated, "unpacked", "")
	}
}

func testWatchMoves(d *disk) {
	d.run("mkdir -p in/a in/b out; echo x > out/f; echo x > in/g; echo x > in/h; mkdir out/dir; echo x > out/dir/f")
	w := d.watch(d.p("in"), true)
	d.run("mv out/f in/f")
	w.await(container.FileCreated, "in/f", "")
	d.run("mv in/f in/a/f")
	w.await(container.FileMoved, "in/a/f", "in/f")
	d.run("mv in/a/f in/b/g")
	w.await(container.FileMoved, "in/b/g", "in/a/f")
	d.run("mv in/b/g out/f")
	w.await(container.FileRemoved, "in/b/g", "")
	d.run("mv in/g in/h") // in place of another
	w.await(container.FileMoved, "in/h", "in/g")
	d.run("mv in/a in/b/c")
	d.equal("directory", w.await(container.FileMoved, "in/b/c", "in/a").Directory, true)
	d.run("echo x > in/b/c/f")
	w.await(container.FileCreated, "in/b/c/f", "")
	d.run("mv in/b/c out/c")
	d.equal("directory", w.await(container.FileRemoved, "in/b/c", "").Directory, true)
	d.run("echo x > out/c/unseen; mv out/dir in/dir")
	d.equal("directory", w.await(container.FileCreated, "in/dir", "").Directory, true)
	d.run("echo x > in/dir/new")
	w.await(container.FileCreated, "in/dir/new", "")
	w.unseen("out")
}

func testWatchFlat(d *disk) {
	d.run("mkdir -p sub/deep; echo x > sub/f")
	w := d.watch(d.dir, false)
	d.run("echo y >> sub/f; echo x > sub/new; mkdir sub/dir; rm sub/f; mv sub/new sub/deep/new; mkdir other; " +
		"echo x > other/f")
	w.settled("last")
	for _, name := range []string{"sub/f", "sub/new", "sub/dir", "sub/deep", "other/f"} {
		w.unseen(name)
	}
	d.run("mv sub/deep deep")
	w.await(container.FileCreated, "deep", "")
	d.run("mv deep sub/deep")
	w.await(container.FileRemoved, "deep", "")
}

func testWatchFile(d *disk) {
	d.run("echo x > f; echo x > g")
	w := d.watch(d.p("f"), false)
	d.run("echo y >> g; echo y >> f")
	w.await(container.FileWritten, "f", "")
	w.await(container.FileClosed, "f", "")
	d.run("chmod 600 f")
	w.await(container.FileChanged, "f", "")
	w.unseen("g")
	d.run("rm f")
	w.await(container.FileRemoved, "f", "")
	d.class(w.end(), container.ErrPathNotFound)
}

func testWatchTree(d *disk) {
	d.run("mkdir -p sub/deep")
	w := d.watch(d.dir, true)
	d.run("echo x > sub/deep/f")
	w.await(container.FileCreated, "sub/deep/f", "")
	w.await(container.FileClosed, "sub/deep/f", "")
	d.run("mkdir new")
	w.await(container.FileCreated, "new", "")
	d.run("echo x > new/f")
	w.await(container.FileCreated, "new/f", "")
	d.run("rm sub/deep/f")
	w.await(container.FileRemoved, "sub/deep/f", "")
	d.must(d.remove(d.p("new"), true))
	w.await(container.FileRemoved, "new", "")
	d.run("mkdir new; echo x > new/again")
	w.await(container.FileCreated, "new/again", "")
}

// testWatchGrowing: what comes into a directory before anybody can have watched it is told of all
// the same, and so is what comes later.
func testWatchGrowing(d *disk) {
	w := d.watch(d.dir, true)
	missing := make(map[string]bool)
	for round := range 5 {
		dir := fmt.Sprintf("n%d/e/w", round)
		d.run("mkdir -p " + dir + "; cd " + dir + "; echo x > a; echo x > b; mkdir c; echo x > c/d; cd ..; echo x > e")
		top := fmt.Sprintf("n%d", round)
		for _, name := range []string{"", "/e", "/e/w", "/e/w/a", "/e/w/b", "/e/w/c", "/e/w/c/d", "/e/e"} {
			missing[d.p(top)+name] = true
		}
	}
	for len(missing) > 0 {
		e := w.next(fmt.Sprint(missing))
		if e.Kind == container.FileCreated {
			delete(missing, e.Path)
		}
	}
	d.run("echo x > n0/e/w/c/later")
	w.await(container.FileCreated, "n0/e/w/c/later", "")
}

func testWatchNames(d *disk) {
	w := d.watch(d.dir, true)
	for _, name := range []string{"a\nb", "\xff\xfe", " ", "日本", strings.Repeat("n", 255)} {
		d.must(d.mkdir(d.p(name), container.MakeDirectoryOptions{}))
		w.await(container.FileCreated, name, "")
		d.must(d.mkdir(d.p(name)+"/"+name, container.MakeDirectoryOptions{}))
		w.await(container.FileCreated, name+"/"+name, "")
		d.must(d.move(d.p(name)+"/"+name, d.p(name)+"/moved", false))
		w.await(container.FileMoved, name+"/moved", name+"/"+name)
	}
}

func testWatchTwo(d *disk) {
	d.run("mkdir sub")
	all, sub := d.watch(d.dir, true), d.watch(d.p("sub"), false)
	d.run("echo x > sub/f")
	all.await(container.FileCreated, "sub/f", "")
	sub.await(container.FileCreated, "sub/f", "")
	sub.stop()
	d.class(sub.end(), context.Canceled)
	d.run("rm sub/f")
	all.await(container.FileRemoved, "sub/f", "")
}

func testWatchRemoved(d *disk) {
	for _, recursive := range []bool{false, true} {
		d.run("mkdir -p d/sub; echo x > d/f")
		w := d.watch(d.p("d"), recursive)
		d.run("rm -r d")
		w.await(container.FileRemoved, "d", "")
		d.class(w.end(), container.ErrPathNotFound)
	}
}

// testWatchReplaced: editors and WriteFile put another file in a file's place.
func testWatchReplaced(d *disk) {
	d.run("echo x > f")
	w := d.watch(d.p("f"), false)
	for range 2 {
		d.put(d.p("f"), "y")
		w.await(container.FileCreated, "f", "")
	}
	d.run("rm f")
	w.await(container.FileRemoved, "f", "")
	d.class(w.end(), container.ErrPathNotFound)
}

func testWatchEnds(d *disk) {
	w := d.watch(d.dir, true)
	w.stop()
	d.class(w.end(), context.Canceled)

	files, _ := container.As[container.FileWatcher](d.rt)
	enough := errors.New("enough")
	for _, kind := range []string{container.FileWatching, container.FileCreated} {
		n := 0
		err := files.WatchFiles(d.ctx, d.id, d.dir, container.WatchFilesOptions{}, func(e container.FileEvent) error {
			if n++; e.Kind == kind {
				return enough
			}
			_, err := d.write(d.p("f"+kind), "x", container.WriteFileOptions{})
			return err
		})
		if !errors.Is(err, enough) {
			d.Errorf("error is %v, after %d events; want the callback's own", err, n)
		}
	}

	// One that takes nothing more can be left all the same.
	ctx, cancel := context.WithCancel(d.ctx)
	left := make(chan error, 1)
	on := make(chan struct{})
	go func() {
		left <- files.WatchFiles(ctx, d.id, d.dir, container.WatchFilesOptions{}, func(container.FileEvent) error {
			close(on)
			<-ctx.Done()
			return nil
		})
	}()
	<-on
	d.run("echo x > f")
	cancel()
	d.mustBePrompt("end of the watch", func() { d.class(<-left, context.Canceled) })
}

// testWatchOverflow: who does not take what happens learns that something was missed, and can go
// on.
func testWatchOverflow(d *disk) {
	// Long names, so that no buffer on the way holds them all, and not two changes of one file in a
	// row, which may be told as one. The shell's own commands make it quick.
	const lines = 20000
	long := strings.Repeat("n", 200)
	var script strings.Builder
	fmt.Fprintf(&script, "cd %s/many\na=a%s\nb=b%s\n", d.dir, long, long)
	for range lines / 2 {
		script.WriteString("echo x>$a\necho x>$b\n")
	}
	d.put(d.p("script"), script.String())
	d.run("mkdir many")

	files, _ := container.As[container.FileWatcher](d.rt)
	on, goOn, missed := make(chan struct{}), make(chan struct{}), make(chan struct{})
	last := errors.New("the last event has come")
	ended := make(chan error, 1)
	go func() {
		overflow := false
		ended <- files.WatchFiles(d.ctx, d.id, d.p("many"), container.WatchFilesOptions{},
			func(e container.FileEvent) error {
				switch {
				case e.Kind == container.FileWatching:
					close(on)
					<-goOn
				case e.Kind == container.FileOverflow && !overflow:
					if overflow = true; e.Path != d.p("many") {
						d.Errorf("path is %q", e.Path)
					}
					close(missed)
				case e.Path == d.p("many/last"):
					return last
				}
				return nil
			})
	}()
	<-on
	d.run("sh script")
	close(goOn)
	select {
	case <-missed:
	case err := <-ended:
		d.Fatalf("the watch ended without an overflow: %v", err)
	case <-d.ctx.Done():
		d.Fatal("no overflow is told")
	}
	d.run("echo x > many/last")
	d.mustBePrompt("last event", func() {
		if err := <-ended; !errors.Is(err, last) {
			d.Errorf("error is %v; want the callback's own", err)
		}
	})
}

func testWatchBad(d *disk) {
	d.run("echo x > f; ln -s loop loop; ln -s none dangling")
	files, _ := container.As[container.FileWatcher](d.rt)
	for _, name := range []string{"none", "f/x", "loop", "dangling"} {
		err := files.WatchFiles(d.ctx, d.id, d.p(name), container.WatchFilesOptions{Recursive: true},
			func(e container.FileEvent) error { return fmt.Errorf("it is watched: %s", told(e)) })
		d.class(err, container.ErrPathNotFound, name)
	}
}

// testWatchUser: of what it may not read, a user hears nothing.
func testWatchUser(d *disk) {
	d.run("mkdir secret open; chmod 700 secret")
	w := d.as("1000:1000").watch(d.dir, true)
	d.run("echo x > secret/f; echo x > open/f")
	w.await(container.FileCreated, "open/f", "")
	w.settled("last")
	w.unseen("secret/f")
}
