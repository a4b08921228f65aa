package top

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/octobot-run/octobot/internal/agent"
	"github.com/octobot-run/octobot/internal/agentproto"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// registry takes the one handler that is registered.
type registry struct{ handler agent.Handler }

func (r *registry) Handle(_ agentproto.Kind, h agent.Handler) { r.handler = h }

// ask has a daemon ask for what runs.
func ask(t *testing.T, h agent.Handler) ([]agentproto.RunningProcess, error) {
	t.Helper()
	server := agent.NewServer(agentproto.Info{})
	server.Handle(agentproto.KindListRunning, h)
	a, b := net.Pipe()
	served := make(chan error, 1)
	go func() { served <- server.Serve(context.Background(), b) }()
	session, _, err := agentproto.Connect(a)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = session.Close()
		if err := <-served; err != nil {
			t.Error(err)
		}
	}()
	s, err := session.Open(t.Context(), &agentproto.ListRunning{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var answer agentproto.Running
	err = s.Receive(&answer)
	return answer.List, err
}

func find(list []agentproto.RunningProcess, pid int) *agentproto.RunningProcess {
	i := slices.IndexFunc(list, func(p agentproto.RunningProcess) bool { return p.PID == pid })
	if i < 0 {
		return nil
	}
	return &list[i]
}

// TestList looks at this process, and at a child of it.
func TestList(t *testing.T) {
	child := exec.Command("sleep", "1000")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = child.Process.Kill(); _ = child.Wait() }()
	for used := time.Now(); time.Since(used) < 30*time.Millisecond; { // at least a tick of CPU time
	}
	var reg registry
	Register(&reg)
	list, err := ask(t, reg.handler)
	if err != nil || !slices.IsSortedFunc(list, func(a, b agentproto.RunningProcess) int { return a.PID - b.PID }) {
		t.Fatalf("%+v, %v", list, err)
	}
	self := find(list, os.Getpid())
	if self == nil || self.Parent != os.Getppid() || self.CPUTime <= 0 || self.Elapsed <= 0 ||
		self.Elapsed > int64(time.Hour) || self.Memory < 1<<20 || !strings.Contains(self.Cmd, "top.test") {
		t.Errorf("this process is %+v", self)
	}
	if p := find(list, child.Process.Pid); p == nil || p.Parent != os.Getpid() || p.Cmd != "sleep 1000" ||
		p.User != self.User || p.User == "" {
		t.Errorf("its child is %+v", p)
	}
}

// process writes what /proc has of one.
func process(t *testing.T, proc string, pid int, stat, status, cmdline string) {
	t.Helper()
	dir := filepath.Join(proc, strconv.Itoa(pid))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"stat": stat, "status": status, "cmdline": cmdline} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

const fields = " S 1 1 1 0 -1 4194304 0 0 0 0 150 50 0 0 20 0 1 0 5 1000000 3 18446744073709551615"

// TestOddProcesses has names and command lines that processes choose themselves.
func TestOddProcesses(t *testing.T) {
	proc := t.TempDir()
	process(t, proc, 30, "30 (a) S 9) (b)"+fields, "Name:\tx\nUid:\t5\t4294967294\t5\t5\n", "")
	process(t, proc, 4, "4 (sh)"+fields, "Name:\tsh\nUid:\t0\t0\t0\t0\n", "sh\x00-c\x00"+strings.Repeat("x", 1000))
	process(t, proc, 5, "5 (cut", "", "")
	process(t, proc, 6, "6 (short) S 1", "", "")
	reg := &top{proc: proc, looking: make(chan struct{}, 1), within: time.Minute}
	list, err := ask(t, reg.list)
	if err != nil || len(list) != 2 {
		t.Fatalf("%+v, %v", list, err)
	}
	if p := list[0]; p.PID != 4 || p.Parent != 1 || p.User != "root" || p.CPUTime != int64(2*time.Second) ||
		p.Memory != int64(3*os.Getpagesize()) || len(p.Cmd) != maxCommand || !strings.HasPrefix(p.Cmd, "sh -c xxx") {
		t.Errorf("%+v", p)
	}
	if p := list[1]; p.PID != 30 || p.User != "4294967294" || p.Cmd != "[a) S 9) (b]" {
		t.Errorf("%+v", p)
	}
}

// TestHangingProcess has a command line that can't be read, as the kernel makes it where a
// process's memory is behind a file system that does not answer.
func TestHangingProcess(t *testing.T) {
	proc := t.TempDir()
	process(t, proc, 4, "4 (fine)"+fields, "Name:\tx\nUid:\t0\t0\t0\t0\n", "fine")
	process(t, proc, 5, "5 (hangs)"+fields, "Name:\tx\nUid:\t0\t0\t0\t0\n", "")
	pipe := filepath.Join(proc, "5", "cmdline")
	if err := os.Remove(pipe); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	reg := &top{proc: proc, looking: make(chan struct{}, 1), within: 50 * time.Millisecond}
	list, err := ask(t, reg.list)
	if err != nil || len(list) != 2 || list[0].Cmd != "fine" || list[1].Cmd != "[hangs]" {
		t.Errorf("%+v, %v", list, err)
	}
	var said *agentproto.Error
	if _, err := ask(t, reg.list); !errors.As(err, &said) || said.Class != agentproto.LimitReached {
		t.Errorf("beside it: %v", err)
	}
	w, err := os.OpenFile(pipe, os.O_WRONLY, 0) // lets it go on
	if err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	reg.looking <- struct{}{} // when it has ended
}
