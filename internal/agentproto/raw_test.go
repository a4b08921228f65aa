package agentproto

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"
	"syscall"
	"testing"
	"time"
)

// raws are both ends of a stream.
func raws(t *testing.T, daemon, agent *Session) (near, far *Raw) {
	t.Helper()
	near, far, err := openRaws(t, daemon, agent)
	if err != nil {
		t.Fatal(err)
	}
	return near, far
}

func openRaws(t *testing.T, daemon, agent *Session) (near, far *Raw, err error) {
	s, err := daemon.Open(t.Context(), &DialPort{Port: 1})
	if err != nil {
		return nil, nil, err
	}
	other, err := agent.Accept()
	if err != nil {
		return nil, nil, err
	}
	if err := other.Receive(&DialPort{}); err != nil {
		return nil, nil, err
	}
	return s.Raw(), other.Raw(), nil
}

// TestRawCloseDelivers: an end in good order is no reset to the other side, whatever comes at the
// same moment.
func TestRawCloseDelivers(t *testing.T) {
	daemon, agent := sessions(t)
	sent := bytes.Repeat([]byte("x"), 1000)
	for i := range 300 {
		near, far := raws(t, daemon, agent)
		if _, err := near.Write(sent); err != nil {
			t.Fatal(err)
		}
		var ends sync.WaitGroup
		for range 3 {
			ends.Go(func() { _ = near.Close() })
		}
		got, err := io.ReadAll(far)
		if err != nil || !bytes.Equal(got, sent) {
			t.Fatalf("time %d: %d bytes, %v", i, len(got), err)
		}
		ends.Wait()
		_ = far.Close()
	}
}

// slowEnd takes its time to end.
type slowEnd struct {
	conn
	ending, goOn chan struct{}
	said         chan string
}

func (c *slowEnd) CloseWrite() error {
	close(c.ending)
	<-c.goOn
	c.said <- "end"
	return nil
}

func (c *slowEnd) Reset() error                    { c.said <- "reset"; return nil }
func (c *slowEnd) SetReadDeadline(time.Time) error { return nil }

// TestResetFollowsEnd: a reset that comes while an end is on its way does not overtake it.
func TestResetFollowsEnd(t *testing.T) {
	c := &slowEnd{ending: make(chan struct{}), goOn: make(chan struct{}), said: make(chan string, 3)}
	s := newStream(c, MaxFrame, func() {})
	ended := make(chan error, 1)
	go func() { ended <- s.CloseWrite() }()
	<-c.ending
	s.Reset() // does not wait
	close(c.goOn)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if first, second := <-c.said, <-c.said; first != "end" || second != "reset" {
		t.Errorf("%s came before %s", first, second)
	}
}

// TestRawResetAfterItsEnd is noticed by who has read all and does not write.
func TestRawResetAfterItsEnd(t *testing.T) {
	daemon, agent := sessions(t)
	near, far := raws(t, daemon, agent)
	if err := near.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if n, err := far.Read(make([]byte, 1)); err != io.EOF {
		t.Fatal(n, err)
	}
	if far.Broken() || far.Deaf() {
		t.Error("half an end is taken for a whole one")
	}
	if _, err := far.Write([]byte("y")); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 2)
	if n, err := near.Read(got); n != 1 || err != nil || got[0] != 'y' {
		t.Fatalf("%q, %v", got[:n], err)
	}
	near.Reset()
	for deadline := time.Now().Add(10 * time.Second); !far.Deaf(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it is not noticed")
		}
	}
	if far.Broken() {
		t.Error("an end in good order is taken for none")
	}
	far.Reset()
}

// late gives an error together with bytes, once.
type late struct {
	conn
	err error
}

func (l *late) Read(b []byte) (int, error) {
	if l.err == nil {
		return 0, io.EOF
	}
	err := l.err
	l.err = nil
	return copy(b, "hello"), err
}

// TestErrorBesideBytes: what comes with bytes does not hide the end that follows.
func TestErrorBesideBytes(t *testing.T) {
	for _, size := range []int{1, 1 << 12} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			raw := newStream(&late{err: errors.New("no word of the window")}, MaxFrame, func() {}).Raw()
			var got []byte
			for b := make([]byte, size); ; {
				n, err := raw.Read(b)
				got = append(got, b[:n]...)
				if err == io.EOF {
					break
				}
				if err != nil {
					t.Fatalf("%v (reset %v)", err, errors.Is(err, syscall.ECONNRESET))
				}
			}
			if string(got) != "hello" {
				t.Errorf("%q", got)
			}
		})
	}
}
