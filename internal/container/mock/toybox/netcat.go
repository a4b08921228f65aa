package toybox

import (
	"context"
	"io"
	"net"
	"strconv"
	"sync"
)

// cmdNetcat knows nc [-l|-ll] [-s ADDRESS] [-p PORT] [-e PROGRAM ARGUMENTS...], which listens, once
// or always, and nc HOST PORT, of this system.
func cmdNetcat(ctx context.Context, p *Process) int {
	args, listens, always, address, port := p.Args[1:], false, false, "0.0.0.0", "0"
	var program []string
	for len(args) > 0 && len(args[0]) > 1 && args[0][0] == '-' {
		flag := args[0]
		args = args[1:]
		switch {
		case flag == "-l":
			listens = true
		case flag == "-ll" || flag == "-lk":
			listens, always = true, true
		case flag == "-p" && len(args) > 0:
			port, args = args[0], args[1:]
		case flag == "-s" && len(args) > 0:
			address, args = args[0], args[1:]
		case flag == "-e":
			program, args = args, nil
		default:
			return p.fail(1, "unknown option %s", flag)
		}
	}
	if !listens {
		if len(args) != 2 {
			return p.fail(1, "a host and a port are needed")
		}
		host := args[0]
		if host == "localhost" {
			host = "127.0.0.1"
		}
		c, err := p.Dial("tcp", net.JoinHostPort(host, args[1]))
		if err != nil {
			return p.fail(1, "%s (%s:%s): %s", "can't connect to remote host", host, args[1], err)
		}
		return p.talk(c, nil)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return p.fail(1, "bad port %s", port)
	}
	l, err := p.Listen("tcp", net.JoinHostPort(address, port))
	if err != nil {
		return p.fail(1, "bind: %s", err)
	}
	defer l.Close()
	var talks sync.WaitGroup
	defer talks.Wait()
	for {
		c, err := l.Accept()
		if err != nil {
			return 1
		}
		if !always {
			_ = l.Close()
			return p.talk(c.(*Conn), program)
		}
		talks.Go(func() { p.talk(c.(*Conn), program) })
	}
}

// talk brings a connection together with a program, or the process's own input and output.
func (p *Process) talk(c *Conn, program []string) int {
	defer c.Close()
	if len(program) > 0 {
		child, err := p.system.Spawn(Spec{Args: program, Env: p.Env, Dir: p.Dir, User: p.User,
			Stdin: input{c}, Stdout: c, Stderr: c})
		if err != nil {
			return p.fail(1, "%s", err)
		}
		<-child.Done()
		return 0
	}
	var typing sync.WaitGroup
	typing.Go(func() {
		_, _ = io.Copy(c, p.Stdin)
		_ = c.CloseWrite()
	})
	_, err := io.Copy(p.Stdout, c)
	if err != nil {
		return 1
	}
	if p.Terminal == nil {
		typing.Wait()
	}
	return 0
}

// input is a connection as somebody's input, which it does not close.
type input struct{ io.Reader }
