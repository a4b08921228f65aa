// Package toybox is a small Unix in memory: processes with PIDs, signals and traps, a file system
// with owners, terminals that echo, a shell, and commands written in Go. Programs that must behave
// as on a machine run in it without one, with virtual time where the caller's is.
//
// A [System] is one run, from the start of its main process to its end, on a [FileSystem] that
// outlives it. [System.Start] and [System.Spawn] start what a [Spec] says, [Process] is what came
// of it, and [Commands] are the programs that there are. Nothing isolates them from the caller:
// they are its own code, in its own goroutines, and all of these have ended when [System.Done] is
// closed.
//
// # Why the parser and the shell are its own
//
// mvdan.cc/sh/v3 (3.14) was tried, and its shell, package interp, does not fit. It runs scripts,
// not processes: "$$" is the PID of the program that it is part of, "$!" is "g1", kill is not
// there, trap takes no signal, and a subshell or a job in the background is a goroutine that nobody
// can name, signal or wait for. Its input and its pipes are files of the host, at which virtual
// time stands still, and it starts in directories of the host alone. Its parser and its expansions,
// below an evaluator that keeps to processes, pass the suite and bring loops, conditions, functions
// and $(…), at some 450 lines more than are here now. That is for the day when somebody needs
// those.
package toybox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"sync"
	"time"
)

// Config says what a system is made of.
type Config struct {
	Files    *FileSystem
	Commands *Commands
	Hostname string
	// Env, Dir and User are what a process has whose Spec names nothing else; empty for nothing,
	// "/" and root.
	Env       []string
	Dir, User string
	// MaxProcesses bounds the processes at one time; 0 for a bound that only runaways meet.
	MaxProcesses int
	// Ended is called once, after the last process has ended and before Done is closed, with the
	// main process's exit code.
	Ended func(code int)
}

// maxProcesses keeps scripts that multiply from taking the caller's memory.
const maxProcesses = 4096

// System is a main process, with PID 1, and those started beside it. They end with it.
//
// It is safe for concurrent use.
type System struct {
	config Config
	main   *Process
	ended  chan struct{}
	ctx    context.Context
	kill   context.CancelCauseFunc // ends every process
	wg     sync.WaitGroup          // of every goroutine but the main process's

	network network

	mu        sync.Mutex
	processes []*Process // in the order of their PIDs
	lastPID   int
	closed    bool // the main process has ended; nothing is started any more
}

// NewSystem makes a system in which nothing runs yet.
func NewSystem(c Config) *System {
	s := &System{config: c, ended: make(chan struct{})}
	s.ctx, s.kill = context.WithCancelCause(context.Background())
	return s
}

// ErrEnded is what starting a process gives when the main process has ended, or the job that it
// would belong to was killed.
var ErrEnded = errors.New("the system has ended")

// Start runs the main process. It is called once, before anything else is started; where it
// fails, the system is of no further use. A main process that does nothing but wait costs no
// goroutine.
func (s *System) Start(spec Spec) error {
	command, err := s.complete(&spec)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.main = s.add(launch{Spec: spec})
	d, waits := onlyWaits(spec.Args, spec.Terminal != nil)
	if !waits {
		go s.main.work(command)
		return nil
	}
	s.main.idle = true
	if d >= 0 {
		s.main.timer = time.AfterFunc(d, func() { s.main.Exit(0) })
	}
	return nil
}

// Spawn starts a process beside the main one, with a job of its own. Its error is [ErrEnded], or
// says why there can be no such process.
func (s *System) Spawn(spec Spec) (*Process, error) {
	command, err := s.complete(&spec)
	if err != nil {
		return nil, err
	}
	l := launch{Spec: spec}
	if c, ok := spec.Stdin.(io.Closer); ok {
		l.closes = append(l.closes, c)
	}
	return s.launch(l, command)
}

// Main is the main process.
func (s *System) Main() *Process { return s.main }

// Ending is closed when the main process is being killed or has ended, and so all others end.
func (s *System) Ending() <-chan struct{} { return s.ctx.Done() }

// Done is closed when every process has ended.
func (s *System) Done() <-chan struct{} { return s.ended }

// Count tells how many processes there are.
func (s *System) Count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.processes)
}

// complete fills in what a process gets of its system, checks it, and finds its program.
func (s *System) complete(spec *Spec) (Command, error) {
	command, err := s.find(spec.Args[0])
	if err != nil {
		return nil, fmt.Errorf("exec: %q: %w", spec.Args[0], err)
	}
	for _, s := range slices.Concat(spec.Args, spec.Env) {
		if len(s) >= maxExecArgument {
			return nil, fmt.Errorf("exec: %q: %w", spec.Args[0], errTooLong)
		}
	}
	if spec.User == "" {
		spec.User = s.config.User
	}
	name, _, _ := strings.Cut(spec.User, ":")
	account, ok := lookUser(name)
	if !ok {
		return nil, fmt.Errorf("unable to find user %s", name)
	}
	spec.User = account.name
	if spec.Dir == "" {
		spec.Dir = s.config.Dir
	}
	if spec.Dir == "" {
		spec.Dir = "/"
	}
	spec.Dir = path.Clean(spec.Dir)
	if !s.config.Files.IsDir(spec.Dir) {
		return nil, fmt.Errorf("working directory %s does not exist", spec.Dir)
	}
	env := []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME=" + account.home, "HOSTNAME=" + s.config.Hostname,
	}
	if spec.Terminal != nil {
		env = append(env, "TERM=xterm")
	}
	spec.Env = mergeEnv(env, s.config.Env, spec.Env)
	return command, nil
}

func mergeEnv(lists ...[]string) []string {
	var env []string
	at := make(map[string]int)
	for _, list := range lists {
		for _, e := range list {
			name, _, _ := strings.Cut(e, "=")
			if i, ok := at[name]; ok {
				env[i] = e
				continue
			}
			at[name] = len(env)
			env = append(env, e)
		}
	}
	return env
}

var (
	errNotFound      = errors.New("not found")
	errNotExecutable = errors.New("permission denied")
	errTooLong       = errors.New("argument list too long")
)

// maxExecArgument is the length from which Linux takes no argument or variable.
const maxExecArgument = 128 << 10

// find looks a program up as execve does.
func (s *System) find(name string) (Command, error) {
	base, dir := path.Base(name), path.Dir(name)
	if name == base || slices.Contains([]string{"/bin", "/usr/bin", "/usr/local/bin"}, dir) {
		if c, ok := s.config.Commands.get(base); ok {
			return c, nil
		}
	}
	if strings.Contains(name, "/") && s.config.Files.exists(path.Clean(name)) {
		return nil, errNotExecutable
	}
	return nil, errNotFound
}

// end ends every process after the main one.
func (s *System) end(code int) {
	s.kill(SIGKILL)
	s.network.end()
	s.wg.Wait()
	s.config.Files.unmount()
	if s.config.Ended != nil {
		s.config.Ended(code)
	}
	if t := s.main.Terminal; t != nil {
		t.end()
	}
	close(s.ended)
}

// process looks a process up by its PID.
func (s *System) process(pid int) (*Process, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.processes, func(p *Process) bool { return p.PID == pid })
	if i < 0 {
		return nil, false
	}
	return s.processes[i], true
}

// list returns the processes there are, by PID.
func (s *System) list() []*Process {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.processes)
}
