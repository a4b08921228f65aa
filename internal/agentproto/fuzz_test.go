package agentproto

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

// scripted is a peer that says what it was made with, whatever it is told, and then is gone.
type scripted struct {
	io.Reader
	net.Conn
}

func says(b []byte) net.Conn { return &scripted{Reader: bytes.NewReader(b)} }

func (c *scripted) Read(b []byte) (int, error)       { return c.Reader.Read(b) }
func (c *scripted) Write(b []byte) (int, error)      { return len(b), nil }
func (c *scripted) Close() error                     { return nil }
func (c *scripted) SetWriteDeadline(time.Time) error { return nil }
func (c *scripted) SetReadDeadline(time.Time) error  { return nil }
func (c *scripted) LocalAddr() net.Addr              { return &net.UnixAddr{} }
func (c *scripted) RemoteAddr() net.Addr             { return &net.UnixAddr{} }

// FuzzConnect is a process that says what it likes: it is an agent, or refused, in bounded time.
func FuzzConnect(f *testing.F) {
	welcomed, _ := appendFrame(nil, &welcome{Magic: magic, Version: Version, Info: Info{Build: "b"}})
	f.Add(welcomed)
	f.Add(append(bytes.Clone(welcomed), 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, _, err := Connect(says(b))
		if err == nil {
			<-s.Done() // with what it said
			return
		}
		if !errors.Is(err, ErrHandshake) {
			t.Fatal(err)
		}
	})
}

// FuzzAccept is the same for who calls an agent.
func FuzzAccept(f *testing.F) {
	hi, _ := appendFrame(nil, &hello{Magic: magic, Oldest: 1, Newest: Version})
	f.Add(hi)
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := Accept(says(b), Info{})
		if err == nil {
			<-s.Done()
			return
		}
		if !errors.Is(err, ErrHandshake) {
			t.Fatal(err)
		}
	})
}

// FuzzSession is an agent that was greeted and says what it likes: the session ends, and nothing
// waits.
func FuzzSession(f *testing.F) {
	exit, _ := appendFrame(nil, &Exit{Code: 3})
	f.Add(append([]byte{0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, byte(len(exit))}, exit...)) // data of stream 1
	f.Add([]byte{0, 1, 0, 1, 0, 0, 0, 2, 0, 0, 0, 0})                                // stream 2 is opened
	f.Add([]byte{0, 1, 0, 0, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff})                    // a window of 4 GiB
	f.Add([]byte{0, 2, 0, 1, 0, 0, 0, 0, 0, 0, 0, 7})                                // a ping
	f.Add([]byte{0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})                                // an end
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := newSession(says(b), false)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if stream, err := s.Open(ctx, &Exec{Command: Command{Args: []string{"x"}}}); err == nil {
			for err == nil {
				_, err = stream.Next()
			}
			stream.Reset()
		}
		select {
		case <-s.Done():
		case <-ctx.Done():
			t.Fatal("the session has not ended")
		}
	})
}
