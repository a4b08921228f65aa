package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	v1 "github.com/octobot-run/octobot/api/v1"
	"github.com/octobot-run/octobot/internal/agentbin"
	"github.com/octobot-run/octobot/internal/config"
	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/container/docker"
	"github.com/octobot-run/octobot/internal/hostmount"
)

// Grade says how good a finding is.
type Grade string

const (
	Good    Grade = "ok"
	Notice  Grade = "warning" // works, with limits
	Problem Grade = "problem" // does not work
)

// Finding is one thing that was looked at.
type Finding struct {
	What  string `json:"what"` // "engine"
	Grade Grade  `json:"grade"`
	Seen  string `json:"seen"`         // what there is
	Do    string `json:"do,omitempty"` // what to do about it
}

// lowSpace is where the data directory's disk is too full to go on for long, in bytes.
const lowSpace = 256 << 20

// Diagnose looks at what a daemon with this configuration and this process's environment needs,
// without one and without changing anything: the variables, the data directory and the engine.
func Diagnose(ctx context.Context, cfg config.Config) []Finding {
	findings := append(diagnoseVariables(), diagnoseDataDir(cfg.DataDir))
	kind := runtimeKinds[cmp.Or(cfg.Runtime, config.Runtimes[0])]
	return append(findings, kind.diagnose(ctx, cfg, nil)...)
}

// diagnose looks at what the daemon runs on, as it is used.
func (d *daemon) diagnose(ctx context.Context, rt container.Runtime) []v1.Finding {
	findings := append(diagnoseVariables(), diagnoseDataDir(d.cfg.DataDir), d.diagnoseStore(ctx))
	kind := runtimeKinds[cmp.Or(d.cfg.Runtime, config.Runtimes[0])]
	findings = append(findings, kind.diagnose(ctx, d.cfg, rt)...)
	told := make([]v1.Finding, len(findings))
	for i, f := range findings {
		told[i] = v1.Finding{What: f.What, Grade: string(f.Grade), Seen: f.Seen, Do: f.Do}
	}
	return told
}

func diagnoseVariables() []Finding {
	var findings []Finding
	for _, v := range config.StrayVariables(os.Environ()) {
		findings = append(findings, Finding{"environment", Notice, v.String(), "set it by its right name, or unset it"})
	}
	return findings
}

func (d *daemon) diagnoseStore(ctx context.Context) Finding {
	f := Finding{"store", Good, "SQLite at " + d.cfg.Database(), ""}
	if d.cfg.DatabaseURL != "" {
		f.Seen = "PostgreSQL"
		if u, err := url.Parse(d.cfg.DatabaseURL); err == nil && u.Host != "" {
			f.Seen += " at " + u.Host + u.Path // and nothing of a password
		}
	}
	if err := d.service.Health(ctx).Store; err != nil {
		f.Grade, f.Seen, f.Do = Problem, f.Seen+" does not answer: "+err.Error(), "look into the daemon's log"
	}
	return f
}

func diagnoseDataDir(path string) Finding {
	f := Finding{What: "data directory", Grade: Problem}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Finding{f.What, Good, path + ": not there yet; \"octobot serve\" makes it", ""}
	case err != nil:
		f.Seen, f.Do = err.Error(), "name another with --data-dir"
		return f
	case !info.IsDir():
		f.Seen, f.Do = path+" is not a directory", "name another with --data-dir"
		return f
	case info.Mode().Perm()&0o022 != 0:
		f.Seen, f.Do = fmt.Sprintf("%s: others can write to it (mode %04o)", path, info.Mode().Perm()),
			"chmod 700 "+path
		return f
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return Finding{f.What, Notice, fmt.Sprintf("%s: others can read it (mode %04o)", path, mode), "chmod 700 " +
			path}
	}
	var disk syscall.Statfs_t
	if err := syscall.Statfs(path, &disk); err == nil && disk.Bavail*uint64(disk.Bsize) < lowSpace {
		f.Grade, f.Seen, f.Do = Notice,
			fmt.Sprintf("%s: only %d MiB of its disk are free", path, disk.Bavail*uint64(disk.Bsize)>>20), "make room"
		return f
	}
	return Finding{f.What, Good, path, ""}
}

