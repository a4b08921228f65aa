package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/spf13/cobra"

	"github.com/octobot-run/octobot/client"
)

const defaultDetachKeys = "ctrl-p,ctrl-q"

// mainTerminal is the terminal that attach opens where no name is given.
const mainTerminal = "main"

func (a *app) attachCommand() *cobra.Command {
	var keys, name string
	var fresh, readOnly bool
	cmd := &cobra.Command{
		Use:        "attach [flags] ID",
		SuggestFor: []string{"shell", "ssh", "connect"},
		Short:      "Sit at a session's terminal",
		Long: `Sit at a session's terminal. It is kept by its name, main unless you give another: the first to attach makes it, with a
shell, and it goes on when you leave or the connection is lost. Whoever comes back sees it as it is; several may sit at it
at once, and its size is that of who typed last. When the connection is lost, octobot connects again by itself; what is
typed meanwhile goes nowhere. "octobot ls --terminals" shows the terminals that there are.

A session that was created with -t has its main process's terminal instead, unless a name is given. A session without
Octobot's agent has none that are kept: what attach opens there is hung up when you leave.

Every key goes to the session, Ctrl-C among them. The detach keys, ctrl-p ctrl-q, leave it. When the process ends, octobot
ends with its exit code; with 125 where Octobot failed. Who only looks leaves by Ctrl-C, too.`,
		Example: `  octobot attach demo
  octobot attach --terminal build demo
  octobot attach --read-only demo
  octobot attach --detach-keys ctrl-] demo`,
		Args:              oneArg("session"),
		ValidArgsFunction: a.completeSession,
	}
	passesExitCodes(cmd)
	flags := cmd.Flags()
	flags.StringVar(&keys, "detach-keys", defaultDetachKeys, "`keys` that leave the session")
	flags.StringVar(&name, "terminal", "", "`name` of the terminal (default main)")
	flags.BoolVar(&fresh, "new", false, "make a new terminal; without --terminal it gets a name of its own")
	flags.BoolVar(&readOnly, "read-only", false, "look only: nothing is typed, and the size stays")
	_ = cmd.RegisterFlagCompletionFunc("terminal", a.completeTerminal) // the flag is there
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx, id := cmd.Context(), args[0]
		if err := oneOf(cmd, "new", "read-only"); err != nil {
			return &exitCode{exitOwnError, err}
		}
		detach, err := parseKeys(keys)
		if err != nil {
			return &exitCode{exitOwnError, usageError(cmd, "--detach-keys: %v", err)}
		}
		v := view{app: a, id: id, name: name, fresh: fresh, readOnly: readOnly, detach: detach, keys: keys}
		code, err := v.run(ctx)
		if errors.Is(err, errDetached) && v.passing {
			fmt.Fprintf(a.stderr, "\noctobot: left %s, and its shell has ended with that: the session keeps no terminals\n", id)
			return nil
		}
		if errors.Is(err, errDetached) {
			fmt.Fprintf(a.stderr, "\noctobot: left %s, which goes on; come back with: %s\n", id, v.comeBack())
			return nil
		}
		return commandError("attach "+id, code, err)
	}
	return cmd
}

// interaction is a session's terminal brought to the user's.
type interaction struct {
	id     string
	stdin  bool   // the user's input goes there
	detach []byte // keys that end it; none: nothing does
	opts   client.AttachOptions
}

// interact connects the user's terminal with one of the session, until the process there ends, the
// user detaches ([errDetached]) or ctx ends. Whatever happens, the terminal is left as it was.
func (a *app) interact(ctx context.Context, i interaction) (exitCode int, err error) {
	local := terminalOf(a.stdin, a.stdout)
	if i.stdin && local.in == nil {
		return 0, errors.New("stdin is not a terminal; use \"octobot exec -i\", without -t, for a pipe or a file")
	}
	c, err := a.connect()
	if err != nil {
		return 0, err
	}
	i.opts.Rows, i.opts.Cols = local.size()
	remote, err := c.Attach(ctx, i.id, i.opts)
	if err != nil {
		return 0, err
	}
	defer remote.Close()

	var in io.ReadCloser
	if i.stdin {
		if in, err = newInput(a.stdin); err != nil {
			return 0, err
		}
		if err := local.raw(); err != nil {
			return 0, err
		}
	}
	defer local.restore()
	// The first to end says why; then everybody ends.
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	var wg sync.WaitGroup
	wg.Go(func() {
		defer local.guard()
		<-ctx.Done()
		if in != nil {
			_ = in.Close() // only unblocks its reader
		}
		_ = remote.Close() // never fails
	})
	wg.Go(func() {
		defer local.guard()
		local.follow(ctx, remote.Resize)
	})
	if in != nil {
		wg.Go(func() {
			defer local.guard()
			if err := forward(remote, in, i.detach); err != nil {
				end(err)
			}
		})
	}
	_, err = io.Copy(a.stdout, remote)
	cause := context.Cause(ctx) // before this end becomes one
	end(nil)
	wg.Wait()
	if cause != nil {
		return 0, cause
	}
	if err != nil {
		return 0, err
	}
	return remote.ExitCode()
}

// forward passes input on until the detach keys, [errDetached], or its end, which is
// that of the user's terminal.
func forward(remote io.Writer, in io.Reader, detach []byte) error {
	if len(detach) > 0 {
		in = &detachReader{r: in, keys: detach}
	}
	buf := make([]byte, 4096)
	for {
		n, err := in.Read(buf)
		if n > 0 {
			if _, err := remote.Write(buf[:n]); err != nil {
				return nil // the connection has ended, and reading from it tells how
			}
		}
		if errors.Is(err, io.EOF) {
			return errDetached
		}
		if err != nil {
			return err
		}
	}
}
