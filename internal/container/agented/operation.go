package agented

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"os"
	"time"

	"github.com/octobot-run/octobot/internal/agentproto"
	"github.com/octobot-run/octobot/internal/container"
)

const (
	// stopNotice is how long the engine may take to say that a container has stopped whose agent's
	// link was cut.
	stopNotice = 2 * time.Second
	// dyingFor is how long an agent may take to kill a command that was cancelled.
	dyingFor = 30 * time.Second
)

// operation is one operation on a session's agent.
type operation struct {
	*agentproto.Stream
	r         *Runtime
	ctx       context.Context
	op        string
	sessionID string
	box       *box
	link      *link
	tag       string
	stop      func() bool
	silence   *time.Timer // until the agent says something
	over      bool        // the agent has said how it ended
	missing   error       // the class of there being no such thing, where it says so
	taken     error       // the class of there being one already
}

// open begins an operation in a running session, connecting to an agent first where need be. When
// ctx ends, its stream is reset. The caller ends the operation with end. An error is complete, or a
// *noAgent.
func (r *Runtime) open(
	ctx context.Context, op string, at place, request agentproto.Message,
) (*operation, error) {
	sessionID := at.sessionID
	if err := ctx.Err(); err != nil {
		return nil, failed(op, sessionID, err)
	}
	if r.mayBePaused(sessionID) {
		if err := r.checkRunning(ctx, op, sessionID); err != nil {
			return nil, err
		}
	}
	if at.purpose == forCommands || at.purpose == forTerminals {
		r.pace.note()
	}
	for again := false; ; again = true {
		b := r.box(at)
		if b == nil {
			return nil, failed(op, sessionID, container.ErrClosed)
		}
		l, err := b.connect(ctx)
		if err == errDropped {
			continue
		}
		if _, plain := errors.AsType[*noAgent](err); plain {
			return nil, err
		}
		if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
			return nil, container.Errorf(op, sessionID, container.ErrUnavailable,
				"it has not answered within %s", linkTimeout)
		}
		if err != nil {
			return nil, failed(op, sessionID, err)
		}
		tag := ""
		if e, ok := request.(*agentproto.Exec); ok {
			if plain := l.leaves(e); plain != nil {
				return nil, plain
			}
			if !e.Attach { // whose commands end with their terminal
				e.Tag = newTag()
				tag = e.Tag
				b.track(l, tag)
			}
		}
		quiet := time.AfterFunc(silence, func() { b.doubt(l) })
		stream, err := l.Open(ctx, request)
		if err == nil {
			o := &operation{Stream: stream, r: r, ctx: ctx, op: op, sessionID: sessionID, box: b, link: l, tag: tag}
			o.stop = context.AfterFunc(ctx, stream.Reset)
			o.silence = quiet
			return o, nil
		}
		quiet.Stop()
		if errors.Is(err, agentproto.ErrFrame) || errors.Is(err, agentproto.ErrNotOpened) {
			b.forgetOver(l, tag)
		} else {
			b.forgetCancelled(l, tag)
		}
		switch {
		case ctx.Err() != nil:
			return nil, failed(op, sessionID, ctx.Err())
		case errors.Is(err, agentproto.ErrFrame):
			return nil, container.Errorf(op, sessionID, container.ErrInvalidArgument, "%v", err)
		case again || !errors.Is(err, agentproto.ErrNotOpened):
			return nil, container.Errorf(op, sessionID, container.ErrUnavailable,
				"the connection to the agent was cut: %v", err)
		}
		// It was cut while nobody looked, and nothing was asked of the agent yet.
		_ = l.Close()
	}
}

// leaves is why a command is not the agent's to run; nil where it is.
func (l *link) leaves(e *agentproto.Exec) error {
	switch {
	case e.User != "" && !l.root:
		return &noAgent{why: OtherUser, reason: onlyAsOwnUser}
	case e.Attach && len(e.Args) == 0 && l.terminal:
		return &noAgent{why: MainProcess, reason: "the terminal is the main process's"}
	}
	return nil
}

// Next is [agentproto.Stream.Next].
func (o *operation) Next() (agentproto.Frame, error) {
	frame, err := o.Stream.Next()
	o.silence.Stop()
	return frame, err
}

