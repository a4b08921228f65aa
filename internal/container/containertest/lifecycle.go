package containertest

import (
	"errors"
	"io"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/octobot-run/octobot/internal/container"
)

var lifecycleCases = []testCase{
	{"happy path", testHappyPath},
	{"create twice", testCreateTwice},
	{"start twice", testStartTwice},
	{"stop twice", testStopTwice},
	{"stop created", testStopCreated},
	{"remove twice", testRemoveTwice},
	{"remove running", testRemoveRunning},
	{"remove frees the name", testRemoveFreesName},
	{"missing container", testMissingContainer},
	{"missing image", testMissingImage},
	{"concurrent creates", testConcurrentCreates},
	{"concurrent starts and stops", testConcurrentStartStop},
	{"stop amid a stop", testStopAmidStop},
	{"start amid a stop", testStartAmidStop},
	{"remove amid a stop", testRemoveAmidStop},
	{"restart keeps files", testRestartKeepsFiles},
	{"container is a copy", testContainerIsCopy},
	{"another runtime of the instance", testSameInstance},
	{"renamed", testRenamed},
}

func testHappyPath(f *fixture) {
	id := f.id("s")
	before := time.Now().Add(-time.Minute) // clocks differ between here and the engine
	opts := f.idle()
	opts.Labels = map[string]string{"color": "blue", "empty": ""}
	opts.ProjectID = "p1"
	opts.Origin = "here: sqlite"

	c := f.create(id, opts)
	f.equal("status", c.Status, container.StatusCreated)
	f.equal("session", c.SessionID, id)
	if c.ID == "" {
		f.Fatal("no engine's ID")
	}
	f.equal("address", c.Address, "")

	c = f.get(id)
	f.equal("status", c.Status, container.StatusCreated)
	f.equal("image", c.Image, f.h.Image)
	if !c.Detailed || !c.StartedAt.IsZero() || !c.FinishedAt.IsZero() {
		f.Fatalf("times of what never ran: %+v", c)
	}
	if c.CreatedAt.Before(before) || c.CreatedAt.After(time.Now().Add(time.Minute)) {
		f.Fatalf("created at %v", c.CreatedAt)
	}
	for k, want := range container.Labels(f.instance, id, opts) {
		if got, ok := c.Labels[k]; !ok || got != want {
			f.Errorf("label %s is %q, %t; want %q", k, got, ok, want)
		}
	}

	f.must(f.rt.Start(f.ctx, id))
	c = f.get(id)
	f.equal("status", c.Status, container.StatusRunning)
	if c.StartedAt.IsZero() || c.Paused || c.OOMKilled || c.Tty {
		f.Fatalf("running container: %+v", c)
	}
	if f.caps.Ports == (c.Address == "") {
		f.Fatalf("address is %q", c.Address)
	}
	f.equal("output", f.sh(id, "echo hello"), "hello")

	f.must(f.rt.Stop(f.ctx, id, -1))
	c = f.get(id)
	f.equal("status", c.Status, container.StatusStopped)
	f.equal("address", c.Address, "")
	f.equal("number of ports", len(c.Ports), 0)
	if c.FinishedAt.IsZero() {
		f.Fatal("no end of what has stopped")
	}

	f.must(f.rt.Remove(f.ctx, id))
	f.equal("containers left", f.count(id), 0)
	_, err := f.rt.Get(f.ctx, id)
	f.class(err, container.ErrContainerNotFound)
}

func testCreateTwice(f *fixture) {
	id := f.id("s")
	opts := f.idle()
	opts.Labels = map[string]string{"which": "first"}
	first := f.start(id, opts)

	opts.Labels = map[string]string{"which": "second"}
	_, err := f.rt.Create(f.ctx, id, opts)
	f.class(err, container.ErrContainerExists)

	c := f.get(id)
	f.equal("engine's ID", c.ID, first.ID)
	f.equal("status", c.Status, container.StatusRunning)
	f.equal("label", c.Labels["which"], "first")
	f.equal("containers", f.count(id), 1)
}

