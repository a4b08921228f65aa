package containertest

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/container/containertest/peer"
)

// dialingCases share containers: what is asked is asked often, and costs nothing but them.
var dialingCases = onDialer([]testCase{
	{"connections", within(connectionCases)},
	{"sockets", within(socketCases)},
	{"listening", within(listeningCases)},
	{"of a container that is not root's", testDialUser},
	{"bad arguments", testDialBadArguments},
	{"not running", testDialNotRunning},
	{"paused", testDialPaused},
	{"container stops", testDialContainerStops},
	{"runtime closes", testDialRuntimeClose},
})

// onDialer leaves the cases out where nothing connects.
func onDialer(cases []testCase) []testCase {
	for i := range cases {
		run := cases[i].run
		cases[i].run = func(f *fixture) {
			if _, ok := optional[container.PortDialer](f); ok {
				run(f)
			}
		}
	}
	return cases
}

// peerCase is a case within a container in which a peer listens.
type peerCase struct {
	name string
	run  func(f *fixture, id string)
}

// Where the peer listens.
const (
	peerPort    = 3000 // of 127.0.0.1
	peerPort6   = 3001 // of ::1
	peerPortAny = 3002 // of 0.0.0.0
	peerPortFar = 3003 // of 127.0.0.9
	peerSocket  = "/tmp/peer.sock"
	userSocket  = "/tmp/user.sock"
)

var peerCommand = []string{"/bin/peer", "listen",
	fmt.Sprintf("tcp:127.0.0.1:%d", peerPort), fmt.Sprintf("tcp:[::1]:%d", peerPort6),
	fmt.Sprintf("tcp:0.0.0.0:%d", peerPortAny), fmt.Sprintf("tcp:127.0.0.9:%d", peerPortFar),
	"unix:" + peerSocket}

// within runs cases in one container, one after the other.
func within(cases []peerCase) func(*fixture) {
	return func(f *fixture) {
		id := f.peer()
		for _, c := range cases {
			f.Run(c.name, func(t *testing.T) {
				sub := *f
				sub.T = t
				c.run(&sub, id)
			})
		}
	}
}

// peer makes a container in which a peer listens.
func (f *fixture) peer() string {
	f.Helper()
	return f.peerOf("")
}

// peerOf makes one whose container is a user's.
func (f *fixture) peerOf(user string) string {
	f.Helper()
	id := f.id("peer")
	f.create(id, container.Options{Image: f.h.Image, Cmd: peerCommand, User: user})
	if f.h.Peer != nil {
		files, ok := container.As[container.Copier](f.rt)
		if !ok {
			f.Fatal("there is no way to bring the peer into the container")
		}
		f.must(files.CopyTo(f.ctx, id, "/bin", f.tarOfPeer()))
	}
	f.must(f.rt.Start(f.ctx, id))
	f.poll("the peer to listen", func() bool {
		conn, err := f.dialer().DialSocket(f.ctx, id, peerSocket, container.SocketOptions{})
		if container.ClassOf(err) == container.ErrPathNotFound {
			return false
		}
		f.must(err)
		f.must(conn.Close())
		return true
	})
	return id
}

func (f *fixture) tarOfPeer() io.Reader {
	f.Helper()
	program := f.h.Peer(f.T)
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	f.must(w.WriteHeader(&tar.Header{Name: "peer", Mode: 0o755, Size: int64(len(program))}))
	_, err := w.Write(program)
	f.must(err)
	f.must(w.Close())
	return &b
}

func (f *fixture) dialer() container.PortDialer {
	f.Helper()
	d, ok := container.As[container.PortDialer](f.rt)
	if !ok {
		f.Fatalf("%T is no PortDialer", f.rt)
	}
	return d
}

// conn is a connection that a test fails with.
type conn struct {
	f *fixture
	net.Conn
}

// connection makes a connection one of the test's, which must not outlast what a test may take.
func (f *fixture) connection(c net.Conn, err error) *conn {
	f.Helper()
	f.must(err)
	f.Cleanup(func() { _ = c.Close() })
	deadline, _ := f.ctx.Deadline()
	f.must(c.SetDeadline(deadline))
	if _, ok := c.(container.HalfCloser); !ok {
		f.Fatalf("a connection %T is no HalfCloser", c)
	}
	if _, ok := c.(container.Resetter); !ok {
		f.Fatalf("a connection %T is no Resetter", c)
	}
	return &conn{f, c}
}

