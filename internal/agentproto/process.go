package agentproto

// Kinds of processes that nobody waits for, 64 to 79.
const (
	KindStartProcess  Kind = iota + 64 // [StartProcess], a request
	KindProcess                        // [ProcessInfo]
	KindListProcesses                  // [ListProcesses], a request
	KindProcesses                      // [Processes]
	KindSignalProcess                  // [SignalProcess], a request
	KindWaitProcess                    // [WaitProcess], a request
	KindReadProcess                    // [ReadProcess], a request
)

// StartProcess starts a command without input, whose output is kept. The answer is [ProcessInfo].
type StartProcess struct {
	Command
	// Keep is how much of the output is kept, in bytes; more than a MiB of it on disk. 0 for that.
	Keep int64
}

// Kind implements [Message].
func (*StartProcess) Kind() Kind { return KindStartProcess }

func (s *StartProcess) fields(f *fields) {
	nested(f, &s.Command, (*Command).fields)
	number(f, &s.Keep)
}

// ProcessInfo is what the agent tells of a process.
type ProcessInfo struct {
	ID       string
	Args     []string // the first of them, where they are long
	PID      int
	Started  int64 // nanoseconds since 1970
	Ended    int64 // the same; 0 while it runs
	Position int64 // of the next byte that is written
	Kept     int64 // how many bytes before that are kept
	ExitCode int   // meaningful where it has ended
}

// Kind implements [Message].
func (*ProcessInfo) Kind() Kind { return KindProcess }

func (p *ProcessInfo) fields(f *fields) {
	f.text(&p.ID)
	f.texts(&p.Args)
	number(f, &p.PID)
	number(f, &p.Started)
	number(f, &p.Ended)
	number(f, &p.Position)
	number(f, &p.Kept)
	number(f, &p.ExitCode)
}

// ListProcesses asks for the processes; the answer is [Processes].
type ListProcesses struct{}

// Kind implements [Message].
func (*ListProcesses) Kind() Kind { return KindListProcesses }

func (*ListProcesses) fields(*fields) {}

// Processes is the answer to [ListProcesses], in the order of their start.
type Processes struct {
	List []ProcessInfo
}

// Kind implements [Message].
func (*Processes) Kind() Kind { return KindProcesses }

func (p *Processes) fields(f *fields) {
	list(f, &p.List, func(f *fields, i *ProcessInfo) { i.fields(f) })
}

// SignalProcess sends a signal to a command's process group, SIGKILL to all its descendants. The
// answer is [Done].
type SignalProcess struct {
	ID     string
	Signal int
}

// Kind implements [Message].
func (*SignalProcess) Kind() Kind { return KindSignalProcess }

func (s *SignalProcess) fields(f *fields) {
	f.text(&s.ID)
	number(f, &s.Signal)
}

// WaitProcess waits for a process. The answer is its [ProcessInfo], when it has ended.
type WaitProcess struct {
	ID string
}

// Kind implements [Message].
func (*WaitProcess) Kind() Kind { return KindWaitProcess }

func (w *WaitProcess) fields(f *fields) { f.text(&w.ID) }

// ReadProcess asks for the output of a process, from a position on: KindStdout, KindStderr, and
// [Missed] before what comes after bytes that are not kept any more. [ProcessInfo] comes last, with
// the position that was read up to.
type ReadProcess struct {
	ID     string
	Since  int64
	Follow bool // until it ends
}

// Kind implements [Message].
func (*ReadProcess) Kind() Kind { return KindReadProcess }

func (r *ReadProcess) fields(f *fields) {
	f.text(&r.ID)
	number(f, &r.Since)
	boolean(f, &r.Follow)
}
