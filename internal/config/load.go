package config

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// SystemFile is read where neither the user nor the data directory has a configuration file.
const SystemFile = "/etc/octobot/config.yaml"

// maxSocketPath is what the kernel takes for a Unix socket's path, without its final NUL.
const maxSocketPath = 107

// Sources are where a configuration is read from.
type Sources struct {
	// Flags are the values of the flags that were given, by the flag's name; "config"
	// names the file.
	Flags map[string][]string
	// LookupEnv is os.LookupEnv. A variable counts if it is set, even to nothing.
	LookupEnv func(string) (string, bool)
	// SystemFile is read, if it is there, where no other file is; empty for none.
	SystemFile string
}

// Error is a setting that was refused, and where it was.
type Error struct {
	Where   string // "--listen", "OCTOBOT_LISTEN", "/etc/octobot/config.yaml:3: listen"
	Problem string
	Allowed string // empty where Problem says it
}

func (e *Error) Error() string {
	s := e.Where + ": " + e.Problem
	if e.Allowed != "" {
		s += "; allowed: " + e.Allowed
	}
	return s
}

// Load reads and checks the whole configuration. The error joins an [*Error] for each thing that
// is wrong.
func Load(src Sources) (Config, error) {
	c := Default()
	dir, err := DataDir(src)
	if err != nil {
		return Config{}, err
	}
	c.DataDir = dir
	l := loader{config: &c, where: map[string]string{}}
	l.file(src)
	for _, s := range Settings() {
		if values, where, ok := src.lookup(s); ok {
			l.set(s, where, values)
		}
	}
	if len(l.errs) == 0 {
		l.check()
	}
	if err := errors.Join(l.errs...); err != nil {
		return Config{}, err
	}
	c.DataDir = filepath.Clean(c.DataDir)
	return c, nil
}

// DataDir gives the data directory that a flag, the environment or the default
// names. The client's commands look for the socket there.
func DataDir(src Sources) (string, error) {
	c := Config{}
	for _, s := range Settings() {
		if s.Key != "data_dir" {
			continue
		}
		if values, where, ok := src.lookup(s); ok {
			l := loader{config: &c, where: map[string]string{}}
			l.set(s, where, values)
			return c.DataDir, errors.Join(l.errs...)
		}
	}
	if os.Geteuid() == 0 {
		return "/var/lib/octobot", nil
	}
	if dir, _ := src.LookupEnv("XDG_DATA_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "octobot"), nil
	}
	if home, _ := src.LookupEnv("HOME"); filepath.IsAbs(home) {
		return filepath.Join(home, ".local", "share", "octobot"), nil
	}
	return "", &Error{Where: "--data-dir", Problem: "is required where HOME is not set", Allowed: allowedPath}
}

// lookup finds what the command line or the environment says of a setting, and where.
func (src Sources) lookup(s Setting) (values []string, where string, ok bool) {
	if values, ok = src.Flags[s.Flag]; ok {
		return values, "--" + s.Flag, true
	}
	v, ok := src.LookupEnv(s.Env())
	if !ok {
		return nil, "", false
	}
	if !s.List {
		return []string{v}, s.Env(), true
	}
	for part := range strings.SplitSeq(v, ",") {
		if part = strings.TrimSpace(part); part != "" {
			values = append(values, part)
		}
	}
	return values, s.Env(), true
}

// loader fills a configuration, and remembers what is wrong and who said what.
type loader struct {
	config *Config
	where  map[string]string // by key
	errs   []error
}

func (l *loader) refuse(where, allowed, format string, args ...any) {
	l.errs = append(l.errs, &Error{Where: where, Problem: fmt.Sprintf(format, args...), Allowed: allowed})
}

func (l *loader) set(s Setting, where string, values []string) {
	l.where[s.Key] = where
	if s.parse(l.config, values) == nil {
		return
	}
	if s.Secret {
		l.refuse(where, s.Allowed, "the value is not valid")
		return
	}
	quoted := make([]string, len(values))
	for i, v := range values {
		quoted[i] = quote(v)
	}
	l.refuse(where, s.Allowed, "%s is not valid", strings.Join(quoted, ", "))
}

// file reads the configuration file, if there is one.
func (l *loader) file(src Sources) {
	path, named := "", true
	if v := src.Flags["config"]; len(v) > 0 {
		path = v[len(v)-1]
	} else if v, ok := src.LookupEnv("OCTOBOT_CONFIG"); ok && v != "" {
		path = v
	} else {
		named = false
		path = filepath.Join(l.config.DataDir, "config.yaml")
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			path = src.SystemFile
		}
	}
	if path == "" {
		return
	}
	text, err := readFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !named:
	case err != nil:
		l.refuse(path, "a readable YAML file of at most 1 MiB", "can't be read: %v", reason(err))
	default:
		l.yaml(path, text)
	}
}

// check looks at what settings mean together.
func (l *loader) check() {
	c := l.config
	if n := len(c.Socket()); n > maxSocketPath {
		l.refuse(l.named("data_dir"), fmt.Sprintf("a path of at most %d bytes", maxSocketPath-len("/octobot.sock")),
			"the socket's path would have %d bytes, and the kernel takes %d", n, maxSocketPath)
	}
	if (c.TLSCert == "") != (c.TLSKey == "") {
		key, other := "tls_cert", "tls_key"
		if c.TLSCert == "" {
			key, other = other, key
		}
		l.refuse(l.named(key), "both of them, or neither", "is set without %s", other)
	}
	if c.TLSCert == "" && !loopback(c.Listen) {
		l.refuse(l.named("listen"), "a loopback address such as 127.0.0.1:7080, or tls_cert and tls_key with it",
			"%s can be reached from other machines, which needs TLS", quote(c.Listen))
	}
}

// named tells where a setting was made, or its flag where nobody made it.
func (l *loader) named(key string) string {
	if where, ok := l.where[key]; ok {
		return where
	}
	return "--" + strings.ReplaceAll(key, "_", "-")
}

// loopback reports whether only this machine reaches the address. A name other than
// localhost can lead anywhere.
func loopback(listen string) bool {
	if listen == "" {
		return true
	}
	host, _, _ := net.SplitHostPort(listen)
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// quote shows a value that can be of any length and hold any byte.
func quote(s string) string {
	const most = 80
	if len(s) > most {
		return strconv.QuoteToASCII(s[:most]) + "…"
	}
	return strconv.QuoteToASCII(s)
}

// reason leaves out the path, which the message names already.
func reason(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}
