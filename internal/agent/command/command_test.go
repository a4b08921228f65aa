package command

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/octobot-run/octobot/internal/agent"
	"github.com/octobot-run/octobot/internal/agent/process"
	"github.com/octobot-run/octobot/internal/agentproto"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// connect starts an agent and gives a daemon's session with it.
func connect(t testing.TB) *agentproto.Session {
	t.Helper()
	m := process.NewManager([]string{"PATH=/usr/local/bin:/usr/bin:/bin"}, runtime.GOMAXPROCS(0))
	server := agent.NewServer(agentproto.Info{Build: "test"})
	Register(server, m)
	ctx, cancel := context.WithCancel(context.Background())
	ours, theirs := socketpair(t)
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := server.Serve(ctx, theirs); err != nil {
			t.Error(err)
		}
	})
	session, info, err := agentproto.Connect(ours)
	if err != nil || info.Build != "test" {
		t.Fatal(info, err)
	}
	t.Cleanup(func() {
		cancel()
		wg.Wait()
		_ = session.Close()
		m.Close()
	})
	return session
}

func socketpair(t testing.TB) (ours, theirs net.Conn) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	conn := func(fd int) net.Conn {
		f := os.NewFile(uintptr(fd), "socket")
		defer f.Close()
		c, err := net.FileConn(f)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	return conn(fds[0]), conn(fds[1])
}

func sh(script string) *agentproto.Exec {
	return &agentproto.Exec{Command: agentproto.Command{Args: []string{"sh", "-c", script}}}
}

func open(t testing.TB, session *agentproto.Session, e *agentproto.Exec) *agentproto.Stream {
	t.Helper()
	s, err := session.Open(t.Context(), e)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Reset)
	return s
}

// result reads a stream to its end.
func result(s *agentproto.Stream) (stdout, stderr string, code int, err error) {
	defer s.Close()
	var out, errs bytes.Buffer
	for {
		frame, err := s.Next()
		if err != nil {
			return out.String(), errs.String(), 0, err
		}
		switch frame.Kind {
		case agentproto.KindStdout:
			out.Write(frame.Payload)
		case agentproto.KindStderr:
			errs.Write(frame.Payload)
		default:
			var exit agentproto.Exit
			err := frame.Decode(&exit)
			return out.String(), errs.String(), exit.Code, err
		}
	}
}

func expect(t testing.TB, s *agentproto.Stream, stdout, stderr string, code int) {
	t.Helper()
	out, errs, got, err := result(s)
	if err != nil || out != stdout || errs != stderr || got != code {
		t.Errorf("it gives %.100q, %.100q, %d, %v; want %.100q, %.100q, %d", out, errs, got, err, stdout, stderr, code)
	}
}

func poll(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("waited in vain for " + what)
		}
	}
}

// alive counts live processes whose arguments hold text.
func alive(t testing.TB, text string) int {
	t.Helper()
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, line := range lines {
		// A zombie has no arguments.
		if b, err := os.ReadFile(line); err == nil && bytes.Contains(b, []byte(text)) {
			n++
		}
	}
	return n
}

func openFiles(t testing.TB) int {
	t.Helper()
	names, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(names)
}

func TestResults(t *testing.T) {
	session := connect(t)
	expect(t, open(t, session, sh("echo out; echo err >&2; exit 3")), "out\n", "err\n", 3)
	expect(t, open(t, session, sh("kill -TERM $$")), "", "", 143)
	expect(t, open(t, session, sh("exec >&- 2>&-; sleep 0.05; exit 5")), "", "", 5)
	expect(t, open(t, session, sh("cat; readlink /proc/self/fd/0")), "/dev/null\n", "", 0)
	expect(t, open(t, session, sh("printf a; sleep 0.05; printf b; sleep 0.05; printf c")), "abc", "", 0)
	_, _, _, err := result(open(t, session,
		&agentproto.Exec{Command: agentproto.Command{Args: []string{"no-such-program"}}}))
	if said, ok := errors.AsType[*agentproto.Error](err); !ok || said.Class != agentproto.CommandNotFound {
		t.Errorf("a missing command gives %v", err)
	}
	_, _, _, err = result(open(t, session,
		&agentproto.Exec{Command: agentproto.Command{Args: []string{"no-such-program"}}, Tty: true, Stdin: true}))
	if said, ok := errors.AsType[*agentproto.Error](err); !ok || said.Class != agentproto.CommandNotFound {
		t.Errorf("a missing command on a terminal gives %v", err)
	}
}

