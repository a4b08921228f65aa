package mock

import (
	"cmp"
	"context"
	"errors"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/octobot-run/octobot/internal/container"
)

// Command is a scripted program. It returns its exit code. It must return soon after ctx
// ends, which is how the process is killed; what it returns then does not count. It may use p
// from several goroutines, and waits for those that it starts.
type Command func(ctx context.Context, p *Process) int

// Process is what a [Command] knows of itself.
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

	run    *run
	job    *job
	ctx    context.Context
	cancel context.CancelCauseFunc
	ended  chan struct{} // closed when code is known
	code   int
	leader bool // the terminal was made for it

	// Guarded by run.mu.
	idle       bool // it only waits: no goroutine runs for it
	doomed     bool // a signal ends it, if it has not yet
	timer      *time.Timer
	traps      map[signal]trap
	background bool
}

// Getenv returns a variable of the process's environment, empty where there is none.
func (p *Process) Getenv(name string) string {
	for _, e := range slices.Backward(p.Env) {
		if k, v, ok := strings.Cut(e, "="); ok && k == name {
			return v
		}
	}
	return ""
}

func (p *Process) setenv(name, value string) {
	env := slices.DeleteFunc(slices.Clone(p.Env), func(e string) bool { return strings.HasPrefix(e, name+"=") })
	p.Env = append(env, name+"="+value)
}

// commandLine is Args for other processes to see.
func (p *Process) commandLine() []string {
	p.run.mu.Lock()
	defer p.run.mu.Unlock()
	return p.Args
}

func (p *Process) setCommandLine(args []string) {
	p.run.mu.Lock()
	defer p.run.mu.Unlock()
	p.Args = args
}

// job is a command that somebody started, with all that it started in turn.
type job struct {
	killed bool // nothing is started any more; guarded by run.mu
}

// run is one run of a container, from its start until its main process ends.
type run struct {
	box   *box
	main  *Process
	ended chan struct{} // closed when every process has ended and the container is stopped
	ctx   context.Context
	kill  context.CancelCauseFunc // ends every process
	wg    sync.WaitGroup          // of every process but the main one

	mu        sync.Mutex
	processes []*Process // in the order of their PIDs
	lastPID   int
	closed    bool // the main process has ended; nothing is started any more
}

// spec says what a process is to be.
type spec struct {
	parent         *Process // nil for the engine
	job            *job     // nil for one of its own
	args, env      []string
	dir, user      string
	stdin          io.Reader // nil for the terminal, or nothing without one
	stdout, stderr io.Writer // nil for the terminal
	terminal       *Terminal // leads it where nobody else does yet
	traps          map[signal]trap
	background     bool
}

var errEnded = errors.New("the process has ended")

// start runs the container's main process. The caller holds the engine's mutex.
func (b *box) start() error {
	args, user := b.opts.Cmd, b.opts.User
	if len(args) == 0 {
		args = []string{"sh"}
	}
	command, err := b.engine.find(args[0], &b.disk)
	if err != nil {
		return refuse(container.ErrExecFailed, "exec: %q: %s", args[0], err)
	}
	r := &run{box: b, ended: make(chan struct{})}
	s := spec{args: args, env: b.opts.Env, dir: b.opts.WorkingDir, user: user}
	if err := r.complete(&s); err != nil {
		return err
	}
	if err := b.engine.publishPorts(b); err != nil {
		return err
	}
	r.ctx, r.kill = context.WithCancelCause(context.Background())
	if b.opts.Tty {
		s.terminal = newTerminal(r)
		s.terminal.log = b.log.writer(stdout)
	} else {
		s.stdout, s.stderr = b.log.writer(stdout), b.log.writer(stderr)
	}
	r.add(s)
	b.run = r
	b.log.begin()
	b.c.Status = container.StatusRunning
	b.c.StartedAt, b.c.FinishedAt = time.Now(), time.Time{}
	b.c.ExitCode, b.c.OOMKilled, b.c.Reason = 0, false, ""
	b.engine.publish(b, container.EventStarted)

	if d, ok := onlyWaits(args, b.opts.Tty); ok {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.main.idle = true
		if d >= 0 {
			r.main.timer = time.AfterFunc(d, func() { r.main.exit(0) })
		}
	} else {
		go r.main.work(command)
	}
	return nil
}

