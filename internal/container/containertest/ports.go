package containertest

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/octobot-run/octobot/internal/container"
)

var portCases = []testCase{
	{"random", testPortRandom},
	{"fixed", testPortFixed},
	{"several of one", testPortsOfOne},
	{"taken by a container", testPortTaken},
	{"taken by a program", testPortHeld},
	{"address after a restart", testPortRestart},
	{"random, taken meanwhile", testPortRandomTaken},
	{"in the list", testPortList},
	{"order", testPortOrder},
}

// freePort is a port of this host that nobody has at the moment, and that neither the kernel nor
// an engine gives to somebody else: theirs are above 32767.
func (f *fixture) freePort() string {
	f.Helper()
	for {
		port := strconv.Itoa(20_000 + rand.IntN(10_000))
		l, err := net.Listen("tcp", "127.0.0.1:"+port)
		if err == nil {
			f.must(l.Close())
			return port
		}
		f.must(f.ctx.Err())
	}
}

// hostPort is the host's port of a container's port, 0 for none.
func hostPort(c *container.Container, port string) int {
	i := slices.IndexFunc(c.Ports, func(p container.Port) bool { return p.Container == port })
	if i < 0 {
		return 0
	}
	return c.Ports[i].HostPort
}

// addressed checks that the address is that of the session's port.
func (f *fixture) addressed(c *container.Container) {
	f.Helper()
	u, err := url.Parse(c.Address)
	f.must(err)
	f.equal("scheme", u.Scheme, "http")
	f.equal("port", u.Port(), strconv.Itoa(hostPort(c, container.SessionPort)))
	if u.Port() == "0" {
		f.Fatalf("address is %q", c.Address)
	}
}

func testPortRandom(f *fixture) {
	if !f.caps.Ports {
		return
	}
	id := f.id("s")
	opts := f.idle()
	opts.PortBindings = map[string]string{"3000": "", "3001/tcp": "0", "3002/udp": ""}
	f.create(id, opts)
	c := f.get(id)
	f.equal("address", c.Address, "")
	f.equal("number of ports", len(c.Ports), 0)
	f.must(f.rt.Start(f.ctx, id))
	c = f.get(id)
	f.addressed(c)
	f.equal("number of ports", len(c.Ports), 4)
	for _, port := range []string{"3000/tcp", "3001/tcp", "3002/udp", "8080/tcp"} {
		if hostPort(c, port) == 0 {
			f.Errorf("port %s is not published: %v", port, c.Ports)
		}
	}
	for _, p := range c.Ports {
		f.equal("host address", p.HostIP, "127.0.0.1")
	}
}

func testPortFixed(f *fixture) {
	if !f.caps.Ports {
		return
	}
	id := f.id("s")
	opts := f.idle()
	one, two := f.freePort(), f.freePort()
	opts.PortBindings = map[string]string{"8080": one, "3000/tcp": two}
	c := f.start(id, opts)
	f.addressed(c)
	f.equal("port", strconv.Itoa(hostPort(c, "8080/tcp")), one)
	f.equal("port", strconv.Itoa(hostPort(c, "3000/tcp")), two)
	f.equal("number of ports", len(c.Ports), 2)
}

// testPortsOfOne publishes a port at several of the host's.
func testPortsOfOne(f *fixture) {
	if !f.caps.Ports {
		return
	}
	id := f.id("s")
	opts := f.idle()
	one, two := f.freePort(), f.freePort()
	opts.PortBindings = map[string]string{"8080": two + ",0," + one, "3000/udp": one + "," + two}
	c := f.start(id, opts)
	got := map[string][]string{}
	for _, p := range c.Ports {
		got[p.Container] = append(got[p.Container], strconv.Itoa(p.HostPort))
	}
	for port, n := range map[string]int{"8080/tcp": 3, "3000/udp": 2} {
		if len(got[port]) != n || !slices.Contains(got[port], one) || !slices.Contains(got[port], two) ||
			slices.Contains(got[port], "0") {
			f.Errorf("port %s is published at %v, not at %s and %s", port, got[port], one, two)
		}
	}
	f.addressed(c)
	list, err := f.rt.List(f.ctx)
	f.must(err)
	f.equal("ports in the list", fmt.Sprint(list[0].Ports), fmt.Sprint(c.Ports))
}

// refusedPort starts a session whose port is taken: the class says so, and all that may be
// there afterwards is the created container.
func (f *fixture) refusedPort(id, port string) {
	f.Helper()
	opts := f.idle()
	opts.PortBindings = map[string]string{"3000": port}
	if _, err := f.rt.Create(f.ctx, id, opts); err != nil {
		f.class(err, container.ErrPortTaken)
		f.equal("containers left", f.count(id), 0)
		return
	}
	f.class(f.rt.Start(f.ctx, id), container.ErrPortTaken)
	c := f.get(id)
	if c.Status == container.StatusRunning {
		f.Fatal("it runs without its port")
	}
	f.equal("address", c.Address, "")
}

