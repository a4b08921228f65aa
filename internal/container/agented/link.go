package agented

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
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
)

// noAgent is why commands of a session go through the engine.
type noAgent struct{ reason string }

func (n *noAgent) Error() string { return "no agent: " + n.reason }

// place is a session's container, and what is done there. What people type at has a link of its
// own: on one with commands, whose output may be much, an echo would wait for that.
type place struct {
	sessionID string
	purpose   purpose
}

type purpose int

const (
	forCommands purpose = iota
	forTerminals
)

// box is a place, as far as the link to its agent goes.
type box struct {
	r *Runtime
	place

	mu     sync.Mutex
	link   *link    // guarded by mu
	making *making  // guarded by mu
	plain  *noAgent // until then, no link is tried; guarded by mu
	until  time.Time
	lost   []string // tags of commands whose link was cut, and which may be left; guarded by mu
	gone   bool     // the container has ended: a link that is just made is too late; guarded by mu
}

// making is a link on its way, for all who wait for it.
type making struct {
	done chan struct{}
	link *link
	err  error
}

// link is a connection to an agent.
type link struct {
	*agentproto.Session
	root     bool                // it can run commands as anybody
	terminal bool                // the container's main process has one
	used     time.Time           // guarded by its box
	tags     map[string]struct{} // of commands under way; guarded by its box
}

func (l *link) over() bool {
	select {
	case <-l.Done():
		return true
	default:
		return false
	}
}

