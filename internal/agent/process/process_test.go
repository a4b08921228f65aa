package process

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/octobot-run/octobot/internal/agent/account"
	"github.com/octobot-run/octobot/internal/agentproto"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newManager(t testing.TB, env ...string) *Manager {
	t.Helper()
	m := NewManager(append([]string{"PATH=" + defaultPath}, env...), runtime.GOMAXPROCS(0))
	t.Cleanup(m.Close)
	return m
}

// start starts a command that is killed with the test.
func start(t testing.TB, m *Manager, c agentproto.Command, stdout *os.File) *Process {
	t.Helper()
	s, err := m.Resolve(c, false)
	if err != nil {
		t.Fatal(err)
	}
	s.Stdout, s.Stderr = stdout, stdout
	p, err := m.Start(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := p.Kill(ctx); err != nil {
			t.Error(err)
		}
	})
	return p
}

func code(t testing.TB, p *Process) int {
	t.Helper()
	select {
	case <-p.Done():
	case <-time.After(20 * time.Second):
		t.Fatal("the command does not end")
	}
	return p.Code()
}

// run gives a command's output and exit code.
func run(t testing.TB, m *Manager, c agentproto.Command) (string, int) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	p := start(t, m, c, w)
	w.Close()
	out, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(out), code(t, p)
}

func sh(script string) agentproto.Command {
	return agentproto.Command{Args: []string{"sh", "-c", script}}
}

func poll(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("waited in vain for " + what)
		}
	}
}

// processes gives the live processes whose arguments hold text.
func processes(t testing.TB, text string) []int {
	t.Helper()
	all, err := pids()
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(all, func(pid int) bool {
		line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		e, ok := look(pid, make([]byte, 4096))
		return !ok || e.dead || pid == os.Getpid() || !bytes.Contains(line, []byte(text))
	})
}

func children(t testing.TB) []int {
	t.Helper()
	all, err := pids()
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(all, func(pid int) bool {
		e, ok := look(pid, make([]byte, 4096))
		return !ok || e.parent != os.Getpid()
	})
}

func TestCodes(t *testing.T) {
	m := newManager(t)
	for script, want := range map[string]int{"exit 0": 0, "exit 3": 3, "exit 255": 255, "kill -TERM $$": 143,
		"kill -KILL $$": 137, "kill -SEGV $$": 139} {
		if _, got := run(t, m, sh(script)); got != want {
			t.Errorf("%q ended with %d, want %d", script, got, want)
		}
	}
}

func TestCantStart(t *testing.T) {
	m := newManager(t)
	dir := t.TempDir()
	for name, mode := range map[string]os.FileMode{"plain": 0o644, "garbage": 0o755, "mine": 0o700} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("\x00\x01"), mode); err != nil {
			t.Fatal(err)
		}
	}
	env := []string{"PATH=" + dir + ":" + defaultPath}
	for _, c := range []struct {
		command agentproto.Command
		class   agentproto.Class
		says    string
	}{
		{agentproto.Command{Args: []string{"no-such-program"}}, agentproto.CommandNotFound,
			`exec: "no-such-program": executable file not found in $PATH`},
		{agentproto.Command{Args: []string{"/no/such"}}, agentproto.CommandNotFound, "no such file"},
		{agentproto.Command{Args: []string{""}}, agentproto.CommandNotFound, "not found"},
		{agentproto.Command{Args: []string{"/etc/passwd"}}, agentproto.CommandNotFound, "permission denied"},
		{agentproto.Command{Args: []string{"/tmp"}}, agentproto.CommandNotFound, "is a directory"},
		{agentproto.Command{Args: []string{"plain"}, Env: env}, agentproto.CommandNotFound, "permission denied"},
		{agentproto.Command{Args: []string{"garbage"}, Env: env}, agentproto.CommandNotFound, "exec format error"},
		{agentproto.Command{Args: []string{"./mine"}, Dir: dir, User: "1000"}, agentproto.CommandNotFound,
			"permission denied"},
		{agentproto.Command{Args: []string{"true"}, Dir: "/no/such"}, agentproto.CommandNotFound, "chdir to cwd"},
		{agentproto.Command{Args: []string{"true"}, Dir: "/etc/passwd"}, agentproto.CommandNotFound, "not a directory"},
		{agentproto.Command{Args: []string{"true"}, Dir: "relative"}, agentproto.InvalidArgument, "not absolute"},
		{agentproto.Command{Args: []string{"true"}, User: "nobody-of-that-name"}, agentproto.CommandNotFound,
			"unable to find user nobody-of-that-name"},
		{agentproto.Command{}, agentproto.InvalidArgument, "no command"},
		{agentproto.Command{Args: []string{"echo", "a\x00b"}}, agentproto.InvalidArgument, "byte 0"},
		{agentproto.Command{Args: []string{"echo", strings.Repeat("x", 1<<20)}}, agentproto.CommandNotFound,
			"argument list too long"},
	} {
		s, err := m.Resolve(c.command, false)
		if err == nil {
			_, err = m.Start(t.Context(), s)
		}
		said, ok := errors.AsType[*agentproto.Error](err)
		if !ok || said.Class != c.class || !strings.Contains(said.Detail, c.says) {
			t.Errorf("%q gives %v, want class %d and %q", c.command.Args, err, c.class, c.says)
		}
	}
	// Every place was given back.
	for range 4 * cap(m.slots) {
		if _, got := run(t, m, sh("exit 0")); got != 0 {
			t.Fatal(got)
		}
	}
}

