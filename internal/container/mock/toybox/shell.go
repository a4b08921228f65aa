package toybox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// interpreter is one running shell.
type interpreter struct {
	ctx         context.Context
	p           *Process
	interactive bool
	status      int // of the last command: $?
	background  int // PID of the last one in the background: $!
	done        bool
	expanded    int // bytes that variables have put into the command at hand
}

// shell is the command sh: `sh`, `sh -c script`, `sh file`. It knows lists, pipelines, background
// jobs, redirection, quotes, variables and a few built-ins; no loops, conditions or functions.
func shell(ctx context.Context, p *Process) int {
	in := &interpreter{ctx: ctx, p: p}
	args := p.Args[1:]
	script := false
	for len(args) > 0 && len(args[0]) > 1 && args[0][0] == '-' {
		script = strings.HasSuffix(args[0], "c")
		args = args[1:]
	}
	switch {
	case script && len(args) > 0:
		in.eval(args[0])
	case len(args) > 0:
		data, err := readFile(p, args[0])
		if err != nil {
			return p.fail(127, "%s: %s", args[0], err)
		}
		in.eval(string(data))
	default:
		in.loop()
	}
	return in.status
}

// loop runs commands from standard input, as they come.
func (in *interpreter) loop() {
	if _, ok := in.p.Stdin.(terminalInput); ok {
		in.interactive = true
		for _, s := range []Signal{SIGINT, SIGQUIT, SIGTERM} {
			in.p.setTrap(s, trapDiscard)
		}
	}
	for !in.done && in.ctx.Err() == nil {
		if in.interactive {
			sign := '$'
			if in.p.User == "root" {
				sign = '#'
			}
			fmt.Fprintf(in.p.Stderr, "%s %c ", in.p.Dir, sign)
		}
		line, err := readLine(in.p.Stdin)
		if line != "" {
			in.eval(line)
		}
		if err != nil {
			return
		}
	}
}

// readLine reads no further than the line's end: what follows may be for somebody else.
func readLine(r io.Reader) (string, error) {
	var line []byte
	b := make([]byte, 1)
	for len(line) < maxArgument {
		if n, err := r.Read(b); n == 0 {
			if err == nil {
				continue
			}
			return string(line), err
		}
		if line = append(line, b[0]); b[0] == '\n' {
			return string(line), nil
		}
	}
	return "", errors.New("line too long")
}

func (in *interpreter) eval(script string) {
	items, err := parse(script)
	if err != nil {
		in.status = in.p.fail(2, "%s", err)
		return
	}
	for _, item := range items {
		if in.done || in.ctx.Err() != nil {
			return
		}
		switch {
		case item.after == "&&" && in.status != 0, item.after == "||" && in.status == 0:
			continue
		}
		in.status = in.pipeline(item)
	}
}

// pipeline runs commands side by side, each reading what the one before writes, and gives
// the last one's exit code.
func (in *interpreter) pipeline(item item) int {
	next := io.Reader(in.p.Stdin)
	if item.background {
		next = noInput{}
	}
	var wait func() int
	for i, c := range item.commands {
		s := streams{stdin: next, stdout: in.p.Stdout, stderr: in.p.Stderr}
		if input, ok := next.(*io.PipeReader); ok && i > 0 {
			s.closes = append(s.closes, input)
		}
		if i < len(item.commands)-1 {
			input, output := io.Pipe()
			next, s.stdout = input, output
			s.closes = append(s.closes, output)
		}
		wait = in.command(c, s, item.background || len(item.commands) > 1, item.background)
	}
	if item.background {
		return 0
	}
	return wait()
}

// streams are a command's standard input and outputs.
type streams struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	closes         []io.Closer // at the command's end
}

