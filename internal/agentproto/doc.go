// Package agentproto is what the daemon and the agent in a session's container say to each other:
// the greeting on a fresh connection, the multiplexed session that follows, and the typed frames on
// its streams. Both sides import it, and so it imports little.
//
// # A connection
//
// A connection is the standard input and output of the agent, which the engine's exec has started
// in the container for it: nobody else can reach those, so there is no key. The daemon speaks first
// ([Connect]), the agent answers ([Accept]). Then the connection carries a yamux session, on which
// only the daemon opens streams. Its end is the agent's end.
//
// # A stream
//
// A stream is one operation. Its first frame, from the daemon, is a request; what follows depends
// on the request and stands in its documentation. A stream that the daemon ends before the answer
// is complete cancels the operation. The window of a stream is [Window] bytes, so that whoever does
// not read costs nobody more than that.
//
// # Frames and versions
//
// A frame is a kind (one byte), a length (four, big-endian) and a payload. The payload of a message
// is its fields in the order of their declaration. A peer that is older sends fewer fields, which
// are zero then; one that is newer sends more, which are ignored. So fields are only ever added, at
// the end, with a zero value that means what was before. Where that does not suffice, [Version]
// goes up, and the greeting settles on what both know. A request of a kind that an agent does not
// know is answered with [Unsupported].
//
// The daemon must not trust an agent: a program in the container may have taken its place. Frames,
// lists and strings are bounded, and nothing that an agent says is used as a path, a format or a
// size of the daemon's own.
package agentproto
