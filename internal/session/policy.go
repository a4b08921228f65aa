package session

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/distribution/reference"

	"github.com/octobot-run/octobot/internal/container"
)

// Policy is what the operator lets projects ask for. It binds every [Principal] but admins. The
// zero value lets nobody reach beyond the service's defaults: of a limit that has a default, a
// session can have less and no more.
type Policy struct {
	Networks []string // network modes beside "" and "none"; "*" is all
	Runtimes []string // OCI runtimes beside the default one; "*" is all
	// Images are patterns, one of which an image's name has to match; see matchImage. The default
	// image needs none. Empty: all images but those of registries at a loopback, link-local or
	// private address, which the daemon would reach in its host's name.
	Images    []string
	HostPorts []PortRange // that a session may have for its own; others are given a free one

	// What a session can have at most. Zero: its default, and where there is none, no maximum.
	// With a maximum, none is more than it.
	MaxCPUs        float64
	MaxMemory      int64
	MaxPIDs        int64
	MaxIdleTimeout time.Duration
	MaxAge         time.Duration

	MaxSpec int // bytes of a spec as JSON; zero: 64 KiB

	Quota Quota // of a project that has none of its own
}

// PortRange is the ports from First to Last, both included.
type PortRange struct{ First, Last int }

// String gives the form that is read, too: "8080" or "8000-8999".
func (r PortRange) String() string {
	if r.First == r.Last {
		return strconv.Itoa(r.First)
	}
	return fmt.Sprintf("%d-%d", r.First, r.Last)
}

// ParsePortRange reads a port or a range of them.
func ParsePortRange(s string) (PortRange, error) {
	first, last, isRange := strings.Cut(s, "-")
	if !isRange {
		last = first
	}
	var r PortRange
	var err error
	if r.First, err = container.ParseHostPort(first); err == nil {
		r.Last, err = container.ParseHostPort(last)
	}
	if err != nil || r.First == 0 || r.Last < r.First {
		return PortRange{}, fmt.Errorf("%.64q is not a port or a range such as 8000-8999", s)
	}
	return r, nil
}

const defaultMaxSpec = 64 << 10

// NoLimit asks for a session without a limit that it would have by default.
const NoLimit = -1 << 63

// deny refuses what the policy does not let projects have.
func deny(setting, format string, args ...any) error {
	return refuse(CodePolicyDenied, "the server's operator can allow it: "+setting, format, args...)
}

// setLimits gives spec its limits: those asked for, or by default, and within the policy.
func (p *Policy) setLimits(who Principal, spec *Spec, cfg *Config) error {
	return cmp.Or(
		limit(&spec.CPUs, cfg.CPUs, p.MaxCPUs, who, "cpus", "policy.max_cpus"),
		limit(&spec.Memory, cfg.Memory, p.MaxMemory, who, "memory", "policy.max_memory"),
		limit(&spec.PIDs, cfg.PIDs, p.MaxPIDs, who, "pids", "policy.max_pids"),
		limit(&spec.IdleTimeout, cfg.IdleTimeout, p.MaxIdleTimeout, who, "idle_timeout", "policy.max_idle_timeout"),
		limit(&spec.MaxAge, cfg.MaxAge, p.MaxAge, who, "max_age", "policy.max_age"),
	)
}

// check refuses what who may not have; asked is the request, spec what came of it.
func (p *Policy) check(who Principal, asked, spec Spec, cfg *Config) error {
	if who.Admin {
		return nil
	}
	if n := asked.NetworkMode; n != "" && n != container.NetworkNone && !allows(p.Networks, n) {
		return deny("policy.networks", "network_mode: %.64q is not one that projects may join here: %s", n,
			orList([]string{container.NetworkNone}, p.Networks))
	}
	if r := asked.Runtime; r != "" && r != cfg.Runtime && !allows(p.Runtimes, r) {
		return deny("policy.runtimes", "runtime: %.64q is not one that projects may choose here: %s", r,
			orList([]string{cfg.Runtime}, p.Runtimes))
	}
	if err := p.checkImage(spec.Image, cfg.DefaultImage); err != nil {
		return err
	}
	if err := p.checkPorts(spec.PortBindings); err != nil {
		return err
	}
	return p.checkSize(asked)
}

// checkSize refuses a spec that is larger than a project's may be.
func (p *Policy) checkSize(asked Spec) error {
	most := p.MaxSpec
	setDefault(&most, defaultMaxSpec)
	if size := sizeOf(asked); size > most {
		return deny("policy.max_spec", "what was asked for is %d bytes as JSON, more than the %d that a "+
			"project's session may have here; most of it is usually env", size, most)
	}
	return nil
}