func testStartTwice(f *fixture) {
	id := f.id("s")
	first := f.start(id, f.idle())
	f.must(f.rt.Start(f.ctx, id))
	c := f.get(id)
	f.equal("start", c.StartedAt, first.StartedAt)
	f.equal("address", c.Address, first.Address)
}

func testStopTwice(f *fixture) {
	id := f.running()
	f.must(f.rt.Stop(f.ctx, id, 5*time.Second))
	first := f.get(id)
	f.must(f.rt.Stop(f.ctx, id, 5*time.Second))
	c := f.get(id)
	f.equal("status", c.Status, container.StatusStopped)
	f.equal("end", c.FinishedAt, first.FinishedAt)
}

func testStopCreated(f *fixture) {
	id := f.id("s")
	f.create(id, f.idle())
	f.must(f.rt.Stop(f.ctx, id, 0))
	f.equal("status", f.get(id).Status, container.StatusCreated)
	f.must(f.rt.Start(f.ctx, id))
	f.equal("status", f.get(id).Status, container.StatusRunning)
}

func testRemoveTwice(f *fixture) {
	id := f.id("s")
	f.create(id, f.idle())
	f.must(f.rt.Remove(f.ctx, id))
	f.class(f.rt.Remove(f.ctx, id), container.ErrContainerNotFound)
}

func testRemoveRunning(f *fixture) {
	id := f.running()
	f.must(f.rt.Remove(f.ctx, id))
	f.equal("containers left", f.count(id), 0)
}

func testRemoveFreesName(f *fixture) {
	id := f.id("s")
	for range 3 {
		f.start(id, f.idle())
		f.must(f.rt.Remove(f.ctx, id))
	}
	f.create(id, f.idle())
}

// calls are all the methods of Runtime that are about one session's existing container.
func (f *fixture) calls(rt container.Runtime, id string) map[string]func() error {
	return map[string]func() error{
		"start":  func() error { return rt.Start(f.ctx, id) },
		"stop":   func() error { return rt.Stop(f.ctx, id, 0) },
		"remove": func() error { return rt.Remove(f.ctx, id) },
		"get":    func() error { _, err := rt.Get(f.ctx, id); return err },
		"exec": func() error {
			_, err := rt.Exec(f.ctx, id, []string{"true"}, container.ExecOptions{})
			return err
		},
		"attach": func() error {
			pty, err := rt.Attach(f.ctx, id, container.AttachOptions{Cmd: []string{"true"}})
			if err == nil {
				err = errors.Join(errors.New("attached"), pty.Close())
			}
			return err
		},
	}
}

// optionalCalls are the same of the optional interfaces that there are.
func (f *fixture) optionalCalls(rt container.Runtime, id string) map[string]func() error {
	calls := make(map[string]func() error)
	if x, ok := container.As[container.LogReader](rt); ok {
		calls["logs"] = func() error {
			return x.Logs(f.ctx, id, container.LogOptions{Tail: -1}, io.Discard,
				io.Discard)
		}
	}
	if x, ok := container.As[container.StreamExecer](rt); ok {
		calls["exec stream"] = func() error {
			_, err := x.ExecStream(f.ctx, id, []string{"true"}, container.ExecOptions{}, nil, nil)
			return err
		}
	}
	if x, ok := container.As[container.Copier](rt); ok {
		calls["copy to"] = func() error { return x.CopyTo(f.ctx, id, "/tmp", emptyTar()) }
		calls["copy from"] = func() error {
			r, err := x.CopyFrom(f.ctx, id, "/tmp")
			if err == nil {
				err = errors.Join(errors.New("copied"), r.Close())
			}
			return err
		}
	}
	if x, ok := container.As[container.StatsReader](rt); ok {
		calls["stats"] = func() error { _, err := x.Stats(f.ctx, id); return err }
	}
	if x, ok := container.As[container.Pauser](rt); ok {
		calls["pause"] = func() error { return x.Pause(f.ctx, id) }
		calls["unpause"] = func() error { return x.Unpause(f.ctx, id) }
	}
	if x, ok := container.As[container.Updater](rt); ok {
		calls["update"] = func() error { return x.Update(f.ctx, id, container.Resources{PIDs: 100}) }
	}
	if x, ok := container.As[container.Topper](rt); ok {
		calls["top"] = func() error { _, err := x.Top(f.ctx, id); return err }
	}
	if x, ok := container.As[container.Signaler](rt); ok {
		calls["signal"] = func() error { return x.Signal(f.ctx, id, 15) }
	}
	if x, ok := container.As[container.Terminals](rt); ok {
		calls["open terminal"] = func() error {
			t, err := x.OpenTerminal(f.ctx, id, terminal("t", "true"))
			if err == nil {
				err = errors.Join(errors.New("opened"), t.Close())
			}
			return err
		}
		calls["list terminals"] = func() error { _, err := x.ListTerminals(f.ctx, id); return err }
		calls["end terminal"] = func() error { return x.EndTerminal(f.ctx, id, "t") }
	}
	if x, ok := container.As[container.Processes](rt); ok {
		calls["start process"] = func() error {
			_, err := x.StartProcess(f.ctx, id, []string{"true"}, container.ProcessOptions{})
			return err
		}
		calls["list processes"] = func() error { _, err := x.ListProcesses(f.ctx, id); return err }
		calls["signal process"] = func() error { return x.SignalProcess(f.ctx, id, "p", 15) }
		calls["wait process"] = func() error { _, err := x.WaitProcess(f.ctx, id, "p"); return err }
		calls["read process"] = func() error {
			_, _, err := x.ReadProcess(f.ctx, id, "p", container.OutputOptions{}, nil, nil)
			return err
		}
	}
	if x, ok := container.As[container.Files](rt); ok {
		g := *f
		g.rt = rt
		for name, call := range (&disk{&g, x, id, "", "/tmp"}).calls("/tmp/x") {
			calls["file: "+name] = call
		}
	}
	return calls
}

