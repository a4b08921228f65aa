package container

import (
	"context"
	"net"
	"net/netip"
	"strings"
)

// PortDialer connects to programs that listen in running containers, whatever of the container's
// addresses they listen on, its own 127.0.0.1 and ::1 among them, and listens there for others. No
// port need be published, and the engine may be on another machine.
//
// What it gives are connections of a [net.Conn]'s promises, with working deadlines. Each is a
// [HalfCloser] and a [Resetter] too. Read gives io.EOF when the program has ended its direction in
// good order; an error that is syscall.ECONNRESET, when it has not: the connection was reset, the
// container has stopped, or the way to it was cut. Close ends both directions, and what was written
// before still arrives. A reader that is slow slows its writer and nobody else.
//
// The caller closes what it is given. ctx bounds the making alone.
//
// Not running: [ErrContainerStopped]. Nothing in this container can connect: [ErrUnsupported]. As
// many connections as there may be: [ErrLimitReached].
type PortDialer interface {
	// DialPort connects to a TCP port. Nothing takes the connection: [ErrPortClosed].
	DialPort(ctx context.Context, sessionID string, port int) (net.Conn, error)
	// DialSocket connects to a Unix socket by its path, as the user (see ExecOptions.User): it is
	// what that user may do. No socket there that the user may reach: [ErrPathNotFound]; nothing
	// takes the connection: [ErrPortClosed]; no such user: [ErrInvalidArgument].
	DialSocket(ctx context.Context, sessionID, path string, opts SocketOptions) (net.Conn, error)
	// ListenPort listens on a TCP port of the container, 0 for any that is free, and of one of its
	// addresses, empty for 127.0.0.1. Addr tells which; after an error of Accept's, the listener is
	// of no more use. The port or the address can't be had: [ErrPortTaken].
	ListenPort(ctx context.Context, sessionID, address string, port int) (net.Listener, error)
	// ListeningPorts gives the TCP ports that something listens on, ordered by port and address.
	ListeningPorts(ctx context.Context, sessionID string) ([]ListeningPort, error)
}

// HalfCloser is a connection whose directions end apart from one another.
type HalfCloser interface {
	// CloseWrite says that no more is written; reading goes on. A repeated call: nil.
	CloseWrite() error
}

// Resetter is a connection that can be ended without good order.
type Resetter interface {
	// Reset ends both directions at once, and the other side learns that something is missing.
	Reset()
}

// SocketOptions say how a Unix socket is connected to.
type SocketOptions struct {
	User string // as in ExecOptions; empty for the container's own
}

// MaxSocketPath bounds the path of a Unix socket.
const MaxSocketPath = 4096

// Validate checks the options; an error is an [ErrInvalidArgument].
func (o SocketOptions) Validate(path string) error {
	if len(path) > MaxSocketPath {
		return invalid("path", "has %d bytes, more than %d", len(path), MaxSocketPath)
	}
	if !strings.HasPrefix(path, "/") || strings.ContainsRune(path, 0) {
		return invalid("path", "%q is no absolute path", path)
	}
	return validateUser(o.User)
}

// ValidatePort checks the number of a TCP port; an error is an [ErrInvalidArgument].
func ValidatePort(port int) error {
	if port < 1 || port > 65535 {
		return invalid("port", "must be between 1 and 65535, not %d", port)
	}
	return nil
}

// ValidateListen checks what is to be listened on; an error is an [ErrInvalidArgument].
func ValidateListen(address string, port int) error {
	if port < 0 || port > 65535 {
		return invalid("port", "must be between 0 and 65535, not %d", port)
	}
	if addr, err := netip.ParseAddr(address); address != "" && (err != nil || addr.Zone() != "") {
		return invalid("address", "%q is no IP address", address)
	}
	return nil
}

// ListeningPort is an address in a container on which something listens.
type ListeningPort struct {
	Address string // "127.0.0.1", "::"
	Port    int
	PID     int      // of a process that listens, in the container; 0: not known
	Cmd     []string // its command, cut where it is long; empty: not known
}
