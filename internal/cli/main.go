// Package cli is the octobot command: its commands, what they print, and their exit codes.
package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/octobot-run/octobot/client"
	"github.com/octobot-run/octobot/internal/config"
)

// Exit codes. exec and attach pass on the command's, so that their own are docker's.
const (
	exitError       = 1
	exitTimeout     = 124 // exec: the command had run for as long as it might
	exitOwnError    = 125 // exec and attach: Octobot failed, not the command
	exitNotRunnable = 126 // exec: the command can't be executed
	exitNotFound    = 127 // exec: there is no such command
	exitSignal      = 128 // and the signal that ended octobot
)

// Main runs octobot with the arguments that follow the program's name, and returns its exit code.
// SIGINT, SIGTERM and SIGHUP end what is under way in good order; a second one ends the process at
// once.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, stop := untilSignal(context.Background())
	defer stop()
	return run(ctx, args, stdin, stdout, stderr)
}

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	a := &app{stdin: stdin, stdout: stdout, stderr: stderr}
	root := a.root()
	root.SetArgs(append([]string{}, args...)) // nil would mean the process's own
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if a.client != nil {
		a.client.Close()
	}
	if err == nil {
		return 0
	}
	if s, ok := errors.AsType[signalled](context.Cause(ctx)); ok && errors.Is(err, context.Cause(ctx)) {
		return exitSignal + int(s.signal)
	}
	for _, line := range errorLines(err) {
		fmt.Fprintln(stderr, "octobot: "+line)
	}
	if e, ok := errors.AsType[*exitCode](err); ok {
		return e.code
	}
	return exitError
}

// signalled is why a context ended.
type signalled struct{ signal syscall.Signal }

func (s signalled) Error() string { return "ended by signal: " + s.signal.String() }

// Is lets signalled pass for what it is to code that knows contexts only.
func (s signalled) Is(target error) bool { return target == context.Canceled || target == error(s) }

// untilSignal returns a context that the first signal ends. From then on signals
// do what they do by default.
func untilSignal(parent context.Context) (context.Context, func()) {
	var others atomic.Int32
	ctx, cancel := context.WithCancelCause(context.WithValue(parent, othersInterrupts{}, &others))
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer signal.Stop(signals)
		for {
			select {
			case s := <-signals:
				if s == syscall.SIGINT && others.Load() > 0 {
					continue
				}
				cancel(signalled{s.(syscall.Signal)})
			case <-ctx.Done():
			}
			return
		}
	}()
	return ctx, func() {
		cancel(nil)
		<-done
	}
}

// othersInterrupts is the key of how many programs run that ctrl-c and ctrl-\ are meant for.
type othersInterrupts struct{}

// leaveInterrupts leaves what is typed at the terminal to end a program to the one that is about to
// run, until done is called. A program that is started meanwhile ignores nothing that octobot did
// not.
func leaveInterrupts(ctx context.Context) (done func()) {
	caught := make(chan os.Signal, 1) // nobody looks
	signal.Notify(caught, syscall.SIGINT, syscall.SIGQUIT)
	others, ok := ctx.Value(othersInterrupts{}).(*atomic.Int32)
	if !ok {
		others = new(atomic.Int32)
	}
	others.Add(1)
	return func() {
		others.Add(-1)
		signal.Stop(caught)
	}
}

// app is one run of octobot.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer

	url     string // --url
	dataDir string // --data-dir
	client  *client.Client
}

const (
	groupSessions = "sessions"
	groupDaemon   = "daemon"
)

