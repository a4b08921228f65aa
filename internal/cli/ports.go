package cli

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	v1 "github.com/octobot-run/octobot/api/v1"
)

func (a *app) portsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ports [flags] ID",
		Short: "List the ports that something in a session listens on",
		Long: `List the TCP ports that something in a session listens on, published or not. "octobot forward" reaches them
all.`,
		Example: `  octobot ports demo
  octobot forward demo $(octobot ports -o json demo | jq -r '.[0].port')`,
		Args:              oneArg("session"),
		ValidArgsFunction: a.completeSession,
	}
	output := outputFlag(cmd, "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		id := args[0]
		c, err := a.connect()
		if err != nil {
			return err
		}
		list, err := c.ListPorts(cmd.Context(), id)
		if err != nil {
			return fmt.Errorf("ports %s: %w", id, err)
		}
		if *output == "json" {
			return a.printJSON(list)
		}
		rows := make([][]string, len(list))
		for i, p := range list {
			pid, command := "-", "-"
			if p.PID != 0 {
				pid, command = strconv.Itoa(p.PID), commandOf(p)
			}
			rows[i] = []string{strconv.Itoa(p.Port), p.Address, pid, command}
		}
		if err := table(a.stdout, "PORT,ADDRESS,PID,COMMAND", rows); err != nil {
			return err
		}
		if len(list) == 0 {
			fmt.Fprintf(a.stderr, "Nothing listens in the session. \"octobot exec -d %s -- COMMAND\" starts something.\n", id)
		}
		return nil
	}
	return cmd
}

func commandOf(p v1.ListeningPort) string { return oneLine(strings.Join(p.Cmd, " ")) }

// completePorts offers a session, and then the ports on which something in it listens.
func (a *app) completePorts(
	cmd *cobra.Command, named []string, prefix string,
) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(named) == 0 {
		return a.completeSessions(cmd, named, prefix)
	}
	c, err := a.connect()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	list, err := c.ListPorts(cmd.Context(), named[0])
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var offers []cobra.Completion
	for i, p := range list {
		if i == 0 || p.Port != list[i-1].Port { // once, of several addresses
			offers = append(offers, cobra.CompletionWithDesc(strconv.Itoa(p.Port), commandOf(p)))
		}
	}
	return offers, cobra.ShellCompDirectiveNoFileComp
}
