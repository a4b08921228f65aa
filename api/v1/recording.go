package v1

import "time"

// RecordingType is the type of a recording: asciicast, version 2.
const RecordingType = "application/x-asciicast"

// Recording is what was recorded of a terminal that has a name.
type Recording struct {
	Terminal   string    `json:"terminal" doc:"The terminal's name."`
	TerminalID string    `json:"terminal_id" doc:"Tells the terminal from others that have had its name, and so names the recording."`
	StartedAt  time.Time `json:"started_at"`
	Ended      bool      `json:"ended" doc:"Nothing is added any more."`
	Full       bool      `json:"full,omitempty" doc:"It has ended because it is as long as it may be, or there was no room."`
	Bytes      int64     `json:"bytes" doc:"Of the recording."`
	Seconds    float64   `json:"seconds" doc:"From its beginning to its last event."`
	Missed     int64     `json:"missed" doc:"How many bytes of the terminal's output are missing in it."`
}

// RecordingList is the recordings of a session, the oldest first.
type RecordingList struct {
	Recordings []Recording `json:"recordings" nullable:"false"`
}
