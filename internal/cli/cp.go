package cli

import (
	"archive/tar"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	v1 "github.com/octobot-run/octobot/api/v1"
	"github.com/octobot-run/octobot/client"
	"github.com/octobot-run/octobot/internal/untar"
)

// copying is one run of cp.
type copying struct {
	a      *app
	client *client.Client
	id     string
	user   string
	owners bool // -a
	follow bool // -L
	quiet  bool

	moved   atomic.Int64 // bytes so far
	total   atomic.Int64 // 0: not known
	finally string       // what the last line calls the destination
}

func (a *app) copyCommand() *cobra.Command {
	var c copying
	cmd := &cobra.Command{
		Use:   "cp [flags] ID:SRC_PATH DEST_PATH|-\n  octobot cp [flags] SRC_PATH|- ID:DEST_PATH",
		Short: "Copy files between a session and here",
		Long: `Copy files or directories between a session, running or not, and this machine, by docker cp's rules.

Paths in the session start at its root. A directory is copied with all in it: into DEST_PATH where that is a directory,
else as DEST_PATH. SRC_PATH/. means what is in the directory. Directories above DEST_PATH are not made. "-" is a tar
archive on stdin or stdout. Links are copied as links; devices, FIFOs and sockets are left out.

It is done as the session's user, with that user's permissions, and what is made is that user's; here it becomes yours.
With -a it is done as root, and everything keeps the numbers of its owners (here, that takes root). A session that does
not run is reached as root, whoever is asked for.`,
		Example: `  octobot cp demo:/work/result.txt .
  octobot cp src/. demo:/work
  octobot cp demo:/var/log - | tar t`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 2 {
				return usageError(cmd, "name a source and a destination")
			}
			return nil
		},
		ValidArgsFunction: a.completeCopy,
	}
	flags := cmd.Flags()
	flags.BoolVarP(&c.owners, "archive", "a", false, "keep the numbers of owners and groups, and setuid")
	flags.BoolVarP(&c.follow, "follow-link", "L", false, "copy what SRC_PATH links to instead of the link")
	flags.BoolVarP(&c.quiet, "quiet", "q", false,
		"print neither progress nor the size at the end; without a terminal, that is the default")
	userFlag(cmd, &c.user)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := oneOf(cmd, "archive", "user"); err != nil {
			return err
		}
		fromID, from := splitSession(args[0])
		toID, to := splitSession(args[1])
		switch {
		case fromID != "" && toID != "":
			return usageError(cmd, "copying between sessions is not supported; copy through here, or through a pipe: "+
				"octobot cp %s - | octobot cp - %s", args[0], args[1])
		case fromID == "" && toID == "":
			return usageError(cmd, "one of source and destination is in a session: ID:PATH")
		}
		if !cmd.Flags().Changed("quiet") {
			c.quiet = !isTerminal(a.stderr)
		}
		if c.owners {
			c.user = "0:0"
		}
		connected, err := a.connect()
		if err != nil {
			return err
		}
		c.a, c.client, c.id, c.finally = a, connected, cmp.Or(fromID, toID), args[1]
		err = c.show(cmd.Context(), func(ctx context.Context) error {
			if fromID != "" {
				return c.out(ctx, inSession(from), to)
			}
			return c.in(ctx, from, inSession(to))
		})
		if err != nil {
			return fmt.Errorf("cp %s: %w", c.id, err)
		}
		return nil
	}
	return cmd
}

// userFlag adds --user to a command that works with files.
func userFlag(cmd *cobra.Command, user *string) {
	cmd.Flags().StringVarP(user, "user", "u", "",
		"do it as this `user` of the session: name, uid, name:group or uid:gid (default: the session's own)")
}

func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// splitSession tells ID:PATH from a path here. One with a colon in it starts with "/" or ".".
func splitSession(arg string) (id, p string) {
	id, p, ok := strings.Cut(arg, ":")
	if !ok || filepath.IsAbs(arg) || strings.HasPrefix(id, ".") {
		return "", arg
	}
	return id, p
}

// inSession makes a path absolute, and keeps the end, which means something.
func inSession(p string) string {
	if !strings.HasPrefix(p, "/") {
		p = "/" + p
	}
	return p
}

// show does the copying, shows how it gets on where that can be seen, and says at the end how much
// it was.
func (c *copying) show(ctx context.Context, do func(context.Context) error) error {
	if c.quiet {
		return do(ctx)
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		line := newStatusLine(c.a.stderr)
		defer line.clear()
		began := time.Now()
		ticker := time.NewTicker(100 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				line.set(copyProgress(c.moved.Load(), c.total.Load(), time.Since(began)))
			case <-stop:
				return
			}
		}
	}()
	err := do(ctx)
	close(stop)
	<-stopped
	if err == nil {
		fmt.Fprintf(c.a.stderr, "Successfully copied %s to %s\n", decimalSize(c.moved.Load()), showName(c.finally))
	}
	return err
}

// copyProgress is how a copy gets on, of which total bytes are to be moved, where that is known.
func copyProgress(moved, total int64, took time.Duration) string {
	rate := decimalSize(int64(float64(moved)/max(took.Seconds(), 0.001))) + "/s"
	if total <= 0 {
		return fmt.Sprintf("copying: %s, %s", decimalSize(moved), rate)
	}
	const width = 30
	done := min(float64(moved)/float64(total), 1)
	bar := strings.Repeat("=", int(done*width))
	if len(bar) < width {
		bar += ">"
	}
	return fmt.Sprintf("copying: [%-*s] %3.0f%% of %s, %s", width, bar, done*100, decimalSize(total), rate)
}

