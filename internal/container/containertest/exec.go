package containertest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/octobot-run/octobot/internal/container"
)

var execCases = []testCase{
	{"streams apart", testExecStreams},
	{"exit codes", testExecCodes},
	{"stdin", testExecStdin},
	{"stdin left unread", testExecStdinUnread},
	{"stdin left unread, and output", testExecUnreadOutput},
	{"environment", testExecEnv},
	{"working directory", testExecDir},
	{"user", testExecUser},
	{"binary output", testExecBinary},
	{"long argument", testExecLongArgument},
	{"output limit", testExecLimit},
	{"not executable", testExecMissing},
	{"refused by the kernel", testExecRefused},
	{"an engine's words", testExecWords},
	{"not running", testExecStopped},
	{"container ends meanwhile", testExecContainerEnds},
	{"container is ending", testExecDying},
	{"background child does not hold", testExecBackground},
	{"cancel kills the tree", testExecCancel},
	{"cancel kills what left the session", testExecCancelSetsid},
	{"deadline keeps output", testExecDeadline},
	{"concurrent", testExecConcurrent},
	{"Tty", testExecTty},
	{"Tty size", testExecTtySize},
	{"Tty stdin", testExecTtyStdin},
	{"Tty exit code", testExecTtyCode},
	{"Tty cancel", testExecTtyCancel},
}

func testExecStreams(f *fixture) {
	id := f.shared()
	res := f.exec(id, container.ExecOptions{}, "sh", "-c", "echo out; echo err >&2; echo out again")
	f.equal("stdout", res.Stdout, "out\nout again\n")
	f.equal("stderr", res.Stderr, "err\n")
	f.equal("exit code", res.ExitCode, 0)
	f.equal("stdout truncated", res.StdoutTruncated, false)
	f.equal("stderr truncated", res.StderrTruncated, false)
}

// testExecCodes: whatever a command's end, it is a result. 125 to 127 are what engines
// use for troubles of their own.
func testExecCodes(f *fixture) {
	id := f.shared()
	for script, want := range map[string]int{
		"exit 0": 0, "exit 1": 1, "exit 43": 43, "exit 125": 125, "exit 126": 126, "exit 127": 127, "exit 255": 255,
		"kill -9 $$; sleep 60": 137, "kill -15 $$; sleep 60": 143, "no-such-program": 127,
	} {
		res := f.exec(id, container.ExecOptions{}, "sh", "-c", script)
		f.equal("exit code of "+script, res.ExitCode, want)
	}
	f.equal("exit code of true", f.exec(id, container.ExecOptions{}, "true").ExitCode, 0)
	f.equal("exit code of false", f.exec(id, container.ExecOptions{}, "false").ExitCode, 1)
}

func testExecStdin(f *fixture) {
	id := f.shared()
	for _, in := range []string{"", "x", "line\n", strings.Repeat("many bytes\n", 100_000)} {
		res := f.exec(id, container.ExecOptions{Stdin: strings.NewReader(in)}, "cat")
		f.equal("stdout", res.Stdout, in)
		f.equal("exit code", res.ExitCode, 0)
	}
	// Without one, the command sees the end at once.
	f.mustBePrompt("cat", func() { f.equal("stdout", f.exec(id, container.ExecOptions{}, "cat").Stdout, "") })
}

// testExecStdinUnread: neither an input that never ends nor one that nobody reads holds
// the call.
func testExecStdinUnread(f *fixture) {
	id := f.shared()
	r, w := io.Pipe()
	defer w.Close()
	f.mustBePrompt("true", func() {
		f.equal("exit code", f.exec(id, container.ExecOptions{Stdin: r}, "true").ExitCode, 0)
	})
	f.mustBePrompt("true", func() {
		f.equal("exit code", f.exec(id, container.ExecOptions{Stdin: endless{}}, "true").ExitCode, 0)
	})
}

type endless struct{}

func (endless) Read(b []byte) (int, error) { return len(b), nil }

func testExecEnv(f *fixture) {
	id := f.id("s")
	opts := f.idle()
	opts.Env = []string{"KEPT=1", "OVERRIDDEN=1"}
	f.start(id, opts)
	res := f.exec(id, container.ExecOptions{Env: []string{"OVERRIDDEN=2", "ADDED=a b=c ✓"}}, "env")
	lines := strings.Split(res.Stdout, "\n")
	for _, want := range []string{"KEPT=1", "OVERRIDDEN=2", "ADDED=a b=c ✓"} {
		n := 0
		for _, line := range lines {
			if line == want {
				n++
			}
		}
		f.equal("occurrences of "+want, n, 1)
	}
	if strings.Contains(res.Stdout, "OVERRIDDEN=1") {
		f.Fatalf("environment is %s", res.Stdout)
	}
	f.equal("later environment", f.sh(id, `echo -n "$ADDED"`), "")
}

