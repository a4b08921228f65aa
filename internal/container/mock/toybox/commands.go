package toybox

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Command is a program. It returns its exit code. It must return soon after ctx ends, which is
// how the process is killed; what it returns then does not count. It may use p from several
// goroutines, and waits for those that it starts.
type Command func(ctx context.Context, p *Process) int

// Commands are the programs of systems, by name. It is safe for concurrent use.
type Commands struct {
	mu     sync.Mutex
	byName map[string]Command
}

// NewCommands makes a set of the built-in ones.
func NewCommands() *Commands { return &Commands{byName: maps.Clone(builtin)} }

// Handle makes name a command: what is run whose first argument is name, or a path that ends in
// /name. It replaces a built-in one.
func (c *Commands) Handle(name string, command Command) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.byName[name] = command
}

func (c *Commands) get(name string) (Command, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	command, ok := c.byName[name]
	return command, ok
}

// builtin is complete after init: the shell among the commands finds commands itself.
var builtin map[string]Command

func init() {
	builtin = map[string]Command{
		"true": cmdTrue, ":": cmdTrue, "false": cmdFalse, "echo": cmdEcho, "pwd": cmdPwd,
		"env": cmdEnv, "id": cmdID, "whoami": cmdWhoami, "hostname": cmdHostname, "uname": cmdUname,
		"cat": cmdCat, "head": cmdHead, "tail": cmdTail, "yes": cmdYes, "seq": cmdSeq, "wc": cmdWc,
		"ls": cmdLs, "mkdir": cmdMkdir, "rmdir": cmdRmdir, "rm": cmdRm, "touch": cmdTouch, "mv": cmdMv,
		"ln": cmdLn, "readlink": cmdReadlink, "mkfifo": cmdMkfifo, "chmod": cmdChmod, "chown": cmdChown,
		"sleep": cmdSleep, "date": cmdDate, "stty": cmdStty,
		"nc": cmdNetcat, "ps": cmdPs, "kill": cmdKill, "nohup": cmdNohup, "setsid": cmdSetsid,
		"sh": shell, "ash": shell, "bash": shell,
	}
}

func itoa(n int) string { return strconv.Itoa(n) }

func cmdTrue(context.Context, *Process) int  { return 0 }
func cmdFalse(context.Context, *Process) int { return 1 }

func cmdEcho(_ context.Context, p *Process) int {
	args, end := p.Args[1:], "\n"
	if len(args) > 0 && args[0] == "-n" {
		args, end = args[1:], ""
	}
	return p.print(strings.Join(args, " ") + end)
}

func cmdPwd(_ context.Context, p *Process) int { return p.print(p.Dir + "\n") }

func cmdEnv(_ context.Context, p *Process) int {
	return p.print(strings.Join(p.Env, "\n") + "\n")
}

func cmdID(_ context.Context, p *Process) int {
	a, _ := lookUser(p.User)
	if len(p.Args) > 1 && p.Args[1] == "-u" {
		return p.print(itoa(a.uid) + "\n")
	}
	return p.print(fmt.Sprintf("uid=%d(%s) gid=%d(%s)\n", a.uid, a.name, a.uid, a.name))
}

func cmdWhoami(_ context.Context, p *Process) int   { return p.print(p.User + "\n") }
func cmdHostname(_ context.Context, p *Process) int { return p.print(p.Getenv("HOSTNAME") + "\n") }
func cmdUname(_ context.Context, p *Process) int    { return p.print("Linux\n") }

func cmdDate(_ context.Context, p *Process) int {
	return p.print(time.Now().UTC().Format(time.UnixDate) + "\n")
}

func sleepTime(s string) (time.Duration, error) {
	if s == "infinity" {
		return -1, nil
	}
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return d, nil
	}
	seconds, err := strconv.ParseFloat(s, 64)
	if err != nil || !(seconds >= 0 && seconds < 1e9) {
		return 0, fmt.Errorf("invalid time interval %q", s)
	}
	return time.Duration(seconds * float64(time.Second)), nil
}

func cmdSleep(ctx context.Context, p *Process) int {
	if len(p.Args) != 2 {
		return p.fail(1, "one argument is needed")
	}
	d, err := sleepTime(p.Args[1])
	if err != nil {
		return p.fail(1, "%s", err)
	}
	if d < 0 {
		<-ctx.Done()
		return 1
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return 0
	case <-ctx.Done():
		return 1
	}
}

func cmdStty(_ context.Context, p *Process) int {
	if p.Terminal == nil {
		return p.fail(1, "standard input: not a tty")
	}
	if !slices.Equal(p.Args[1:], []string{"size"}) {
		return p.fail(1, "only \"size\" is supported by the scripted terminal")
	}
	rows, cols := p.Terminal.Size()
	return p.print(fmt.Sprintf("%d %d\n", rows, cols))
}

func cmdPs(_ context.Context, p *Process) int {
	var b strings.Builder
	b.WriteString("PID   COMMAND\n")
	for _, q := range p.system.list() {
		fmt.Fprintf(&b, "%5d %s\n", q.PID, strings.Join(q.commandLine(), " "))
	}
	return p.print(b.String())
}

func cmdKill(_ context.Context, p *Process) int {
	args, sig := p.Args[1:], SIGTERM
	if len(args) > 0 && strings.HasPrefix(args[0], "-") {
		var ok bool
		if sig, ok = parseSignal(args[0][1:]); !ok {
			return p.fail(1, "bad signal %q", args[0][1:])
		}
		args = args[1:]
	}
	code := 0
	for _, arg := range args {
		pid, err := strconv.Atoi(arg)
		if err != nil {
			return p.fail(1, "invalid number %q", arg)
		}
		q, ok := p.system.process(pid)
		if !ok {
			code = p.fail(1, "can't kill pid %d: no such process", pid)
			continue
		}
		q.Signal(sig)
	}
	return code
}

func cmdNohup(ctx context.Context, p *Process) int {
	p.setTrap(SIGHUP, trapIgnore)
	return p.become(ctx, p.Args[1:])
}

func cmdSetsid(ctx context.Context, p *Process) int { return p.become(ctx, p.Args[1:]) }
