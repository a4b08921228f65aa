package cli

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	v1 "github.com/octobot-run/octobot/api/v1"
)

func (a *app) forwardCommand() *cobra.Command {
	var bind []string
	var toSession, fromSession []string
	var user string
	var quiet bool
	cmd := &cobra.Command{
		Use:   "forward [flags] ID [LOCAL:]REMOTE...",
		Short: "Forward ports of this machine to a session, and back",
		Long: `Forward TCP ports of this machine to ports in a session, until Ctrl-C.

REMOTE is the port in the session. The program there may listen on the session's own 127.0.0.1 only, and no port need be
published. LOCAL is the port on this machine, as for kubectl and docker; the same as REMOTE where it is left out, and a free one
where it is 0 or empty. Only programs on this machine can connect, unless --address says otherwise.

-L and -R take what ssh's do. -L [BIND:]PORT:HOST:HOSTPORT listens here, and HOST is the session itself: localhost; instead of
HOST:HOSTPORT, the path of a Unix socket in the session may be named. -R [BIND:]PORT:HOST:HOSTPORT listens in the session, and
HOST:HOSTPORT, or the path of a Unix socket, is where this machine connects to.

What can't be connected is told, and forwarding goes on, also when the daemon or the session was restarted.`,
		Example: `  octobot forward demo 3000             # 127.0.0.1:3000 here is port 3000 in demo
  octobot forward demo 8000:3000        # 127.0.0.1:8000 here is port 3000 in demo
  octobot forward demo :5432 8080       # a free port here is 5432 in demo, and 8080 is 8080
  octobot forward demo -L 2375:/var/run/docker.sock
  octobot forward demo -R 9000:localhost:9000`,
		ValidArgsFunction: a.completePorts,
	}
	flags := cmd.Flags()
	flags.StringSliceVar(&bind, "address", []string{"localhost"}, "`addresses` of this machine to listen on")
	complete(cmd, "address", "localhost", "0.0.0.0", "::")
	flags.StringArrayVarP(&toSession, "local", "L", nil, "listen here, as ssh's -L: `[BIND:]PORT:HOST:HOSTPORT`")
	flags.StringArrayVarP(&fromSession, "remote", "R", nil,
		"listen in the session, as ssh's -R: `[BIND:]PORT:HOST:HOSTPORT`")
	flags.StringVarP(&user, "user", "u", "", "connect to Unix sockets in the session as this `user`")
	flags.BoolVarP(&quiet, "quiet", "q", false, "don't print what connects")
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) < 1 || len(args) < 2 && len(toSession)+len(fromSession) == 0 {
			return usageError(cmd, "name a session, and the ports to forward")
		}
		return nil
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ways, err := parseWays(bind, args[1:], toSession, fromSession)
		if err != nil {
			return usageError(cmd, "%v", err)
		}
		ctx, id := cmd.Context(), args[0]
		c, err := a.connect()
		if err != nil {
			return err
		}
		s, err := c.GetSession(ctx, id)
		if err != nil {
			return fmt.Errorf("forward %s: %w", id, err)
		}
		if s.Status != v1.StatusRunning {
			return fmt.Errorf("forward %s: the session is %s; octobot start", id, s.Status)
		}
		f := &forwarder{app: a, client: c, id: id, born: s.CreatedAt, user: user, quiet: quiet,
			slots: make(chan struct{}, forwardedConns())}
		if err := f.run(ctx, ways); err != nil {
			return fmt.Errorf("forward %s: %w", id, err)
		}
		return nil
	}
	return cmd
}

// way is something that is forwarded.
type way struct {
	reverse bool // from the session to this machine
	from    []end
	to      end
}

// end is where a way begins or leads: a Unix socket, where it has a path, or else a port.
type end struct {
	host     string // an IP address where it is listened on
	port     uint16
	path     string
	optional bool // a machine may do without that address
}

// String gives what a person knows it by.
func (e end) String() string {
	switch {
	case e.path != "":
		return e.path
	case e.host == "":
		return strconv.Itoa(int(e.port))
	}
	return net.JoinHostPort(e.host, strconv.Itoa(int(e.port)))
}