// connect returns the link, and makes it where there is none. The caller may go before it is made;
// others may wait for the same. An error may be a *noAgent.
func (b *box) connect(ctx context.Context) (*link, error) {
	l, m, err := b.join()
	if l != nil || err != nil {
		return l, err
	}
	select {
	case <-m.done:
		return m.link, m.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// box returns a place's box; nil after Close.
func (r *Runtime) box(at place) *box {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil
	}
	b := r.boxes[at]
	if b == nil {
		b = &box{r: r, place: at}
		r.boxes[at] = b
	}
	return b
}

// forget ends the links of a container that has ended.
func (r *Runtime) forget(sessionID string) {
	var ended []*box
	r.mu.Lock()
	for _, p := range []purpose{forCommands, forTerminals} {
		at := place{sessionID, p}
		if b := r.boxes[at]; b != nil {
			ended = append(ended, b)
			delete(r.boxes, at)
		}
	}
	delete(r.paused, sessionID)
	r.mu.Unlock()
	for _, b := range ended {
		b.close()
	}
}

// join gives the link that there is, or the making of one.
func (b *box) join() (*link, *making, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if l := b.link; l != nil && !l.over() {
		l.used = time.Now()
		return l, nil, nil
	}
	if b.plain != nil && time.Now().Before(b.until) {
		return nil, nil, b.plain
	}
	if !b.startMaking() {
		return nil, nil, container.ErrClosed
	}
	return nil, b.making, nil
}

// startMaking makes a link, unless that is under way; the caller holds mu. False after Close.
func (b *box) startMaking() bool {
	if b.making != nil {
		return true
	}
	m := &making{done: make(chan struct{})}
	if !b.r.startWork(func() { b.make(m) }) {
		return false
	}
	b.making = m
	return true
}

// make makes a link, and stays with it until its end.
func (b *box) make(m *making) {
	ctx, cancel := context.WithTimeout(b.r.life, linkTimeout)
	l, err := b.dial(ctx)
	cancel()
	b.mu.Lock()
	if plain, ok := errors.AsType[*noAgent](err); ok {
		b.plain = plain
	}
	b.making, b.link = nil, l
	late := b.gone && l != nil
	lost := b.lost
	if l != nil || hasEnded(err) {
		b.lost = nil
	}
	b.mu.Unlock()
	if late {
		_ = l.Close()
	}
	m.link, m.err = l, err
	close(m.done)
	if l == nil {
		return
	}
	// The Runtime may have lost sight of the box, as of one that held nothing.
	defer context.AfterFunc(b.r.life, func() { _ = l.Close() })()
	if len(lost) > 0 {
		b.killLost(l, lost)
	}
	<-l.Done()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.link == l {
		b.link = nil
	}
	// Their agent kills them, unless it was killed itself.
	b.lost = slices.AppendSeq(b.lost, maps.Keys(l.tags))
	if len(b.lost) > 0 && !b.gone {
		b.startMaking()
	}
}

// hasEnded tells of an error that there are no processes of the container.
func hasEnded(err error) bool {
	return errors.Is(err, container.ErrContainerStopped) || errors.Is(err, container.ErrContainerNotFound)
}

// killLost kills what an earlier link's agent may have left. What fails is tried again.
func (b *box) killLost(l *link, tags []string) {
	ctx, cancel := context.WithTimeout(b.r.life, linkTimeout)
	defer cancel()
	stream, err := l.Open(ctx, &agentproto.Kill{Tags: tags})
	if err == nil {
		defer context.AfterFunc(ctx, stream.Reset)()
		err = stream.Receive(&agentproto.Done{})
		_ = stream.Close()
	}
	if err == nil {
		return
	}
	b.r.log.Warn("Commands whose agent was killed may still run; it will be tried again to kill them", "session",
		b.sessionID, "error", printable(err.Error()))
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lost = append(b.lost, tags...)
}

// track notes that a command with this tag is about to run. It is to be forgotten when the command
// is over, and never was lost then, or in a while after it was cancelled.
func (b *box) track(l *link, tag string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l.tags[tag] = struct{}{}
}

func (b *box) forgetOver(l *link, tag string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(l.tags, tag)
	b.lost = slices.DeleteFunc(b.lost, func(lost string) bool { return lost == tag })
}

func (b *box) forgetCancelled(l *link, tag string) {
	time.AfterFunc(dyingFor, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if !l.over() { // else make sees to it
			delete(l.tags, tag)
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
	case c.Status != container.StatusRunning || c.Paused:
		return nil, container.Errorf("", "", container.ErrContainerStopped, "")
	case c.Labels[container.LabelProgram] == "":
		return nil, b.without(rememberPlain, "the container was made without it")
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
	session, _, err := agentproto.Connect(conn)
	stop()
	if err == nil {
		return &link{Session: session, root: root, terminal: c.Tty, used: time.Now(),
			tags: make(map[string]struct{})}, nil
	}
	if ctxErr := ctx.Err(); ctxErr != nil && b.r.life.Err() != nil {
		return nil, container.ErrClosed
	}
	reason := "it does not answer: " + printable(err.Error())
	if said := printable(conn.Stderr()); said != "" {
		reason += ": " + said
	}
	b.r.log.Warn("An agent does not answer; commands go through the engine for now", "session", b.sessionID,
		"reason", reason)
	return nil, b.without(rememberSilent, reason)
}

// isRoot reports whether a container's user is certainly root.
func isRoot(user string) bool {
	name, group, _ := strings.Cut(user, ":")
	return (name == "" || name == "0" || name == "root") && (group == "" || group == "0" || group == "root")
}

// notDialled tells an engine that refused to start the agent, so that there is none, from one that
// could not be asked.
func (b *box) notDialled(err error) error {
	switch container.ClassOf(err) {
	case container.ErrExecFailed, container.ErrUnsupported, container.ErrInvalidArgument:
		return b.without(rememberSilent, "the engine can't start it: "+printable(err.Error()))
	}
	return err
}

// without remembers for a while that there is no agent to talk to.
func (b *box) without(d time.Duration, reason string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.until = time.Now().Add(d)
	return &noAgent{reason: reason}
}

// close ends the link; who makes one sees to the rest.
func (b *box) close() {
	b.mu.Lock()
	b.gone = true
	l := b.link
	b.mu.Unlock()
	if l != nil {
		_ = l.Close()
	}
}

// closeIdle closes links that nobody uses, until the Runtime closes.
func (r *Runtime) closeIdle() {
	tick := time.NewTicker(max(r.cfg.IdleTimeout/4, 10*time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-r.life.Done():
			return
		case <-tick.C:
		}
		r.mu.Lock()
		var idle []*link
		for at, b := range r.boxes {
			l, empty := b.idle(time.Now().Add(-r.cfg.IdleTimeout))
			if l != nil {
				idle = append(idle, l)
			}
			if empty {
				delete(r.boxes, at)
			}
		}
		r.mu.Unlock()
		for _, l := range idle {
			_ = l.Close()
		}
	}
}

// idle returns the link where it was not used since then, and reports whether the box holds nothing
// worth keeping. Where something is still to be killed, it has a link made.
func (b *box) idle(since time.Time) (idle *link, empty bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.link
	if l == nil && len(b.lost) > 0 {
		b.startMaking()
		return nil, false
	}
	if l == nil {
		return nil, b.making == nil && (b.plain == nil || time.Now().After(b.until))
	}
	if l.Streams() > 0 {
		l.used = time.Now()
	}
	if l.used.Before(since) {
		return l, false
	}
	return nil, false
}
