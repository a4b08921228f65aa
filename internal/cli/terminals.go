package cli

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	v1 "github.com/octobot-run/octobot/api/v1"
	"github.com/octobot-run/octobot/client"
)

// sessionTerminal is a terminal, and whose it is.
type sessionTerminal struct {
	Session string `json:"session"`
	v1.Terminal
}

// listTerminals prints the terminals of all running sessions, of a project where that is named.
func (a *app) listTerminals(ctx context.Context, project string, quiet bool, format string) error {
	list, err := a.findTerminals(ctx, project)
	if list == nil && err != nil {
		return fmt.Errorf("ls: %w", err)
	}
	switch {
	case quiet:
		for _, t := range list {
			fmt.Fprintln(a.stdout, t.Session+"/"+t.Name)
		}
	case format == "json":
		err = errors.Join(err, a.printJSON(list))
	default:
		rows := make([][]string, len(list))
		for i, t := range list {
			rows[i] = []string{t.Session, t.Name, terminalState(t.Terminal), strconv.Itoa(t.Viewers),
				fmt.Sprintf("%dx%d", t.Cols, t.Rows), formatAge(t.Created), formatAge(t.Active),
				oneLine(strings.Join(t.Cmd, " "))}
		}
		err = errors.Join(err, table(a.stdout, "SESSION,TERMINAL,STATUS,VIEWERS,SIZE,CREATED,ACTIVE,COMMAND", rows))
		if len(list) == 0 && err == nil {
			fmt.Fprintln(a.stderr, `There are no terminals. "octobot attach" makes one.`)
		}
	}
	return err
}

// findTerminals asks every running session. Those that have ended meanwhile, and those that keep no
// terminals, have none.
func (a *app) findTerminals(ctx context.Context, project string) ([]sessionTerminal, error) {
	sessions, err := a.listSessions(ctx, client.ListOptions{Project: project, Statuses: []v1.Status{v1.StatusRunning}})
	if err != nil {
		return nil, err
	}
	list := []sessionTerminal{}
	var ids []string
	for _, s := range sessions {
		ids = append(ids, s.ID)
	}
	err = forEachSession(ctx, "ls", ids, func(id string) error {
		terminals, err := a.client.ListTerminals(ctx, id)
		switch client.CodeOf(err) {
		case v1.CodeUnsupported, v1.CodeSessionNotRunning, v1.CodeSessionNotFound, v1.CodeSessionClosed:
			return nil
		}
		for _, t := range terminals {
			list = append(list, sessionTerminal{id, t})
		}
		return err
	})
	return list, err
}

// completeTerminal offers the session's terminals.
func (a *app) completeTerminal(
	cmd *cobra.Command, named []string, _ string,
) ([]cobra.Completion, cobra.ShellCompDirective) {
	c, err := a.connect()
	if err != nil || len(named) != 1 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	list, err := c.ListTerminals(cmd.Context(), named[0])
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var offers []cobra.Completion
	for _, t := range list {
		offers = append(offers, cobra.CompletionWithDesc(t.Name, terminalState(t)))
	}
	return offers, cobra.ShellCompDirectiveNoFileComp
}

// terminalState is how a terminal is, in words.
func terminalState(t v1.Terminal) string {
	if t.Running {
		return "running"
	}
	return fmt.Sprintf("exited (%d)", *t.ExitCode)
}
