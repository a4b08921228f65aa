package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	v1 "github.com/octobot-run/octobot/api/v1"
	"github.com/octobot-run/octobot/client"
)

func (a *app) listCommand() *cobra.Command {
	var all, quiet, terminals bool
	var project string
	var statuses, labels []string
	cmd := &cobra.Command{
		Use:     "ls [flags]",
		Aliases: []string{"list"},
		Short:   "List sessions",
		Long: `List sessions, newest first. Closed ones, which are remembered for a while, are shown with -a. Why a session is as it
is, -o wide shows.

` + formatHelp,
		Example: `  octobot ls
  octobot ls --project web --status running,stopped
  octobot ls -l tier=front -l reviewed --format 'table {{.id}}\t{{.status}}\t{{.labels.tier}}'
  octobot rm $(octobot ls -q --status stopped)
  octobot ls --terminals
  octobot ls -o json | jq -r '.[].address'`,
		Args: noArgs,
	}
	flags := cmd.Flags()
	flags.BoolVarP(&all, "all", "a", false, "show closed sessions as well")
	flags.BoolVarP(&quiet, "quiet", "q", false, "print IDs only")
	flags.BoolVar(&terminals, "terminals", false, "list the terminals of running sessions instead; see attach")
	flags.StringVar(&project, "project", "", "only the sessions of a `project`")
	flags.StringSliceVar(&statuses, "status", nil, "only sessions of these `statuses`")
	flags.StringArrayVarP(&labels, "label", "l", nil,
		"only sessions with a label, `name[=value]`; may be repeated, for those with all of them")
	complete(cmd, "status", statusNames()...)
	_ = cmd.RegisterFlagCompletionFunc("label", a.completeLabels) // the flag is there
	_ = cmd.RegisterFlagCompletionFunc("project", a.completeProjects)
	output := outputFlag(cmd, "json", "wide")
	format := formatFlag[v1.Session](cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		err := errors.Join(oneOf(cmd, "terminals", "status", "all", "label", "format"),
			oneOf(cmd, "format", "output", "quiet"))
		if err != nil {
			return err
		}
		if terminals {
			return a.listTerminals(cmd.Context(), project, quiet, *output)
		}
		opts := client.ListOptions{Project: project, Labels: labels, Closed: all}
		for _, s := range statuses {
			if !slices.Contains(statusNames(), s) {
				return usageError(cmd, "%q is not a status; allowed: %s", s, strings.Join(statusNames(), ", "))
			}
			opts.Statuses = append(opts.Statuses, v1.Status(s))
			opts.Closed = opts.Closed || v1.Status(s) == v1.StatusClosed
		}
		sessions, err := a.listSessions(cmd.Context(), opts)
		if err != nil {
			return fmt.Errorf("ls: %w", err)
		}
		switch {
		case quiet:
			for _, s := range sessions {
				fmt.Fprintln(a.stdout, s.ID)
			}
			return nil
		case format.given():
			return printFormatted(a, format, sessions...)
		case *output == "json":
			return a.printJSON(sessions)
		}
		if err := a.printSessions(sessions, *output == "wide"); err != nil {
			return err
		}
		if len(sessions) == 0 && project == "" && statuses == nil && labels == nil {
			fmt.Fprintln(a.stderr, `There are no sessions yet. Make one with "octobot create".`)
		}
		return nil
	}
	return cmd
}

// listSessions gives all that match; an empty slice, not nil, where none does.
func (a *app) listSessions(ctx context.Context, opts client.ListOptions) ([]v1.Session, error) {
	c, err := a.connect()
	if err != nil {
		return nil, err
	}
	sessions := []v1.Session{}
	for s, err := range c.Sessions(ctx, opts) {
		if err != nil {
			return nil, err
		}
		sessions = append(sessions, s)
	}
	return sessions, nil
}

