package agentproto

// Kinds of all processes of the container, 128 to 143.
const (
	KindListRunning Kind = iota + 128 // [ListRunning], a request
	KindRunning                       // [Running]
)

// ListRunning asks for all processes of the container. The answer is [Running].
type ListRunning struct{}

// Kind implements [Message].
func (*ListRunning) Kind() Kind { return KindListRunning }

func (*ListRunning) fields(*fields) {}

// MaxRunning is how many processes [Running] names at most.
const MaxRunning = 8192

// Running is the answer to [ListRunning], ordered by PID.
type Running struct {
	List []RunningProcess
}

// Kind implements [Message].
func (*Running) Kind() Kind { return KindRunning }

func (r *Running) fields(f *fields) {
	list(f, &r.List, func(f *fields, p *RunningProcess) { p.fields(f) })
}

// RunningProcess is a process, whoever started it.
type RunningProcess struct {
	PID, Parent int
	User        string // name, or number where it has none
	CPUTime     int64  // nanoseconds
	Elapsed     int64  // nanoseconds since its start
	Memory      int64  // resident, in bytes
	Cmd         string // its command line, cut where it is long; in brackets the name of what has none
}

func (p *RunningProcess) fields(f *fields) {
	number(f, &p.PID)
	number(f, &p.Parent)
	f.text(&p.User)
	number(f, &p.CPUTime)
	number(f, &p.Elapsed)
	number(f, &p.Memory)
	f.text(&p.Cmd)
}
