package containertest

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/octobot-run/octobot/internal/container"
)

// sharedCase is a case that works on files, in a directory of its own of a container that it shares
// with the topic's others: containers are what costs time on a real engine.
type sharedCase struct {
	name string
	run  func(*disk)
}

// disk is the files of one session, as one of its users.
type disk struct {
	*fixture
	container.Files
	id, user string
	dir      string // the case's own; root's, with the mode 0755
}

// smallDisk is a file system of its own in the container, of a MiB.
const smallDisk = "/small"

// runShared runs the cases of a topic that share a container, as parallel subtests.
func runShared(t *testing.T, h Harness, topic topic) {
	if len(topic.shared) == 0 {
		return
	}
	f := newFixture(t, h)
	files, ok := optional[container.Files](f)
	if !ok {
		return
	}
	opts := f.idle()
	opts.Tmpfs = map[string]string{smallDisk: "size=1m"}
	id := f.id("s")
	f.start(id, opts)
	var dirs []string
	for i := range topic.shared {
		dirs = append(dirs, fmt.Sprintf("/tmp/case%d", i))
	}
	f.sh(id, "mkdir "+strings.Join(dirs, " "))
	for i, c := range topic.shared {
		t.Run(c.name, func(t *testing.T) {
			if why, ok := h.Excused[topic.name+"/"+c.name]; ok {
				t.Skipf("excused: %s", why)
			}
			t.Parallel()
			c.run(&disk{f.during(t), files, id, "", dirs[i]})
		})
	}
}

// lodging is a running idle container that cases of a topic share.
type lodging struct {
	rt container.Runtime
	id string
}

func beginIdle(t *testing.T, h Harness, topic topic) *lodging {
	if !topic.idle {
		return nil
	}
	f := newFixture(t, h)
	return &lodging{f.rt, f.running()}
}

// shared gives the session of a running idle container for a case that leaves it as it was: others
// of the topic are in it at the same time, and containers are what costs time on a real engine. It
// comes first in a case: from then on f.rt is the runtime that has it.
func (f *fixture) shared() string {
	f.rt = f.lodging.rt
	return f.lodging.id
}

// during is the same fixture for a subtest.
func (f *fixture) during(t *testing.T) *fixture {
	ctx, cancel := context.WithTimeout(t.Context(), caseTimeout)
	t.Cleanup(cancel)
	g := *f
	g.T, g.ctx = t, ctx
	return &g
}

// as is the same as another user.
func (d *disk) as(user string) *disk {
	other := *d
	other.user = user
	return &other
}

// under is the same with another ctx.
func (d *disk) under(ctx context.Context) *disk {
	other, f := *d, *d.fixture
	f.ctx = ctx
	other.fixture = &f
	return &other
}

// p is a path in the case's own directory.
func (d *disk) p(name string) string { return d.dir + "/" + name }

// run runs a script in the case's own directory, as root.
func (d *disk) run(script string) string {
	d.Helper()
	return d.sh(d.id, "cd "+d.dir+"; "+script)
}

func (d *disk) stat(path string) (*container.FileInfo, error) {
	return d.StatFile(d.ctx, d.id, path, container.StatFileOptions{User: d.user})
}

// info is stat of what must be there.
func (d *disk) info(path string) *container.FileInfo {
	d.Helper()
	i, err := d.stat(path)
	d.must(err)
	return i
}

// gone checks that nothing is there.
func (d *disk) gone(path string) {
	d.Helper()
	_, err := d.stat(path)
	d.class(err, container.ErrPathNotFound, path)
}

func (d *disk) list(path string) ([]string, error) {
	var names []string
	err := d.ListFiles(d.ctx, d.id, path, d.user, func(i container.FileInfo) error {
		names = append(names, i.Name)
		return nil
	})
	slices.Sort(names)
	return names, err
}

// holds checks the names in a directory. What an operation that was left has made may be cleared
// away a moment later.
func (d *disk) holds(path string, want ...string) {
	d.Helper()
	d.poll(fmt.Sprintf("%s to hold %q", path, want), func() bool {
		names, err := d.list(path)
		d.must(err)
		return slices.Equal(names, want)
	})
}

func (d *disk) read(path string, opts container.ReadFileOptions) (string, error) {
	opts.User = d.user
	_, content, err := d.ReadFile(d.ctx, d.id, path, opts)
	if err != nil {
		return "", err
	}
	defer content.Close()
	b, err := io.ReadAll(content)
	return string(b), err
}

// reads checks the content of a file.
func (d *disk) reads(path, want string) {
	d.Helper()
	got, err := d.read(path, container.ReadFileOptions{})
	d.must(err)
	d.equal("content of "+path, got, want)
}

func (d *disk) write(path, data string, opts container.WriteFileOptions) (*container.FileInfo, error) {
	opts.User = d.user
	return d.WriteFile(d.ctx, d.id, path, strings.NewReader(data), opts)
}

// put writes a file that can be written.
func (d *disk) put(path, data string) *container.FileInfo {
	d.Helper()
	i, err := d.write(path, data, container.WriteFileOptions{})
	d.must(err)
	return i
}

func (d *disk) mkdir(path string, opts container.MakeDirectoryOptions) error {
	opts.User = d.user
	return onlyError(d.MakeDirectory(d.ctx, d.id, path, opts))
}

func (d *disk) move(from, to string, overwrite bool) error {
	return d.MoveFile(d.ctx, d.id, from, to, container.MoveFileOptions{User: d.user, Overwrite: overwrite})
}

func (d *disk) remove(path string, recursive bool) error {
	return d.RemoveFile(d.ctx, d.id, path, container.RemoveFileOptions{User: d.user, Recursive: recursive})
}

func (d *disk) change(path string, opts container.ChangeFileOptions) error {
	opts.User = d.user
	return onlyError(d.ChangeFile(d.ctx, d.id, path, opts))
}

func onlyError[T any](_ T, err error) error { return err }

// calls is one call of each method, which need not succeed.
func (d *disk) calls(path string) map[string]func() error {
	calls := map[string]func() error{
		"stat":           func() error { return onlyError(d.stat(path)) },
		"list":           func() error { return onlyError(d.list(path)) },
		"read":           func() error { return onlyError(d.read(path, container.ReadFileOptions{})) },
		"write":          func() error { return onlyError(d.write(path, "x", container.WriteFileOptions{})) },
		"make directory": func() error { return d.mkdir(path, container.MakeDirectoryOptions{}) },
		"move":           func() error { return d.move(path, "/tmp/to", false) },
		"move to":        func() error { return d.move("/tmp/from", path, false) },
		"remove":         func() error { return d.remove(path, false) },
		"change":         func() error { return d.change(path, container.ChangeFileOptions{SetMode: true}) },
	}
	if a, ok := container.As[container.FileArchiver](d.rt); ok {
		calls["pack"] = func() error { return onlyError(d.packWith(a, path)) }
		calls["unpack"] = func() error { return d.unpackWith(a, path, emptyTar(), container.UnpackFilesOptions{}) }
	}
	if w, ok := container.As[container.FileWatcher](d.rt); ok {
		calls["watch"] = func() error {
			return w.WatchFiles(d.ctx, d.id, path, container.WatchFilesOptions{User: d.user},
				func(container.FileEvent) error { return context.DeadlineExceeded })
		}
	}
	if s, ok := container.As[container.FileSearcher](d.rt); ok {
		calls["search"] = func() error {
			return onlyError(s.SearchFiles(d.ctx, d.id, path, container.SearchFilesOptions{User: d.user, Name: "*"},
				func(container.FileMatch) error { return nil }))
		}
	}
	return calls
}
