package container

import (
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
)

// Bind is one mount of a host directory, a host file or a volume.
type Bind struct {
	Source   string // an absolute, clean path on the engine's host; with Volume, a volume's name
	Target   string // an absolute, clean path in the container
	ReadOnly bool
	Volume   bool
}

// String gives the form that [ParseBind] reads.
func (b Bind) String() string {
	s := b.Source + ":" + b.Target
	if b.ReadOnly {
		s += ":ro"
	}
	return s
}

// Exposes reports whether the mount shows the absolute host path p to the container: p
// itself, something below it, or a directory above it. Symbolic links are not followed.
func (b Bind) Exposes(p string) bool {
	return !b.Volume && (isBelow(b.Source, p) || isBelow(p, b.Source))
}

// hostPaths give a container power over the host.
var hostPaths = []string{
	"/proc", "/sys", "/dev", "/run", "/var/run",
	"/var/lib/docker", "/var/lib/containerd", "/var/lib/containers", "/var/lib/kubelet",
}

// engineSockets are refused wherever they are.
var engineSockets = []string{"docker.sock", "podman.sock", "containerd.sock", "crio.sock", "buildkitd.sock"}

// kernelPaths are the engine's to mount in a container.
var kernelPaths = []string{"/proc", "/sys", "/dev"}

// ReservedDir is Octobot's own directory in a container.
const ReservedDir = "/.octobot"

var volumeForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{1,127}$`)

// ParseBind reads "source:target[:ro|rw]", see [Options.Binds]. What it refuses is
// [ErrInvalidArgument]: paths that would expose the host among them.
func ParseBind(s string) (Bind, error) { return parseBind("bind", s) }

func parseBind(field, s string) (Bind, error) {
	if err := validateText(field, s); err != nil {
		return Bind{}, err
	}
	parts := strings.Split(s, ":")
	if len(parts) < 2 || len(parts) > 3 || len(parts) == 3 && parts[2] != "ro" && parts[2] != "rw" {
		return Bind{}, invalid(field, "%s is not source:target, source:target:ro or source:target:rw", quote(s))
	}
	b := Bind{ReadOnly: len(parts) == 3 && parts[2] == "ro"}
	var err error
	if path.IsAbs(parts[0]) {
		b.Source, err = cleanPath(field, parts[0])
	} else {
		b.Source, b.Volume = parts[0], true
		if !volumeForm.MatchString(b.Source) {
			err = invalid(field, "%s is neither an absolute path nor the name of a volume", quote(b.Source))
		}
	}
	if err != nil {
		return Bind{}, err
	}
	if b.Target, err = parseTarget(field, parts[1]); err != nil {
		return Bind{}, err
	}
	if b.exposesHost() {
		return Bind{}, invalid(field, "%s would give the container power over the host", quote(b.Source))
	}
	return b, nil
}

func (b Bind) exposesHost() bool {
	return slices.ContainsFunc(hostPaths, b.Exposes) ||
		!b.Volume && slices.Contains(engineSockets, strings.ToLower(path.Base(b.Source)))
}

// cleanPath refuses ".." instead of resolving it: on the engine's host, links
// can make it lead elsewhere than the text says.
func cleanPath(field, p string) (string, error) {
	if len(p) > maxPath || !path.IsAbs(p) || slices.Contains(strings.Split(p, "/"), "..") {
		return "", invalid(field, "%s is not an absolute path without \"..\", of at most %d bytes", quote(p), maxPath)
	}
	return path.Clean(p), nil
}

func parseTarget(field, p string) (string, error) {
	target, err := cleanPath(field, p)
	if err != nil {
		return "", err
	}
	if target == "/dev/shm" {
		return target, nil
	}
	if target == "/" || slices.ContainsFunc(kernelPaths, func(k string) bool { return isBelow(target, k) }) {
		return "", invalid(field, "nothing can be mounted on the container's %s", quote(target))
	}
	if isBelow(target, ReservedDir) {
		return "", invalid(field, "%s is Octobot's own in a container", quote(target))
	}
	return target, nil
}

// isBelow reports whether the clean path p is dir or below it.
func isBelow(p, dir string) bool {
	return p == dir || dir == "/" || strings.HasPrefix(p, dir+"/")
}

// validateMounts checks binds and tmpfs together, since they share the container's paths.
func (o Options) validateMounts() error {
	if n := len(o.Binds) + len(o.Tmpfs); n > maxMounts {
		return invalid("binds", "%d mounts are more than %d", n, maxMounts)
	}
	mounted := make(map[string]string, len(o.Binds)+len(o.Tmpfs)) // target to field
	mount := func(field, target string) error {
		if other, ok := mounted[target]; ok {
			return invalid(field, "%s is mounted by %s already", quote(target), other)
		}
		mounted[target] = field
		return nil
	}
	for i, s := range o.Binds {
		field := fmt.Sprintf("binds[%d]", i)
		b, err := parseBind(field, s)
		if err != nil {
			return err
		}
		if err := mount(field, b.Target); err != nil {
			return err
		}
	}
	for _, p := range slices.Sorted(maps.Keys(o.Tmpfs)) {
		field := "tmpfs[" + quote(p) + "]"
		// A colon separates path and options in what the engines' own tools read.
		if strings.Contains(p, ":") {
			return invalid(field, "the path holds a colon")
		}
		if err := validateText(field, p); err != nil {
			return err
		}
		target, err := parseTarget(field, p)
		if err != nil {
			return err
		}
		if err := mount(field, target); err != nil {
			return err
		}
		if err := validateTmpfsOptions(field, o.Tmpfs[p]); err != nil {
			return err
		}
	}
	return nil
}

// tmpfsOption is what a tmpfs may be told; dev, suid and what binds or remounts is not.
var tmpfsOption = regexp.MustCompile(`^(ro|rw|exec|noexec|nosuid|nodev|noatime|size=[0-9]{1,18}[kKmMgG%]?|mode=[0-7]{3,4}|(uid|gid)=[0-9]{1,10}|nr_inodes=[0-9]{1,18}[kKmMgG]?)$`)

func validateTmpfsOptions(field, options string) error {
	if options == "" {
		return nil
	}
	for option := range strings.SplitSeq(options, ",") {
		if !tmpfsOption.MatchString(option) {
			return invalid(field, "%s is not one of size=, mode=, uid=, gid=, nr_inodes=, ro, rw, exec, noexec, nosuid, nodev, noatime", quote(option))
		}
	}
	return nil
}
