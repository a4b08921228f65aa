package cli

import (
	"fmt"
	"maps"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	v1 "github.com/octobot-run/octobot/api/v1"
	"github.com/octobot-run/octobot/internal/daemon"
)

// Version is what release builds set with -ldflags "-X …/internal/cli.Version=1.2.3".
var Version = ""

// versionText gives the version of this binary: of the release, else of the module or the commit.
func versionText() string {
	if Version != "" {
		return Version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" || info.Main.Version == "(devel)" {
		return "devel"
	}
	return info.Main.Version
}

// versions is what "octobot version -o json" prints.
type versions struct {
	Client clientVersion `json:"client"`
	Server *v1.Info      `json:"server"` // null: it does not answer
}

type clientVersion struct {
	Version  string `json:"version"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
	// Agents are the hashes of the agents in this binary, by architecture; empty: it was built
	// without.
	Agents map[string]string `json:"agents"`
}

// agentsText gives the hashes for people.
func (v clientVersion) agentsText() string {
	if len(v.Agents) == 0 {
		return "none"
	}
	var all []string
	for _, arch := range slices.Sorted(maps.Keys(v.Agents)) {
		all = append(all, arch+" "+v.Agents[arch])
	}
	return strings.Join(all, ", ")
}

func (a *app) versionCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Show the versions of octobot, the daemon and the engine",
		Long: `Show the versions of octobot, the daemon and the engine.

` + formatHelp,
		Example: `  octobot version
  octobot version --format '{{.server.version}}'`,
		Args: noArgs,
	}
	output := outputFlag(cmd, "json")
	format := formatFlag[versions](cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := oneOf(cmd, "format", "output"); err != nil {
			return err
		}
		agents, err := daemon.AgentHashes()
		if err != nil {
			return err
		}
		v := versions{Client: clientVersion{versionText(), runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH,
			agents}}
		c, err := a.connect()
		if err != nil {
			return err
		}
		info, err := c.Info(cmd.Context())
		if err == nil {
			v.Server = &info
		}
		switch {
		case format.given():
			return printFormatted(a, format, v)
		case *output == "json":
			return a.printJSON(v)
		}
		fmt.Fprintf(a.stdout, "Client:   %s (%s, %s), agent: %s\n", v.Client.Version, v.Client.Go, v.Client.Platform,
			v.Client.agentsText())
		switch {
		case err != nil:
			fmt.Fprintf(a.stdout, "Daemon:   %s\n", strings.Join(errorLines(err), " "))
			return nil // the client's version was asked for as well, and is there
		case info.Engine == nil:
			fmt.Fprintf(a.stdout, "Daemon:   %s (instance %s)\nEngine:   does not answer; \"octobot doctor\" tells more\n", info.Version, info.Instance)
		default:
			fmt.Fprintf(a.stdout, "Daemon:   %s (instance %s)\nEngine:   %s %s (API %s, %s/%s)\n", info.Version,
				info.Instance,
				info.Engine.Name, info.Engine.Version, orDash(info.Engine.APIVersion), info.Engine.OS, info.Engine.Arch)
		}
		return nil
	}
	return cmd
}