// dial connects to the peer, which is asked to do something.
func (f *fixture) dial(id string, port int, request string) *conn {
	f.Helper()
	c := f.connection(f.dialer().DialPort(f.ctx, id, port))
	c.say(request + "\n")
	return c
}

func (c *conn) say(s string) {
	c.f.Helper()
	_, err := io.WriteString(c, s)
	c.f.must(err)
}

func (c *conn) closeWrite() {
	c.f.Helper()
	c.f.must(c.Conn.(container.HalfCloser).CloseWrite())
}

func (c *conn) reset() { c.Conn.(container.Resetter).Reset() }

// all reads to the end, which must be one in good order.
func (c *conn) all() string {
	c.f.Helper()
	b, err := io.ReadAll(c)
	c.f.must(err)
	return string(b)
}

// cut checks that reading gives a reset, after whatever bytes.
func (c *conn) cut() {
	c.f.Helper()
	if n, err := io.Copy(io.Discard, c); !errors.Is(err, syscall.ECONNRESET) {
		c.f.Fatalf("after %d bytes reading gives %v; want ECONNRESET", n, err)
	}
}

// recall gives what the peer has received under a name.
func (f *fixture) recall(id, name string) string {
	f.Helper()
	return f.dial(id, peerPort, "recall "+name).all()
}

// has6 reports whether the container has ::1, which not all engines give one.
func (f *fixture) has6(id string) bool {
	f.Helper()
	list, err := f.dialer().ListeningPorts(f.ctx, id)
	f.must(err)
	return slices.ContainsFunc(list, func(p container.ListeningPort) bool { return p.Address == "::1" })
}