// everyCall is what must hold for each method that takes a session.
func (f *fixture) everyCall(rt container.Runtime, id string) map[string]func() error {
	calls := f.calls(rt, id)
	maps.Copy(calls, f.optionalCalls(rt, id))
	return calls
}

func testMissingContainer(f *fixture) {
	f.each(f.everyCall(f.rt, f.id("missing")), container.ErrContainerNotFound)
}

func testMissingImage(f *fixture) {
	id := f.id("s")
	opts := f.idle()
	opts.Image = missingImage
	_, err := f.rt.Create(f.ctx, id, opts)
	f.class(err, container.ErrImageNotFound)
	f.equal("containers left", f.count(id), 0)
	_, err = f.rt.Get(f.ctx, id)
	f.class(err, container.ErrContainerNotFound)
}

func testConcurrentCreates(f *fixture) {
	id := f.id("s")
	var (
		wg   sync.WaitGroup
		made atomic.Int32
		errs = make(chan error, 16)
	)
	for range cap(errs) {
		wg.Go(func() {
			_, err := f.rt.Create(f.ctx, id, f.idle())
			if err == nil {
				made.Add(1)
				return
			}
			errs <- err
		})
	}
	wg.Wait()
	close(errs)
	f.equal("number of successes", made.Load(), int32(1))
	for err := range errs {
		f.class(err, container.ErrContainerExists)
	}
	f.equal("containers", f.count(id), 1)
	f.equal("status", f.get(id).Status, container.StatusCreated)
}

// testConcurrentStartStop: whatever the order, no call fails and the container is whole
// afterwards.
func testConcurrentStartStop(f *fixture) {
	id := f.running()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if err := f.rt.Start(f.ctx, id); err != nil {
				f.Error(err)
			}
		})
		wg.Go(func() {
			if err := f.rt.Stop(f.ctx, id, 0); err != nil {
				f.Error(err)
			}
		})
	}
	wg.Wait()
	f.must(f.rt.Start(f.ctx, id))
	f.equal("output", f.sh(id, "echo up"), "up")
}

// amidStop calls do while a stop, which gives a main process that ignores the signal that long, is
// under way or about to be, and returns when both have.
func (f *fixture) amidStop(timeout time.Duration, do func(id string) error) (id string, stopErr error) {
	f.Helper()
	id = f.id("s")
	f.start(id, f.script(stubborn))
	f.awaitReady(id)
	stopped := make(chan error)
	go func() { stopped <- f.rt.Stop(f.ctx, id, timeout) }()
	err := do(id)
	stopErr = <-stopped
	f.must(err)
	return id, stopErr
}

