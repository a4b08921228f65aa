package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	v1 "github.com/octobot-run/octobot/api/v1"
	"github.com/octobot-run/octobot/internal/agentbin"
	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/container/agented"
)

// turn is how many commands one side has at a time, beside the engine's exec: what that leaves
// running for some moments takes the cores that both share, and is not to be taken for a cost of
// the other side. Some untimed ones go before for that.
const turn, warmUps = 20, 2

// agentSessions makes sessions with the agent, beside the raw side; end removes them.
func agentSessions(ctx context.Context, e env, ids ...string) (
	rt container.Runtime, raw rawEngine, containerIDs []string, end func() error, err error,
) {
	below, raw, endEngines, err := engines(ctx, e)
	if err != nil {
		return nil, rawEngine{}, nil, nil, err
	}
	rt = agented.New(below, agented.Config{Binary: agentbin.Binary})
	end = func() error {
		var errs []error
		for _, id := range ids[:len(containerIDs)] {
			errs = append(errs, rt.Remove(context.WithoutCancel(ctx), id))
		}
		endEngines() // which still needs what rt closes
		if c, ok := rt.(container.Closer); ok {
			errs = append(errs, c.Close())
		}
		return errors.Join(errs...)
	}
	for _, id := range ids {
		created, err := rt.Create(ctx, id, idle(e))
		if err != nil {
			return nil, rawEngine{}, nil, nil, errors.Join(err, end())
		}
		containerIDs = append(containerIDs, created.ID)
		if err := rt.Start(ctx, id); err != nil {
			return nil, rawEngine{}, nil, nil, errors.Join(err, end())
		}
		// The link is there from now on.
		if _, err := rt.Exec(ctx, id, []string{"true"}, container.ExecOptions{}); err != nil {
			return nil, rawEngine{}, nil, nil, errors.Join(err, end())
		}
	}
	return rt, raw, containerIDs, end, nil
}

type side = func(context.Context) (time.Duration, error)

// inTurns gives each side's durations, of rounds × turn runs.
func inTurns(ctx context.Context, rounds int, sides ...side) ([][]time.Duration, error) {
	took := make([][]time.Duration, len(sides))
	for range rounds {
		for i, s := range sides {
			for n := range warmUps + turn {
				d, err := s(ctx)
				if err != nil {
					return nil, err
				}
				if n >= warmUps {
					took[i] = append(took[i], d)
				}
			}
		}
	}
	return took, nil
}

// versus words how much faster the second side is than the first.
func versus(took [][]time.Duration) string {
	return fmt.Sprintf("%.1f × (%s against %s)", float64(median(took[0]))/float64(median(took[1])),
		precise(median(took[1])), precise(median(took[0])))
}

func precise(d time.Duration) string {
	return fmt.Sprintf("%.2f ms", float64(d)/float64(time.Millisecond))
}

func percentile(values []time.Duration, percent int) time.Duration {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[(len(sorted)-1)*percent/100]
}

// floor is fork, exec and wait on the host.
func floor(ctx context.Context) (time.Duration, error) {
	return timed(func() error { return exec.CommandContext(ctx, "true").Run() })
}

// execAgent compares a command through the agent with one through the raw Engine API, and both with
// the floor.
func execAgent(ctx context.Context, e env) (_ string, err error) {
	const id = "bench-agent"
	rt, raw, containerIDs, end, err := agentSessions(ctx, e, id)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, end()) }()
	return compareExec(ctx, e, raw, containerIDs[0], func(ctx context.Context) error {
		_, err := rt.Exec(ctx, id, []string{"true"}, container.ExecOptions{})
		return err
	})
}

// execAgentAPI does so through the daemon.
func execAgentAPI(ctx context.Context, e env) (_ string, err error) {
	d, id, containerID, raw, end, err := daemonSession(ctx, e)
	if err != nil {
		return "", err
	}
	defer end()
	return compareExec(ctx, e, raw, containerID, func(ctx context.Context) error {
		_, err := d.api.Exec(ctx, id, v1.ExecRequest{Cmd: []string{"true"}})
		return err
	})
}

