package docker

import (
	"cmp"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/moby/moby/client"

	"github.com/octobot-run/octobot/internal/container"
)

// Engine is where an engine is, and how that was found.
type Engine struct {
	Host   string // "unix:///var/run/docker.sock", "tcp://10.0.0.5:2376"
	Source string // what named it: "configuration", "DOCKER_HOST", "docker context \"x\"", "well-known socket"
	// Looked are the places that were looked at, in order; the last is the one that was
	// taken, if any was.
	Looked []Candidate

	tls *tls.Config
}

// SharesHost reports whether the engine is reached through a socket of this host.
func (e Engine) SharesHost() bool { return strings.HasPrefix(e.Host, "unix://") }

// Candidate is a place where an engine might have been.
type Candidate struct {
	Source string
	Host   string // empty where the source names none
	// Problem says why it was passed over; empty for the one that was taken.
	Problem string
}

// Discover finds the engine: host if that is not empty, then the environment's DOCKER_HOST, the
// docker CLI's current context, and the first of the well-known sockets that takes a connection.
// Something named explicitly is taken as it is, whether it answers or not; where no socket answers,
// it is the first one, for an engine that is started later. An error, which is
// [container.ErrInvalidArgument], means that what was named can't be used; the Engine holds where
// was looked even then.
func Discover(host string) (Engine, error) {
	return search{
		getenv: os.Getenv,
		home:   homeDir(),
		uid:    os.Getuid(),
		dials: func(socket string) error {
			conn, err := net.DialTimeout("unix", socket, time.Second)
			if err != nil {
				return err
			}
			return conn.Close()
		},
	}.discover(host)
}

func homeDir() string {
	home, err := os.UserHomeDir()
	if err != nil {
		return "/nonexistent" // without a home there is no docker CLI configuration
	}
	return home
}

// search is the surroundings in which an engine is looked for.
type search struct {
	getenv func(string) string
	home   string
	uid    int
	dials  func(socket string) error
}

func (s search) discover(host string) (Engine, error) {
	var e Engine
	if host != "" {
		return e.connectAs("configuration", host, s.environmentTLS)
	}
	if host := strings.TrimSpace(s.getenv(client.EnvOverrideHost)); host != "" {
		return e.connectAs(client.EnvOverrideHost, host, s.environmentTLS)
	}
	e.pass(client.EnvOverrideHost, "", "not set")

	name, err := s.currentContext()
	source := fmt.Sprintf("docker context %q", name)
	switch {
	case err != nil:
		return e.refuse(source, "", err)
	case name == "default":
		e.pass(source, "", "is the well-known sockets")
	default:
		host, conf, err := s.loadContext(name)
		if err != nil {
			return e.refuse(source, host, err)
		}
		return e.connectTo(source, host, conf)
	}

	sockets := s.wellKnown()
	for _, socket := range sockets {
		if err := s.dials(socket); err != nil {
			e.pass("well-known socket", "unix://"+socket, problem(err))
			continue
		}
		return e.connectTo("well-known socket", "unix://"+socket, nil)
	}
	e.Host, e.Source = "unix://"+sockets[0], "well-known socket"
	return e, nil
}

const defaultSocket = "/var/run/docker.sock"

// wellKnown are the sockets of rootful and rootless Docker and Podman, Colima, OrbStack and Docker
// Desktop.
func (s search) wellKnown() []string {
	run := cmp.Or(s.getenv("XDG_RUNTIME_DIR"), fmt.Sprintf("/run/user/%d", s.uid))
	return []string{
		defaultSocket,
		filepath.Join(run, "docker.sock"),
		"/run/podman/podman.sock",
		filepath.Join(run, "podman/podman.sock"),
		filepath.Join(s.home, ".colima/default/docker.sock"),
		filepath.Join(s.home, ".orbstack/run/docker.sock"),
		filepath.Join(s.home, ".docker/run/docker.sock"),
	}
}

func problem(err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "no such socket"
	case errors.Is(err, fs.ErrPermission):
		return "permission denied"
	}
	return "does not take connections: " + err.Error()
}

