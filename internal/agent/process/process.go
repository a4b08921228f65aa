// Package process starts commands in the container, waits for them, and ends them with all their
// descendants.
package process

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/octobot-run/octobot/internal/agent/account"
	"github.com/octobot-run/octobot/internal/agentproto"
)

const (
	// tagName is the variable in a command's environment by which it and its descendants are found
	// again.
	tagName = "OCTOBOT_EXEC"
	// oomRaise makes the kernel, where memory runs out, end a command rather than the agent.
	oomRaise, oomMost = 200, 1000
	// startsPerCore is how many commands may be in their first moments at once: more of them do not
	// end sooner, and keep the processor from what runs already.
	startsPerCore = 2
	// maxForkers bounds the threads that start commands, which count among the container's
	// processes. One starts some thousand a second.
	maxForkers = 4
	// startsFor is how long a command counts as one that has just started. Most are over sooner.
	startsFor = 50 * time.Millisecond
)

// Spec says what to start.
type Spec struct {
	agentproto.Command // Env is the whole environment, Dir empty for the agent's own
	// Account is who it runs as.
	Account account.Account
	// Tag is the value of the variable by which it is found again; empty for one that is made up.
	Tag string
	// Stdin, Stdout and Stderr are the command's ends of pipes; nil is /dev/null. They stay the
	// caller's to close. They are given to the user, so that the command may open them again by
	// name.
	Stdin, Stdout, Stderr *os.File
	// Terminal, where not nil, is the other end of a PTY: the controlling terminal, and all three
	// of the above.
	Terminal *os.File
}

// Manager starts processes and reaps them, and all orphans of theirs, for it makes the agent their
// subreaper. There is one in a process, which must not wait for children in any other way
// (os/exec): it would not get them.
type Manager struct {
	env   *environment
	self  account.Account
	slots chan struct{}
	oom   []byte
	null  func() (*os.File, error)
	forks chan func() // what the forkers do

	ownGroup bool // every account's own group is among its supplementary ones

	mu       sync.Mutex
	changed  sync.Cond // of mu: there are children again, or closed
	running  map[int]*Process
	starting map[*begun]struct{}
	early    []ended
	reaped   uint64 // how many children were reaped so far
	started  uint64 // how many starts have ended so far
	closed   bool
	forkers  sync.WaitGroup
	done     chan struct{} // closed when the reaper has returned
}

// NewManager makes the Manager of this process. env is the container's own environment: HOME is the
// user's of each command unless it is in there. cores are what commands may run on.
func NewManager(env []string, cores int) *Manager {
	m := &Manager{
		env:      newEnvironment(env),
		self:     account.Account{UID: os.Geteuid(), GID: os.Getegid()},
		slots:    make(chan struct{}, startsPerCore*cores),
		forks:    make(chan func()),
		running:  map[int]*Process{},
		starting: map[*begun]struct{}{},
		done:     make(chan struct{}),
		null: sync.OnceValues(func() (*os.File, error) {
			return os.OpenFile(os.DevNull, os.O_RDWR, 0)
		}),
	}
	m.changed.L = &m.mu
	m.self.Groups, _ = os.Getgroups()
	slices.Sort(m.self.Groups)
	// Some engines have a user's own group among the supplementary ones, as they have ours.
	m.ownGroup = slices.Contains(m.self.Groups, m.self.GID)
	if own, err := os.ReadFile("/proc/self/oom_score_adj"); err == nil {
		if now, err := strconv.Atoi(strings.TrimSpace(string(own))); err == nil && now < oomMost {
			m.oom = strconv.AppendInt(nil, int64(min(now+oomRaise, oomMost)), 10)
		}
	}
	// Without it, orphans go to process 1, which reaps them as well.
	_ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
	go m.reap()
	for range min(cores, maxForkers) {
		m.forkers.Go(m.fork)
	}
	return m
}

// fork starts commands, on a thread that lives as long as the Manager does: a command is killed
// when the thread that started it ends, which is to be when the agent does.
func (m *Manager) fork() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for start := range m.forks {
		start()
	}
}

// forkExec starts a command on a forker's thread.
func (m *Manager) forkExec(path string, args []string, attr *syscall.ProcAttr) (pid int, err error) {
	started := make(chan struct{})
	m.forks <- func() {
		defer close(started)
		pid, err = syscall.ForkExec(path, args, attr)
	}
	<-started
	return pid, err
}

