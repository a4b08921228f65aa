package containertest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/octobot-run/octobot/internal/container"
)

var logCases = []testCase{
	{"streams apart", testLogs},
	{"tail", testLogsTail},
	{"tail ends in the middle of a line", testLogsTailUnfinished},
	{"since and timestamps", testLogsSince},
	{"since a moment", testLogsSinceMoment},
	{"long lines", testLogsLongLines},
	{"long lines of a TTY", testLogsLongTty},
	{"timestamps of a TTY", testLogsTimesTty},
	{"follow from now on", testLogsFollowFromNow},
	{"follow ends at exit", testLogsFollow},
	{"follow ends with ctx", testLogsCancel},
	{"follow a stopped container", testLogsFollowStopped},
	{"over a restart", testLogsRestart},
	{"of a TTY", testLogsTty},
	{"never run", testLogsCreated},
	{"writer's error", testLogsWriterError},
}

func (f *fixture) logs(id string, opts container.LogOptions) (stdout, stderr string) {
	f.Helper()
	l, _ := container.As[container.LogReader](f.rt)
	var out, errs strings.Builder
	f.must(l.Logs(f.ctx, id, opts, &out, &errs))
	return out.String(), errs.String()
}

// ended runs a script to its end and returns its session; empty where the runtime has no logs.
func (f *fixture) ended(script string) string {
	f.Helper()
	if _, ok := optional[container.LogReader](f); !ok {
		return ""
	}
	id := f.id("s")
	f.create(id, f.script(script))
	f.must(f.rt.Start(f.ctx, id))
	f.stopped(id)
	return id
}

func testLogs(f *fixture) {
	id := f.ended("echo out 1; echo err >&2; echo out 2; echo -n unfinished")
	if id == "" {
		return
	}
	stdout, stderr := f.logs(id, container.LogOptions{Tail: -1})
	f.equal("stdout", stdout, "out 1\nout 2\nunfinished")
	f.equal("stderr", stderr, "err\n")
}

func testLogsTail(f *fixture) {
	id := f.ended("echo 1; echo 2; echo 3; echo 4")
	if id == "" {
		return
	}
	for n, want := range map[int]string{-1: "1\n2\n3\n4\n", 0: "", 1: "4\n", 2: "3\n4\n", 100: "1\n2\n3\n4\n"} {
		stdout, _ := f.logs(id, container.LogOptions{Tail: n})
		f.equal("stdout", stdout, want)
	}
}

func testLogsTailUnfinished(f *fixture) {
	id := f.ended("echo 1; echo 2; echo -n 3")
	if id == "" {
		return
	}
	for n, want := range map[int]string{0: "", 1: "3", 2: "2\n3", 3: "1\n2\n3", 4: "1\n2\n3"} {
		stdout, _ := f.logs(id, container.LogOptions{Tail: n})
		f.equal("stdout", stdout, want)
	}
}

// longLines are a script's that ends by itself.
const longLines = "echo first; head -c 40000 /dev/zero; echo; head -c 32768 /dev/zero; echo; echo last"

// isLong checks the log of longLines, whose lines have that end: a line of any length is one,
// however an engine keeps it.
func (f *fixture) isLong(id, end string) {
	f.Helper()
	lines := []string{"first", strings.Repeat("\x00", 40000), strings.Repeat("\x00", 32768), "last"}
	for _, tail := range []int{-1, 1, 2, 3, 4} {
		stdout, _ := f.logs(id, container.LogOptions{Tail: tail})
		first := 0
		if tail > 0 {
			first = len(lines) - tail
		}
		f.equal(fmt.Sprint("log, tail ", tail), stdout, strings.Join(lines[first:], end)+end)
	}
}

