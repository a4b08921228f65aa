// Command octobot-agent is what Octobot runs in a session's container: "serve" runs commands for
// the daemon at the other end of its standard input and output. An engine's exec starts it.
package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/octobot-run/octobot/internal/agent"
	"github.com/octobot-run/octobot/internal/agent/command"
	"github.com/octobot-run/octobot/internal/agent/process"
	"github.com/octobot-run/octobot/internal/agentproto"
)

// maxCores is how many cores an agent uses at once.
const maxCores = 4

const usage = "usage: octobot-agent serve [home] | version\n"

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	var err error
	switch {
	case slices.Equal(args, []string{"serve"}):
		err = serve(slices.DeleteFunc(os.Environ(), func(e string) bool { return strings.HasPrefix(e, "HOME=") }))
	case slices.Equal(args, []string{"serve", "home"}):
		err = serve(os.Environ())
	case len(args) == 1 && args[0] == "version":
		fmt.Println(build())
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

// serve serves until the daemon hangs up. env is the container's own environment: without HOME,
// that is each user's.
func serve(env []string) error {
	// Nobody in the container is to trace this process or to open its descriptors through /proc.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("PR_SET_DUMPABLE: %w", err)
	}
	conn, err := agent.Stdio()
	if err != nil {
		return err
	}
	// The commands may have all cores; the agent itself needs few, each of which costs it memory
	// and threads.
	cores := runtime.GOMAXPROCS(0)
	runtime.GOMAXPROCS(min(cores, maxCores))
	processes := process.NewManager(env, cores)
	server := agent.NewServer(agentproto.Info{Build: build(), PID: os.Getpid()})
	command.Register(server, processes)
	return server.Serve(context.Background(), conn)
}

// build is the agent's version for people. It says nothing of when or from which commit it was
// built: the same sources give the same binary.
func build() string {
	return fmt.Sprintf("protocol %d, %s", agentproto.Version, runtime.Version())
}