func (e *Engine) pass(source, host, why string) {
	e.Looked = append(e.Looked, Candidate{Source: source, Host: host, Problem: why})
}

// connectAs is connectTo, with the TLS that the environment says. A socket needs none.
func (e *Engine) connectAs(source, host string, tlsOf func() (*tls.Config, error)) (Engine, error) {
	if strings.HasPrefix(host, "unix://") {
		return e.connectTo(source, host, nil)
	}
	conf, err := tlsOf()
	if err != nil {
		return e.refuse(source, host, err)
	}
	return e.connectTo(source, host, conf)
}

func (e *Engine) connectTo(source, host string, conf *tls.Config) (Engine, error) {
	address, err := parseAddress(host, conf != nil)
	if err != nil {
		return e.refuse(source, host, err)
	}
	e.pass(source, address, "")
	e.Source, e.Host, e.tls = source, address, conf
	return *e, nil
}

func (e *Engine) refuse(source, host string, err error) (Engine, error) {
	e.pass(source, host, err.Error())
	return *e, container.Errorf("open", "", container.ErrInvalidArgument, "engine of %s %s: %v", source, host, err)
}

func (s search) dockerDir() string {
	return cmp.Or(s.getenv("DOCKER_CONFIG"), filepath.Join(s.home, ".docker"))
}

// currentContext is the docker CLI's: DOCKER_CONTEXT, else what its configuration says.
func (s search) currentContext() (string, error) {
	if name := s.getenv("DOCKER_CONTEXT"); name != "" {
		return name, nil
	}
	var conf struct {
		CurrentContext string `json:"currentContext"`
	}
	path := filepath.Join(s.dockerDir(), "config.json")
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "default", nil
	}
	if err == nil {
		err = json.Unmarshal(data, &conf)
	}
	if err != nil {
		return "", fmt.Errorf("read %s: %w", path, err)
	}
	return cmp.Or(conf.CurrentContext, "default"), nil
}

// loadContext reads a context as the docker CLI stores it.
func (s search) loadContext(name string) (host string, _ *tls.Config, _ error) {
	sum := sha256.Sum256([]byte(name))
	id := hex.EncodeToString(sum[:])
	var meta struct {
		Endpoints map[string]struct {
			Host          string
			SkipTLSVerify bool
		}
	}
	data, err := os.ReadFile(filepath.Join(s.dockerDir(), "contexts/meta", id, "meta.json"))
	if err != nil {
		return "", nil, fmt.Errorf("the docker CLI has no such context: %w", err)
	}
	if err := json.Unmarshal(data, &meta); err != nil {
		return "", nil, fmt.Errorf("read its meta.json: %w", err)
	}
	endpoint, ok := meta.Endpoints["docker"]
	if !ok || endpoint.Host == "" {
		return "", nil, errors.New("it names no docker endpoint")
	}
	dir := filepath.Join(s.dockerDir(), "contexts/tls", id, "docker")
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		if !endpoint.SkipTLSVerify {
			return endpoint.Host, nil, nil
		}
		return endpoint.Host, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}, nil
	}
	conf, err := loadTLS(dir, endpoint.SkipTLSVerify)
	return endpoint.Host, conf, err
}

// loadTLS reads ca.pem, cert.pem and key.pem as the docker CLI does: each may be missing, a
// certificate without its key may not. skipVerify is the user's own explicit setting.
func loadTLS(dir string, skipVerify bool) (*tls.Config, error) {
	conf := &tls.Config{InsecureSkipVerify: skipVerify, MinVersion: tls.VersionTLS12}
	ca, err := os.ReadFile(filepath.Join(dir, "ca.pem"))
	switch {
	case err == nil:
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(ca) {
			return nil, fmt.Errorf("%s holds no certificate", filepath.Join(dir, "ca.pem"))
		}
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	_, certErr := os.Stat(cert)
	_, keyErr := os.Stat(key)
	if errors.Is(certErr, fs.ErrNotExist) && errors.Is(keyErr, fs.ErrNotExist) {
		return conf, nil
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return nil, err
	}
	conf.Certificates = []tls.Certificate{pair}
	return conf, nil
}
