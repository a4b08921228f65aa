package cli

import (
	"slices"

	"github.com/spf13/cobra"

	"github.com/octobot-run/octobot/client"
)

// complete offers fixed values for a flag.
func complete(cmd *cobra.Command, flag string, values ...string) {
	if err := cmd.RegisterFlagCompletionFunc(flag,
		cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(err) // there is no such flag
	}
}

// completeSessions offers the sessions that are not named yet, with their status.
func (a *app) completeSessions(
	cmd *cobra.Command, named []string, _ string,
) ([]cobra.Completion, cobra.ShellCompDirective) {
	sessions, err := a.listSessions(cmd.Context(), client.ListOptions{})
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var offers []cobra.Completion
	for _, s := range sessions {
		if !slices.Contains(named, s.ID) {
			offers = append(offers, cobra.CompletionWithDesc(s.ID, string(s.Status)))
		}
	}
	return offers, cobra.ShellCompDirectiveNoFileComp
}

// completeSession is completeSessions for commands that take one.
func (a *app) completeSession(
	cmd *cobra.Command, named []string, prefix string,
) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(named) > 0 {
		return nil, cobra.ShellCompDirectiveDefault
	}
	return a.completeSessions(cmd, named, prefix)
}
