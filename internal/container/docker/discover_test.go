package docker

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/octobot-run/octobot/internal/container"
)

type discovery struct {
	host    string
	env     map[string]string
	files   map[string]string // below the docker CLI's directory
	sockets map[string]error  // how a dial ends; others do not exist
	want    string
	source  string
	fails   string // part of the error
	looked  int    // how many candidates were told of
}

func dockerHost(host, want string) discovery {
	return discovery{env: map[string]string{"DOCKER_HOST": host}, want: want, source: "DOCKER_HOST", looked: 1}
}

func TestDiscover(t *testing.T) {
	noSocket := fs.ErrNotExist
	tests := map[string]discovery{
		"configuration first": {host: "tcp://a:1", env: map[string]string{"DOCKER_HOST": "tcp://b:1"},
			want: "tcp://a:1", source: "configuration", looked: 1},
		"then DOCKER_HOST": {env: map[string]string{"DOCKER_HOST": "tcp://b:1", "DOCKER_CONTEXT": "x"},
			want: "tcp://b:1", source: "DOCKER_HOST", looked: 1},
		"then DOCKER_CONTEXT": {
			env: map[string]string{"DOCKER_CONTEXT": "x"},
			files: map[string]string{"config.json": `{"currentContext":"y"}`, meta("x"): endpoint("unix:///x.sock"),
				meta("y"): endpoint("unix:///y.sock")},
			want: "unix:///x.sock", source: `docker context "x"`, looked: 2,
		},
		"then the current context": {
			files: map[string]string{"config.json": `{"currentContext":"y"}`, meta("y"): endpoint("unix:///y.sock")},
			want:  "unix:///y.sock", source: `docker context "y"`, looked: 2,
		},
		"then the first socket that answers": {
			sockets: map[string]error{"/var/run/docker.sock": fs.ErrPermission, "/run/user/7/podman/podman.sock": nil,
				"/home/me/.docker/run/docker.sock": nil},
			want: "unix:///run/user/7/podman/podman.sock", source: "well-known socket", looked: 6,
		},
		"XDG_RUNTIME_DIR": {
			env:     map[string]string{"XDG_RUNTIME_DIR": "/xdg"},
			sockets: map[string]error{"/xdg/docker.sock": nil},
			want:    "unix:///xdg/docker.sock", source: "well-known socket", looked: 4,
		},
		"nothing answers": {want: "unix:///var/run/docker.sock", source: "well-known socket", looked: 9},
		"default context": {env: map[string]string{"DOCKER_CONTEXT": "default"},
			sockets: map[string]error{"/var/run/docker.sock": nil}, want: "unix:///var/run/docker.sock",
			source: "well-known socket", looked: 3},
		"context is missing": {env: map[string]string{"DOCKER_CONTEXT": "x"}, fails: "no such context", looked: 2},
		"context is broken": {env: map[string]string{"DOCKER_CONTEXT": "x"},
			files: map[string]string{meta("x"): "{"}, fails: "meta.json", looked: 2},
		"context has no host": {env: map[string]string{"DOCKER_CONTEXT": "x"},
			files: map[string]string{meta("x"): "{}"}, fails: "no docker endpoint", looked: 2},
		"configuration is broken": {files: map[string]string{"config.json": "{"}, fails: "config.json", looked: 2},
		"ssh": {env: map[string]string{"DOCKER_CONTEXT": "x"},
			files: map[string]string{meta("x"): endpoint("ssh://me@there")}, fails: "ssh is not supported", looked: 2},
		"slash at the end":        {host: "tcp://a:1/", want: "tcp://a:1", source: "configuration", looked: 1},
		"slash behind a socket":   dockerHost("unix:///x.sock/", "unix:///x.sock"),
		"no scheme, a host":       dockerHost("a:1", "tcp://a:1"),
		"no port":                 dockerHost("tcp://a", "tcp://a:2375"),
		"no host":                 dockerHost("tcp://", "tcp://localhost:2375"),
		"no path":                 dockerHost("unix://", "unix:///var/run/docker.sock"),
		"spaces":                  dockerHost(" tcp://a:1 ", "tcp://a:1"),
		"IPv6":                    dockerHost("tcp://[::1]:1/", "tcp://[::1]:1"),
		"a path behind":           dockerHost("tcp://a:1/engine/", "tcp://a:1/engine"),
		"http":                    {host: "http://a:1", fails: "use tcp://", looked: 1},
		"https":                   {host: "https://a:1", fails: "DOCKER_TLS_VERIFY", looked: 1},
		"npipe":                   {host: "npipe:////./pipe/docker_engine", fails: "npipe", looked: 1},
		"a user":                  {host: "tcp://me@a:1", fails: "no host:port", looked: 1},
		"a relative socket":       {host: "unix://x.sock", fails: "absolute path", looked: 1},
		"a port that is too high": {host: "tcp://a:x", fails: "no host:port", looked: 1},
		"TLS needs a CA": {env: map[string]string{"DOCKER_HOST": "tcp://b", "DOCKER_TLS_VERIFY": "1"},
			fails: "ca.pem is missing", looked: 1},
		"TLS is not for sockets": {env: map[string]string{"DOCKER_HOST": "unix:///b", "DOCKER_TLS_VERIFY": "1"},
			want: "unix:///b", source: "DOCKER_HOST", looked: 1},
		"no scheme":      {host: "/var/run/docker.sock", fails: "unix:///path", looked: 1},
		"unknown scheme": {host: "ftp://a", fails: "ftp", looked: 1},
		"certificates missing": {env: map[string]string{"DOCKER_HOST": "tcp://b:1",
			"DOCKER_CERT_PATH": "/nonexistent"}, want: "tcp://b:1", source: "DOCKER_HOST", looked: 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for file, content := range tt.files {
				path := filepath.Join(dir, file)
				if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			s := search{
				getenv: func(key string) string {
					if key == "DOCKER_CONFIG" {
						return dir
					}
					return tt.env[key]
				},
				home: "/home/me",
				uid:  7,
				dials: func(socket string) error {
					if err, there := tt.sockets[socket]; there {
						return err
					}
					return noSocket
				},
			}
			got, err := s.discover(tt.host)
			if len(got.Looked) != tt.looked {
				t.Errorf("looked at %+v; want %d places", got.Looked, tt.looked)
			}
			if tt.fails != "" {
				if !errors.Is(err, container.ErrInvalidArgument) || !strings.Contains(err.Error(), tt.fails) {
					t.Errorf("error %v; want an invalid argument that says %q", err, tt.fails)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got.Host != tt.want || got.Source != tt.source {
				t.Errorf("found %s by %s; want %s by %s", got.Host, got.Source, tt.want, tt.source)
			}
		})
	}
}

func TestDiscoverContextTLS(t *testing.T) {
	dir := t.TempDir()
	tlsDir := filepath.Join(dir, "contexts/tls", contextID("x"), "docker")
	if err := errors.Join(
		os.MkdirAll(tlsDir, 0o700),
		os.MkdirAll(filepath.Join(dir, filepath.Dir(meta("x"))), 0o700),
		os.WriteFile(filepath.Join(dir, meta("x")), []byte(endpoint("tcp://a:1")), 0o600),
		os.WriteFile(filepath.Join(tlsDir, "ca.pem"), []byte("not a certificate"), 0o600),
	); err != nil {
		t.Fatal(err)
	}
	s := search{getenv: func(key string) string {
		return map[string]string{"DOCKER_CONFIG": dir, "DOCKER_CONTEXT": "x"}[key]
	}}
	if _, err := s.discover(""); err == nil || !strings.Contains(err.Error(), "ca.pem holds no certificate") {
		t.Errorf("broken CA: %v", err)
	}
	if err := os.Remove(filepath.Join(tlsDir, "ca.pem")); err != nil {
		t.Fatal(err)
	}
	got, err := s.discover("")
	if err != nil || got.tls == nil || got.tls.InsecureSkipVerify {
		t.Errorf("context with TLS: %+v, %v", got, err)
	}
}

// TestEnvironmentTLS: which of the environment's variables lead to TLS, and where its files are.
func TestEnvironmentTLS(t *testing.T) {
	engine := httptest.NewTLSServer(http.NotFoundHandler())
	defer engine.Close()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: engine.Certificate().Raw})
	conf, elsewhere, empty := t.TempDir(), t.TempDir(), t.TempDir()
	for _, dir := range []string{conf, elsewhere} {
		if err := os.WriteFile(filepath.Join(dir, "ca.pem"), ca, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		env                map[string]string
		encrypted, trusted bool
	}{
		"none":             {nil, false, false},
		"path alone":       {map[string]string{"DOCKER_CERT_PATH": elsewhere}, false, false},
		"verify":           {map[string]string{"DOCKER_TLS_VERIFY": "1"}, true, false},
		"verify, empty":    {map[string]string{"DOCKER_TLS_VERIFY": ""}, false, false},
		"verify with path": {map[string]string{"DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": elsewhere}, true, false},
		"TLS alone":        {map[string]string{"DOCKER_TLS": "1", "DOCKER_CERT_PATH": empty}, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := search{getenv: func(key string) string {
				switch key {
				case "DOCKER_CONFIG":
					return conf
				case "DOCKER_HOST":
					return "tcp://127.0.0.1"
				}
				return c.env[key]
			}}
			got, err := s.discover("")
			if err != nil {
				t.Fatal(err)
			}
			port := map[bool]string{true: "2376", false: "2375"}[c.encrypted]
			if (got.tls != nil) != c.encrypted || got.Host != "tcp://127.0.0.1:"+port {
				t.Fatalf("%+v", got)
			}
			if !c.encrypted {
				return
			}
			conn, err := tls.Dial("tcp", engine.Listener.Addr().String(), got.tls)
			if err != nil {
				t.Fatal(err)
			}
			_ = conn.Close()
			if got.tls.InsecureSkipVerify != c.trusted {
				t.Errorf("skip verify: %t", got.tls.InsecureSkipVerify)
			}
		})
	}
}

func contextID(name string) string {
	sum := sha256.Sum256([]byte(name))
	return hex.EncodeToString(sum[:])
}

func meta(name string) string { return "contexts/meta/" + contextID(name) + "/meta.json" }

func endpoint(host string) string {
	return fmt.Sprintf(`{"Name":"x","Endpoints":{"docker":{"Host":%q,"SkipTLSVerify":false}}}`, host)
}
