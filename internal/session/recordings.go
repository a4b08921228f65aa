package session

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/octobot-run/octobot/internal/container"
)

// Recorder keeps recordings of terminals. It is safe for use from many goroutines, and waits for
// nothing but a disk.
type Recorder interface {
	// Record goes on with the recording of a terminal, or begins it; the caller closes it. One that
	// has ended, or is being written: [ErrRecorded].
	Record(key RecordingKey, info container.TerminalInfo) (RecordingWriter, error)
	// Finish ends a recording that nobody writes, with words that say why. One that is being
	// written stays as it is.
	Finish(key RecordingKey, why string) error
	// List gives recordings, the oldest first; of one session ID, if that is not empty.
	List(sessionID string) []Recording
	// Read opens a recording as it is now; ErrNotFound.
	Read(key RecordingKey) (io.ReadCloser, Recording, error)
	// Remove removes the recordings of a session that nobody writes. None: nil.
	Remove(sessionID, origin string) error
}

// ErrRecorded: a recording has ended, or somebody else writes it.
var ErrRecorded = errors.New("recorded already")

// RecordingWriter is a recording that is being written. After an error of a method there is nothing
// to do but to close it: [ErrRecorded] where the recording is as long as it may be.
type RecordingWriter interface {
	// Position is that of the byte in the terminal's output that is to be recorded next.
	Position() int64
	// Output records bytes, and Missed that some were; position is that of the byte behind them.
	Output(data []byte, position int64) error
	Missed(n, position int64) error
	// Redraw records what a terminal shows that is not numbered.
	Redraw(data []byte) error
	Resize(rows, cols uint) error
	// Finish ends the recording for ever, with words that say why.
	Finish(why string) error
	io.Closer
}

// RecordingKey says of what a recording is.
type RecordingKey struct {
	SessionID  string
	Origin     string // the session's, which tells it from others that have had its ID
	Terminal   string
	TerminalID string
}

// Recording is what is known of a recording.
type Recording struct {
	RecordingKey
	Started time.Time
	Length  time.Duration
	Bytes   int64 // of the recording itself
	Missed  int64 // bytes of output
	Open    bool  // somebody writes it
	Ended   bool  // nothing is added any more
	Full    bool  // because it is as long as it may be
}

// ListRecordings gives the recordings of the session's terminals, the oldest first. The session may
// be closed.
func (s *ContainerService) ListRecordings(
	ctx context.Context, who Principal, id string,
) (list []Recording, err error) {
	defer func(start time.Time) { s.finishOperation(ctx, who, "list recordings", id, start, &err) }(time.Now())
	sess, err := s.getReachable(ctx, who, id)
	if err != nil {
		return nil, err
	}
	return s.recordingsOf(sess), nil
}

// ReadRecording opens the recording of a terminal as it is now; it is the caller's to close. There
// is none: recording_not_found. The session may be closed.
func (s *ContainerService) ReadRecording(
	ctx context.Context, who Principal, id, terminalID string,
) (cast io.ReadCloser, info Recording, err error) {
	defer func(start time.Time) { s.finishOperation(ctx, who, "read recording", id, start, &err) }(time.Now())
	sess, err := s.getReachable(ctx, who, id)
	if err != nil {
		return nil, Recording{}, err
	}
	for _, r := range s.recordingsOf(sess) {
		if r.TerminalID != terminalID {
			continue
		}
		cast, info, err = s.cfg.Recorder.Read(r.RecordingKey)
		if errors.Is(err, ErrNotFound) {
			break // it went meanwhile
		}
		info.Ended = r.Ended
		return cast, info, err
	}
	return nil, Recording{}, refuse(CodeRecordingNotFound, "octobot replay --list shows those that there are",
		"there is no recording of a terminal %.64q", terminalID)
}

// recordingsOf gives what was recorded of a session, and not of others that have had its ID.
func (s *ContainerService) recordingsOf(sess Session) []Recording {
	if s.cfg.Recorder == nil {
		return nil
	}
	may := sess.ClosedAt.IsZero() && sess.Desired == DesiredRunning && sess.Failure == nil
	var list []Recording
	for _, r := range s.cfg.Recorder.List(sess.ID) {
		if r.Origin != sess.Origin {
			continue
		}
		// One that no daemon has ended goes on only if its terminal may.
		r.Ended = r.Ended || !r.Open && !may
		list = append(list, r)
	}
	return list
}

// checkRecording refuses a session whose terminals can't be recorded.
func (s *ContainerService) checkRecording(spec Spec) error {
	if !spec.Record {
		return nil
	}
	_, kept := container.As[container.Terminals](s.rt)
	switch {
	case s.cfg.Recorder == nil:
		return refuse(CodeUnsupported, "", "record: this server keeps no recordings")
	case !kept:
		return refuse(CodeUnsupported, "create it without --record, or have the daemon use the agent: --agent auto",
			"record: terminals are recorded through Octobot's agent, which the daemon does not use")
	case spec.Agent == AgentOff:
		return invalid("record: terminals are recorded through Octobot's agent, and agent is %q", AgentOff)
	}
	return nil
}

// pruneRecordings removes the recordings of sessions whose records are forgotten, or were replaced
// by those of others of the same ID. Those of sessions that this store has never had stay, as
// containers do.
func (s *ContainerService) pruneRecordings(ctx context.Context) error {
	if s.cfg.Recorder == nil {
		return nil
	}
	type owner struct{ id, origin string }
	owners := make(map[owner]bool)
	for _, r := range s.cfg.Recorder.List("") {
		owners[owner{r.SessionID, r.Origin}] = true
	}
	if len(owners) == 0 {
		return nil
	}
	sessions, err := s.store.all(ctx)
	if err != nil {
		return err
	}
	for _, sess := range sessions {
		delete(owners, owner{sess.ID, sess.Origin})
	}
	var errs []error
	for o := range owners {
		unlock, ok := s.locks.TryLock(o.id)
		if !ok {
			continue
		}
		errs = append(errs, s.pruneRecordingsOf(ctx, o.id, o.origin))
		unlock()
	}
	return errors.Join(errs...)
}

// pruneRecordingsOf asks the store once more; the session's lock is held.
func (s *ContainerService) pruneRecordingsOf(ctx context.Context, id, origin string) error {
	sess, err := s.store.get(ctx, id)
	switch {
	case err != nil && !errors.Is(err, ErrNotFound):
		return err
	case err == nil && sess.Origin == origin:
		return nil
	}
	if ours, err := s.store.allotted(ctx, origin); err != nil || !ours {
		return err
	}
	return s.cfg.Recorder.Remove(id, origin)
}