func TestEnvironment(t *testing.T) {
	m := newManager(t, "KEPT=1", "OVER=1", "OVER=2", "EMPTY=", tagName+"=no")
	out, _ := run(t, m, agentproto.Command{Args: []string{"env"}, User: "1000:1000",
		Env: []string{"OVER=3", "NEW=a b", "NEW=c=d", "KEPT", tagName + "=neither"}})
	lines := strings.Split(strings.TrimSpace(out), "\n")
	tags := 0
	lines = slices.DeleteFunc(lines, func(l string) bool {
		tag := strings.HasPrefix(l, tagName+"=") && len(l) > 40
		if tag {
			tags++
		}
		return tag
	})
	home := "/"
	if a, err := account.Lookup("1000"); err == nil {
		home = a.Home
	}
	slices.Sort(lines)
	want := []string{"EMPTY=", "HOME=" + home, "KEPT=1", "NEW=c=d", "OVER=3", "PATH=" + defaultPath}
	if !slices.Equal(lines, want) || tags != 1 {
		t.Errorf("environment is %q with %d tags, want %q", lines, tags, want)
	}
	for _, c := range []struct{ base, over, want string }{
		{"HOME=/image", "A=", "/image"},
		{"HOME=/image", "HOME=/call", "/call"},
		{"A=", "HOME=/call", "/call"},
	} {
		s, err := (&Manager{env: newEnvironment([]string{c.base})}).Resolve(agentproto.Command{Env: []string{c.over}},
			true)
		if err != nil || !slices.Contains(s.Env, "HOME="+c.want) || !slices.Contains(s.Env, "TERM=xterm") {
			t.Errorf("%v gives %q, %v", c, s.Env, err)
		}
	}
}

func TestUser(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root may be somebody else")
	}
	m := newManager(t)
	out, _ := run(t, m, agentproto.Command{Args: []string{"sh", "-c", "id -u; id -g; id -G; echo again >/dev/stdout"},
		User: "1000:1234"})
	if out != "1000\n1234\n1234\nagain\n" {
		t.Errorf("user 1000:1234 is %q", out)
	}
}

func TestRelative(t *testing.T) {
	m := newManager(t)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "run"), []byte("#!/bin/sh\npwd\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, c := range []agentproto.Command{
		{Args: []string{"./run"}, Dir: dir},
		{Args: []string{"run"}, Dir: dir, Env: []string{"PATH=:/bin"}},
		{Args: []string{"run"}, Dir: dir, Env: []string{"PATH=" + dir}},
	} {
		if out, code := run(t, m, c); out != dir+"\n" || code != 0 {
			t.Errorf("%q gives %q, %d", c.Args, out, code)
		}
	}
}

func TestOOM(t *testing.T) {
	m := newManager(t)
	own, err := os.ReadFile("/proc/self/oom_score_adj")
	if err != nil {
		t.Skip(err)
	}
	was, _ := strconv.Atoi(strings.TrimSpace(string(own)))
	p := start(t, m, sh("exec sleep 1000"), nil)
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/oom_score_adj", p.Pid()))
	if got := strings.TrimSpace(string(text)); err != nil || got != strconv.Itoa(min(1000, was+200)) {
		t.Errorf("oom_score_adj is %s, %v; the agent's is %d", got, err, was)
	}
}

func TestMany(t *testing.T) {
	m := newManager(t)
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			s, err := m.Resolve(sh(fmt.Sprintf("exit %d", i)), false)
			if err != nil {
				t.Error(err)
				return
			}
			if i%5 == 0 {
				s.Args = []string{"/etc/passwd/no"}
			}
			p, err := m.Start(t.Context(), s)
			if i%5 == 0 {
				if err == nil {
					t.Error("what is not there was started")
				}
				return
			}
			if err != nil {
				t.Error(err)
				return
			}
			if got := code(t, p); got != i {
				t.Errorf("command %d ended with %d", i, got)
			}
		})
	}
	wg.Wait()
	poll(t, "no children", func() bool { return len(children(t)) == 0 })
	// The timer of a command that ends just when it fires gives its place back by itself.
	poll(t, "free places", func() bool { return len(m.slots) == 0 })
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.early) != 0 {
		t.Errorf("%d results are kept", len(m.early))
	}
}

