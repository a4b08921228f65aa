package mock

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// builtin are the commands of every container. The map is complete after init: the shell
// among them finds commands itself.
var builtin map[string]Command

func init() {
	builtin = map[string]Command{
		"true": cmdTrue, ":": cmdTrue, "false": cmdFalse, "echo": cmdEcho, "pwd": cmdPwd,
		"env": cmdEnv, "id": cmdID, "whoami": cmdWhoami, "hostname": cmdHostname, "uname": cmdUname,
		"cat": cmdCat, "head": cmdHead, "tail": cmdTail, "yes": cmdYes, "wc": cmdWc,
		"ls": cmdLs, "mkdir": cmdMkdir, "rm": cmdRm, "touch": cmdTouch,
		"sleep": cmdSleep, "date": cmdDate, "stty": cmdStty,
		"ps": cmdPs, "kill": cmdKill, "nohup": cmdNohup, "setsid": cmdSetsid,
		"sh": shell, "ash": shell, "bash": shell,
	}
}

func itoa(n int) string { return strconv.Itoa(n) }

// path resolves a path against the working directory.
func (p *Process) path(s string) string {
	if !path.IsAbs(s) {
		s = path.Join(p.Dir, s)
	}
	return path.Clean(s)
}

func (p *Process) disk() *disk { return &p.run.box.disk }

type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

// openFile opens a file for reading.
func openFile(p *Process, name string) (io.Reader, error) {
	switch p.path(name) {
	case "/dev/null":
		return noInput{}, nil
	case "/dev/zero":
		return zeros{}, nil
	}
	f, err := p.disk().lookup(p.path(name))
	if err != nil {
		return nil, err
	}
	if f.mode.IsDir() {
		return nil, errors.New("is a directory")
	}
	return bytes.NewReader(f.data), nil
}

func readFile(p *Process, name string) ([]byte, error) {
	r, err := openFile(p, name)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(r, maxArgument))
}

// createFile opens a file for writing, at its end or in place of what it holds.
func createFile(p *Process, name string, atEnd bool) (io.Writer, error) {
	to := p.path(name)
	if to == "/dev/null" {
		return io.Discard, nil
	}
	owner, _ := lookUser(p.User)
	w := fileWriter{p.disk(), to, owner}
	var err error
	if atEnd {
		_, err = w.Write(nil)
	} else {
		err = p.disk().put(to, &file{mode: 0o644, uid: owner.uid, gid: owner.uid})
	}
	return w, err
}

type fileWriter struct {
	disk  *disk
	path  string
	owner account
}

func (w fileWriter) Write(b []byte) (int, error) {
	if err := w.disk.appendTo(w.path, b, w.owner); err != nil {
		return 0, err
	}
	return len(b), nil
}

func cmdTrue(context.Context, *Process) int  { return 0 }
func cmdFalse(context.Context, *Process) int { return 1 }

func cmdEcho(_ context.Context, p *Process) int {
	args, end := p.Args[1:], "\n"
	if len(args) > 0 && args[0] == "-n" {
		args, end = args[1:], ""
	}
	return p.print(strings.Join(args, " ") + end)
}

