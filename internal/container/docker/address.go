package docker

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/moby/moby/client"
)

// parseAddress reads an engine's address as the docker CLI does: without a scheme it is TCP, what
// is missing of a TCP address is localhost's usual port, and a socket that is not named the usual
// one. Slashes at the end mean nothing.
func parseAddress(s string, encrypted bool) (string, error) {
	s = strings.TrimSpace(s)
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok && !strings.Contains(s, "/") {
		scheme, rest, ok = "tcp", s, true
	}
	switch {
	case !ok || s == "":
		return "", errors.New("an engine's address is unix:///path/to.sock or tcp://host:port")
	case scheme == "unix":
		path := cmp.Or(strings.TrimRight(rest, "/"), defaultSocket)
		if !filepath.IsAbs(path) || strings.ContainsAny(path, "?#") {
			return "", errors.New("a socket's address is unix:// and an absolute path, unix:///path/to.sock")
		}
		return "unix://" + path, nil
	case scheme == "ssh":
		return "", errors.New("ssh is not supported; forward the engine's socket instead, " +
			"ssh -NL /tmp/engine.sock:/var/run/docker.sock HOST, and use unix:///tmp/engine.sock")
	case scheme == "http" || scheme == "https":
		return "", fmt.Errorf("an engine's address has no %s://; use tcp://, and DOCKER_TLS_VERIFY for TLS", scheme)
	case scheme != "tcp":
		return "", fmt.Errorf("scheme %q is not supported; use unix:// or tcp://", scheme)
	}
	u, err := url.Parse("tcp://" + rest)
	if err != nil || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return "", errors.New("what follows tcp:// is no host:port")
	}
	port := "2375"
	if encrypted {
		port = "2376"
	}
	return "tcp://" + net.JoinHostPort(cmp.Or(u.Hostname(), "localhost"), cmp.Or(u.Port(), port)) +
		strings.TrimRight(u.Path, "/"), nil
}

// environmentTLS is what the environment says of TLS, as the docker CLI reads it: DOCKER_TLS_VERIFY
// or, without a look at whose certificate it is, DOCKER_TLS; the files are in DOCKER_CERT_PATH, or
// else beside the CLI's configuration. Nil: none.
func (s search) environmentTLS() (*tls.Config, error) {
	verify := s.getenv(client.EnvTLSVerify) != ""
	if !verify && s.getenv("DOCKER_TLS") == "" {
		return nil, nil
	}
	dir := cmp.Or(s.getenv(client.EnvOverrideCertPath), s.dockerDir())
	conf, err := loadTLS(dir, !verify)
	if err == nil && verify && conf.RootCAs == nil {
		err = fmt.Errorf("%s is set, and %s is missing", client.EnvTLSVerify, filepath.Join(dir, "ca.pem"))
	}
	return conf, err
}
