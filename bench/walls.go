package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	v1 "github.com/octobot-run/octobot/api/v1"
	"github.com/octobot-run/octobot/client"
)

// startTCP starts a daemon that serves on TCP too, and returns the URL.
func startTCP(ctx context.Context, e env, args ...string) (*daemon, string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // a port that is free
	if err != nil {
		return nil, "", err
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		return nil, "", err
	}
	d, err := startDaemon(ctx, e, append([]string{"--docker-host", e.dockerHost, "--default-image", e.image,
		"--listen", address}, args...)...)
	return d, "http://" + address, err
}

// project makes a token of a project, and a client that uses it.
func (d *daemon) project(ctx context.Context, url, name string) (*client.Client, error) {
	token, err := d.api.CreateToken(ctx, v1.CreateTokenRequest{Name: name, Project: name})
	if err != nil {
		return nil, err
	}
	return client.New(client.Options{URL: url, Token: token.Secret})
}

// sleeper makes a session that does nothing.
func sleeper(ctx context.Context, c *client.Client, id string) error {
	_, err := c.CreateSession(ctx, v1.CreateSessionRequest{ID: id, Spec: v1.Spec{Cmd: []string{"sleep", "3600"}}}, nil)
	return err
}

// peak is the most resident memory that the daemon ever had, in MiB.
func (d *daemon) peak() (float64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", d.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "VmHWM:" {
			kib, err := strconv.ParseFloat(fields[1], 64)
			return kib / 1024, err
		}
	}
	return 0, errors.New("no VmHWM in /proc status")
}

// heldOutput has 200 commands write 2 × 16 MiB of NULs each at once, while an admin lists sessions.
func heldOutput(ctx context.Context, e env) (string, error) {
	d, url, err := startTCP(ctx, e)
	if err != nil {
		return "", err
	}
	defer d.stop()
	c, err := d.project(ctx, url, "lab")
	if err != nil {
		return "", err
	}
	defer c.Close()
	if err := sleeper(ctx, c, "held"); err != nil {
		return "", err
	}
	defer func() { _ = d.api.DeleteSession(context.WithoutCancel(ctx), "held") }()
	idle, err := d.resident()
	if err != nil {
		return "", err
	}
	var slowest time.Duration
	watching, stop := context.WithCancel(ctx)
	var watch sync.WaitGroup
	watch.Go(func() {
		for watching.Err() == nil {
			start := time.Now()
			if _, err := d.api.ListSessions(ctx, client.ListOptions{}); err == nil {
				slowest = max(slowest, time.Since(start))
			}
			time.Sleep(50 * time.Millisecond)
		}
	})
	var failed, cut atomic.Int64
	var running sync.WaitGroup
	start := time.Now()
	for range 200 {
		running.Go(func() {
			r, err := rawExec(ctx, d, url, "lab", "held")
			switch {
			case err != nil:
				failed.Add(1)
			case r:
				cut.Add(1)
			}
		})
	}
	running.Wait()
	took := time.Since(start)
	stop()
	watch.Wait()
	most, err := d.peak()
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%.0f MiB above idle (%.0f MiB) at most, the admin's ls %s at most; %s in all, %d cut, %d failed",
		most-idle, idle, short(slowest), short(took), cut.Load(), failed.Load()), nil
}

// rawExec writes 16 MiB of NULs to each stream, as a client that keeps nothing of the answer, and
// reports whether it was cut.
func rawExec(ctx context.Context, d *daemon, url, project, id string) (cut bool, err error) {
	token, err := d.api.CreateToken(ctx, v1.CreateTokenRequest{Name: fmt.Sprintf("%s-%d", project, tokens.Add(1)),
		Project: project})
	if err != nil {
		return false, err
	}
	body := `{"cmd":["sh","-c","head -c 16777216 /dev/zero; head -c 16777216 /dev/zero >&2"]}`
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		return false, err
	}
	defer conn.Close()
	if _, err := fmt.Fprintf(conn, "POST /v1/sessions/%s/exec HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"+
		"Authorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		id, token.Secret, len(body), body); err != nil {
		return false, err
	}
	buf := make([]byte, 64<<10)
	var head, last string
	for {
		n, err := conn.Read(buf)
		if head == "" && n > 0 {
			head = string(buf[:min(n, 64)])
		}
		last = (last + string(buf[max(0, n-128):n]))
		last = last[max(0, len(last)-128):]
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return false, err
		}
	}
	if !strings.HasPrefix(head, "HTTP/1.1 200") {
		return false, fmt.Errorf("%s", head)
	}
	return strings.Contains(last, `"truncated":true`), nil
}

var tokens atomic.Int64