func testPortTaken(f *fixture) {
	if !f.caps.Ports {
		return
	}
	port := f.freePort()
	opts := f.idle()
	opts.PortBindings = map[string]string{"3000": port}
	first := f.id("first")
	f.start(first, opts)
	second := f.id("second")
	f.refusedPort(second, port)
	f.equal("status", f.get(first).Status, container.StatusRunning)
	f.equal("port", strconv.Itoa(hostPort(f.get(first), "3000/tcp")), port)

	// It is to be had once the first has stopped.
	f.must(f.rt.Stop(f.ctx, first, 0))
	if f.count(second) == 0 {
		f.create(second, opts)
	}
	f.must(f.rt.Start(f.ctx, second))
	f.equal("port", strconv.Itoa(hostPort(f.get(second), "3000/tcp")), port)
}

func testPortHeld(f *fixture) {
	if !f.caps.Ports || !f.caps.HoldsPorts {
		return
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	f.must(err)
	f.refusedPort(f.id("s"), strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
	f.must(l.Close())
	f.must(f.rt.Start(f.ctx, f.id("s")))
}

// testPortRandomTaken: any port will do, so one that somebody has got since the create is no
// obstacle.
func testPortRandomTaken(f *fixture) {
	if !f.caps.Ports || !f.caps.HoldsPorts {
		return
	}
	id := f.id("s")
	opts := f.idle()
	opts.PortBindings = map[string]string{"3000": "", "3001": f.freePort()}
	opts.Env = []string{"KEPT=1"}
	opts.Labels = map[string]string{"color": "blue"}
	opts.ProjectID, opts.Origin = "p1", "here: sqlite"
	created := f.create(id, opts)
	taken := map[int]bool{}
	for _, port := range f.h.Planned(f.T, container.Name(id)) {
		if strconv.Itoa(port) == opts.PortBindings["3001"] {
			continue
		}
		l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port))
		f.must(err)
		defer l.Close()
		taken[port] = true
	}
	f.must(f.rt.Start(f.ctx, id))
	c := f.get(id)
	f.addressed(c)
	for _, p := range c.Ports {
		if taken[p.HostPort] {
			f.Errorf("port %d is somebody else's", p.HostPort)
		}
	}
	f.equal("port", strconv.Itoa(hostPort(c, "3001/tcp")), opts.PortBindings["3001"])
	f.equal("labels", fmt.Sprint(c.Labels), fmt.Sprint(created.Labels))
	f.equal("variable", f.sh(id, "echo $KEPT"), "1")
	f.equal("containers", f.count(id), 1)
}

// testPortRestart: the engine gives new ports, and the address is right each time.
func testPortRestart(f *fixture) {
	if !f.caps.Ports {
		return
	}
	id := f.id("s")
	opts := f.idle()
	if f.caps.RealProcesses && f.caps.HoldsPorts {
		opts = f.script("while :; do echo hello | nc -l -p 8080; done")
	}
	f.create(id, opts)
	for range 3 {
		f.must(f.rt.Start(f.ctx, id))
		c := f.get(id)
		f.addressed(c)
		if f.caps.RealProcesses && f.caps.HoldsPorts {
			f.poll("an answer from "+c.Address, func() bool { return dial(c.Address) == "hello\n" })
		}
		f.must(f.rt.Stop(f.ctx, id, 0))
		f.equal("address", f.get(id).Address, "")
	}
}

// dial reads a line from what listens there.
func dial(address string) string {
	conn, err := net.Dial("tcp", strings.TrimPrefix(address, "http://"))
	if err != nil {
		return ""
	}
	defer conn.Close()
	line, _ := bufio.NewReader(conn).ReadString('\n') // cut short is no answer
	return line
}

func testPortList(f *fixture) {
	if !f.caps.Ports {
		return
	}
	id := f.running()
	c := f.get(id)
	list, err := f.rt.List(f.ctx)
	f.must(err)
	f.equal("address", list[0].Address, c.Address)
	f.equal("ports", fmt.Sprint(list[0].Ports), fmt.Sprint(c.Ports))
}

func testPortOrder(f *fixture) {
	if !f.caps.Ports {
		return
	}
	id := f.id("s")
	opts := f.idle()
	opts.PortBindings = map[string]string{"3000": "", "3001": "", "9000": "", "80": "", "3000/udp": ""}
	f.start(id, opts)
	first := f.get(id).Ports
	for range 3 {
		f.equal("ports", fmt.Sprint(f.get(id).Ports), fmt.Sprint(first))
	}
}
