package containertest

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/octobot-run/octobot/internal/container"
)

var processCases = onProcesses([]testCase{
	{"started and listed", testProcessListed},
	{"ctx bounds the starting alone", testProcessContext},
	{"many at once", testProcessManyAtOnce},
	{"environment, directory, user", testProcessEnv},
	{"no input", testProcessNoInput},
	{"long command", testProcessLongCommand},
	{"bad arguments", testProcessBadArguments},
	{"missing", testProcessMissing},
	{"not executable", testProcessNotExecutable},
	{"not running", testProcessNotRunning},
	{"paused", testProcessPaused},
	{"each session has its own", testProcessSessions},
	{"limit", testProcessLimit},

	{"exit code", testProcessExitCode},
	{"killed by a signal", testProcessKilled},
	{"signals", testProcessSignals},
	{"signals that end nothing", testProcessHarmless},
	{"signals caught", testProcessTraps},
	{"signal ignored", testProcessIgnores},
	{"signal to the group", testProcessGroup},
	{"SIGKILL kills the tree", testProcessKillTree},
	{"signal to one that has ended", testProcessSignalEnded},
	{"waited for by many", testProcessManyWait},
	{"waiting ends with ctx", testProcessWaitContext},
	{"background child does not hold", testProcessBackground},
	{"kept until it was waited for", testProcessKept},
	{"container stops", testProcessContainerStops},
	{"outlives the runtime", testProcessRuntimeClose},

	{"streams apart and in order", testProcessStreams},
	{"much on both streams", testProcessMuch},
	{"binary output", testProcessBinary},
	{"all output at the end", testProcessAllOutput},
	{"read while it ends", testProcessReadEnding},
	{"since a position", testProcessSince},
	{"position not reached", testProcessBeyond},
	{"follow", testProcessFollow},
	{"follow without output", testProcessFollowQuiet},
	{"follow ends with ctx", testProcessFollowContext},
	{"not followed", testProcessNotFollowed},
	{"nil writers", testProcessNilWriters},
	{"writer's error", testProcessWriterError},
	{"cut at random", testProcessCuts},
	{"slow reader", testProcessSlowReader},
	{"more written than is kept", testProcessMissed},
	{"keep", testProcessKeep},
	{"keep without a disk", testProcessKeepReadOnly},
})

// onProcesses leaves the cases out where nothing keeps processes.
func onProcesses(cases []testCase) []testCase {
	for i := range cases {
		run := cases[i].run
		cases[i].run = func(f *fixture) {
			if _, ok := optional[container.Processes](f); ok {
				run(f)
			}
		}
	}
	return cases
}

func testProcessListed(f *fixture) {
	id := f.running()
	before := f.get(id).StartedAt.Add(-time.Minute)
	f.equal("processes", len(f.listProcesses(id)), 0)
	cmds := [][]string{
		{"sleep", "4242"}, {"sh", "-c", "echo out; echo err >&2; " + gate(4243)}, {"sleep", "4244"},
	}
	var started []container.ProcessInfo
	for i, cmd := range cmds {
		p := f.startProcess(id, cmd...)
		f.must(container.ValidateProcessID(p.ID))
		f.equal("running", p.Running, true)
		if !p.Ended.IsZero() || p.Started.Before(before) || i > 0 && p.Started.Before(started[i-1].Started) {
			f.Fatalf("process is %+v", p)
		}
		started = append(started, p)
	}
	for _, p := range []container.ProcessInfo{started[0], f.process(id, started[0].ID)} {
		f.equal("position of what wrote nothing", p.Position, int64(0))
		f.equal("kept of what wrote nothing", p.Kept, int64(0))
	}
	f.poll("what sleeps", func() bool { return f.pidOf(id, "sleep 4242") != "" })
	f.equal("PID", strconv.Itoa(started[0].PID), f.pidOf(id, "sleep 4242"))

	f.equal("kept", f.awaitPosition(id, started[1].ID, len("out\nerr\n")).Kept, int64(len("out\nerr\n")))
	f.signal(id, started[2].ID, 9)
	list := f.listProcesses(id)
	f.equal("processes", len(list), len(started))
	for i, p := range list {
		f.equal("ID", p.ID, started[i].ID)
		f.equal("PID", p.PID, started[i].PID)
		f.equal("command", strings.Join(p.Cmd, " "), strings.Join(cmds[i], " "))
		f.equal("command as it was started", strings.Join(started[i].Cmd, " "), strings.Join(cmds[i], " "))
		f.equal("running", p.Running, i < 2)
		if !p.Started.Equal(started[i].Started) || p.Ended.IsZero() == (i == 2) {
			f.Fatalf("process is %+v; it was %+v when it was started", p, started[i])
		}
	}
	f.equal("exit code", list[2].ExitCode, 137)
	if list[2].Ended.Before(list[2].Started) {
		f.Fatalf("process is %+v", list[2])
	}
}

