package agented

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/octobot-run/octobot/internal/agentproto"
	"github.com/octobot-run/octobot/internal/container"
)

// lost is what may be left of links that were cut.
type lost struct {
	tags   []string // of commands
	agents []int    // process IDs
}

func (l lost) nothing() bool { return len(l.tags) == 0 && len(l.agents) == 0 }

func (l *lost) add(more lost) {
	l.tags = append(l.tags, more.tags...)
	l.agents = append(l.agents, more.agents...)
}

// findLost sees to it that what is lost is killed; the caller holds mu.
func (b *box) findLost() {
	if b.lost.nothing() || b.gone {
		return
	}
	current, left := b.link, b.lost
	if current == nil {
		b.startMaking() // and that kills it
		return
	}
	if b.r.startWork(func() { b.killLost(current, left) }) {
		b.lost = lost{}
	}
}

// hasEnded tells of an error that there are no processes of the container.
func hasEnded(err error) bool {
	return errors.Is(err, container.ErrContainerStopped) || errors.Is(err, container.ErrContainerNotFound)
}

// killLost kills what an earlier link's agent may have left. What fails is tried again, though not
// at once: a container may end agents as fast as they come.
func (b *box) killLost(l *link, left lost) (done bool) {
	ctx, cancel := context.WithTimeout(b.r.life, linkTimeout)
	defer cancel()
	stream, err := l.Open(ctx, &agentproto.Kill{Tags: left.tags, Agents: left.agents})
	if err == nil {
		defer context.AfterFunc(ctx, stream.Reset)()
		err = stream.Receive(&agentproto.Done{})
		_ = stream.Close()
	}
	if err == nil {
		return true
	}
	b.r.log.Warn("Commands whose agent was killed may still run; it will be tried again to kill them", "session",
		b.sessionID, "error", container.Printable(err.Error()))
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lost.add(left)
	return false
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
	b.lost.tags = slices.DeleteFunc(b.lost.tags, func(t string) bool { return t == tag })
}

func (b *box) forgetCancelled(l *link, tag string) {
	time.AfterFunc(dyingFor, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if !l.over() && !l.isRetired() { // else make sees to it
			delete(l.tags, tag)
		}
	})
}
