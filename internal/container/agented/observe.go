package agented

import (
	"errors"
	"time"

	"github.com/octobot-run/octobot/internal/container"
)

// Fallback is why something went through the engine.
type Fallback string

// Fallbacks.
const (
	Without     Fallback = "without"      // the container was made without the agent
	NotStarted  Fallback = "not_started"  // the engine can't start it
	NoAnswer    Fallback = "no_answer"    // what was started does not answer as an agent does
	OtherUser   Fallback = "other_user"   // not the container's own user, who is not root
	MainProcess Fallback = "main_process" // the terminal is that of the container's main process
)

// Fallbacks are all of them.
func Fallbacks() []Fallback { return []Fallback{Without, NotStarted, NoAnswer, OtherUser, MainProcess} }

// Observer is told what a [Runtime] does. Its methods are called from many goroutines, and must not
// block.
type Observer interface {
	// Command: a command has ended or failed, after this time, on the agent's path or the engine's.
	Command(agent bool, d time.Duration)
	// FellBack: a command or terminal goes through the engine.
	FellBack(why Fallback)
	// Dialled: the making of a link took this long, and gave one or not.
	Dialled(ok bool, d time.Duration)
}

type unobserved struct{}

func (unobserved) Command(bool, time.Duration) {}
func (unobserved) FellBack(Fallback)           {}
func (unobserved) Dialled(bool, time.Duration) {}

// noAgent is why something goes through the engine.
type noAgent struct {
	why    Fallback
	reason string
	class  error // of what nothing but an agent can do; nil: it is not supported
}

func (n *noAgent) Error() string { return "no agent: " + n.reason }

// fallBack reports whether an error says that the engine is to be used, which is counted.
func (r *Runtime) fallBack(err error) bool {
	n, ok := errors.AsType[*noAgent](err)
	if ok {
		r.cfg.Observer.FellBack(n.why)
	}
	return ok
}

// InUse tells how many links there are, and how many commands and terminals are under way.
func (r *Runtime) InUse() (links, streams int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, b := range r.boxes {
		if l := b.current(); l != nil {
			links++
			streams += l.Streams()
		}
	}
	return links, streams
}

// setExec tells which way commands take into a container.
func (r *Runtime) setExec(c *container.Container) {
	if c.Labels[container.LabelProgram] == "" {
		c.Exec.Reason = madeWithout
		return
	}
	r.mu.Lock()
	b := r.boxes[place{c.SessionID, forCommands}]
	r.mu.Unlock()
	if b != nil {
		if plain := b.remembered(); plain != nil {
			c.Exec.Reason = plain.reason
			return
		}
	}
	c.Exec.Agent = true
	if c.Detailed && !isRoot(c.User) {
		c.Exec.Reason = onlyAsOwnUser
	}
}

const (
	madeWithout   = "the container was made without the agent"
	onlyAsOwnUser = "commands as other users than the container's own go through the engine"
)
