package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"sync"
	"time"

	"github.com/octobot-run/octobot/internal/agentbin"
	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/container/agented"
)

// agentSession makes a session with the agent, beside the raw side; end removes it.
func agentSession(ctx context.Context, e env, id string) (
	rt container.Runtime, raw rawEngine, containerID string, end func() error, err error,
) {
	below, raw, endEngines, err := engines(ctx, e)
	if err != nil {
		return nil, rawEngine{}, "", nil, err
	}
	rt = agented.New(below, agented.Config{Binary: agentbin.Binary})
	created, err := rt.Create(ctx, id, idle(e))
	if err != nil {
		endEngines()
		return nil, rawEngine{}, "", nil, err
	}
	end = func() error {
		err := rt.Remove(context.WithoutCancel(ctx), id)
		endEngines()
		return err
	}
	if err := rt.Start(ctx, id); err != nil {
		return nil, rawEngine{}, "", nil, errors.Join(err, end())
	}
	_, err = rt.Exec(ctx, id, []string{"true"}, container.ExecOptions{}) // the link is there from now on
	if err != nil {
		return nil, rawEngine{}, "", nil, errors.Join(err, end())
	}
	return rt, raw, created.ID, end, nil
}

// execAgent compares a command through the agent with one through the raw Engine API, and both with
// the floor: fork, exec and wait on the host.
func execAgent(ctx context.Context, e env) (_ string, err error) {
	const id = "bench-agent"
	rt, raw, containerID, end, err := agentSession(ctx, e, id)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, end()) }()
	agent := func(ctx context.Context) (time.Duration, error) {
		return timed(func() error {
			_, err := rt.Exec(ctx, id, []string{"true"}, container.ExecOptions{})
			return err
		})
	}
	engine, err := interleave(ctx, 5*e.rounds, func(ctx context.Context) (time.Duration, error) {
		return timed(func() error { return raw.exec(ctx, containerID, "true") })
	}, agent)
	if err != nil {
		return "", err
	}
	floor, err := interleave(ctx, 5*e.rounds, func(ctx context.Context) (time.Duration, error) {
		return timed(func() error { return exec.CommandContext(ctx, "true").Run() })
	}, agent)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("against the engine: %s; against the floor: %s", compare(engine), compare(floor)), nil
}

// execAgentMany has 64 callers run commands in one session.
func execAgentMany(ctx context.Context, e env) (_ string, err error) {
	const id = "bench-agent-many"
	rt, _, _, end, err := agentSession(ctx, e, id)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, end()) }()
	var callers sync.WaitGroup
	var mu sync.Mutex
	var failed error
	const each, n = 50, 64
	start := time.Now()
	for range n {
		callers.Go(func() {
			for range each {
				if _, err := rt.Exec(ctx, id, []string{"true"}, container.ExecOptions{}); err != nil {
					mu.Lock()
					failed = err
					mu.Unlock()
					return
				}
			}
		})
	}
	callers.Wait()
	if failed != nil {
		return "", failed
	}
	return fmt.Sprintf("%.0f commands/s", n*each/time.Since(start).Seconds()), nil
}
