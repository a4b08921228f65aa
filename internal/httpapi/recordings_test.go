package httpapi_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	v1 "github.com/octobot-run/octobot/api/v1"
	"github.com/octobot-run/octobot/client"
	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/session"
)

// shelf is a Recorder with one recording of each session, which records nothing.
type shelf struct {
	session.Recorder
	origin func(id string) string
}

func (s shelf) List(id string) []session.Recording {
	if id == "" {
		return nil
	}
	return []session.Recording{{
		RecordingKey: session.RecordingKey{SessionID: id, Origin: s.origin(id), Terminal: "main", TerminalID: "abc"},
		Started:      time.Unix(1e9, 0), Length: 1500 * time.Millisecond, Bytes: 7, Missed: 3, Full: true, Ended: true,
	}}
}

func (s shelf) Read(key session.RecordingKey) (io.ReadCloser, session.Recording, error) {
	return io.NopCloser(strings.NewReader("cast of " + key.SessionID)), s.List(key.SessionID)[0], nil
}

func (s shelf) Record(session.RecordingKey, container.TerminalInfo) (session.RecordingWriter, error) {
	return nil, session.ErrRecorded
}

func TestRecordings(t *testing.T) {
	var f *fixture
	recorder := shelf{origin: func(id string) string {
		v, err := f.service.Get(context.Background(), session.Principal{Admin: true}, id)
		if err != nil {
			t.Error(err)
		}
		return v.Origin
	}}
	f = newFixture(t, settings{service: session.Config{Recorder: recorder}})
	ctx := t.Context()
	s, err := f.admin.CreateSession(ctx, v1.CreateSessionRequest{ID: "s", Project: "p1", Spec: v1.Spec{Record: true}},
		nil)
	if err != nil || !s.Record {
		t.Fatalf("%+v, %v", s, err)
	}
	_, own := f.token(t, "own", "p1")
	_, other := f.token(t, "other", "p2")
	for _, closed := range []bool{false, true} {
		if closed {
			if err := f.admin.DeleteSession(ctx, "s"); err != nil {
				t.Fatal(err)
			}
		}
		for name, c := range map[string]*client.Client{"admin": f.admin, "own": own} {
			list, err := c.ListRecordings(ctx, "s")
			want := v1.Recording{Terminal: "main", TerminalID: "abc", StartedAt: time.Unix(1e9, 0).UTC(), Ended: true,
				Full: true, Bytes: 7, Seconds: 1.5, Missed: 3}
			if err != nil || len(list) != 1 || list[0] != want {
				t.Errorf("%s: %+v, %v", name, list, err)
			}
			cast, err := c.ReadRecording(ctx, "s", "abc")
			if err != nil {
				t.Fatal(err)
			}
			if b, err := io.ReadAll(cast); string(b) != "cast of s" || err != nil {
				t.Errorf("%s: %q, %v", name, b, err)
			}
			_ = cast.Close()
			_, err = c.ReadRecording(ctx, "s", "none")
			wantCode(t, err, v1.CodeRecordingNotFound)
		}
		_, err = other.ListRecordings(ctx, "s")
		wantCode(t, err, v1.CodeSessionNotFound)
		_, err = other.ReadRecording(ctx, "s", "abc")
		wantCode(t, err, v1.CodeSessionNotFound)
	}
	resp := f.do(t, raw{method: "GET", path: "/v1/sessions/s/recordings/abc", trusted: true})
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "application/x-asciicast" ||
		!strings.HasPrefix(resp.Header.Get("Content-Disposition"), "attachment") {
		t.Errorf("%s, %v", resp.Status, resp.Header)
	}
}
