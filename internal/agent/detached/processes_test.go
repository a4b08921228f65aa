package detached

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
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

const limit = 30 * time.Second

// manager is the process's one, which reaps for as long as the process lives.
var manager = sync.OnceValue(func() *process.Manager {
	return process.NewManager([]string{"PATH=" + os.Getenv("PATH")}, 2)
})

func TestMain(m *testing.M) {
	manager()
	goleak.VerifyTestMain(m, goleak.IgnoreCurrent())
}

// kit is processes, served as a keeper serves them.
type kit struct {
	*Processes
	t      *testing.T
	server *agent.Server
	ctx    context.Context
	work   sync.WaitGroup
}

func newKit(t *testing.T) *kit {
	k := &kit{Processes: New(manager()), t: t, server: agent.NewServer(agentproto.Info{})}
	var cancel context.CancelFunc
	k.ctx, cancel = context.WithCancel(context.Background())
	k.Register(k.server)
	t.Cleanup(func() {
		cancel()
		k.work.Wait()
		k.mu.Lock()
		list := append([]*detached(nil), k.list...)
		k.mu.Unlock()
		for _, d := range list {
			_ = d.process.Kill(context.Background())
			<-d.done
			k.mu.Lock()
			k.remove(d)
			k.mu.Unlock()
		}
	})
	return k
}

// ask begins an operation; it ends with the test at the latest.
func (k *kit) ask(request agentproto.Message) *agentproto.Stream {
	k.t.Helper()
	dir, err := os.MkdirTemp("", "detached") // shorter than t.TempDir, whose sockets have too long names
	if err != nil {
		k.t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	address := &net.UnixAddr{Name: filepath.Join(dir, "s"), Net: "unix"}
	l, err := net.ListenUnix("unix", address)
	if err != nil {
		k.t.Fatal(err)
	}
	defer l.Close()
	ours, err := net.DialUnix("unix", nil, address)
	if err != nil {
		k.t.Fatal(err)
	}
	theirs, err := l.AcceptUnix()
	if err != nil {
		k.t.Fatal(err)
	}
	k.work.Go(func() { k.server.Operate(k.ctx, agentproto.NewStream(theirs)) })
	s := agentproto.NewStream(ours)
	k.t.Cleanup(s.Reset)
	if err := s.Send(request); err != nil {
		k.t.Fatal(err)
	}
	return s
}

func (k *kit) launch(keep int64, args ...string) agentproto.ProcessInfo {
	k.t.Helper()
	var info agentproto.ProcessInfo
	if err := k.ask(&agentproto.StartProcess{Command: agentproto.Command{Args: args},
		Keep: keep}).Receive(&info); err != nil {
		k.t.Fatal(err)
	}
	return info
}

func (k *kit) await(id string) agentproto.ProcessInfo {
	k.t.Helper()
	var info agentproto.ProcessInfo
	if err := k.ask(&agentproto.WaitProcess{ID: id}).Receive(&info); err != nil {
		k.t.Fatal(err)
	}
	return info
}

// reading is what a reading gave.
type reading struct {
	out, err strings.Builder
	missed   int64
	last     agentproto.ProcessInfo
}

func (k *kit) readAll(r agentproto.ReadProcess) *reading {
	k.t.Helper()
	s := k.ask(&r)
	timer := time.AfterFunc(limit, s.Reset)
	defer timer.Stop()
	got := &reading{}
	for {
		frame, err := s.Next()
		if err != nil {
			k.t.Fatalf("%v after %.100q", err, got.out.String())
		}
		switch frame.Kind {
		case agentproto.KindStdout:
			got.out.Write(frame.Payload)
		case agentproto.KindStderr:
			got.err.Write(frame.Payload)
		case agentproto.KindMissed:
			var m agentproto.Missed
			if err := frame.Decode(&m); err != nil {
				k.t.Fatal(err)
			}
			got.missed += m.Bytes
		default:
			if err := frame.Decode(&got.last); err != nil {
				k.t.Fatal(err)
			}
			return got
		}
	}
}

func (k *kit) refused(request agentproto.Message) agentproto.Class {
	k.t.Helper()
	frame, err := k.ask(request).Next()
	if err == nil {
		err = frame.Decode(&agentproto.Done{})
	}
	said, ok := errors.AsType[*agentproto.Error](err)
	if !ok {
		k.t.Fatalf("%T gives %v", request, err)
	}
	return said.Class
}

func TestProcess(t *testing.T) {
	k := newKit(t)
	p := k.launch(0, "sh", "-c", "echo out; echo err >&2; read x; echo $?; exit 3")
	if p.ID == "" || p.PID == 0 || p.Args[0] != "sh" {
		t.Errorf("started %+v", p)
	}
	if end := k.await(p.ID); end.Ended == 0 || end.ExitCode != 3 || end.Position != 10 || end.Kept != 10 {
		t.Errorf("ended %+v", end)
	}
	got := k.readAll(agentproto.ReadProcess{ID: p.ID, Follow: true})
	if got.out.String() != "out\n1\n" || got.err.String() != "err\n" || got.last.Position != 10 || got.last.Ended == 0 {
		t.Errorf("read %q, %q, %+v", got.out.String(), got.err.String(), got.last)
	}
}

// TestRing reads what is kept from all kinds of positions, in memory and on disk.
func TestRing(t *testing.T) {
	k := newKit(t)
	var want strings.Builder
	for i := range 400_000 {
		fmt.Fprintln(&want, i+1)
	}
	for _, keep := range []int64{100_000, 0, 2 << 20} {
		p := k.launch(keep, "seq", "400000")
		k.await(p.ID)
		kept := keep
		if kept == 0 {
			kept = inMemory
		}
		end := int64(want.Len())
		for _, since := range []int64{0, 1, end - kept - 1, end - kept, end - kept + 1, end - 50_000, end - 1, end} {
			got := k.readAll(agentproto.ReadProcess{ID: p.ID, Since: since})
			missed := max(0, end-kept-since)
			if got.missed != missed || got.out.String() != want.String()[since+missed:] || got.last.Position != end ||
				got.last.Kept != kept {
				t.Errorf("keep %d, since %d: missed %d, want %d; got %d bytes, %+v", keep, since, got.missed, missed,
					got.out.Len(), got.last)
			}
		}
	}
}

// TestFollow has many read at once, from their start to the end.
func TestFollow(t *testing.T) {
	k := newKit(t)
	p := k.launch(8<<20, "sh", "-c", "for i in 1 2 3 4 5 6 7 8 9; do seq 20000; echo e$i >&2; done")
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			got := k.readAll(agentproto.ReadProcess{ID: p.ID, Follow: true})
			if got.out.Len() != 9*108894 || got.err.String() != "e1\ne2\ne3\ne4\ne5\ne6\ne7\ne8\ne9\n" ||
				got.missed > 0 {
				t.Errorf("read %d bytes and %q, missed %d", got.out.Len(), got.err.String(), got.missed)
			}
		})
	}
	readers.Wait()
}

