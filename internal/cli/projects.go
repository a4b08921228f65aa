package cli

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	v1 "github.com/octobot-run/octobot/api/v1"
	"github.com/octobot-run/octobot/client"
	"github.com/octobot-run/octobot/internal/config"
)

func (a *app) projectCommand() *cobra.Command {
	return groupCommand(&cobra.Command{
		Use:   "project",
		Short: "Manage what projects may have",
		Long: `Manage what projects may have, all their sessions together. A project is there as soon as a session or a token names it.
Where it has no quota of its own, it has that of the daemon's policy. Admins are not held to quotas.`,
	}, a.projectSetCommand(), a.projectListCommand(), a.projectUnsetCommand())
}

// quotaFlags are the flags of a quota, in the order of its columns.
var quotaFlags = []struct {
	name, usage string
	set         func(q *v1.Quota, value string) error
}{
	{"max-sessions", "sessions that are not closed", func(q *v1.Quota, s string) error {
		return setLimit(&q.MaxSessions, s, strconv.Atoi)
	}},
	{"max-running", "sessions that run", func(q *v1.Quota, s string) error {
		return setLimit(&q.MaxRunning, s, strconv.Atoi)
	}},
	{"max-cpus", "CPU cores of those that run", func(q *v1.Quota, s string) error {
		return setLimit(&q.MaxCPUs, s, func(s string) (float64, error) { return strconv.ParseFloat(s, 64) })
	}},
	{"max-memory", "memory of those that run, such as 64g", func(q *v1.Quota, s string) error {
		return setLimit(&q.MaxMemory, s, config.ParseSize)
	}},
	{"max-execs", "commands under way", func(q *v1.Quota, s string) error {
		return setLimit(&q.MaxExecs, s, strconv.Atoi)
	}},
	{"max-streams", "commands, terminals and logs that callers have open", func(q *v1.Quota, s string) error {
		return setLimit(&q.MaxStreams, s, strconv.Atoi)
	}},
}

// setLimit reads a limit: a value above 0, "none", or "default" for the policy's.
func setLimit[T int | int64 | float64](limit **T, s string, parse func(string) (T, error)) error {
	switch s {
	case "default":
		*limit = nil
		return nil
	case "none":
		*limit = new(T)
		return nil
	}
	v, err := parse(s)
	if err != nil || !(v > 0) {
		return fmt.Errorf("%q is not a number above 0, none or default", s)
	}
	*limit = &v
	return nil
}

func (a *app) projectSetCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "set [flags] PROJECT",
		Short: "Give a project a quota of its own",
		Long: `Give a project a quota of its own. What no flag names stays as it was. A project that has more than its quota keeps it,
and gets no more.`,
		Example: `  octobot project set lab --max-sessions 40 --max-memory 64g
  octobot project set lab --max-cpus none --max-execs default`,
		Args: oneArg("project"),
	}
	for _, f := range quotaFlags {
		cmd.Flags().String(f.name, "", f.usage+": `n|none|default`")
		complete(cmd, f.name, "none", "default")
	}
	output := outputFlag(cmd, "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		changes, err := quotaChanges(cmd)
		if err != nil {
			return err
		}
		c, err := a.connect()
		if err != nil {
			return err
		}
		projects, err := c.ListProjects(cmd.Context())
		if err != nil {
			return fmt.Errorf("project set %s: %w", args[0], err)
		}
		var quota v1.Quota
		if i := slices.IndexFunc(projects, func(p v1.Project) bool { return p.Project == args[0] }); i >= 0 {
			quota = projects[i].Quota
		}
		for _, change := range changes {
			change(&quota)
		}
		p, err := c.SetProject(cmd.Context(), args[0], quota)
		if err != nil {
			return fmt.Errorf("project set %s: %w", args[0], err)
		}
		if *output == "json" {
			return a.printJSON(p)
		}
		fmt.Fprintln(a.stdout, p.Project)
		return nil
	}
	return cmd
}

// quotaChanges reads the flags that were given.
func quotaChanges(cmd *cobra.Command) ([]func(*v1.Quota), error) {
	var changes []func(*v1.Quota)
	for _, f := range quotaFlags {
		flag := cmd.Flags().Lookup(f.name)
		if !flag.Changed {
			continue
		}
		value := flag.Value.String()
		if err := f.set(new(v1.Quota), value); err != nil {
			return nil, usageError(cmd, "--%s: %v", f.name, err)
		}
		changes = append(changes, func(q *v1.Quota) { _ = f.set(q, value) })
	}
	if len(changes) == 0 {
		return nil, usageError(cmd, "no flag says what the project may have")
	}
	return changes, nil
}

func (a *app) projectListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "ls [flags]", Aliases: []string{"list"},
		Short: "List projects, with what they use of what they may have",
		Args:  noArgs,
	}
	output := outputFlag(cmd, "json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := a.connect()
		if err != nil {
			return err
		}
		projects, err := c.ListProjects(cmd.Context())
		if err != nil {
			return fmt.Errorf("project ls: %w", err)
		}
		if *output == "json" {
			return a.printJSON(projects)
		}
		rows := make([][]string, len(projects))
		for i, p := range projects {
			rows[i] = []string{p.Project,
				ofLimit(p.Use.Sessions, p.Limits.MaxSessions, strconv.Itoa),
				ofLimit(p.Use.Running, p.Limits.MaxRunning, strconv.Itoa),
				ofLimit(p.Use.CPUs, p.Limits.MaxCPUs,
					func(n float64) string { return strconv.FormatFloat(n, 'g', 4, 64) }),
				ofLimit(p.Use.Memory, p.Limits.MaxMemory, formatSize),
				ofLimit(p.Use.Execs, p.Limits.MaxExecs, strconv.Itoa),
			}
		}
		return table(a.stdout, "PROJECT,SESSIONS,RUNNING,CPUS,MEMORY,EXECS", rows)
	}
	return cmd
}

// ofLimit shows a use, and the limit where there is one.
func ofLimit[T int | int64 | float64](use T, limit *T, format func(T) string) string {
	if limit == nil {
		return format(use)
	}
	return format(use) + " / " + format(*limit)
}

func (a *app) projectUnsetCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "unset PROJECT...",
		Short: "Take projects' own quotas away; the policy's holds from then on",
		Args:  someArgs("project"),
	}
	cmd.RunE = func(cmd *cobra.Command, names []string) error {
		return a.removeEach(cmd.Context(), "project unset", names, (*client.Client).DeleteProject)
	}
	return cmd
}
