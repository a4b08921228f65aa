package mock

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/octobot-run/octobot/internal/container"
)

// Host ports are given out in turn, so that a container has a new one at each start.
const minPort, maxPort = 32768, 60999

// publishPorts gives the container its host ports. The caller holds the engine's mutex.
func (e *Engine) publishPorts(b *box) error {
	wanted, err := b.opts.Ports()
	if err != nil {
		return err
	}
	var ports []container.Port
	for _, port := range slices.Sorted(maps.Keys(wanted)) {
		for _, host := range wanted[port] {
			p := container.Port{Container: port, HostIP: "127.0.0.1", HostPort: host}
			if p.HostPort == 0 {
				p.HostPort = e.freePort(port)
			}
			if e.bound[hostPortOf(p)] {
				e.release(ports)
				return refuse(container.ErrPortTaken, "port %d of %s is in use", p.HostPort, p.HostIP)
			}
			e.bound[hostPortOf(p)] = true
			ports = append(ports, p)
		}
	}
	slices.SortStableFunc(ports, func(a, b container.Port) int {
		return cmp.Or(cmp.Compare(a.Container, b.Container), cmp.Compare(a.HostPort, b.HostPort))
	})
	b.c.Ports = ports
	i := slices.IndexFunc(ports, func(p container.Port) bool { return p.Container == container.SessionPort })
	if i >= 0 {
		b.c.Address = fmt.Sprintf("http://%s:%d", ports[i].HostIP, ports[i].HostPort)
	}
	return nil
}

// unpublishPorts takes the container's host ports back. The caller holds the engine's mutex.
func (e *Engine) unpublishPorts(b *box) {
	e.release(b.c.Ports)
	b.c.Address, b.c.Ports = "", nil
}

func (e *Engine) release(ports []container.Port) {
	for _, p := range ports {
		delete(e.bound, hostPortOf(p))
	}
}

// hostPort is a port of the host: "32769/tcp".
type hostPort string

func hostPortOf(p container.Port) hostPort {
	_, protocol, _ := strings.Cut(p.Container, "/")
	return hostPort(fmt.Sprint(p.HostPort, "/", protocol))
}

func (e *Engine) freePort(port string) int {
	for {
		e.lastPort++
		if e.lastPort > maxPort {
			e.lastPort = minPort
		}
		if !e.bound[hostPortOf(container.Port{Container: port, HostPort: e.lastPort})] {
			return e.lastPort
		}
	}
}
