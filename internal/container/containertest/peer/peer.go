// Package peer is a program for containers under test: it listens as it is told, and does with each
// connection what that asks for, or it connects.
package peer

import (
	"bufio"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// Conn is a connection whose directions end apart from one another.
type Conn interface {
	net.Conn
	CloseWrite() error
}

// Peer is the program, on whatever network.
type Peer struct {
	Listen func(network, address string) (net.Listener, error)
	Dial   func(network, address string) (Conn, error)
	Reset  func(Conn)
	User   func(Conn) int // of the other end of a Unix socket

	mu    sync.Mutex
	known map[string]chan string // what was received, by the name that it was sent under
}

// Main runs "listen ADDRESS...", until ended is closed, or "dial ADDRESS REQUEST". An address is
// "tcp:127.0.0.1:3000" or "unix:/tmp/s"; one that the machine does not have is passed over. It
// returns the exit code.
func (p *Peer) Main(args []string, stdout io.Writer, ended <-chan struct{}) int {
	p.known = make(map[string]chan string)
	switch {
	case len(args) == 3 && args[0] == "dial":
		network, address, _ := strings.Cut(args[1], ":")
		c, err := p.Dial(network, address)
		if err != nil {
			fmt.Fprintln(stdout, err)
			return 1
		}
		defer c.Close()
		fmt.Fprintln(c, args[2])
		_ = c.CloseWrite()
		_, err = io.Copy(stdout, c)
		if err != nil {
			fmt.Fprintln(stdout, err)
			return 1
		}
		return 0
	case len(args) < 2 || args[0] != "listen":
		return 2
	}
	var serving sync.WaitGroup
	defer serving.Wait()
	for _, a := range args[1:] {
		network, address, _ := strings.Cut(a, ":")
		l, err := p.Listen(network, address)
		if err != nil {
			fmt.Fprintln(stdout, err)
			if errors.Is(err, syscall.EADDRNOTAVAIL) {
				continue // there is no IPv6
			}
			return 1
		}
		defer l.Close()
		serving.Go(func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				serving.Go(func() { p.serve(c.(Conn), ended) })
			}
		})
	}
	fmt.Fprintln(stdout, "ready")
	<-ended
	return 0
}

// serve does what the first line of a connection asks for.
func (p *Peer) serve(c Conn, ended <-chan struct{}) {
	defer c.Close()
	r := bufio.NewReader(c)
	line, err := r.ReadString('\n')
	if err != nil {
		return
	}
	request, argument, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
	switch request {
	case "echo": // until the end, and then end
		_, _ = io.Copy(c, r)
	case "where": // the connection was made to
		fmt.Fprint(c, c.LocalAddr())
	case "who": // has made it
		fmt.Fprint(c, p.User(c))
	case "sum": // what comes
		fmt.Fprint(c, Sum(r))
	case "send": // so many bytes
		n, _ := strconv.Atoi(argument)
		_, _ = c.Write(Noise(n))
	case "reset":
		p.Reset(c)
	case "first": // end, and then remember what comes
		fmt.Fprint(c, "hello")
		_ = c.CloseWrite()
		p.remember(argument) <- Sum(r)
	case "ready": // say so, and then remember what comes
		fmt.Fprint(c, "!")
		p.remember(argument) <- Sum(r)
	case "remember": // what comes
		p.remember(argument) <- Sum(r)
	case "recall": // what was remembered
		select {
		case sum := <-p.remember(argument):
			fmt.Fprint(c, sum)
		case <-ended:
		}
	}
}

func (p *Peer) remember(name string) chan string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.known[name] == nil {
		p.known[name] = make(chan string, 1)
	}
	return p.known[name]
}

// Sum reads all that comes, and says what it was and how it ended.
func Sum(r io.Reader) string {
	h := sha256.New()
	n, err := io.Copy(h, r)
	how := "ended"
	if err != nil {
		how = "cut"
	}
	return fmt.Sprintf("%d bytes %x %s", n, h.Sum(nil)[:8], how)
}

// Noise is so many bytes, the same each time.
func Noise(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}

// SumOf is Sum of bytes that end in good order.
func SumOf(b []byte) string { return Sum(strings.NewReader(string(b))) }
