package cli

import (
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/octobot-run/octobot/internal/config"
	"github.com/octobot-run/octobot/internal/daemon"
)

func (a *app) adoptCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "adopt [flags] INSTANCE",
		Short: "Take over the containers of an installation whose store is lost",
		Long: `Take over the containers of an installation whose store is lost. Its sessions get records anew, with their IDs
and projects, and this installation its ID: from then on it is that one. Nothing is changed on the engine. Their limits, their
idle and age limits, and what they bound are not known any more: one that bound a directory finds an empty one when it is
started again, unless that is still mounted.

This installation must have no sessions of its own, and its daemon must not run; start it afterwards. That the other
installation's daemon runs no more, and never will, is for you to make sure of: two that believe they are the same one would
remove each other's sessions. "octobot doctor" and "octobot reconcile --dry-run" name the installations that have containers
on the engine. Settings are those of serve.`,
		Example: `  octobot adopt 4f1d2c3b5a69788796a5b4c3d2e1f001
  octobot adopt --docker-host unix:///run/podman/podman.sock 4f1d2c3b5a69788796a5b4c3d2e1f001`,
		Args:              oneArg("instance"),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	addSettings(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		cfg, err := config.Load(a.settings(cmd))
		if err != nil {
			return err
		}
		log := slog.New(slog.NewTextHandler(a.stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
		adopted, err := daemon.Adopt(cmd.Context(), cfg, args[0], log)
		if err != nil {
			return fmt.Errorf("adopt %s: %w", args[0], err)
		}
		var rows [][]string
		for _, s := range adopted.Sessions {
			rows = append(rows, []string{s.ID, orDash(s.ProjectID), s.ContainerID[:min(12, len(s.ContainerID))],
				"adopted"})
		}
		for _, c := range adopted.Left {
			rows = append(rows, []string{orDash(c.SessionID), "-", c.ID[:min(12, len(c.ID))],
				"left alone: it does not say which session it was made for"})
		}
		if err := table(a.stdout, "SESSION,PROJECT,CONTAINER,RESULT", rows); err != nil {
			return err
		}
		_, err = fmt.Fprintf(a.stdout,
			"%s. This is the installation %s now; start its daemon with \"octobot serve\".\n",
			plural(int64(len(adopted.Sessions)), "session"), args[0])
		return err
	}
	return cmd
}
