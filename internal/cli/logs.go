package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	v1 "github.com/octobot-run/octobot/api/v1"
	"github.com/octobot-run/octobot/client"
)

func (a *app) logsCommand() *cobra.Command {
	var opts client.LogOptions
	var tail, since, process string
	cmd := &cobra.Command{
		Use:   "logs [flags] ID",
		Short: "Show what a session's main process has written",
		Long:  `Show what a session's main process has written; with --process, what a process has that "octobot exec -d" has started.`,
		Example: `  octobot logs demo
  octobot logs -f --tail 20 demo
  octobot logs --since 10m -t demo`,
		Args:              oneArg("session"),
		ValidArgsFunction: a.completeSession,
	}
	flags := cmd.Flags()
	flags.BoolVarP(&opts.Timestamps, "timestamps", "t", false, "put the time before every line")
	flags.StringVar(&tail, "tail", "all", "only the last `n` lines")
	flags.BoolVarP(&opts.Follow, "follow", "f", false, "go on until the process ends")
	flags.StringVar(&process, "process", "", "`ID` of a process; --since is a position in its output then, in bytes")
	_ = cmd.RegisterFlagCompletionFunc("process", a.completeProcess) // the flag is there
	flags.StringVar(&since, "since", "",
		"only what was written since a `time`: 10m for ten minutes ago, or 2006-01-02T15:04:05Z")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if process != "" {
			if err := oneOf(cmd, "process", "tail", "timestamps"); err != nil {
				return err
			}
			position, err := strconv.ParseInt(cmp.Or(since, "0"), 10, 64)
			if err != nil || position < 0 {
				return usageError(cmd, "--since %q is no position, which is a number of bytes", since)
			}
			err = a.processLogs(cmd.Context(), args[0], process,
				client.OutputOptions{Since: position, Follow: opts.Follow})
			if err != nil {
				return fmt.Errorf("logs %s: %w", args[0], err)
			}
			return nil
		}
		if tail != "all" {
			n, err := strconv.Atoi(tail)
			if err != nil || n < 0 {
				return usageError(cmd, "--tail %q is not a number of lines or all", tail)
			}
			opts.Tail = &n
		}
		if since != "" {
			t, err := parseSince(since, time.Now())
			if err != nil {
				return usageError(cmd, "--since %v", err)
			}
			opts.Since = t
		}
		c, err := a.connect()
		if err != nil {
			return err
		}
		if err := c.Logs(cmd.Context(), args[0], opts, a.stdout, a.stderr); err != nil {
			return fmt.Errorf("logs %s: %w", args[0], err)
		}
		return nil
	}
	return cmd
}

// parseSince reads a point in time, or how long ago it was.
func parseSince(s string, now time.Time) (time.Time, error) {
	if d, err := v1.ParseDuration(s); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", time.DateOnly} {
		if t, err := time.ParseInLocation(layout, s, time.Local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is neither a duration such as 10m or 2d nor a time such as 2006-01-02T15:04:05Z", s)
}

func (a *app) eventsCommand() *cobra.Command {
	var project string
	cmd := &cobra.Command{
		Use:   "events [flags]",
		Short: "Follow what happens to sessions",
		Long: `Print what happens to sessions from now on, one line each, until Ctrl-C.

` + formatHelp,
		Example: `  octobot events
  octobot events -o json | jq 'select(.kind == "session.failed")'`,
		Args: noArgs,
	}
	cmd.Flags().StringVar(&project, "project", "", "only the sessions of a `project`")
	output := outputFlag(cmd, "json")
	format := formatFlag[v1.Event](cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := oneOf(cmd, "format", "output"); err != nil {
			return err
		}
		c, err := a.connect()
		if err != nil {
			return err
		}
		for e, err := range c.Events(cmd.Context(), project) {
			if errors.Is(err, context.Canceled) {
				return err
			}
			if err != nil {
				return fmt.Errorf("events: %w", err)
			}
			switch {
			case format.given():
				err = printFormatted(a, format, e)
			case *output == "json":
				err = a.printLine(e)
			default:
				_, err = fmt.Fprintln(a.stdout, eventLine(e))
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
	return cmd
}

func eventLine(e v1.Event) string {
	parts := []string{e.Time.Local().Format(time.RFC3339), e.Kind, e.SessionID}
	if e.Project != "" {
		parts = append(parts, "project="+e.Project)
	}
	parts = append(parts, "status="+string(e.Status))
	if e.Reason != "" {
		parts = append(parts, "("+e.Reason+")")
	}
	return oneLine(strings.Join(parts, " "))
}
