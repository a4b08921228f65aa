package cli

import (
	"cmp"
	"fmt"
	"strconv"
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
	return time.Time{}, fmt.Errorf("%q is neither a duration such as 10m or 2d nor a time such as 2006-01-02T15:04:05Z",
		s)
}
