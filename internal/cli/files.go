package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	v1 "github.com/octobot-run/octobot/api/v1"
	"github.com/octobot-run/octobot/client"
)

func (a *app) filesCommand() *cobra.Command {
	return groupCommand(&cobra.Command{
		Use:   "files",
		Short: "Look at a session's files, and change them",
		Long: `Look at a session's files, and change them: as the session's user, or as another with --user, and with that user's
permissions. A session that does not run is reached as root, as far as that goes: ls, cat, edit and mkdir work there.

Files are named ID:PATH; paths start at the session's root. "octobot cp" copies files and directories.`,
		Example: `  octobot files ls -l demo:/work
  octobot files edit demo:/work/notes.txt
  octobot files watch -r demo:/work`,
	}, a.filesListCommand(), a.filesCatCommand(), a.filesEditCommand(), a.filesWatchCommand(), a.filesFindCommand(),
		a.filesMkdirCommand(), a.filesMoveCommand(), a.filesRemoveCommand(), a.filesChmodCommand(),
		a.filesChownCommand())
}

// showName makes a file's name fit for a terminal, which what is in one may have designs on. One
// that has nothing of the kind is shown as it is.
func showName(s string) string {
	plain := utf8.ValidString(s)
	for _, r := range s {
		plain = plain && strconv.IsPrint(r)
	}
	if plain {
		return s
	}
	quoted := strconv.Quote(s)
	return strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`)
}

// splitFile is splitSession for commands that know no files but a session's.
func splitFile(cmd *cobra.Command, arg string) (id, p string, err error) {
	id, p = splitSession(arg)
	if id == "" || p == "" {
		return "", "", usageError(cmd, "%q does not name a file in a session: ID:PATH", arg)
	}
	return id, inSession(p), nil
}

// fileCommand completes a command that does something with each of its files.
func (a *app) fileCommand(
	cmd *cobra.Command, what string, do func(ctx context.Context, c *client.Client, id, p string) error,
) *cobra.Command {
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return usageError(cmd, "name a file in a session: ID:PATH")
		}
		return nil
	}
	cmd.ValidArgsFunction = a.completeSessionFiles
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := a.connect()
		if err != nil {
			return err
		}
		return forEachSession(cmd.Context(), what, args, func(arg string) error {
			id, p, err := splitFile(cmd, arg)
			if err != nil {
				return err
			}
			return do(cmd.Context(), c, id, p)
		})
	}
	return cmd
}

func (a *app) filesListCommand() *cobra.Command {
	var user string
	var long, all bool
	cmd := &cobra.Command{
		Use:   "ls [flags] ID[:PATH]",
		Short: "List a directory",
		Long: `List a directory of a session, or tell what a file is. In names, what is not text or would do something to a terminal
is shown as \n, \x1b, … .`,
		Example: `  octobot files ls demo:/work
  octobot files ls -la demo`,
		Args:              oneArg("directory"),
		ValidArgsFunction: a.completeSessionFiles,
	}
	userFlag(cmd, &user)
	cmd.Flags().BoolVarP(&long, "long", "l", false, "with mode, owner, size and time")
	cmd.Flags().BoolVarP(&all, "all", "a", false, "also those whose names begin with a dot")
	output := outputFlag(cmd, "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		id, p, _ := strings.Cut(args[0], ":")
		c, err := a.connect()
		if err != nil {
			return err
		}
		list, err := listOrStat(cmd.Context(), c, id, inSession(p), user, all)
		if err != nil {
			return fmt.Errorf("files ls %s: %w", args[0], err)
		}
		switch {
		case *output == "json":
			return a.printJSON(list)
		case long:
			return printLong(a.stdout, list)
		}
		for _, f := range list {
			fmt.Fprintln(a.stdout, showName(v1.TextOf(f.Name, f.RawName)))
		}
		return nil
	}
	return cmd
}

// listOrStat gives what is in a directory, or what else is at its path.
func listOrStat(ctx context.Context, c *client.Client, id, p, user string, all bool) ([]v1.FileInfo, error) {
	info, err := c.StatFile(ctx, id, p, client.StatFileOptions{User: user, Follow: true})
	if err != nil && client.CodeOf(err) == v1.CodePathNotFound { // or a link that leads nowhere
		info, err = c.StatFile(ctx, id, p, client.StatFileOptions{User: user})
	}
	if err != nil {
		return nil, err
	}
	if info.Type != v1.FileDirectory {
		return []v1.FileInfo{info}, nil
	}
	list, err := c.ListFiles(ctx, id, p, user)
	if err != nil {
		return nil, err
	}
	shown := []v1.FileInfo{}
	for _, f := range list {
		if all || !strings.HasPrefix(f.Name, ".") {
			shown = append(shown, f)
		}
	}
	return shown, nil
}

// printLong prints files as ls -l does.
func printLong(w io.Writer, list []v1.FileInfo) error {
	rows := make([][3]string, len(list)) // the columns whose width is that of the widest
	var widths [3]int
	for i, f := range list {
		rows[i] = [3]string{oneLine(f.Owner), oneLine(f.Group), strconv.FormatInt(f.Size, 10)}
		if f.Owner == "" {
			rows[i][0] = strconv.FormatInt(f.UID, 10)
		}
		if f.Group == "" {
			rows[i][1] = strconv.FormatInt(f.GID, 10)
		}
		for column, text := range rows[i] {
			widths[column] = max(widths[column], utf8.RuneCountInString(text))
		}
	}
	for i, f := range list {
		name := showName(v1.TextOf(f.Name, f.RawName))
		if f.Type == v1.FileSymlink {
			name += " -> " + showName(v1.TextOf(f.Target, f.RawTarget))
		}
		if _, err := fmt.Fprintf(w, "%s %-*s %-*s %*s %s %s\n", modeString(f), widths[0], rows[i][0], widths[1],
			rows[i][1], widths[2], rows[i][2], f.Modified.Local().Format("2006-01-02 15:04"), name); err != nil {
			return err
		}
	}
	return nil
}

// modeString gives type and permissions as ls does.
func modeString(f v1.FileInfo) string {
	bits, _ := strconv.ParseUint(f.Mode, 8, 32) // as the server said it
	kind := map[string]byte{v1.FileDirectory: 'd', v1.FileSymlink: 'l', "fifo": 'p', "socket": 's', "char_device": 'c',
		"block_device": 'b'}[f.Type]
	if kind == 0 {
		kind = '-'
	}
	s := []byte(fs.FileMode(bits & 0o777).String())
	s[0] = kind
	for _, special := range []struct {
		bit  uint64
		at   int
		x, o byte
	}{{0o4000, 3, 's', 'S'}, {0o2000, 6, 's', 'S'}, {0o1000, 9, 't', 'T'}} {
		if bits&special.bit == 0 {
			continue
		}
		if s[special.at] == 'x' {
			s[special.at] = special.x
		} else {
			s[special.at] = special.o
		}
	}
	return string(s)
}

func (a *app) filesCatCommand() *cobra.Command {
	var user string
	cmd := a.fileCommand(&cobra.Command{
		Use:     "cat [flags] ID:PATH...",
		Short:   "Print files",
		Long:    "Print files as they are: what is in one may change how a terminal looks.",
		Example: `  octobot files cat demo:/etc/os-release`,
	}, "files cat", func(ctx context.Context, c *client.Client, id, p string) error {
		content, _, err := c.ReadFile(ctx, id, p, client.ReadFileOptions{User: user})
		if err != nil {
			return err
		}
		_, err = io.Copy(a.stdout, content)
		return errors.Join(err, content.Close())
	})
	userFlag(cmd, &user)
	return cmd
}

func (a *app) filesMkdirCommand() *cobra.Command {
	var opts client.MakeDirectoryOptions
	var mode octal
	cmd := a.fileCommand(&cobra.Command{
		Use:     "mkdir [flags] ID:PATH...",
		Short:   "Make directories",
		Long:    "Make directories, also in a session that does not run.",
		Example: `  octobot files mkdir -p demo:/work/src`,
	}, "files mkdir", func(ctx context.Context, c *client.Client, id, p string) error {
		opts.Mode = mode.bits
		_, err := c.MakeDirectory(ctx, id, p, opts)
		return err
	})
	userFlag(cmd, &opts.User)
	cmd.Flags().BoolVarP(&opts.Parents, "parents", "p", false, "make those above too, and take one that is there")
	cmd.Flags().VarP(&mode, "mode", "m", "permissions in `octal` (default 0755)")
	return cmd
}

// octal is a flag of permissions.
type octal struct{ bits uint32 }

func (o *octal) Type() string { return "octal" }

func (o *octal) String() string {
	if o.bits == 0 {
		return ""
	}
	return fmt.Sprintf("%04o", o.bits)
}

func (o *octal) Set(s string) error {
	bits, err := strconv.ParseUint(s, 8, 32)
	if err != nil || bits == 0 || bits > 0o7777 {
		return errors.New("not an octal number between 1 and 7777")
	}
	o.bits = uint32(bits)
	return nil
}

func (a *app) filesMoveCommand() *cobra.Command {
	var opts client.MoveFileOptions
	cmd := &cobra.Command{
		Use:   "mv [flags] ID:FROM TO",
		Short: "Give a file or a directory another path",
		Long: `Give a file or a directory another path, within one file system of the session. Where TO, with or without "ID:", is a
directory, it is moved into that.`,
		Example: `  octobot files mv demo:/work/a demo:/work/b`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 2 {
				return usageError(cmd, "name a file in a session, ID:PATH, and its new path")
			}
			return nil
		},
		ValidArgsFunction: a.completeSessionFiles,
	}
	userFlag(cmd, &opts.User)
	cmd.Flags().BoolVarP(&opts.Overwrite, "force", "f", false, "replace a file that is there, or an empty directory")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		id, from, err := splitFile(cmd, args[0])
		if err != nil {
			return err
		}
		toID, to := splitSession(args[1])
		if toID != "" && toID != id {
			return usageError(cmd, "files are not moved between sessions")
		}
		c, err := a.connect()
		if err != nil {
			return err
		}
		to = inSession(to)
		info, err := c.StatFile(cmd.Context(), id, to, client.StatFileOptions{User: opts.User, Follow: true})
		if err == nil && info.Type == v1.FileDirectory {
			to = path.Join(to, path.Base(from))
		}
		if err := c.MoveFile(cmd.Context(), id, from, to, opts); err != nil {
			return fmt.Errorf("files mv %s: %w", args[0], err)
		}
		return nil
	}
	return cmd
}

func (a *app) filesRemoveCommand() *cobra.Command {
	var opts client.RemoveFileOptions
	cmd := a.fileCommand(&cobra.Command{
		Use:     "rm [flags] ID:PATH...",
		Short:   "Remove files, links and directories",
		Long:    "Remove files, links and empty directories, or with -r directories with all in them. Nobody is asked.",
		Example: `  octobot files rm -r demo:/work/build`,
	}, "files rm", func(ctx context.Context, c *client.Client, id, p string) error {
		return c.RemoveFile(ctx, id, p, opts)
	})
	userFlag(cmd, &opts.User)
	cmd.Flags().BoolVarP(&opts.Recursive, "recursive", "r", false, "directories with all in them")
	return cmd
}

func (a *app) filesChmodCommand() *cobra.Command {
	return a.changeCommand(&cobra.Command{
		Use: "chmod [flags] MODE ID:PATH...", Short: "Change permissions",
		Long:    "Change the permissions of files and directories. Links are followed, but with -R those below a directory are not.",
		Example: `  octobot files chmod 0755 demo:/work/run.sh`,
	}, "files chmod", "the permissions in octal",
		func(change *v1.ChangeFileRequest, value string) { change.Mode = value })
}

func (a *app) filesChownCommand() *cobra.Command {
	return a.changeCommand(&cobra.Command{
		Use: "chown [flags] OWNER ID:PATH...", Short: "Change owners, which takes --user root",
		Long: `Change the owner of files and directories: name, uid, name:group or uid:gid. Links are followed, but with -R those below
a directory are not.`,
		Example: `  octobot files chown --user root -R user:user demo:/work`,
	}, "files chown", "the owner", func(change *v1.ChangeFileRequest, value string) { change.Owner = value })
}

// changeCommand completes a command that changes something of files, which comes before them.
func (a *app) changeCommand(
	cmd *cobra.Command, what, value string, set func(change *v1.ChangeFileRequest, value string),
) *cobra.Command {
	var user string
	var recursive bool
	userFlag(cmd, &user)
	cmd.Flags().BoolVarP(&recursive, "recursive", "R", false, "all below directories too")
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) < 2 {
			return usageError(cmd, "name %s, and a file in a session: ID:PATH", value)
		}
		return nil
	}
	cmd.ValidArgsFunction = func(
		cmd *cobra.Command, named []string, prefix string,
	) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(named) == 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return a.completeSessionFiles(cmd, nil, prefix)
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		change := v1.ChangeFileRequest{Recursive: recursive}
		set(&change, args[0])
		c, err := a.connect()
		if err != nil {
			return err
		}
		return forEachSession(cmd.Context(), what, args[1:], func(arg string) error {
			id, p, err := splitFile(cmd, arg)
			if err != nil {
				return err
			}
			_, err = c.ChangeFile(cmd.Context(), id, p, user, change)
			return err
		})
	}
	return cmd
}
