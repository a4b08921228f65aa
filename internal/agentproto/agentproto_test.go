package agentproto

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"reflect"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// messages are one of each message, with all fields set.
func messages() []Message {
	process := ProcessInfo{ID: "a1", Args: []string{"make"}, PID: 7, Started: 1, Ended: 2, Position: 3, Kept: 4,
		ExitCode: 5}
	terminal := TerminalInfo{Name: "main", ID: "a1", Args: []string{"sh"}, PID: 7, Created: 1, Rows: 24, Cols: 80,
		Viewers: 2, Position: 3, Active: 4, Running: true, ExitCode: 1}
	return []Message{
		&Error{Class: CommandNotFound, Detail: "no such file"},
		&Exec{Command: Command{Args: []string{"sh", "", "\xff"}, Env: []string{"A=b"}, Dir: "/tmp", User: "user",
			Rows: 24, Cols: 80}, Tty: true, Stdin: true, Attach: true, Tag: "ab"},
		&Started{},
		&Done{},
		&Kill{Tags: []string{"ab", "cd"}, Agents: []int{7, 8}},
		&Exit{Code: 137},
		&Resize{Rows: 1, Cols: 65535},
		&OpenTerminal{Command: Command{Args: []string{"sh"}}, Name: "main", New: true, ID: "a1", Since: 1 << 40,
			ReadOnly: true, Linger: 60},
		&Attached{Terminal: terminal, Made: true, Position: 5, Missed: 6},
		&Missed{Bytes: 7},
		&Viewers{Count: 8, Rows: 24, Cols: 80},
		&ListTerminals{},
		&Terminals{List: []TerminalInfo{terminal, {Name: "other"}}},
		&EndTerminal{Name: "main"},
		&StartProcess{Command: Command{Args: []string{"make"}}, Keep: 1 << 21},
		&process,
		&ListProcesses{},
		&Processes{List: []ProcessInfo{process, {ID: "b2"}}},
		&SignalProcess{ID: "a1", Signal: 9},
		&WaitProcess{ID: "a1"},
		&ReadProcess{ID: "a1", Since: 1 << 40, Follow: true},
		&Stat{As: As{User: "1000:1000", Path: "/tmp/\xff"}, Follow: true},
		&FileInfo{Name: "f", Type: TypeSymlink, Mode: 0o4755, UID: 1000, GID: 1001, Owner: "user", Group: "staff",
			Size: 1 << 40, Modified: 1e18, Target: "../t", Version: "1g2"},
		&List{As: As{Path: "/"}},
		&Entries{Files: []FileInfo{{Name: "a"}, {Name: "b", Type: TypeDirectory}}},
		&MakeDirectory{As: As{Path: "/a"}, Mode: 0o700, Parents: true},
		&Move{As: As{Path: "/a"}, To: "/b", Overwrite: true},
		&Remove{As: As{Path: "/a"}, Recursive: true},
		&ReadFile{As: As{Path: "/a"}, Offset: 1 << 40, Length: 5},
		&WriteFile{As: As{Path: "/a"}, Mode: 0o644, Parents: true, Owner: "0:0", Sync: true, New: true, Version: "*"},
		&ChangeFile{As: As{Path: "/a"}, Mode: 0o644, SetMode: true, Owner: "0", Recursive: true},
		&Watch{As: As{Path: "/a"}, Recursive: true},
		&Watching{Directories: 3},
		&FileEvent{Change: FileMoved, Path: "/a/b", From: "/a/c", Directory: true},
		&Pack{As: As{Path: "/a"}},
		&Unpack{As: As{Path: "/a"}, Owners: true},
		&Search{As: As{Path: "/a"}, Name: "*.go", Content: "x", Regexp: true, IgnoreCase: true, Limit: 10,
			MaxSize: 1 << 24},
		&Match{Path: "/a/b", Type: TypeFile, Line: 3, Text: "x"},
		&Searched{Incomplete: "10 matches were found"},
		&DialPort{Port: 3000},
		&DialSocket{Path: "/run/s", User: "user"},
		&Connected{Address: "127.0.0.1:3000"},
		&ListenPort{Address: "::1", Port: 3000},
		&Listening{ID: "a1", Port: 3000},
		&AcceptPort{ID: "a1"},
		&ListPorts{},
		&Ports{List: []Port{{Address: "::", Port: 3000, PID: 7, Args: []string{"make"}},
			{Address: "127.0.0.1", Port: 1}}},
		&ListRunning{},
		&Running{List: []RunningProcess{{PID: 7, Parent: 1, User: "root", CPUTime: 1e9, Elapsed: 2e9, Memory: 4096,
			Cmd: "make all"}, {PID: 8}}},
		&hello{Magic: magic, Oldest: 1, Newest: 2},
		&welcome{Magic: magic, Version: 1, Info: Info{Build: "b", PID: 7}},
	}
}

