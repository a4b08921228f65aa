package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// sources gives what a test sets, in an environment of its own.
func sources(t *testing.T, yaml string, env map[string]string, flags map[string][]string) (Sources, string) {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "config.yaml")
	if yaml != "" {
		if err := os.WriteFile(file, []byte(yaml), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return Sources{
		Flags: flags,
		LookupEnv: func(name string) (string, bool) {
			if name == "OCTOBOT_DATA_DIR" {
				return dir, true
			}
			v, ok := env[name]
			return v, ok
		},
	}, file
}

func TestLoadPrecedence(t *testing.T) {
	const file = "log:\n  level: warn\n"
	env := map[string]string{"OCTOBOT_LOG_LEVEL": "error"}
	flags := map[string][]string{"log-level": {"debug"}}
	for _, tt := range []struct {
		name  string
		yaml  string
		env   map[string]string
		flags map[string][]string
		want  string
	}{
		{"default", "", nil, nil, "info"},
		{"file", file, nil, nil, "warn"},
		{"environment over file", file, env, nil, "error"},
		{"flag over all", file, env, flags, "debug"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			src, _ := sources(t, tt.yaml, tt.env, tt.flags)
			c, err := Load(src)
			if err != nil {
				t.Fatal(err)
			}
			if c.LogLevel != tt.want {
				t.Errorf("LogLevel = %q, want %q", c.LogLevel, tt.want)
			}
		})
	}
}

func TestLoadFile(t *testing.T) {
	src, _ := sources(t, `
# an installation on one server
bind_roots: [/srv/work, /srv/data]
defaults:
  cpus: 1.5
  memory: 512m
  idle_timeout: 1d12h
listen: ""
`, nil, nil)
	c, err := Load(src)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(c.BindRoots, " "); got != "/srv/work /srv/data" {
		t.Errorf("BindRoots = %s", got)
	}
	if c.Defaults.CPUs != 1.5 || c.Defaults.Memory != 512<<20 || c.Defaults.IdleTimeout != 36*time.Hour {
		t.Errorf("Defaults = %+v", c.Defaults)
	}
	if c.Listen != "" {
		t.Errorf("Listen = %q, want none", c.Listen)
	}
	if c.LogLevel != "info" {
		t.Errorf("LogLevel = %q, want the default", c.LogLevel)
	}
}

func TestLoadChoosesFile(t *testing.T) {
	src, own := sources(t, "log: {level: warn}", nil, nil)
	src.SystemFile = filepath.Join(t.TempDir(), "system.yaml")
	if err := os.WriteFile(src.SystemFile, []byte("log: {level: error}"), 0o600); err != nil {
		t.Fatal(err)
	}
	level := func(want string) {
		t.Helper()
		c, err := Load(src)
		if err != nil {
			t.Fatal(err)
		}
		if c.LogLevel != want {
			t.Errorf("LogLevel = %q, want %q", c.LogLevel, want)
		}
	}
	level("warn")
	src.Flags = map[string][]string{"config": {src.SystemFile}}
	level("error")
	src.Flags = nil
	if err := os.Remove(own); err != nil {
		t.Fatal(err)
	}
	level("error")
	src.SystemFile = "/nonexistent/config.yaml"
	level("info")
}

