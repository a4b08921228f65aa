package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"github.com/octobot-run/octobot/internal/config"
	"github.com/octobot-run/octobot/internal/daemon"
)

// gcPercent keeps an idle daemon small. Its live heap is a few megabytes, so that collecting
// it more often costs next to nothing.
const gcPercent = 50

func (a *app) serveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve [flags]",
		Short: "Run the daemon",
		Long: `Run the daemon: it keeps sessions and their containers, and serves the API on the socket in the data directory
and, with tokens, on a TCP address.

Every setting is a flag, an OCTOBOT_* variable and a key of the YAML file that --config names (default: config.yaml in the data
directory, then ` + config.SystemFile + `), in this order of precedence. SIGTERM and SIGINT end the daemon in good order, a second
one at once; sessions go on without it.`,
		Example: `  octobot serve
  octobot serve --data-dir /srv/octobot --listen= --default-memory 2g
  OCTOBOT_RUNTIME=mock octobot serve`,
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := config.Load(a.settings(cmd))
		if err != nil {
			return err
		}
		for _, v := range config.StrayVariables(os.Environ()) {
			a.warn("%s", v)
		}
		if os.Getenv("GOGC") == "" {
			debug.SetGCPercent(gcPercent)
		}
		err = daemon.Run(cmd.Context(), cfg, daemon.Options{
			Version: versionText(),
			Log:     a.stderr,
			Ready: func(at daemon.Addresses) {
				fmt.Fprintf(a.stdout, "octobot serves on %s\n", at)
			},
		})
		// Run ends when the signal asks for it; a daemon that was told to end has done well.
		if err == nil || errors.Is(err, context.Canceled) {
			return nil
		}
		return fmt.Errorf("serve: %w", err)
	}
	addSettings(cmd)
	return cmd
}

// addSettings gives a command a flag for every setting.
func addSettings(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.SortFlags = false // the order of the documentation
	flags.Var(&settingValue{kind: "file"}, "config", "YAML `file` of settings (OCTOBOT_CONFIG)")
	defaults := config.Default()
	for _, s := range config.Settings() {
		if flags.Lookup(s.Flag) != nil || s.Flag == "data-dir" { // a global flag
			continue
		}
		flags.Var(&settingValue{kind: "value", list: s.List}, s.Flag, s.Usage)
		if value := s.Value(defaults); value != "0s" {
			flags.Lookup(s.Flag).DefValue = value
		}
	}
	complete(cmd, "runtime", config.Runtimes...)
	complete(cmd, "on-expire", "stop", "close")
	complete(cmd, "log-level", "debug", "info", "warn", "error")
	complete(cmd, "log-format", "text", "json")
}

// settings is where the configuration of a command with [addSettings] comes from.
func (a *app) settings(cmd *cobra.Command) config.Sources {
	src := a.sources()
	names := []string{"config"}
	for _, s := range config.Settings() {
		names = append(names, s.Flag)
	}
	for _, name := range names {
		f := cmd.Flags().Lookup(name)
		if f == nil || !f.Changed {
			continue
		}
		if v, ok := f.Value.(*settingValue); ok {
			src.Flags[name] = v.values
		}
	}
	return src
}

// settingValue is a flag's value as it was typed; package config reads it.
type settingValue struct {
	kind   string
	list   bool
	values []string
}

func (v *settingValue) String() string { return strings.Join(v.values, ",") }
func (v *settingValue) Type() string   { return v.kind }

// Set keeps the last value, or each of a list.
func (v *settingValue) Set(s string) error {
	if !v.list {
		v.values = nil
	}
	v.values = append(v.values, s)
	return nil
}
