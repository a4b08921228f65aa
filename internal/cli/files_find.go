package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	v1 "github.com/octobot-run/octobot/api/v1"
	"github.com/octobot-run/octobot/client"
)

func (a *app) filesFindCommand() *cobra.Command {
	var opts client.SearchFilesOptions
	cmd := &cobra.Command{
		Use:   "find [flags] ID[:DIRECTORY]",
		Short: "Look for files by name, and by what is in them",
		Long: `Look for files below a directory whose names match --name, and for lines in them that hold --content. Links are not
followed; what the user may not read is passed over, and with --content what is not text or larger than 16 MiB.`,
		Example: `  octobot files find --name '*.go' demo:/work
  octobot files find --name '*.py' --content TODO -i demo:/work`,
		Args:              oneArg("directory"),
		ValidArgsFunction: a.completeSessionFiles,
	}
	userFlag(cmd, &opts.User)
	flags := cmd.Flags()
	flags.StringVar(&opts.Name, "name", "", "files of which the name matches this `pattern`: *.go")
	flags.StringVar(&opts.Content, "content", "", "lines that hold this `text`")
	flags.BoolVarP(&opts.Regexp, "regexp", "E", false, "the text is a regular expression")
	flags.BoolVarP(&opts.IgnoreCase, "ignore-case", "i", false, "upper and lower case are the same")
	flags.IntVarP(&opts.Limit, "limit", "n", 1000, "`matches` at most, up to 10000")
	output := outputFlag(cmd, "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if opts.Name == "" && opts.Content == "" {
			return usageError(cmd, "say what to look for: --name or --content")
		}
		id, dir, _ := strings.Cut(args[0], ":")
		c, err := a.connect()
		if err != nil {
			return err
		}
		found, err := c.SearchFiles(cmd.Context(), id, inSession(dir), opts)
		if err != nil {
			return fmt.Errorf("files find %s: %w", args[0], err)
		}
		if *output == "json" {
			return a.printJSON(found)
		}
		for _, m := range found.Matches {
			line := showName(v1.TextOf(m.Path, m.RawPath))
			if m.Line > 0 {
				line = fmt.Sprintf("%s:%d:%s", line, m.Line, showText(m.Text))
			}
			fmt.Fprintln(a.stdout, line)
		}
		if found.Incomplete != "" {
			fmt.Fprintf(a.stderr, "octobot: that may not be all: %s\n", oneLine(found.Incomplete))
		}
		return nil
	}
	return cmd
}

// showText is showName for a line of text, in which tabs are nothing unusual.
func showText(s string) string {
	parts := strings.Split(s, "\t")
	for i := range parts {
		parts[i] = showName(parts[i])
	}
	return strings.Join(parts, "\t")
}

func (a *app) filesWatchCommand() *cobra.Command {
	var opts client.WatchFilesOptions
	cmd := &cobra.Command{
		Use:   "watch [flags] ID:PATH",
		Short: "Tell of changes to files as they happen",
		Long: `Tell of changes at a path, a file or what is in a directory, until you press ctrl-c: created, written, closed (by who wrote
it), changed (mode, owner, times), removed, moved. "watching" comes first: from then on no change is missed untold. After
"overflow" some were missed. Watching does not keep a session from being stopped for idleness.`,
		Example: `  octobot files watch -r demo:/work
  octobot files watch -o json demo:/work | jq -r .path`,
		Args:              oneArg("path"),
		ValidArgsFunction: a.completeSessionFiles,
	}
	userFlag(cmd, &opts.User)
	cmd.Flags().BoolVarP(&opts.Recursive, "recursive", "r", false, "with all directories below, at most 8192")
	output := outputFlag(cmd, "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		id, p, err := splitFile(cmd, args[0])
		if err != nil {
			return err
		}
		c, err := a.connect()
		if err != nil {
			return err
		}
		for e, err := range c.WatchFiles(cmd.Context(), id, p, opts) {
			if err != nil {
				return fmt.Errorf("files watch %s: %w", args[0], err)
			}
			if *output == "json" {
				err = a.printLine(e)
			} else {
				_, err = fmt.Fprintln(a.stdout, changeLine(e))
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
	return cmd
}

// changeLine tells of a change in a line.
func changeLine(e v1.FileEvent) string {
	name := showName(v1.TextOf(e.Path, e.RawPath))
	if e.Directory && !strings.HasSuffix(name, "/") {
		name += "/"
	}
	switch e.Kind {
	case v1.FileMoved:
		name = showName(v1.TextOf(e.From, e.RawFrom)) + " -> " + name
	case v1.FileOverflow:
		name = strings.TrimSpace(name + " changes were missed: list the files anew")
	}
	return fmt.Sprintf("%-8s %s", oneLine(e.Kind), name)
}
