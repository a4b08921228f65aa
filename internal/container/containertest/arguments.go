package containertest

import (
	"math"
	"strings"

	"github.com/octobot-run/octobot/internal/container"
)

var argumentCases = []testCase{
	{"session IDs", testBadSessionIDs},
	{"options", testBadOptions},
	{"exec", testBadExec},
	{"attach", testBadAttach},
}

func testBadSessionIDs(f *fixture) {
	for _, id := range []string{
		"", ".", "..", "../x", "a/b", "a b", "-a", "_a", "a\x00b", "a\n", "ä", "a%2eb", "a?b", "a#b",
		"\xff", strings.Repeat("a", 64), strings.Repeat("a", 4096),
	} {
		f.each(f.everyCall(f.rt, id), container.ErrInvalidArgument)
		_, err := f.rt.Create(f.ctx, id, f.idle())
		f.class(err, container.ErrInvalidArgument)
	}
}

func testBadOptions(f *fixture) {
	for name, spoil := range map[string]func(*container.Options){
		"no image":           func(o *container.Options) { o.Image = "" },
		"bad image":          func(o *container.Options) { o.Image = "UPPER case" },
		"NUL in command":     func(o *container.Options) { o.Cmd = []string{"a\x00"} },
		"bad UTF-8":          func(o *container.Options) { o.Cmd = []string{"\xff"} },
		"huge command":       func(o *container.Options) { o.Cmd = []string{strings.Repeat("a", 2<<20)} },
		"env without name":   func(o *container.Options) { o.Env = []string{"=x"} },
		"env without value":  func(o *container.Options) { o.Env = []string{"x"} },
		"reserved label":     func(o *container.Options) { o.Labels = map[string]string{"octobot.session": "x"} },
		"relative directory": func(o *container.Options) { o.WorkingDir = "tmp" },
		"bind of root":       func(o *container.Options) { o.Binds = []string{"/:/host"} },
		"bind of a socket":   func(o *container.Options) { o.Binds = []string{"/var/run/docker.sock:/s"} },
		"bind twice":         func(o *container.Options) { o.Binds = []string{"/srv/a:/x", "/srv/b:/x/"} },
		"host network":       func(o *container.Options) { o.NetworkMode = "host" },
		"container network":  func(o *container.Options) { o.NetworkMode = "container:x" },
		"bad port":           func(o *container.Options) { o.PortBindings = map[string]string{"x": "1"} },
		"bad host port":      func(o *container.Options) { o.PortBindings = map[string]string{"80": "65536"} },
		"NaN":                func(o *container.Options) { o.Resources.CPUs = math.NaN() },
		"negative memory":    func(o *container.Options) { o.Resources.Memory = -1 },
		"bad project":        func(o *container.Options) { o.ProjectID = "a/b" },
		"bad user":           func(o *container.Options) { o.User = "a b" },
		"bad platform":       func(o *container.Options) { o.Platform = "linux" },
		"bad tmpfs":          func(o *container.Options) { o.Tmpfs = map[string]string{"/x": "suid"} },
		"bad OCI runtime":    func(o *container.Options) { o.Runtime = "/bin/sh" },
	} {
		opts := f.idle()
		spoil(&opts)
		_, err := f.rt.Create(f.ctx, f.id("s"), opts)
		f.class(err, container.ErrInvalidArgument, name)
	}
	f.equal("containers left", f.count(f.id("s")), 0)
}

func testBadExec(f *fixture) {
	id := f.running()
	for name, call := range map[string]struct {
		cmd  []string
		opts container.ExecOptions
	}{
		"no command":         {},
		"empty command":      {cmd: []string{""}},
		"NUL":                {cmd: []string{"echo", "a\x00b"}},
		"bad env":            {cmd: []string{"true"}, opts: container.ExecOptions{Env: []string{"x"}}},
		"relative directory": {cmd: []string{"true"}, opts: container.ExecOptions{WorkingDir: "tmp"}},
		"bad user":           {cmd: []string{"true"}, opts: container.ExecOptions{User: "a:b:c"}},
		"huge terminal":      {cmd: []string{"true"}, opts: container.ExecOptions{Tty: true, Rows: 1 << 20, Cols: 80}},
		"negative limit":     {cmd: []string{"true"}, opts: container.ExecOptions{MaxOutput: -1}},
	} {
		_, err := f.rt.Exec(f.ctx, id, call.cmd, call.opts)
		f.class(err, container.ErrInvalidArgument, name)
	}
}

func testBadAttach(f *fixture) {
	id := f.running()
	for _, opts := range []container.AttachOptions{
		{Cmd: []string{""}}, {Env: []string{"x"}}, {WorkingDir: "x"}, {User: "\x00"}, {Rows: 1 << 20, Cols: 1},
	} {
		pty, err := f.rt.Attach(f.ctx, id, opts)
		if err == nil {
			_ = pty.Close()
		}
		f.class(err, container.ErrInvalidArgument)
	}
}
