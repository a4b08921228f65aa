package cli

import (
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	v1 "github.com/octobot-run/octobot/api/v1"
)

func (a *app) topCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "top [flags] ID",
		Short: "List all processes of a session",
		Long: `List all processes of a running session, whoever started them: the main process, commands, terminals, and Octobot's own.
CPU is the average since a process was started, 100% being one core, as ps has it. The PIDs are the session's own, or,
where only the engine's host tells, that host's, which the heading says. "octobot ps" lists what "exec -d" has started.

` + formatHelp,
		Example: `  octobot top demo
  octobot top -o json demo | jq '.processes[] | select(.memory > 1e9)'`,
		Args:              oneArg("session"),
		ValidArgsFunction: a.completeSession,
	}
	output := outputFlag(cmd, "json")
	format := formatFlag[v1.RunningProcess](cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := oneOf(cmd, "format", "output"); err != nil {
			return err
		}
		c, err := a.connect()
		if err != nil {
			return err
		}
		top, err := c.Top(cmd.Context(), args[0])
		if err != nil {
			return fmt.Errorf("top %s: %w", args[0], err)
		}
		switch {
		case format.given():
			return printFormatted(a, format, top.Processes...)
		case *output == "json":
			return a.printJSON(top)
		}
		return a.printTop(top)
	}
	return cmd
}

func (a *app) printTop(top v1.Top) error {
	pid := "PID"
	if top.HostPIDs {
		pid = "HOST'S PID"
	}
	rows := make([][]string, len(top.Processes))
	for i, p := range top.Processes {
		cpu := "-" // of what has just been started
		if p.Elapsed > 0 {
			cpu = fmt.Sprintf("%.1f%%", 100*float64(p.CPUTime)/float64(p.Elapsed))
		}
		rows[i] = []string{strconv.Itoa(p.PID), p.User, cpu, formatSize(p.Memory),
			roughly(time.Duration(p.Elapsed)) + " ago", p.Cmd}
	}
	return table(a.stdout, pid+",USER,CPU %,MEMORY,STARTED,COMMAND", rows)
}
