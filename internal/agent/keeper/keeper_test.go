package keeper

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/octobot-run/octobot/internal/agent"
	"github.com/octobot-run/octobot/internal/agentproto"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	kindEcho agentproto.Kind = 200
	kindList agentproto.Kind = 201
)

// place is a keeper's directory, with keepers that tests start in this process.
type place struct {
	t       *testing.T
	dir     string
	started atomic.Int32
	kept    atomic.Int32
	work    sync.WaitGroup
	end     context.CancelFunc
	ctx     context.Context
}

func newPlace(t *testing.T) *place {
	root, err := os.MkdirTemp("", "keeper") // shorter than t.TempDir, whose sockets have too long names
	if err != nil {
		t.Fatal(err)
	}
	p := &place{t: t, dir: filepath.Join(root, "k")}
	p.ctx, p.end = context.WithCancel(context.Background())
	t.Cleanup(func() {
		p.end()
		p.work.Wait()
		_ = os.RemoveAll(root)
	})
	return p
}

// start is how doors start a keeper here.
func (p *place) start(context.Context) error {
	taken, err := Take(p.dir)
	if errors.Is(err, ErrHeld) {
		return nil
	}
	if err != nil {
		return err
	}
	p.started.Add(1)
	server := agent.NewServer(agentproto.Info{})
	server.Handle(kindEcho, func(_ context.Context, s *agentproto.Stream, request []byte) error {
		for {
			frame, err := s.Next()
			if err != nil {
				return nil
			}
			if err := s.SendData(agentproto.KindData, append(request, frame.Payload...)); err != nil {
				return nil
			}
		}
	})
	p.work.Go(func() {
		if err := taken.Serve(p.ctx, server, func() int { return int(p.kept.Load()) }); err != nil {
			p.t.Error(err)
		}
	})
	return nil
}

// daemon is what a daemon has of an agent whose door leads here.
func (p *place) daemon() *agentproto.Session {
	server := agent.NewServer(agentproto.Info{})
	NewDoor(p.dir, p.start).Register(server, map[agentproto.Kind]agentproto.Message{
		kindEcho: nil, kindList: &agentproto.Terminals{}})
	ours, theirs := net.Pipe()
	p.work.Go(func() { _ = server.Serve(p.ctx, theirs) })
	session, _, err := agentproto.Connect(ours)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = session.Close() })
	return session
}

type request struct{ agentproto.Done }

func (request) Kind() agentproto.Kind { return kindEcho }

type listing struct{ agentproto.Done }

func (listing) Kind() agentproto.Kind { return kindList }

// echo has something said and heard.
func echo(t *testing.T, session *agentproto.Session, word string) *agentproto.Stream {
	t.Helper()
	s, err := session.Open(t.Context(), &request{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.SendData(agentproto.KindData, []byte(word)); err != nil {
		t.Fatal(err)
	}
	frame, err := s.Next()
	if err != nil || string(frame.Payload) != word {
		t.Fatalf("echo of %q: %q, %v", word, frame.Payload, err)
	}
	return s
}

// TestOne has many agents come at once, of which one starts the keeper; those that come later find
// it, after the first have gone.
func TestOne(t *testing.T) {
	p := newPlace(t)
	p.kept.Store(1)
	if s, err := p.daemon().Open(t.Context(), &listing{}); err != nil {
		t.Fatal(err)
	} else if err := s.Receive(&agentproto.Terminals{}); err != nil || p.started.Load() > 0 {
		t.Errorf("a question started %d keepers: %v", p.started.Load(), err)
	}
	var first sync.WaitGroup
	for range 8 {
		session := p.daemon()
		first.Go(func() {
			echo(t, session, "hello").Reset()
			_ = session.Close()
		})
	}
	first.Wait()
	s := echo(t, p.daemon(), strings.Repeat("long ", 100_000)[:60_000])
	if err := s.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Next(); err == nil {
		t.Error("an operation goes on that has ended")
	}
	if n := p.started.Load(); n != 1 {
		t.Errorf("%d keepers", n)
	}
	info, err := os.Stat(p.dir)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("directory: %v, %v", info, err)
	}
}

// TestNothingToKeep ends the keeper; the next request starts another.
func TestNothingToKeep(t *testing.T) {
	p := newPlace(t)
	session := p.daemon()
	s := echo(t, session, "hello")
	time.Sleep((idleLooks + 1) * look) // in which one that is in use must not end
	if err := s.SendData(agentproto.KindData, []byte("still")); err != nil {
		t.Fatal(err)
	}
	if frame, err := s.Next(); err != nil || string(frame.Payload) != "still" {
		t.Fatalf("%q, %v", frame.Payload, err)
	}
	s.Reset()
	deadline := time.Now().Add(30 * time.Second)
	for {
		if _, err := os.Lstat(filepath.Join(p.dir, socketName)); errors.Is(err, os.ErrNotExist) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("it goes on with nothing to keep")
		}
		time.Sleep(10 * time.Millisecond)
	}
	echo(t, session, "again").Reset()
	if n := p.started.Load(); n != 2 {
		t.Errorf("%d keepers", n)
	}
}

// TestRemains: a socket that a killed keeper has left behind is no keeper.
func TestRemains(t *testing.T) {
	p := newPlace(t)
	if err := os.Mkdir(p.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(p.dir, socketName), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	_ = l.Close()
	echo(t, p.daemon(), "hello").Reset()
}

// TestSquatter: a directory that is another user's is taken away, or refused where that can't be.
func TestSquatter(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("it takes root to be two users")
	}
	p := newPlace(t)
	if err := os.Mkdir(p.dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(p.dir, "x"), nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Lchown(p.dir, 1000, 1000); err != nil {
		t.Fatal(err)
	}
	echo(t, p.daemon(), "hello").Reset()
	info, err := os.Lstat(p.dir)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("directory: %v, %v", info, err)
	}
	other := newPlace(t)
	if err := os.Symlink(t.TempDir(), other.dir); err != nil {
		t.Fatal(err)
	}
	echo(t, other.daemon(), "hello").Reset()
	if info, err := os.Lstat(other.dir); err != nil || !info.IsDir() {
		t.Errorf("a link was followed: %v, %v", info, err)
	}
}

// TestNoKeeper: what keeps one from starting is told, in time.
func TestNoKeeper(t *testing.T) {
	p := newPlace(t)
	server := agent.NewServer(agentproto.Info{})
	NewDoor(p.dir, func(context.Context) error { return errors.New("no space left") }).Register(server,
		map[agentproto.Kind]agentproto.Message{kindEcho: nil})
	ours, theirs := net.Pipe()
	p.work.Go(func() { _ = server.Serve(p.ctx, theirs) })
	session, _, err := agentproto.Connect(ours)
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	s, err := session.Open(t.Context(), &request{})
	if err != nil {
		t.Fatal(err)
	}
	err = s.Receive(&agentproto.Done{})
	if said, ok := errors.AsType[*agentproto.Error](err); !ok || !strings.Contains(said.Detail, "no space left") {
		t.Errorf("error %v", err)
	}
}
