package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	v1 "github.com/octobot-run/octobot/api/v1"
	"github.com/octobot-run/octobot/client"
)

// daemon is a running octobot serve in a data directory of its own.
type daemon struct {
	dir    string
	socket string
	cmd    *exec.Cmd
	api    *client.Client
	ready  time.Duration // from its start until /healthz answered
}

func startDaemon(ctx context.Context, e env, args ...string) (*daemon, error) {
	dir, err := os.MkdirTemp("", "octobot-bench-")
	if err != nil {
		return nil, err
	}
	d := &daemon{dir: dir, socket: filepath.Join(dir, "octobot.sock")}
	if d.api, err = client.New(client.Options{Socket: d.socket}); err != nil {
		return nil, err
	}
	var log bytes.Buffer
	d.cmd = exec.Command(e.binary,
		append([]string{"serve", "--data-dir", dir, "--listen", "", "--log-level", "error"}, args...)...)
	d.cmd.Stdout, d.cmd.Stderr = &log, &log
	start := time.Now()
	if err := d.cmd.Start(); err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	for {
		if d.healthy() {
			d.ready = time.Since(start)
			return d, nil
		}
		if err := ctx.Err(); err != nil || time.Since(start) > 30*time.Second {
			d.stop()
			return nil, errors.Join(err, fmt.Errorf("the daemon does not answer: %s", log.String()))
		}
		time.Sleep(500 * time.Microsecond)
	}
}

// healthy asks with as little as it takes, so that the question costs nothing against the answer.
func (d *daemon) healthy() bool {
	conn, err := net.Dial("unix", d.socket)
	if err != nil {
		return false
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("GET /healthz HTTP/1.1\r\nHost: octobot\r\nConnection: close\r\n\r\n")); err != nil {
		return false
	}
	status, err := bufio.NewReader(conn).ReadString('\n')
	return err == nil && strings.Contains(status, " 200 ")
}

func (d *daemon) stop() {
	d.api.Close()
	_ = d.cmd.Process.Signal(syscall.SIGTERM)
	_ = d.cmd.Wait()
	os.RemoveAll(d.dir)
}

// resident is the daemon's resident memory in MiB.
func (d *daemon) resident() (float64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", d.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "VmRSS:" {
			kib, err := strconv.ParseFloat(fields[1], 64)
			return kib / 1024, err
		}
	}
	return 0, errors.New("no VmRSS in /proc status")
}

func daemonReady(ctx context.Context, e env) (string, error) {
	var ready []time.Duration
	for range e.rounds {
		d, err := startDaemon(ctx, e, "--runtime", "mock")
		if err != nil {
			return "", err
		}
		ready = append(ready, d.ready)
		d.stop()
	}
	return fmt.Sprintf("%s (median of %d starts with an empty data directory)", short(median(ready)), e.rounds), nil
}

func daemonMemory(ctx context.Context, e env) (string, error) {
	d, err := startDaemon(ctx, e, "--runtime", "mock")
	if err != nil {
		return "", err
	}
	defer d.stop()
	empty, err := d.resident()
	if err != nil {
		return "", err
	}
	for i := range 1000 {
		if _, err := d.api.CreateSession(ctx, v1.CreateSessionRequest{ID: benchID(i)}, nil); err != nil {
			return "", err
		}
	}
	var mib []float64
	for range 30 { // past a few reconciliations
		time.Sleep(2 * time.Second)
		now, err := d.resident()
		if err != nil {
			return "", err
		}
		mib = append(mib, now)
	}
	return fmt.Sprintf("%.1f MiB resident with 1,000 sessions (median of a minute; %.1f MiB without any)", median(mib),
		empty), nil
}

func getSession(ctx context.Context, e env) (string, error) {
	return load(ctx, e, func(id string) []byte {
		return fmt.Appendf(nil, "GET /v1/sessions/%s HTTP/1.1\r\nHost: octobot\r\n\r\n", id)
	})
}

func postExec(ctx context.Context, e env) (string, error) {
	return load(ctx, e, func(id string) []byte {
		body := `{"cmd":["true"]}`
		return fmt.Appendf(nil, "POST /v1/sessions/%s/exec HTTP/1.1\r\nHost: octobot\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
			id, len(body), body)
	})
}

// load sends the same request for a hundred sessions in turn over 16 connections,
// with a client that does as little as HTTP allows, since it shares the cores with the server.
func load(ctx context.Context, e env, request func(id string) []byte) (string, error) {
	d, err := startDaemon(ctx, e, "--runtime", "mock")
	if err != nil {
		return "", err
	}
	defer d.stop()
	var requests [][]byte
	for i := range 100 {
		if _, err := d.api.CreateSession(ctx, v1.CreateSessionRequest{ID: benchID(i)}, nil); err != nil {
			return "", err
		}
		requests = append(requests, request(benchID(i)))
	}
	var rates []float64
	for range 5 {
		rate, err := measureRate(ctx, d.socket, requests, 16, 3*time.Second)
		if err != nil {
			return "", err
		}
		rates = append(rates, rate)
	}
	return fmt.Sprintf("%.0f requests/s (median of %d runs of 3 s, 16 connections on the Unix socket, the client on the same cores)",
		median(rates), len(rates)), nil
}

func measureRate(
	ctx context.Context, socket string, requests [][]byte, connections int, duration time.Duration,
) (float64, error) {
	var done atomic.Int64
	var wg sync.WaitGroup
	errs := make([]error, connections)
	start := time.Now()
	for i := range connections {
		wg.Go(func() {
			errs[i] = func() error {
				conn, err := net.Dial("unix", socket)
				if err != nil {
					return err
				}
				defer conn.Close()
				r := bufio.NewReader(conn)
				for n := i; time.Since(start) < duration && ctx.Err() == nil; n++ {
					if _, err := conn.Write(requests[n%len(requests)]); err != nil {
						return err
					}
					resp, err := http.ReadResponse(r, nil)
					if err != nil {
						return err
					}
					if resp.StatusCode != http.StatusOK {
						return fmt.Errorf("answered %s", resp.Status)
					}
					if _, err := r.Discard(int(resp.ContentLength)); err != nil {
						return err
					}
					done.Add(1)
				}
				return nil
			}()
		})
	}
	wg.Wait()
	return float64(done.Load()) / time.Since(start).Seconds(), errors.Join(append(errs, ctx.Err())...)
}
