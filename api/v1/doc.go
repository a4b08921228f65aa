// Package v1 holds what crosses the wire of Octobot's HTTP API, version 1: the JSON
// bodies, the events of its streams, the control frames of its WebSockets, and the
// stable codes of its errors.
//
// # Conventions
//
// Names are snake_case. Times are RFC 3339 in UTC. Durations are Go's duration strings, "90s" or
// "1h30m", and days are read too, "7d" ([Duration]). Sizes are bytes. A field that has nothing to
// say is absent. A request with a field that the server does not know is refused.
//
// # Bytes in JSON
//
// A command's output is any bytes, and a JSON string is not. So an [ExecResponse] holds plain text
// where both streams are valid UTF-8, and says "encoding": "base64" where they are not; then both
// are. [ExecResponse.Output] undoes that. Events of streams ([Output]) carry base64 always, since
// they may be cut in the middle of a character. WebSockets carry raw bytes in binary frames.
//
// # Compatibility
//
// Within version 1, fields, codes and events are added, never changed or removed:
// a client ignores what it does not know.
package v1