func TestStdin(t *testing.T) {
	session := connect(t)
	data := strings.Repeat("0123456789abcdef", 1<<16)
	e := sh("cat")
	e.Stdin = true
	s := open(t, session, e)
	var wg sync.WaitGroup
	wg.Go(func() {
		_ = s.SendData(agentproto.KindData, []byte(data))
		_ = s.SendData(agentproto.KindEnd, nil)
	})
	expect(t, s, data, "", 0)
	wg.Wait()
	// One that does not read its input ends all the same, and so does one that closes it.
	for _, script := range []string{"exit 6", "exec <&-; sleep 0.1; exit 6"} {
		e = sh(script)
		e.Stdin = true
		s = open(t, session, e)
		wg.Go(func() { _ = s.SendData(agentproto.KindData, []byte(data)) })
		expect(t, s, "", "", 6)
		wg.Wait()
	}
}

func TestLargeOutput(t *testing.T) {
	session := connect(t)
	const size = 32 << 20
	out, errs, code, err := result(open(t, session,
		sh(fmt.Sprintf("head -c %d /dev/zero; echo end; head -c 200000 /dev/zero >&2; exit 2", size))))
	if err != nil || code != 2 || len(out) != size+4 || !strings.HasSuffix(out, "end\n") || len(errs) != 200000 {
		t.Errorf("%d and %d bytes, %d, %v", len(out), len(errs), code, err)
	}
}

func TestBackgroundChild(t *testing.T) {
	session := connect(t)
	const mark = "sleep\x00515151"
	expect(t, open(t, session, sh("sleep 515151 & echo done")), "done\n", "", 0)
	poll(t, "the child", func() bool { return alive(t, mark) == 1 })
	// All that the command wrote comes, although nobody reads until it has ended: more than the
	// window and what is on its way to it, so that the rest is in the pipe.
	s := open(t, session, sh("sleep 515151 & head -c 322000 /dev/zero; echo $! >&2; exit 1"))
	poll(t, "the end of the command", func() bool { return alive(t, mark) == 2 && alive(t, "head\x00-c") == 0 })
	out, _, code, err := result(s)
	if len(out) != 322000 || code != 1 || err != nil {
		t.Errorf("%d bytes, %d, %v", len(out), code, err)
	}
	// One that goes on writing does not hold the call.
	if _, _, code, err := result(open(t, session, sh("yes 515151 & sleep 0.05; exit 7"))); code != 7 || err != nil {
		t.Errorf("with a child that writes: %d, %v", code, err)
	}
	poll(t, "the writer's end", func() bool { return alive(t, "yes\x00515151") == 0 })
	expect(t, open(t, session, sh("pkill -f '^sleep 515151'; exit 0")), "", "", 0)
}

func TestCancel(t *testing.T) {
	session := connect(t)
	const mark = "525252"
	for name, end := range map[string]func(*agentproto.Stream){
		"reset": (*agentproto.Stream).Reset,
		"close": func(s *agentproto.Stream) { _ = s.Close() },
	} {
		for script, count := range map[string]int{
			"exec sleep 525252": 1,
			"setsid sleep 525252 & (setsid sleep 525252 &) ; sleep 1000": 2,
			"yes 525252": 1,
			"exec yes 525252 | tee /dev/stderr | tee /dev/stderr": 1,
		} {
			for _, tty := range []bool{false, true} {
				e := sh(script)
				e.Stdin, e.Tty = true, tty
				s := open(t, session, e)
				poll(t, "the command", func() bool { return alive(t, "\x00"+mark) == count })
				end(s)
				poll(t, fmt.Sprintf("the end of %q by %s, terminal %v", script, name, tty),
					func() bool { return alive(t, mark) == 0 })
			}
		}
	}
}

