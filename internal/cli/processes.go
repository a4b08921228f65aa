package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	v1 "github.com/octobot-run/octobot/api/v1"
	"github.com/octobot-run/octobot/client"
)

// startDetached is exec -d.
func (a *app) startDetached(ctx context.Context, id string, req v1.StartProcessRequest) error {
	c, err := a.connect()
	if err != nil {
		return err
	}
	p, err := c.StartProcess(ctx, id, req)
	if err != nil {
		return err
	}
	fmt.Fprintln(a.stdout, p.ID)
	return nil
}

func (a *app) processesCommand() *cobra.Command {
	var quiet bool
	cmd := &cobra.Command{
		Use:   "ps [flags] ID",
		Short: "List a session's processes that nobody waits for",
		Long: `List what "octobot exec -d" has started in a session: the processes that run, and those that have ended within the last
ten minutes and were not waited for. "octobot ls" lists sessions.

` + formatHelp,
		Example: `  octobot ps demo
  octobot kill demo $(octobot ps -q demo)`,
		Args:              oneArg("session"),
		ValidArgsFunction: a.completeSession,
	}
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "print IDs only")
	output := outputFlag(cmd, "json")
	format := formatFlag[v1.Process](cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		id := args[0]
		if err := oneOf(cmd, "format", "output", "quiet"); err != nil {
			return err
		}
		c, err := a.connect()
		if err != nil {
			return err
		}
		list, err := c.ListProcesses(cmd.Context(), id)
		if err != nil {
			return fmt.Errorf("ps %s: %w", id, err)
		}
		switch {
		case quiet:
			for _, p := range list {
				fmt.Fprintln(a.stdout, p.ID)
			}
			return nil
		case format.given():
			return printFormatted(a, format, list...)
		case *output == "json":
			return a.printJSON(list)
		}
		rows := make([][]string, len(list))
		for i, p := range list {
			ended := time.Time{}
			if p.Ended != nil {
				ended = *p.Ended
			}
			rows[i] = []string{p.ID, processState(p), formatAge(p.Started), formatAge(ended), formatSize(p.Position),
				oneLine(strings.Join(p.Cmd, " "))}
		}
		if err := table(a.stdout, "PROCESS,STATUS,STARTED,ENDED,OUTPUT,COMMAND", rows); err != nil {
			return err
		}
		if len(list) == 0 {
			fmt.Fprintf(a.stderr, "There are no processes. Start one with \"octobot exec -d %s -- COMMAND\".\n", id)
		}
		return nil
	}
	return cmd
}

// processState is how a process is, in words.
func processState(p v1.Process) string {
	if p.Running {
		return "running"
	}
	return fmt.Sprintf("exited (%d)", *p.ExitCode)
}

func (a *app) killCommand() *cobra.Command {
	var signal string
	cmd := &cobra.Command{
		Use:   "kill [flags] ID [PROCESS...]",
		Short: "Send a signal to a session's main process, or to others",
		Long: `Send a signal to a session's main process, KILL unless -s names another, also while the session is being stopped. A main
process that does not handle a signal does not get it, but for KILL; "octobot stop" asks it to end first.

With processes that "octobot exec -d" has started, send it to them instead, TERM unless -s names another: to the
command's process group, or, with -s KILL, to the command and all its descendants.`,
		Example: `  octobot kill demo
  octobot kill -s HUP demo
  octobot kill demo 1f2e3d4c5b6a7988`,
		Args:              sessionAndProcesses,
		ValidArgsFunction: a.completeProcesses,
	}
	cmd.Flags().StringVarP(&signal, "signal", "s", "",
		"`signal`, by its name or number (default KILL; TERM for processes)")
	complete(cmd, "signal", "TERM", "INT", "HUP", "QUIT", "KILL", "STOP", "CONT", "USR1", "USR2", "WINCH")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := a.connect()
		if err != nil {
			return err
		}
		if len(args) == 1 {
			return forEachSession(cmd.Context(), "kill", args, func(id string) error {
				if err := c.SignalSession(cmd.Context(), id, signal); err != nil {
					return err
				}
				_, err := fmt.Fprintln(a.stdout, id)
				return err
			})
		}
		return forEachSession(cmd.Context(), "kill", args[1:], func(process string) error {
			return processOrSession(c.SignalProcess(cmd.Context(), args[0], process, signal))
		})
	}
	return cmd
}

