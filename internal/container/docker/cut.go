package docker

import (
	"context"
	"time"

	"github.com/moby/moby/api/types/events"

	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/container/provider"
)

// The stream of a command's output has no mark of its end: engines close the connection, and what
// is between may close it as orderly in the middle. What tells the two apart is the command:
//
//   - One that has ended is not cut short. Something may be missing all the same where the
//     connection is closed while the last of its output is on its way: that nobody can tell. Within
//     a frame it is noticed.
//   - One that runs on has closed its output, or the connection was cut. In its container is seen
//     which; where that can't be seen, and it does not end soon, it is taken for cut.
//   - Docker that fails to write to the connection says that the command has ended, with 126,
//     though it runs on. It has told nobody of an end then.

const (
	// endNotice is how long after the end of its output a command's own end may be told.
	endNotice = 250 * time.Millisecond
	// outputsWait bounds the time for which a command runs on that is not seen, and blindWait where
	// nothing can be seen in its container: the image has no shell, or no process can be added.
	outputsWait = 2 * time.Second
	blindWait   = 10 * time.Second
)

func errCut() error {
	return container.Errorf("", "", container.ErrUnavailable,
		"the connection to the engine was cut while the command ran")
}

// outputs finds out whether a process whose output has ended, and which runs, has closed it itself.
type outputs struct {
	ended time.Time
	known bool
}

// check is called again and again while the process runs. Its error is that of a cut connection.
func (o *outputs) check(r *process) error {
	since := time.Since(o.ended)
	if o.known || since < endNotice {
		return nil
	}
	ctx, cancel := context.WithTimeout(r.Ctx, settleTimeout)
	defer cancel()
	code, _, err := r.p.runScript(ctx, r, findOutputs)
	wait := blindWait
	if err == nil && code == 4 {
		wait = outputsWait
	}
	hasOutput := err == nil && code == 3
	switch {
	case err == nil && code == 0:
		o.known = true
		return nil
	case r.Ctx.Err() != nil:
		return r.Ctx.Err()
	case !hasOutput && since < wait:
		return nil // it is ending, most likely
	}
	return errCut()
}

// wasCut reports whether Docker's 126 of a command that was started is not the command's.
func (r *process) wasCut(state execState) bool {
	if r.p.podman() || state.Pid == 0 || *state.ExitCode != 126 {
		return false
	}
	ended := false
	err := provider.Poll(r.Ctx, "the engine's event", 10*time.Millisecond, 100*time.Millisecond, func() (bool, error) {
		err := r.eachEvent(func(m events.Message) {
			ended = ended || m.Action == events.ActionExecDie && m.Actor.Attributes["execID"] == r.execID
		})
		return ended || time.Since(r.overAt) > eventNotice, err
	})
	return err == nil && !ended
}
