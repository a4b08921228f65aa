package container

import (
	"errors"
	"fmt"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

// refused checks that err is an ErrInvalidArgument about field.
func refused(t *testing.T, err error, field string) {
	t.Helper()
	if !errors.Is(err, ErrInvalidArgument) {
		t.Fatalf("error is %v; want ErrInvalidArgument", err)
	}
	e, ok := errors.AsType[*FieldError](err)
	if !ok || e.Field != field {
		t.Fatalf("error %q is about another field than %q", err, field)
	}
	if len(err.Error()) > 600 || !utf8.ValidString(err.Error()) || strings.ContainsAny(err.Error(), "\x00\n") {
		t.Fatalf("error is not fit to be shown: %q", err)
	}
}

func TestValidateSessionID(t *testing.T) {
	for _, id := range []string{"a", "0", "Aa0_.-", "a..b", strings.Repeat("a", 63)} {
		if err := ValidateSessionID(id); err != nil {
			t.Errorf("%q: %v", id, err)
		}
	}
	for _, id := range []string{
		"", ".", "..", "-a", "_a", ".a", "a/b", "../a", "a b", " a", "a\n", "a\x00", "a%2e", "a:b", "ä", "\xff",
		strings.Repeat("a", 64), strings.Repeat("x", 4096),
	} {
		t.Run("", func(t *testing.T) { refused(t, ValidateSessionID(id), "id") })
	}
}

func TestOptionsAccepted(t *testing.T) {
	for name, o := range map[string]Options{
		"least":   {},
		"digest":  {Image: "registry.example:5000/a/b@sha256:" + strings.Repeat("0", 64)},
		"command": {Cmd: []string{"sh", "-c", ""}, Env: []string{"A=", "B==", "dotted.name=x", "C=ü\n"}},
		"binds": {Binds: []string{"/srv/a:/a", "/srv/b/:/b:ro", "data:/c:rw"},
			Tmpfs: map[string]string{"/d": "size=64m,mode=1777,noexec", "/dev/shm": ""}},
		"network":   {NetworkMode: "my-net.1"},
		"none":      {NetworkMode: "none"},
		"labels":    {Labels: map[string]string{"a": "", "octo": "x", "com.example/x": "ü"}},
		"ports":     {PortBindings: map[string]string{"80": "", "80/udp": "5000", "81": "5000", "8080": "0"}},
		"origin":    {ProjectID: "p-1", Origin: "a b"},
		"identity":  {WorkingDir: "/", User: "0:0"},
		"user":      {User: "user.name_1$:staff"},
		"limits":    {Resources: Resources{CPUs: 0.01, Memory: 6 << 20, PIDs: 8}},
		"runtime":   {Runtime: "io.containerd.runsc.v1", Platform: "linux/arm/v7"},
		"pull":      {Credentials: &Credentials{Username: "u", Password: "p"}},
		"many args": {Cmd: slices.Repeat([]string{"x"}, 100_000)},
	} {
		t.Run(name, func(t *testing.T) {
			if o.Image == "" {
				o.Image = "debian:12"
			}
			if err := o.Validate(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestOptionsRefused(t *testing.T) {
	long := strings.Repeat("x", 5000)
	labels := make(map[string]string)
	for i := range maxLabels + 1 {
		labels[fmt.Sprint(i)] = ""
	}
	for _, c := range []struct {
		field string
		opts  Options
	}{
		{"image", Options{}},
		{"image", Options{Image: "Debian"}},
		{"image", Options{Image: "debian:"}},
		{"image", Options{Image: "a b"}},
		{"image", Options{Image: "-v"}},
		{"image", Options{Image: "a\x00"}},
		{"image", Options{Image: long}},
		{"image", Options{Image: strings.Repeat("a", 64)}},
		{"cmd[1]", Options{Cmd: []string{"a", "b\x00"}}},
		{"cmd[0]", Options{Cmd: []string{"\xff"}}},
		{"cmd", Options{Cmd: []string{strings.Repeat("a", maxArguments)}}},
		{"cmd", Options{Cmd: make([]string, maxArguments+1)}},
		{"cmd", Options{Env: []string{"A=" + strings.Repeat("a", maxArguments)}}},
		{"env[0]", Options{Env: []string{""}}},
		{"env[0]", Options{Env: []string{"A"}}},
		{"env[1]", Options{Env: []string{"A=1", "=1"}}},
		{"env[0]", Options{Env: []string{"A=\x00"}}},
		{"env[0]", Options{Env: []string{"\xff=1"}}},
		{"binds", Options{Binds: slices.Repeat([]string{"/a:/b"}, maxMounts+1)}},
		{"binds[1]", Options{Binds: []string{"/srv/a:/x", "/srv/b:/x/."}}},
		{`tmpfs["/x"]`, Options{Binds: []string{"/srv/a:/x"}, Tmpfs: map[string]string{"/x": ""}}},
		{`tmpfs["x"]`, Options{Tmpfs: map[string]string{"x": ""}}},
		{`tmpfs["/"]`, Options{Tmpfs: map[string]string{"/": ""}}},
		{`tmpfs["/proc/x"]`, Options{Tmpfs: map[string]string{"/proc/x": ""}}},
		{`tmpfs["/a/../b"]`, Options{Tmpfs: map[string]string{"/a/../b": ""}}},
		{`tmpfs["/a:exec"]`, Options{Tmpfs: map[string]string{"/a:exec": ""}}},
		{`tmpfs["/a"]`, Options{Tmpfs: map[string]string{"/a": "dev"}}},
		{`tmpfs["/a"]`, Options{Tmpfs: map[string]string{"/a": "size=1m,suid"}}},
		{`tmpfs["/a"]`, Options{Tmpfs: map[string]string{"/a": "size=-1"}}},
		{`tmpfs["/a"]`, Options{Tmpfs: map[string]string{"/a": "bind"}}},
		{"network_mode", Options{NetworkMode: "host"}},
		{"network_mode", Options{NetworkMode: "HOST"}},
		{"network_mode", Options{NetworkMode: "container:x"}},
		{"network_mode", Options{NetworkMode: "ns:/proc/1/ns/net"}},
		{"network_mode", Options{NetworkMode: "slirp4netns:allow_host_loopback=true"}},
		{"network_mode", Options{NetworkMode: "pasta:-T,auto"}},
		{"network_mode", Options{NetworkMode: "a b"}},
		{"labels", Options{Labels: labels}},
		{"labels", Options{Labels: map[string]string{"a": strings.Repeat("a", maxLabelSize)}}},
		{`labels[""]`, Options{Labels: map[string]string{"": "x"}}},
		{`labels["octobot"]`, Options{Labels: map[string]string{"octobot": "x"}}},
		{`labels["octobot.session"]`, Options{Labels: map[string]string{"octobot.session": "x"}}},
		{`labels["octobotic"]`, Options{Labels: map[string]string{"octobotic": "x"}}},
		{`labels["a\nb"]`, Options{Labels: map[string]string{"a\nb": "x"}}},
		{`labels["a"]`, Options{Labels: map[string]string{"a": "\xff"}}},
		{"port_bindings", Options{NetworkMode: "none", PortBindings: map[string]string{"80": ""}}},
		{`port_bindings["x"]`, Options{PortBindings: map[string]string{"x": ""}}},
		{`port_bindings["80"]`, Options{PortBindings: map[string]string{"80": "65536"}}},
		{`port_bindings["80"]`, Options{PortBindings: map[string]string{"80": "1,,2"}}},
		{`port_bindings["80"]`, Options{PortBindings: map[string]string{"80": "1,"}}},
		{`port_bindings["80"]`, Options{PortBindings: map[string]string{"80": "1,2,1"}}},
		{`port_bindings["80"]`, Options{PortBindings: map[string]string{"80": "0,0"}}},
		{`port_bindings["80"]`, Options{PortBindings: map[string]string{"80": "1, 2"}}},
		{`port_bindings["81"]`, Options{PortBindings: map[string]string{"80": "5000,5001", "81": "5002,5001"}}},
		{"port_bindings", Options{PortBindings: map[string]string{"80": manyPorts(1, 100), "81": manyPorts(101, 200)}}},
		{`port_bindings["80/tcp"]`, Options{PortBindings: map[string]string{"80": "", "80/tcp": ""}}},
		{`port_bindings["81"]`, Options{PortBindings: map[string]string{"80": "5000", "81": "5000"}}},
		{"project", Options{ProjectID: "a/b"}},
		{"origin", Options{Origin: "a\nb"}},
		{"origin", Options{Origin: long}},
		{"working_dir", Options{WorkingDir: "tmp"}},
		{"working_dir", Options{WorkingDir: "/" + long}},
		{"working_dir", Options{WorkingDir: "/\x00"}},
		{"user", Options{User: "a b"}},
		{"user", Options{User: ":"}},
		{"user", Options{User: "a:"}},
		{"user", Options{User: "a:b:c"}},
		{"user", Options{User: "-1"}},
		{"user", Options{User: "4294967295"}},
		{"resources.cpus", Options{Resources: Resources{CPUs: math.NaN()}}},
		{"resources.cpus", Options{Resources: Resources{CPUs: math.Inf(1)}}},
		{"resources.cpus", Options{Resources: Resources{CPUs: -1}}},
		{"resources.cpus", Options{Resources: Resources{CPUs: 0.001}}},
		{"resources.memory", Options{Resources: Resources{Memory: -1}}},
		{"resources.memory", Options{Resources: Resources{Memory: 6<<20 - 1}}},
		{"resources.memory", Options{Resources: Resources{Memory: math.MaxInt64}}},
		{"resources.pids", Options{Resources: Resources{PIDs: -1}}},
		{"resources.pids", Options{Resources: Resources{PIDs: 7}}},
		{"resources.pids", Options{Resources: Resources{PIDs: math.MaxInt64}}},
		{"runtime", Options{Runtime: "/bin/sh"}},
		{"runtime", Options{Runtime: "a b"}},
		{"platform", Options{Platform: "linux"}},
		{"platform", Options{Platform: "linux/"}},
		{"platform", Options{Platform: "linux/arm/v7/x"}},
		{"credentials.password", Options{Credentials: &Credentials{Password: "\x00"}}},
	} {
		if c.opts.Image == "" && c.field != "image" {
			c.opts.Image = "debian:12"
		}
		t.Run(c.field, func(t *testing.T) { refused(t, c.opts.Validate(), c.field) })
	}
}

// TestSecretsNotShown: what may be a secret is in no error.
func TestSecretsNotShown(t *testing.T) {
	for _, o := range []Options{
		{Image: "a", Env: []string{"TOKEN=hunter2\x00"}},
		{Image: "a", Credentials: &Credentials{Password: "hunter2\xff"}},
	} {
		err := o.Validate()
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("error is %v", err)
		}
	}
}

func TestExecOptions(t *testing.T) {
	cmd := []string{"true"}
	if err := (ExecOptions{Tty: true, Rows: 24, Cols: 80, WorkingDir: "/", User: "user",
		Env: []string{"A=1"}}).Validate(cmd); err != nil {
		t.Error(err)
	}
	for _, c := range []struct {
		field string
		cmd   []string
		opts  ExecOptions
	}{
		{"cmd", nil, ExecOptions{}},
		{"cmd", []string{""}, ExecOptions{}},
		{"cmd[0]", []string{"\x00"}, ExecOptions{}},
		{"env[0]", cmd, ExecOptions{Env: []string{"A"}}},
		{"working_dir", cmd, ExecOptions{WorkingDir: "."}},
		{"user", cmd, ExecOptions{User: "a b"}},
		{"rows", cmd, ExecOptions{Rows: 24}},
		{"rows", cmd, ExecOptions{Rows: 1, Cols: 65536}},
		{"max_output", cmd, ExecOptions{MaxOutput: -1}},
		{"max_output", cmd, ExecOptions{MaxOutput: math.MaxInt64}},
	} {
		t.Run(c.field, func(t *testing.T) { refused(t, c.opts.Validate(c.cmd), c.field) })
	}
}

func TestAttachOptions(t *testing.T) {
	for _, o := range []AttachOptions{{}, {Cmd: []string{"sh"}, Rows: 24, Cols: 80}} {
		if err := o.Validate(); err != nil {
			t.Error(err)
		}
	}
	refused(t, AttachOptions{Cmd: []string{""}}.Validate(), "cmd")
	refused(t, AttachOptions{Env: []string{"x"}}.Validate(), "env[0]")
	refused(t, AttachOptions{Cols: 80}.Validate(), "rows")
}

func TestValidatePath(t *testing.T) {
	if err := ValidatePath("/a/../b"); err != nil {
		t.Error(err)
	}
	for _, p := range []string{"", "a", "/\x00", "/\xff", "/" + strings.Repeat("a", maxPath)} {
		refused(t, ValidatePath(p), "path")
	}
}

func TestParseBind(t *testing.T) {
	for s, want := range map[string]Bind{
		"/srv/a:/b":             {Source: "/srv/a", Target: "/b"},
		"/srv/a:/b:ro":          {Source: "/srv/a", Target: "/b", ReadOnly: true},
		"/srv/a:/b:rw":          {Source: "/srv/a", Target: "/b"},
		"/srv//a/:/b/./c/":      {Source: "/srv/a", Target: "/b/c"},
		"data:/b:ro":            {Source: "data", Target: "/b", ReadOnly: true, Volume: true},
		"/devices:/b":           {Source: "/devices", Target: "/b"},
		"/var/lib/mine:/b":      {Source: "/var/lib/mine", Target: "/b"},
		"/srv/docker.socket:/b": {Source: "/srv/docker.socket", Target: "/b"},
	} {
		got, err := ParseBind(s)
		if err != nil || got != want {
			t.Errorf("%q is %+v, %v; want %+v", s, got, err, want)
		}
	}
	for _, s := range []string{
		"", ":", "/a", "a", ":/b", "/srv/a:", "/srv/a:b", "/srv/a:/b:", "/srv/a:/b:ro:x", "/srv/a:/b:z",
		"/srv/a:/b:shared", "/srv/a:/b:ro,rw",
		"a/b:/c", "./a:/c", "~/a:/c", "x:/c", "-a:/c", "/srv/../etc:/c", "/srv/a:/../c", "/srv/a:/c/..", "/srv/\x00:/c",
		"/srv/\xff:/c",
		"/:/c", "//:/c", "/.:/c", "/proc:/c", "/proc/1/root:/c", "/sys:/c", "/sys/fs/cgroup:/c", "/dev:/c",
		"/dev/sda:/c", "/run:/c", "/run/x:/c",
		"/var:/c", "/var/:/c", "/var/run:/c", "/var/run/docker.sock:/c", "/var/lib:/c", "/var/lib/docker:/c",
		"/var/lib/docker/volumes:/c",
		"/var/lib/containers/storage:/c", "/var/lib/kubelet:/c", "/srv/docker.sock:/c", "/srv/DOCKER.SOCK:/c",
		"/srv/podman.sock:/c", "/srv/containerd.sock:/c",
		"/srv/a:/", "/srv/a:/proc", "/srv/a:/proc/x", "/srv/a:/sys", "/srv/a:/dev/null", "/" +
			strings.Repeat("a", maxPath) + ":/c",
	} {
		t.Run("", func(t *testing.T) {
			_, err := ParseBind(s)
			refused(t, err, "bind")
		})
	}
}

func TestBindExposes(t *testing.T) {
	b := Bind{Source: "/srv/a", Target: "/x"}
	for p, want := range map[string]bool{"/": true, "/srv": true, "/srv/a": true, "/srv/a/b": true, "/srv/ab": false,
		"/etc": false} {
		if got := b.Exposes(p); got != want {
			t.Errorf("exposes %s: %t; want %t", p, got, want)
		}
	}
	if (Bind{Source: "data", Volume: true}).Exposes("/data") {
		t.Error("a volume exposes nothing of the host")
	}
}

func TestParsePort(t *testing.T) {
	for s, want := range map[string]string{"1": "1/tcp", "8080": "8080/tcp", "8080/tcp": "8080/tcp", "53/udp": "53/udp",
		"65535": "65535/tcp"} {
		if got, err := ParsePort(s); err != nil || got != want {
			t.Errorf("%q is %q, %v; want %q", s, got, err, want)
		}
	}
	for _, s := range []string{
		"", "0", "65536", "-1", "+1", "01", " 80", "80 ", "80/", "80/sctp", "80/TCP", "80/tcp/udp", "/tcp", "http",
		"8e1", "0x50", "80-90", "127.0.0.1:80", "٨", "80\x00",
		strings.Repeat("9", 4096),
	} {
		t.Run("", func(t *testing.T) {
			_, err := ParsePort(s)
			refused(t, err, "port")
		})
	}
}

func TestParseHostPort(t *testing.T) {
	for s, want := range map[string]int{"": 0, "0": 0, "1": 1, "65535": 65535} {
		if got, err := ParseHostPort(s); err != nil || got != want {
			t.Errorf("%q is %d, %v; want %d", s, got, err, want)
		}
	}
	for _, s := range []string{"65536", "-1", "00", "x", "80/tcp", "127.0.0.1:80", " "} {
		_, err := ParseHostPort(s)
		refused(t, err, "port")
	}
}

func manyPorts(first, last int) string {
	var ports []string
	for n := first; n <= last; n++ {
		ports = append(ports, strconv.Itoa(n))
	}
	return strings.Join(ports, ",")
}

func TestPorts(t *testing.T) {
	for _, c := range []struct {
		opts Options
		want map[string][]int
	}{
		{Options{}, map[string][]int{"8080/tcp": {0}}},
		{Options{NetworkMode: "none"}, nil},
		{Options{PortBindings: map[string]string{"8080": "5000"}}, map[string][]int{"8080/tcp": {5000}}},
		{Options{PortBindings: map[string]string{"80": "18002,18001,0", "80/udp": "18001"}},
			map[string][]int{"8080/tcp": {0}, "80/tcp": {0, 18001, 18002}, "80/udp": {18001}}},
		{Options{PortBindings: map[string]string{"3000": "", "53/udp": "53", "53": "53"}},
			map[string][]int{"8080/tcp": {0}, "3000/tcp": {0}, "53/udp": {53}, "53/tcp": {53}}},
	} {
		got, err := c.opts.Ports()
		if err != nil || fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%+v: ports are %v, %v; want %v", c.opts, got, err, c.want)
		}
	}
}

func FuzzSessionID(f *testing.F) {
	for _, s := range []string{"a", "../x", "a\x00", "ä", strings.Repeat("a", 64), "a%2e"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, id string) {
		if ValidateSessionID(id) != nil {
			return
		}
		// What is accepted is one element of a path, of a URL's and of a file's, as it is.
		if len(id) > 63 || path.Clean("/x/"+id) != "/x/"+id || strings.ContainsAny(id, "/\\%?#:& \x00") ||
			!utf8.ValidString(id) {
			t.Errorf("%q was accepted", id)
		}
	})
}

func FuzzParseBind(f *testing.F) {
	for _, s := range []string{"/srv/a:/b", "/srv/a:/b:ro", "data:/b", "/:/b", "/a/../proc:/b", "::",
		"/var/run/docker.sock:/s", "/a:/b:rw:"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		b, err := ParseBind(s)
		if err != nil {
			refused(t, err, "bind")
			return
		}
		if again, err := ParseBind(b.String()); err != nil || again != b {
			t.Errorf("%q is %+v; read again it is %+v, %v", s, b, again, err)
		}
		if path.Clean(b.Target) != b.Target || !path.IsAbs(b.Target) || b.Target == "/" {
			t.Errorf("%q has target %q", s, b.Target)
		}
		if b.Volume == path.IsAbs(b.Source) || b.exposesHost() {
			t.Errorf("%q has source %q", s, b.Source)
		}
	})
}

func FuzzParsePort(f *testing.F) {
	for _, s := range []string{"80", "80/tcp", "53/udp", "0", "65536", "", "/", "1/sctp"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		port, err := ParsePort(s)
		if err != nil {
			refused(t, err, "port")
			return
		}
		if again, err := ParsePort(port); err != nil || again != port {
			t.Errorf("%q is %q; read again it is %q, %v", s, port, again, err)
		}
		number, _, _ := strings.Cut(port, "/")
		if n, err := ParseHostPort(number); err != nil || n < 1 || n > 65535 {
			t.Errorf("%q has number %d, %v", s, n, err)
		}
	})
}