// TestFailingExecs mixes what ForkExec reaps itself with what the reaper does.
func TestFailingExecs(t *testing.T) {
	m := newManager(t)
	file := filepath.Join(t.TempDir(), "garbage")
	if err := os.WriteFile(file, []byte("\x00"), 0o755); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range 100 {
				name, want := file, false
				if i%2 == 0 {
					name, want = "false", true
				}
				s, err := m.Resolve(agentproto.Command{Args: []string{name}}, false)
				if err != nil {
					t.Error(err)
					return
				}
				p, err := m.Start(t.Context(), s)
				if (err == nil) != want {
					t.Errorf("%s: %v", name, err)
					return
				}
				if want && code(t, p) != 1 {
					t.Errorf("false ended with %d", p.Code())
				}
			}
		})
	}
	wg.Wait()
}

func TestOrphansAreReaped(t *testing.T) {
	m := newManager(t)
	run(t, m, sh("for i in 1 2 3 4 5; do (sleep 0.02 & ) ; done"))
	poll(t, "no children", func() bool { return len(children(t)) == 0 })
}

func TestPlaces(t *testing.T) {
	m := newManager(t)
	// More than there are places, none of which ends by itself.
	for range cap(m.slots) + 2 {
		start(t, m, sh("exec sleep 1000"), nil)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range cap(m.slots) {
		m.slots <- struct{}{}
	}
	s, err := m.Resolve(sh("exit 0"), false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Start(ctx, s); !errors.Is(err, context.Canceled) {
		t.Errorf("a start without a place gives %v", err)
	}
	for range cap(m.slots) {
		<-m.slots
	}
}

func TestKill(t *testing.T) {
	m := newManager(t)
	const mark = "424242"
	for name, c := range map[string]struct {
		script string
		count  int // of processes with the mark
	}{
		"itself":       {"exec sleep " + mark, 1},
		"children":     {"sleep " + mark + " & sleep " + mark + " & sleep 1000", 2},
		"setsid":       {"setsid sleep " + mark + " & setsid sh -c 'sleep " + mark + "; true' & sleep 1000", 2},
		"double fork":  {"(setsid sleep " + mark + " &); sleep 1000", 1},
		"no tag":       {"env -i /bin/sh -c 'sleep " + mark + " & sleep 1000'", 1},
		"session only": {"(env -i /bin/sleep " + mark + " &); sleep 1000", 1},
		"stopped":      {"sleep " + mark + " & sleep 0.1; kill -STOP $!; sleep 1000", 1},
	} {
		for _, user := range []string{"", "1000:1000"} {
			t.Run(name+" "+user, func(t *testing.T) {
				other := start(t, m, sh("exec sleep 1000"), nil)
				p := start(t, m, agentproto.Command{Args: []string{"sh", "-c", c.script + " #" + name}, User: user},
					nil)
				poll(t, "the processes", func() bool { return len(processes(t, "sleep\x00"+mark)) == c.count })
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
				defer cancel()
				if err := p.Kill(ctx); err != nil {
					t.Fatal(err)
				}
				if left := processes(t, mark); len(left) != 0 {
					t.Errorf("%v are left", left)
				}
				if code(t, p) != 137 {
					t.Errorf("code is %d", p.Code())
				}
				select {
				case <-other.Done():
					t.Error("another command was killed too")
				default:
				}
				if err := p.Kill(ctx); err != nil {
					t.Errorf("again: %v", err)
				}
				if err := p.Signal(syscall.SIGTERM); err != nil {
					t.Errorf("signal after the end: %v", err)
				}
			})
		}
	}
}

func TestKillAfterEnd(t *testing.T) {
	m := newManager(t)
	const mark = "434343"
	p := start(t, m, sh("setsid sleep "+mark+" & sleep "+mark+" & exit 4"), nil)
	if code(t, p) != 4 {
		t.Fatalf("code is %d", p.Code())
	}
	poll(t, "the processes", func() bool { return len(processes(t, "sleep\x00"+mark)) == 2 })
	if err := p.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left := processes(t, mark); len(left) != 0 {
		t.Errorf("%v are left", left)
	}
}

// TestLeads asks about a number that was used again.
func TestLeads(t *testing.T) {
	p := &Process{m: &Manager{}, pid: 10}
	is := func(e entry, want bool) {
		t.Helper()
		if got := p.leads(e); got != want {
			t.Errorf("over %v at %d: %+v is %v", p.over, p.overAt, e, got)
		}
	}
	is(entry{pid: 10, session: 10, started: 5}, true)
	is(entry{pid: 11, session: 10, started: 5}, true)
	is(entry{pid: 11, session: 9, started: 5}, false)
	p.over, p.overAt = true, 7
	is(entry{pid: 11, session: 10, started: 6}, true)
	is(entry{pid: 11, session: 10, started: 7}, true)
	is(entry{pid: 10, session: 10, started: 8}, false)
	is(entry{pid: 11, session: 10, started: 8}, false)
}

func TestKillEndsWithContext(t *testing.T) {
	m := newManager(t)
	p := start(t, m, sh("exec sleep 1000"), nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Kill(ctx); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
}

func TestHangUp(t *testing.T) {
	// Where the tests themselves are to survive a hangup, as under nohup, so would what they run.
	heard := make(chan os.Signal, 1)
	signal.Notify(heard, syscall.SIGHUP)
	defer signal.Stop(heard)
	m := newManager(t)
	const mark = "454545"
	p := start(t, m, sh("nohup sleep "+mark+" >/dev/null 2>&1 & sleep "+mark+"1 & sleep 1000"), nil)
	poll(t, "the processes", func() bool {
		// which has not yet done what it is for
		return len(processes(t, "sleep\x00"+mark)) == 2 && len(processes(t, "nohup\x00")) == 0
	})
	if err := p.HangUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	if code(t, p) != 129 {
		t.Errorf("code is %d", p.Code())
	}
	poll(t, "the one that does not survive", func() bool { return len(processes(t, "sleep\x00"+mark)) == 1 })
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	stubborn := start(t, m, sh("trap '' HUP; echo ready; while :; do sleep 0.01; done"), w)
	w.Close()
	if _, err := r.Read(make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	if err := stubborn.HangUp(t.Context()); err != nil || code(t, stubborn) != 137 {
		t.Errorf("a command that ignores it ended with %d, %v", stubborn.Code(), err)
	}
	if err := stubborn.HangUp(t.Context()); err != nil {
		t.Errorf("again: %v", err)
	}
}

func TestSignal(t *testing.T) {
	m := newManager(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	p := start(t, m, sh("trap 'exit 9' USR1; echo ready; while :; do sleep 0.01; done"), w)
	w.Close()
	if _, err := r.Read(make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	if err := p.Signal(syscall.SIGUSR1); err != nil || code(t, p) != 9 && p.Code() != 138 {
		t.Errorf("it ended with %d, %v", p.Code(), err)
	}
}

func FuzzParseStat(f *testing.F) {
	own, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(own)
	f.Add([]byte("1 (a) Z (b)\n) R 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21"))
	f.Fuzz(func(t *testing.T, stat []byte) { parseStat(1, stat) })
}

func TestParseStat(t *testing.T) {
	line := "7 (a) Z (b)\n) Z 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 1 19 20 21"
	want := entry{pid: 7, parent: 2, session: 4, started: 20, dead: true}
	if e, ok := parseStat(7, []byte(line)); !ok || e != want {
		t.Errorf("it is %+v", e)
	}
	want.dead = false
	if e, _ := parseStat(7, []byte(strings.Replace(line, " 1 19", " 2 19", 1))); e != want {
		t.Errorf("with a second thread it is %+v", e)
	}
}

func BenchmarkTrue(b *testing.B) {
	m := newManager(b)
	for b.Loop() {
		s, err := m.Resolve(agentproto.Command{Args: []string{"true"}}, false)
		if err != nil {
			b.Fatal(err)
		}
		p, err := m.Start(b.Context(), s)
		if err != nil {
			b.Fatal(err)
		}
		<-p.Done()
	}
}

// BenchmarkFloor is fork, exec and wait, and nothing else.
func BenchmarkFloor(b *testing.B) {
	env := os.Environ()
	null, err := os.Open(os.DevNull)
	if err != nil {
		b.Fatal(err)
	}
	defer null.Close()
	for b.Loop() {
		pid, err := syscall.ForkExec("/bin/true", []string{"true"},
			&syscall.ProcAttr{Env: env, Files: []uintptr{null.Fd(), null.Fd(), null.Fd()}})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := syscall.Wait4(pid, nil, 0, nil); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRaiseOOM(b *testing.B) {
	m := newManager(b)
	p := start(b, m, sh("exec sleep 1000"), nil)
	for b.Loop() {
		m.raiseOOM(p.Pid())
	}
}
