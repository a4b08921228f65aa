// Package detached keeps processes that nobody waits for: commands without input, each with the
// last of its output for whoever asks.
package detached

import (
	"context"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/octobot-run/octobot/internal/agent"
	"github.com/octobot-run/octobot/internal/agent/process"
	"github.com/octobot-run/octobot/internal/agentproto"
)

const (
	maxProcesses = 256
	// keepEnded is how long one that has ended is kept, keepWaited how long after somebody has
	// waited for it: whose answer may be lost, or who goes on to read its output.
	keepEnded  = 10 * time.Minute
	keepWaited = 10 * time.Second
	// killWait is how long the death of a process is waited for.
	killWait  = 10 * time.Second
	maxSignal = 64
)

// Processes are the processes of a container that nobody waits for. Make them with [New].
type Processes struct {
	manager *process.Manager
	timing  timing

	mu   sync.Mutex
	list []*detached // in the order of their start; guarded by mu
	// starting are those that count already; guarded by mu
	starting int
}

// timing is a field for the tests' sake.
type timing struct{ ended, waited time.Duration }

// New makes Processes without any.
func New(m *process.Manager) *Processes {
	return &Processes{manager: m, timing: timing{ended: keepEnded, waited: keepWaited}}
}

// Register makes reg serve the requests about processes.
func (ps *Processes) Register(reg agent.Registry) {
	reg.Handle(agentproto.KindStartProcess, ps.start)
	reg.Handle(agentproto.KindListProcesses, ps.listAll)
	reg.Handle(agentproto.KindSignalProcess, ps.signal)
	reg.Handle(agentproto.KindWaitProcess, ps.wait)
	reg.Handle(agentproto.KindReadProcess, ps.read)
}

// Absent are the requests about processes, with what to answer where nobody keeps any; nil where
// somebody must.
func Absent() map[agentproto.Kind]agentproto.Message {
	none := agentproto.Errorf(agentproto.NotFound, "there are no processes")
	return map[agentproto.Kind]agentproto.Message{
		agentproto.KindStartProcess:  nil,
		agentproto.KindListProcesses: &agentproto.Processes{},
		agentproto.KindSignalProcess: none,
		agentproto.KindWaitProcess:   none,
		agentproto.KindReadProcess:   none,
	}
}

// Kept is how many processes there are, those that have ended among them.
func (ps *Processes) Kept() int {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	return len(ps.list) + ps.starting
}

func (ps *Processes) start(ctx context.Context, s *agentproto.Stream, request []byte) error {
	var r agentproto.StartProcess
	if err := agentproto.Decode(request, &r); err != nil {
		return agentproto.Errorf(agentproto.InvalidArgument, "%v", err)
	}
	if err := ps.reserve(); err != nil {
		return err
	}
	d, err := start(ctx, ps.manager, &r)
	ps.mu.Lock()
	ps.starting--
	if err == nil {
		ps.list = append(ps.list, d)
		slices.SortFunc(ps.list, byStart)
	}
	ps.mu.Unlock()
	if err != nil {
		return err
	}
	go func() { // as long as the command runs, which nothing here ends
		<-d.done
		ps.keepFor(d, ps.timing.ended)
	}()
	return s.Send(d.info())
}

// reserve makes room for one more.
func (ps *Processes) reserve() error {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if len(ps.list)+ps.starting >= maxProcesses {
		var first *detached
		for _, d := range ps.list {
			if d.hasEnded() && (first == nil || d.endedAt.Before(first.endedAt)) {
				first = d
			}
		}
		if first == nil {
			return agentproto.Errorf(agentproto.LimitReached,
				"there are %d processes, and no more may be; end one first",
				maxProcesses)
		}
		ps.remove(first)
	}
	ps.starting++
	return nil
}

// keepFor has a process that has ended forgotten after so long, if not before.
func (ps *Processes) keepFor(d *detached, long time.Duration) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if !slices.Contains(ps.list, d) {
		return
	}
	at := time.Now().Add(long)
	if d.forget != nil {
		if !at.Before(d.forgetAt) {
			return
		}
		d.forget.Stop()
	}
	d.forgetAt = at
	d.forget = time.AfterFunc(long, func() {
		ps.mu.Lock()
		defer ps.mu.Unlock()
		ps.remove(d)
	})
}