var connectionCases = []peerCase{
	{"addresses", func(f *fixture, id string) {
		for port, want := range map[int]string{
			peerPort: "127.0.0.1:3000", peerPort6: "[::1]:3001", peerPortAny: "127.0.0.1:3002",
			peerPortFar: "127.0.0.9:3003",
		} {
			if port == peerPort6 && !f.has6(id) {
				continue
			}
			c := f.dial(id, port, "where")
			if got := c.all(); f.caps.RealProcesses && got != want {
				f.Errorf("port %d is that of %s; want %s", port, got, want)
			}
			f.must(c.Close())
		}
	}},
	{"nothing listens", func(f *fixture, id string) {
		f.mustBePrompt("refusal", func() {
			_, err := f.dialer().DialPort(f.ctx, id, 3999)
			f.class(err, container.ErrPortClosed)
		})
	}},
	{"client ends first", func(f *fixture, id string) {
		sent := peer.Noise(100_000)
		c := f.dial(id, peerPort, "sum")
		c.say(string(sent))
		c.closeWrite()
		c.closeWrite() // a repeated call: nil
		f.equal("what came", c.all(), peer.SumOf(sent))
	}},
	{"server ends first", func(f *fixture, id string) {
		c := f.dial(id, peerPort, "first a")
		f.equal("what came", c.all(), "hello")
		c.say("after the end")
		c.closeWrite()
		f.equal("what came after the end", f.recall(id, "a"), peer.SumOf([]byte("after the end")))
	}},
	{"close delivers", func(f *fixture, id string) {
		sent := peer.Noise(1 << 20)
		c := f.dial(id, peerPort, "remember b")
		c.say(string(sent))
		f.must(c.Close())
		f.must(c.Close()) // a repeated call: nil
		f.equal("what came", f.recall(id, "b"), peer.SumOf(sent))
		_, err := c.Write([]byte("x"))
		if !errors.Is(err, net.ErrClosed) {
			f.Fatalf("writing after Close gives %v", err)
		}
	}},
	{"server resets", func(f *fixture, id string) { f.dial(id, peerPort, "reset").cut() }},
	{"client resets", func(f *fixture, id string) {
		c := f.dial(id, peerPort, "ready c")
		_, err := io.ReadFull(c, make([]byte, 1))
		f.must(err)
		c.reset()
		if got := f.recall(id, "c"); !strings.HasSuffix(got, " cut") {
			f.Fatalf("the peer saw %s", got)
		}
	}},
	{"much both ways", func(f *fixture, id string) {
		sent := peer.Noise(8 << 20)
		c := f.dial(id, peerPort, "echo")
		var sending sync.WaitGroup
		sending.Go(func() {
			_, err := c.Write(sent)
			if err == nil {
				err = c.Conn.(container.HalfCloser).CloseWrite()
			}
			if err != nil {
				f.Errorf("send: %v", err)
			}
		})
		got := peer.Sum(c)
		sending.Wait()
		f.equal("what came", got, peer.SumOf(sent))
	}},
	{"slow reader", func(f *fixture, id string) {
		slow := f.dial(id, peerPort, fmt.Sprintf("send %d", 4<<20))
		_, err := io.ReadFull(slow, make([]byte, 1))
		f.must(err)
		for range 20 {
			f.mustBePrompt("another connection", func() {
				c := f.dial(id, peerPort, "echo")
				c.say("x")
				c.closeWrite()
				f.equal("what came", c.all(), "x")
				f.must(c.Close())
			})
		}
		n, err := io.Copy(io.Discard, slow)
		f.must(err)
		f.equal("bytes of the slow one", n, int64(4<<20-1))
	}},
	{"many", func(f *fixture, id string) {
		var conns []*conn
		for range 200 {
			conns = append(conns, f.dial(id, peerPort, "echo"))
		}
		for i, c := range conns {
			c.say(fmt.Sprint(i))
			c.closeWrite()
		}
		for i, c := range conns {
			f.equal("what came", c.all(), fmt.Sprint(i))
			f.must(c.Close())
		}
	}},
	{"close unblocks", func(f *fixture, id string) {
		c := f.dial(id, peerPort, "echo")
		ended := make(chan error, 1)
		go func() {
			_, err := c.Read(make([]byte, 1))
			ended <- err
		}()
		f.must(c.Close())
		if err := <-ended; err == nil {
			f.Fatal("a read goes on")
		}
	}},
	{"deadlines", func(f *fixture, id string) {
		c := f.dial(id, peerPort, "echo")
		for range 2 {
			f.must(c.SetReadDeadline(time.Now().Add(10 * time.Millisecond)))
			if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
				f.Fatalf("a read past its deadline gives %v", err)
			}
		}
		f.must(c.SetReadDeadline(time.Time{}))
		c.say("x")
		c.closeWrite()
		f.equal("what came after a deadline", c.all(), "x")

		c = f.dial(id, peerPort, "recall nothing") // and so it reads nothing
		f.must(c.SetWriteDeadline(time.Now().Add(100 * time.Millisecond)))
		if _, err := c.Write(make([]byte, 32<<20)); !errors.Is(err, os.ErrDeadlineExceeded) {
			f.Fatalf("a write past its deadline gives %v", err)
		}
		c.reset()
	}},
	{"ctx bounds the dialling alone", func(f *fixture, id string) {
		ctx, cancel := context.WithCancel(f.ctx)
		c := f.connection(f.dialer().DialPort(ctx, id, peerPort))
		cancel()
		c.say("echo\nx")
		c.closeWrite()
		f.equal("what came", c.all(), "x")
		_, err := f.dialer().DialPort(ctx, id, peerPort)
		f.class(err, context.Canceled)
	}},
	{"listed", func(f *fixture, id string) {
		list, err := f.dialer().ListeningPorts(f.ctx, id)
		f.must(err)
		var shown []string
		for _, p := range list {
			shown = append(shown, fmt.Sprintf("%s %d", p.Address, p.Port))
			f.equal("PID of what listens", fmt.Sprint(p.PID), f.pidOf(id, strings.Join(peerCommand, " ")))
			f.equal("its command", strings.Join(p.Cmd, " "), strings.Join(peerCommand, " "))
		}
		want := "127.0.0.1 3000, ::1 3001, 0.0.0.0 3002, 127.0.0.9 3003"
		if !f.has6(id) {
			want = strings.Replace(want, "::1 3001, ", "", 1)
		}
		f.equal("what listens", strings.Join(shown, ", "), want)
	}},
}
