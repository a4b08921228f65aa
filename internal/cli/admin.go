package cli

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	v1 "github.com/octobot-run/octobot/api/v1"
	"github.com/octobot-run/octobot/client"
)

func (a *app) reconcileCommand() *cobra.Command {
	var opts client.ReconcileOptions
	var all bool
	cmd := &cobra.Command{
		Use:   "reconcile [flags]",
		Short: "Compare sessions with containers, and repair what differs",
		Long: `Compare sessions with containers now, and repair what differs. The daemon does so by itself; this shows what
it finds. A pass that would remove suspiciously many containers stops, and --allow-removals lets it.

--dry-run shows the containers of other installations on the engine, too. Those of one whose store is lost, which nobody
else will ever remove, --allow-removals --instance removes: it takes your word that the installation runs no more.`,
		Example: `  octobot reconcile --dry-run
  octobot reconcile --allow-removals
  octobot reconcile --allow-removals --instance 4f1d2c3b5a69788796a5b4c3d2e1f001`,
		Args: noArgs,
	}
	cmd.Flags().BoolVar(&opts.DryRun, "dry-run", false, "change nothing; state the fate of every container, and why")
	cmd.Flags().BoolVarP(&all, "all", "a", false, "with --dry-run: show closed sessions as well")
	cmd.Flags().BoolVar(&opts.AllowRemovals, "allow-removals", false,
		"remove unknown containers even where they are many")
	cmd.Flags().StringVar(&opts.Instance, "instance", "",
		"with --allow-removals, remove those of another installation, of that `id`, and no unknown ones")
	output := outputFlag(cmd, "json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if opts.Instance != "" && !opts.AllowRemovals && !opts.DryRun {
			return usageError(cmd, "--instance goes with --allow-removals, or with --dry-run")
		}
		c, err := a.connect()
		if err != nil {
			return err
		}
		report, err := c.Reconcile(cmd.Context(), opts)
		if err != nil {
			return fmt.Errorf("reconcile: %w", err)
		}
		if *output == "json" {
			err = a.printJSON(report)
		} else {
			err = a.printReport(report, all)
		}
		if err == nil && report.Refused {
			err = errors.New("reconcile: too many containers would have been removed, and none was; look at them with --dry-run, then use --allow-removals")
		}
		return err
	}
	return cmd
}

// printReport prints what is done, and of a dry run what is left alone; of that closed sessions, of
// which there may be thousands, only with all.
func (a *app) printReport(r v1.ReconcileReport, all bool) error {
	var rows [][]string
	closed := 0
	for _, f := range r.Fates {
		if f.Action == "keep" && f.Closed && !all {
			closed++
			continue
		}
		if r.DryRun || f.Action != "keep" {
			rows = append(rows, []string{f.Action, orDash(f.SessionID),
				orDash(f.ContainerID[:min(12, len(f.ContainerID))]), orDash(f.Reason)})
		}
	}
	if len(rows) > 0 {
		if err := table(a.stdout, "ACTION,SESSION,CONTAINER,REASON", rows); err != nil {
			return err
		}
	}
	hidden := ""
	if r.DryRun && closed > 0 {
		hidden = fmt.Sprintf("; --all shows %s", plural(int64(closed), "closed session"))
	}
	_, err := fmt.Fprintf(a.stdout, "%s, %s%s.\n", plural(int64(r.Sessions), "session"),
		plural(int64(r.Containers), "container"), hidden)
	if r.DryRun {
		for _, f := range strangersOf(r) {
			fmt.Fprintf(a.stdout, "%s: %s\n    -> %s\n", otherInstallations, oneLine(f.seen), oneLine(f.do))
		}
	}
	return err
}

func (a *app) tokenCommand() *cobra.Command {
	return groupCommand(&cobra.Command{
		Use:   "token",
		Short: "Manage the tokens of the TCP API",
		Long:  "Manage the tokens of the TCP API. The socket in the data directory needs none: whoever can open it is admin.",
	}, a.tokenCreateCommand(), a.tokenListCommand(), a.tokenRemoveCommand())
}

func (a *app) tokenCreateCommand() *cobra.Command {
	var req v1.CreateTokenRequest
	var ttl time.Duration
	cmd := &cobra.Command{
		Use:   "create [flags] NAME",
		Short: "Make a token, and print it",
		Long:  "Make a token, and print it. It can't be shown again: the daemon keeps its hash only.",
		Example: `  octobot token create laptop
  OCTOBOT_TOKEN=$(octobot token create --project ci --ttl 30d ci)`,
		Args: oneArg("token"),
	}
	cmd.Flags().StringVar(&req.Project, "project", "", "the only `project` that it reaches; without: it is an admin's")
	cmd.Flags().DurationVar(&ttl, "ttl", 0, "how long it is valid, a `duration` such as 12h or 30d; without: for ever")
	output := outputFlag(cmd, "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if ttl < 0 {
			return usageError(cmd, "--ttl %s is negative", v1.Duration(ttl))
		}
		req.Name, req.TTL = args[0], v1.Duration(ttl)
		c, err := a.connect()
		if err != nil {
			return err
		}
		t, err := c.CreateToken(cmd.Context(), req)
		if err != nil {
			return fmt.Errorf("token create %s: %w", req.Name, err)
		}
		if *output == "json" {
			return a.printJSON(t)
		}
		fmt.Fprintln(a.stdout, t.Secret)
		return nil
	}
	return cmd
}

func (a *app) tokenListCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "ls [flags]", Aliases: []string{"list"}, Short: "List tokens", Args: noArgs}
	output := outputFlag(cmd, "json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := a.connect()
		if err != nil {
			return err
		}
		tokens, err := c.ListTokens(cmd.Context())
		if err != nil {
			return fmt.Errorf("token ls: %w", err)
		}
		if *output == "json" {
			return a.printJSON(tokens)
		}
		rows := make([][]string, len(tokens))
		for i, t := range tokens {
			expires := "never"
			if t.ExpiresAt != nil {
				expires = t.ExpiresAt.Local().Format(time.DateTime)
			}
			rows[i] = []string{t.Name, orDash(t.Project), formatAge(t.CreatedAt), expires}
		}
		return table(a.stdout, "NAME,PROJECT,CREATED,EXPIRES", rows)
	}
	return cmd
}

func (a *app) tokenRemoveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "rm NAME...",
		Aliases: []string{"remove"},
		Short:   "Remove tokens; they are refused from then on",
		Args:    someArgs("token"),
	}
	cmd.RunE = func(cmd *cobra.Command, names []string) error {
		return a.removeEach(cmd.Context(), "token rm", names, (*client.Client).DeleteToken)
	}
	return cmd
}