func testProcessContext(f *fixture) {
	id := f.shared()
	ctx, cancel := context.WithCancel(f.ctx)
	defer cancel()
	p, err := f.detached().StartProcess(ctx, id, []string{"sh", "-c", gate(5010) + "; echo after; exit 7"},
		container.ProcessOptions{})
	f.must(err)
	cancel()
	f.openGate(id, 5010)
	f.equal("exit code", f.waitProcess(id, p.ID), 7)
	f.equal("output", f.read(id, p.ID, 0).stdout(), "after\n")
}

func testProcessManyAtOnce(f *fixture) {
	id := f.running()
	p := f.detached()
	started := make([]container.ProcessInfo, 12)
	var wg sync.WaitGroup
	for i := range started {
		wg.Go(func() {
			info, err := p.StartProcess(f.ctx, id, []string{"sh", "-c", fmt.Sprintf("echo %d; exit %[1]d", i)},
				container.ProcessOptions{})
			if err != nil {
				f.Errorf("start %d: %v", i, err)
			}
			started[i] = info
		})
	}
	wg.Wait()
	if f.Failed() {
		f.FailNow()
	}
	ids := make(map[string]bool)
	for i, info := range started {
		ids[info.ID] = true
		f.equal("output", f.readAll(id, info.ID).stdout(), fmt.Sprintln(i))
		f.equal("exit code", f.awaitEnd(id, info.ID).ExitCode, i)
	}
	f.equal("number of IDs", len(ids), len(started))
	f.equal("processes", len(f.listProcesses(id)), len(started))
}

func testProcessEnv(f *fixture) {
	id := f.id("s")
	opts := f.idle()
	opts.Env = []string{"KEPT=1", "OVERRIDDEN=1"}
	f.start(id, opts)
	p := f.startWith(id, container.ProcessOptions{
		Env: []string{"OVERRIDDEN=2", "ADDED=a b=c ✓"}, WorkingDir: "/home/user", User: "user",
	}, "sh", "-c", `echo "$KEPT $OVERRIDDEN $ADDED"; pwd; id -u`)
	f.equal("output", f.readAll(id, p.ID).stdout(), "1 2 a b=c ✓\n/home/user\n1000\n")

	p = f.startScript(id, `echo "$KEPT $OVERRIDDEN $ADDED."; id -u`)
	f.equal("output without options", f.readAll(id, p.ID).stdout(), "1 1 .\n0\n")
}

func testProcessNoInput(f *fixture) {
	id := f.shared()
	f.mustBePrompt("cat", func() {
		p := f.startScript(id, "cat; head -n 1; exit 7")
		f.equal("exit code", f.waitProcess(id, p.ID), 7)
		data, _ := f.read(id, p.ID, 0).both()
		f.equal("output", data, "")
	})
}