// Close waits for the end of the last child, and ends the Manager. Nothing may be started any more.
// A repeated call waits too.
func (m *Manager) Close() {
	m.mu.Lock()
	again := m.closed
	m.closed = true
	m.changed.Signal()
	m.mu.Unlock()
	<-m.done
	if !again {
		close(m.forks)
	}
	m.forkers.Wait()
}

// Resolve completes a command: the account, and the environment with HOME, and TERM for a terminal.
// An unknown user is a command that can't be started.
func (m *Manager) Resolve(c agentproto.Command, terminal bool) (Spec, error) {
	a, err := account.Lookup(cmp.Or(c.User, strconv.Itoa(m.self.UID)))
	if err != nil {
		return Spec{}, agentproto.Errorf(agentproto.CommandNotFound, "unable to find user %s: %v", c.User, err)
	}
	if m.self.UID != 0 && a.UID != m.self.UID {
		return Spec{}, agentproto.Errorf(agentproto.Unsupported,
			"the container runs without root, as user %d: no command can run as another", m.self.UID)
	}
	if m.ownGroup && !slices.Contains(a.Groups, a.GID) {
		a.Groups = append(a.Groups, a.GID)
		slices.Sort(a.Groups)
	}
	c.Env = m.env.with(c.Env, a.Home, terminal)
	return Spec{Command: c, Account: a}, nil
}

