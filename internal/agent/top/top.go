// Package top tells the daemon what runs in the container.
package top

import (
	"bytes"
	"context"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/octobot-run/octobot/internal/agent"
	"github.com/octobot-run/octobot/internal/agent/account"
	"github.com/octobot-run/octobot/internal/agentproto"
)

const (
	// maxCommand bounds what is told of a command line, in bytes.
	maxCommand = 300
	// answerWithin is when what was found has to do: the kernel may make a look at a process wait,
	// for as long as another likes whose memory is behind a file system of its own.
	answerWithin = 2 * time.Second

	tick = time.Second / 100 // USER_HZ, of every architecture that Go knows
)

// Register makes reg serve the request for what runs.
func Register(reg agent.Registry) {
	t := &top{proc: "/proc", looking: make(chan struct{}, 1), within: answerWithin}
	reg.Handle(agentproto.KindListRunning, t.list)
}

type top struct {
	proc    string
	looking chan struct{} // holds an element while a listing is under way
	within  time.Duration
}

func (t *top) list(_ context.Context, s *agentproto.Stream, request []byte) error {
	if err := agentproto.Decode(request, &agentproto.ListRunning{}); err != nil {
		return agentproto.Errorf(agentproto.InvalidArgument, "%v", err)
	}
	late := time.NewTimer(t.within)
	defer late.Stop()
	select {
	case t.looking <- struct{}{}:
	case <-late.C:
		return agentproto.Errorf(agentproto.LimitReached, "a look at the container's processes hangs in the kernel")
	}
	l := &listing{proc: t.proc}
	done := make(chan error, 1)
	go func() {
		defer func() { <-t.looking }()
		done <- l.run()
	}()
	select {
	case err := <-done:
		if err != nil {
			return err
		}
	case <-late.C:
	}
	return s.Send(&agentproto.Running{List: l.seen()})
}

// listing is one look at all processes.
type listing struct {
	proc string

	mu   sync.Mutex
	list []agentproto.RunningProcess // guarded by mu
}

func (l *listing) seen() []agentproto.RunningProcess {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.list)
}

func (l *listing) run() error {
	pids, err := l.pids()
	if err != nil {
		return err
	}
	users := account.Users()
	for _, pid := range pids {
		p, ok := l.look(pid, users)
		if !ok {
			continue // it has ended
		}
		l.mu.Lock()
		l.list = append(l.list, p)
		l.mu.Unlock()
		if cmd := l.command(pid); cmd != "" { // may hang
			l.mu.Lock()
			l.list[len(l.list)-1].Cmd = cmd
			l.mu.Unlock()
		}
	}
	return nil
}

func (l *listing) pids() ([]int, error) {
	dir, err := os.Open(l.proc)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	return pids[:min(len(pids), agentproto.MaxRunning)], nil
}

// look reads what the kernel itself tells of a process.
func (l *listing) look(pid int, users map[int]string) (p agentproto.RunningProcess, ok bool) {
	dir := l.proc + "/" + strconv.Itoa(pid)
	stat, err := os.ReadFile(dir + "/stat")
	if err != nil {
		return p, false
	}
	status, err := os.ReadFile(dir + "/status")
	if err != nil {
		return p, false
	}
	// The name is in parentheses, and may hold some.
	open, end := bytes.IndexByte(stat, '('), bytes.LastIndexByte(stat, ')')
	if open < 0 || end < open {
		return p, false
	}
	// state, ppid, …, utime and stime as the 12th and 13th, the start as the 20th, rss as the 22nd
	f := bytes.Fields(stat[end+1:])
	if len(f) < 22 {
		return p, false
	}
	numeral := func(i int) int64 {
		n, _ := strconv.ParseInt(string(f[i]), 10, 64)
		return n
	}
	return agentproto.RunningProcess{
		PID: pid, Parent: int(numeral(1)), User: userOf(status, users),
		CPUTime: (numeral(11) + numeral(12)) * int64(tick),
		Elapsed: max(0, sinceBoot()-numeral(19)*int64(tick)),
		Memory:  numeral(21) * int64(os.Getpagesize()),
		Cmd:     "[" + string(stat[open+1:end]) + "]",
	}, true
}

// userOf takes the effective user.
func userOf(status []byte, users map[int]string) string {
	_, line, _ := bytes.Cut(status, []byte("\nUid:"))
	line, _, _ = bytes.Cut(line, []byte("\n"))
	ids := bytes.Fields(line)
	if len(ids) < 2 {
		return ""
	}
	uid, err := strconv.Atoi(string(ids[1]))
	if name, ok := users[uid]; err == nil && ok {
		return name
	}
	return string(ids[1])
}

// sinceBoot is the time in the clock of processes' starts, in nanoseconds.
func sinceBoot() int64 {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &t) != nil {
		return 0
	}
	return t.Nano()
}

// command is the beginning of a process's command line.
func (l *listing) command(pid int) string {
	f, err := os.Open(l.proc + "/" + strconv.Itoa(pid) + "/cmdline")
	if err != nil {
		return ""
	}
	defer f.Close()
	b := make([]byte, maxCommand)
	n, _ := f.Read(b)
	return string(bytes.ReplaceAll(bytes.TrimRight(b[:n], "\x00"), []byte{0}, []byte{' '}))
}