func testProcessLongCommand(f *fixture) {
	id := f.shared()
	arg := strings.Repeat("0123456789", 10_000)
	p := f.startProcess(id, "echo", arg)
	f.equal("output", f.readAll(id, p.ID).stdout(), arg+"\n")
	for _, info := range []container.ProcessInfo{p, f.awaitEnd(id, p.ID)} {
		if len(info.Cmd) == 0 || info.Cmd[0] != "echo" {
			f.Fatalf("command is %s", show(info.Cmd))
		}
	}
}

func testProcessBadArguments(f *fixture) {
	id := f.running()
	p := f.detached()
	for name, x := range map[string]struct {
		cmd  []string
		opts container.ProcessOptions
	}{
		"no command":         {},
		"empty command":      {cmd: []string{""}},
		"NUL":                {cmd: []string{"echo", "a\x00b"}},
		"bad env":            {cmd: []string{"true"}, opts: container.ProcessOptions{Env: []string{"x"}}},
		"relative directory": {cmd: []string{"true"}, opts: container.ProcessOptions{WorkingDir: "tmp"}},
		"bad user":           {cmd: []string{"true"}, opts: container.ProcessOptions{User: "a:b:c"}},
		"negative keep":      {cmd: []string{"true"}, opts: container.ProcessOptions{Keep: -1}},
		"huge keep":          {cmd: []string{"true"}, opts: container.ProcessOptions{Keep: container.MaxKeep + 1}},
	} {
		_, err := p.StartProcess(f.ctx, id, x.cmd, x.opts)
		f.class(err, container.ErrInvalidArgument, name)
	}
	f.equal("processes", len(f.listProcesses(id)), 0)

	for _, pid := range []string{"", "../p", "a b", "-a", "ä", strings.Repeat("a", 64)} {
		f.each(f.processCalls(id, pid), container.ErrInvalidArgument)
	}
	info := f.startProcess(id, "sleep", "5040")
	for _, signal := range []int{-9, -1, 0, 65, 1 << 20} {
		f.class(p.SignalProcess(f.ctx, id, info.ID, signal), container.ErrInvalidArgument, "signal ", signal)
	}
	for _, follow := range []bool{false, true} {
		_, _, err := p.ReadProcess(f.ctx, id, info.ID, container.OutputOptions{Since: -1, Follow: follow}, nil, nil)
		f.class(err, container.ErrInvalidArgument, "negative position")
	}
	f.equal("running", f.process(id, info.ID).Running, true)
}

func testProcessMissing(f *fixture) {
	id := f.shared()
	f.each(f.processCalls(id, "0123456789abcdef"), container.ErrProcessNotFound)
	p := f.startProcess(id, "sleep", "5050")
	f.each(f.processCalls(id, "0123456789abcdef"), container.ErrProcessNotFound)
	f.equal("running", f.process(id, p.ID).Running, true)
}

// testProcessNotExecutable: a command that can't be started leaves nothing.
func testProcessNotExecutable(f *fixture) {
	id := f.running()
	for name, x := range map[string]struct {
		cmd  string
		opts container.ProcessOptions
	}{
		"missing program":   {cmd: "no-such-program"},
		"missing path":      {cmd: "/no/such/program"},
		"file":              {cmd: "/etc/passwd"},
		"directory":         {cmd: "/tmp"},
		"missing directory": {cmd: "true", opts: container.ProcessOptions{WorkingDir: "/no/such/directory"}},
		"unknown user":      {cmd: "true", opts: container.ProcessOptions{User: "nobody-of-that-name"}},
	} {
		_, err := f.detached().StartProcess(f.ctx, id, []string{x.cmd}, x.opts)
		f.class(err, container.ErrExecFailed, name)
	}
	f.equal("processes", len(f.listProcesses(id)), 0)
}