// Start starts a command, as the leader of a session and process group of its own. It waits for one
// of a few places, so that many starts do not starve each other and what runs already: ctx bounds
// that wait, and nothing later. A command that can't be started gives an *agentproto.Error.
func (m *Manager) Start(ctx context.Context, s Spec) (*Process, error) {
	path, err := executable(&s)
	if err != nil {
		return nil, err
	}
	files, err := m.stdio(&s)
	if err != nil {
		return nil, err
	}
	select {
	case m.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	p := &Process{m: m, done: make(chan struct{}), tag: tagName + "=" + cmp.Or(s.Tag, newTag()), slot: true}
	attr := syscall.ProcAttr{
		Dir:   s.Dir,
		Env:   append(slices.Clip(s.Env), p.tag),
		Files: files,
		Sys: &syscall.SysProcAttr{
			Setsid:     true,
			Setctty:    s.Terminal != nil,
			Pdeathsig:  syscall.SIGKILL,
			Credential: m.credential(s.Account),
		},
	}
	start := m.begin()
	pid, err := m.forkExec(path, s.Args, &attr)
	runtime.KeepAlive(s)
	if err != nil {
		m.end(start, nil)
		<-m.slots
		return nil, refusal(&s, err)
	}
	m.raiseOOM(pid)
	p.pid = pid
	p.timer = time.AfterFunc(startsFor, p.leaveSlot)
	m.end(start, p)
	return p, nil
}

// StartDaemon starts a program that outlives this process, as its user, in a session of its own.
// It writes to output.
func (m *Manager) StartDaemon(program string, args, env []string, output *os.File) error {
	null, err := m.null()
	if err != nil {
		return err
	}
	start := m.begin()
	defer m.end(start, nil)
	_, err = m.forkExec(program, args, &syscall.ProcAttr{
		Dir: "/", Env: env, Files: []uintptr{null.Fd(), output.Fd(), output.Fd()},
		Sys: &syscall.SysProcAttr{Setsid: true},
	})
	runtime.KeepAlive(output)
	return err
}

// stdio gives the descriptors of a command, which it makes the user's.
func (m *Manager) stdio(s *Spec) ([]uintptr, error) {
	given := [3]*os.File{s.Stdin, s.Stdout, s.Stderr}
	if s.Terminal != nil {
		given = [3]*os.File{s.Terminal, s.Terminal, s.Terminal}
	}
	files := make([]uintptr, len(given))
	for i, f := range given {
		if f == nil {
			null, err := m.null()
			if err != nil {
				return nil, agentproto.Errorf(agentproto.CommandNotFound, "%v", err)
			}
			files[i] = null.Fd()
			continue
		}
		files[i] = f.Fd()
		// What can't be given away is readable all the same, through the descriptor.
		if s.Account.UID != m.self.UID && (s.Terminal == nil || i == 0) {
			_ = syscall.Fchown(int(files[i]), s.Account.UID, -1)
		}
	}
	return files, nil
}

// credential is nil where the account is the agent's own: nothing must be changed then, for which
// the agent may lack the right. One that is not root has the groups that the engine has given it.
func (m *Manager) credential(a account.Account) *syscall.Credential {
	if m.self.UID != 0 && a.UID == m.self.UID {
		return nil
	}
	if a.UID == m.self.UID && a.GID == m.self.GID && slices.Equal(a.Groups, m.self.Groups) {
		return nil
	}
	c := &syscall.Credential{Uid: uint32(a.UID), Gid: uint32(a.GID), Groups: make([]uint32, len(a.Groups))}
	for i, g := range a.Groups {
		c.Groups[i] = uint32(g)
	}
	return c
}

// raiseOOM acts before the command had time to fork much, and is inherited.
func (m *Manager) raiseOOM(pid int) {
	if m.oom == nil {
		return
	}
	fd, err := syscall.Open("/proc/"+strconv.Itoa(pid)+"/oom_score_adj", syscall.O_WRONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	_, _ = syscall.Write(fd, m.oom)
	_ = syscall.Close(fd)
}

// Shorten bounds what a listing shows of a command.
func Shorten(args []string) []string {
	const most = 1024
	left := most
	var short []string
	for _, arg := range args {
		if len(arg) >= left {
			return append(short, arg[:left])
		}
		left -= len(arg) + 1
		short = append(short, arg)
	}
	return short
}

// NewID makes what tells something kept from all others.
func NewID() string {
	var b [8]byte
	rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

func newTag() string {
	var b [16]byte
	rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// refusal is why a command was not started, in the words that users know from engines.
func refusal(s *Spec, err error) error {
	class := agentproto.CommandNotFound
	if errors.Is(err, syscall.EINVAL) {
		class = agentproto.InvalidArgument
	}
	return agentproto.Errorf(class, "exec: %q: %v", s.Args[0], err)
}

// Process is a started command. Its methods may be called from many goroutines.
type Process struct {
	m     *Manager
	pid   int
	tag   string
	timer *time.Timer
	done  chan struct{}

	// Guarded by m.mu until done is closed.
	over   bool // reaped: pid may be another process now
	slot   bool // it holds one of the places of those that start
	code   int
	overAt uint64 // when it was reaped, in the clock of /proc; see ticks
}

// Pid is its process ID in the container.
func (p *Process) Pid() int { return p.pid }

// Done is closed when the command itself has ended; descendants may live on.
func (p *Process) Done() <-chan struct{} { return p.done }

// Code is the exit code after Done; 128+n where signal n ended it.
func (p *Process) Code() int { return p.code }

// Signal sends a signal to its process group. After its end: nil.
func (p *Process) Signal(sig syscall.Signal) error {
	p.m.mu.Lock()
	defer p.m.mu.Unlock()
	if p.over {
		return nil
	}
	if err := syscall.Kill(-p.pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("signal %d to process %d: %w", sig, p.pid, err)
	}
	return nil
}

// leaveSlot makes room for another start. A repeated call: nothing.
func (p *Process) leaveSlot() {
	p.m.mu.Lock()
	held := p.slot
	p.slot = false
	p.m.mu.Unlock()
	if held {
		<-p.m.slots
	}
}

// environment is the container's own, with each name once.
type environment struct {
	vars []string
	at   map[string]int
}

func newEnvironment(vars []string) *environment {
	e := &environment{at: make(map[string]int, len(vars))}
	e.vars = put(nil, nil, e.at, vars...)
	return e
}

// put sets variables: the last one of a name counts. at is where those are that were put, below
// where those of before are. Our own tag is nobody's to set.
func put(vars []string, below, at map[string]int, set ...string) []string {
	for _, v := range set {
		name, _, ok := strings.Cut(v, "=")
		if !ok || name == tagName {
			continue
		}
		i, known := below[name]
		if !known {
			i, known = at[name]
		}
		if known {
			vars[i] = v
			continue
		}
		at[name] = len(vars)
		vars = append(vars, v)
	}
	return vars
}

// with is a command's environment: e, what HOME and TERM are otherwise, and over on top.
func (e *environment) with(over []string, home string, terminal bool) []string {
	vars := make([]string, len(e.vars), len(e.vars)+len(over)+3)
	copy(vars, e.vars)
	at := make(map[string]int, len(over)+2)
	if _, ok := e.at["HOME"]; !ok {
		vars = put(vars, e.at, at, "HOME="+cmp.Or(home, "/"))
	}
	if _, ok := e.at["TERM"]; !ok && terminal {
		vars = put(vars, e.at, at, "TERM=xterm")
	}
	return put(vars, e.at, at, over...)
}