// parseWays reads the command line.
func parseWays(bind, pairs, toSession, fromSession []string) ([]way, error) {
	var ways []way
	hosts, err := parseBinds(bind)
	if slices.Contains(bind, "") {
		err = errors.New("an address is empty; *: all of this machine's")
	}
	if err != nil {
		return nil, fmt.Errorf("--address: %w", err)
	}
	for _, arg := range pairs {
		local, remote, err := parsePair(arg)
		if err != nil {
			return nil, err
		}
		ways = append(ways, way{from: listenOn(hosts, local), to: end{port: remote}})
	}
	for _, arg := range toSession {
		w, err := parseWay(arg, hosts)
		if err == nil && w.to.path == "" && !isSelf(w.to.host) {
			err = fmt.Errorf("the ports of a session are forwarded, not those of %s: name localhost", w.to.host)
		}
		if err != nil {
			return nil, fmt.Errorf("-L %s: %w", arg, err)
		}
		w.to.host = ""
		ways = append(ways, w)
	}
	for _, arg := range fromSession {
		w, err := parseWay(arg, []end{{host: "127.0.0.1"}})
		if err == nil && (w.from[0].path != "") {
			err = errors.New("what is listened on in the session is a port")
		}
		if err != nil {
			return nil, fmt.Errorf("-R %s: %w", arg, err)
		}
		w.reverse = true
		ways = append(ways, w)
	}
	return ways, nil
}

// isSelf recognises the names of a session for itself.
func isSelf(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && (addr.IsLoopback() || addr.IsUnspecified())
}

func listenOn(hosts []end, port uint16) []end {
	var ends []end
	for _, h := range hosts {
		ends = append(ends, end{host: h.host, port: port, optional: h.optional})
	}
	return ends
}

// parsePair reads [LOCAL:]REMOTE.
func parsePair(arg string) (local, remote uint16, err error) {
	first, second, two := strings.Cut(arg, ":")
	if !two {
		second = first
	}
	r, err := strconv.ParseUint(second, 10, 16)
	l := r
	if two && err == nil {
		l, err = strconv.ParseUint(first, 10, 16)
		if first == "" {
			l, err = 0, nil
		}
	}
	if err != nil || r == 0 {
		return 0, 0, fmt.Errorf("%q: allowed: [LOCAL:]REMOTE, ports between 1 and 65535, LOCAL also 0 or empty for a free one",
			arg)
	}
	return uint16(l), uint16(r), nil
}

// parseBinds reads addresses to listen on.
func parseBinds(addresses []string) ([]end, error) {
	var hosts []end
	for _, s := range addresses {
		switch addr, err := netip.ParseAddr(s); {
		case s == "localhost":
			hosts = append(hosts, end{host: "127.0.0.1"}, end{host: "::1", optional: true})
		case s == "*" || s == "":
			hosts = append(hosts, end{host: "0.0.0.0"}, end{host: "::", optional: true})
		case err != nil:
			return nil, fmt.Errorf("%q: allowed: IP addresses, localhost", s)
		default:
			hosts = append(hosts, end{host: addr.String()})
		}
	}
	if len(hosts) == 0 {
		return nil, errors.New("names no address")
	}
	return hosts, nil
}

// parseWay reads what -L and -R take; hosts are listened on where it names none.
func parseWay(arg string, hosts []end) (way, error) {
	bad := errors.New("allowed: [BIND:]PORT:HOST:HOSTPORT, or the path of a Unix socket in place of either half")
	words, err := splitWay(arg)
	if err != nil {
		return way{}, err
	}
	var w way
	last := len(words) - 1
	switch {
	case last >= 1 && strings.HasPrefix(words[last], "/"):
		w.to = end{path: words[last]}
		words = words[:last]
	case last >= 2:
		port, err := strconv.ParseUint(words[last], 10, 16)
		if err != nil || port == 0 || words[last-1] == "" {
			return way{}, bad
		}
		w.to = end{host: words[last-1], port: uint16(port)}
		words = words[:last-1]
	default:
		return way{}, bad
	}
	if len(words) == 1 && strings.HasPrefix(words[0], "/") {
		w.from = []end{{path: words[0]}}
		return w, nil
	}
	if len(words) == 2 {
		if hosts, err = parseBinds(words[:1]); err != nil {
			return way{}, err
		}
		words = words[1:]
	}
	if len(words) != 1 {
		return way{}, bad
	}
	port, err := strconv.ParseUint(words[0], 10, 16)
	if err != nil {
		return way{}, bad
	}
	w.from = listenOn(hosts, uint16(port))
	return w, nil
}

// splitWay splits at colons, but not within brackets.
func splitWay(arg string) ([]string, error) {
	var words []string
	for rest := arg; ; {
		var word string
		more := false
		if inner, ok := strings.CutPrefix(rest, "["); ok {
			if word, rest, ok = strings.Cut(inner, "]"); !ok {
				return nil, errors.New("a bracket is not closed")
			}
			rest, more = strings.CutPrefix(rest, ":")
			if !more && rest != "" {
				return nil, errors.New("a colon must follow a bracket")
			}
		} else {
			word, rest, more = strings.Cut(rest, ":")
		}
		words = append(words, word)
		if !more {
			return words, nil
		}
	}
}