// command starts a simple command, with a process of its own where asked for or where it is
// not a built-in. The function that it returns waits for its exit code.
func (in *interpreter) command(c simple, s streams, apart, background bool) (wait func() int) {
	ended := func(code int) func() int {
		closeAll(s.closes)
		return func() int { return code }
	}
	in.expanded = 0
	words := in.expandAll(c.words)
	if err := in.redirect(c.redirects, &s); err != nil {
		return ended(in.p.fail(1, "%s", err))
	}
	refused := func(err error) func() int {
		fmt.Fprintf(s.stderr, "%s: %s: %s\n", path.Base(in.p.Args[0]), words[0], err)
		return ended(execCode(err))
	}
	env := in.p.Env
	for _, a := range c.assigns {
		name, _, _ := strings.Cut(a[0].text, "=")
		value := strings.TrimPrefix(in.expand(a), name+"=")
		switch {
		case in.expanded > maxArgument: // the value lacks something
		case len(words) > 0:
			env = mergeEnv(env, []string{name + "=" + value})
		default:
			if err := in.p.setenv(name, value); err != nil {
				return ended(in.p.fail(2, "%s: %s", name, err))
			}
		}
	}
	if in.expanded > maxArgument {
		return ended(in.p.fail(2, "%s", syscall.E2BIG))
	}
	if len(words) == 0 {
		return ended(0)
	}
	if code, ok := in.special(words); ok {
		return ended(code)
	}

	command, err := in.p.system.find(words[0])
	if err != nil {
		return refused(err)
	}
	if !apart && slices.Contains([]string{"echo", "true", "false", ":", "pwd", "kill"}, words[0]) {
		in.p.system.mu.Lock() // a signal may be coming in
		p := *in.p
		in.p.system.mu.Unlock()
		p.Args, p.Env, p.Stdin, p.Stdout, p.Stderr = words, env, s.stdin, s.stdout, s.stderr
		return func() int {
			defer closeAll(s.closes)
			return command(in.ctx, &p)
		}
	}
	child, err := in.p.system.launch(launch{
		Spec: Spec{
			Args: words, Env: env, Dir: in.p.Dir, User: in.p.User,
			Stdin: in.stdin(s.stdin), Stdout: s.stdout, Stderr: s.stderr, Terminal: in.p.Terminal,
		},
		closes: s.closes, parent: in.p, traps: in.p.inherited(), background: background,
	}, command)
	if err != nil {
		return refused(syscall.EAGAIN)
	}
	if background {
		in.background = child.PID
	}
	return func() int {
		select {
		case <-child.ended:
			return child.code
		case <-in.ctx.Done():
			return 1 // the shell was killed; its own code is its signal's
		}
	}
}

// stdin lets a child read the terminal until the child itself is killed.
func (in *interpreter) stdin(r io.Reader) io.Reader {
	if _, ok := r.(terminalInput); ok {
		return nil
	}
	return r
}

// special runs what changes the shell itself.
func (in *interpreter) special(words []string) (code int, ok bool) {
	switch words[0] {
	case "exit":
		in.done = true
		if len(words) > 1 {
			n, err := strconv.Atoi(words[1])
			if err != nil {
				return in.p.fail(2, "exit: Illegal number: %s", words[1]), true
			}
			return n & 0xff, true
		}
		return in.status, true
	case "cd":
		dir := in.p.Getenv("HOME")
		if len(words) > 1 {
			dir = words[1]
		}
		dir = in.p.path(dir)
		if f, err := in.p.view().Stat(dir, true); err != nil || !f.Mode.IsDir() {
			return in.p.fail(2, "cd: can't cd to %s", dir), true
		}
		in.p.Dir = path.Clean(dir)
	case "export":
		for _, w := range words[1:] {
			if name, value, ok := strings.Cut(w, "="); ok {
				if err := in.p.setenv(name, value); err != nil {
					return in.p.fail(2, "export: %s: %s", name, err), true
				}
			}
		}
	case "trap": // only: trap "" SIGNAL…
		for _, name := range words[min(2, len(words)):] {
			sig, ok := parseSignal(name)
			if !ok || words[1] != "" {
				return in.p.fail(2, "trap: not supported by the scripted shell"), true
			}
			in.p.setTrap(sig, trapIgnore)
		}
	default:
		return 0, false
	}
	return 0, true
}

func (in *interpreter) redirect(redirects []redirect, s *streams) error {
	for _, r := range redirects {
		target := in.expand(r.target)
		switch r.op {
		case ">&2", "1>&2":
			s.stdout = s.stderr
		case "2>&1":
			s.stderr = s.stdout
		case "<":
			f, err := openFile(in.p, target)
			if err != nil {
				return fmt.Errorf("can't open %s: %w", target, err)
			}
			s.stdin = f
		default:
			w, err := createFile(in.p, target, strings.HasSuffix(r.op, ">>"))
			if err != nil {
				return fmt.Errorf("can't create %s: %w", target, err)
			}
			s.closes = append(s.closes, w)
			if strings.HasPrefix(r.op, "2") {
				s.stderr = w
			} else {
				s.stdout = w
			}
		}
	}
	return nil
}

func (in *interpreter) expandAll(words []word) []string {
	var all []string
	for _, w := range words {
		s := in.expand(w)
		// A word that is nothing but an unset variable is no argument at all.
		if s != "" || slices.ContainsFunc(w, func(p part) bool { return p.quoted }) {
			all = append(all, s)
		}
	}
	return all
}

func (in *interpreter) expand(w word) string {
	var b strings.Builder
	for _, p := range w {
		if p.literal {
			b.WriteString(p.text)
			continue
		}
		b.WriteString(expandVariables(p.text, in.boundedVariable))
	}
	return b.String()
}

// boundedVariable is variable, until the command at hand has had too much of them.
func (in *interpreter) boundedVariable(name string) string {
	value := in.variable(name)
	if in.expanded += len(value); in.expanded > maxArgument {
		return ""
	}
	return value
}

func (in *interpreter) variable(name string) string {
	switch name {
	case "?":
		return strconv.Itoa(in.status)
	case "$":
		return strconv.Itoa(in.p.PID)
	case "!":
		return strconv.Itoa(in.background)
	}
	return in.p.Getenv(name)
}
