// Package command runs commands for as long as the operation lives that asks for them.
package command

import (
	"context"
	"errors"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/octobot-run/octobot/internal/agent"
	"github.com/octobot-run/octobot/internal/agent/process"
	"github.com/octobot-run/octobot/internal/agentproto"
)

const (
	// stalledLook is how often an operation is asked whether it was cut, while its command does not
	// read its input.
	stalledLook = 100 * time.Millisecond
	// killWait is how long the death of a cancelled command is waited for.
	killWait = 30 * time.Second
)

// Register serves [agentproto.KindExec] with commands of m, and [agentproto.KindKill].
func Register(r agent.Registry, m *process.Manager) {
	r.Handle(agentproto.KindKill, killTagged)
	r.Handle(agentproto.KindExec, func(ctx context.Context, s *agentproto.Stream, request []byte) error {
		var e agentproto.Exec
		if err := agentproto.Decode(request, &e); err != nil {
			return agentproto.Errorf(agentproto.InvalidArgument, "%v", err)
		}
		if e.Attach {
			e.Tty, e.Stdin = true, true
		}
		if e.Tag != "" && !isTag(e.Tag) {
			return agentproto.Errorf(agentproto.InvalidArgument, "the tag %q", e.Tag)
		}
		return run(ctx, m, s, &e)
	})
}

func isTag(tag string) bool {
	return len(tag) == agentproto.TagSize && strings.Trim(tag, "0123456789abcdef") == ""
}

func killTagged(ctx context.Context, s *agentproto.Stream, request []byte) error {
	var k agentproto.Kill
	if err := agentproto.Decode(request, &k); err != nil {
		return agentproto.Errorf(agentproto.InvalidArgument, "%v", err)
	}
	if i := slices.IndexFunc(k.Tags, func(tag string) bool { return !isTag(tag) }); i >= 0 {
		return agentproto.Errorf(agentproto.InvalidArgument, "the tag %q", k.Tags[i])
	}
	ctx, cancel := context.WithTimeout(ctx, killWait)
	defer cancel()
	process.KillAgents(k.Agents)
	if err := process.KillTagged(ctx, k.Tags); err != nil {
		return err
	}
	return s.Send(&agentproto.Done{})
}

// execution is a command that runs, and the stream that it runs for.
type execution struct {
	stream   *agentproto.Stream
	cut      context.Context // ends with the operation, or when its stream has been cut
	stop     context.CancelFunc
	stdin    *os.File // our end; nil where there is no input
	terminal *os.File // our end, with a terminal; it is stdin too
	outputs  []*output
	last     byte // typed at the terminal
	attached bool // it is hung up, not killed, when the stream is cut
}

// run runs a command to its end, and says how it ended.
func run(ctx context.Context, m *process.Manager, s *agentproto.Stream, e *agentproto.Exec) error {
	spec, err := m.Resolve(e.Command, e.Tty)
	if err != nil {
		return err
	}
	spec.Tag = e.Tag
	x := &execution{stream: s, attached: e.Attach}
	if e.Attach && len(spec.Args) == 0 {
		spec.Args = []string{process.Shell(&spec)}
	}
	x.cut, x.stop = context.WithCancel(ctx)
	defer x.stop()
	theirs, err := x.open(&spec, e)
	defer x.close()
	if err != nil {
		closeAll(theirs)
		return agentproto.Errorf(agentproto.Internal, "%v", err)
	}
	// The input is read from now on, for it tells that the operation was cut, while a place is
	// waited for too.
	var input sync.WaitGroup
	input.Go(x.input)
	p, err := m.Start(x.cut, spec)
	closeAll(theirs)
	if err != nil {
		_ = s.Send(agent.Answer(err))
	} else {
		if x.attached {
			_ = s.Send(&agentproto.Started{}) // a stream that takes no more is cut
		}
		x.attend(ctx, p)
	}
	// The answer is in the hands of the connection's goroutine: let it go out before what is tidied
	// up here.
	runtime.Gosched()
	// What waits in the input: for a frame, or for a child of the command's that has its stdin and
	// does not read.
	_ = s.Close()
	x.close()
	input.Wait()
	return nil
}