func (a *app) printSessions(sessions []v1.Session, wide bool) error {
	header := "ID,PROJECT,STATUS,IMAGE,CREATED,ADDRESS"
	if wide {
		header += ",PORTS,CONTAINER,STARTED,REASON"
	}
	rows := make([][]string, len(sessions))
	for i, s := range sessions {
		status := string(s.Status)
		if s.Paused {
			status += " (paused)"
		}
		rows[i] = []string{s.ID, orDash(s.Project), status, s.Image, formatAge(s.CreatedAt),
			orDash(s.Address)}
		if wide {
			var ports []string
			for _, p := range s.Ports {
				ports = append(ports, fmt.Sprintf("%s:%d->%s", p.HostIP, p.HostPort, p.Container))
			}
			var started time.Time
			if s.StartedAt != nil {
				started = *s.StartedAt
			}
			rows[i] = append(rows[i], orDash(strings.Join(ports, ",")),
				orDash(s.ContainerID[:min(12, len(s.ContainerID))]), formatAge(started), orDash(s.Reason))
		}
	}
	return table(a.stdout, header, rows)
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func statusNames() []string {
	var names []string
	for _, s := range v1.Statuses() {
		names = append(names, string(s))
	}
	return names
}

func (a *app) inspectCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "inspect ID...",
		Short: "Show everything about sessions, as JSON",
		Long: `Show everything about sessions, as JSON.

` + formatHelp,
		Example: `  octobot inspect demo
  octobot inspect --format '{{.exit.code}}' demo
  octobot inspect demo | jq -r '.[0].address'`,
		Args:              someArgs("session"),
		ValidArgsFunction: a.completeSessions,
	}
	outputFlag(cmd, "json")
	format := formatFlag[v1.Session](cmd)
	cmd.RunE = func(cmd *cobra.Command, ids []string) error {
		if err := oneOf(cmd, "format", "output"); err != nil {
			return err
		}
		if format.given() {
			return a.inspectFormatted(cmd.Context(), format, ids)
		}
		return a.changeSessions(cmd.Context(), "inspect", ids, "json",
			func(c *client.Client, id string) (v1.Session, error) {
				return c.GetSession(cmd.Context(), id)
			})
	}
	return cmd
}

func (a *app) startCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "start ID...",
		Short: "Start stopped sessions",
		Long: `Start stopped sessions. A session that runs stays as it is, and one that is paused goes on; one that starts gets
a new address.`,
		Example: `  octobot start demo
  octobot start $(octobot ls -q --status stopped)`,
		Args:              someArgs("session"),
		ValidArgsFunction: a.completeSessions,
	}
	output := outputFlag(cmd, "json")
	cmd.RunE = func(cmd *cobra.Command, ids []string) error {
		return a.changeSessions(cmd.Context(), "start", ids, *output,
			func(c *client.Client, id string) (v1.Session, error) {
				return c.StartSession(cmd.Context(), id)
			})
	}
	return cmd
}

func (a *app) stopCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "stop [flags] ID...",
		Short: "Stop running sessions",
		Long: `Stop running sessions: their main process is asked to end, and killed if it does not. Files stay, and
"octobot start" starts them again.`,
		Example: `  octobot stop demo
  octobot stop -t 0 demo`,
		Args:              someArgs("session"),
		ValidArgsFunction: a.completeSessions,
	}
	grace := graceFlag(cmd)
	output := outputFlag(cmd, "json")
	cmd.RunE = func(cmd *cobra.Command, ids []string) error {
		timeout, err := grace()
		if err != nil {
			return err
		}
		return a.changeSessions(cmd.Context(), "stop", ids, *output,
			func(c *client.Client, id string) (v1.Session, error) {
				return c.StopSession(cmd.Context(), id, timeout)
			})
	}
	return cmd
}

// graceFlag adds the flag of how long a main process has to end by itself; negative: as usual.
func graceFlag(cmd *cobra.Command) func() (time.Duration, error) {
	seconds := cmd.Flags().IntP("time", "t", -1, "`seconds` to wait before killing; 0 kills at once (default 10)")
	cmd.Flags().Lookup("time").DefValue = "0" // which is not shown, as -1 would be
	return func() (time.Duration, error) {
		if cmd.Flags().Changed("time") && (*seconds < 0 || *seconds > 86400) {
			return 0, usageError(cmd, "--time %d is not between 0 and 86400 seconds", *seconds)
		}
		return time.Duration(*seconds) * time.Second, nil
	}
}

func (a *app) pauseCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "pause ID...",
		Short: "Freeze running sessions",
		Long: `Freeze all processes of running sessions, as they stand, until "octobot unpause" or "octobot start". A paused
session keeps its memory, uses no CPU and refuses new commands; it can be stopped and removed, and is idle as any
other. One that is paused stays so.`,
		Example: `  octobot pause demo
  octobot pause $(octobot ls -q --project batch --status running)`,
		Args:              someArgs("session"),
		ValidArgsFunction: a.completeSessions,
	}
	output := outputFlag(cmd, "json")
	cmd.RunE = func(cmd *cobra.Command, ids []string) error {
		return a.changeSessions(cmd.Context(), "pause", ids, *output,
			func(c *client.Client, id string) (v1.Session, error) {
				return c.PauseSession(cmd.Context(), id)
			})
	}
	return cmd
}