// hasTimes checks that each line has one time.
func (f *fixture) hasTimes(id, end string) {
	f.Helper()
	plain, _ := f.logs(id, container.LogOptions{Tail: -1})
	stamped, _ := f.logs(id, container.LogOptions{Tail: -1, Timestamps: true})
	var without strings.Builder
	for line := range strings.SplitAfterSeq(stamped, end) {
		stamp, text, _ := strings.Cut(line, " ")
		if _, err := time.Parse(time.RFC3339Nano, stamp); err != nil && line != "" {
			f.Fatalf("line begins with %s", show(line))
		}
		without.WriteString(text)
	}
	f.equal("log without times", without.String(), plain)
}

func testLogsLongLines(f *fixture) {
	id := f.ended(longLines)
	if id == "" {
		return
	}
	f.isLong(id, "\n")
	f.hasTimes(id, "\n")
}

func testLogsLongTty(f *fixture) {
	if _, ok := optional[container.LogReader](f); !ok {
		return
	}
	id := f.terminal("sh", "-c", longLines)
	f.stopped(id)
	f.isLong(id, "\r\n")
}

func testLogsTimesTty(f *fixture) {
	if _, ok := optional[container.LogReader](f); !ok {
		return
	}
	id := f.terminal("sh", "-c", longLines)
	f.stopped(id)
	f.hasTimes(id, "\r\n")
}

// testLogsFollowFromNow: what the main process writes last, without the end of a line too, is told
// to who has followed it from some moment on.
func testLogsFollowFromNow(f *fixture) {
	l, ok := optional[container.LogReader](f)
	if !ok {
		return
	}
	script := "echo past; while [ ! -e /tmp/go ]; do echo tick; sleep 0.05; done; printf world"
	if !f.caps.RealProcesses {
		script = "echo past; sleep 1; echo tick; sleep 0.1; echo -n world"
	}
	var following sync.WaitGroup
	for i := range 2 {
		id := f.id(fmt.Sprint("s", i))
		f.start(id, f.script(script))
		f.poll("the past", func() bool {
			past, _ := f.logs(id, container.LogOptions{Tail: -1})
			return strings.HasPrefix(past, "past\n")
		})
		following.Go(func() {
			var out strings.Builder
			seen := sync.OnceFunc(func() {
				if f.caps.RealProcesses {
					f.sh(id, "touch /tmp/go")
				}
			})
			both := writerFunc(func(b []byte) (int, error) {
				seen()
				return out.Write(b)
			})
			if err := l.Logs(f.ctx, id, container.LogOptions{Follow: true}, both, both); err != nil {
				f.Error(err)
			}
			got := out.String()
			if ticks, whole := strings.CutSuffix(got, "world"); !whole ||
				strings.ReplaceAll(ticks, "tick\n", "") != "" {
				f.Errorf("log is %s; want ticks and the end", show(got))
			}
		})
	}
	following.Wait()
}

// testLogsSinceMoment: a moment parts what is written before and after, within a second too.
func testLogsSinceMoment(f *fixture) {
	if _, ok := optional[container.LogReader](f); !ok {
		return
	}
	script := "echo one; while [ ! -e /tmp/go ]; do sleep 0.05; done; echo two"
	if !f.caps.RealProcesses {
		script = "echo one; sleep 1; echo two"
	}
	id := f.id("s")
	f.start(id, f.script(script))
	f.poll("the first line", func() bool {
		stdout, _ := f.logs(id, container.LogOptions{Tail: -1})
		return stdout == "one\n"
	})
	between := time.Now()
	if f.caps.RealProcesses {
		f.sh(id, "touch /tmp/go")
	}
	f.stopped(id)
	for _, tail := range []int{-1, 10} {
		stdout, _ := f.logs(id, container.LogOptions{Tail: tail, Since: between})
		f.equal("stdout since then", stdout, "two\n")
	}
}