// open makes the command's pipes, or its terminal. The files that it gives are the command's ends.
func (x *execution) open(spec *process.Spec, e *agentproto.Exec) (theirs []*os.File, err error) {
	if e.Tty {
		err = x.openTerminal(spec, e)
		if err == nil {
			theirs = append(theirs, spec.Terminal)
		}
		return theirs, err
	}
	if e.Stdin {
		if spec.Stdin, x.stdin, err = process.Pipe(false); err != nil {
			return theirs, err
		}
		theirs = append(theirs, spec.Stdin)
	}
	if spec.Stdout, err = x.openOutput(agentproto.KindStdout); err != nil {
		return theirs, err
	}
	theirs = append(theirs, spec.Stdout)
	if spec.Stderr, err = x.openOutput(agentproto.KindStderr); err != nil {
		return theirs, err
	}
	return append(theirs, spec.Stderr), nil
}

func (x *execution) openOutput(kind agentproto.Kind) (*os.File, error) {
	r, w, err := process.Pipe(true)
	if err == nil {
		x.outputs = append(x.outputs, &output{from: r, kind: kind})
	}
	return w, err
}

// attend passes output on until the command has ended, and what it wrote was sent, and then says
// how it ended. Where the operation is cut before, the command and its descendants are killed.
func (x *execution) attend(ctx context.Context, p *process.Process) {
	copied := make(chan error, len(x.outputs))
	for _, o := range x.outputs {
		go func() { copied <- o.copy(x.stream) }()
	}
	if x.terminal != nil && x.stdin == nil {
		_, _ = x.terminal.Write([]byte{endOfFile}) // which has room for it
	}
	left, ended := len(x.outputs), p.Done()
	for left > 0 || ended != nil {
		select {
		case <-ended:
			ended = nil
			x.finishOutputs()
		case err := <-copied:
			left--
			if err != nil {
				x.stop()
			}
		case <-x.cut.Done():
			// Whoever has closed the stream in good order does not take more either.
			x.stream.Reset()
			x.endEarly(ctx, p)
			x.finishOutputs()
			for ; left > 0; left-- {
				<-copied
			}
			return
		}
	}
	_ = x.stream.Send(&agentproto.Exit{Code: p.Code()})
}

// endEarly kills the command, or hangs it up, also where ctx, the agent's, has ended. Nobody is
// there to be told how that went.
func (x *execution) endEarly(ctx context.Context, p *process.Process) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), killWait)
	defer cancel()
	if !x.attached {
		_ = p.Kill(ctx)
		return
	}
	// What it still has to say must not hold it up.
	var unread sync.WaitGroup
	unread.Go(func() { _, _ = io.Copy(io.Discard, x.terminal) })
	_ = p.HangUp(ctx)
	_ = x.terminal.Close()
	unread.Wait()
}

func (x *execution) finishOutputs() {
	for _, o := range x.outputs {
		o.finish()
	}
}

// input is the command's, from frames. It returns when the stream has ended, and the operation is
// cut then.
func (x *execution) input() {
	defer x.stop()
	for {
		frame, err := x.stream.Next()
		if err != nil {
			return
		}
		switch frame.Kind {
		case agentproto.KindData:
			if !x.feed(frame.Payload) {
				return
			}
		case agentproto.KindEnd:
			x.endInput()
		case agentproto.KindResize:
			var size agentproto.Resize
			if agentproto.Decode(frame.Payload, &size) == nil {
				x.resize(size.Rows, size.Cols)
			}
		}
	}
}

// feed gives bytes to the command. A command that does not read them holds the daemon, not the
// watch over the stream: false means that it was cut. One that has closed its input loses them, as
// in any pipe.
func (x *execution) feed(b []byte) bool {
	if x.stdin == nil || len(b) == 0 {
		return true
	}
	x.last = b[len(b)-1]
	return x.write(x.stdin, b)
}

func (x *execution) write(to *os.File, b []byte) bool {
	for {
		_ = to.SetWriteDeadline(time.Now().Add(stalledLook))
		n, err := to.Write(b)
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return true
		}
		b = b[n:]
		if x.stream.Over() {
			return false
		}
	}
}

// endInput is the end of the command's input.
func (x *execution) endInput() {
	switch {
	case x.terminal != nil:
		x.typeEnd()
	case x.stdin != nil:
		_ = x.stdin.Close()
	}
}

// close closes our ends. A repeated call: nothing.
func (x *execution) close() {
	if x.stdin != nil {
		_ = x.stdin.Close()
	}
	if x.terminal != nil {
		_ = x.terminal.Close()
	}
	for _, o := range x.outputs {
		_ = o.from.Close()
	}
}

func closeAll(files []*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}
