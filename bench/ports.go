package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	v1 "github.com/octobot-run/octobot/api/v1"
	"github.com/octobot-run/octobot/internal/container"
)

// Ports of a session that serves: what echoes, what never stops writing, and what takes all.
const (
	echoPort   = 3000
	sourcePort = 3001
	sinkPort   = 3002
)

var portServers = []string{"sh", "-c", fmt.Sprintf(
	"nc -ll -p %d -e cat & nc -ll -p %d -e cat /dev/zero & nc -ll -p %d -e sh -c 'exec cat >/dev/null' & wait",
	echoPort, sourcePort, sinkPort)}

// dial connects to a port of a session, once it is listened on.
type dial func(ctx context.Context, port int) (net.Conn, error)

func (d dial) patient(ctx context.Context, port int) (conn net.Conn, err error) {
	for range 500 {
		if conn, err = d(ctx, port); err == nil {
			return conn, nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	return nil, err
}

// portSession makes a session with servers, and gives the ways to them: the runtime's, and that
// past Octobot, over the engine's bridge.
func portSession(ctx context.Context, e env, id string) (
	through, direct dial, rt container.Runtime, end func() error, err error,
) {
	rt, _, _, end, err = agentSessions(ctx, e, id)
	if err != nil {
		return nil, nil, nil, nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, end())
		}
	}()
	processes, _ := container.As[container.Processes](rt)
	if _, err = processes.StartProcess(ctx, id, portServers, container.ProcessOptions{}); err != nil {
		return nil, nil, nil, nil, err
	}
	said, err := rt.Exec(ctx, id, []string{"hostname", "-i"}, container.ExecOptions{})
	if err != nil {
		return nil, nil, nil, nil, err
	}
	ports, _ := container.As[container.PortDialer](rt)
	through = func(ctx context.Context, port int) (net.Conn, error) { return ports.DialPort(ctx, id, port) }
	return through, past(said.Stdout), rt, end, nil
}

// past is the way past Octobot to a container, of which "hostname -i" has said that.
func past(said string) dial {
	address := strings.Fields(said + " none")[0]
	return func(ctx context.Context, port int) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort(address, fmt.Sprint(port)))
	}
}

// portDaemon is portSession for the API.
func portDaemon(ctx context.Context, e env) (through, direct dial, end func(), err error) {
	d, id, _, _, end, err := daemonSession(ctx, e)
	if err != nil {
		return nil, nil, nil, err
	}
	said, err := d.api.Exec(ctx, id, v1.ExecRequest{Cmd: []string{"hostname", "-i"}})
	if err == nil {
		_, err = d.api.StartProcess(ctx, id, v1.StartProcessRequest{Cmd: portServers})
	}
	if err != nil {
		end()
		return nil, nil, nil, err
	}
	through = func(ctx context.Context, port int) (net.Conn, error) { return d.api.DialPort(ctx, id, port) }
	return through, past(string(said.Stdout)), end, nil
}

// onBoth does something with the ways of a runtime, and then with those of the API.
func onBoth(ctx context.Context, e env, do func(name string, through, direct dial) error) (err error) {
	through, direct, _, end, err := portSession(ctx, e, "bench-ports")
	if err != nil {
		return err
	}
	if err := errors.Join(do("the runtime", through, direct), end()); err != nil {
		return err
	}
	through, direct, stop, err := portDaemon(ctx, e)
	if err != nil {
		return err
	}
	defer stop()
	return do("the API", through, direct)
}

// portBulk measures how much goes over one connection, down and up, in turns with the same past
// Octobot.
func portBulk(ctx context.Context, e env) (string, error) {
	var words []string
	err := onBoth(ctx, e, func(name string, through, direct dial) error {
		var rates [4][]float64
		for range max(e.rounds/6, 3) {
			for i, measure := range []func() (float64, error){
				func() (float64, error) { return rateDown(ctx, through) },
				func() (float64, error) { return rateUp(ctx, through) },
				func() (float64, error) { return rateDown(ctx, direct) },
				func() (float64, error) { return rateUp(ctx, direct) },
			} {
				rate, err := measure()
				if err != nil {
					return err
				}
				rates[i] = append(rates[i], rate)
			}
		}
		words = append(words, fmt.Sprintf("through %s %.0f MB/s down (at best %.0f) and %.0f up (%.0f); past Octobot %.0f and %.0f",
			name, median(rates[0]), slices.Max(rates[0]), median(rates[1]), slices.Max(rates[1]), median(rates[2]),
			median(rates[3])))
		return nil
	})
	return strings.Join(words, "; "), err
}

const bulkBytes = 512 << 20