// limit gives *v, which is 0 where nothing was asked for, its value. A project gets at most most,
// or where that is zero, what is there by default.
func limit[T int64 | float64 | time.Duration](
	v *T, byDefault, most T, who Principal, field, setting string,
) error {
	absent := *v == 0
	switch *v {
	case 0:
		*v = byDefault
	case NoLimit:
		*v = 0
	}
	setDefault(&most, byDefault)
	switch {
	case who.Admin || most == 0 || 0 < *v && *v <= most || *v < 0: // a negative one is nobody's to have
		return nil
	case absent:
		*v = most
		return nil
	case *v == 0:
		return deny(setting, "%s: none was asked for, and a project's session may have %s at most here", field,
			amount(most))
	}
	return deny(setting, "%s: %s is more than the %s that a project's session may have here", field, amount(*v),
		amount(most))
}

// amount shows a limit to people. Whole numbers of mebibytes are taken for bytes.
func amount(v any) string {
	n, ok := v.(int64)
	switch {
	case !ok || n == 0 || n%(1<<20) != 0:
		return fmt.Sprint(v)
	case n%(1<<30) == 0:
		return fmt.Sprintf("%d GiB", n>>30)
	}
	return fmt.Sprintf("%d MiB", n>>20)
}

// allows reports whether a list of names, or "*", has one.
func allows(names []string, name string) bool {
	return slices.Contains(names, name) || slices.Contains(names, "*")
}

// orList gives names for people.
func orList(names ...[]string) string {
	all := slices.DeleteFunc(slices.Concat(names...), func(s string) bool { return s == "" })
	if len(all) == 0 {
		return "the default only"
	}
	return strings.Join(all, ", ")
}

func (p *Policy) checkImage(image, byDefault string) error {
	if image == byDefault {
		return nil
	}
	named, err := reference.ParseNormalizedNamed(image)
	if err != nil {
		return nil // it is refused as malformed
	}
	if len(p.Images) == 0 {
		if registry := reference.Domain(named); hostAddress(registry) {
			return deny("policy.images", "image: the registry %.64q is an address of a host or of a private network",
				registry)
		}
		return nil
	}
	if slices.ContainsFunc(p.Images, func(pattern string) bool { return matchImage(pattern, named) }) {
		return nil
	}
	return deny("policy.images", "image: %.128q is not one that projects may use here: %s", image, orList(p.Images))
}

// matchImage reports whether an image's name matches a pattern, in which "*" stands for any text.
// The name is tried as it is written for short and in full, each with its tag or digest and
// without: "debian", "debian:12", "docker.io/library/debian" and "docker.io/library/debian:12".
func matchImage(pattern string, named reference.Named) bool {
	tagged := reference.TagNameOnly(named)
	for _, name := range []string{
		reference.FamiliarName(named), named.Name(), reference.FamiliarString(tagged), tagged.String(),
	} {
		if matchText(pattern, name) {
			return true
		}
	}
	return false
}

// matchText matches text with a pattern in which "*" stands for any text.
func matchText(pattern, text string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == text
	}
	first, last := parts[0], parts[len(parts)-1]
	if !strings.HasPrefix(text, first) {
		return false
	}
	text = text[len(first):]
	for _, part := range parts[1 : len(parts)-1] {
		_, rest, found := strings.Cut(text, part)
		if !found {
			return false
		}
		text = rest
	}
	return strings.HasSuffix(text, last)
}

// hostAddress reports whether a registry is named by an address that leads to the engine's own host
// or its private networks, or by a name that always does.
func hostAddress(registry string) bool {
	host, _, _ := strings.Cut(registry, ":")
	if v6, ok := strings.CutPrefix(registry, "["); ok {
		host, _, _ = strings.Cut(v6, "]")
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		ip = ip.Unmap()
		return ip.IsLoopback() || ip.IsPrivate() || ip.IsLinkLocalUnicast() || ip.IsUnspecified() || ip.IsMulticast()
	}
	// No top-level domain begins with a digit: such a name is an address in an old form, 127.1 or
	// 0x7f000001, which some resolvers read.
	label := host[strings.LastIndexByte(host, '.')+1:]
	return label != "" && label[0] >= '0' && label[0] <= '9'
}

func (p *Policy) checkPorts(bindings map[string]string) error {
	for inside, hosts := range bindings {
		ports, err := container.ParseHostPorts(hosts)
		if err != nil {
			continue // it is refused as malformed
		}
		i := slices.IndexFunc(ports, func(n int) bool {
			return n != 0 &&
				!slices.ContainsFunc(p.HostPorts, func(r PortRange) bool { return r.First <= n && n <= r.Last })
		})
		if i >= 0 {
			ranges := make([]string, len(p.HostPorts))
			for i, r := range p.HostPorts {
				ranges[i] = r.String()
			}
			return deny("policy.host_ports",
				"port_bindings[%.32q]: host port %d is not one that projects may choose here: %s",
				inside, ports[i], orList(append(ranges, "a free one (0)")))
		}
	}
	return nil
}

func sizeOf(spec Spec) int {
	b, err := json.Marshal(spec)
	if err != nil {
		return 0 // it holds what JSON can't, and is refused for that
	}
	return len(b)
}
