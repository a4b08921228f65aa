package agentproto

// Kinds of terminals, 48 to 63.
const (
	KindOpenTerminal  Kind = iota + 48 // [OpenTerminal], a request
	KindAttached                       // [Attached]
	KindReplay                         // bytes
	KindMissed                         // [Missed]
	KindViewers                        // [Viewers]
	KindListTerminals                  // [ListTerminals], a request
	KindTerminals                      // [Terminals]
	KindEndTerminal                    // [EndTerminal], a request
)

// OpenTerminal connects a viewer with a terminal, which is made where need be: a command on a PTY,
// kept by its name, with the last of its output.
//
// The agent answers [Attached]. Then it sends what is kept as KindReplay, which draws it once more
// and is not a byte for byte copy, and an empty KindData behind it; output as KindData; [Missed]
// where the viewer has fallen behind what is kept, and KindReplay after it, which sets the modes
// that a screen needs for what follows; [Viewers] whenever their number or the size has changed;
// and at last, after all output, [Exit]. The viewer sends KindData with input, and [Resize]. A
// stream that ends detaches the viewer, and the terminal lives on.
type OpenTerminal struct {
	Command // of a terminal that is made; without Args it is the user's shell
	// Name is the terminal's, in a session ID's form.
	Name string
	New  bool // there must be none of the name that has not ended: else [Exists]
	// ID is that of the terminal that the viewer comes back to: else [NotFound]. Since is the
	// position of the first byte that it wants then, and nothing is replayed; negative: what is
	// kept is, as for who comes without an ID.
	ID       string
	Since    int64
	ReadOnly bool // input is dropped, the size does not count, and no terminal is made
	// Linger is how many seconds a terminal that is made lives without viewers; 0 for a day.
	Linger int64
}

// Kind implements [Message].
func (*OpenTerminal) Kind() Kind { return KindOpenTerminal }

func (o *OpenTerminal) fields(f *fields) {
	nested(f, &o.Command, (*Command).fields)
	f.text(&o.Name)
	boolean(f, &o.New)
	f.text(&o.ID)
	number(f, &o.Since)
	boolean(f, &o.ReadOnly)
	number(f, &o.Linger)
}

// Attached is the first answer to [OpenTerminal].
type Attached struct {
	Terminal TerminalInfo
	Made     bool  // by this request
	Position int64 // of the first byte of KindData
	Missed   int64 // bytes between the request's Since and Position
}

// Kind implements [Message].
func (*Attached) Kind() Kind { return KindAttached }

func (a *Attached) fields(f *fields) {
	nested(f, &a.Terminal, (*TerminalInfo).fields)
	boolean(f, &a.Made)
	number(f, &a.Position)
	number(f, &a.Missed)
}

// Missed says that so many bytes are not kept any more; what follows comes after them.
type Missed struct {
	Bytes int64
}

// Kind implements [Message].
func (*Missed) Kind() Kind { return KindMissed }

func (m *Missed) fields(f *fields) { number(f, &m.Bytes) }

// Viewers says how many look at a terminal, the one who is told among them, and which size it has.
type Viewers struct {
	Count      int
	Rows, Cols uint16
}

// Kind implements [Message].
func (*Viewers) Kind() Kind { return KindViewers }

func (v *Viewers) fields(f *fields) {
	number(f, &v.Count)
	number(f, &v.Rows)
	number(f, &v.Cols)
}

// ListTerminals asks for the terminals; the answer is [Terminals].
type ListTerminals struct{}

// Kind implements [Message].
func (*ListTerminals) Kind() Kind { return KindListTerminals }

func (*ListTerminals) fields(*fields) {}

// TerminalInfo is what the agent tells of a terminal.
type TerminalInfo struct {
	Name       string
	ID         string   // tells it from others that have had its name
	Args       []string // the first of them, where they are long
	PID        int
	Created    int64 // nanoseconds since 1970
	Rows, Cols uint16
	Viewers    int
	Position   int64 // of the next byte that is written
	Active     int64 // when there was input or output, in nanoseconds since 1970
	Running    bool
	ExitCode   int // meaningful where it does not run
}

func (t *TerminalInfo) fields(f *fields) {
	f.text(&t.Name)
	f.text(&t.ID)
	f.texts(&t.Args)
	number(f, &t.PID)
	number(f, &t.Created)
	number(f, &t.Rows)
	number(f, &t.Cols)
	number(f, &t.Viewers)
	number(f, &t.Position)
	number(f, &t.Active)
	boolean(f, &t.Running)
	number(f, &t.ExitCode)
}

// Terminals is the answer to [ListTerminals], in the order of their creation.
type Terminals struct {
	List []TerminalInfo
}

// Kind implements [Message].
func (*Terminals) Kind() Kind { return KindTerminals }

func (t *Terminals) fields(f *fields) {
	list(f, &t.List, func(f *fields, i *TerminalInfo) { i.fields(f) })
}

// EndTerminal hangs a terminal up, and forgets it; one that has ended is forgotten. The answer is
// [Done] once its command has ended.
type EndTerminal struct {
	Name string
}

// Kind implements [Message].
func (*EndTerminal) Kind() Kind { return KindEndTerminal }

func (e *EndTerminal) fields(f *fields) { f.text(&e.Name) }