func payload(t testing.TB, m Message) []byte {
	t.Helper()
	b, err := appendFrame(nil, m)
	if err != nil {
		t.Fatal(err)
	}
	return b[frameHeader:]
}

func empty(m Message) Message {
	return reflect.New(reflect.TypeOf(m).Elem()).Interface().(Message)
}

func TestMessages(t *testing.T) {
	for _, m := range messages() {
		got := empty(m)
		if err := Decode(payload(t, m), got); err != nil {
			t.Errorf("%T: %v", m, err)
		}
		if !reflect.DeepEqual(got, m) {
			t.Errorf("%T: %+v; want %+v", m, got, m)
		}
	}
}

// TestOtherVersions: an older peer sends fewer fields, a newer one more.
func TestOtherVersions(t *testing.T) {
	for _, m := range messages() {
		full := payload(t, m)
		if err := Decode(append(bytes.Clone(full), "later fields"...), empty(m)); err != nil {
			t.Errorf("%T from a newer peer: %v", m, err)
		}
		if err := Decode(nil, empty(m)); err != nil {
			t.Errorf("%T from an older peer: %v", m, err)
		}
	}
	var w welcome
	if err := Decode(payload(t, &welcome{Magic: magic, Version: 3})[:len(magic)+1+1], &w); err != nil ||
		w.Version != 3 || w.Info.Build != "" {
		t.Errorf("a welcome of two fields is %+v, %v", w, err)
	}
}

func TestDecodeBounds(t *testing.T) {
	for name, b := range map[string][]byte{
		"a text longer than its frame": {1, 5, 'a'},
		"a number without end":         {0x80, 0x80},
		"a number too large":           {0xfe, 0xff, 0xff, 0xff, 0x7f},
	} {
		if err := Decode(b, &Error{}); !errors.Is(err, ErrFrame) {
			t.Errorf("%s gives %v", name, err)
		}
	}
	items := append([]byte{0, 0xff, 0xff, 0xff, 0x7f}, make([]byte, 100)...)
	items[0] = byte(len(items) - 1)
	if err := Decode(items, &Exec{}); !errors.Is(err, ErrFrame) {
		t.Errorf("a list of more items than bytes gives %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	for i, m := range messages() {
		f.Add(i, payload(f, m))
	}
	f.Fuzz(func(t *testing.T, i int, b []byte) {
		all := messages()
		if i < 0 || i >= len(all) {
			return
		}
		m := empty(all[i])
		if Decode(b, m) != nil {
			return
		}
		again := empty(m)
		if err := Decode(payload(t, m), again); err != nil || !reflect.DeepEqual(m, again) {
			t.Fatalf("%+v comes back as %+v, %v", m, again, err)
		}
	})
}

func FuzzFrame(f *testing.F) {
	for _, m := range messages() {
		b, _ := appendFrame(nil, m)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(b)
		for {
			_, p, err := readFrame(r, nil, 1<<10)
			if err != nil {
				return
			}
			if len(p) > 1<<10 {
				t.Fatalf("a payload of %d bytes", len(p))
			}
		}
	})
}

// connect greets over a connection in memory.
func connect(t *testing.T, info Info) (daemon, agent *Session, got Info, daemonErr, agentErr error) {
	t.Helper()
	a, b := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		agent, agentErr = Accept(b, info)
	}()
	daemon, got, daemonErr = Connect(a)
	<-done
	for _, s := range []*Session{daemon, agent} {
		if s != nil && s.mux != nil {
			t.Cleanup(func() { _ = s.Close() })
		}
	}
	return daemon, agent, got, daemonErr, agentErr
}

func TestGreeting(t *testing.T) {
	info := Info{Build: "build"}
	if _, _, got, err, agentErr := connect(t, info); err != nil || agentErr != nil || got != info {
		t.Fatalf("%+v, %v, %v", got, err, agentErr)
	}
}

