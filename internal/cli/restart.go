package cli

import (
	"time"

	"github.com/spf13/cobra"

	v1 "github.com/octobot-run/octobot/api/v1"
	"github.com/octobot-run/octobot/client"
)

func (a *app) restartCommand() *cobra.Command {
	var seconds int
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
	cmd.Flags().IntVarP(&seconds, "time", "t", -1, "`seconds` to wait before killing; 0 kills at once (default 10)")
	cmd.Flags().Lookup("time").DefValue = "0" // which is not shown, as -1 would be
	output := outputFlag(cmd, "json")
	cmd.RunE = func(cmd *cobra.Command, ids []string) error {
		if cmd.Flags().Changed("time") && (seconds < 0 || seconds > 86400) {
			return usageError(cmd, "--time %d is not between 0 and 86400 seconds", seconds)
		}
		timeout := time.Duration(seconds) * time.Second
		return a.changeSessions(cmd.Context(), "restart", ids, *output,
			func(c *client.Client, id string) (v1.Session, error) {
				return c.RestartSession(cmd.Context(), id, timeout)
			})
	}
	return cmd
}
