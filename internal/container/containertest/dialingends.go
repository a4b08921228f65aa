package containertest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/octobot-run/octobot/internal/container"
)

// dialSocket connects to a socket as a user, and gives what the peer answers.
func (f *fixture) dialSocket(id, path, user, request string) string {
	f.Helper()
	c := f.connection(f.dialer().DialSocket(f.ctx, id, path, container.SocketOptions{User: user}))
	c.say(request + "\n")
	c.closeWrite()
	return strings.TrimSuffix(c.all(), "\n")
}

// noSocket checks that there is no such socket for a user.
func (f *fixture) noSocket(id, path, user string) {
	f.Helper()
	_, err := f.dialer().DialSocket(f.ctx, id, path, container.SocketOptions{User: user})
	f.class(err, container.ErrPathNotFound, path)
}

var socketCases = []peerCase{
	{"by path", func(f *fixture, id string) {
		f.equal("what came", f.dialSocket(id, peerSocket, "", "echo\nx"), "x")
		f.noSocket(id, "/tmp/no.sock", "")
		_, err := f.dialer().DialSocket(f.ctx, id, peerSocket, container.SocketOptions{User: "nobody-of-that-name"})
		f.class(err, container.ErrInvalidArgument)
	}},
	{"half-close and reset", func(f *fixture, id string) {
		c := f.connection(f.dialer().DialSocket(f.ctx, id, peerSocket, container.SocketOptions{}))
		c.say("first d\n")
		f.equal("what came", c.all(), "hello")
		c.say("after the end")
		f.must(c.Close())
		if got := f.recall(id, "d"); !strings.HasPrefix(got, "13 bytes ") || !strings.HasSuffix(got, " ended") {
			f.Fatalf("the peer saw %s", got)
		}
	}},
	{"as a user", func(f *fixture, id string) {
		f.noSocket(id, peerSocket, "user")
		go func() { // as long as the container runs
			_, _ = f.rt.Exec(f.ctx, id, []string{"/bin/peer", "listen", "unix:" + userSocket},
				container.ExecOptions{User: "user"})
		}()
		f.poll("the user's peer", func() bool {
			c, err := f.dialer().DialSocket(f.ctx, id, userSocket, container.SocketOptions{User: "user"})
			if err != nil {
				return false
			}
			f.must(c.Close())
			return true
		})
		if f.caps.RealProcesses {
			f.equal("the user that the peer sees", f.dialSocket(id, userSocket, "user", "who"), "1000")
			f.equal("the user that the peer sees", f.dialSocket(id, userSocket, "", "who"), "0")
		}
	}},
	{"ways of the file system", func(f *fixture, id string) {
		if !f.caps.RealProcesses {
			return
		}
		f.sh(id, `cd /tmp && ln -s peer.sock link && ln -s loop loop && mkdir -m 700 closed && ln ../tmp/peer.sock closed/s &&
			: >file && ln -s /proc/self/root/tmp/user.sock far && mknod /tmp/pipe p`)
		for _, path := range []string{"/tmp/link", "/tmp/closed/../link", "/tmp//./peer.sock", "/tmp/closed/s",
			"/proc/self/root/tmp/peer.sock", "/../tmp/peer.sock"} {
			f.equal(path, f.dialSocket(id, path, "", "echo\nx"), "x")
		}
		for _, path := range []string{"/tmp/loop", "/tmp/file", "/tmp/pipe", "/tmp", "/", "/tmp/file/s",
			"/tmp/link/s", "/.octobot/run/0/keep.sock", "/" + strings.Repeat("a/", 2000)} {
			f.noSocket(id, path, "")
		}
		// A link of /proc leads where its text says, not to what the agent has there.
		f.equal("through a link", f.dialSocket(id, "/tmp/far", "user", "echo\nx"), "x")
		for _, path := range []string{"/tmp/closed/s", "/proc/1/root/tmp/peer.sock", "/proc/1/cwd/tmp/peer.sock"} {
			f.noSocket(id, path, "user")
		}
	}},
	{"nothing listens any more", func(f *fixture, id string) {
		if !f.caps.RealProcesses {
			return
		}
		program := "/bin/peer listen unix:" + userSocket
		f.sh(id, "kill -9 "+f.pidOf(id, program))
		f.poll("the user's peer to end", func() bool { return f.pidOf(id, program) == "" })
		_, err := f.dialer().DialSocket(f.ctx, id, userSocket, container.SocketOptions{})
		f.class(err, container.ErrPortClosed)
	}},
}