func (a *app) waitCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "wait ID [PROCESS...]",
		Short: "Wait for a session's main process to end, or others, and print their exit codes",
		Long: `Wait for a session's main process to end, and print its exit code: at once of a session that is stopped. That is no use
of the session, which may expire meanwhile.

With processes that "octobot exec -d" has started, wait for them instead, and print the exit code of each, in a line of
its own. A process that was waited for is forgotten a few seconds later, with its output.`,
		Example: `  octobot wait demo
  p=$(octobot exec -d demo -- make)
  octobot wait demo $p`,
		Args:              sessionAndProcesses,
		ValidArgsFunction: a.completeProcesses,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := a.connect()
		if err != nil {
			return err
		}
		if len(args) == 1 {
			return forEachSession(cmd.Context(), "wait", args, func(id string) error {
				exit, err := waitAgain(cmd.Context(),
					func() (v1.Exit, error) { return c.WaitSession(cmd.Context(), id) })
				if err != nil {
					return err
				}
				_, err = fmt.Fprintln(a.stdout, exit.Code)
				return err
			})
		}
		return forEachSession(cmd.Context(), "wait", args[1:], func(process string) error {
			p, err := waitAgain(cmd.Context(),
				func() (v1.Process, error) { return c.WaitProcess(cmd.Context(), args[0], process) })
			if err != nil {
				return processOrSession(err)
			}
			if p.ExitCode == nil {
				return errors.New("the daemon did not tell the exit code")
			}
			_, err = fmt.Fprintln(a.stdout, *p.ExitCode)
			return err
		})
	}
	return cmd
}

// processOrSession has the error about a process that there is not help who meant a session.
func processOrSession(err error) error {
	if e, ok := errors.AsType[*client.Error](err); ok && e.Code == v1.CodeProcessNotFound {
		e.Hint += "; sessions are named one at a time"
	}
	return err
}

// waitAgain waits for something to end, over as many connections as that takes.
func waitAgain[T any](ctx context.Context, once func() (T, error)) (T, error) {
	for connected, wait := false, firstRetry; ; wait = min(2*wait, lastRetry) {
		ended, err := once()
		if _, unreachable := errors.AsType[*client.UnreachableError](err); !unreachable {
			connected = true
		}
		if err == nil || ctx.Err() != nil || !connected || !isLost(err) {
			return ended, err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return ended, context.Cause(ctx)
		}
	}
}

// processLogs is logs --process.
func (a *app) processLogs(ctx context.Context, id, process string, opts client.OutputOptions) error {
	c, err := a.connect()
	if err != nil {
		return err
	}
	last, err := c.ProcessOutput(ctx, id, process, opts, a.stdout, a.stderr)
	if err != nil {
		return err
	}
	if last.Missed > 0 {
		fmt.Fprintf(a.stderr, "octobot: %d bytes of output were not kept\n", last.Missed)
	}
	return nil
}

func sessionAndProcesses(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return usageError(cmd, "name a session, and some of its processes if they are meant")
	}
	return nil
}

// completeProcesses offers sessions, and then the processes of the one that is named.
func (a *app) completeProcesses(
	cmd *cobra.Command, named []string, prefix string,
) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(named) == 0 {
		return a.completeSessions(cmd, named, prefix)
	}
	return a.offerProcesses(cmd, named[0])
}

// completeProcess is completeProcesses for a flag.
func (a *app) completeProcess(
	cmd *cobra.Command, named []string, _ string,
) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(named) != 1 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.offerProcesses(cmd, named[0])
}

func (a *app) offerProcesses(cmd *cobra.Command, id string) ([]cobra.Completion, cobra.ShellCompDirective) {
	c, err := a.connect()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	list, err := c.ListProcesses(cmd.Context(), id)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var offers []cobra.Completion
	for _, p := range list {
		offers = append(offers, cobra.CompletionWithDesc(p.ID, processState(p)+": "+oneLine(strings.Join(p.Cmd, " "))))
	}
	return offers, cobra.ShellCompDirectiveNoFileComp
}