// remove forgets a process that has ended; the caller holds mu. Those that read its output get the
// rest.
func (ps *Processes) remove(d *detached) {
	i := slices.Index(ps.list, d)
	if i < 0 {
		return
	}
	ps.list = slices.Delete(ps.list, i, i+1)
	if d.forget != nil {
		d.forget.Stop()
	}
	go func() {
		d.readers.Wait()
		d.out.close()
	}()
}

// find finds a process by its ID, for one who reads it: leave must be called.
func (ps *Processes) find(id string) (d *detached, leave func(), err error) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	for _, d := range ps.list {
		if d.id == id {
			d.readers.Add(1)
			return d, d.readers.Done, nil
		}
	}
	return nil, nil, agentproto.Errorf(agentproto.NotFound, "there is no process %q", id)
}

func (ps *Processes) listAll(_ context.Context, s *agentproto.Stream, _ []byte) error {
	ps.mu.Lock()
	all := slices.Clone(ps.list)
	ps.mu.Unlock()
	var answer agentproto.Processes
	for _, d := range all {
		answer.List = append(answer.List, *d.info())
	}
	return s.Send(&answer)
}

func (ps *Processes) signal(ctx context.Context, s *agentproto.Stream, request []byte) error {
	var r agentproto.SignalProcess
	if err := agentproto.Decode(request, &r); err != nil {
		return agentproto.Errorf(agentproto.InvalidArgument, "%v", err)
	}
	if r.Signal < 1 || r.Signal > maxSignal {
		return agentproto.Errorf(agentproto.InvalidArgument, "there is no signal %d", r.Signal)
	}
	d, leave, err := ps.find(r.ID)
	if err != nil {
		return err
	}
	defer leave()
	switch sig := syscall.Signal(r.Signal); {
	case d.hasEnded():
	case sig == syscall.SIGKILL:
		ctx, cancel := context.WithTimeout(ctx, killWait)
		defer cancel()
		err = d.process.Kill(ctx)
	default:
		err = d.process.Signal(sig)
	}
	if err != nil {
		return err
	}
	return s.Send(&agentproto.Done{})
}

func (ps *Processes) wait(ctx context.Context, s *agentproto.Stream, request []byte) error {
	var r agentproto.WaitProcess
	if err := agentproto.Decode(request, &r); err != nil {
		return agentproto.Errorf(agentproto.InvalidArgument, "%v", err)
	}
	d, leave, err := ps.find(r.ID)
	if err != nil {
		return err
	}
	defer leave()
	return untilCut(ctx, s, func(ctx context.Context) error {
		select {
		case <-d.done:
		case <-ctx.Done():
			return nil
		}
		if err := s.Send(d.info()); err != nil {
			return nil // nobody has waited for it yet
		}
		ps.keepFor(d, ps.timing.waited)
		return nil
	})
}

func (ps *Processes) read(ctx context.Context, s *agentproto.Stream, request []byte) error {
	var r agentproto.ReadProcess
	if err := agentproto.Decode(request, &r); err != nil {
		return agentproto.Errorf(agentproto.InvalidArgument, "%v", err)
	}
	d, leave, err := ps.find(r.ID)
	if err != nil {
		return err
	}
	defer leave()
	return untilCut(ctx, s, func(ctx context.Context) error { return d.read(ctx, s, &r) })
}

// untilCut does something for as long as the other side of the stream is there: ctx ends then.
func untilCut(ctx context.Context, s *agentproto.Stream, do func(ctx context.Context) error) error {
	ctx, cut := context.WithCancel(ctx)
	defer cut()
	var watching sync.WaitGroup
	watching.Go(func() {
		defer cut()
		for {
			if _, err := s.Next(); err != nil {
				return
			}
		}
	})
	err := do(ctx)
	if err != nil {
		_ = s.Send(agent.Answer(err))
	}
	_ = s.Close() // ends the watching
	watching.Wait()
	return nil
}