// testDialUser: in a container whose own user is not root, nobody becomes another one.
func testDialUser(f *fixture) {
	id := f.peerOf("user")
	c := f.dial(id, peerPort, "echo")
	c.say("x")
	c.closeWrite()
	f.equal("what came", c.all(), "x")
	f.equal("what came by the socket", f.dialSocket(id, peerSocket, "", "echo\nx"), "x")
	if f.caps.RealProcesses {
		f.equal("the user that the peer sees", f.dialSocket(id, peerSocket, "user", "who"), "1000")
		_, err := f.dialer().DialSocket(f.ctx, id, peerSocket, container.SocketOptions{User: "root"})
		f.class(err, container.ErrUnsupported)
	}
	list, err := f.dialer().ListeningPorts(f.ctx, id)
	f.must(err)
	if len(list) == 0 || list[0].PID == 0 {
		f.Fatalf("what listens is %+v", list)
	}
	ended := f.answer(f.listen(id, "", 4000))
	f.equal("what came back", f.ask(id, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 4000}, "x").Stdout, "x\n")
	f.equal("errors of the listener", len(ended), 0)
}

// ask has a program in the container connect to an address, and gives what it got.
func (f *fixture) ask(id string, to net.Addr, request string) *container.ExecResult {
	f.Helper()
	return f.exec(id, container.ExecOptions{}, "/bin/peer", "dial", "tcp:"+to.String(), request)
}

// answer serves a listener's connections: each gets back what it has sent.
func (f *fixture) answer(l net.Listener) (ended chan error) {
	ended = make(chan error, 1)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				ended <- err
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
			}()
		}
	}()
	return ended
}

func (f *fixture) listen(id, address string, port int) net.Listener {
	f.Helper()
	l, err := f.dialer().ListenPort(f.ctx, id, address, port)
	f.must(err)
	f.Cleanup(func() { _ = l.Close() })
	return l
}

var listeningCases = []peerCase{
	{"accepts", func(f *fixture, id string) {
		for _, at := range []struct {
			address string
			port    int
		}{{"", 4000}, {"::1", 4000}, {"127.0.0.1", 0}} {
			if at.address == "::1" && !f.has6(id) {
				continue
			}
			l := f.listen(id, at.address, at.port)
			addr := l.Addr().(*net.TCPAddr)
			if addr.IP.String() != cmp.Or(at.address, "127.0.0.1") || at.port != 0 && addr.Port != at.port ||
				addr.Port == 0 {
				f.Fatalf("it listens on %s; want %+v", addr, at)
			}
			ended := f.answer(l)
			for i := range 3 {
				res := f.ask(id, addr, fmt.Sprint("request ", i))
				f.equal("exit code", res.ExitCode, 0)
				f.equal("what came", res.Stdout, fmt.Sprintf("request %d\n", i))
			}
			f.must(l.Close())
			f.must(l.Close()) // a repeated call: nil
			if err := <-ended; !errors.Is(err, net.ErrClosed) {
				f.Fatalf("Accept gives %v after Close", err)
			}
			if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
				f.Fatalf("a later Accept gives %v", err)
			}
			f.poll("the port to be free", func() bool { return f.ask(id, addr, "x").ExitCode == 1 })
			l = f.listen(id, at.address, addr.Port) // it is to be had again
			f.must(l.Close())
		}
	}},
	{"taken", func(f *fixture, id string) {
		_, err := f.dialer().ListenPort(f.ctx, id, "127.0.0.1", peerPort)
		f.class(err, container.ErrPortTaken)
		if f.caps.RealProcesses {
			_, err = f.dialer().ListenPort(f.ctx, id, "203.0.113.1", 4001)
			f.class(err, container.ErrPortTaken)
		}
	}},
	{"connections outlive the listener and ctx", func(f *fixture, id string) {
		ctx, cancel := context.WithCancel(f.ctx)
		l, err := f.dialer().ListenPort(ctx, id, "", 4002)
		f.must(err)
		cancel()
		asked := make(chan string, 1)
		go func() {
			res, err := f.rt.Exec(f.ctx, id, []string{"/bin/peer", "dial", "tcp:127.0.0.1:4002", "hello"},
				container.ExecOptions{})
			if err != nil {
				asked <- err.Error()
				return
			}
			asked <- res.Stdout
		}()
		c := f.connection(l.Accept())
		f.must(l.Close())
		f.equal("what came", c.all(), "hello\n")
		c.say("bye")
		f.must(c.Close())
		f.equal("what the program got", <-asked, "bye")
	}},
}

// dialCalls are the calls about a session's ports.
func (f *fixture) dialCalls(id string) map[string]func() error {
	d := f.dialer()
	return map[string]func() error{
		"dial port": func() error { _, err := d.DialPort(f.ctx, id, peerPort); return err },
		"dial socket": func() error {
			_, err := d.DialSocket(f.ctx, id, peerSocket, container.SocketOptions{})
			return err
		},
		"listen": func() error { _, err := d.ListenPort(f.ctx, id, "", 4000); return err },
		"list":   func() error { _, err := d.ListeningPorts(f.ctx, id); return err },
	}
}

