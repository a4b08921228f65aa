package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/octobot-run/octobot/client"
	"github.com/octobot-run/octobot/internal/container"
)

func openTerminal(
	ctx context.Context, rt container.Runtime, id, name string, cmd ...string,
) (container.Terminal, error) {
	terminals, ok := container.As[container.Terminals](rt)
	if !ok {
		return nil, errors.New("no terminals are kept")
	}
	return terminals.OpenTerminal(ctx, id, container.TerminalOptions{
		Name: name, AttachOptions: container.AttachOptions{Cmd: cmd, Rows: 24, Cols: 80}})
}

// await takes what a terminal shows until so many bytes of it have come.
func await(t container.Terminal, most int) error {
	for got := 0; got < most; {
		e, err := t.Next()
		if err != nil {
			return err
		}
		got += len(e.Data)
	}
	return nil
}

// newTerminal compares a new terminal, up to its first output, with one of the engine's.
func newTerminal(ctx context.Context, e env) (_ string, err error) {
	const id = "bench-terminal"
	rt, _, _, end, err := agentSessions(ctx, e, id)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, end()) }()
	below, n := rt.(container.Wrapper).Unwrap(), 0
	engine := func(ctx context.Context) (time.Duration, error) {
		return timed(func() error {
			pty, err := below.Attach(ctx, id, container.AttachOptions{Cmd: []string{"echo", "x"}, Rows: 24, Cols: 80})
			if err != nil {
				return err
			}
			defer pty.Close()
			_, err = pty.Read(make([]byte, 1))
			return err
		})
	}
	took, err := inTurns(ctx, max(e.rounds/3, 1), engine, func(ctx context.Context) (time.Duration, error) {
		n++
		return timed(func() error {
			t, err := openTerminal(ctx, rt, id, fmt.Sprint("t", n), "echo", "x")
			if err != nil {
				return err
			}
			defer t.Close()
			return await(t, 1)
		})
	})
	if err != nil {
		return "", err
	}
	return versus(took) + fmt.Sprintf("; p99 %s", precise(percentile(took[1], 99))), nil
}

// openEcho opens a terminal that does nothing but show what is typed.
func openEcho(ctx context.Context, rt container.Runtime, id string) (container.Terminal, error) {
	t, err := openTerminal(ctx, rt, id, "main", "sh", "-c", "stty -icanon; echo ready; exec cat >/dev/null")
	if err != nil {
		return nil, err
	}
	if err := await(t, len("ready\r\n")); err != nil {
		return nil, errors.Join(err, t.Close())
	}
	return t, nil
}

// key types a key, and waits until it shows.
func key(t container.Terminal) error {
	if _, err := t.Write([]byte("k")); err != nil {
		return err
	}
	return await(t, 1)
}

// echo measures how long a key takes to show, alone and beside others.
func echo(ctx context.Context, e env) (_ string, err error) {
	const id = "bench-echo"
	rt, _, _, end, err := agentSessions(ctx, e, id)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, end()) }()
	t, err := openEcho(ctx, rt, id)
	if err != nil {
		return "", err
	}
	defer t.Close()
	keys := func(n int) (took []time.Duration, err error) {
		for range n {
			d, err := timed(func() error { return key(t) })
			if err != nil {
				return nil, err
			}
			took = append(took, d)
		}
		return took, nil
	}
	alone, err := keys(100 * e.rounds)
	if err != nil {
		return "", err
	}
	beside := func(loops int, run func(ctx context.Context) error) ([]time.Duration, error) {
		ctx, stop := context.WithCancel(ctx)
		var wg sync.WaitGroup
		for range loops {
			wg.Go(func() {
				for ctx.Err() == nil && run(ctx) == nil {
				}
			})
		}
		defer wg.Wait()
		defer stop()
		time.Sleep(time.Second) // until all is under way
		return keys(20 * e.rounds)
	}
	execs, err := beside(32, func(ctx context.Context) error {
		_, err := rt.Exec(ctx, id, []string{"true"}, container.ExecOptions{})
		return err
	})
	if err != nil {
		return "", err
	}
	streams, _ := container.As[container.StreamExecer](rt)
	var bytes atomic.Int64
	begun := time.Now()
	bulk, err := beside(1, func(ctx context.Context) error {
		_, err := streams.ExecStream(ctx, id, []string{"cat", "/dev/zero"}, container.ExecOptions{}, counter{&bytes},
			nil)
		return err
	})
	if err != nil {
		return "", err
	}
	rate := float64(bytes.Load()) / time.Since(begun).Seconds() / 1e6
	words := func(took []time.Duration) string {
		return fmt.Sprintf("p50 %s, p99 %s", precise(median(took)), precise(percentile(took, 99)))
	}
	return fmt.Sprintf("%s; beside 32 loops of exec %s; beside a stream of %.0f MB/s %s", words(alone), words(execs),
		rate,
		words(bulk)), nil
}

