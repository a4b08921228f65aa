package v1

// ListeningPort is an address inside a session on which something listens.
type ListeningPort struct {
	Port    int      `json:"port"`
	Address string   `json:"address" doc:"Within the session: 127.0.0.1, ::, …"`
	PID     int      `json:"pid,omitempty" doc:"In the session; left out where it can't be found out."`
	Cmd     []string `json:"cmd,omitempty" doc:"Its command, cut where it is long."`
}

// PortList is what listens in a session, ordered by port and address.
type PortList struct {
	Ports []ListeningPort `json:"ports" nullable:"false"`
}

// Listening says what a session listens on for a client.
type Listening struct {
	ID      string `json:"id" doc:"For the WebSockets that take its connections."`
	Address string `json:"address"`
	Port    int    `json:"port"`
}

// Peer is the other end of a connection that was accepted.
type Peer struct {
	Address string `json:"address" doc:"Within the session."`
}