func (a *app) unpauseCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:               "unpause ID...",
		Short:             "Let paused sessions go on",
		Long:              "Let the processes of paused sessions go on where they were. A session that is not paused stays as it is.",
		Example:           `  octobot unpause demo`,
		Args:              someArgs("session"),
		ValidArgsFunction: a.completeSessions,
	}
	output := outputFlag(cmd, "json")
	cmd.RunE = func(cmd *cobra.Command, ids []string) error {
		return a.changeSessions(cmd.Context(), "unpause", ids, *output,
			func(c *client.Client, id string) (v1.Session, error) {
				return c.UnpauseSession(cmd.Context(), id)
			})
	}
	return cmd
}

// changeSessions does something with each session, and prints what they have become: the IDs, or
// JSON.
func (a *app) changeSessions(
	ctx context.Context, what string, ids []string, output string, do func(*client.Client, string) (v1.Session, error),
) error {
	c, err := a.connect()
	if err != nil {
		return err
	}
	sessions := []v1.Session{}
	err = changeEach(ctx, what, ids, func(id string) (v1.Session, error) { return do(c, id) },
		func(id string, s v1.Session) {
			sessions = append(sessions, s)
			if output != "json" {
				fmt.Fprintln(a.stdout, id)
			}
		})
	if output == "json" {
		return errors.Join(a.printJSON(sessions), err)
	}
	return err
}

func (a *app) removeCommand() *cobra.Command {
	var force bool
	var selected selection
	cmd := &cobra.Command{
		Use:        "rm [flags] [ID...]",
		Aliases:    []string{"remove"},
		SuggestFor: []string{"delete", "destroy", "close"},
		Short:      "Close sessions and remove their containers",
		Long: `Close sessions and remove their containers, with all files in them: the named ones, or all of a project or with some
labels, which is asked about first. Running ones are refused without -f, which also asks nothing.`,
		Example: `  octobot rm demo
  octobot rm --project scratch
  octobot rm -f -l tier=front`,
		ValidArgsFunction: a.completeSessions,
	}
	selected.addFlags(a, cmd)
	cmd.Args = selected.orArgs
	cmd.Flags().BoolVarP(&force, "force", "f", false, "remove running sessions as well, and ask nothing")
	cmd.RunE = func(cmd *cobra.Command, ids []string) error {
		if selected.given() {
			var err error
			if ids, err = a.selectToRemove(cmd, selected, force); err != nil || len(ids) == 0 {
				return err
			}
		}
		return a.removeEach(cmd.Context(), "rm", ids, func(c *client.Client, ctx context.Context, id string) error {
			if !force {
				s, err := c.GetSession(ctx, id)
				if err != nil {
					return err
				}
				if !isIdle(s.Status) {
					return fmt.Errorf("the session is %s; stop it first, or use -f", s.Status)
				}
			}
			return c.DeleteSession(ctx, id)
		})
	}
	return cmd
}

// removeEach removes what has these names, and prints those that are gone.
func (a *app) removeEach(
	ctx context.Context, what string, names []string, remove func(*client.Client, context.Context, string) error,
) error {
	c, err := a.connect()
	if err != nil {
		return err
	}
	return changeEach(ctx, what, names,
		func(name string) (struct{}, error) { return struct{}{}, remove(c, ctx, name) },
		func(name string, _ struct{}) { fmt.Fprintln(a.stdout, name) })
}

// isIdle reports whether nothing runs in a session of that status, as far as anybody knows.
func isIdle(s v1.Status) bool {
	switch s {
	case v1.StatusCreated, v1.StatusStopped, v1.StatusFailed, v1.StatusClosing, v1.StatusClosed:
		return true
	}
	return false
}

func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError(cmd, "takes no arguments, and there is %q", args[0])
	}
	return nil
}

// someArgs wants at least one.
func someArgs(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return usageError(cmd, "name at least one %s", what)
		}
		return nil
	}
}

func oneArg(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != 1 {
			return usageError(cmd, "name one %s, and nothing else", what)
		}
		return nil
	}
}