// onlyWaits tells of a main process that does nothing but wait, so that a container costs no
// goroutine: how long, or negative for ever. A shell waits for somebody to attach.
func onlyWaits(args []string, tty bool) (time.Duration, bool) {
	switch {
	case len(args) == 1 && isShell(args[0]):
		return -1, true
	case tty:
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

// wake gives an idle shell a goroutine, because somebody has attached.
func (p *Process) wake() {
	p.run.mu.Lock()
	defer p.run.mu.Unlock()
	if p.idle && !p.run.closed {
		p.idle = false
		go p.work(shell)
	}
}

// complete fills in what a process inherits of its container, and checks it.
func (r *run) complete(s *spec) error {
	opts := r.box.opts
	if s.user == "" {
		s.user = opts.User
	}
	name, _, _ := strings.Cut(s.user, ":")
	account, ok := lookUser(name)
	if !ok {
		return refuse(container.ErrExecFailed, "unable to find user %s", name)
	}
	s.user = account.name
	if s.dir == "" {
		s.dir = opts.WorkingDir
	}
	if s.dir == "" {
		s.dir = "/"
	}
	s.dir = path.Clean(s.dir)
	if !r.box.disk.isDir(s.dir) {
		return refuse(container.ErrExecFailed, "working directory %s does not exist", s.dir)
	}
	env := []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=" + account.home, "HOSTNAME=" + r.box.c.ID[52:]}
	if s.terminal != nil {
		env = append(env, "TERM=xterm")
	}
	s.env = mergeEnv(env, opts.Env, s.env)
	return nil
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
)

// find looks a command up as execve does. The caller holds the engine's mutex.
func (e *Engine) find(name string, d *disk) (Command, error) {
	base, dir := path.Base(name), path.Dir(name)
	if name == base || slices.Contains([]string{"/bin", "/usr/bin", "/usr/local/bin"}, dir) {
		if c, ok := e.commands[base]; ok {
			return c, nil
		}
	}
	if strings.Contains(name, "/") && d.exists(path.Clean(name)) {
		return nil, errNotExecutable
	}
	return nil, errNotFound
}

// add makes a process of what is complete. Its caller sees to it that it ends: by
// work, or by exit where it is idle. It holds mu, unless nobody else knows the run yet.
func (r *run) add(s spec) *Process {
	r.lastPID++
	p := &Process{
		PID: r.lastPID, Args: s.args, Env: s.env, Dir: s.dir, User: s.user,
		Stdin: s.stdin, Stdout: s.stdout, Stderr: s.stderr, Terminal: s.terminal,
		run: r, job: s.job, ended: make(chan struct{}), traps: s.traps, background: s.background,
	}
	if p.job == nil {
		p.job = new(job)
	}
	if r.main == nil { // with it, all others end
		r.main, p.ctx, p.cancel = p, r.ctx, r.kill
	} else {
		p.ctx, p.cancel = context.WithCancelCause(r.ctx)
	}
	if t := s.terminal; t != nil {
		if t.job == nil {
			t.job, p.leader = p.job, true
		}
		p.Stdin = cmp.Or[io.Reader](p.Stdin, terminalInput{t, p.ctx})
		p.Stdout = cmp.Or[io.Writer](p.Stdout, t)
		p.Stderr = cmp.Or[io.Writer](p.Stderr, t)
	}
	if p.Stdin == nil {
		p.Stdin = noInput{}
	}
	r.processes = append(r.processes, p)
	return p
}

// spawn starts a process beside the main one.
func (r *run) spawn(s spec) (*Process, error) {
	r.box.engine.mu.Lock()
	command, err := r.box.engine.find(s.args[0], &r.box.disk)
	r.box.engine.mu.Unlock()
	if err != nil {
		return nil, refuse(container.ErrExecFailed, "exec: %q: %s", s.args[0], err)
	}
	if err := r.complete(&s); err != nil {
		return nil, err
	}
	return r.launch(s, command)
}

// launch starts a process of what is complete, running command.
func (r *run) launch(s spec, command Command) (*Process, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || s.job != nil && s.job.killed || s.parent != nil && s.parent.doomed {
		return nil, refuse(container.ErrContainerStopped, "")
	}
	if limit := r.box.opts.Resources.PIDs; limit > 0 && int64(len(r.processes)) >= limit {
		return nil, refuse(container.ErrExecFailed, "resource temporarily unavailable")
	}
	p := r.add(s)
	r.wg.Go(func() { p.work(command) })
	return p, nil
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
func (p *Process) killedBy() (signal, bool) {
	if p.ctx.Err() == nil {
		return 0, false
	}
	s, ok := errors.AsType[signal](context.Cause(p.ctx))
	return s, ok
}

// exit ends a process from outside with a code of the caller's choice.
func (p *Process) exit(code int) {
	p.run.mu.Lock()
	idle := p.idle
	p.idle = false
	p.run.mu.Unlock()
	if idle {
		p.finish(code)
		return
	}
	p.cancel(exited(code))
}

// exited is why a process ends that Engine.Exit ends.
type exited int

func (e exited) Error() string { return "exited with code " + strconv.Itoa(int(e)) }

// finish makes the end of the process known, and of the container with its main process.
// It is called once.
func (p *Process) finish(code int) {
	if e, ok := errors.AsType[exited](context.Cause(p.ctx)); ok {
		code = int(e)
	}
	r := p.run
	p.cancel(errEnded)
	r.mu.Lock()
	p.code = code
	if p.timer != nil {
		p.timer.Stop()
	}
	r.processes = slices.DeleteFunc(r.processes, func(q *Process) bool { return q == p })
	main := p == r.main
	if main {
		r.closed = true
	}
	r.mu.Unlock()
	close(p.ended)
	switch {
	case main:
		r.end(code)
	case p.leader:
		p.Terminal.end()
	}
}

// end stops the container after its main process.
func (r *run) end(code int) {
	r.kill(sigKill)
	r.wg.Wait()
	b, e := r.box, r.box.engine
	e.mu.Lock()
	b.run = nil
	b.c.Status = container.StatusStopped
	b.c.FinishedAt = time.Now()
	b.c.ExitCode = code
	b.c.Address, b.c.Paused = "", false
	e.release(b.c.Ports)
	b.c.Ports = nil
	b.disk.unmount()
	if e.boxes[b.name] == b {
		e.publish(b, container.EventStopped)
	}
	e.mu.Unlock()
	b.log.end()
	if t := r.main.Terminal; t != nil {
		t.end()
	}
	close(r.ended)
}

// find looks a process up by its PID.
func (r *run) find(pid int) (*Process, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	i := slices.IndexFunc(r.processes, func(p *Process) bool { return p.PID == pid })
	if i < 0 {
		return nil, false
	}
	return r.processes[i], true
}

// list returns the processes there are, by PID.
func (r *run) list() []*Process {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.processes)
}

// noInput is a standard input at its end.
type noInput struct{}

func (noInput) Read([]byte) (int, error) { return 0, io.EOF }
