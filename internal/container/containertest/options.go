package containertest

import (
	"errors"
	"slices"
	"strings"

	"github.com/octobot-run/octobot/internal/container"
)

var optionCases = []testCase{
	{"environment", testOptionEnv},
	{"working directory and user", testOptionDirUser},
	{"read-only with tmpfs", testOptionReadOnly},
	{"no network", testOptionNoNetwork},
	{"pids limit", testOptionPIDs},
	{"hardened", testOptionHardened},
	{"platform", testOptionPlatform},
	{"refused by the engine", testOptionRefused},
}

func testOptionEnv(f *fixture) {
	id := f.id("s")
	opts := f.idle()
	opts.Env = []string{"PLAIN=value", "SPACED=a b  c", "EMPTY=", "EQUALS=a=b", "UNICODE=grün ✓", "LINES=a\nb"}
	f.start(id, opts)
	for _, e := range opts.Env {
		name, want, _ := strings.Cut(e, "=")
		f.equal(name, f.sh(id, `echo -n "$`+name+`"`), want)
	}
}

func testOptionDirUser(f *fixture) {
	id := f.id("s")
	opts := f.idle()
	opts.WorkingDir, opts.User = "/home/user", "user"
	f.start(id, opts)
	f.equal("working directory", f.sh(id, "pwd"), "/home/user")
	f.equal("user", f.sh(id, "id -u"), "1000")
}

func testOptionReadOnly(f *fixture) {
	id := f.id("s")
	opts := f.idle()
	opts.ReadOnly = true
	opts.Tmpfs = map[string]string{"/scratch": "size=1m", "/tmp": ""}
	f.start(id, opts)
	res := f.exec(id, container.ExecOptions{}, "sh", "-c", "echo x > /etc/file")
	if res.ExitCode == 0 {
		f.Fatal("the root file system could be written")
	}
	f.equal("file", f.sh(id, "echo x > /scratch/file && echo y > /tmp/file && cat /scratch/file /tmp/file"), "x\ny")
}

func testOptionNoNetwork(f *fixture) {
	id := f.id("s")
	opts := f.idle()
	opts.NetworkMode = container.NetworkNone
	c := f.start(id, opts)
	f.equal("address", c.Address, "")
	f.equal("number of ports", len(c.Ports), 0)
	if f.caps.RealProcesses {
		f.equal("interfaces", f.sh(id, "ls /sys/class/net"), "lo")
	}
}

func testOptionPIDs(f *fixture) {
	if !f.caps.EnforcesResources || !f.caps.RealProcesses {
		return
	}
	id := f.id("s")
	opts := f.idle()
	opts.Resources.PIDs = 32
	f.start(id, opts)
	res := f.exec(id, container.ExecOptions{}, "sh", "-c",
		"i=0; while [ $i -lt 64 ]; do sleep 5 & i=$((i+1)); done; wait")
	if res.ExitCode == 0 || !strings.Contains(res.Stderr, "fork") {
		f.Fatalf("64 processes: exit code %d, stderr %q", res.ExitCode, res.Stderr)
	}
}

// testOptionHardened: what a process in a session must not be able to do, as root.
func testOptionHardened(f *fixture) {
	if !f.caps.RealProcesses {
		return
	}
	id := f.running()
	f.equal("no_new_privs", f.sh(id, "grep NoNewPrivs /proc/self/status | tr -dc 0-9"), "1")
	for _, script := range []string{
		"mount -t tmpfs none /tmp", "mknod /tmp/disk b 8 0 && head -c 1 /tmp/disk", "sysctl -w kernel.hostname=x",
	} {
		if res := f.exec(id, container.ExecOptions{}, "sh", "-c", script); res.ExitCode == 0 {
			f.Errorf("%s: allowed", script)
		}
	}
}

// testOptionPlatform: an image that is there for another platform is not what was asked for.
func testOptionPlatform(f *fixture) {
	prober, ok := optional[container.Prober](f)
	if !ok {
		return
	}
	engine, err := prober.Probe(f.ctx)
	f.must(err)
	opts := f.idle()
	for _, opts.Platform = range []string{"linux/s390x", "linux/arm/v6"} {
		id := f.id("other")
		_, err := f.rt.Create(f.ctx, id, opts)
		f.class(err, container.ErrImageNotFound, opts.Platform)
		f.equal("containers left", f.count(id), 0)
	}
	opts.Platform = "linux/" + engine.Arch
	f.create(f.id("own"), opts)
}

// testOptionRefused: what only the engine can know to be impossible is refused in its words, by the
// create or by the start, and is not taken for its silence.
func testOptionRefused(f *fixture) {
	if !f.caps.RealProcesses {
		return
	}
	for name, tt := range map[string]struct {
		spoil   func(*container.Options)
		classes []error
	}{
		"file as directory": {func(o *container.Options) { o.WorkingDir = "/etc/passwd" },
			[]error{container.ErrInvalidArgument, container.ErrRefused}},
		"directory below a file": {func(o *container.Options) { o.WorkingDir = "/etc/passwd/x" },
			[]error{container.ErrInvalidArgument, container.ErrRefused}},
		"no such network": {func(o *container.Options) { o.NetworkMode = "octobot-missing" },
			[]error{container.ErrInvalidArgument}},
		"no such OCI runtime": {func(o *container.Options) { o.Runtime = "octobot-missing" },
			[]error{container.ErrInvalidArgument}},
		"no such group": {func(o *container.Options) { o.User = "root:missing" }, []error{container.ErrExecFailed}},
	} {
		id := f.id(strings.ReplaceAll(name, " ", "-"))
		opts := f.idle()
		tt.spoil(&opts)
		_, err := f.rt.Create(f.ctx, id, opts)
		if err == nil {
			err = f.rt.Start(f.ctx, id)
		} else {
			f.poll(name+": the container to be undone", func() bool { return f.count(id) == 0 })
		}
		refused, ok := errors.AsType[*container.Error](err)
		if !ok || !slices.Contains(tt.classes, refused.Class) {
			f.Fatalf("%s: %v, of class %v", name, err, container.ClassOf(err))
		}
		if refused.Detail == "" || strings.Contains(refused.Detail, "daemon:") {
			f.Errorf("%s: the words are %q", name, refused.Detail)
		}
	}
}