// TestCancelStalledInput cancels while the command does not read, and more is on its way than fits
// anywhere.
func TestCancelStalledInput(t *testing.T) {
	session := connect(t)
	for _, tty := range []bool{false, true} {
		e := sh("stty raw 2>/dev/null; exec sleep 535353")
		e.Stdin, e.Tty = true, tty
		s := open(t, session, e)
		poll(t, "the command", func() bool { return alive(t, "sleep\x00535353") == 1 })
		sent := make(chan error, 1)
		go func() { sent <- s.SendData(agentproto.KindData, make([]byte, 4<<20)) }()
		select {
		case err := <-sent:
			t.Errorf("4 MiB were taken: %v", err)
		case <-time.After(50 * time.Millisecond):
		}
		s.Reset()
		<-sent
		poll(t, "its end", func() bool { return alive(t, "sleep\x00535353") == 0 })
	}
}

func TestStalledReader(t *testing.T) {
	session := connect(t)
	name := filepath.Join(t.TempDir(), "count")
	s := open(t, session, sh("while head -c 65536 /dev/zero; do echo >>"+name+"; done"))
	written := func() int64 {
		info, err := os.Stat(name)
		if err != nil {
			return 0
		}
		return info.Size()
	}
	poll(t, "some output", func() bool { return written() > 1 })
	last := int64(-1)
	poll(t, "the command to stand still", func() bool {
		was := last
		last = written()
		time.Sleep(100 * time.Millisecond)
		return was == last
	})
	if last > 16 {
		t.Errorf("%d blocks were written for nobody", last)
	}
	// Nobody else waits.
	expect(t, open(t, session, sh("echo on")), "on\n", "", 0)
	s.Reset()
}

func TestConnectionEnds(t *testing.T) {
	session := connect(t)
	open(t, session, sh("exec sleep 545454"))
	poll(t, "the command", func() bool { return alive(t, "545454") == 1 })
	session.Close()
	poll(t, "its end", func() bool { return alive(t, "545454") == 0 })
}

func TestManyLeaveNothing(t *testing.T) {
	session := connect(t)
	expect(t, open(t, session, sh("exit 0")), "", "", 0)
	files, routines := openFiles(t), runtime.NumGoroutine()
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			e := sh(fmt.Sprintf("cat; echo %d; exit %d", i, i%7))
			e.Stdin, e.Tty = true, i%4 == 0
			s, err := session.Open(t.Context(), e)
			if err != nil {
				t.Error(err)
				return
			}
			if i%5 == 1 {
				s.Reset()
				return
			}
			_ = s.SendData(agentproto.KindEnd, nil)
			out, _, code, err := result(s)
			if !strings.Contains(out, fmt.Sprint(i)) || code != i%7 || err != nil {
				t.Errorf("command %d gives %q, %d, %v", i, out, code, err)
			}
		})
	}
	wg.Wait()
	poll(t, "everything to be gone", func() bool {
		return session.Streams() == 0 && openFiles(t) <= files && runtime.NumGoroutine() <= routines
	})
	children, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/children", os.Getpid()))
	if err == nil && len(children) > 0 {
		t.Errorf("children are left: %s", children)
	}
}

func BenchmarkTrue(b *testing.B) {
	session := connect(b)
	for b.Loop() {
		s, err := session.Open(b.Context(), &agentproto.Exec{Command: agentproto.Command{Args: []string{"true"}}})
		if err != nil {
			b.Fatal(err)
		}
		if _, _, code, err := result(s); err != nil || code != 0 {
			b.Fatal(code, err)
		}
	}
}

func BenchmarkTrueParallel(b *testing.B) {
	session := connect(b)
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			s, err := session.Open(b.Context(), &agentproto.Exec{Command: agentproto.Command{Args: []string{"true"}}})
			if err != nil {
				b.Fatal(err)
			}
			if _, _, code, err := result(s); err != nil || code != 0 {
				b.Fatal(code, err)
			}
		}
	})
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

func BenchmarkOutput(b *testing.B) {
	session := connect(b)
	const size = 64 << 20
	b.SetBytes(size)
	for b.Loop() {
		s, err := session.Open(b.Context(), sh(fmt.Sprintf("head -c %d /dev/zero", size)))
		if err != nil {
			b.Fatal(err)
		}
		n := 0
		for {
			frame, err := s.Next()
			if err != nil {
				b.Fatal(err)
			}
			if frame.Kind == agentproto.KindExit {
				break
			}
			n += len(frame.Payload)
		}
		if n != size {
			b.Fatal(n)
		}
		s.Close()
	}
}
