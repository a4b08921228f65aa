package agentproto

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// Version is the highest version of the protocol that this package speaks, OldestVersion the
// lowest.
const (
	Version       = 1
	OldestVersion = 1
)

// HandshakeTimeout bounds a greeting, on both sides.
const HandshakeTimeout = 10 * time.Second

var magic = []byte("octobot-agent\n")

// ErrHandshake is about a peer that is not what it should be: another protocol, or a version that
// is too old or too new.
var ErrHandshake = errors.New("agent handshake failed")

// Info is what an agent says of itself at the start of a connection.
type Info struct {
	Build string // of the agent, as a version for people
	PID   int    // of the agent, in its container
}

type hello struct {
	Magic          []byte
	Oldest, Newest int
}

func (*hello) Kind() Kind { return kindHello }
func (h *hello) fields(f *fields) {
	f.bytes(&h.Magic)
	number(f, &h.Oldest)
	number(f, &h.Newest)
}

type welcome struct {
	Magic   []byte
	Version int // 0: none that both know
	Info    Info
}

func (*welcome) Kind() Kind { return kindWelcome }
func (w *welcome) fields(f *fields) {
	f.bytes(&w.Magic)
	number(f, &w.Version)
	f.text(&w.Info.Build)
	number(f, &w.Info.PID)
}

// Connect is the daemon's side of the greeting. The session owns conn then; where Connect fails, it
// has closed it.
func Connect(conn net.Conn) (*Session, Info, error) {
	var w welcome
	session, err := greet(conn, false, func(say, hear func(Message) error) error {
		if err := say(&hello{Magic: magic, Oldest: OldestVersion, Newest: Version}); err != nil {
			return err
		}
		if err := hear(&w); err != nil {
			return err
		}
		if !bytes.Equal(w.Magic, magic) {
			return errors.New("what answers is not an agent")
		}
		if w.Version < OldestVersion || w.Version > Version {
			return fmt.Errorf("the agent speaks no version of the protocol between %d and %d", OldestVersion, Version)
		}
		return nil
	})
	return session, w.Info, err
}

// Accept is the agent's side of the greeting. The session owns conn then; where Accept fails, it
// has closed it.
func Accept(conn net.Conn, info Info) (*Session, error) {
	return greet(conn, true, func(say, hear func(Message) error) error {
		var h hello
		if err := hear(&h); err != nil {
			return err
		}
		if !bytes.Equal(h.Magic, magic) {
			return errors.New("who calls is not a daemon")
		}
		w := welcome{Magic: magic, Version: min(Version, h.Newest), Info: info}
		if w.Version < max(OldestVersion, h.Oldest) {
			w.Version = 0
		}
		if err := say(&w); err != nil {
			return err
		}
		if w.Version == 0 {
			return fmt.Errorf("the daemon speaks no version of the protocol between %d and %d", OldestVersion, Version)
		}
		return nil
	})
}

// greet runs a greeting within its time and makes the session.
func greet(conn net.Conn, agent bool, do func(say, hear func(Message) error) error) (*Session, error) {
	// A connection may have no deadlines; it is closed instead.
	timer := time.AfterFunc(HandshakeTimeout, func() { _ = conn.Close() })
	defer timer.Stop()
	say := func(m Message) error {
		b, err := appendFrame(nil, m)
		if err == nil {
			_, err = conn.Write(b)
		}
		return err
	}
	hear := func(m Message) error {
		kind, payload, err := readFrame(conn, nil, 4<<10)
		if errors.Is(err, io.EOF) {
			return errors.New("the other side has closed the connection")
		}
		if err != nil {
			return err
		}
		return Frame{kind, payload}.Decode(m)
	}
	err := do(say, hear)
	if err == nil && !timer.Stop() {
		err = errors.New("it took too long")
	}
	if err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("%w: %w", ErrHandshake, err)
	}
	return newSession(conn, agent)
}
