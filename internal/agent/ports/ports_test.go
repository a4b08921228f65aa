package ports

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/octobot-run/octobot/internal/agent"
	"github.com/octobot-run/octobot/internal/agentproto"
	"github.com/octobot-run/octobot/internal/relay"
	"github.com/octobot-run/octobot/internal/relay/relaytest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// connect gives the daemon's session with an agent that serves ports, and an end for the agent.
func connect(t *testing.T) (session *agentproto.Session, end context.CancelFunc) {
	t.Helper()
	server := agent.NewServer(agentproto.Info{})
	Register(server)
	a, b := net.Pipe()
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- server.Serve(ctx, b) }()
	session, _, err := agentproto.Connect(a)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = session.Close()
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return session, cancel
}

// ask sends a request that gives a connection, and takes the answer.
func ask(t *testing.T, session *agentproto.Session, m agentproto.Message) (*agentproto.Raw, string, error) {
	t.Helper()
	s, err := session.Open(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	var connected agentproto.Connected
	if err := s.Receive(&connected); err != nil {
		s.Reset()
		return nil, "", err
	}
	return s.Raw(), connected.Address, nil
}

func TestConnections(t *testing.T) {
	session, _ := connect(t)
	relaytest.Run(t, func(t *testing.T, port int) relay.Conn {
		conn, _, err := ask(t, session, &agentproto.DialPort{Port: port})
		if err != nil {
			t.Fatal(err)
		}
		return conn
	})
}

func listen(t *testing.T, address string) *net.TCPListener {
	t.Helper()
	network := "tcp4"
	if strings.HasPrefix(address, "[") {
		network = "tcp6"
	}
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l.(*net.TCPListener)
}

func portOf(l net.Listener) int { return l.Addr().(*net.TCPAddr).Port }

func TestBoundTo(t *testing.T) {
	session, _ := connect(t)
	for address, want := range map[string]string{"127.0.0.1:0": "127.0.0.1", "[::1]:0": "::1",
		"127.0.0.9:0": "127.0.0.9", "0.0.0.0:0": "127.0.0.1"} {
		t.Run(address, func(t *testing.T) {
			l := listen(t, address)
			conn, at, err := ask(t, session, &agentproto.DialPort{Port: portOf(l)})
			if err != nil || at != net.JoinHostPort(want, strconv.Itoa(portOf(l))) {
				t.Fatalf("connected to %q, %v; want %q", at, err, want)
			}
			accepted, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			_ = accepted.Close()
			_ = conn.Close()
		})
	}
}

func wantClass(t *testing.T, err error, class agentproto.Class) {
	t.Helper()
	if said, ok := errors.AsType[*agentproto.Error](err); !ok || said.Class != class || said.Detail == "" {
		t.Fatalf("error %#v; want class %d", err, class)
	}
}

func TestRefusals(t *testing.T) {
	session, _ := connect(t)
	l := listen(t, "127.0.0.1:0")
	_ = l.Close()
	taken := listen(t, "127.0.0.1:0")
	for _, tt := range []struct {
		request agentproto.Message
		want    agentproto.Class
	}{
		{&agentproto.DialPort{Port: portOf(l)}, agentproto.Refused},
		{&agentproto.DialPort{}, agentproto.InvalidArgument},
		{&agentproto.DialPort{Port: 1 << 16}, agentproto.InvalidArgument},
		{&agentproto.DialSocket{Path: "relative"}, agentproto.InvalidArgument},
		{&agentproto.DialSocket{Path: "/" + strings.Repeat("a", 1<<13)}, agentproto.InvalidArgument},
		{&agentproto.DialSocket{Path: "/no/such"}, agentproto.NotFound},
		{&agentproto.DialSocket{Path: "/no/such", User: "nobody-of-that-name"}, agentproto.InvalidArgument},
		{&agentproto.ListenPort{Port: portOf(taken)}, agentproto.Occupied},
		{&agentproto.ListenPort{Address: "here"}, agentproto.InvalidArgument},
		{&agentproto.ListenPort{Port: -1}, agentproto.InvalidArgument},
		{&agentproto.AcceptPort{ID: "none"}, agentproto.NotFound},
	} {
		_, _, err := ask(t, session, tt.request)
		wantClass(t, err, tt.want)
	}
	p := newPorts(0)
	_, err := p.enter()
	wantClass(t, err, agentproto.LimitReached)
}

// TestEndOfAgent: connections and listeners end with it.
func TestEndOfAgent(t *testing.T) {
	session, end := connect(t)
	l := listen(t, "127.0.0.1:0")
	conn, _, err := ask(t, session, &agentproto.DialPort{Port: portOf(l)})
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer accepted.Close()
	theirs, port := listenThrough(t, session)
	end()
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the daemon's end gives %v", err)
	}
	if _, err := accepted.Read(make([]byte, 1)); err == nil || err == io.EOF {
		t.Errorf("the program's end gives %v", err)
	}
	if _, err := theirs.Next(); err == nil {
		t.Error("a listener goes on")
	}
	eventually(t, "the port is free", func() bool {
		l, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err == nil {
			_ = l.Close()
		}
		return err == nil
	})
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

// listenThrough has the agent listen.
func listenThrough(t *testing.T, session *agentproto.Session) (s *agentproto.Stream, port int) {
	t.Helper()
	s, err := session.Open(t.Context(), &agentproto.ListenPort{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Reset)
	var l agentproto.Listening
	if err := s.Receive(&l); err != nil || l.Port == 0 || l.ID == "" {
		t.Fatal(l, err)
	}
	listenID = l.ID
	return s, l.Port
}

var listenID string // of the listener made last

func TestListen(t *testing.T) {
	session, _ := connect(t)
	s, port := listenThrough(t, session)
	id := listenID
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	for range 3 {
		near, err := net.Dial("tcp4", address)
		if err != nil {
			t.Fatal(err)
		}
		conn, from, err := ask(t, session, &agentproto.AcceptPort{ID: id})
		if err != nil || from != near.LocalAddr().String() {
			t.Fatalf("accepted from %s, %v; want %s", from, err, near.LocalAddr())
		}
		_, _ = conn.Write([]byte("hello"))
		_ = conn.CloseWrite()
		if b, err := io.ReadAll(near); err != nil || string(b) != "hello" {
			t.Errorf("%q, %v", b, err)
		}
		_ = near.Close()
		_ = conn.Close()
	}
	waiting, err := session.Open(t.Context(), &agentproto.AcceptPort{ID: id})
	if err != nil {
		t.Fatal(err)
	}
	s.Reset()
	wantClass(t, waiting.Receive(&agentproto.Connected{}), agentproto.NotFound)
	waiting.Reset()
}

func TestListeners(t *testing.T) {
	session, _ := connect(t)
	for range maxListeners {
		listenThrough(t, session)
	}
	_, _, err := ask(t, session, &agentproto.ListenPort{})
	wantClass(t, err, agentproto.LimitReached)
}

func list(t *testing.T, session *agentproto.Session) []agentproto.Port {
	t.Helper()
	s, err := session.Open(t.Context(), &agentproto.ListPorts{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var answer agentproto.Ports
	if err := s.Receive(&answer); err != nil {
		t.Fatal(err)
	}
	return answer.List
}

func portNamed(ports []agentproto.Port, number int) *agentproto.Port {
	i := slices.IndexFunc(ports, func(p agentproto.Port) bool { return p.Port == number })
	if i < 0 {
		return nil
	}
	return &ports[i]
}

func TestList(t *testing.T) {
	session, _ := connect(t)
	four, six := listen(t, "127.0.0.1:0"), listen(t, "[::1]:0")
	ports := list(t, session)
	for l, address := range map[*net.TCPListener]string{four: "127.0.0.1", six: "::1"} {
		p := portNamed(ports, portOf(l))
		if p == nil || p.Address != address || p.PID != os.Getpid() || len(p.Args) == 0 || p.Args[0] != os.Args[0] {
			t.Errorf("port %d is %+v; want address %s of process %d", portOf(l), p, address, os.Getpid())
		}
	}
	_ = four.Close()
	if p := portNamed(list(t, session), portOf(four)); p != nil {
		t.Errorf("a closed port is listed: %+v", p)
	}
}

// TestOwnerOfAnotherUser: what a process of another user holds is seen without CAP_SYS_PTRACE, and
// the threads that serve afterwards are root's as before.
func TestOwnerOfAnotherUser(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("takes root")
	}
	l := listen(t, "127.0.0.1:0")
	f, err := l.File()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sleep", "60")
	cmd.ExtraFiles = []*os.File{f}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 12345, Gid: 12346}}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	_ = f.Close()
	number := portOf(l)
	_ = l.Close()
	p := newPorts(1)
	var found owner
	eventually(t, "its owner is found", func() bool {
		sockets, err := p.listening()
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(sockets, func(s socket) bool { return int(s.addr.Port()) == number })
		if i < 0 {
			t.Fatal("it is not listed")
		}
		found = p.owners(sockets[i : i+1])[sockets[i].inode]
		return found.pid == cmd.Process.Pid && strings.Join(found.args, " ") == "sleep 60"
	})
}

// serveUnix listens on a socket, and tells who connects.
func serveUnix(t *testing.T, path string) {
	t.Helper()
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, peerOf(t, c.(*net.UnixConn)))
			_ = c.Close()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
}