func diagnoseDocker(ctx context.Context, cfg config.Config, rt container.Runtime) []Finding {
	var engine docker.Engine
	var err error
	p, running := container.As[*docker.DockerProvider](rt)
	if running {
		engine = p.Engine()
	} else {
		engine, err = docker.Discover(cfg.Docker.Host)
	}
	findings := make([]Finding, 0, len(engine.Looked)+4)
	for _, c := range engine.Looked {
		if c.Problem != "" {
			seen := strings.TrimSpace(c.Source + " " + c.Host)
			findings = append(findings, Finding{"engine candidate", Good, seen + ": passed over, " + c.Problem, ""})
		}
	}
	const start = "install Docker or start it, or name an engine with --docker-host or DOCKER_HOST"
	if err != nil {
		return append(findings, Finding{"engine", Problem, err.Error(), start})
	}
	where := fmt.Sprintf("%s (%s)", engine.Host, engine.Source)
	if !running {
		if p, err = docker.NewDockerProvider(&cfg); err != nil {
			return append(findings, Finding{"engine", Problem, fmt.Sprintf("%s: %v", where, err), start})
		}
		defer func() { _ = p.Close() }() // nothing is under way
	}
	info, pool, err := probe(ctx, cfg, p)
	if err != nil {
		do, said := start, err.Error()
		switch {
		case errors.Is(err, context.DeadlineExceeded):
			said = "it did not answer in time"
			do = "its process may hang: see its log, and start it anew"
		case errors.Is(err, container.ErrRefused):
			do = "it answers, but not what it is: see its log, and whether that is an engine's address"
		case strings.Contains(err.Error(), "permission denied"):
			do = "let this user open the engine's socket, or run the daemon as a user who can"
		}
		return append(findings, Finding{"engine", Problem, fmt.Sprintf("%s: %s", where, said), do})
	}
	if len(cfg.BindRoots) > 0 {
		findings = append(findings, diagnoseMounts(cfg, engine))
	}
	findings = append(findings, Finding{"engine", Good,
		fmt.Sprintf("%s %s at %s, API %s, %s/%s", info.Name, info.Version, where, info.APIVersion, info.OS, info.Arch),
		""},
		diagnoseCgroups(info), pool, diagnoseAgent(cfg, info.Arch))
	for _, w := range info.Warnings {
		findings = append(findings, Finding{"engine", Notice, w, ""})
	}
	if rt := cfg.Defaults.Runtime; rt != "" && !slices.Contains(info.Runtimes, rt) {
		findings = append(findings, Finding{"OCI runtime", Problem,
			fmt.Sprintf("the engine has no %q; it has %s", rt, strings.Join(info.Runtimes, ", ")),
			"install it, or change --default-runtime"})
	}
	return findings
}

// diagnoseAgent tells which way commands will take. arch is the engine's.
func diagnoseAgent(cfg config.Config, arch string) Finding {
	if cfg.Agent != "auto" {
		return Finding{"agent", Notice, "off: commands take about 50 ms each, through the engine's exec",
			"--agent auto runs them through Octobot's agent, in about a millisecond"}
	}
	binary, err := agentbin.Binary(arch)
	if err != nil {
		return Finding{"agent", Notice,
			fmt.Sprintf("commands take about 50 ms each, through the engine's exec: %v", err),
			"run a release, or build with \"make build\""}
	}
	return Finding{"agent", Good, fmt.Sprintf("%s for %s; \"octobot inspect\" tells which way a session's commands take",
		container.ProgramHash(binary), arch), ""}
}

func diagnoseMounts(cfg config.Config, engine docker.Engine) Finding {
	err := errElsewhere
	if engine.SharesHost() {
		err = hostmount.Check(cfg.DataDir)
	}
	if err != nil {
		return Finding{"bind mounts", Problem, fmt.Sprintf("sessions can have none: %v", err),
			"run the daemon on the engine's host, as root and outside of any container, or configure no bind roots"}
	}
	return Finding{"bind mounts", Good, "can be made", ""}
}

// probe asks the engine what it is, and what is left of the networks' pool.
func probe(
	ctx context.Context, cfg config.Config, p *docker.DockerProvider,
) (info container.EngineInfo, pool Finding, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if info, err = p.Probe(ctx); err != nil {
		return info, pool, err
	}
	free, total, err := p.NetworkPool(ctx)
	return info, diagnosePool(cfg, free, total), err
}

// diagnosePool tells how many networks can still be made.
func diagnosePool(cfg config.Config, free, total uint64) Finding {
	f := Finding{What: "network pool", Grade: Good}
	if total == 0 {
		f.Seen = fmt.Sprintf("not used: sessions join the network %q", cfg.Docker.Network)
		return f
	}
	f.Seen = fmt.Sprintf("%d of the %d subnets of %s are free", free, total, strings.Join(cfg.Docker.NetworkPool, ", "))
	if free < total/10+1 {
		f.Grade, f.Do = Notice, "set a larger --docker-network-pool, or remove networks of others that use it"
	}
	if free == 0 {
		f.Grade = Problem
	}
	return f
}

func diagnoseCgroups(info container.EngineInfo) Finding {
	switch {
	case info.CgroupV2:
		return Finding{"cgroups", Good, "version 2", ""}
	case info.Rootless:
		return Finding{"cgroups", Notice,
			"version 1, and the engine has no root: limits on CPU, memory and processes are not enforced",
			"boot with systemd.unified_cgroup_hierarchy=1"}
	}
	return Finding{"cgroups", Good, "version 1", ""}
}