func compareExec(
	ctx context.Context, e env, raw rawEngine, containerID string, run func(context.Context) error,
) (string, error) {
	agent := func(ctx context.Context) (time.Duration, error) { return timed(func() error { return run(ctx) }) }
	engine, err := inTurns(ctx, e.rounds/3, func(ctx context.Context) (time.Duration, error) {
		return timed(func() error { return raw.exec(ctx, containerID, "true") })
	}, agent)
	if err != nil {
		return "", err
	}
	host, err := interleave(ctx, 20*e.rounds, floor, agent)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s of the engine's; %.2f × the floor (%s against %s); p99 %.1f × p50", versus(engine),
		float64(median(host[1]))/float64(median(host[0])), precise(median(host[1])), precise(median(host[0])),
		float64(percentile(host[1], 99))/float64(median(host[1]))), nil
}

// execCommandLine compares whole command lines.
func execCommandLine(ctx context.Context, e env) (_ string, err error) {
	d, id, containerID, _, end, err := daemonSession(ctx, e)
	if err != nil {
		return "", err
	}
	defer end()
	line := func(name string, args ...string) side {
		return func(ctx context.Context) (time.Duration, error) {
			return timed(func() error { return exec.CommandContext(ctx, name, args...).Run() })
		}
	}
	took, err := inTurns(ctx, max(e.rounds/6, 1),
		line("docker", "-H", e.dockerHost, "exec", containerID, "true"),
		line(e.binary, "exec", "--data-dir", d.dir, id, "true"))
	if err != nil {
		return "", err
	}
	return versus(took) + " of docker exec", nil
}

// daemonSession starts a daemon and a session of it.
func daemonSession(ctx context.Context, e env) (
	d *daemon, id, containerID string, raw rawEngine, end func(), err error,
) {
	_, raw, endEngines, err := engines(ctx, e)
	if err != nil {
		return nil, "", "", rawEngine{}, nil, err
	}
	d, err = startDaemon(ctx, e, "--docker-host", e.dockerHost, "--default-image", e.image)
	if err != nil {
		endEngines()
		return nil, "", "", rawEngine{}, nil, err
	}
	id = strings.ToLower(fmt.Sprintf("%s-session", benchInstance))
	end = func() {
		_ = d.api.DeleteSession(context.WithoutCancel(ctx), id)
		d.stop()
		endEngines()
	}
	s, err := d.api.CreateSession(ctx,
		v1.CreateSessionRequest{ID: id, Spec: v1.Spec{Cmd: []string{"sleep", "3600"}}}, nil)
	if err != nil {
		end()
		return nil, "", "", rawEngine{}, nil, err
	}
	return d, id, s.ContainerID, raw, end, nil
}

// execAgentMany has 64 callers run commands: in one session, and each in one of its own.
func execAgentMany(ctx context.Context, e env) (_ string, err error) {
	const callers = 64
	ids := make([]string, callers)
	for i := range ids {
		ids[i] = fmt.Sprintf("bench-agent-%d", i)
	}
	rt, _, _, end, err := agentSessions(ctx, e, ids...)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, end()) }()
	in := func(id func(caller int) string) func(int) error {
		return func(caller int) error {
			_, err := rt.Exec(ctx, id(caller), []string{"true"}, container.ExecOptions{})
			return err
		}
	}
	sides := []func(int) error{
		func(int) error { return exec.CommandContext(ctx, "true").Run() },
		in(func(int) string { return ids[0] }),
		in(func(caller int) string { return ids[caller] }),
	}
	rates := make([][]float64, len(sides))
	for range 5 {
		for i, s := range sides {
			rate, err := rateOf(callers, 30, s)
			if err != nil {
				return "", err
			}
			rates[i] = append(rates[i], rate)
		}
	}
	floor, one, each := median(rates[0]), median(rates[1]), median(rates[2])
	return fmt.Sprintf("%.0f/s in one session, %.2f × the floor's %.0f/s; %.0f/s in a session each, %.2f ×",
		one, one/floor, floor, each, each/floor), nil
}

// rateOf has callers at once run something, each so many times, and gives how many a second there
// were.
func rateOf(callers, each int, run func(caller int) error) (float64, error) {
	var group sync.WaitGroup
	errs := make([]error, callers)
	start := time.Now()
	for caller := range callers {
		group.Go(func() {
			for range each {
				if err := run(caller); err != nil {
					errs[caller] = err
					return
				}
			}
		})
	}
	group.Wait()
	return float64(callers*each) / time.Since(start).Seconds(), errors.Join(errs...)
}
