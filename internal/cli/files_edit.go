package cli

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	v1 "github.com/octobot-run/octobot/api/v1"
	"github.com/octobot-run/octobot/client"
)

func (a *app) filesEditCommand() *cobra.Command {
	var user string
	cmd := &cobra.Command{
		Use:   "edit [flags] ID:PATH",
		Short: "Edit a file with $VISUAL or $EDITOR",
		Long: `Edit a file of a session here: with $VISUAL, $EDITOR, or vi. One that is not there is made. If somebody else has changed
it meanwhile it stays as they left it, and so does your copy: the command says where.`,
		Example: `  octobot files edit demo:/work/notes.txt
  EDITOR="code --wait" octobot files edit --user root demo:/etc/hosts`,
		Args:              oneArg("file"),
		ValidArgsFunction: a.completeSessionFiles,
	}
	userFlag(cmd, &user)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		id, p, err := splitFile(cmd, args[0])
		if err != nil {
			return err
		}
		c, err := a.connect()
		if err != nil {
			return err
		}
		if err := a.edit(cmd.Context(), c, id, p, user); err != nil {
			return fmt.Errorf("files edit %s: %w", args[0], err)
		}
		return nil
	}
	return cmd
}

// edit has a copy of a file edited, and puts it back.
func (a *app) edit(ctx context.Context, c *client.Client, id, p, user string) (err error) {
	dir, err := os.MkdirTemp("", "octobot-edit-")
	if err != nil {
		return err
	}
	local, keep := filepath.Join(dir, localName(p)), false
	defer func() {
		if keep {
			if ctx.Err() != nil { // of which nothing is printed
				fmt.Fprintf(a.stderr, "octobot: your copy is kept as %s\n", local)
			}
			err = fmt.Errorf("%w; your copy is kept as %s", err, local)
			return
		}
		err = errors.Join(err, os.RemoveAll(dir))
	}()
	opts := client.WriteFileOptions{User: user}
	before, err := fetchFile(ctx, c, id, p, local, &opts)
	if err != nil {
		return err
	}
	editErr := a.runEditor(ctx, local)
	after, err := hashFile(local)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return cmp.Or(editErr, errors.New("the editor has removed its file"))
	case err != nil:
		return err
	case bytes.Equal(before, after):
		if editErr == nil {
			fmt.Fprintln(a.stderr, "Nothing was changed.")
		}
		return editErr
	case editErr != nil:
		keep = true
		return editErr
	}
	if err := storeFile(ctx, c, id, p, local, opts); err != nil {
		keep = true
		return err
	}
	return nil
}

// localName is the name of a session's file as it is harmless here. Editors go by its end.
func localName(p string) string {
	name := strings.Map(func(r rune) rune {
		if isPlain(string(r)) {
			return r
		}
		return '_'
	}, path.Base(path.Clean(p)))
	if name = strings.TrimLeft(name, "-"); len(name) > 100 {
		name = name[len(name)-100:]
	}
	return cmp.Or(strings.Trim(name, "."), "file")
}

// fetchFile copies a session's file, if there is one, and says by opts on which condition it may be
// written back. It gives the hash of what it has copied.
func fetchFile(
	ctx context.Context, c *client.Client, id, p, local string, opts *client.WriteFileOptions,
) ([]byte, error) {
	content, etag, err := c.ReadFile(ctx, id, p, client.ReadFileOptions{User: opts.User})
	if client.CodeOf(err) == v1.CodePathNotFound {
		// A directory is not found as a file either.
		_, statErr := c.StatFile(ctx, id, p, client.StatFileOptions{User: opts.User})
		if client.CodeOf(statErr) != v1.CodePathNotFound {
			return nil, err
		}
		opts.New = true
		content, err = io.NopCloser(strings.NewReader("")), nil
	}
	if err != nil {
		return nil, err
	}
	if !opts.New {
		opts.ETag = cmp.Or(etag, "*")
	}
	defer func() { _ = content.Close() }() // it was only read
	f, err := os.OpenFile(local, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	hash := sha256.New()
	_, err = io.Copy(io.MultiWriter(f, hash), content)
	return hash.Sum(nil), errors.Join(err, f.Close())
}

func hashFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was only read
	hash := sha256.New()
	_, err = io.Copy(hash, f)
	return hash.Sum(nil), err
}

func storeFile(ctx context.Context, c *client.Client, id, p, local string, opts client.WriteFileOptions) error {
	f, err := os.Open(local)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // it was only read
	info, err := f.Stat()
	if err != nil {
		return err
	}
	opts.Size = info.Size()
	_, err = c.WriteFile(ctx, id, p, f, opts)
	return err
}

// runEditor runs the user's editor. Signals of the terminal are the editor's: a person who presses
// ctrl-c in there does not mean to lose what was written.
func (a *app) runEditor(ctx context.Context, file string) error {
	editor := cmp.Or(os.Getenv("VISUAL"), os.Getenv("EDITOR"), "vi")
	cmd := exec.CommandContext(context.WithoutCancel(ctx), "/bin/sh", "-c", editor+` "$1"`, "octobot", file)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = a.stdin, a.stdout, a.stderr
	defer leaveInterrupts(ctx)()
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("the editor %q: %w", editor, err)
	}
	return nil
}