func testExecDir(f *fixture) {
	id := f.shared()
	f.equal("directory", f.exec(id, container.ExecOptions{WorkingDir: "/home/user"}, "pwd").Stdout, "/home/user\n")
	_, err := f.rt.Exec(f.ctx, id, []string{"pwd"}, container.ExecOptions{WorkingDir: "/no/such/directory"})
	f.class(err, container.ErrExecFailed)
}

func testExecUser(f *fixture) {
	id := f.shared()
	for user, want := range map[string]string{"": "0", "root": "0", "user": "1000", "1000": "1000",
		"1000:1000": "1000"} {
		f.equal("uid of "+user, f.exec(id, container.ExecOptions{User: user}, "id", "-u").Stdout, want+"\n")
	}
	_, err := f.rt.Exec(f.ctx, id, []string{"true"}, container.ExecOptions{User: "nobody-of-that-name"})
	f.class(err, container.ErrExecFailed)
}

func testExecBinary(f *fixture) {
	id := f.shared()
	data := make([]byte, 3*256)
	for i := range data {
		data[i] = byte(i)
	}
	res := f.exec(id, container.ExecOptions{Stdin: bytes.NewReader(data)}, "cat")
	f.equal("stdout", res.Stdout, string(data))
}

func testExecLongArgument(f *fixture) {
	id := f.shared()
	arg := strings.Repeat("0123456789", 10_000)
	f.equal("stdout", f.exec(id, container.ExecOptions{}, "echo", arg).Stdout, arg+"\n")
}

func testExecLimit(f *fixture) {
	id := f.shared()
	run := func(n int, limit int64) *container.ExecResult {
		f.Helper()
		res := f.exec(id, container.ExecOptions{MaxOutput: limit}, "sh", "-c",
			fmt.Sprintf("head -c %d /dev/zero; echo err >&2; exit 3", n))
		f.equal("exit code", res.ExitCode, 3)
		f.equal("stderr", res.Stderr, "err\n")
		f.equal("stderr truncated", res.StderrTruncated, false)
		return res
	}
	res := run(1_000_000, 4096)
	f.equal("length", len(res.Stdout), 4096)
	f.equal("stdout truncated", res.StdoutTruncated, true)
	res = run(4096, 4096)
	f.equal("length", len(res.Stdout), 4096)
	f.equal("stdout truncated", res.StdoutTruncated, false)
	res = run(20<<20, 0)
	f.equal("length", len(res.Stdout), container.DefaultMaxOutput)
	f.equal("stdout truncated", res.StdoutTruncated, true)
}

func testExecMissing(f *fixture) {
	id := f.shared()
	for _, cmd := range []string{"no-such-program", "/no/such/program", "/etc/passwd", "/tmp"} {
		_, err := f.rt.Exec(f.ctx, id, []string{cmd}, container.ExecOptions{})
		f.class(err, container.ErrExecFailed, cmd)
		_, err = f.rt.Exec(f.ctx, id, []string{cmd}, container.ExecOptions{Tty: true})
		f.class(err, container.ErrExecFailed, cmd, " on a TTY")
	}
}

func testExecStopped(f *fixture) {
	id := f.id("s")
	f.create(id, f.idle())
	_, err := f.rt.Exec(f.ctx, id, []string{"true"}, container.ExecOptions{})
	f.class(err, container.ErrContainerStopped)
	f.must(f.rt.Start(f.ctx, id))
	f.must(f.rt.Stop(f.ctx, id, 0))
	_, err = f.rt.Exec(f.ctx, id, []string{"true"}, container.ExecOptions{})
	f.class(err, container.ErrContainerStopped)
	f.must(f.rt.Start(f.ctx, id))
	f.equal("output", f.sh(id, "echo up"), "up")
}

func testExecContainerEnds(f *fixture) {
	id := f.running()
	failed := make(chan error, 1)
	go func() {
		_, err := f.rt.Exec(f.ctx, id, []string{"sleep", "1234"}, container.ExecOptions{})
		failed <- err
	}()
	f.awaitProcess(id, "sleep 1234")
	f.must(f.rt.Stop(f.ctx, id, 0))
	f.class(<-failed, container.ErrContainerStopped)
}

// awaitProcess waits until a process runs whose command line is, or starts with, args.
func (f *fixture) awaitProcess(id, args string) {
	f.Helper()
	f.poll("process "+args, func() bool { return strings.Contains(f.processes(id), args) })
}

// awaitGone waits until no process runs whose command line holds args.
func (f *fixture) awaitGone(id, args string) {
	f.Helper()
	f.poll("the end of process "+args, func() bool { return !strings.Contains(f.processes(id), args) })
}