func testStopAmidStop(f *fixture) {
	f.mustBePrompt("both", func() {
		id, err := f.amidStop(time.Hour, func(id string) error { return f.rt.Stop(f.ctx, id, 0) })
		f.must(err)
		c := f.get(id)
		f.equal("status", c.Status, container.StatusStopped)
		f.equal("exit code", c.ExitCode, 137)
	})
}

// testStartAmidStop: which of the two comes last is nobody's promise.
func testStartAmidStop(f *fixture) {
	id, err := f.amidStop(time.Second, func(id string) error { return f.rt.Start(f.ctx, id) })
	f.must(err)
	f.must(f.rt.Start(f.ctx, id))
	f.equal("output", f.sh(id, "echo up"), "up")
}

func testRemoveAmidStop(f *fixture) {
	f.mustBePrompt("both", func() {
		id, err := f.amidStop(time.Hour, func(id string) error { return f.rt.Remove(f.ctx, id) })
		if err != nil {
			f.class(err, container.ErrContainerNotFound, "stop")
		}
		f.equal("containers left", f.count(id), 0)
	})
}

func testRestartKeepsFiles(f *fixture) {
	id := f.running()
	f.sh(id, "echo kept > /tmp/file")
	f.must(f.rt.Stop(f.ctx, id, 0))
	f.must(f.rt.Start(f.ctx, id))
	res := f.exec(id, container.ExecOptions{}, "cat", "/tmp/file")
	if f.caps.KeepsFilesOnStop {
		f.equal("file", res.Stdout, "kept\n")
	} else if res.ExitCode == 0 {
		f.Fatal("the file was kept, though the capability says otherwise")
	}
}

func testContainerIsCopy(f *fixture) {
	id := f.id("s")
	c := f.create(id, f.idle())
	clear(c.Labels)
	c = f.get(id)
	clear(c.Labels)
	list, err := f.rt.List(f.ctx)
	f.must(err)
	clear(list[0].Labels)
	f.equal("label", f.get(id).Labels[container.LabelSession], id)
}

func testSameInstance(f *fixture) {
	id := f.running()
	closeRuntime(f.T, f.rt)
	f.rt = f.open(f.instance)
	f.equal("status", f.get(id).Status, container.StatusRunning)
	f.equal("output", f.sh(id, "echo still here"), "still here")
	f.must(f.rt.Remove(f.ctx, id))
}

// testRenamed: somebody gives our container another name. It stays the session's, also for who has
// never seen it under its own.
func testRenamed(f *fixture) {
	id := f.id("s")
	opts := f.idle()
	opts.Origin = "here: sqlite"
	made := f.start(id, opts)
	f.h.Rename(f.T, container.Name(id), f.id("renamed"))
	restarted := f.open(f.instance)
	for _, rt := range []container.Runtime{f.rt, restarted} {
		c, err := rt.Get(f.ctx, id)
		f.must(err)
		f.equal("engine's ID", c.ID, made.ID)
		if list := f.sessions(rt); len(list) != 1 || list[0] != id {
			f.Fatalf("list is %q; want %q", list, id)
		}
		_, err = rt.Create(f.ctx, id, f.idle())
		f.class(err, container.ErrContainerExists)
		if reader, ok := container.As[container.OriginReader](rt); ok {
			origin, err := reader.Origin(f.ctx, id)
			f.must(err)
			f.equal("origin", origin, opts.Origin)
		}
	}
	f.h.Foreign(f.T, container.Name(id), nil) // somebody takes the name, too
	f.equal("engine's ID", f.get(id).ID, made.ID)
	f.rt = f.open(f.instance) // which has to find it for each of these first
	f.equal("output", f.sh(id, "echo found"), "found")
	f.must(f.open(f.instance).Stop(f.ctx, id, 0))
	f.must(f.open(f.instance).Start(f.ctx, id))
	f.must(f.open(f.instance).Remove(f.ctx, id))
	f.equal("containers left", f.count(id), 0)
	f.class(f.rt.Remove(f.ctx, id), container.ErrContainerNotFound)
}
