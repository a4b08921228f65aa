package v1

import "time"

// Names of the server-sent events of the API's streams. The events of GET /v1/events
// are named by their kind instead; see [Event].
const (
	EventProgress = "progress" // Progress: an image is being pulled
	EventSession  = "session"  // Session: it is there; the stream ends
	EventStdout   = "stdout"   // Output
	EventStderr   = "stderr"   // Output
	EventExit     = "exit"     // ExitStatus: the command ended; the stream ends
	EventProcess  = "process"  // ProcessOutput: all was sent; the stream ends
	EventEnd      = "end"      // End: all was sent; the stream ends
	EventError    = "error"    // Problem; the stream ends
	EventHistory  = "history"  // History: before the first event, where past ones were asked for
	EventOverflow = "overflow" // End: the client was too slow and has missed events; the stream ends
)

// Progress is one step of an image's pull. Steps may be left out.
type Progress struct {
	Image   string `json:"image"`
	Layer   string `json:"layer,omitempty" doc:"Short ID; absent where it is about the image as a whole."`
	Status  string `json:"status" doc:"The engine's words: Downloading."`
	Current int64  `json:"current,omitempty" doc:"Bytes; absent where unknown."`
	Total   int64  `json:"total,omitempty" doc:"Bytes; absent where unknown."`
}

// Output is some bytes of a stream, always base64 in JSON.
type Output struct {
	Data []byte `json:"data" doc:"Raw bytes in base64."`
}

// ExitStatus is how a command ended.
type ExitStatus struct {
	Code int `json:"code" doc:"128+n where signal n ended it."`
}

// End ends a stream.
type End struct{}

// History says how far the past goes that the server keeps.
type History struct {
	From time.Time `json:"from" doc:"All events since then follow, as far as they were asked for. Of those before it, not all are kept."`
}

// Kinds of an [Event].
const (
	KindCreated = "session.created"
	KindStarted = "session.started"
	KindStopped = "session.stopped"
	KindFailed  = "session.failed"
	KindClosed  = "session.closed"
)

// Kinds lists every kind of event in the order of a session's life.
func Kinds() []string { return []string{KindCreated, KindStarted, KindStopped, KindFailed, KindClosed} }

// Event is something that happened to a session.
type Event struct {
	Time      time.Time `json:"time"`
	Kind      string    `json:"kind" doc:"session.created, session.started, session.stopped, session.failed or session.closed. session.created comes first, before the container is made; a creation that fails is session.failed and then session.closed."`
	SessionID string    `json:"session_id"`
	Project   string    `json:"project,omitempty"`
	Status    Status    `json:"status"`
	Reason    string    `json:"reason,omitempty" doc:"In words: exited with code 3."`
	Exit      *Exit     `json:"exit,omitempty" doc:"How the main process ended; of session.stopped alone."`
}
