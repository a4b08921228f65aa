package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	v1 "github.com/octobot-run/octobot/api/v1"
	"github.com/octobot-run/octobot/client"
)

// selection is which sessions a command is about that names none.
type selection struct {
	project string
	labels  []string
}

func (s *selection) addFlags(a *app, cmd *cobra.Command) {
	cmd.Flags().StringVar(&s.project, "project", "", "all sessions of a `project`")
	cmd.Flags().StringArrayVarP(&s.labels, "label", "l", nil,
		"all sessions with a label, `name[=value]`; may be repeated, for those with all of them")
	_ = cmd.RegisterFlagCompletionFunc("label", a.completeLabels) // the flags are there
	_ = cmd.RegisterFlagCompletionFunc("project", a.completeProjects)
}

func (s *selection) given() bool { return s.project != "" || s.labels != nil }

// orArgs wants sessions to be named or selected.
func (s *selection) orArgs(cmd *cobra.Command, args []string) error {
	switch {
	case cmd.Flags().Changed("project") && s.project == "": // as a script's unset variable is
		return usageError(cmd, "--project is empty, which is no project")
	case s.given() && len(args) > 0:
		return usageError(cmd, "%q is named, and --project and --label select others", args[0])
	case !s.given() && len(args) == 0:
		return usageError(cmd, "name at least one session, or select some with --project or --label")
	}
	return nil
}

// selectToRemove gives the sessions that are selected, if whoever is asked means that.
func (a *app) selectToRemove(cmd *cobra.Command, s selection, force bool) (ids []string, err error) {
	terminal := terminalOf(a.stdin, nil).in != nil
	if !terminal && !force {
		return nil, usageError(cmd, "there is no terminal to ask at; -f asks nothing, and removes running sessions as well")
	}
	sessions, err := a.listSessions(cmd.Context(), client.ListOptions{Project: s.project, Labels: s.labels})
	if err != nil {
		return nil, fmt.Errorf("rm: %w", err)
	}
	for _, session := range sessions {
		ids = append(ids, session.ID)
	}
	if len(ids) == 0 {
		fmt.Fprintln(a.stderr, "There are no such sessions.")
		return nil, nil
	}
	if force {
		return ids, nil
	}
	what := fmt.Sprintf("%d sessions", len(ids))
	if len(ids) == 1 {
		what = "1 session"
	}
	fmt.Fprintf(a.stderr, "This removes %s with all their files: %s\nGo on? [y/N] ", what, strings.Join(ids, ", "))
	sure, err := a.confirmed(cmd.Context())
	if err != nil || !sure {
		return nil, err
	}
	return ids, nil
}

// confirmed reads an answer from the terminal.
func (a *app) confirmed(ctx context.Context) (bool, error) {
	in, err := newInput(a.stdin)
	if err != nil {
		return false, err
	}
	defer in.Close()
	defer context.AfterFunc(ctx, func() { _ = in.Close() })()
	answer, err := bufio.NewReader(in).ReadString('\n')
	if ctx.Err() != nil {
		return false, context.Cause(ctx)
	}
	if err != nil {
		fmt.Fprintln(a.stderr)
	}
	answer = strings.ToLower(strings.TrimSpace(answer))
	return answer == "y" || answer == "yes", nil
}

// inspectFormatted prints sessions by a template.
func (a *app) inspectFormatted(ctx context.Context, f *format, ids []string) error {
	c, err := a.connect()
	if err != nil {
		return err
	}
	var sessions []v1.Session
	err = forEachSession(ctx, "inspect", ids, func(id string) error {
		s, err := c.GetSession(ctx, id)
		if err == nil {
			sessions = append(sessions, s)
		}
		return err
	})
	return errors.Join(printFormatted(a, f, sessions...), err)
}

// completeLabels offers the labels that sessions have.
func (a *app) completeLabels(
	cmd *cobra.Command, _ []string, _ string,
) ([]cobra.Completion, cobra.ShellCompDirective) {
	return a.offerOfSessions(cmd, func(s v1.Session, offer func(string)) {
		for name, value := range s.Labels {
			offer(name + "=" + value)
		}
	})
}

// completeProjects offers the projects that sessions belong to.
func (a *app) completeProjects(
	cmd *cobra.Command, _ []string, _ string,
) ([]cobra.Completion, cobra.ShellCompDirective) {
	return a.offerOfSessions(cmd, func(s v1.Session, offer func(string)) { offer(s.Project) })
}

// offerOfSessions offers what of gives of each session, if a shell can show it.
func (a *app) offerOfSessions(
	cmd *cobra.Command, of func(v1.Session, func(string)),
) ([]cobra.Completion, cobra.ShellCompDirective) {
	sessions, err := a.listSessions(cmd.Context(), client.ListOptions{})
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	offers := make(map[cobra.Completion]bool)
	for _, s := range sessions {
		of(s, func(offer string) {
			if offer != "" && offer == oneLine(offer) {
				offers[offer] = true
			}
		})
	}
	return slices.Sorted(maps.Keys(offers)), cobra.ShellCompDirectiveNoFileComp
}
