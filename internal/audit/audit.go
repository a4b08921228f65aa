// Package audit writes down who changed what, and who was refused: one line of JSON for each.
//
// A line is written before its caller hears of the outcome, with one write to a file that is only
// ever appended to. So it is there when the process is killed; whether it outlives the machine's
// power is the file system's to say. The file may be truncated or moved away by another program; a
// moved one is written to until the daemon is started anew.
package audit

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/octobot-run/octobot/internal/session"
)

// strangers is how many refusals of callers without a valid token are written a second. Anybody who
// reaches the port can make them, and they are not to fill the disk.
const strangers = 20

// Log is an audit log. It is safe for use from many goroutines.
type Log struct {
	log *slog.Logger

	mu      sync.Mutex
	file    *os.File
	second  int64 // in which strangers are counted
	count   int   // of strangers in it
	leftOut int   // since the last line
	failing bool  // that was said
}

// Open opens the log at path, which it makes for its owner alone. The caller closes it.
func Open(path string, log *slog.Logger) (*Log, error) {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("audit log: %w", err)
	}
	return &Log{log: log, file: f}, nil
}

// Close closes the file.
func (l *Log) Close() error { return l.file.Close() }

// line is what is written.
type line struct {
	Time      time.Time `json:"time"`
	Principal string    `json:"principal,omitempty"` // the token's name, or "socket"
	Admin     bool      `json:"admin,omitempty"`
	Project   string    `json:"project,omitempty"` // of the token
	Address   string    `json:"address,omitempty"`
	Operation string    `json:"operation"`
	Session   string    `json:"session,omitempty"`
	Outcome   string    `json:"outcome"`        // ok, or failed
	Code      string    `json:"code,omitempty"` // of the failure
	Detail    string    `json:"detail,omitempty"`
	LeftOut   int       `json:"left_out,omitempty"` // refusals of strangers before this line that were too many
}

// Record writes an entry. A disk that does not take it is said in the daemon's log, once, and does
// not keep anybody from anything.
func (l *Log) Record(e session.AuditEntry) {
	out := line{
		Time: e.Time, Principal: e.By.Name, Admin: e.By.Admin, Project: e.By.ProjectID, Address: e.By.Address,
		Operation: e.Operation, Session: e.SessionID, Outcome: "ok", Code: string(e.Code), Detail: e.Detail,
	}
	if e.Code != "" {
		out.Outcome = "failed"
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if e.Code == session.CodeUnauthenticated && l.tooMany(e.Time) {
		l.leftOut++
		return
	}
	out.LeftOut = l.leftOut
	b, err := json.Marshal(out)
	if err == nil {
		_, err = l.file.Write(append(b, '\n'))
	}
	if err == nil {
		l.leftOut = 0
	}
	if (err != nil) != l.failing {
		l.failing = err != nil
		if l.failing {
			l.log.Error("The audit log can't be written; what happens is not recorded", "error", err)
		} else {
			l.log.Info("The audit log can be written again")
		}
	}
}

// tooMany counts a stranger; l.mu is held.
func (l *Log) tooMany(t time.Time) bool {
	if second := t.Unix(); second != l.second {
		l.second, l.count = second, 0
	}
	l.count++
	return l.count > strangers
}