type counter struct{ n *atomic.Int64 }

func (c counter) Write(b []byte) (int, error) {
	c.n.Add(int64(len(b)))
	return len(b), nil
}

// comeBack measures how long a terminal takes to show all that is kept to who comes anew.
func comeBack(ctx context.Context, e env) (_ string, err error) {
	const id, kept = "bench-back", 1 << 20
	rt, _, _, end, err := agentSessions(ctx, e, id)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, end()) }()
	t, err := openTerminal(ctx, rt, id, "main", "sh", "-c",
		"yes $(printf '\\033[32m%070d\\033[0m' 0) | head -c 3000000; echo done; exec sleep 3600")
	if err != nil {
		return "", err
	}
	defer t.Close()
	for last := []byte{}; !bytes.HasSuffix(last, []byte("done\r\n")); {
		event, err := t.Next()
		if err != nil {
			return "", err
		}
		last = append(last, event.Data...)
		last = last[max(0, len(last)-100):]
	}
	var took []time.Duration
	for range 5 * e.rounds {
		d, err := timed(func() error {
			t, err := openTerminal(ctx, rt, id, "main")
			if err != nil {
				return err
			}
			defer t.Close()
			return await(t, kept)
		})
		if err != nil {
			return "", err
		}
		took = append(took, d)
	}
	return fmt.Sprintf("%s, p99 %s", precise(median(took)), precise(percentile(took, 99))), nil
}

// manyViewers has 50 look at what writes without end, of whom most take little, and 1,000 at what
// writes nothing, through a daemon.
func manyViewers(ctx context.Context, e env) (string, error) {
	d, id, _, _, end, err := daemonSession(ctx, e)
	if err != nil {
		return "", err
	}
	defer end()
	view := func(name string, cmd ...string) (*client.Viewer, error) {
		return d.api.OpenTerminal(ctx, id,
			client.TerminalOptions{Name: name, AttachOptions: client.AttachOptions{Cmd: cmd}})
	}
	before, err := d.resident()
	if err != nil {
		return "", err
	}
	var idle []*client.Viewer
	defer func() {
		for _, v := range idle {
			_ = v.Close()
		}
	}()
	for range 1000 {
		v, err := view("idle", "sleep", "3600")
		if err != nil {
			return "", err
		}
		idle = append(idle, v)
	}
	after, err := d.resident()
	if err != nil {
		return "", err
	}
	for _, v := range idle {
		_ = v.Close()
	}
	idle = nil
	alone, _, err := flood(ctx, view, 1)
	if err != nil {
		return "", err
	}
	beside, most, err := flood(ctx, view, 50)
	if err != nil {
		return "", err
	}
	now, err := d.resident()
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("1,000 idle viewers %.0f MiB (%.0f MiB without); one who takes all of yes, with lines of 80 bytes, gets %.0f MB/s alone, %.0f MB/s beside 49 who take 1 MB/s and miss %.0f MB each; %.0f MiB then",
		after-before, before, alone, beside, most, now), nil
}

// flood has so many look at yes for some seconds, of whom one takes all that it can. It gives how
// many MB/s that one got, and how many MB a slow one has missed.
func flood(
	ctx context.Context, view func(name string, cmd ...string) (*client.Viewer, error), viewers int,
) (rate, missed float64, err error) {
	const duration = 5 * time.Second
	name := fmt.Sprint("yes-", viewers)
	var wg sync.WaitGroup
	all := make([]*client.Viewer, viewers)
	var lost atomic.Int64
	for i := range all {
		if all[i], err = view(name, "sh", "-c", "yes $(printf %078d 0)"); err != nil {
			return 0, 0, err
		}
		defer all[i].Close()
	}
	for _, v := range all[1:] {
		wg.Go(func() {
			for {
				event, err := v.Next()
				if err != nil {
					return
				}
				lost.Add(event.Missed)
				time.Sleep(time.Duration(len(event.Data)) * time.Microsecond)
			}
		})
	}
	got, start := 0, time.Now()
	for time.Since(start) < duration && ctx.Err() == nil {
		event, err := all[0].Next()
		if err != nil && !errors.Is(err, io.EOF) {
			return 0, 0, err
		}
		got += len(event.Data)
	}
	took := time.Since(start)
	for _, v := range all {
		_ = v.Close()
	}
	wg.Wait()
	return float64(got) / took.Seconds() / 1e6, float64(lost.Load()) / 1e6 / float64(max(1, viewers-1)), nil
}
