package v1

import "time"

// SessionStats are what a running session uses at one moment. What is counted is counted from its
// last start.
type SessionStats struct {
	SessionID       string    `json:"session_id"`
	Time            time.Time `json:"time" doc:"When the sample was taken, by the engine's clock."`
	CPUTime         Duration  `json:"cpu_time" doc:"CPU time used, of all cores together. Between two samples, its difference divided by that of time is how many cores were busy."`
	MemoryUsed      int64     `json:"memory_used" doc:"Bytes, without the page cache that can be dropped."`
	MemoryLimit     int64     `json:"memory_limit,omitempty" doc:"Bytes; of a session without a limit, what the engine has. Absent where the engine does not tell."`
	PIDs            int64     `json:"pids" doc:"Processes and threads."`
	NetworkReceived int64     `json:"network_received" doc:"Bytes, over all network interfaces; 0 without a network of its own."`
	NetworkSent     int64     `json:"network_sent" doc:"Bytes, over all network interfaces; 0 without a network of its own."`
	BlockRead       int64     `json:"block_read" doc:"Bytes from block devices; 0 where the engine does not count them."`
	BlockWritten    int64     `json:"block_written" doc:"Bytes to block devices; 0 where the engine does not count them."`
}
