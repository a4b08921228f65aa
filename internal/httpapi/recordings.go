package httpapi

import (
	"context"
	"io"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	v1 "github.com/octobot-run/octobot/api/v1"
	"github.com/octobot-run/octobot/internal/front"
	"github.com/octobot-run/octobot/internal/problem"
	"github.com/octobot-run/octobot/internal/session"
)

func (a *API) recordingRoutes() {
	route(a, huma.Operation{
		OperationID: "list-recordings", Method: http.MethodGet, Path: "/v1/sessions/{id}/recordings",
		Tags: []string{"Terminals"}, Summary: "List what was recorded of a session's terminals",
		Description: "The oldest first. A closed session's are kept as long as its record is.",
	}, a.listRecordings)
	stream(a, front.Work, huma.Operation{
		OperationID: "get-recording", Method: http.MethodGet, Path: "/v1/sessions/{id}/recordings/{terminal_id}",
		Tags: []string{"Terminals"}, Summary: "Read a recording",
		Description: "An asciicast of version 2, which asciinema plays. One that has not ended is given as far as it got. " +
			"It holds what a program in the session has written: a terminal that is shown it does what that says.",
		Responses: map[string]*huma.Response{
			"200": {Description: "The recording", Content: map[string]*huma.MediaType{
				v1.RecordingType: {Schema: &huma.Schema{Type: huma.TypeString, Description: "Lines of JSON."}}}},
			"default": {Description: "Error", Content: body[v1.Problem](a, problem.ContentType)},
		},
	}, a.readRecording)
}

type recordingsOutput struct{ Body v1.RecordingList }

func (a *API) listRecordings(ctx context.Context, in *sessionPath) (*recordingsOutput, error) {
	list, err := a.service.ListRecordings(ctx, front.PrincipalOf(ctx), in.ID)
	if err != nil {
		return nil, err
	}
	out := &recordingsOutput{Body: v1.RecordingList{Recordings: make([]v1.Recording, len(list))}}
	for i, r := range list {
		out.Body.Recordings[i] = fromRecording(r)
	}
	return out, nil
}

type recordingInput struct {
	ID         string `path:"id"`
	TerminalID string `path:"terminal_id"`
}

func (a *API) readRecording(w *front.ResponseWriter, r *http.Request, in *recordingInput) error {
	ctx := r.Context()
	cast, _, err := a.service.ReadRecording(ctx, front.PrincipalOf(ctx), in.ID, in.TerminalID)
	if err != nil {
		return err
	}
	defer func() { _ = cast.Close() }() // it was only read
	ctx, cancel := a.streams.Until(ctx)
	defer cancel(nil)
	w.Streaming()
	w.Header().Set("Content-Type", v1.RecordingType)
	// The session's programs have written what is in it: no browser is to take it for a page.
	w.Header().Set("Content-Disposition", `attachment; filename="recording.cast"`)
	if _, err := io.Copy(w, untilEnd{ctx, cast}); err != nil {
		panic(http.ErrAbortHandler) // it is not all
	}
	return nil
}

// untilEnd reads until ctx ends.
type untilEnd struct {
	ctx context.Context
	io.Reader
}

func (u untilEnd) Read(b []byte) (int, error) {
	if err := u.ctx.Err(); err != nil {
		return 0, err
	}
	return u.Reader.Read(b)
}

func fromRecording(r session.Recording) v1.Recording {
	return v1.Recording{
		Terminal: r.Terminal, TerminalID: r.TerminalID, StartedAt: r.Started.UTC(), Ended: r.Ended, Full: r.Full,
		Bytes: r.Bytes, Seconds: r.Length.Seconds(), Missed: r.Missed,
	}
}
