package agented

import (
	"cmp"
	"context"
	"errors"
	"io"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/octobot-run/octobot/internal/agentproto"
	"github.com/octobot-run/octobot/internal/container"
)

var _ container.Terminals = (*Runtime)(nil)

// maxListed is how many terminals, or processes, of a container are believed in: more than an
// honest agent keeps.
const maxListed = 512

// OpenTerminal implements [container.Terminals].
func (r *Runtime) OpenTerminal(
	ctx context.Context, sessionID string, opts container.TerminalOptions,
) (container.Terminal, error) {
	const op = "openterminal"
	if err := cmp.Or(container.ValidateSessionID(sessionID), opts.Validate()); err != nil {
		return nil, failed(op, sessionID, err)
	}
	o, err := r.askKeeper(ctx, op, sessionID, &agentproto.OpenTerminal{
		Command: terminalCommand(opts.AttachOptions), Name: opts.Name, New: opts.New, ID: opts.ID, Since: opts.Since,
		ReadOnly: opts.ReadOnly, Linger: int64(opts.Linger / time.Second),
	}, container.ErrTerminalNotFound)
	if err != nil {
		return nil, err
	}
	var attached agentproto.Attached
	err = o.Receive(&attached)
	o.silence.Stop()
	attached.Terminal.Position = attached.Position
	info, valid := terminalInfo(&attached.Terminal)
	switch {
	case err == nil && (!valid || attached.Missed < 0):
		err = o.fail(agentproto.ErrFrame)
	case err != nil:
		err = o.fail(err)
	case !o.stop(): // from now on, the end of ctx does not cut it
		err = o.fail(ctx.Err())
	}
	if err != nil {
		o.end()
		return nil, err
	}
	v := &viewer{o: o, info: info, made: attached.Made, readOnly: opts.ReadOnly, position: attached.Position,
		missed: attached.Missed, ended: make(chan struct{}), closed: make(chan struct{})}
	o.ctx, v.leave = context.WithCancel(r.life)
	return v, nil
}

// askKeeper begins an operation of what keeps terminals and processes in a container; missing is
// the class of an error about one that it does not keep.
func (r *Runtime) askKeeper(
	ctx context.Context, op, sessionID string, request agentproto.Message, missing error,
) (*operation, error) {
	o, err := r.ask(ctx, op, place{sessionID, forTerminals}, request, missing)
	if err == nil {
		o.taken = container.ErrTerminalExists
	}
	return o, err
}

// ask begins an operation that nothing but an agent can do.
func (r *Runtime) ask(
	ctx context.Context, op string, at place, request agentproto.Message, missing error,
) (*operation, error) {
	o, err := r.open(ctx, op, at, request)
	if plain, ok := errors.AsType[*noAgent](err); ok {
		return nil, container.Errorf(op, at.sessionID, cmp.Or(plain.class, container.ErrUnsupported),
			"that takes Octobot's agent, which this container can't use: %s", plain.reason)
	}
	if err == nil {
		o.missing = missing
	}
	return o, err
}

// ListTerminals implements [container.Terminals].
func (r *Runtime) ListTerminals(ctx context.Context, sessionID string) ([]container.TerminalInfo, error) {
	const op = "listterminals"
	if err := container.ValidateSessionID(sessionID); err != nil {
		return nil, failed(op, sessionID, err)
	}
	o, err := r.askKeeper(ctx, op, sessionID, &agentproto.ListTerminals{}, container.ErrTerminalNotFound)
	if err != nil {
		return nil, err
	}
	defer o.end()
	var answer agentproto.Terminals
	if err := o.Receive(&answer); err != nil {
		return nil, o.fail(err)
	}
	list := make([]container.TerminalInfo, 0, len(answer.List))
	for i := range answer.List[:min(len(answer.List), maxListed)] {
		if info, valid := terminalInfo(&answer.List[i]); valid { // else nobody could ask for it
			list = append(list, info)
		}
	}
	return list, nil
}

// EndTerminal implements [container.Terminals].
func (r *Runtime) EndTerminal(ctx context.Context, sessionID, name string) error {
	const op = "endterminal"
	if err := cmp.Or(container.ValidateSessionID(sessionID), container.ValidateTerminalName(name)); err != nil {
		return failed(op, sessionID, err)
	}
	o, err := r.askKeeper(ctx, op, sessionID, &agentproto.EndTerminal{Name: name}, container.ErrTerminalNotFound)
	if err != nil {
		return err
	}
	defer o.end()
	if err := o.Receive(&agentproto.Done{}); err != nil {
		return o.fail(err)
	}
	return nil
}

// terminalInfo makes what an agent says of a terminal safe to use; false where it can be of none.
func terminalInfo(t *agentproto.TerminalInfo) (info container.TerminalInfo, valid bool) {
	if container.ValidateTerminalName(t.Name) != nil || container.ValidateTerminalName(t.ID) != nil || t.Position < 0 ||
		t.ExitCode < 0 || t.ExitCode > 255 {
		return info, false
	}
	return container.TerminalInfo{
		Name: t.Name, ID: t.ID, Cmd: printableArgs(t.Args), PID: t.PID, Created: time.Unix(0, t.Created),
		Rows: uint(t.Rows), Cols: uint(t.Cols), Viewers: max(0, t.Viewers), Position: t.Position,
		Active: time.Unix(0, t.Active), Running: t.Running, ExitCode: t.ExitCode,
	}, true
}