// checkRunning asks the engine.
func (r *Runtime) checkRunning(ctx context.Context, op, sessionID string) error {
	c, err := r.Get(ctx, sessionID)
	if err != nil {
		return failed(op, sessionID, err)
	}
	switch {
	case c.Status != container.StatusRunning:
		return container.Errorf(op, sessionID, container.ErrContainerStopped, "")
	case c.Paused:
		return container.Errorf(op, sessionID, container.ErrContainerPaused, "")
	}
	return nil
}

// end ends the stream. An operation that is not complete is cancelled by that: a reset reaches an
// agent that does not read.
func (o *operation) end() {
	o.silence.Stop()
	o.stop()
	o.Reset()
	switch {
	case o.tag == "":
	case o.over:
		o.box.forgetOver(o.link, o.tag)
	default:
		o.box.forgetCancelled(o.link, o.tag)
	}
}

func newTag() string {
	var b [agentproto.TagSize / 2]byte
	rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// fail makes an error of the stream's, or one that the agent sent, the operation's own.
func (o *operation) fail(err error) error {
	if o.r.life.Err() != nil {
		return failed(o.op, o.sessionID, container.ErrClosed)
	}
	if ctxErr := o.ctx.Err(); ctxErr != nil {
		return failed(o.op, o.sessionID, ctxErr)
	}
	if said, ok := errors.AsType[*agentproto.Error](err); ok {
		return container.Errorf(o.op, o.sessionID, o.classOf(said.Class), "%s", said.Detail)
	}
	return o.whyCut(err)
}

// whyCut tells what a stream was cut for: the engine knows where the container has stopped, if not
// at once. Another agent that answers tells that it has not.
func (o *operation) whyCut(err error) error {
	ctx, cancel := context.WithTimeout(o.ctx, stopNotice)
	defer cancel()
	runs := make(chan struct{})
	o.r.startWork(func() {
		if l, err := o.box.connect(ctx); err == nil && l != o.link {
			close(runs)
		}
	})
	for wait := 5 * time.Millisecond; ; wait *= 2 {
		c, getErr := o.r.Get(ctx, o.sessionID)
		switch {
		case ctx.Err() != nil:
		case getErr != nil:
			return failed(o.op, o.sessionID, getErr)
		case c.Status != container.StatusRunning:
			return container.Errorf(o.op, o.sessionID, container.ErrContainerStopped, "")
		}
		select {
		case <-time.After(wait):
			continue
		case <-runs:
		case <-ctx.Done():
		}
		if o.ctx.Err() != nil {
			return failed(o.op, o.sessionID, o.ctx.Err())
		}
		return container.Errorf(o.op, o.sessionID, container.ErrUnavailable,
			"the connection to the agent was cut: %s", inWords(err))
	}
}

// classOf is what an agent's class of trouble is to a Runtime's callers.
func (o *operation) classOf(c agentproto.Class) error {
	switch c {
	case agentproto.CommandNotFound:
		return container.ErrExecFailed
	case agentproto.InvalidArgument:
		return container.ErrInvalidArgument
	case agentproto.Unsupported:
		return container.ErrUnsupported
	case agentproto.NotFound:
		return cmp.Or(o.missing, container.ErrUnavailable)
	case agentproto.Exists:
		return cmp.Or(o.taken, container.ErrUnavailable)
	case agentproto.PermissionDenied:
		return container.ErrPermission
	case agentproto.NoSpace:
		return container.ErrNoSpace
	case agentproto.Changed:
		return container.ErrPathChanged
	case agentproto.LimitReached:
		return container.ErrLimitReached
	case agentproto.Refused:
		return container.ErrPortClosed
	case agentproto.Occupied:
		return container.ErrPortTaken
	}
	return container.ErrUnavailable
}

// failed gives an error its operation and session.
func failed(op, sessionID string, err error) error {
	if e, ok := errors.AsType[*container.Error](err); ok {
		return &container.Error{Op: op, SessionID: sessionID, Class: e.Class, Detail: e.Detail}
	}
	class := container.ClassOf(err)
	if class == nil {
		class = container.ErrUnavailable
	}
	detail := ""
	if err.Error() != class.Error() {
		detail = err.Error()
	}
	return container.Errorf(op, sessionID, class, "%s", detail)
}

// inWords says what became of a connection to an agent.
func inWords(err error) string {
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "it has ended"
	case errors.Is(err, net.ErrClosed), errors.Is(err, io.ErrClosedPipe):
		return "it was closed"
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return "nothing came in time"
	}
	return container.Printable(err.Error())
}
