// Command octobot-agent is what Octobot runs in a session's container: "serve" runs commands for
// the daemon at the other end of its standard input and output. An engine's exec starts it. "keep"
// owns what outlives that; serve starts it when it is needed.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/octobot-run/octobot/internal/agent"
	"github.com/octobot-run/octobot/internal/agent/command"
	"github.com/octobot-run/octobot/internal/agent/detached"
	"github.com/octobot-run/octobot/internal/agent/files"
	"github.com/octobot-run/octobot/internal/agent/keeper"
	"github.com/octobot-run/octobot/internal/agent/ports"
	"github.com/octobot-run/octobot/internal/agent/process"
	"github.com/octobot-run/octobot/internal/agent/terminal"
	"github.com/octobot-run/octobot/internal/agent/top"
	"github.com/octobot-run/octobot/internal/agentproto"
)

// self is this program, also where another file has taken its place.
const self = "/proc/self/exe"

// maxCores is how many cores an agent uses at once.
const maxCores = 4

const usage = "usage: octobot-agent serve [home] | keep [home] | version\n"

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	var err error
	home := len(args) == 2 && args[1] == "home"
	switch {
	case len(args) == 1 && args[0] == "version":
		fmt.Println(build())
	case len(args) < 1 || len(args) > 1 && !home:
		fmt.Fprint(os.Stderr, usage)
		return 2
	case args[0] == "serve":
		err = serve(environment(home), args[1:])
	case args[0] == "keep":
		err = keep(environment(home))
	default:
		fmt.Fprint(os.Stderr, usage)
		return 2
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "octobot-agent: %v\n", err)
		return 1
	}
	return 0
}

// environment is the container's own: without HOME, that is each user's, unless home says that the
// container sets it.
func environment(home bool) []string {
	env := os.Environ()
	if !home {
		env = slices.DeleteFunc(env, func(e string) bool { return strings.HasPrefix(e, "HOME=") })
	}
	return env
}

// serve serves until the daemon hangs up.
func serve(env, home []string) error {
	if err := hide(); err != nil {
		return err
	}
	conn, err := agent.Stdio()
	if err != nil {
		return err
	}
	processes := manager(env)
	server := agent.NewServer(agentproto.Info{Build: build(), PID: os.Getpid()})
	command.Register(server, processes)
	files.Register(server)
	ports.Register(server)
	top.Register(server)
	start := keeper.Start(processes, self, append([]string{agentproto.Binary, "keep"}, home...), env)
	door := keeper.NewDoor(keeper.Dir(), start)
	door.Register(server, terminal.Absent())
	door.Register(server, detached.Absent())
	return server.Serve(context.Background(), conn)
}

// keep keeps terminals and processes for as long as there are any.
func keep(env []string) error {
	// It was executed by another name; the file can't be written later.
	_ = os.WriteFile("/proc/self/comm", []byte("octobot-agent"), 0)
	if err := hide(); err != nil {
		return err
	}
	place, err := keeper.Take(keeper.Dir())
	if errors.Is(err, keeper.ErrHeld) {
		return nil
	}
	if err != nil {
		return err
	}
	processes := manager(env)
	server := agent.NewServer(agentproto.Info{})
	terminals := terminal.New(processes)
	terminals.Register(server)
	kept := detached.New(processes)
	kept.Register(server)
	if err := keeper.Ready(); err != nil {
		return err
	}
	return place.Serve(context.Background(), server, func() int { return terminals.Kept() + kept.Kept() })
}

// hide keeps others in the container from tracing this process, and from opening its descriptors
// through /proc.
func hide() error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("PR_SET_DUMPABLE: %w", err)
	}
	return nil
}

// manager makes what runs commands. They may have all cores; the agent itself needs few, each of
// which costs it memory and threads.
func manager(env []string) *process.Manager {
	cores := runtime.GOMAXPROCS(0)
	runtime.GOMAXPROCS(min(cores, maxCores))
	return process.NewManager(env, cores)
}

// build is the agent's version for people. It says nothing of when or from which commit it was
// built: the same sources give the same binary.
func build() string {
	return fmt.Sprintf("protocol %d, %s", agentproto.Version, runtime.Version())
}