func peerOf(t *testing.T, c *net.UnixConn) string {
	raw, err := c.SyscallConn()
	if err != nil {
		t.Error(err)
		return ""
	}
	var who string
	_ = raw.Control(func(fd uintptr) {
		cred, err := syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
		if err != nil {
			t.Error(err)
			return
		}
		who = strconv.Itoa(int(cred.Uid)) + ":" + strconv.Itoa(int(cred.Gid))
	})
	return who
}

// TestSocketAsAnother: it is what the other user may do, and the other end sees that user; this
// process is root as before.
func TestSocketAsAnother(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("takes root")
	}
	session, _ := connect(t)
	dir, err := os.MkdirTemp("", "ports-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	open, closed := filepath.Join(dir, "open"), filepath.Join(dir, "closed")
	for _, d := range []string{open, closed} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
		serveUnix(t, filepath.Join(d, "s"))
		if err := os.Chmod(filepath.Join(d, "s"), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range []string{dir, open} {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/proc/self/root"+closed+"/s", filepath.Join(open, "link")); err != nil {
		t.Fatal(err)
	}
	// What this process has open leads past closed doors, by the links of /proc that the kernel
	// follows itself.
	inner := filepath.Join(closed, "inner")
	if err := os.Mkdir(inner, 0o755); err != nil {
		t.Fatal(err)
	}
	serveUnix(t, filepath.Join(inner, "s"))
	if err := os.Chmod(filepath.Join(inner, "s"), 0o666); err != nil {
		t.Fatal(err)
	}
	held, err := os.Open(inner)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	past := fmt.Sprintf("/proc/self/fd/%d/s", held.Fd())
	get := func(path, user string) (string, error) {
		conn, _, err := ask(t, session, &agentproto.DialSocket{Path: path, User: user})
		if err != nil {
			return "", err
		}
		defer conn.Close()
		b, err := io.ReadAll(conn)
		return string(b), err
	}
	for _, tt := range []struct{ path, user, want string }{
		{open + "/s", "", "0:0"}, {closed + "/s", "", "0:0"}, {open + "/s", "12345:12346", "12345:12346"},
		{open + "/s", "12345", "12345:0"}, {open + "/link", "", "0:0"},
		{past, "", "0:0"},
	} {
		if got, err := get(tt.path, tt.user); err != nil || got != tt.want {
			t.Errorf("%s as %q: %q, %v", tt.path, tt.user, got, err)
		}
	}
	for _, path := range []string{closed + "/s", open + "/link", "/proc/1/root" + open + "/s",
		"/proc/self/root" + closed + "/s", past} {
		_, err := get(path, "12345:12346")
		wantClass(t, err, agentproto.NotFound)
	}
	if os.Geteuid() != 0 {
		t.Error("this process is somebody else now")
	}
	if err := os.Remove(open + "/s"); err != nil {
		t.Fatal(err)
	}
	_, err = get(open+"/s", "")
	wantClass(t, err, agentproto.NotFound)
}

// TestOwnersHang: a process whose command line the kernel does not give holds up no list for long,
// nor more than one thread.
func TestOwnersHang(t *testing.T) {
	p := newPorts(1)
	p.proc = t.TempDir()
	fds := filepath.Join(p.proc, "7", "fd")
	if err := os.MkdirAll(fds, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("socket:[5]", filepath.Join(fds, "3")); err != nil {
		t.Fatal(err)
	}
	line := filepath.Join(p.proc, "7", "cmdline")
	if err := syscall.Mkfifo(line, 0o600); err != nil {
		t.Fatal(err)
	}
	sockets := []socket{{inode: "5"}}
	if found := p.owners(sockets); found["5"].pid != 7 || found["5"].args != nil {
		t.Errorf("found %+v", found)
	}
	if found := p.owners(sockets); len(found) != 0 {
		t.Errorf("a second search found %+v", found)
	}
	f, err := os.OpenFile(line, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	if err := os.Remove(line); err != nil {
		t.Fatal(err)
	}
	eventually(t, "owners are found again", func() bool { return p.owners(sockets)["5"].pid == 7 })
}

// TestCantBecome: what this process lacks is not the path's fault.
func TestCantBecome(t *testing.T) {
	_, err := connectSocket(t.Context(), "/none", func(func() error) error { return syscall.EPERM })
	wantClass(t, socketError("/none", err), agentproto.Unsupported)
}