func testDialBadArguments(f *fixture) {
	d := f.dialer()
	calls := map[string]func() error{}
	for _, port := range []int{-1, 0, 65536} {
		calls[fmt.Sprint("port ", port)] = func() error { _, err := d.DialPort(f.ctx, f.id("s"), port); return err }
	}
	for _, path := range []string{"", "relative", "/nul\x00", "/" + strings.Repeat("a", container.MaxSocketPath)} {
		calls["path "+path] = func() error {
			_, err := d.DialSocket(f.ctx, f.id("s"), path, container.SocketOptions{})
			return err
		}
	}
	for _, port := range []int{-1, 65536} {
		calls[fmt.Sprint("listen on ", port)] = func() error {
			_, err := d.ListenPort(f.ctx, f.id("s"), "", port)
			return err
		}
	}
	for _, address := range []string{"localhost", "1.2.3", "fe80::1%eth0"} {
		calls["listen on "+address] = func() error {
			_, err := d.ListenPort(f.ctx, f.id("s"), address, 1)
			return err
		}
	}
	f.each(calls, container.ErrInvalidArgument)
	f.each(f.dialCalls("../x"), container.ErrInvalidArgument)
	f.each(f.dialCalls(f.id("missing")), container.ErrContainerNotFound)
}

func testDialNotRunning(f *fixture) {
	id := f.id("s")
	f.create(id, f.idle())
	f.each(f.dialCalls(id), container.ErrContainerStopped)
	f.must(f.rt.Start(f.ctx, id))
	list, err := f.dialer().ListeningPorts(f.ctx, id)
	f.must(err)
	f.equal("what listens", len(list), 0)
	f.must(f.rt.Stop(f.ctx, id, 0))
	f.each(f.dialCalls(id), container.ErrContainerStopped)
}

// testDialPaused: nobody connects to a container that is paused. Who is connected goes on after it.
func testDialPaused(f *fixture) {
	pauser, ok := optional[container.Pauser](f)
	if !ok {
		return
	}
	id := f.peer()
	c := f.dial(id, peerPort, "echo")
	c.say("x")
	_, err := io.ReadFull(c, make([]byte, 1))
	f.must(err)
	f.must(pauser.Pause(f.ctx, id))
	f.each(f.dialCalls(id), container.ErrContainerPaused)
	f.must(pauser.Unpause(f.ctx, id))
	c.say("y")
	c.closeWrite()
	f.equal("what came", c.all(), "y")
}

func testDialContainerStops(f *fixture) {
	id := f.peer()
	c, l := f.dial(id, peerPort, "echo"), f.listen(id, "", 4000)
	accepted := f.answer(l)
	c.say("x")
	_, err := io.ReadFull(c, make([]byte, 1))
	f.must(err)
	f.must(f.rt.Stop(f.ctx, id, 0))
	f.mustBePrompt("the end of a connection", c.cut)
	if err := <-accepted; err == nil {
		f.Fatal("a listener accepts after its container's end")
	}
	f.must(f.rt.Start(f.ctx, id))
	f.poll("the peer to listen again", func() bool {
		c, err := f.dialer().DialPort(f.ctx, id, peerPort)
		if err != nil {
			return false
		}
		f.must(c.Close())
		return true
	})
	f.listen(id, "", 4000)
}

// testDialRuntimeClose: connections end with the Runtime, and nothing is left in the container.
func testDialRuntimeClose(f *fixture) {
	id := f.peer()
	closer, ok := container.As[container.Closer](f.rt)
	if !ok || !f.caps.RealProcesses {
		return
	}
	c, l := f.dial(id, peerPort, "ready e"), f.listen(id, "", 4000)
	accepted := f.answer(l)
	_, err := io.ReadFull(c, make([]byte, 1))
	f.must(err)
	f.must(closer.Close())
	c.cut()
	if err := <-accepted; err == nil {
		f.Fatal("a listener accepts after Close")
	}
	f.each(f.dialCalls(id), container.ErrClosed)
	f.rt = f.open(f.instance)
	if got := f.recall(id, "e"); !strings.HasSuffix(got, " cut") && !strings.HasSuffix(got, " ended") {
		f.Fatalf("the peer saw %s", got)
	}
	f.poll("the port to be free", func() bool {
		l, err := f.dialer().ListenPort(f.ctx, id, "", 4000)
		if err != nil {
			return false
		}
		f.must(l.Close())
		return true
	})
}