func rateDown(ctx context.Context, d dial) (float64, error) {
	conn, err := d.patient(ctx, sourcePort)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	buf, got, begun := make([]byte, 256<<10), 0, time.Now()
	for got < bulkBytes {
		n, err := conn.Read(buf)
		if got += n; err != nil {
			return 0, err
		}
	}
	return float64(got) / time.Since(begun).Seconds() / 1e6, nil
}

// rateUp ends when the other side has taken all, which it says by its end.
func rateUp(ctx context.Context, d dial) (float64, error) {
	conn, err := d.patient(ctx, sinkPort)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	buf, begun := make([]byte, 256<<10), time.Now()
	for sent := 0; sent < bulkBytes; sent += len(buf) {
		if _, err := conn.Write(buf); err != nil {
			return 0, err
		}
	}
	if err := conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		return 0, err
	}
	if _, err := io.Copy(io.Discard, conn); err != nil {
		return 0, err
	}
	return bulkBytes / time.Since(begun).Seconds() / 1e6, nil
}

// portRoundTrip compares a byte's way there and back, and the making of a connection, with the same
// past Octobot.
func portRoundTrip(ctx context.Context, e env) (string, error) {
	var words []string
	err := onBoth(ctx, e, func(name string, through, direct dial) error {
		var echoes, dials []side
		for _, d := range []dial{direct, through} {
			conn, err := d.patient(ctx, echoPort)
			if err != nil {
				return err
			}
			defer conn.Close()
			one := []byte("x")
			echoes = append(echoes, func(context.Context) (time.Duration, error) {
				return timed(func() error {
					if _, err := conn.Write(one); err != nil {
						return err
					}
					_, err := io.ReadFull(conn, one)
					return err
				})
			})
			dials = append(dials, func(context.Context) (time.Duration, error) {
				return timed(func() error {
					conn, err := d(ctx, echoPort)
					if err != nil {
						return err
					}
					return conn.Close()
				})
			})
		}
		took, err := interleave(ctx, 100*e.rounds, echoes...)
		if err != nil {
			return err
		}
		made, err := interleave(ctx, 10*e.rounds, dials...)
		if err != nil {
			return err
		}
		words = append(words, fmt.Sprintf("%s adds %s to %s (p99 %s to %s); a connection takes %s, past Octobot %s",
			name,
			precise(median(took[1])-median(took[0])), precise(median(took[0])),
			precise(percentile(took[1], 99)-percentile(took[0], 99)), precise(percentile(took[0], 99)),
			precise(median(made[1])), precise(median(made[0]))))
		return nil
	})
	return strings.Join(words, "; "), err
}

// portMany has 1,000 connections at once, each of which is used.
func portMany(ctx context.Context, e env) (_ string, err error) {
	const many = 1000
	through, _, rt, end, err := portSession(ctx, e, "bench-ports")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, end()) }()
	first, err := through.patient(ctx, echoPort)
	if err != nil {
		return "", err
	}
	defer first.Close()
	before, err := agentMemory(ctx, rt, "bench-ports")
	if err != nil {
		return "", err
	}
	begun := time.Now()
	conns := make([]net.Conn, many)
	for i := range conns {
		if conns[i], err = through(ctx, echoPort); err != nil {
			return "", fmt.Errorf("connection %d: %w", i, err)
		}
		defer conns[i].Close()
	}
	dialled := time.Since(begun)
	idle, err := agentMemory(ctx, rt, "bench-ports")
	if err != nil {
		return "", err
	}
	begun = time.Now()
	var wg sync.WaitGroup
	failed := make(chan error, many)
	for i, conn := range conns {
		wg.Go(func() {
			word := fmt.Appendf(nil, "%d\n", i)
			got := make([]byte, len(word))
			_, err := conn.Write(word)
			if err == nil {
				_, err = io.ReadFull(conn, got)
			}
			if err == nil && string(got) != string(word) {
				err = fmt.Errorf("connection %d gives back %q", i, got)
			}
			if err != nil {
				failed <- err
			}
		})
	}
	wg.Wait()
	if len(failed) > 0 {
		return "", <-failed
	}
	return fmt.Sprintf("made in %s, one after the other; a byte's way on all at once %s; %.0f KiB of the agent's memory each",
		short(dialled), short(time.Since(begun)), float64(idle-before)/many), nil
}

// agentMemory is what the agents of a session hold, in KiB.
func agentMemory(ctx context.Context, rt container.Runtime, id string) (int, error) {
	said, err := rt.Exec(ctx, id, []string{"sh", "-c",
		"cat /proc/[0-9]*/status | awk '/^Name:/ { ours = $2 ~ /octobot-agent/ } /^VmRSS:/ && ours { n += $2 } END { print n }'"},
		container.ExecOptions{})
	if err != nil {
		return 0, err
	}
	var n int
	_, err = fmt.Sscan(said.Stdout, &n)
	return n, err
}