func TestLoadRefuses(t *testing.T) {
	for _, tt := range []struct {
		name  string
		yaml  string
		env   map[string]string
		flags map[string][]string
		want  []string // lines; FILE stands for the file
	}{
		{"flag", "", nil, map[string][]string{"runtime": {"podman"}}, []string{
			`--runtime: "podman" is not valid; allowed: docker, mock`}},
		{"variable", "", map[string]string{"OCTOBOT_DEFAULT_MEMORY": "lots"}, nil, []string{
			`OCTOBOT_DEFAULT_MEMORY: "lots" is not valid; allowed: 0, or a size of at least 6m such as 512m or 2g`}},
		{"line of the file", "runtime: mock\nlog:\n  level: loud\n", nil, nil, []string{
			`FILE:3: log.level: "loud" is not valid; allowed: debug, info, warn, error`}},
		{"unknown key", "log:\n  levle: info\nlisen: x\n", nil, nil, []string{
			`FILE:2: log.levle: is not a setting; allowed: format, level`,
			`FILE:3: lisen: is not a setting; allowed: agent, allowed_hosts, audit_log, bind_roots, data_dir, database_url, defaults, docker, limits, listen, log, policy, reconcile, runtime, tls_cert, tls_key`}},
		{"several at once", "", map[string]string{"OCTOBOT_DEFAULT_CPUS": "NaN", "OCTOBOT_DEFAULT_PIDS": "-1"}, nil,
			[]string{
				`OCTOBOT_DEFAULT_CPUS: "NaN" is not valid; allowed: 0, or a number from 0.01 to 4096 such as 1.5`,
				`OCTOBOT_DEFAULT_PIDS: "-1" is not valid; allowed: a whole number from 8 to 4194304`}},
		{"engine", "docker:\n  host: https://a:1\n", nil, map[string][]string{"docker-host": {"ssh://a"}}, []string{
			`FILE:2: docker.host: "https://a:1" is not valid; allowed: empty, unix:///path or tcp://host:port; of an engine behind ssh, the socket that ssh -NL forwards`,
			`--docker-host: "ssh://a" is not valid; allowed: empty, unix:///path or tcp://host:port; of an engine behind ssh, the socket that ssh -NL forwards`}},
		{"twice", "runtime: mock\nruntime: mock\n", nil, nil, []string{`FILE:2: runtime: is set twice`}},
		{"no value", "runtime:\n", nil, nil, []string{`FILE:1: runtime: has no value; allowed: docker, mock`}},
		{"list for one", "runtime: [mock]\n", nil, nil,
			[]string{`FILE:1: runtime: is not a single value; allowed: docker, mock`}},
		{"alias", "tls_cert: &a /x\ntls_key: *a\n", nil, nil, []string{
			`FILE:2: tls_key: is not a single value; allowed: empty, or an absolute path`}},
		{"not YAML", "a: b: c", nil, nil,
			[]string{`FILE: is not YAML: mapping values are not allowed in this context`}},
		{"two documents", "runtime: mock\n---\nruntime: docker\n", nil, nil, []string{
			`FILE: holds more than one document; allowed: one document`}},
		{"not a mapping", "- runtime\n", nil, nil, []string{
			`FILE:1: is not a mapping of settings to values; allowed: agent, allowed_hosts, audit_log, bind_roots, data_dir, database_url, defaults, docker, limits, listen, log, policy, reconcile, runtime, tls_cert, tls_key`}},
		{"missing file", "", nil, map[string][]string{"config": {"/nonexistent.yaml"}}, []string{
			`/nonexistent.yaml: can't be read: no such file or directory; allowed: a readable YAML file of at most 1 MiB`}},
		{"no TLS", "", map[string]string{"OCTOBOT_LISTEN": "0.0.0.0:7080"}, nil, []string{
			`OCTOBOT_LISTEN: "0.0.0.0:7080" can be reached from other machines, which needs TLS; allowed: a loopback address such as 127.0.0.1:7080, or tls_cert and tls_key with it`}},
		{"half of TLS", "tls_cert: /cert.pem\n", nil, nil, []string{
			`FILE:1: tls_cert: is set without tls_key; allowed: both of them, or neither`}},
		{"secret", "", map[string]string{"OCTOBOT_DATABASE_URL": "mysql://root:hunter2@db"}, nil, []string{
			`OCTOBOT_DATABASE_URL: the value is not valid; allowed: empty, or postgres://user:password@host/database`}},
		{"path of the socket", "", nil, map[string][]string{"data-dir": {"/" + strings.Repeat("d", 100)}}, []string{
			`--data-dir: the socket's path would have 114 bytes, and the kernel takes 107; allowed: a path of at most 94 bytes`}},
		{"relative", "", nil, map[string][]string{"data-dir": {"data"}}, []string{
			`--data-dir: "data" is not valid; allowed: an absolute path`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			src, file := sources(t, tt.yaml, tt.env, tt.flags)
			_, err := Load(src)
			if err == nil {
				t.Fatal("accepted")
			}
			got := strings.ReplaceAll(err.Error(), file, "FILE")
			if want := strings.Join(tt.want, "\n"); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
}

func TestLoadListen(t *testing.T) {
	for listen, ok := range map[string]bool{
		"": true, "127.0.0.1:0": true, "[::1]:7080": true, "localhost:7080": true, "127.8.8.8:7080": true,
		":7080": false, "0.0.0.0:7080": false, "[::]:7080": false, "192.168.0.2:7080": false,
		"localhost.example.com:7080": false, "127.0.0.1": false, "127.0.0.1:99999": false,
		"[::ffff:10.0.0.1]:80": false,
	} {
		src, _ := sources(t, "", nil, map[string][]string{"listen": {listen}})
		if _, err := Load(src); (err == nil) != ok {
			t.Errorf("listen %q: %v", listen, err)
		}
	}
	tls := map[string][]string{"listen": {":7080"}, "tls-cert": {"/c.pem"}, "tls-key": {"/k.pem"}}
	src, _ := sources(t, "", nil, tls)
	if _, err := Load(src); err != nil {
		t.Errorf("with TLS: %v", err)
	}
}

func TestDataDirDefault(t *testing.T) {
	src := Sources{LookupEnv: func(name string) (string, bool) {
		v, ok := map[string]string{"XDG_DATA_HOME": "/xdg", "HOME": "/home/user"}[name]
		return v, ok
	}}
	want := "/xdg/octobot"
	if os.Geteuid() == 0 {
		want = "/var/lib/octobot"
	}
	if got, err := DataDir(src); err != nil || got != want {
		t.Errorf("DataDir = %q, %v, want %q", got, err, want)
	}
}

func FuzzConfig(f *testing.F) {
	for _, seed := range []string{
		"", "runtime: mock\n", "log:\n  level: debug\n", "bind_roots: [/a, /b]\n", "a: &a [*a]\n", "? {a: b}\n: c\n",
		"listen: \"0.0.0.0:1\"\ntls_cert: /c\ntls_key: /k\n", "defaults: {memory: 1e3g}\n", "<<: {runtime: mock}\n",
		"\x00", "--- !!binary aGk=\n",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c := Default()
		c.DataDir = "/data"
		l := loader{config: &c, where: map[string]string{}}
		l.yaml("config.yaml", []byte(text))
		l.check()
		for _, err := range l.errs {
			if strings.ContainsAny(err.Error(), "\x00\x1b") {
				t.Errorf("the error holds control characters: %q", err)
			}
		}
		if len(l.errs) > 0 {
			return
		}
		// What was accepted is accepted again in the form in which it is shown.
		for _, s := range Settings() {
			if s.List || s.Secret {
				continue
			}
			again := c
			if err := s.parse(&again, []string{s.format(&c)}); err != nil {
				t.Errorf("%s: %q is not accepted again", s.Key, s.format(&c))
			}
		}
		if c.TLSCert == "" && !loopback(c.Listen) {
			t.Errorf("%q is served without TLS", c.Listen)
		}
	})
}

func TestLoadSecretForAll(t *testing.T) {
	src, inDataDir := sources(t, "database_url: postgres://u:s3cret@h/d\n", nil, nil)
	if err := os.Chmod(inDataDir, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(src); err != nil {
		t.Errorf("in the data directory, which the daemon closes: %v", err)
	}
	other := filepath.Join(t.TempDir(), "octobot.yaml")
	src.Flags = map[string][]string{"config": {other}}
	for mode, refused := range map[os.FileMode]bool{0o600: false, 0o640: false, 0o644: true} {
		for text, secret := range map[string]bool{"database_url: postgres://u:s3cret@h/d\n": true,
			"runtime: mock\n": false} {
			if err := os.WriteFile(other, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(other, mode); err != nil {
				t.Fatal(err)
			}
			_, err := Load(src)
			if (err != nil) != (refused && secret) {
				t.Errorf("mode %04o, secret %v: error is %v", mode, secret, err)
			}
			if err != nil && (!strings.Contains(err.Error(), "chmod 600 "+other) ||
				strings.Contains(err.Error(), "s3cret")) {
				t.Errorf("error is %v", err)
			}
		}
	}
}