// viewer is a [container.Terminal].
type viewer struct {
	o        *operation
	leave    context.CancelFunc // ends o.ctx
	info     container.TerminalInfo
	made     bool
	readOnly bool

	// Of Next, which one goroutine calls.
	position int64
	missed   int64 // before the first byte

	over   sync.Once
	ended  chan struct{} // closed when it is known how it ended
	code   int           // after ended
	err    error         // after ended: why no code is known
	close  sync.Once
	closed chan struct{}
	typing atomic.Int32 // calls of Write under way
}

// leaveTime is how long an agent may take to take what a viewer has typed who leaves.
const leaveTime = 2 * time.Second

// Opened implements [container.Terminal].
func (v *viewer) Opened() (container.TerminalInfo, bool) { return v.info, v.made }

// Next implements [container.Terminal].
func (v *viewer) Next() (container.TerminalEvent, error) {
	if v.missed > 0 {
		e := container.TerminalEvent{Position: v.position, Missed: v.missed}
		v.missed = 0
		return e, nil
	}
	select {
	case <-v.ended:
		return container.TerminalEvent{}, v.end(v.code, v.err)
	default:
	}
	frame, err := v.o.Next()
	if v.isClosed() {
		return container.TerminalEvent{}, io.ErrClosedPipe
	}
	if err != nil {
		return container.TerminalEvent{}, v.end(0, v.o.fail(cutShort(err)))
	}
	e, err := v.event(frame)
	if err != nil {
		v.o.Reset()
		return container.TerminalEvent{}, v.end(0, v.o.fail(err))
	}
	if e == nil {
		return container.TerminalEvent{}, v.end(v.code, nil)
	}
	return *e, nil
}

// event is what a frame tells; nil where it is the last one.
func (v *viewer) event(frame agentproto.Frame) (*container.TerminalEvent, error) {
	e := &container.TerminalEvent{}
	switch frame.Kind {
	case agentproto.KindData:
		e.Data = frame.Payload
		v.position += int64(len(e.Data))
	case agentproto.KindReplay:
		e.Data, e.Replayed = frame.Payload, true
	case agentproto.KindMissed:
		var missed agentproto.Missed
		if err := frame.Decode(&missed); err != nil {
			return nil, err
		}
		if missed.Bytes < 0 || missed.Bytes > math.MaxInt64-v.position {
			return nil, agentproto.ErrFrame
		}
		e.Missed = missed.Bytes
		v.position += missed.Bytes
	case agentproto.KindViewers:
		var viewers agentproto.Viewers
		if err := frame.Decode(&viewers); err != nil {
			return nil, err
		}
		e.Viewers, e.Rows, e.Cols = max(1, viewers.Count), uint(viewers.Rows), uint(viewers.Cols)
	default:
		code, err := exitCode(frame)
		if err != nil {
			return nil, err
		}
		v.code = code
		return nil, nil
	}
	e.Position = v.position
	return e, nil
}

// end notes how it ended, the first time, and gives what Next says then.
func (v *viewer) end(code int, err error) error {
	v.over.Do(func() {
		v.code, v.err = code, err
		close(v.ended)
	})
	if v.err == nil || errors.Is(v.err, container.ErrContainerStopped) {
		return io.EOF
	}
	return v.err
}

// Write implements [container.Terminal].
func (v *viewer) Write(b []byte) (int, error) {
	switch {
	case v.readOnly:
		return 0, container.Errorf("terminal write", v.o.sessionID, container.ErrInvalidArgument,
			"this viewer only reads")
	case v.isOver():
		return 0, io.ErrClosedPipe
	case len(b) == 0:
		return 0, nil
	}
	v.o.r.pace.note()
	v.typing.Add(1)
	defer v.typing.Add(-1)
	if err := v.o.SendData(agentproto.KindData, b); err != nil {
		if v.isOver() {
			return 0, io.ErrClosedPipe
		}
		return 0, container.Errorf("terminal write", v.o.sessionID, container.ErrUnavailable, "%v", err)
	}
	return len(b), nil
}

func (v *viewer) isOver() bool {
	select {
	case <-v.ended:
		return true
	default:
		return v.isClosed()
	}
}

func (v *viewer) isClosed() bool {
	select {
	case <-v.closed:
		return true
	default:
		return false
	}
}

// Resize implements [container.Terminal].
func (v *viewer) Resize(height, width uint) error {
	err := v.o.Send(&agentproto.Resize{Rows: uint16(min(height, math.MaxUint16)),
		Cols: uint16(min(width, math.MaxUint16))})
	if err != nil && !v.isOver() {
		return container.Errorf("terminal resize", v.o.sessionID, container.ErrUnavailable, "%v", err)
	}
	return nil
}

// ExitCode implements [container.ExitCoder]. Somebody must call Next meanwhile.
func (v *viewer) ExitCode(ctx context.Context) (int, error) {
	select {
	case <-v.ended:
		return v.code, v.err
	case <-v.closed:
		return 0, container.Errorf("terminal exit code", v.o.sessionID, container.ErrClosed, "the terminal was left")
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// Close implements [container.Terminal].
func (v *viewer) Close() error {
	v.close.Do(func() {
		close(v.closed)
		depart := func() {
			v.o.Leave(leaveTime)
			v.leave()
			v.o.end()
		}
		if v.typing.Load() > 0 || !v.o.r.startWork(depart) {
			v.leave()
			v.o.end() // who still types has not typed it
		}
	})
	return nil
}
