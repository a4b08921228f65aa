package toybox

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Spec says what a process is to be. Args are required.
type Spec struct {
	Args      []string // the program's name first
	Env       []string // "NAME=value", over the system's
	Dir, User string
	// Stdin is the terminal where nil, or at its end without one. Of a spawned process, one that
	// is an [io.Closer] is closed when the process has ended or is being killed, which must end a
	// Read that waits.
	Stdin io.Reader
	// Stdout and Stderr are the terminal where nil; without one they are required. A Write may
	// wait, until [System.Ending] at most.
	Stdout, Stderr io.Writer
	// Terminal is led by the process where it is the first there: ^C is for its job, and the
	// terminal ends with it.
	Terminal *Terminal
}

// Process is a running program, as others see it and as its own [Command] does.
type Process struct {
	PID      int
	Args     []string // the command's name first
	Env      []string
	Dir      string
	User     string
	Stdin    io.Reader // never nil; EOF at once where nobody writes to it
	Stdout   io.Writer // never nil; fails when the process is killed
	Stderr   io.Writer
	Terminal *Terminal // nil without a TTY

	system  *System
	started time.Time
	job     *job
	ctx     context.Context
	cancel  context.CancelCauseFunc
	ended   chan struct{} // closed when code is known
	code    int
	leader  bool // of its terminal

	// Guarded by system.mu.
	idle       bool // it only waits: no goroutine runs for it
	doomed     bool // a signal ends it, if it has not yet
	timer      *time.Timer
	traps      map[Signal]trap
	background bool
}

// job is a process that [System.Spawn] started, or the main one, with all that they started.
type job struct {
	killed bool // nothing is started any more; guarded by System.mu
}

// launch is a process that is to be started.
type launch struct {
	Spec
	closes     []io.Closer // when it has ended or is being killed
	parent     *Process    // nil for a job of its own
	traps      map[Signal]trap
	background bool
}

var errEnded = errors.New("the process has ended")

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.ended }

// ExitCode is how the process ended, 128+n where signal n ended it. It is known once Done is
// closed.
func (p *Process) ExitCode() int { return p.code }

// Getenv returns a variable of the process's environment, empty where there is none.
func (p *Process) Getenv(name string) string {
	for _, e := range slices.Backward(p.Env) {
		if k, v, ok := strings.Cut(e, "="); ok && k == name {
			return v
		}
	}
	return ""
}

func (p *Process) setenv(name, value string) error {
	env := slices.DeleteFunc(slices.Clone(p.Env), func(e string) bool { return strings.HasPrefix(e, name+"=") })
	env = append(env, name+"="+value)
	size := 0
	for _, e := range env {
		size += len(e)
	}
	if size > maxArgument {
		return syscall.E2BIG
	}
	p.Env = env
	return nil
}

// commandLine is Args for other processes to see.
func (p *Process) commandLine() []string {
	p.system.mu.Lock()
	defer p.system.mu.Unlock()
	return p.Args
}

func (p *Process) setCommandLine(args []string) {
	p.system.mu.Lock()
	defer p.system.mu.Unlock()
	p.Args = args
}

// onlyWaits tells of a main process that does nothing but wait: how long, or negative for ever. A
// shell without a script waits for somebody to look at its terminal.
func onlyWaits(args []string, terminal bool) (time.Duration, bool) {
	switch {
	case len(args) == 1 && isShell(args[0]):
		return -1, true
	case terminal:
		return 0, false
	case slices.Equal(args, []string{"tail", "-f", "/dev/null"}):
		return -1, true
	case len(args) == 2 && args[0] == "sleep":
		if d, err := sleepTime(args[1]); err == nil {
			return d, true
		}
	}
	return 0, false
}

func isShell(name string) bool {
	return slices.Contains([]string{"sh", "ash", "bash"}, path.Base(name))
}

// wake gives an idle shell a goroutine, because somebody looks at its terminal.
func (p *Process) wake() {
	p.system.mu.Lock()
	defer p.system.mu.Unlock()
	if p.idle && !p.system.closed {
		p.idle = false
		go p.work(shell)
	}
}

