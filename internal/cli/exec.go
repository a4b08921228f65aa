package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	v1 "github.com/octobot-run/octobot/api/v1"
	"github.com/octobot-run/octobot/client"
	"github.com/octobot-run/octobot/internal/config"
)

func (a *app) execCommand() *cobra.Command {
	var interactive, tty, detach bool
	var keep string
	var env []string
	var timeout time.Duration
	var req v1.ExecRequest
	cmd := &cobra.Command{
		Use:   "exec [flags] ID [--] COMMAND [ARG...]",
		Short: "Run a command in a session",
		Long: `Run a command in a running session and pass its output and its exit code on. Flags go before the ID; what follows
it is the command's. Ctrl-C kills the command and its children in the session.

With -d nobody waits for it: its ID is printed at once, and it goes on without octobot and the daemon, for as long as the
session runs. "octobot ps" lists such processes, "logs --process" shows their output, "kill" and "wait" do what they say.

Exit codes: the command's own, 128+n if signal n killed it; 124 if --timeout ended it, 125 if Octobot failed, 126 if the
command can't be executed, 127 if there is no such command.`,
		Example: `  octobot exec demo uname -a
  octobot exec -e LANG=C -w /tmp demo -- sh -c 'ls | wc -l'
  tar c src | octobot exec -i demo -- tar x -C /work
  octobot exec -it demo -- bash
  octobot exec --timeout 10m demo -- make test
  octobot exec -d demo -- make`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 || len(command(args)) == 0 {
				return usageError(cmd, "name a session and a command")
			}
			return nil
		},
		ValidArgsFunction: a.completeSession,
	}
	flags := cmd.Flags()
	flags.SetInterspersed(false)
	flags.BoolVarP(&interactive, "interactive", "i", false, "give the command octobot's stdin")
	flags.BoolVarP(&tty, "tty", "t", false, "run the command on a terminal; with -i, yours")
	flags.BoolVarP(&detach, "detach", "d", false, "do not wait for the command: print an ID for it")
	flags.StringVar(&keep, "keep", "",
		"with -d, `size` of the output that is kept (default 1m); more is on the container's disk")
	flags.StringArrayVarP(&env, "env", "e", nil, "environment variable, `NAME=value`, or NAME for octobot's own value")
	flags.StringVarP(&req.WorkingDir, "workdir", "w", "", "working `directory` in the container")
	flags.StringVarP(&req.User, "user", "u", "", "`user`, name or uid, with :group if wanted")
	flags.DurationVar(&timeout, "timeout", 0,
		"kill the command and its children after a `duration` such as 90s, and exit with 124")
	passesExitCodes(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		id := args[0]
		req.Cmd, req.Env, req.Tty = command(args), withOwnValues(env), tty
		var code int
		var err error
		if err := oneOf(cmd, "detach", "interactive", "tty"); err != nil {
			return &exitCode{exitOwnError, err}
		}
		if err := oneOf(cmd, "timeout", "detach", "tty"); err != nil {
			return &exitCode{exitOwnError, err}
		}
		if cmd.Flags().Changed("timeout") && timeout <= 0 {
			return &exitCode{exitOwnError, usageError(cmd, "--timeout %v is no time to run in", timeout)}
		}
		req.Timeout = v1.Duration(timeout)
		if keep != "" && !detach {
			return &exitCode{exitOwnError, usageError(cmd, "--keep is for -d alone")}
		}
		if detach {
			size, err := config.ParseSize(cmp.Or(keep, "0"))
			if err != nil {
				return &exitCode{exitOwnError, usageError(cmd, "--keep: %v", err)}
			}
			err = a.startDetached(cmd.Context(), id, v1.StartProcessRequest{
				Cmd: req.Cmd, Env: req.Env, WorkingDir: req.WorkingDir, User: req.User, Keep: size})
			return commandError("exec "+id, 0, err)
		}
		if tty {
			code, err = a.interact(cmd.Context(), interaction{id: id, stdin: interactive, opts: client.AttachOptions{
				Cmd: req.Cmd, Env: req.Env, WorkingDir: req.WorkingDir, User: req.User,
				NoInput: !interactive,
			}})
		} else {
			code, err = a.exec(cmd.Context(), id, req, interactive)
			if timeout > 0 && client.CodeOf(err) == v1.CodeTimeout {
				return &exitCode{exitTimeout, fmt.Errorf("exec %s: %w", id, err)}
			}
		}
		return commandError("exec "+id, code, err)
	}
	return cmd
}

// command gives what follows the ID, with or without "--" between them.
func command(args []string) []string {
	if len(args) > 1 && args[1] == "--" {
		return args[2:]
	}
	return args[1:]
}

func (a *app) exec(ctx context.Context, id string, req v1.ExecRequest, interactive bool) (int, error) {
	c, err := a.connect()
	if err != nil {
		return 0, err
	}
	streams := client.Streams{Stdout: a.stdout, Stderr: a.stderr}
	if interactive {
		in, err := newInput(a.stdin)
		if err != nil {
			return 0, err
		}
		defer in.Close()
		streams.Stdin = in
	}
	return c.ExecStream(ctx, id, req, streams)
}

// commandError turns the end of a command into octobot's own.
func commandError(what string, code int, err error) error {
	switch {
	case err == nil && code == 0:
		return nil
	case err == nil:
		return &exitCode{code, nil}
	case client.CodeOf(err) == v1.CodeExecFailed:
		// The engines say why in words only.
		code = exitNotRunnable
		if reason := strings.ToLower(err.Error()); strings.Contains(reason, "not found") ||
			strings.Contains(reason, "no such file") {
			code = exitNotFound
		}
	case errors.Is(err, context.Canceled):
		return err
	default:
		code = exitOwnError
	}
	return &exitCode{code, fmt.Errorf("%s: %w", what, err)}
}