func testLogsSince(f *fixture) {
	id := f.ended("echo one; sleep 0.1; echo two; sleep 0.1; echo three")
	if id == "" {
		return
	}
	stdout, _ := f.logs(id, container.LogOptions{Tail: -1, Timestamps: true})
	var last time.Time
	var times []time.Time
	for line := range strings.Lines(stdout) {
		stamp, text, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		at, err := time.Parse(time.RFC3339Nano, stamp)
		f.must(err)
		if at.Before(last) {
			f.Fatalf("times go back: %s", stdout)
		}
		last = at
		times = append(times, at)
		f.equal("line", text, []string{"one", "two", "three"}[len(times)-1])
	}
	f.equal("lines", len(times), 3)
	stdout, _ = f.logs(id, container.LogOptions{Tail: -1, Since: times[1]})
	f.equal("stdout since the second line", stdout, "two\nthree\n")
	stdout, _ = f.logs(id, container.LogOptions{Tail: -1, Since: last.Add(time.Second)})
	f.equal("stdout since the end", stdout, "")
}

// testLogsFollow gets what is written before and after it starts to look.
func testLogsFollow(f *fixture) {
	l, ok := optional[container.LogReader](f)
	if !ok {
		return
	}
	id := f.id("s")
	f.create(id, f.script("echo one; sleep 0.5; echo two; sleep 0.5; echo three; exit 4"))
	f.must(f.rt.Start(f.ctx, id))
	var out strings.Builder
	f.must(l.Logs(f.ctx, id, container.LogOptions{Tail: -1, Follow: true}, &out, &out))
	f.equal("log", out.String(), "one\ntwo\nthree\n")
	f.equal("exit code", f.stopped(id).ExitCode, 4)
}

func testLogsCancel(f *fixture) {
	l, ok := optional[container.LogReader](f)
	if !ok {
		return
	}
	id := f.id("s")
	f.start(id, f.script("echo one; sleep 3600; true"))
	ctx, cancel := context.WithCancel(f.ctx)
	defer cancel()
	var once sync.Once
	f.mustBePrompt("logs", func() {
		err := l.Logs(ctx, id, container.LogOptions{Tail: -1, Follow: true}, writerFunc(func(b []byte) (int, error) {
			once.Do(cancel)
			return len(b), nil
		}), writerFunc(nil))
		f.class(err, context.Canceled)
	})
}

func testLogsFollowStopped(f *fixture) {
	id := f.ended("echo one")
	if id == "" {
		return
	}
	f.mustBePrompt("logs", func() {
		stdout, _ := f.logs(id, container.LogOptions{Tail: -1, Follow: true})
		f.equal("stdout", stdout, "one\n")
	})
}

func testLogsRestart(f *fixture) {
	id := f.ended("echo run")
	if id == "" {
		return
	}
	f.must(f.rt.Start(f.ctx, id))
	f.stopped(id)
	stdout, _ := f.logs(id, container.LogOptions{Tail: -1})
	f.equal("stdout", stdout, "run\nrun\n")
}

func testLogsTty(f *fixture) {
	if _, ok := optional[container.LogReader](f); !ok {
		return
	}
	id := f.terminal("sh", "-c", "echo out; echo err >&2")
	f.stopped(id)
	stdout, stderr := f.logs(id, container.LogOptions{Tail: -1})
	f.equal("stdout", stdout, "out\r\nerr\r\n")
	f.equal("stderr", stderr, "")
}

func testLogsCreated(f *fixture) {
	if _, ok := optional[container.LogReader](f); !ok {
		return
	}
	id := f.id("s")
	f.create(id, f.idle())
	stdout, stderr := f.logs(id, container.LogOptions{Tail: -1})
	f.equal("log", stdout+stderr, "")
}

func testLogsWriterError(f *fixture) {
	id := f.ended("echo one")
	if id == "" {
		return
	}
	l, _ := container.As[container.LogReader](f.rt)
	if err := l.Logs(f.ctx, id, container.LogOptions{Tail: -1}, failing{}, failing{}); !errors.Is(err, errWriter) {
		f.Fatalf("error is %v; want the writer's", err)
	}
}
