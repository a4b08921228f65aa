// Command cmd is package peer on the network of the kernel.
package main

import (
	"net"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/octobot-run/octobot/internal/container/containertest/peer"
)

func main() {
	p := &peer.Peer{Listen: listen, Dial: dial, Reset: reset, User: user}
	os.Exit(p.Main(os.Args[1:], os.Stdout, nil))
}

// listen listens on that address alone, unlike the "tcp" of package net.
func listen(network, address string) (net.Listener, error) {
	switch network {
	case "unix":
		_ = os.Remove(address) // of one that was killed
	case "tcp":
		network = "tcp4"
		if strings.HasPrefix(address, "[") {
			network = "tcp6"
		}
	}
	return net.Listen(network, address)
}

func dial(network, address string) (peer.Conn, error) {
	c, err := net.Dial(network, address)
	if err != nil {
		return nil, err
	}
	return c.(peer.Conn), nil
}

func reset(c peer.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}

func user(c peer.Conn) int {
	uid := -1
	if raw, err := c.(*net.UnixConn).SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) {
			if cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
				uid = int(cred.Uid)
			}
		})
	}
	return uid
}