// add makes a process of what is complete. Its caller sees to it that it ends, by work or, where
// it is idle, by Exit, and holds mu.
func (s *System) add(l launch) *Process {
	s.lastPID++
	p := &Process{
		PID: s.lastPID, Args: l.Args, Env: l.Env, Dir: l.Dir, User: l.User,
		Stdin: l.Stdin, Stdout: l.Stdout, Stderr: l.Stderr, Terminal: l.Terminal,
		system: s, started: time.Now(), ended: make(chan struct{}), traps: l.traps, background: l.background,
	}
	if l.parent != nil {
		p.job = l.parent.job
	} else {
		p.job = new(job)
	}
	if s.lastPID == 1 { // with it, all others end
		p.ctx, p.cancel = s.ctx, s.kill
	} else {
		p.ctx, p.cancel = context.WithCancelCause(s.ctx)
	}
	if t := l.Terminal; t != nil {
		p.leader = t.lead(p)
		p.Stdin = cmp.Or[io.Reader](p.Stdin, terminalInput{t, p.ctx})
		p.Stdout = cmp.Or[io.Writer](p.Stdout, t)
		p.Stderr = cmp.Or[io.Writer](p.Stderr, t)
	}
	if p.Stdin == nil {
		p.Stdin = noInput{}
	}
	s.processes = append(s.processes, p)
	return p
}

// launch starts a process of what is complete, running command.
func (s *System) launch(l launch, command Command) (*Process, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || l.parent != nil && (l.parent.job.killed || l.parent.doomed) {
		return nil, ErrEnded
	}
	if len(s.processes) >= cmp.Or(s.config.MaxProcesses, maxProcesses) {
		return nil, syscall.EAGAIN
	}
	p := s.add(l)
	if len(l.closes) > 0 {
		s.wg.Add(1) // ctx ends with the process, however that ends
		context.AfterFunc(p.ctx, func() {
			defer s.wg.Done()
			closeAll(l.closes)
		})
	}
	s.wg.Go(func() { p.work(command) })
	return p, nil
}

func closeAll(closers []io.Closer) {
	for _, c := range closers {
		_ = c.Close() // pipes, and what Spec.Stdin says of itself
	}
}

// work runs the process's command to its end.
func (p *Process) work(command Command) {
	code := command(p.ctx, p)
	if s, killed := p.killedBy(); killed {
		code = s.exitCode()
	}
	p.finish(code)
}

// killedBy tells which signal ended the process.
func (p *Process) killedBy() (Signal, bool) {
	if p.ctx.Err() == nil {
		return 0, false
	}
	s, ok := errors.AsType[Signal](context.Cause(p.ctx))
	return s, ok
}

// Exit ends a process from outside with a code of the caller's choice.
func (p *Process) Exit(code int) {
	p.system.mu.Lock()
	idle := p.idle
	p.idle = false
	p.system.mu.Unlock()
	if idle {
		p.finish(code)
		return
	}
	p.cancel(exited(code))
}

// exited is why a process ends that Exit ends.
type exited int

func (e exited) Error() string { return "exited with code " + strconv.Itoa(int(e)) }

// finish makes the end of the process known, and of the system with its main process. It is
// called once.
func (p *Process) finish(code int) {
	if e, ok := errors.AsType[exited](context.Cause(p.ctx)); ok {
		code = int(e)
	}
	s := p.system
	p.cancel(errEnded)
	s.mu.Lock()
	p.code = code
	if p.timer != nil {
		p.timer.Stop()
	}
	s.processes = slices.DeleteFunc(s.processes, func(q *Process) bool { return q == p })
	main := p == s.main
	if main {
		s.closed = true
	}
	s.mu.Unlock()
	close(p.ended)
	switch {
	case main:
		s.end(code)
	case p.leader:
		p.Terminal.end()
	}
}

// become replaces the process's program, as execve does.
func (p *Process) become(ctx context.Context, args []string) int {
	if len(args) == 0 {
		return p.fail(125, "a command is needed")
	}
	command, err := p.system.find(args[0])
	if err != nil {
		return p.fail(execCode(err), "can't execute '%s': %s", args[0], err)
	}
	p.setCommandLine(args)
	return command(ctx, p)
}

// print writes to standard output, and gives the exit code.
func (p *Process) print(s string) int {
	if _, err := io.WriteString(p.Stdout, s); err != nil {
		return p.fail(1, "write error: %s", err)
	}
	return 0
}

// fail says on standard error what went wrong, and gives the exit code to return.
func (p *Process) fail(code int, format string, args ...any) int {
	fmt.Fprintf(p.Stderr, "%s: %s\n", path.Base(p.Args[0]), fmt.Sprintf(format, args...))
	return code
}

// execCode is a shell's exit code for what could not be executed.
func execCode(err error) int {
	switch {
	case errors.Is(err, errNotFound):
		return 127
	case errors.Is(err, errNotExecutable), errors.Is(err, errTooLong):
		return 126
	}
	return 1
}

// noInput is a standard input at its end.
type noInput struct{}

func (noInput) Read([]byte) (int, error) { return 0, io.EOF }
