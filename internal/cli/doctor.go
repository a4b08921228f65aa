package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	v1 "github.com/octobot-run/octobot/api/v1"
	"github.com/octobot-run/octobot/client"
	"github.com/octobot-run/octobot/internal/config"
	"github.com/octobot-run/octobot/internal/daemon"
)

func (a *app) doctorCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "doctor [flags]",
		Short: "Find out what is wrong, and what to do",
		Long: `Look at everything Octobot needs: the data directory, the store, and the engine (where was looked for one, and why others
were passed over), as the daemon sees and uses them. Where no daemon answers, look at what one would use that is started
from here: its configuration, the data directory and the engine. It ends with 1 if there is a problem.`,
		Example: `  octobot doctor
  octobot doctor -o json | jq '.[] | select(.grade != "ok")'`,
		Args: noArgs,
	}
	cmd.Flags().Var(&settingValue{kind: "file"}, "config", "YAML `file` of settings (OCTOBOT_CONFIG)")
	output := outputFlag(cmd, "json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		ctx := cmd.Context()
		findings, answers := a.diagnoseDaemon(ctx)
		if !answers {
			findings = append(a.diagnoseHere(cmd), findings...)
		}
		var err error
		if *output == "json" {
			err = a.printJSON(findings)
		} else {
			err = a.printFindings(findings)
		}
		if err != nil {
			return err
		}
		for _, f := range findings {
			if f.Grade == daemon.Problem {
				return &exitCode{exitError, nil}
			}
		}
		return nil
	}
	return cmd
}

// diagnoseHere looks at what a daemon would use that is started here.
func (a *app) diagnoseHere(cmd *cobra.Command) []daemon.Finding {
	cfg, err := config.Load(a.settings(cmd))
	if err == nil {
		valid := daemon.Finding{What: "configuration", Grade: daemon.Good, Seen: "is valid"}
		return append([]daemon.Finding{valid}, daemon.Diagnose(cmd.Context(), cfg)...)
	}
	var findings []daemon.Finding
	for _, line := range errorLines(err) {
		findings = append(findings, daemon.Finding{What: "configuration", Grade: daemon.Problem, Seen: line})
	}
	return findings
}

// diagnoseDaemon looks at the daemon from where its clients are, and asks it about itself. answers
// is false where none does.
func (a *app) diagnoseDaemon(ctx context.Context) (findings []daemon.Finding, answers bool) {
	f := daemon.Finding{What: "daemon", Grade: daemon.Problem}
	c, err := a.connect()
	if err != nil {
		f.Seen = errorLines(err)[0]
		return []daemon.Finding{f}, false
	}
	info, err := c.Info(ctx)
	if e, ok := errors.AsType[*client.UnreachableError](err); ok {
		f.Seen, f.Do, _ = strings.Cut(unreachable(e), "; ")
		return []daemon.Finding{f}, false
	}
	if err != nil {
		f.Seen, f.Do = inWords(err.Error(), err), hintOf(err)
		return []daemon.Finding{f}, true
	}
	f.Grade, f.Seen = daemon.Good, fmt.Sprintf("%s at %s, instance %s", info.Version, c.Address(), info.Instance)
	if info.Version != versionText() {
		f.Grade, f.Do = daemon.Notice, fmt.Sprintf("this octobot is %s; restart the daemon with it", versionText())
	}
	findings = append([]daemon.Finding{f, socketMode(c.Address())}, askDaemon(ctx, c)...)
	if err := c.Ready(ctx); err != nil {
		findings = append(findings, daemon.Finding{What: "daemon", Grade: daemon.Problem, Seen: "is not ready: " +
			err.Error(), Do: hintOf(err)})
		return findings, true
	}
	return append(findings, diagnoseStrangers(ctx, c)...), true
}

// strangersTimeout bounds how long a dry run is waited for, which a pass may be in the way of.
const strangersTimeout = 15 * time.Second

// diagnoseStrangers tells of other installations' containers on the daemon's engine, to who may
// know of them.
func diagnoseStrangers(ctx context.Context, c *client.Client) []daemon.Finding {
	ctx, cancel := context.WithTimeout(ctx, strangersTimeout)
	defer cancel()
	report, err := c.Reconcile(ctx, client.ReconcileOptions{DryRun: true})
	switch {
	case client.CodeOf(err) == v1.CodeForbidden:
		return nil
	case err != nil:
		return []daemon.Finding{{What: otherInstallations, Grade: daemon.Notice,
			Seen: "could not be looked for: " + err.Error(), Do: hintOf(err)}}
	}
	var findings []daemon.Finding
	for _, s := range strangersOf(report) {
		findings = append(findings, daemon.Finding{What: otherInstallations, Grade: daemon.Notice, Seen: s.seen,
			Do: s.do})
	}
	return findings
}

// askDaemon gives what the daemon says of itself.
func askDaemon(ctx context.Context, c *client.Client) []daemon.Finding {
	told, err := c.Diagnose(ctx)
	if err != nil {
		f := daemon.Finding{What: "daemon", Grade: daemon.Notice, Seen: "does not say how its store and engine are: " +
			inWords(err.Error(), err), Do: hintOf(err)}
		switch client.CodeOf(err) {
		case v1.CodeForbidden:
			f.Do = "ask with an admin's token, or through its socket"
		case v1.CodeNotFound: // of an older version, which the daemon's finding tells
			f.Do = "restart it with this octobot"
		}
		return []daemon.Finding{f}
	}
	findings := make([]daemon.Finding, len(told))
	for i, f := range told {
		findings[i] = daemon.Finding{What: f.What, Grade: daemon.Grade(f.Grade), Seen: f.Seen, Do: f.Do}
	}
	return findings
}

// socketMode tells who can use the daemon's socket.
func socketMode(address string) daemon.Finding {
	f := daemon.Finding{What: "socket", Grade: daemon.Good}
	path, ok := strings.CutPrefix(address, "unix://")
	if !ok {
		f.Seen = "not used: the daemon is reached over TCP"
		return f
	}
	info, err := os.Stat(path)
	switch {
	case err != nil:
		f.Grade, f.Seen = daemon.Problem, err.Error()
	case info.Mode().Perm()&0o077 != 0:
		f.Grade, f.Seen = daemon.Problem,
			fmt.Sprintf("%s: others can use it (mode %04o), and are admins then", path, info.Mode().Perm())
		f.Do = "chmod 600 " + path
	default:
		f.Seen = fmt.Sprintf("%s, mode %04o", path, info.Mode().Perm())
	}
	return f
}

func (a *app) printFindings(findings []daemon.Finding) error {
	problems, notices := 0, 0
	for _, f := range findings {
		mark := map[daemon.Grade]string{daemon.Good: "ok", daemon.Notice: "!!", daemon.Problem: "XX"}[f.Grade]
		fmt.Fprintf(a.stdout, "%s  %s: %s\n", mark, f.What, oneLine(f.Seen))
		if f.Do != "" {
			fmt.Fprintf(a.stdout, "    -> %s\n", oneLine(f.Do))
		}
		switch f.Grade {
		case daemon.Problem:
			problems++
		case daemon.Notice:
			notices++
		}
	}
	result := "No problem was found."
	if notices > 0 {
		result = fmt.Sprintf("No problem was found; %s to know of.", plural(int64(notices), "thing"))
	}
	if problems > 0 {
		result = fmt.Sprintf("%s found.", plural(int64(problems), "problem"))
	}
	_, err := fmt.Fprintln(a.stdout, result)
	return err
}
