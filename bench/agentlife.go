package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/octobot-run/octobot/internal/container"
)

// agentOutput compares how much a command may write, through the agent and through the engine's
// exec.
func agentOutput(ctx context.Context, e env) (_ string, err error) {
	const id = "bench-output"
	rt, _, _, end, err := agentSessions(ctx, e, id)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, end()) }()
	var words []string
	for _, output := range []struct {
		name, script string
		mib          float64
	}{
		{"80-byte lines", "yes $(printf %079d 0) | head -c 67108864", 64},
		{"zeros", "head -c 268435456 /dev/zero", 256},
	} {
		run := func(rt container.Runtime) side {
			streams, _ := container.As[container.StreamExecer](rt)
			return func(ctx context.Context) (time.Duration, error) {
				return timed(func() error {
					_, err := streams.ExecStream(ctx, id, []string{"sh", "-c", output.script}, container.ExecOptions{},
						io.Discard, io.Discard)
					return err
				})
			}
		}
		took, err := interleave(ctx, max(e.rounds/5, 2), run(rt.(container.Wrapper).Unwrap()), run(rt))
		if err != nil {
			return "", err
		}
		engine, agent := output.mib/median(took[0]).Seconds(), output.mib/median(took[1]).Seconds()
		words = append(words, fmt.Sprintf("%s %.0f MiB/s, %.2f × the engine's %.0f", output.name, agent, agent/engine,
			engine))
	}
	return strings.Join(words, "; "), nil
}

// agentInput sends 1 GiB through a command and back.
func agentInput(ctx context.Context, e env) (_ string, err error) {
	const id = "bench-input"
	rt, _, _, end, err := agentSessions(ctx, e, id)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, end()) }()
	const size = 1 << 30
	sent, got := sha256.New(), sha256.New()
	source := io.TeeReader(io.LimitReader(rand.NewChaCha8([32]byte{}), size), sent)
	streams, _ := container.As[container.StreamExecer](rt)
	took, err := timed(func() error {
		_, err := streams.ExecStream(ctx, id, []string{"cat"}, container.ExecOptions{Stdin: source}, got, io.Discard)
		return err
	})
	if err != nil {
		return "", err
	}
	same := func(a, b hash.Hash) bool { return string(a.Sum(nil)) == string(b.Sum(nil)) }
	memory, err := rt.Exec(ctx, id, []string{"sh", "-c", "grep -h VmHWM /proc/$PPID/status"}, container.ExecOptions{})
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%.0f MiB/s; hashes equal: %t; the agent's resident memory at most: %s",
		size/took.Seconds()/(1<<20), same(sent, got), strings.Join(strings.Fields(memory.Stdout)[1:], " ")), nil
}

// agentStart compares the way to a first command with the agent and without, and a first command
// some time after the start with a later one.
func agentStart(ctx context.Context, e env) (_ string, err error) {
	rt, _, _, end, err := agentSessions(ctx, e)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, end()) }()
	n := 0
	first := func(noAgent bool, wait time.Duration) side {
		return func(ctx context.Context) (took time.Duration, err error) {
			n++
			id := fmt.Sprintf("bench-start-%d", n)
			opts := idle(e)
			opts.NoProgram = noAgent
			defer func() { err = errors.Join(err, rt.Remove(context.WithoutCancel(ctx), id)) }()
			run := func() error {
				_, err := rt.Exec(ctx, id, []string{"true"}, container.ExecOptions{})
				return err
			}
			whole, err := timed(func() error {
				if _, err := rt.Create(ctx, id, opts); err != nil {
					return err
				}
				if err := rt.Start(ctx, id); err != nil || wait > 0 {
					return err
				}
				return run()
			})
			if err != nil || wait == 0 {
				return whole, err
			}
			time.Sleep(wait)
			return timed(run)
		}
	}
	took, err := interleave(ctx, e.rounds, first(true, 0), first(false, 0))
	if err != nil {
		return "", err
	}
	later, err := interleave(ctx, e.rounds, first(false, 100*time.Millisecond))
	if err != nil {
		return "", err
	}
	without, with := median(took[0]), median(took[1])
	return fmt.Sprintf("create, start and first command %.2f × (%s against %s without; median of the rounds' ratios "+
		"× %.2f); the first command 100 ms after the start %s", float64(with)/float64(without), short(with),
		short(without), median(ratios(took[0], took[1])), precise(median(later[0]))), nil
}

// agentIdle tells what an agent without commands takes.
func agentIdle(ctx context.Context, e env) (_ string, err error) {
	const id = "bench-idle"
	rt, _, _, end, err := agentSessions(ctx, e, id)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, end()) }()
	below := rt.(container.Wrapper).Unwrap()
	ask := func() (rss string, ticks string, err error) {
		r, err := below.Exec(ctx, id, []string{"sh", "-c", `p=$(pidof octobot-agent)
			sed -n 's/^VmRSS: *//p; s/^Threads:\t*/threads /p' /proc/$p/status | tr '\n' ' '; echo
			cut -d' ' -f14,15 /proc/$p/stat`}, container.ExecOptions{})
		if err != nil {
			return "", "", err
		}
		lines := strings.Split(strings.TrimSpace(r.Stdout), "\n")
		if len(lines) != 2 {
			return "", "", fmt.Errorf("%q", r.Stdout)
		}
		return strings.TrimSpace(lines[0]), lines[1], nil
	}
	_, before, err := ask()
	if err != nil {
		return "", err
	}
	select {
	case <-time.After(time.Minute):
	case <-ctx.Done():
		return "", ctx.Err()
	}
	rss, after, err := ask()
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("resident %s; user and system ticks (10 ms) %s, a minute before %s", rss, after, before), nil
}
