package cli

import (
	"strings"
	"time"

	"github.com/spf13/cobra"

	v1 "github.com/octobot-run/octobot/api/v1"
	"github.com/octobot-run/octobot/client"
	"github.com/octobot-run/octobot/internal/config"
)

func (a *app) updateCommand() *cobra.Command {
	var req v1.UpdateSessionRequest
	var memory string
	var cpus float64
	var pids int64
	var idleTimeout, maxAge time.Duration
	var labels, removed []string
	cmd := &cobra.Command{
		Use:   "update [flags] ID...",
		Short: "Change sessions' limits, labels, and when they expire",
		Long: `Change sessions, whether they run or not: their limits, at once, when they expire, and their labels. What no flag names
stays as it is; where something can't be had, all does. A limit of memory, CPU or processes can be changed, but not taken
away, and not on every engine: Podman's Docker API does not do it.

Labels are the session's, which "octobot ls -l" looks at: on the engine, the container keeps those that it was made with.`,
		Example: `  octobot update --memory 4g --cpus 2 demo
  octobot update --idle-timeout 0 --max-age 12h --on-expire close demo
  octobot update -l reviewed=yes --remove-label draft $(octobot ls -q --project web)`,
		Args:              someArgs("session"),
		ValidArgsFunction: a.completeSessions,
	}
	flags := cmd.Flags()
	flags.Float64Var(&cpus, "cpus", 0, "CPU `cores`, such as 1.5")
	flags.StringVarP(&memory, "memory", "m", "", "memory, a `size` such as 512m or 2g")
	flags.Int64Var(&pids, "pids", 0, "processes and threads at once, at most `n`")
	flags.DurationVar(&idleTimeout, "idle-timeout", 0,
		"how long the session may be idle, a `duration` such as 30m; 0: no limit")
	flags.DurationVar(&maxAge, "max-age", 0, "how old the session may become, a `duration` such as 12h; 0: no limit")
	flags.StringVar(&req.OnExpire, "on-expire", "", "what either limit does, `stop|close`")
	flags.StringArrayVarP(&labels, "label", "l", nil, "set a label, `name=value`")
	flags.StringArrayVar(&removed, "remove-label", nil, "remove the label of a `name`")
	complete(cmd, "on-expire", v1.ExpireStop, v1.ExpireClose)
	output := outputFlag(cmd, "json")
	cmd.RunE = func(cmd *cobra.Command, ids []string) error {
		given := flags.Changed
		if given("memory") {
			n, err := config.ParseSize(memory)
			if err != nil {
				return usageError(cmd, "--memory: %v", err)
			}
			req.Resources.Memory = &n
		}
		if given("cpus") {
			req.Resources.CPUs = &cpus
		}
		if given("pids") {
			req.Resources.PIDs = &pids
		}
		if given("idle-timeout") {
			req.IdleTimeout = new(v1.Duration(idleTimeout))
		}
		if given("max-age") {
			req.MaxAge = new(v1.Duration(maxAge))
		}
		if given("on-expire") && req.OnExpire == "" {
			return usageError(cmd, "--on-expire is empty, which is neither stop nor close")
		}
		req.Labels = make(map[string]*string, len(labels)+len(removed))
		for _, name := range removed {
			req.Labels[name] = nil
		}
		for _, label := range labels {
			name, value, _ := strings.Cut(label, "=")
			req.Labels[name] = &value
		}
		if req.Resources == (v1.Resources{}) && req.IdleTimeout == nil && req.MaxAge == nil && req.OnExpire == "" &&
			len(req.Labels) == 0 {
			return usageError(cmd, "name what is to change, such as --memory 2g")
		}
		return a.changeSessions(cmd.Context(), "update", ids, *output,
			func(c *client.Client, id string) (v1.Session, error) {
				return c.UpdateSession(cmd.Context(), id, req)
			})
	}
	return cmd
}