// print writes to standard output, and gives the exit code.
func (p *Process) print(s string) int {
	if _, err := io.WriteString(p.Stdout, s); err != nil {
		return p.fail(1, "write error: %s", err)
	}
	return 0
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

// each runs fn over the files named, or over standard input without names.
func (p *Process) each(names []string, fn func(io.Reader) error) int {
	if len(names) == 0 {
		names = []string{"-"}
	}
	code := 0
	for _, name := range names {
		r, err := p.Stdin, error(nil)
		if name != "-" {
			r, err = openFile(p, name)
		}
		if err == nil {
			err = fn(r)
		}
		if err != nil {
			code = p.fail(1, "%s: %s", name, err)
		}
	}
	return code
}

// transfer copies until the input ends or the process is killed.
func (p *Process) transfer(ctx context.Context, r io.Reader) error {
	_, err := io.Copy(p.Stdout, untilKilled{ctx, r})
	return err
}

// untilKilled is a reader that ends with ctx.
type untilKilled struct {
	ctx context.Context
	r   io.Reader
}

func (u untilKilled) Read(b []byte) (int, error) {
	if err := u.ctx.Err(); err != nil {
		return 0, err
	}
	return u.r.Read(b)
}

func cmdCat(ctx context.Context, p *Process) int {
	return p.each(p.Args[1:], func(r io.Reader) error { return p.transfer(ctx, r) })
}

// count reads an option such as -c 10, and returns the arguments after it.
func (p *Process) count(args []string, option string, otherwise int64) (int64, []string, bool) {
	if len(args) < 2 || args[0] != option {
		return otherwise, args, false
	}
	n, err := strconv.ParseInt(args[1], 10, 64)
	if err != nil || n < 0 {
		return otherwise, args, false
	}
	return n, args[2:], true
}

func cmdHead(ctx context.Context, p *Process) int {
	if n, names, ok := p.count(p.Args[1:], "-c", 0); ok {
		return p.each(names, func(r io.Reader) error { return p.transfer(ctx, io.LimitReader(r, n)) })
	}
	n, names, _ := p.count(p.Args[1:], "-n", 10)
	return p.each(names, func(r io.Reader) error {
		for range n {
			line, err := readLine(untilKilled{ctx, r})
			if p.print(line) != 0 || errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func cmdTail(ctx context.Context, p *Process) int {
	if slices.Equal(p.Args[1:], []string{"-f", "/dev/null"}) {
		<-ctx.Done()
		return 1
	}
	n, names, _ := p.count(p.Args[1:], "-n", 10)
	return p.each(names, func(r io.Reader) error {
		data, err := io.ReadAll(io.LimitReader(untilKilled{ctx, r}, diskSize))
		lines := slices.Collect(bytes.Lines(data))
		p.print(string(bytes.Join(lines[max(0, len(lines)-int(n)):], nil)))
		return err
	})
}

func cmdYes(ctx context.Context, p *Process) int {
	lines := bytes.Repeat([]byte("y\n"), 4096)
	for ctx.Err() == nil {
		if _, err := p.Stdout.Write(lines); err != nil {
			return 1
		}
	}
	return 1
}

func cmdWc(ctx context.Context, p *Process) int {
	var size, lines int
	args := p.Args[1:]
	onlySize := len(args) > 0 && args[0] == "-c"
	if onlySize {
		args = args[1:]
	}
	code := p.each(args, func(r io.Reader) error {
		b := make([]byte, 32<<10)
		for {
			n, err := untilKilled{ctx, r}.Read(b)
			size += n
			lines += bytes.Count(b[:n], []byte("\n"))
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
		}
	})
	if onlySize {
		return max(code, p.print(fmt.Sprintln(size)))
	}
	return max(code, p.print(fmt.Sprintln(lines, size)))
}

func cmdLs(_ context.Context, p *Process) int {
	dir := p.Dir
	if n := len(p.Args); n > 1 {
		dir = p.path(p.Args[n-1])
	}
	code := 0
	paths := p.disk().walk(dir)
	if len(paths) == 0 {
		return p.fail(1, "%s: no such file or directory", dir)
	}
	for _, q := range paths {
		if q == dir && p.disk().isDir(dir) || q != dir && path.Dir(q) != dir {
			continue
		}
		code = max(code, p.print(path.Base(q)+"\n"))
	}
	return code
}

// eachPath runs fn over the paths named, and says which failed.
func (p *Process) eachPath(fn func(path string) error) int {
	code := 0
	for _, name := range p.Args[1:] {
		if strings.HasPrefix(name, "-") {
			continue
		}
		if err := fn(p.path(name)); err != nil {
			code = p.fail(1, "%s: %s", name, err)
		}
	}
	return code
}

func cmdMkdir(_ context.Context, p *Process) int {
	owner, _ := lookUser(p.User)
	return p.eachPath(func(q string) error {
		if p.disk().isDir(q) {
			return nil
		}
		return p.disk().putAll(q, &file{mode: fs.ModeDir | 0o755, uid: owner.uid, gid: owner.uid})
	})
}

func cmdRm(_ context.Context, p *Process) int { return p.eachPath(p.disk().remove) }

func cmdTouch(_ context.Context, p *Process) int {
	owner, _ := lookUser(p.User)
	return p.eachPath(func(q string) error { return p.disk().appendTo(q, nil, owner) })
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
	for _, q := range p.run.list() {
		fmt.Fprintf(&b, "%5d %s\n", q.PID, strings.Join(q.commandLine(), " "))
	}
	return p.print(b.String())
}

func cmdKill(_ context.Context, p *Process) int {
	args, sig := p.Args[1:], sigTerm
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
		q, ok := p.run.find(pid)
		if !ok {
			code = p.fail(1, "can't kill pid %d: no such process", pid)
			continue
		}
		q.signal(sig)
	}
	return code
}

// become replaces the process's program, as execve does.
func (p *Process) become(ctx context.Context, args []string) int {
	if len(args) == 0 {
		return p.fail(125, "a command is needed")
	}
	e := p.run.box.engine
	e.mu.Lock()
	command, err := e.find(args[0], p.disk())
	e.mu.Unlock()
	if err != nil {
		return p.fail(execCode(err), "can't execute '%s': %s", args[0], err)
	}
	p.setCommandLine(args)
	return command(ctx, p)
}

func cmdNohup(ctx context.Context, p *Process) int {
	p.setTrap(sigHup, trapIgnore)
	return p.become(ctx, p.Args[1:])
}

func cmdSetsid(ctx context.Context, p *Process) int { return p.become(ctx, p.Args[1:]) }