// TestGreetingVersions has each side meet one that speaks no version that it knows.
func TestGreetingVersions(t *testing.T) {
	peer := func(m Message, answer func(net.Conn) error) error {
		a, b := net.Pipe()
		said := make(chan struct{})
		go func() {
			defer close(said)
			defer b.Close()
			if _, old := m.(*hello); !old {
				_, _, _ = readFrame(b, nil, 4096)
			}
			frame, _ := appendFrame(nil, m)
			_, _ = b.Write(frame)
			_, _, _ = readFrame(b, nil, 4096)
		}()
		err := answer(a)
		<-said
		return err
	}
	connect := func(c net.Conn) error { _, _, err := Connect(c); return err }
	accept := func(c net.Conn) error { _, err := Accept(c, Info{}); return err }
	for name, tt := range map[string]struct {
		m      Message
		answer func(net.Conn) error
	}{
		"an agent that found none":   {&welcome{Magic: magic}, connect},
		"an agent from the future":   {&welcome{Magic: magic, Version: Version + 1}, connect},
		"what is no agent":           {&welcome{Magic: []byte("hello"), Version: 1}, connect},
		"what speaks out of turn":    {&Exit{}, connect},
		"a daemon from the future":   {&hello{Magic: magic, Oldest: Version + 1, Newest: Version + 2}, accept},
		"what is no daemon":          {&hello{Magic: []byte("GET /"), Oldest: 1, Newest: 1}, accept},
		"a daemon without a version": {&hello{Magic: magic}, accept},
	} {
		if err := peer(tt.m, tt.answer); !errors.Is(err, ErrHandshake) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func sessions(t *testing.T) (daemon, agent *Session) {
	t.Helper()
	daemon, agent, _, err, agentErr := connect(t, Info{})
	if err != nil || agentErr != nil {
		t.Fatal(err, agentErr)
	}
	return daemon, agent
}

func TestStream(t *testing.T) {
	daemon, agent := sessions(t)
	data := bytes.Repeat([]byte("0123456789"), 50_000)
	done := make(chan error, 1)
	go func() {
		s, err := agent.Accept()
		if err != nil {
			done <- err
			return
		}
		defer s.Close()
		var e Exec
		if err := s.Receive(&e); err != nil {
			done <- err
			return
		}
		if err := s.SendData(KindStdout, data); err != nil {
			done <- err
			return
		}
		done <- s.Send(&Exit{Code: len(e.Args)})
	}()
	s, err := daemon.Open(t.Context(), &Exec{Command: Command{Args: []string{"a", "b"}}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var got []byte
	for {
		f, err := s.Next()
		if err != nil {
			t.Fatal(err)
		}
		if f.Kind == KindStdout {
			got = append(got, f.Payload...)
			continue
		}
		var exit Exit
		if err := f.Decode(&exit); err != nil || exit.Code != 2 {
			t.Fatalf("%+v, %v", exit, err)
		}
		break
	}
	if !bytes.Equal(got, data) {
		t.Errorf("%d bytes; want %d, the same", len(got), len(data))
	}
	if _, err := s.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("after the end: %v", err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestWindow: a stream that is not read holds its sender up after a window, and no other stream.
func TestWindow(t *testing.T) {
	daemon, agent := sessions(t)
	sent := make(chan int, 1)
	go func() {
		stalled, err := agent.Accept()
		if err != nil {
			return
		}
		n := 0
		go func() {
			buf := make([]byte, 1000)
			for stalled.SendData(KindStdout, buf) == nil {
				n += len(buf)
			}
			sent <- n
		}()
		for {
			s, err := agent.Accept()
			if err != nil {
				return
			}
			_ = s.Send(&Exit{})
			_ = s.Close()
		}
	}()
	stalled, err := daemon.Open(t.Context(), &Exec{})
	if err != nil {
		t.Fatal(err)
	}
	for range 200 {
		s, err := daemon.Open(t.Context(), &Exec{})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Receive(&Exit{}); err != nil {
			t.Fatal(err)
		}
		_ = s.Close()
	}
	stalled.Reset()
	if n := <-sent; n > Window {
		t.Errorf("%d bytes went out; the window is %d", n, Window)
	}
}

// TestAgentOpensNothing: only a daemon starts operations.
func TestAgentOpensNothing(t *testing.T) {
	_, agent := sessions(t)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	s, err := agent.Open(ctx, &Exec{})
	if err != nil {
		return
	}
	if _, err := s.Next(); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the daemon answers: %v", err)
	}
}