// decimalSize is bytes as docker cp prints them.
func decimalSize(n int64) string {
	v, i := float64(n), 0
	units := []string{"B", "kB", "MB", "GB", "TB", "PB"}
	for v >= 1000 && i < len(units)-1 {
		v /= 1000
		i++
	}
	return fmt.Sprintf("%.3g%s", v, units[i])
}

// counted counts what is read.
type counted struct {
	io.Reader
	n *atomic.Int64
}

func (c counted) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	c.n.Add(int64(n))
	return n, err
}

// tarSize is how long an archive of one file of that size is.
func tarSize(size int64) int64 { return 512 + (size+511)/512*512 + 1024 }

// out copies from the session.
func (c *copying) out(ctx context.Context, from, to string) error {
	src := copyEnd{path: from, exists: true}
	if c.follow {
		found, _, err := c.followed(ctx, from)
		if err != nil {
			return err
		}
		if found != from {
			src.path, src.rebase = found, rebased(from, found)
		}
	}
	if to == "-" && isTerminal(c.a.stdout) {
		return errors.New("a tar archive is not for a terminal: redirect it, or pipe it into tar")
	}
	if to != "-" {
		if err := checkOutput(to); err != nil {
			return err
		}
	}
	archive, err := c.client.PackFiles(ctx, c.id, src.path, c.user)
	if err != nil {
		return err
	}
	defer func() { _ = archive.Close() }() // it was only read
	r := io.Reader(counted{archive, &c.moved})
	if to == "-" {
		_, err := io.Copy(c.a.stdout, r)
		return err
	}
	var head bytes.Buffer
	first, err := tar.NewReader(io.TeeReader(r, &head)).Next()
	if err != nil {
		return fmt.Errorf("read the archive: %w", err)
	}
	if src.dir = first.Typeflag == tar.TypeDir; !src.dir {
		c.total.Store(tarSize(first.Size))
	}
	if src.packed = strings.TrimRight(first.Name, "/"); src.packed == "" {
		src.packed = "/"
	}
	dst, err := localDestination(to)
	if err != nil {
		return err
	}
	keep := c.owners && os.Geteuid() == 0
	root, opts, err := openDestination(src, dst)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }() // nothing was written to it
	opts.Owners, opts.Special, opts.Before = keep, keep, func() error { return context.Cause(ctx) }
	if err := untar.Unpack(root, io.MultiReader(&head, r), opts); err != nil {
		return err
	}
	// What follows an archive's end says whether it was sent whole.
	_, err = io.Copy(io.Discard, r)
	return err
}

// followed follows the links at p, and says where they lead.
func (c *copying) followed(ctx context.Context, p string) (string, v1.FileInfo, error) {
	for range maxLinks {
		info, err := c.client.StatFile(ctx, c.id, p, client.StatFileOptions{User: c.user})
		if err != nil || info.Type != v1.FileSymlink {
			return p, info, err
		}
		p = linked(p, v1.TextOf(info.Target, info.RawTarget))
	}
	return p, v1.FileInfo{}, fmt.Errorf("%s: too many links", showName(p))
}

// linked gives what a link at p leads to. It is not cleaned: ".." behind a link leads elsewhere.
func linked(p, target string) string {
	if path.IsAbs(target) {
		return target
	}
	dir, _ := splitEnd(p)
	return strings.TrimSuffix(dir, "/") + "/" + target
}

// in copies to the session.
func (c *copying) in(ctx context.Context, from, to string) error {
	found, info, err := c.followed(ctx, to)
	dst := copyEnd{path: found}
	switch {
	case err == nil && info.Type != v1.FileRegular && info.Type != v1.FileDirectory:
		return fmt.Errorf("%s is a %s; the destination has to be a directory or a file", showName(to), info.Type)
	case err == nil:
		dst.exists, dst.dir = true, info.Type == v1.FileDirectory
	case client.CodeOf(err) != v1.CodePathNotFound:
		return err
	}
	opts := client.UnpackFilesOptions{User: c.user, Owners: c.owners}
	if from == "-" {
		if !dst.dir {
			return fmt.Errorf("%s is not a directory, which an archive has to be unpacked into", showName(to))
		}
		return c.client.UnpackFiles(ctx, c.id, dst.path, counted{c.a.stdin, &c.moved}, opts)
	}
	src, err := localSource(from, c.follow)
	if err != nil {
		return err
	}
	dir, rename, err := prepare(src, dst)
	if err != nil {
		return err
	}
	if !src.dir {
		c.total.Store(tarSize(src.size))
	}
	r, w := io.Pipe()
	packed := make(chan error, 1)
	go func() {
		err := pack(w, src, rename, c.owners)
		packed <- err
		_ = w.CloseWithError(err) // always nil
	}()
	err = c.client.UnpackFiles(ctx, c.id, dir, counted{r, &c.moved}, opts)
	_ = r.CloseWithError(errUploadOver) // always nil
	if packErr := <-packed; packErr != nil && !errors.Is(packErr, errUploadOver) && ctx.Err() == nil {
		return packErr
	}
	return err
}

var errUploadOver = errors.New("the upload is over")
