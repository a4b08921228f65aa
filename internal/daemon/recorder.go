package daemon

import (
	"errors"
	"io"
	"log/slog"
	"path/filepath"

	"github.com/octobot-run/octobot/internal/config"
	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/recording"
	"github.com/octobot-run/octobot/internal/session"
)

// recordingsDir is where recordings are in the data directory.
const recordingsDir = "recordings"

// recorder is the [session.Recorder] of a data directory.
type recorder struct{ *recording.Recordings }

func openRecorder(cfg config.Config, log *slog.Logger) (recorder, error) {
	recordings, err := recording.Open(filepath.Join(cfg.DataDir, recordingsDir),
		recording.Limits{One: cfg.Limits.MaxRecording, All: cfg.Limits.MaxRecordings}, log)
	return recorder{recordings}, err
}

func toKey(k session.RecordingKey) recording.Key {
	return recording.Key{Session: k.SessionID, Origin: k.Origin, Terminal: k.Terminal, TerminalID: k.TerminalID}
}

func fromRecording(r recording.Info) session.Recording {
	return session.Recording{
		RecordingKey: session.RecordingKey{SessionID: r.Session, Origin: r.Origin, Terminal: r.Terminal,
			TerminalID: r.TerminalID},
		Started: r.Started, Length: r.Length, Bytes: r.Bytes, Missed: r.Missed, Open: r.Open, Ended: r.Ended,
		Full: r.Full,
	}
}

// translate makes the errors that sessions know of those of recordings.
func translate(err error) error {
	switch {
	case errors.Is(err, recording.ErrEnded), errors.Is(err, recording.ErrBusy):
		return session.ErrRecorded
	case errors.Is(err, recording.ErrNotFound):
		return session.ErrNotFound
	}
	return err
}

// Record implements [session.Recorder].
func (r recorder) Record(key session.RecordingKey, info container.TerminalInfo) (session.RecordingWriter, error) {
	w, err := r.Recordings.Record(toKey(key), recording.Start{Rows: info.Rows, Cols: info.Cols,
		Title: key.SessionID + "/" + key.Terminal, Term: "xterm-256color"})
	if err != nil {
		return nil, translate(err)
	}
	return writer{w}, nil
}

// Finish implements [session.Recorder].
func (r recorder) Finish(key session.RecordingKey, why string) error {
	if err := translate(r.Recordings.Finish(toKey(key), why)); !errors.Is(err, session.ErrRecorded) {
		return err
	}
	return nil
}

// List implements [session.Recorder].
func (r recorder) List(sessionID string) []session.Recording {
	infos := r.Recordings.List(sessionID)
	list := make([]session.Recording, len(infos))
	for i, info := range infos {
		list[i] = fromRecording(info)
	}
	return list
}

// Read implements [session.Recorder].
func (r recorder) Read(key session.RecordingKey) (io.ReadCloser, session.Recording, error) {
	cast, info, err := r.Recordings.Read(toKey(key))
	if err != nil {
		return nil, session.Recording{}, translate(err)
	}
	return cast, fromRecording(info), nil
}

// writer is a [session.RecordingWriter].
type writer struct{ *recording.Recording }

// Output implements [session.RecordingWriter].
func (w writer) Output(data []byte, position int64) error {
	return translate(w.Recording.Output(data, position))
}

// Missed implements [session.RecordingWriter].
func (w writer) Missed(n, position int64) error { return translate(w.Recording.Missed(n, position)) }

// Redraw implements [session.RecordingWriter].
func (w writer) Redraw(data []byte) error { return translate(w.Recording.Redraw(data)) }

// Resize implements [session.RecordingWriter].
func (w writer) Resize(rows, cols uint) error { return translate(w.Recording.Resize(rows, cols)) }

// Finish implements [session.RecordingWriter].
func (w writer) Finish(why string) error { return translate(w.Recording.Finish(why)) }
