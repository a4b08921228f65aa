package agentproto

// Kinds of ports, 112 to 127.
const (
	KindDialPort   Kind = iota + 112 // [DialPort], a request
	KindDialSocket                   // [DialSocket], a request
	KindConnected                    // [Connected]
	KindListenPort                   // [ListenPort], a request
	KindListening                    // [Listening]
	KindAcceptPort                   // [AcceptPort], a request
	KindListPorts                    // [ListPorts], a request
	KindPorts                        // [Ports]
)

// Classes of what is done with ports.
const (
	Refused  Class = iota + 32 // nothing takes a connection there
	Occupied                   // a port or an address can't be had
)

// DialPort connects to a TCP port of the container, on whatever of its addresses somebody listens.
// The answer is [Connected].
type DialPort struct {
	Port int
}

// Kind implements [Message].
func (*DialPort) Kind() Kind { return KindDialPort }

func (d *DialPort) fields(f *fields) { number(f, &d.Port) }

// DialSocket connects to a Unix socket, as a user. The answer is [Connected]; [NotFound] where
// there is none that the user may reach.
type DialSocket struct {
	Path string
	User string // as in [Command]; empty for the agent's own
}

// Kind implements [Message].
func (*DialSocket) Kind() Kind { return KindDialSocket }

func (d *DialSocket) fields(f *fields) {
	f.text(&d.Path)
	f.text(&d.User)
}

// Connected says that a connection is there. After it the stream carries the connection's bytes
// without frames, both ways ([Stream.Raw]): each direction ends by itself, and a reset of the
// stream is one of the connection, as the other way round.
type Connected struct {
	Address string // of the other end: "127.0.0.1:3000"
}

// Kind implements [Message].
func (*Connected) Kind() Kind { return KindConnected }

func (c *Connected) fields(f *fields) { f.text(&c.Address) }

// ListenPort listens on a TCP port until the daemon ends the stream. The answer is [Listening];
// [Occupied] where that can't be had.
type ListenPort struct {
	Address string // an IP address; empty for 127.0.0.1
	Port    int    // 0 for any that is free
}

// Kind implements [Message].
func (*ListenPort) Kind() Kind { return KindListenPort }

func (l *ListenPort) fields(f *fields) {
	f.text(&l.Address)
	number(f, &l.Port)
}

// Listening is the answer to [ListenPort].
type Listening struct {
	ID   string // for [AcceptPort], on the same connection
	Port int
}

// Kind implements [Message].
func (*Listening) Kind() Kind { return KindListening }

func (l *Listening) fields(f *fields) {
	f.text(&l.ID)
	number(f, &l.Port)
}

// AcceptPort waits for the next connection to what [ListenPort] listens on. The answer is
// [Connected]; [NotFound] where nobody listens any more.
type AcceptPort struct {
	ID string
}

// Kind implements [Message].
func (*AcceptPort) Kind() Kind { return KindAcceptPort }

func (a *AcceptPort) fields(f *fields) { f.text(&a.ID) }

// ListPorts asks for the TCP ports that something in the container listens on. The answer is
// [Ports].
type ListPorts struct{}

// Kind implements [Message].
func (*ListPorts) Kind() Kind { return KindListPorts }

func (*ListPorts) fields(*fields) {}

// MaxPorts is how many [Ports] names at most.
const MaxPorts = 1024

// Ports is the answer to [ListPorts], ordered by number.
type Ports struct {
	List []Port
}

// Kind implements [Message].
func (*Ports) Kind() Kind { return KindPorts }

func (p *Ports) fields(f *fields) {
	list(f, &p.List, func(f *fields, p *Port) { p.fields(f) })
}

// Port is an address on which something listens, and who that is, as far as it can be found out.
type Port struct {
	Address string // "0.0.0.0", "::1"
	Port    int
	PID     int      // 0: not known
	Args    []string // the first of them, where they are long
}

func (p *Port) fields(f *fields) {
	f.text(&p.Address)
	number(f, &p.Port)
	number(f, &p.PID)
	f.texts(&p.Args)
}
