package terminal

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/octobot-run/octobot/internal/agent"
	"github.com/octobot-run/octobot/internal/agent/process"
	"github.com/octobot-run/octobot/internal/agentproto"
)

// limit is how long anything is waited for.
const limit = 30 * time.Second

// manager is the process's one, which reaps for as long as the process lives.
var manager = sync.OnceValue(func() *process.Manager {
	return process.NewManager([]string{"PATH=" + os.Getenv("PATH"), "SHELL=/bin/sh"}, 2)
})

func TestMain(m *testing.M) {
	manager()
	goleak.VerifyTestMain(m, goleak.IgnoreCurrent())
}

// kit is terminals, served as a keeper serves them.
type kit struct {
	*Terminals
	t      testing.TB
	server *agent.Server
	ctx    context.Context
	work   sync.WaitGroup
}

func newKit(t testing.TB) *kit {
	k := &kit{Terminals: New(manager()), t: t, server: agent.NewServer(agentproto.Info{})}
	var cancel context.CancelFunc
	k.ctx, cancel = context.WithCancel(context.Background())
	k.Register(k.server)
	t.Cleanup(func() {
		cancel()
		k.Terminals.Close()
		k.work.Wait()
	})
	return k
}

// ask begins an operation; it ends with the test at the latest.
func (k *kit) ask(request agentproto.Message) *agentproto.Stream {
	k.t.Helper()
	ours, theirs := pair(k.t)
	k.work.Go(func() { k.server.Operate(k.ctx, agentproto.NewStream(theirs)) })
	s := agentproto.NewStream(ours)
	k.t.Cleanup(s.Reset)
	if err := s.Send(request); err != nil {
		k.t.Fatal(err)
	}
	return s
}

// pair makes two ends of a connection.
func pair(t testing.TB) (ours, theirs *net.UnixConn) {
	t.Helper()
	dir, err := os.MkdirTemp("", "terminal") // shorter than t.TempDir, whose sockets have too long names
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	address := &net.UnixAddr{Name: filepath.Join(dir, "s"), Net: "unix"}
	l, err := net.ListenUnix("unix", address)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if ours, err = net.DialUnix("unix", nil, address); err != nil {
		t.Fatal(err)
	}
	if theirs, err = l.AcceptUnix(); err != nil {
		t.Fatal(err)
	}
	return ours, theirs
}

// view is a viewer of the tests.
type view struct {
	t testing.TB
	*agentproto.Stream
	attached agentproto.Attached
	pos      int64
	missed   int64 // in all, since it was attached
	viewers  int
	shown    strings.Builder // numbered
	replayed strings.Builder
	exit     *agentproto.Exit
}

func command(args ...string) agentproto.OpenTerminal {
	return agentproto.OpenTerminal{Name: "t", Command: agentproto.Command{Args: args}}
}

// open attaches, and fails the test where that fails.
func (k *kit) open(o agentproto.OpenTerminal) *view {
	k.t.Helper()
	v := &view{t: k.t, Stream: k.ask(&o)}
	if err := v.Receive(&v.attached); err != nil {
		k.t.Fatalf("open: %v", err)
	}
	v.pos = v.attached.Position
	return v
}

// refused gives the class of what an open is refused with.
func (k *kit) refused(o agentproto.OpenTerminal) agentproto.Class {
	k.t.Helper()
	err := k.ask(&o).Receive(&agentproto.Attached{})
	said, ok := errors.AsType[*agentproto.Error](err)
	if !ok {
		k.t.Fatalf("open gives %v", err)
	}
	return said.Class
}

// next takes a frame; false where there will be none.
func (v *view) next() bool {
	v.t.Helper()
	timer := time.AfterFunc(limit, v.Reset)
	defer timer.Stop()
	frame, err := v.Next()
	if err != nil {
		v.t.Fatalf("%v, having shown %.200q", err, v.shown.String())
	}
	decode := func(m agentproto.Message) {
		if err := frame.Decode(m); err != nil {
			v.t.Fatal(err)
		}
	}
	switch frame.Kind {
	case agentproto.KindData:
		v.shown.Write(frame.Payload)
		v.pos += int64(len(frame.Payload))
	case agentproto.KindReplay:
		v.replayed.Write(frame.Payload)
	case agentproto.KindMissed:
		var m agentproto.Missed
		decode(&m)
		v.missed += m.Bytes
		v.pos += m.Bytes
	case agentproto.KindViewers:
		var n agentproto.Viewers
		decode(&n)
		v.viewers = n.Count
	default:
		v.exit = &agentproto.Exit{}
		decode(v.exit)
		return false
	}
	return true
}

// until takes frames until the condition holds.
func (v *view) until(what string, holds func() bool) {
	v.t.Helper()
	for !holds() {
		if !v.next() {
			v.t.Fatalf("ended before %s: shown %.200q, replayed %.200q", what, v.shown.String(), v.replayed.String())
		}
	}
}

func (v *view) await(text string) {
	v.t.Helper()
	v.until("showing "+text, func() bool { return strings.Contains(v.shown.String(), text) })
}

// end takes everything, and gives the exit code.
func (v *view) end() int {
	v.t.Helper()
	for v.next() {
	}
	return v.exit.Code
}

func (v *view) typeIn(keys string) {
	v.t.Helper()
	if err := v.SendData(agentproto.KindData, []byte(keys)); err != nil {
		v.t.Fatal(err)
	}
}

func (k *kit) list() []agentproto.TerminalInfo {
	k.t.Helper()
	var answer agentproto.Terminals
	if err := k.ask(&agentproto.ListTerminals{}).Receive(&answer); err != nil {
		k.t.Fatal(err)
	}
	return answer.List
}

// poll waits for a condition.
func poll(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(limit); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("no %s", what)
		}
	}
}