func (a *app) root() *cobra.Command {
	root := groupCommand(&cobra.Command{
		Use:   "octobot",
		Short: "Give every session an isolated Linux container of its own",
		Long: `Octobot gives every session an isolated Linux container of its own.

A daemon, "octobot serve", keeps the sessions; the other commands talk to it through the socket in its
data directory, or over TCP with --url and the token in OCTOBOT_TOKEN.`,
		Example: `  octobot serve &
  octobot create demo
  octobot exec demo -- uname -a
  octobot attach demo
  octobot rm -f demo`,
		Version:           versionText(),
		PersistentPreRunE: checkText,

		SilenceErrors: true,
		SilenceUsage:  true,
	})
	root.SetFlagErrorFunc(flagError)
	flags := root.PersistentFlags()
	flags.StringVar(&a.url, "url", "",
		"the daemon's `address`: http://host:port, https://… or unix:///path (OCTOBOT_URL)")
	flags.StringVar(&a.dataDir, "data-dir", "", "the daemon's data `directory` (OCTOBOT_DATA_DIR)")
	root.AddGroup(&cobra.Group{ID: groupSessions, Title: "Sessions:"}, &cobra.Group{ID: groupDaemon, Title: "Daemon:"})
	group := func(id string, commands ...*cobra.Command) {
		for _, c := range commands {
			c.GroupID = id
			root.AddCommand(c)
		}
	}
	group(groupSessions, a.createCommand(), a.listCommand(), a.inspectCommand(), a.startCommand(), a.stopCommand(),
		a.restartCommand(), a.pauseCommand(), a.unpauseCommand(), a.updateCommand(),
		a.removeCommand(), a.execCommand(), a.attachCommand(), a.replayCommand(),
		a.logsCommand(),
		a.processesCommand(), a.killCommand(), a.waitCommand(),
		a.copyCommand(), a.filesCommand(),
		a.portsCommand(), a.forwardCommand(),
		a.statsCommand(), a.topCommand(), a.eventsCommand())
	group(groupDaemon, a.serveCommand(), a.doctorCommand(), a.benchCommand(), a.reconcileCommand(), a.adoptCommand(),
		a.tokenCommand(), a.projectCommand())
	root.AddCommand(a.versionCommand())
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	readDurations(root)
	return root
}

// connect gives the client of the daemon that the flags and the environment name.
func (a *app) connect() (*client.Client, error) {
	if a.client != nil {
		return a.client, nil
	}
	opts := client.Options{Token: os.Getenv("OCTOBOT_TOKEN"), URL: a.url}
	if opts.URL == "" && a.dataDir == "" {
		opts.URL = os.Getenv("OCTOBOT_URL")
	}
	if opts.URL == "" {
		dir, err := config.DataDir(a.sources())
		if err != nil {
			return nil, err
		}
		opts.Socket = config.Config{DataDir: dir}.Socket()
	}
	c, err := client.New(opts)
	if err != nil {
		return nil, fmt.Errorf("--url: %q is not an address; allowed: http://host:port, https://host:port, unix:///path", opts.URL)
	}
	a.client = c
	for _, v := range config.StrayVariables(os.Environ()) {
		if v.ForClients() { // the others are for the daemon, which tells of them
			a.warn("%s", v)
		}
	}
	return c, nil
}

// sources is where the configuration comes from, without a command's own flags.
func (a *app) sources() config.Sources {
	src := config.Sources{LookupEnv: os.LookupEnv, SystemFile: config.SystemFile, Flags: map[string][]string{}}
	if a.dataDir != "" {
		src.Flags["data-dir"] = []string{a.dataDir}
	}
	return src
}

// groupCommand makes a command that stands for others: alone it shows its help, and a word that is
// none of theirs gets suggestions.
func groupCommand(cmd *cobra.Command, commands ...*cobra.Command) *cobra.Command {
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		return unknownCommand(cmd, args[0])
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	cmd.SuggestionsMinimumDistance = 2
	cmd.AddCommand(commands...)
	return cmd
}

func unknownCommand(cmd *cobra.Command, name string) error {
	hint := ""
	if near := nearCommands(cmd, name); len(near) > 0 {
		hint = fmt.Sprintf(`did you mean "%s"? `, strings.Join(near, `" or "`))
	}
	return fmt.Errorf("%q is not a command; %ssee \"%s --help\"", name, hint, cmd.CommandPath())
}

// nearCommands gives the commands that a word may stand for: those that say that it does, or else
// those that are written alike.
func nearCommands(cmd *cobra.Command, name string) []string {
	var meant []string
	for _, c := range cmd.Commands() {
		if slices.Contains(c.SuggestFor, strings.ToLower(name)) {
			meant = append(meant, c.Name())
		}
	}
	if len(meant) > 0 {
		return meant
	}
	near := cmd.SuggestionsFor(name)
	slices.SortStableFunc(near, func(a, b string) int { // the beginnings of one another first
		return cmp.Compare(commonPrefix(b, name), commonPrefix(a, name))
	})
	return near
}

func commonPrefix(a, b string) int {
	n := 0
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	return n
}
