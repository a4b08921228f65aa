package container

import (
	"maps"
	"slices"
	"strconv"
	"strings"
)

// SessionPort is the container port that every session with a network publishes, and
// that [Container.Address] is about.
const SessionPort = "8080/tcp"

// NetworkNone is the network mode of a container without a network, and so without ports.
const NetworkNone = "none"

// Ports returns what is to be published: container port, as [ParsePort] gives it, to host
// ports, 0 for a random one. [SessionPort] is always among them, unless the network mode is
// [NetworkNone], which has no ports at all.
func (o Options) Ports() (map[string][]int, error) {
	if o.NetworkMode == NetworkNone {
		if len(o.PortBindings) > 0 {
			return nil, invalid("port_bindings", "a container with network mode %q has no ports", NetworkNone)
		}
		return nil, nil
	}
	if len(o.PortBindings) > maxPorts {
		return nil, invalid("port_bindings", "%d ports are more than %d", len(o.PortBindings), maxPorts)
	}
	ports, n := make(map[string][]int, len(o.PortBindings)+1), 0
	taken := make(map[string]string, len(o.PortBindings)) // host port and protocol to container port
	for _, key := range slices.Sorted(maps.Keys(o.PortBindings)) {
		field := "port_bindings[" + quote(key) + "]"
		port, err := parsePort(field, key)
		if err != nil {
			return nil, err
		}
		if _, twice := ports[port]; twice {
			return nil, invalid(field, "%s is bound twice", port)
		}
		hosts, err := parseHostPorts(field, o.PortBindings[key])
		if err != nil {
			return nil, err
		}
		for _, host := range hosts {
			if host == 0 {
				continue
			}
			_, protocol, _ := strings.Cut(port, "/")
			at := strconv.Itoa(host) + "/" + protocol
			if other, ok := taken[at]; ok {
				return nil, invalid(field, "host port %d is bound to %s already", host, other)
			}
			taken[at] = port
		}
		ports[port] = hosts
		if n += len(hosts); n > maxPorts {
			return nil, invalid("port_bindings", "%d host ports are more than %d", n, maxPorts)
		}
	}
	if _, named := ports[SessionPort]; !named {
		ports[SessionPort] = []int{0}
	}
	return ports, nil
}

// ParsePort reads a container's port, "3000" or "3000/tcp" or "3000/udp", and returns it
// with its protocol: "3000/tcp". Everything else is [ErrInvalidArgument].
func ParsePort(s string) (string, error) { return parsePort("port", s) }

func parsePort(field, s string) (string, error) {
	number, protocol, given := strings.Cut(s, "/")
	if !given {
		protocol = "tcp"
	}
	if n, ok := parsePortNumber(number); !ok || n == 0 || protocol != "tcp" && protocol != "udp" {
		return "", invalid(field, "%s is not a container port: 1 to 65535, with or without /tcp or /udp", quote(s))
	}
	return number + "/" + protocol, nil
}

// ParseHostPort reads a port of the engine's host; empty and "0" are 0, a random one.
// Everything else than 1 to 65535 is [ErrInvalidArgument].
func ParseHostPort(s string) (int, error) { return parseHostPort("port", s) }

func parseHostPort(field, s string) (int, error) {
	if s == "" {
		return 0, nil
	}
	n, ok := parsePortNumber(s)
	if !ok {
		return 0, invalid(field, "%s is not a host port: 1 to 65535, or 0 or nothing for a random one", quote(s))
	}
	return n, nil
}

// ParseHostPorts reads the ports of the engine's host that one of a container is published at: one
// as [ParseHostPort] reads it, or several with commas between, of which one may be 0, for a random
// one. They are ordered.
func ParseHostPorts(s string) ([]int, error) { return parseHostPorts("port", s) }

func parseHostPorts(field, s string) ([]int, error) {
	var ports []int
	for word := range strings.SplitSeq(s, ",") {
		if word == "" && s != "" {
			return nil, invalid(field, "%s: a host port is missing beside a comma", quote(s))
		}
		n, err := parseHostPort(field, word)
		if err != nil {
			return nil, err
		}
		if slices.Contains(ports, n) {
			return nil, invalid(field, "%s: host port %d is there twice", quote(s), n)
		}
		ports = append(ports, n)
	}
	slices.Sort(ports)
	return ports, nil
}

// parsePortNumber takes only the one form in which a number is usually written.
func parsePortNumber(s string) (int, bool) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || strconv.FormatUint(n, 10) != s {
		return 0, false
	}
	return int(n), true
}
