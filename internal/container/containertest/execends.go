package containertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/octobot-run/octobot/internal/container"
)

// engineWords are what engines and OCI runtimes say of a command that they can't start, and what
// any command may say as well.
var engineWords = []string{
	`Error: exec: "git": executable file not found in $PATH`,
	`OCI runtime exec failed: exec failed: unable to start container process: exec: "x": executable file not found`,
	"Error: runc: exec failed: unable to start container process: OCI permission denied",
	"unable to find user x: no matching entries in passwd file",
	"cannot exec in a stopped state: unknown",
	"exec /bin/sh: exec format error",
	"exec /bin/sh: no such file or directory",
	"exec /bin/sh: argument list too long",
}

// testExecWords: a command's words and its exit code are its own, whatever an engine would say and
// give.
func testExecWords(f *fixture) {
	id := f.running()
	for i, words := range engineWords {
		code := []int{1, 126, 127, 255}[i%4]
		if strings.HasPrefix(words, "exec ") {
			code = 1
		}
		opts := container.ExecOptions{Env: []string{"WORDS=" + words, fmt.Sprintf("CODE=%d", code)}}
		res := f.exec(id, opts, "sh", "-c", `echo "$WORDS" >&2; exit $CODE`)
		f.equal("stderr", res.Stderr, words+"\n")
		f.equal("stdout", res.Stdout, "")
		f.equal("exit code of "+words, res.ExitCode, code)
		res = f.exec(id, opts, "sh", "-c", `echo "$WORDS"; echo more >&2; exit 126`)
		f.equal("stdout", res.Stdout, words+"\n")
		f.equal("stderr", res.Stderr, "more\n")
		f.equal("exit code of "+words, res.ExitCode, 126)
	}
	opts := container.ExecOptions{Tty: true, Env: []string{"WORDS=" + engineWords[0]}}
	res := f.exec(id, opts, "sh", "-c", `echo "$WORDS"; exit 127`)
	f.equal("output on a TTY", res.Stdout, engineWords[0]+"\r\n")
	f.equal("exit code", res.ExitCode, 127)
}

// testStreamWords: nothing that a command says is held back while it runs, and nothing is lost
// where it is cancelled then.
func testStreamWords(f *fixture) {
	id := f.running()
	for _, words := range []string{"Error: waiting for db", "OCI runtime exec failed: waiting", "exec it"} {
		script := fmt.Sprintf("echo %s >&2; sleep 600", words)
		ctx, cancel := context.WithCancel(f.ctx)
		if s, ok := optional[container.StreamExecer](f); ok {
			var said bytes.Buffer
			f.mustBePrompt(words, func() {
				_, err := s.ExecStream(ctx, id, []string{"sh", "-c", script}, container.ExecOptions{}, nil,
					writerFunc(func(b []byte) (int, error) {
						if said.Write(b); said.String() == words+"\n" {
							cancel()
						}
						return len(b), nil
					}))
				f.class(err, context.Canceled)
			})
		}
		cancel()
	}
	ctx, cancel := context.WithTimeout(f.ctx, time.Second)
	defer cancel()
	res, err := f.rt.Exec(ctx, id, []string{"sh", "-c", "echo Error: waiting for db; sleep 600"},
		container.ExecOptions{})
	f.class(err, context.DeadlineExceeded)
	f.equal("stdout", res.Stdout, "Error: waiting for db\n")
}

// testExecRefused: what the kernel does not execute could not be started.
func testExecRefused(f *fixture) {
	id := f.running()
	f.sh(id, `cd /home/user; echo garbage >garbage; echo '#!/no/such/interpreter' >orphan
		ln -s garbage link; chmod 755 garbage orphan`)
	long := strings.Repeat("x", 140_000)
	for _, cmd := range [][]string{{"/home/user/garbage"}, {"./link"}, {"/home/user/orphan"}, {"echo", long}} {
		for _, tty := range []bool{false, true} {
			opts := container.ExecOptions{WorkingDir: "/home/user", Tty: tty}
			res, err := f.rt.Exec(f.ctx, id, cmd, opts)
			f.class(err, container.ErrExecFailed, cmd[0], " on a TTY: ", tty, ": ", show(res))
		}
	}
	// A command that says so of itself is none of these.
	res := f.exec(id, container.ExecOptions{WorkingDir: "/home/user"}, "sh", "-c",
		"echo exec ./garbage: exec format error >&2; exit 1")
	f.equal("exit code", res.ExitCode, 1)
	f.equal("stderr", res.Stderr, "exec ./garbage: exec format error\n")
}

// testExecDying: until a container has ended, a command in it has either run or the container is
// stopped.
func testExecDying(f *fixture) {
	id := f.running()
	filling := make(chan struct{})
	go func() {
		defer close(filling)
		_, _ = f.rt.Exec(f.ctx, id, []string{"yes"}, container.ExecOptions{MaxOutput: 1}) // the stop ends it
	}()
	f.awaitProcess(id, "yes")
	stopped := make(chan error, 1)
	go func() { stopped <- f.rt.Stop(f.ctx, id, 0) }()
	for refused := 0; refused < 2; {
		res, err := f.rt.Exec(f.ctx, id, []string{"true"}, container.ExecOptions{})
		switch {
		case errors.Is(err, container.ErrContainerStopped):
			refused++
		case err != nil:
			f.class(err, container.ErrContainerStopped)
		default:
			f.equal("stdout", res.Stdout, "")
			f.equal("stderr", res.Stderr, "")
			f.equal("exit code", res.ExitCode, 0)
		}
	}
	f.must(<-stopped)
	<-filling
}

// testExecUnreadOutput: a command that leaves its input unread loses none of its output. Where an
// engine's fault excuses that, it is an error.
func testExecUnreadOutput(f *fixture) {
	id := f.running()
	_, mayLose := f.h.Excused["exec/stdin left unread"]
	for range 5 {
		f.mustBePrompt("head", func() {
			res, err := f.rt.Exec(f.ctx, id, []string{"sh", "-c", "head -c 200000 /dev/zero; echo err >&2; exit 3"},
				container.ExecOptions{Stdin: endless{}})
			if mayLose && errors.Is(err, container.ErrUnavailable) {
				return
			}
			f.must(err)
			f.equal("length", len(res.Stdout), 200_000)
			f.equal("stderr", res.Stderr, "err\n")
			f.equal("exit code", res.ExitCode, 3)
		})
	}
}
