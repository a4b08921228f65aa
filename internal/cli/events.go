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

func (a *app) eventsCommand() *cobra.Command {
	var opts client.EventOptions
	var since, until string
	var kinds []string
	cmd := &cobra.Command{
		Use:   "events [flags] [ID...]",
		Short: "Follow what happens to sessions",
		Long: `Print what happens to sessions, the named ones or all, from now on, one line each, until Ctrl-C.

With --since, what has happened is printed first, as far as the daemon remembers it: a thousand events or so of all
sessions together, of which the project with the most loses the oldest, and none of before its own start. Where
that is not enough, a note says from when on it was.

` + formatHelp,
		Example: `  octobot events
  octobot events --since 1h --until 0s --kind failed
  octobot events -o json | jq 'select(.kind == "session.failed")'`,
		ValidArgsFunction: a.completeSessions,
	}
	flags := cmd.Flags()
	flags.StringVar(&opts.Project, "project", "", "only the sessions of a `project`")
	flags.StringSliceVar(&kinds, "kind", nil, "only events of these `kinds`: "+strings.Join(shortKinds(), ", "))
	flags.StringVar(&since, "since", "",
		"past events too, since a `time`: 10m for ten minutes ago, or 2006-01-02T15:04:05Z")
	flags.StringVar(&until, "until", "", "end with the events of a `time`, 0s for now")
	complete(cmd, "kind", shortKinds()...)
	_ = cmd.RegisterFlagCompletionFunc("project", a.completeProjects) // the flag is there
	output := outputFlag(cmd, "json")
	format := formatFlag[v1.Event](cmd)
	cmd.RunE = func(cmd *cobra.Command, ids []string) error {
		if err := oneOf(cmd, "format", "output"); err != nil {
			return err
		}
		opts.Sessions = ids
		for _, kind := range kinds {
			kind = kindPrefix + strings.TrimPrefix(kind, kindPrefix)
			if !slices.Contains(v1.Kinds(), kind) {
				return usageError(cmd, "--kind %q is none; allowed: %s", strings.TrimPrefix(kind, kindPrefix),
					strings.Join(shortKinds(), ", "))
			}
			opts.Kinds = append(opts.Kinds, kind)
		}
		now := time.Now()
		for _, moment := range []struct {
			flag, given string
			t           *time.Time
		}{{"since", since, &opts.Since}, {"until", until, &opts.Until}} {
			if moment.given == "" {
				continue
			}
			t, err := parseSince(moment.given, now)
			if err != nil {
				return usageError(cmd, "--%s %v", moment.flag, err)
			}
			*moment.t = t
		}
		opts.History = func(from time.Time) {
			if from.After(opts.Since) {
				fmt.Fprintf(a.stderr, "octobot: the daemon remembers events since %s only\n",
					from.Local().Format(time.RFC3339))
			}
		}
		return a.printEvents(cmd.Context(), opts, *output, format)
	}
	return cmd
}

const kindPrefix = "session."

// shortKinds are the kinds of events as people write them.
func shortKinds() []string {
	var kinds []string
	for _, kind := range v1.Kinds() {
		kinds = append(kinds, strings.TrimPrefix(kind, kindPrefix))
	}
	return kinds
}

func (a *app) printEvents(ctx context.Context, opts client.EventOptions, output string, format *format) error {
	c, err := a.connect()
	if err != nil {
		return err
	}
	for e, err := range c.SelectEvents(ctx, opts) {
		if errors.Is(err, context.Canceled) {
			return err
		}
		if err != nil {
			return fmt.Errorf("events: %w", err)
		}
		switch {
		case format.given():
			err = printFormatted(a, format, e)
		case output == "json":
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
