package docker

import (
	"context"
	"time"

	"github.com/octobot-run/octobot/internal/container"
)

// defaultAnswerTime is how long the engine may take to answer what it answers at once, however busy
// it is: one that is frozen, as a stopped process or a machine that sleeps, keeps its connections
// open and answers never.
const defaultAnswerTime = 30 * time.Second

// answered bounds what asks the engine for an answer that it gives at once. The context that do
// gets ends with that.
func (p *DockerProvider) answered(ctx context.Context, do func(context.Context) error) error {
	bounded, cancel := context.WithTimeout(ctx, p.answerTime)
	defer cancel()
	err := do(bounded)
	if err != nil && bounded.Err() != nil && ctx.Err() == nil {
		return &silentError{p.answerTime}
	}
	return err
}

// answered is that of the provider for what a call asks.
func (c *call) answered(do func(*call) error) error {
	return c.p.answered(c.Ctx, func(ctx context.Context) error {
		bounded := *c.Call
		bounded.Ctx = ctx
		return do(&call{Call: &bounded, p: c.p})
	})
}

// silentError is of an engine that has not answered.
type silentError struct{ within time.Duration }

func (e *silentError) Error() string { return "it has not answered within " + e.within.String() }

// Is gives its class.
func (*silentError) Is(target error) bool { return target == container.ErrUnavailable }

// answered is that of the call for what a process asks.
func (r *process) answered(do func(*process) error) error {
	return r.call.answered(func(c *call) error {
		bounded := *r
		bounded.call = c
		return do(&bounded)
	})
}

// inspect gives what the engine says of the exec.
func (r *process) inspect() (state execState, err error) {
	err = r.call.answered(func(c *call) error {
		state, err = c.p.inspectExec(c.Ctx, r.execID)
		return err
	})
	return state, err
}