// TestManyRuns has the streams alternate more often than is remembered.
func TestManyRuns(t *testing.T) {
	o, err := newOutput(0)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 * maxRuns {
		o.write(agentproto.KindStdout, []byte("a"))
		o.write(agentproto.KindStderr, []byte("b"))
	}
	o.end()
	if end, kept := o.position(); end != 4*maxRuns || kept != maxRuns {
		t.Errorf("%d of %d are kept", kept, end)
	}
	at, kind, n := o.next(t.Context(), make([]byte, 10), 0, 1<<62)
	if at != 3*maxRuns || n != 1 || kind != agentproto.KindStdout {
		t.Errorf("at %d: %d bytes of kind %d", at, n, kind)
	}
}

// TestSlowReader does not hold the process up.
func TestSlowReader(t *testing.T) {
	k := newKit(t)
	p := k.launch(0, "sh", "-c", "head -c 20000000 /dev/zero")
	slow := k.ask(&agentproto.ReadProcess{ID: p.ID, Follow: true})
	if end := k.await(p.ID); end.Position != 20_000_000 {
		t.Errorf("ended %+v", end)
	}
	var missed agentproto.Missed
	for {
		frame, err := slow.Next()
		if err != nil {
			t.Fatal(err)
		}
		if frame.Kind == agentproto.KindMissed {
			if err := frame.Decode(&missed); err != nil || missed.Bytes == 0 {
				t.Errorf("missed %d, %v", missed.Bytes, err)
			}
			return
		}
	}
}

// TestSignals: those of a group, and the one that ends all that there is.
func TestSignals(t *testing.T) {
	k := newKit(t)
	p := k.launch(0, "sh", "-c", "trap 'echo caught' USR1; echo ready; while :; do sleep 0.02; done")
	read := func() string { return k.readAll(agentproto.ReadProcess{ID: p.ID}).out.String() }
	poll(t, "start", func() bool { return read() == "ready\n" })
	for signal, want := range map[int]string{int(syscall.SIGUSR1): "ready\ncaught\n"} {
		if err := k.ask(&agentproto.SignalProcess{ID: p.ID, Signal: signal}).Receive(&agentproto.Done{}); err != nil {
			t.Fatal(err)
		}
		poll(t, "signal", func() bool { return read() == want })
	}
	tree := k.launch(0, "sh", "-c", "setsid sh -c 'echo $$; exec sleep 4242' & wait")
	var pid int
	poll(t, "child", func() bool {
		n, _ := fmt.Sscan(k.readAll(agentproto.ReadProcess{ID: tree.ID}).out.String(), &pid)
		return n == 1
	})
	if err := k.ask(&agentproto.SignalProcess{ID: tree.ID, Signal: 9}).Receive(&agentproto.Done{}); err != nil {
		t.Fatal(err)
	}
	if syscall.Kill(pid, 0) == nil {
		t.Error("a descendant was left")
	}
	if end := k.await(tree.ID); end.ExitCode != 137 {
		t.Errorf("ended %+v", end)
	}
	if err := k.ask(&agentproto.SignalProcess{ID: tree.ID, Signal: 15}).Receive(&agentproto.Done{}); err != nil {
		t.Errorf("a signal after the end: %v", err)
	}
}

