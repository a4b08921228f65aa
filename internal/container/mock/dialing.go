package mock

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"syscall"

	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/container/mock/toybox"
)

// DialPort implements [container.PortDialer].
func (m *MockProvider) DialPort(ctx context.Context, sessionID string, port int) (conn net.Conn, err error) {
	err = m.dial(ctx, "dialport", sessionID, func() error { return container.ValidatePort(port) },
		func(system *toybox.System) error {
			addresses := []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}
			for _, l := range system.Listening() {
				if int(l.Port.Port()) == port {
					addresses = append(addresses, l.Port.Addr())
				}
			}
			for _, at := range addresses {
				c, err := system.Dial("tcp", netip.AddrPortFrom(at, uint16(port)).String(), "")
				if err == nil {
					conn = c
					return nil
				}
			}
			return refuse(container.ErrPortClosed, "nothing listens on port %d", port)
		})
	return conn, err
}

// DialSocket implements [container.PortDialer].
func (m *MockProvider) DialSocket(
	ctx context.Context, sessionID, path string, opts container.SocketOptions,
) (conn net.Conn, err error) {
	err = m.dial(ctx, "dialsocket", sessionID, func() error { return opts.Validate(path) },
		func(system *toybox.System) error {
			c, err := system.Dial("unix", path, cmp.Or(opts.User, "root"))
			switch {
			case errors.Is(err, syscall.ENOENT), errors.Is(err, syscall.EACCES):
				return refuse(container.ErrPathNotFound, "%s: %v", path, err)
			case errors.Is(err, syscall.ECONNREFUSED):
				return refuse(container.ErrPortClosed, "nothing listens on %s", path)
			case err != nil:
				return refuse(container.ErrInvalidArgument, "no user %q", opts.User)
			}
			conn = c
			return nil
		})
	return conn, err
}

// ListenPort implements [container.PortDialer].
func (m *MockProvider) ListenPort(
	ctx context.Context, sessionID, address string, port int,
) (listener net.Listener, err error) {
	err = m.dial(ctx, "listenport", sessionID, func() error { return container.ValidateListen(address, port) },
		func(system *toybox.System) error {
			addr := netip.MustParseAddr(cmp.Or(address, "127.0.0.1"))
			l, err := system.Listen("tcp", netip.AddrPortFrom(addr, uint16(port)).String())
			switch {
			case errors.Is(err, toybox.ErrEnded):
				return refuse(container.ErrContainerStopped, "")
			case err != nil:
				return refuse(container.ErrPortTaken, "%v", err)
			}
			listener = l
			return nil
		})
	return listener, err
}

// ListeningPorts implements [container.PortDialer].
func (m *MockProvider) ListeningPorts(
	ctx context.Context, sessionID string,
) (list []container.ListeningPort, err error) {
	err = m.dial(ctx, "listeningports", sessionID, nil, func(system *toybox.System) error {
		for _, l := range system.Listening() {
			list = append(list, container.ListeningPort{Address: l.Port.Addr().String(), Port: int(l.Port.Port()),
				PID: l.PID, Cmd: l.Args})
		}
		slices.SortFunc(list, func(a, b container.ListeningPort) int {
			return cmp.Or(cmp.Compare(a.Port, b.Port), cmp.Compare(a.Address, b.Address))
		})
		return nil
	})
	return list, err
}

// dial is the frame of a method about the network of a container that runs.
func (m *MockProvider) dial(
	ctx context.Context, op, sessionID string, check func() error, do func(*toybox.System) error,
) error {
	return m.sessionCall(ctx, op, sessionID, check, func(context.Context) error {
		system, err := m.running(sessionID)
		if err != nil {
			return err
		}
		return do(system)
	})
}