// everyProcessCall is what must give want while nothing can be done with the container's processes.
func (f *fixture) everyProcessCall(id, pid string, want error) {
	f.Helper()
	p, calls := f.detached(), f.processCalls(id, pid)
	calls["list"] = func() error { _, err := p.ListProcesses(f.ctx, id); return err }
	calls["start"] = func() error {
		_, err := p.StartProcess(f.ctx, id, []string{"true"}, container.ProcessOptions{})
		return err
	}
	f.each(calls, want)
}

func testProcessNotRunning(f *fixture) {
	id := f.id("s")
	f.create(id, f.idle())
	f.everyProcessCall(id, "0123456789abcdef", container.ErrContainerStopped)
	f.must(f.rt.Start(f.ctx, id))
	f.equal("processes", len(f.listProcesses(id)), 0)
	f.must(f.rt.Stop(f.ctx, id, 0))
	f.everyProcessCall(id, "0123456789abcdef", container.ErrContainerStopped)
}

// testProcessPaused: nobody comes to a process of a container that is paused. Who follows one goes
// on to do so.
func testProcessPaused(f *fixture) {
	pauser, ok := optional[container.Pauser](f)
	if !ok {
		return
	}
	id := f.running()
	p := f.startScript(id, "echo before; "+gate(4242)+"; echo after; exit 7")
	reader := f.follow(f.ctx, id, p.ID, 0)
	reader.await("before\n")
	f.must(pauser.Pause(f.ctx, id))
	f.everyProcessCall(id, p.ID, container.ErrContainerPaused)
	f.must(pauser.Unpause(f.ctx, id))
	f.openGate(id, 4242)
	reader.awaitEnd()
	f.equal("output", reader.stdout(), "before\nafter\n")
	f.equal("exit code", f.waitProcess(id, p.ID), 7)
}

func testProcessSessions(f *fixture) {
	a, b := f.id("a"), f.id("b")
	f.start(a, f.idle())
	f.start(b, f.idle())
	first, second := f.startProcess(a, "sleep", "4242"), f.startProcess(b, "sleep", "4242")
	if first.ID == second.ID {
		f.Fatalf("two processes have the ID %s", first.ID)
	}
	f.each(f.processCalls(a, second.ID), container.ErrProcessNotFound)
	f.each(f.processCalls(b, first.ID), container.ErrProcessNotFound)
	f.signal(a, first.ID, 9)
	f.equal("exit code", f.process(a, first.ID).ExitCode, 137)
	f.equal("running", f.process(b, second.ID).Running, true)
	f.equal("processes", len(f.listProcesses(a)), 1)
	f.equal("processes of the other", len(f.listProcesses(b)), 1)
}

// testProcessLimit: where there is a limit, what has ended makes room.
func testProcessLimit(f *fixture) {
	id := f.running()
	start := func() (container.ProcessInfo, error) {
		return f.detached().StartProcess(f.ctx, id, []string{"sleep", "4242"}, container.ProcessOptions{})
	}
	ended := f.startProcess(id, "true")
	f.awaitEnd(id, ended.ID)
	const most = 300
	var running []string
	for i := range most {
		p, err := start()
		if err == nil {
			running = append(running, p.ID)
			continue
		}
		f.class(err, container.ErrLimitReached)
		if i == 0 || f.findProcess(id, ended.ID) != nil {
			f.Fatalf("the limit is reached with %d processes that run, while one that has ended is kept", i)
		}
		f.equal("processes", len(f.listProcesses(id)), i)
		f.signal(id, running[0], 9)
		p, err = start()
		f.must(err)
		f.each(f.processCalls(id, running[0]), container.ErrProcessNotFound)
		_, err = start()
		f.class(err, container.ErrLimitReached)
		f.equal("running", f.process(id, p.ID).Running, true)
		f.equal("processes", len(f.listProcesses(id)), i)
		return
	}
	list := slices.DeleteFunc(f.listProcesses(id), func(p container.ProcessInfo) bool { return !p.Running })
	f.equal("processes that run", len(list), most)
}
