package cli

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	v1 "github.com/octobot-run/octobot/api/v1"
	"github.com/octobot-run/octobot/internal/config"
)

// createFlags are the flags of create that do not go into the request as they are.
type createFlags struct {
	env, envFiles, labels, ports, tmpfs []string
	memory                              string
	cpus                                float64
	pids                                int64
	idleTimeout, maxAge                 time.Duration
	noStart                             bool
}

func (a *app) createCommand() *cobra.Command {
	var req v1.CreateSessionRequest
	var f createFlags
	cmd := &cobra.Command{
		Use:        "create [flags] [ID] [-- COMMAND [ARG...]]",
		SuggestFor: []string{"run", "new"},
		Short:      "Create a session and start it",
		Long: `Create a session, start it, and print its ID, which is made up where none is given. The image is pulled if the engine
does not have it. What no flag says is as the daemon's configuration says.`,
		Example: `  octobot create demo
  octobot create --image debian:12 -p 3000 --memory 2g --cpus 1.5 web
  octobot create --project ci --max-age 1h --on-expire close -- make test
  octobot create -t --image python:3 repl -- python3`,
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	flags := cmd.Flags()
	flags.StringVar(&req.Image, "image", "", "`image` that the container is made from")
	flags.StringVar(&req.Project, "project", "", "`project` that the session belongs to")
	flags.StringArrayVarP(&f.env, "env", "e", nil,
		"environment variable, `NAME=value`, or NAME for octobot's own value")
	flags.StringArrayVar(&f.envFiles, "env-file", nil, "`file` of environment variables, one a line")
	flags.StringArrayVarP(&f.labels, "label", "l", nil, "label of the container, `name=value`")
	flags.StringArrayVarP(&f.ports, "publish", "p", nil,
		"publish a port, `[host:]container[/udp]`, at several of the host's where it is repeated; without host: a free one")
	flags.StringArrayVarP(&req.Binds, "volume", "v", nil,
		"mount a volume, or a directory that the daemon allows, `source:target[:ro]`")
	flags.BoolVarP(&req.Tty, "tty", "t", false, "give the main process a terminal")
	flags.StringVarP(&req.WorkingDir, "workdir", "w", "", "working `directory` in the container")
	flags.StringVarP(&req.User, "user", "u", "", "`user`, name or uid, with :group if wanted")
	flags.Float64Var(&f.cpus, "cpus", 0, "CPU `cores`, such as 1.5; 0: no limit")
	flags.StringVarP(&f.memory, "memory", "m", "", "memory, a `size` such as 512m or 2g; 0: no limit")
	flags.Int64Var(&f.pids, "pids", 0, "processes and threads at once, at most `n`")
	flags.StringVar(&req.NetworkMode, "network", "", "`network` to join, or none")
	flags.StringVar(&req.Runtime, "runtime", "", "OCI `runtime` such as runsc")
	flags.BoolVar(&req.ReadOnly, "read-only", false, "make the root file system read-only")
	flags.StringArrayVar(&f.tmpfs, "tmpfs", nil, "mount a tmpfs, `path[:options]`")
	flags.StringVar(&req.Platform, "platform", "", "`os/arch` of the image")
	flags.StringVar(&req.Agent, "agent", "",
		"run commands through Octobot's agent where the daemon uses it, or never, `auto|off`")
	flags.BoolVar(&req.Record, "record", false,
		"record the session's terminals; \"octobot replay\" shows what they have shown")
	flags.DurationVar(&f.idleTimeout, "idle-timeout", 0,
		"how long the session may be idle, a `duration` such as 30m; 0: no limit")
	flags.DurationVar(&f.maxAge, "max-age", 0,
		"how old the session may become, a `duration` such as 12h or 7d; 0: no limit")
	flags.StringVar(&req.OnExpire, "on-expire", "", "what either limit does, `stop|close`")
	flags.BoolVar(&f.noStart, "no-start", false, "do not start the session")
	complete(cmd, "on-expire", v1.ExpireStop, v1.ExpireClose)
	complete(cmd, "network", "none")
	complete(cmd, "agent", v1.AgentAuto, v1.AgentOff)
	output := outputFlag(cmd, "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		id, command, err := splitCreate(cmd, args)
		if err != nil {
			return err
		}
		req.ID, req.Cmd = id, command
		if err := f.fill(cmd, &req); err != nil {
			return err
		}
		c, err := a.connect()
		if err != nil {
			return err
		}
		p := newProgress(a.stderr)
		s, err := c.CreateSession(cmd.Context(), req, p.show)
		p.clear()
		if err != nil {
			return fmt.Errorf("%s: %w", strings.TrimSpace("create "+id), err)
		}
		for _, warning := range s.Warnings {
			a.warn("%s", warning)
		}
		if *output == "json" {
			return a.printJSON(s)
		}
		fmt.Fprintln(a.stdout, s.ID)
		return nil
	}
	return cmd
}

// splitCreate takes the ID before "--" and the command behind it apart.
func splitCreate(cmd *cobra.Command, args []string) (id string, command []string, err error) {
	if dash := cmd.ArgsLenAtDash(); dash >= 0 {
		args, command = args[:dash], args[dash:]
	}
	switch len(args) {
	case 0:
		return "", command, nil
	case 1:
		if args[0] == "" {
			return "", nil, usageError(cmd, "the ID is empty")
		}
		return args[0], command, nil
	}
	return "", nil, usageError(cmd, "%q follows the ID; a command goes behind \"--\", an image behind --image", args[1])
}

// fill puts the flags into the request. What the server can check, it checks.
func (f *createFlags) fill(cmd *cobra.Command, req *v1.CreateSessionRequest) error {
	for _, file := range f.envFiles {
		env, err := readEnvFile(file)
		if err != nil {
			return usageError(cmd, "--env-file: %v", err)
		}
		req.Env = append(req.Env, env...)
	}
	req.Env = append(req.Env, withOwnValues(f.env)...)
	if f.memory != "" {
		n, err := config.ParseSize(f.memory)
		if err != nil {
			return usageError(cmd, "--memory: %v", err)
		}
		req.Resources.Memory = &n
	}
	if cmd.Flags().Changed("cpus") {
		req.Resources.CPUs = &f.cpus
	}
	if cmd.Flags().Changed("pids") {
		req.Resources.PIDs = &f.pids
	}
	if cmd.Flags().Changed("idle-timeout") {
		req.IdleTimeout = new(v1.Duration(f.idleTimeout))
	}
	if cmd.Flags().Changed("max-age") {
		req.MaxAge = new(v1.Duration(f.maxAge))
	}
	for _, label := range f.labels {
		name, value, _ := strings.Cut(label, "=")
		if req.Labels == nil {
			req.Labels = map[string]string{}
		}
		req.Labels[name] = value
	}
	for _, port := range f.ports {
		host, inside, ok := strings.Cut(port, ":")
		if !ok {
			host, inside = "", port
		}
		if strings.Contains(inside, ":") {
			return usageError(cmd, "--publish %q: allowed: [host port:]container port[/tcp|/udp]; the address is the daemon's to choose", port)
		}
		if req.PortBindings == nil {
			req.PortBindings = map[string]string{}
		}
		publish(req.PortBindings, inside, host)
	}
	for _, mount := range f.tmpfs {
		path, options, _ := strings.Cut(mount, ":")
		if req.Tmpfs == nil {
			req.Tmpfs = map[string]string{}
		}
		req.Tmpfs[path] = options
	}
	start := !f.noStart
	req.Start = &start
	return nil
}

// publish adds a host port, empty for a free one, to those of a container's port.
func publish(bindings map[string]string, inside, host string) {
	inside = strings.TrimSuffix(inside, "/tcp") // which it is without
	before, again := bindings[inside]
	if again {
		hosts := strings.Split(cmp.Or(before, "0"), ",")
		if host = cmp.Or(host, "0"); !slices.Contains(hosts, host) {
			hosts = append(hosts, host)
		}
		host = strings.Join(hosts, ",")
	}
	bindings[inside] = host
}
