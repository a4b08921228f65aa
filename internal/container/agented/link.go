package agented

import (
	"context"
	"strings"
	"sync/atomic"
	"time"

	"github.com/octobot-run/octobot/internal/agentproto"
	"github.com/octobot-run/octobot/internal/container"
)

const (
	// linkTimeout bounds the making of a link.
	linkTimeout = 30 * time.Second
	// rememberPlain is for how long it is believed that a container has no agent; rememberSilent,
	// that its agent does not answer.
	rememberPlain  = 30 * time.Second
	rememberSilent = 10 * time.Second
	// silence is after which an agent that has said nothing about a command is asked whether it is
	// there, and answerTimeout how long that answer may take: with little of a processor that is
	// not its fault.
	silence       = 2 * time.Second
	answerTimeout = 5 * time.Second
	drainTick     = time.Second
	// killNotice is how long an agent may take to show that it has read of a command's end.
	killNotice = 2 * time.Second
)

// making is a link on its way, for all who wait for it.
type making struct {
	done chan struct{}
	link *link
	err  error
}

// link is a connection to an agent.
type link struct {
	*agentproto.Session
	pid      int                 // of the agent, in its container
	root     bool                // it can run commands as anybody
	terminal bool                // the container's main process has one
	used     time.Time           // guarded by its box
	tags     map[string]struct{} // of commands under way; guarded by its box
	doubted  atomic.Bool         // whether its agent answers is being found out
	retired  chan struct{}       // closed when it does not, so that nothing new goes over it
}

func (l *link) isRetired() bool {
	select {
	case <-l.retired:
		return true
	default:
		return false
	}
}

func (l *link) over() bool {
	select {
	case <-l.Done():
		return true
	default:
		return false
	}
}

// drain closes a link when nothing is under way over it any more.
func (l *link) drain() {
	tick := time.NewTicker(drainTick)
	defer tick.Stop()
	for l.Streams() > 0 {
		select {
		case <-l.Done():
			return
		case <-tick.C:
		}
	}
	_ = l.Close()
}

// doubt finds out whether the agent answers, of whose silence somebody wonders. One that does not,
// as one that is stopped, gets nothing new to do: who comes next has another agent. What is under
// way stays its, for it may only be slow.
func (b *box) doubt(l *link) {
	if l.isRetired() || !l.doubted.CompareAndSwap(false, true) {
		return
	}
	b.r.startWork(func() {
		defer l.doubted.Store(false)
		answered := make(chan struct{})
		ping := func() {
			if l.Ping() {
				close(answered)
			}
		}
		if !b.r.startWork(ping) {
			return
		}
		wait := time.NewTimer(answerTimeout)
		defer wait.Stop()
		select {
		case <-answered:
			return
		case <-wait.C:
		}
		ctx, cancel := context.WithTimeout(b.r.life, linkTimeout)
		defer cancel()
		c, err := b.r.Get(ctx, b.sessionID)
		if err != nil || c.Paused || l.over() {
			return // and so it can't answer; of an engine that stands still the Dialer's connection tells
		}
		b.r.log.Warn("An agent does not answer; another one is started for what comes next", "session", b.sessionID)
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.link == l {
			b.link = nil
		}
		if !l.isRetired() {
			close(l.retired)
		}
	})
}

// dial has the engine start an agent, and greets it.
func (b *box) dial(ctx context.Context) (*link, error) {
	c, err := b.r.Runtime.Get(ctx, b.sessionID)
	if err != nil {
		return nil, err
	}
	switch {
	case c.Status != container.StatusRunning:
		return nil, container.Errorf("", "", container.ErrContainerStopped, "")
	case c.Paused:
		return nil, container.Errorf("", "", container.ErrContainerPaused, "")
	case c.Labels[container.LabelProgram] == "":
		return nil, b.without(rememberPlain, Without, madeWithout)
	}
	// Only where the container's own user is root do engines give a root of the exec's any rights.
	root, user := isRoot(c.User), ""
	if root {
		user = "0"
	}
	conn, err := b.r.dialer.Dial(ctx, b.sessionID, user, agentproto.Serve(c.SetsHome))
	if err != nil {
		return nil, b.notDialled(err)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	session, info, err := agentproto.Connect(conn)
	stop()
	if err == nil {
		return &link{Session: session, pid: info.PID, root: root, terminal: c.Tty, used: time.Now(),
			tags: make(map[string]struct{}), retired: make(chan struct{})}, nil
	}
	if ctxErr := ctx.Err(); ctxErr != nil && b.r.life.Err() != nil {
		return nil, container.ErrClosed
	}
	reason := "the agent does not answer: " + inWords(err)
	if said := container.Printable(conn.Stderr()); said != "" {
		reason += ": " + said
	}
	b.r.log.Warn("An agent does not answer; commands go through the engine for now", "session", b.sessionID,
		"reason", reason)
	return nil, b.without(rememberSilent, NoAnswer, reason)
}

// isRoot reports whether a container's user is certainly root.
func isRoot(user string) bool {
	name, group, _ := strings.Cut(user, ":")
	return (name == "" || name == "0" || name == "root") && (group == "" || group == "0" || group == "root")
}

// notDialled tells an engine that refused to start the agent, so that there is none, from one that
// could not be asked.
func (b *box) notDialled(err error) error {
	class := container.ClassOf(err)
	switch class {
	case container.ErrExecFailed, container.ErrUnsupported, container.ErrInvalidArgument, container.ErrRefused:
		plain := b.without(rememberSilent, NotStarted,
			"the engine can't start the agent: "+container.Printable(err.Error()))
		if class == container.ErrRefused {
			plain.class = class // for a reason that may be over soon
		}
		return plain
	}
	return err
}
