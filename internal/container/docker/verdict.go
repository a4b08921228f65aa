package docker

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/client"

	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/container/provider"
)

// An exec whose command could not be started ends as one that was: with output, which is the
// reason, and an exit code, which is 125 to 128. A command may write the same and end with the
// same. What tells them apart is not in the output:
//
//   - Docker's inspection has the process ID of what was started, after its end too.
//   - Podman's has none after the end. It has events: "exec" comes for each that was started,
//     before its end is told, and for no other. They don't name the exec, but what comes with its
//     end, "exec_died", tells the exit code.
//   - An OCI runtime's child that fails at execve itself has been started for every engine. What it
//     says about the file is checked on the file.

// errNotStarted marks that the command was not started: what was held of the output is the reason.
var errNotStarted = errors.New("not started")

type notStarted struct{ error }

func (notStarted) Is(target error) bool { return target == errNotStarted }
func (e notStarted) Unwrap() error      { return e.error }

const (
	// execFailsWithin is how long an OCI runtime's child may take to end after its last words.
	execFailsWithin = 100 * time.Millisecond
	// eventNotice is how long an event may come after the end that it tells of.
	eventNotice = time.Second
	// clockSlack covers the resolution of an engine's clock.
	clockSlack = 2 * time.Second
)

// runs reports whether the process is known to run, or to have run, so that words are its own. It
// waits until the engine knows whether it was started.
func (r *process) runs(words []byte) bool {
	began, runs := time.Now(), false
	_ = provider.Poll(r.Ctx, "the command to start", time.Millisecond, 20*time.Millisecond, func() (bool, error) {
		state, err := r.inspect()
		if err != nil {
			return true, err // what it was is judged at the end
		}
		switch {
		case state.over(r.p.podman()):
			return true, nil
		case !state.Running || state.Pid == 0:
			return false, nil
		}
		runs = !bytes.HasPrefix(words, execWords) || time.Since(began) > execFailsWithin
		return runs, nil
	})
	return runs
}

func (s execState) over(podman bool) bool {
	if podman {
		return s.CanRemove && !s.Running
	}
	return !s.Running && s.ExitCode != nil
}

// notStarted is the error of a command that could not be started; nil where it was. The state is
// its last.
func (r *process) notStarted(state execState, said *opening) error {
	code := *state.ExitCode
	started := code == 0 || state.Pid != 0
	if r.p.podman() {
		started = !said.held || code < 125 || code > 128 || r.wasStarted(code)
	}
	switch {
	case !started:
		return notStarted{r.refused(said.reason())}
	case bytes.HasPrefix(said.words, execWords) && !said.other && (code == 1 || code == 255):
		// Where the child took long to end, they were passed on.
		reason := ""
		err := r.answered(func(r *process) error {
			reason = r.execFailure(said.reason())
			return r.Ctx.Err()
		})
		if err == nil && reason != "" {
			return notStarted{container.Errorf("", "", container.ErrExecFailed, "%s", reason)}
		}
	}
	return nil
}

// refused makes an error of an engine's reason. It is not for want of a command where the container
// ends.
func (r *process) refused(reason string) error {
	failed := container.Errorf("", "", container.ErrExecFailed, "%s", cmp.Or(reason, "the engine gave no reason"))
	if blamesProgram(reason, r.opts.Cmd[0]) {
		return failed
	}
	if r.containerStops() {
		return container.Errorf("", "", container.ErrContainerStopped, "it stopped before the command could start")
	}
	return failed
}

// blamesProgram reports whether an engine's reason is the command's, whose name may hold any words
// itself. The OCI runtime quotes it, and of a file that is missing gives the path too.
func blamesProgram(reason, name string) bool {
	says := strings.NewReplacer(strconv.Quote(name), "", "stat "+name+": ", "stat : ").Replace(reason)
	return errorSays(errors.New(says), saysNoProgram)
}

// wasStarted asks Podman's log of events for the end of a command that was started in the container
// since this was begun, and has ended with code. Where that can't be found out it is taken for
// started: its output is passed on then.
func (r *process) wasStarted(code int) bool {
	started := false
	_ = provider.Poll(r.Ctx, "the engine's event", 10*time.Millisecond, 100*time.Millisecond, func() (bool, error) {
		begun := false
		err := r.eachEvent(func(m events.Message) {
			switch m.Action {
			case "exec":
				begun = true
			case "exec_died":
				of := m.Actor.Attributes["execID"] // since Podman 5
				started = started || m.Actor.Attributes["containerExitCode"] == fmt.Sprint(code) &&
					(of == "" || of == r.execID)
			}
		})
		if err != nil {
			started = true
		}
		return started || !begun || time.Since(r.overAt) > eventNotice, nil
	})
	return started
}

// eachEvent gives f the events of the container since the process was begun.
func (r *process) eachEvent(f func(events.Message)) error {
	return r.answered(func(r *process) error { return r.readEvents(f) })
}

func (r *process) readEvents(f func(events.Message)) error {
	clock, err := r.p.engineTime(r.Ctx)
	if err != nil {
		return err
	}
	from, until := clock.Add(-time.Since(r.begun)-clockSlack), clock.Add(time.Second)
	// Behind a socket of this host may be a virtual machine, whose clock is its own.
	now := time.Now()
	if d := now.Sub(clock); r.p.engine.SharesHost() && d > -clockSlack/2 && d < clockSlack {
		until = now // for which the engine does not wait
		if r.p.podman() {
			from = r.begun // version 4.3 names no execs, so that those before must not be told
		}
	}
	stream := r.p.client.Events(r.Ctx, client.EventsListOptions{
		Since: from.Format(time.RFC3339Nano), Until: until.Format(time.RFC3339Nano),
		Filters: make(client.Filters).Add("container", r.containerID),
	})
	for {
		select {
		case m := <-stream.Messages:
			if m.TimeNano >= from.UnixNano() {
				f(m)
			}
		case err := <-stream.Err:
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
	}
}