func testExecBackground(f *fixture) {
	id := f.shared()
	f.mustBePrompt("exec", func() {
		res := f.exec(id, container.ExecOptions{}, "sh", "-c", "sleep 1235 & echo done")
		f.equal("stdout", res.Stdout, "done\n")
	})
	// It was not cancelled, so the child lives on.
	f.awaitProcess(id, "sleep 1235")
}

// testExecCancel looks inside the container, since only there it shows that nothing is left.
func testExecCancel(f *fixture) {
	if !f.caps.KillsExec {
		return
	}
	id := f.shared()
	f.cancelled(id, container.ExecOptions{}, "SLEEP & SLEEP & sh -c 'SLEEP; true'; true", "4301")
	f.equal("main process", f.get(id).Status, container.StatusRunning)
	f.equal("output", f.sh(id, "echo alive"), "alive")
}

func testExecCancelSetsid(f *fixture) {
	if !f.caps.KillsExec {
		return
	}
	id := f.shared()
	f.cancelled(id, container.ExecOptions{}, "setsid SLEEP & setsid sh -c 'SLEEP; true' & SLEEP; true", "4302")
}

// cancelled runs a script whose SLEEPs become processes that show for how long, cancels it,
// and sees that all have ended.
func (f *fixture) cancelled(id string, opts container.ExecOptions, script, seconds string) {
	f.Helper()
	script = strings.ReplaceAll(script, "SLEEP", "sleep "+seconds)
	ctx, cancel := context.WithCancel(f.ctx)
	defer cancel()
	failed := make(chan error, 1)
	go func() {
		_, err := f.rt.Exec(ctx, id, []string{"sh", "-c", script}, opts)
		failed <- err
	}()
	f.awaitSleepers(id, script, "sleep "+seconds)
	f.mustBePrompt("cancel", func() {
		cancel()
		f.class(<-failed, context.Canceled)
	})
	f.awaitGone(id, seconds)
}

// awaitSleepers waits until every one of a script's sleeps runs.
func (f *fixture) awaitSleepers(id, script, sleep string) {
	f.Helper()
	want := strings.Count(script, sleep)
	f.poll("all processes", func() bool {
		n := 0
		for line := range strings.Lines(f.processes(id)) {
			// The shells' own command lines hold the script.
			if strings.Contains(line, sleep) && !strings.Contains(line, "sh -c") {
				n++
			}
		}
		return n >= want
	})
}

func testExecDeadline(f *fixture) {
	id := f.shared()
	ctx, cancel := context.WithTimeout(f.ctx, 2*time.Second)
	defer cancel()
	f.mustBePrompt("exec", func() {
		res, err := f.rt.Exec(ctx, id, []string{"sh", "-c", "echo before; echo oops >&2; sleep 3600"},
			container.ExecOptions{})
		f.class(err, context.DeadlineExceeded)
		if res == nil {
			f.Fatal("no result with what had been written")
		}
		f.equal("stdout", res.Stdout, "before\n")
		f.equal("stderr", res.Stderr, "oops\n")
	})
}

func testExecConcurrent(f *fixture) {
	id := f.shared()
	var wg sync.WaitGroup
	for i := range 12 {
		wg.Go(func() {
			want := strings.Repeat(fmt.Sprint(i), 5000)
			res, err := f.rt.Exec(f.ctx, id, []string{"cat"}, container.ExecOptions{Stdin: strings.NewReader(want)})
			switch {
			case err != nil:
				f.Error(err)
			case res.Stdout != want:
				f.Errorf("exec %d wrote %s", i, show(res.Stdout))
			}
		})
	}
	wg.Wait()
}

func testExecTty(f *fixture) {
	id := f.shared()
	res := f.exec(id, container.ExecOptions{Tty: true}, "sh", "-c", "echo out; echo err >&2")
	f.equal("stdout", res.Stdout, "out\r\nerr\r\n")
	f.equal("stderr", res.Stderr, "")
}

func testExecTtySize(f *fixture) {
	id := f.shared()
	res := f.exec(id, container.ExecOptions{Tty: true, Rows: 33, Cols: 101}, "stty", "size")
	f.equal("size", res.Stdout, "33 101\r\n")
}

func testExecTtyStdin(f *fixture) {
	id := f.shared()
	res := f.exec(id, container.ExecOptions{Tty: true, Stdin: strings.NewReader("hello\n\x04")}, "cat")
	f.equal("stdout", strings.ReplaceAll(res.Stdout, "^D\b\b", ""), "hello\r\nhello\r\n")
}

func testExecTtyCode(f *fixture) {
	id := f.shared()
	f.equal("exit code", f.exec(id, container.ExecOptions{Tty: true}, "sh", "-c", "exit 43").ExitCode, 43)
}

func testExecTtyCancel(f *fixture) {
	if !f.caps.KillsExec {
		return
	}
	f.cancelled(f.shared(), container.ExecOptions{Tty: true}, "SLEEP & SLEEP; true", "4303")
}
