package cli

import (
	"github.com/spf13/cobra"

	v1 "github.com/octobot-run/octobot/api/v1"
	"github.com/octobot-run/octobot/client"
)

func (a *app) restartCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "restart [flags] ID...",
		Short: "Stop sessions and start them again",
		Long: `Stop sessions as "octobot stop" does and start them again, with no other change in between; one that does not run is
started. Files stay, and the session gets a new address. Should the daemon end in the middle, the next one finishes it.`,
		Example: `  octobot restart demo
  octobot restart -t 0 demo`,
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
		return a.changeSessions(cmd.Context(), "restart", ids, *output,
			func(c *client.Client, id string) (v1.Session, error) {
				return c.RestartSession(cmd.Context(), id, timeout)
			})
	}
	return cmd
}