// TestForgotten: some time after its end, and sooner where somebody has waited for it.
func TestForgotten(t *testing.T) {
	k := newKit(t)
	k.timing = timing{ended: 100 * time.Millisecond, waited: time.Hour}
	k.launch(0, "true")
	poll(t, "end", func() bool { return k.Kept() == 0 })
	k.timing = timing{ended: time.Hour, waited: 10 * time.Millisecond}
	p := k.launch(2<<20, "true")
	cut := k.ask(&agentproto.WaitProcess{ID: k.launch(0, "sleep", "4242").ID})
	cut.Reset() // and so it has not waited
	k.await(p.ID)
	poll(t, "end", func() bool { return k.Kept() == 1 })
	if class := k.refused(&agentproto.ReadProcess{ID: p.ID}); class != agentproto.NotFound {
		t.Errorf("class %d", class)
	}
}

func TestRefused(t *testing.T) {
	k := newKit(t)
	p := k.launch(0, "sleep", "4242")
	for name, tt := range map[string]struct {
		request agentproto.Message
		want    agentproto.Class
	}{
		"no program": {&agentproto.StartProcess{Command: agentproto.Command{Args: []string{"/none"}}},
			agentproto.CommandNotFound},
		"no command": {&agentproto.StartProcess{}, agentproto.InvalidArgument},
		"too much": {&agentproto.StartProcess{Command: agentproto.Command{Args: []string{"true"}},
			Keep: 1 << 40}, agentproto.InvalidArgument},
		"no signal":       {&agentproto.SignalProcess{ID: p.ID, Signal: 65}, agentproto.InvalidArgument},
		"no such signal":  {&agentproto.SignalProcess{ID: p.ID}, agentproto.InvalidArgument},
		"signal to none":  {&agentproto.SignalProcess{ID: "x", Signal: 1}, agentproto.NotFound},
		"wait for none":   {&agentproto.WaitProcess{ID: "x"}, agentproto.NotFound},
		"read of none":    {&agentproto.ReadProcess{ID: "x"}, agentproto.NotFound},
		"not written yet": {&agentproto.ReadProcess{ID: p.ID, Since: 1}, agentproto.InvalidArgument},
	} {
		if got := k.refused(tt.request); got != tt.want {
			t.Errorf("%s: class %d, want %d", name, got, tt.want)
		}
	}
	if n := k.Kept(); n != 1 {
		t.Errorf("%d processes", n)
	}
}

// TestLimit: those that have ended make room.
func TestLimit(t *testing.T) {
	k := newKit(t)
	first := k.launch(0, "true")
	k.await(first.ID)
	for range maxProcesses - 1 {
		k.launch(0, "sleep", "4242")
	}
	k.launch(0, "sleep", "4242")
	if class := k.refused(&agentproto.WaitProcess{ID: first.ID}); class != agentproto.NotFound {
		t.Errorf("class %d", class)
	}
	class := k.refused(&agentproto.StartProcess{Command: agentproto.Command{Args: []string{"true"}}})
	if class != agentproto.LimitReached {
		t.Errorf("class %d", class)
	}
}

// TestDiskFull: what a disk does not take is missed, and the process goes on.
func TestDiskFull(t *testing.T) {
	o, err := newOutput(2 << 20)
	if err != nil {
		t.Fatal(err)
	}
	o.write(agentproto.KindStdout, []byte("before"))
	_ = o.file.Close()
	o.write(agentproto.KindStdout, []byte("during"))
	o.end()
	if at, _, n := o.next(t.Context(), make([]byte, 10), 0, 1<<62); at != 12 || n != 0 {
		t.Errorf("at %d, %d bytes", at, n)
	}
	if err := o.check(12); err != nil {
		t.Error(err)
	}
	// And what it does not give back, with more after it.
	if o, err = newOutput(2 << 20); err != nil {
		t.Fatal(err)
	}
	o.write(agentproto.KindStdout, []byte("out"))
	o.write(agentproto.KindStderr, []byte("err"))
	o.end()
	_ = o.file.Truncate(0)
	if at, _, n := o.next(t.Context(), make([]byte, 10), 0, 1<<62); at != 6 || n != 0 {
		t.Errorf("at %d, %d bytes", at, n)
	}
	o.close()
}

// poll waits for a condition.
func poll(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(limit); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("no %s", what)
		}
	}
}