// neighbour measures what another project notices while one attacks in every way at once: output
// that is held, large bodies, idle event streams, idle connections, and pulls that trickle.
func neighbour(ctx context.Context, e env) (string, error) {
	d, url, err := startTCP(ctx, e)
	if err != nil {
		return "", err
	}
	defer d.stop()
	attacker, err := d.project(ctx, url, "attacker")
	if err != nil {
		return "", err
	}
	defer attacker.Close()
	victim, err := d.project(ctx, url, "victim")
	if err != nil {
		return "", err
	}
	defer victim.Close()
	if err := sleeper(ctx, attacker, "attack"); err != nil {
		return "", err
	}
	defer func() { _ = d.api.DeleteSession(context.WithoutCancel(ctx), "attack") }()
	cycle := func(i int) (time.Duration, error) {
		id := benchID(i)
		start := time.Now()
		if err := sleeper(ctx, victim, id); err != nil {
			return 0, err
		}
		if _, err := victim.Exec(ctx, id, v1.ExecRequest{Cmd: []string{"true"}}); err != nil {
			return 0, err
		}
		err := victim.DeleteSession(ctx, id)
		return time.Since(start), err
	}
	measure := func(from int) ([]time.Duration, error) {
		var took []time.Duration
		for i := range e.rounds {
			t, err := cycle(from + i)
			if err != nil {
				return nil, err
			}
			took = append(took, t)
		}
		return took, nil
	}
	alone, err := measure(0)
	if err != nil {
		return "", err
	}
	stop, err := attack(ctx, d, url, attacker)
	if err != nil {
		return "", err
	}
	amid, err := measure(1000)
	stop()
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s amid the attack, %s alone: %.1f × (medians of %d; the slowest %s and %s)",
		short(median(amid)), short(median(alone)), float64(median(amid))/float64(median(alone)), e.rounds,
		short(slices.Max(amid)), short(slices.Max(alone))), nil
}

// attack goes on until stop is called.
func attack(ctx context.Context, d *daemon, url string, c *client.Client) (stop func(), err error) {
	ctx, cancel := context.WithCancel(ctx)
	var attacking sync.WaitGroup
	registry, err := net.Listen("tcp", "127.0.0.1:0") // accepts, and says nothing
	if err != nil {
		cancel()
		return nil, err
	}
	repeat := func(n int, f func() error) {
		for range n {
			attacking.Go(func() {
				for ctx.Err() == nil {
					if f() != nil {
						select { // as an attacker with a little sense would
						case <-time.After(100 * time.Millisecond):
						case <-ctx.Done():
						}
					}
				}
			})
		}
	}
	repeat(4, func() error { _, err := rawExec(ctx, d, url, "attacker", "attack"); return err })
	large := strings.Repeat("x", 6<<20)
	repeat(4, func() error {
		req := v1.ExecRequest{Cmd: []string{"true"}}
		req.SetStdin([]byte(large))
		_, err := c.Exec(ctx, "attack", req)
		return err
	})
	repeat(1100, func() error {
		for _, err := range c.Events(ctx, "") {
			return err
		}
		return errors.New("it ended")
	})
	repeat(40, func() error { // the address is refused by default, which costs the attacker the way in
		_, err := c.CreateSession(ctx, v1.CreateSessionRequest{Spec: v1.Spec{
			Image: registry.Addr().String() + "/x"}}, nil)
		return err
	})
	var conns []net.Conn
	for range 500 {
		conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
		if err == nil {
			conns = append(conns, conn)
		}
	}
	time.Sleep(2 * time.Second) // until all of it is under way
	return func() {
		cancel()
		_ = registry.Close()
		for _, conn := range conns {
			_ = conn.Close()
		}
		attacking.Wait()
	}, nil
}

// deletedTokens deletes 50 tokens amid 500 streams, and sees how long the streams take to end.
func deletedTokens(ctx context.Context, e env) (string, error) {
	d, url, err := startTCP(ctx, e, "--runtime", "mock")
	if err != nil {
		return "", err
	}
	defer d.stop()
	if err := sleeper(ctx, d.api, "s"); err != nil {
		return "", err
	}
	var open sync.WaitGroup
	var mu sync.Mutex
	var ended []time.Time
	var wrong int
	for i := range 50 {
		// Admins', so that the streams of one project are not too many.
		token, err := d.api.CreateToken(ctx, v1.CreateTokenRequest{Name: benchID(i)})
		if err != nil {
			return "", err
		}
		c, err := client.New(client.Options{URL: url, Token: token.Secret})
		if err != nil {
			return "", err
		}
		defer c.Close()
		for range 10 {
			terminal, err := c.Attach(ctx, "s", client.AttachOptions{Cmd: []string{"sh"}})
			if err != nil {
				return "", err
			}
			open.Go(func() {
				_, err := io.Copy(io.Discard, terminal)
				_ = terminal.Close()
				mu.Lock()
				defer mu.Unlock()
				ended = append(ended, time.Now())
				if client.CodeOf(err) != v1.CodeUnauthenticated {
					wrong++
				}
			})
		}
	}
	start := time.Now()
	for i := range 50 {
		if err := d.api.DeleteToken(ctx, benchID(i)); err != nil {
			return "", err
		}
	}
	deleted := time.Since(start)
	open.Wait()
	last := slices.MaxFunc(ended, time.Time.Compare)
	return fmt.Sprintf("%s after the first deletion all 500 had ended (%s after the last), %d for another reason",
		short(last.Sub(start)), short(last.Sub(start)-deleted), wrong), nil
}
