package agentproto

// Kinds of commands, 32 to 47.
const (
	KindExec    Kind = iota + 32 // [Exec], a request
	KindStdout                   // bytes
	KindStderr                   // bytes
	KindExit                     // [Exit]
	KindResize                   // [Resize]
	KindStarted                  // [Started]
	KindKill                     // [Kill], a request
)

// Command says what to run, and as whom.
type Command struct {
	Args []string
	Env  []string // "NAME=value", on top of the container's
	Dir  string   // absolute; empty for the container's
	User string   // "name", "uid", "name:group", "uid:gid"; empty for the container's
	// Rows and Cols are the terminal's size, where it has one; zero for 24 and 80.
	Rows, Cols uint16
}

func (c *Command) fields(f *fields) {
	f.texts(&c.Args)
	f.texts(&c.Env)
	f.text(&c.Dir)
	f.text(&c.User)
	number(f, &c.Rows)
	number(f, &c.Cols)
}

// Exec runs a command for as long as its stream lives.
//
// The daemon sends its input as KindData, and KindEnd after the last of it; with Tty it may send
// [Resize]. The agent sends KindStdout (with Tty, all output) and KindStderr, and at last [Exit],
// or an [Error] where the command was not started. A stream that ends before that kills the command
// with all its descendants.
type Exec struct {
	Command
	Tty   bool
	Stdin bool // input follows; otherwise the command sees its end at once
	// Attach makes a terminal of it, and so Tty and Stdin hold: [Started] comes before all output,
	// a stream that ends hangs up instead of killing, and without Args it is the user's shell.
	Attach bool
	// Tag is what the command and its descendants can be found by in case that this agent does not
	// live to end them, see [Kill]: [TagSize] characters; empty for one of the agent's.
	Tag string
}

// TagSize is the length of a command's tag, in hexadecimal digits.
const TagSize = 32

// Kind implements [Message].
func (*Exec) Kind() Kind { return KindExec }

func (e *Exec) fields(f *fields) {
	nested(f, &e.Command, (*Command).fields)
	boolean(f, &e.Tty)
	boolean(f, &e.Stdin)
	boolean(f, &e.Attach)
	f.text(&e.Tag)
}

// Kill kills agents before this one, and what is left of the commands with these tags, which they
// have left behind. The answer is [Done], when nothing is.
type Kill struct {
	Tags   []string
	Agents []int // their process IDs; a process that is no agent is left alone
}

// Kind implements [Message].
func (*Kill) Kind() Kind { return KindKill }

func (k *Kill) fields(f *fields) {
	f.texts(&k.Tags)
	list(f, &k.Agents, number[int])
}

// Started says that the command runs.
type Started struct{}

// Kind implements [Message].
func (*Started) Kind() Kind { return KindStarted }

func (*Started) fields(*fields) {}

// Exit is how a command has ended; 128+n where signal n ended it.
type Exit struct {
	Code int
}

// Kind implements [Message].
func (*Exit) Kind() Kind { return KindExit }

func (e *Exit) fields(f *fields) { number(f, &e.Code) }

// Resize sets a terminal's size.
type Resize struct {
	Rows, Cols uint16
}

// Kind implements [Message].
func (*Resize) Kind() Kind { return KindResize }

func (r *Resize) fields(f *fields) {
	number(f, &r.Rows)
	number(f, &r.Cols)
}
