package httpapi

import (
	"context"
	"net/http"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"

	v1 "github.com/octobot-run/octobot/api/v1"
	"github.com/octobot-run/octobot/internal/front"
	"github.com/octobot-run/octobot/internal/problem"
	"github.com/octobot-run/octobot/internal/session"
)

func (a *API) eventRoutes() {
	stream(a, front.Watch, huma.Operation{
		OperationID: "watch-events", Method: http.MethodGet, Path: "/v1/events", Tags: []string{"Sessions"},
		Summary: "Watch what happens to sessions",
		Description: "A stream of events from now on, named by their kind. A client that is too slow gets overflow, and the stream ends: " +
			"it has missed events and had better list the sessions. With since, past events come first, behind history, which says how far they go back: " +
			"the server keeps a thousand or so, of all sessions together, of which the project with the most loses the oldest, and none of before its own start. With until, the stream ends with end.",
		Responses: map[string]*huma.Response{
			"200": {Description: "A stream of events",
				Content: map[string]*huma.MediaType{eventStream: a.events(map[string]reflect.Type{
					v1.KindCreated: reflect.TypeFor[v1.Event](), v1.KindStarted: reflect.TypeFor[v1.Event](),
					v1.KindStopped: reflect.TypeFor[v1.Event](),
					v1.KindFailed:  reflect.TypeFor[v1.Event](), v1.KindClosed: reflect.TypeFor[v1.Event](),
					v1.EventHistory: reflect.TypeFor[v1.History](), v1.EventEnd: reflect.TypeFor[v1.End](),
					v1.EventOverflow: reflect.TypeFor[v1.End](), v1.EventError: reflect.TypeFor[v1.Problem](),
				})}},
			"default": {Description: "Error", Content: body[v1.Problem](a, problem.ContentType)},
		},
	}, a.watchEvents)
}

type eventsInput struct {
	Project string   `query:"project" doc:"Only this project's sessions."`
	Session []string `query:"session,explode" doc:"Only these; may be repeated."`
	Kind    []string `query:"kind,explode" enum:"session.created,session.started,session.stopped,session.failed,session.closed" doc:"Only these; may be repeated."`
	Since   string   `query:"since" doc:"Past events too, since an RFC 3339 time, or so long ago: 10m."`
	Until   string   `query:"until" doc:"No later ones than at an RFC 3339 time, or so long ago."`
}

func (a *API) watchEvents(w *front.ResponseWriter, r *http.Request, in *eventsInput) error {
	now := time.Now()
	since, err := parseMoment("since", in.Since, now)
	if err != nil {
		return err
	}
	until, err := parseMoment("until", in.Until, now)
	if err != nil {
		return err
	}
	ctx, cancel := a.streams.Until(r.Context())
	defer cancel(nil)
	subscription, err := a.service.Subscribe(front.PrincipalOf(ctx), session.EventSelection{
		ProjectID: in.Project, SessionIDs: in.Session, Kinds: in.Kind, Since: since})
	if err != nil {
		return err
	}
	defer subscription.Close()
	events := newEventWriter(w, a.timing.keepalive)
	defer events.stopKeepalive()
	if err := events.open(); err != nil {
		return nil // the client is gone
	}
	if !since.IsZero() {
		if err := events.send(v1.EventHistory, v1.History{From: subscription.KeptFrom()}); err != nil {
			return nil
		}
	}
	var over <-chan time.Time // never, without until
	if !until.IsZero() {
		timer := time.NewTimer(time.Until(until))
		defer timer.Stop()
		over = timer.C
	}
	// send sends an event, and tells whether more may follow.
	send := func(e session.Event) bool {
		if !until.IsZero() && e.Time.After(until) {
			return true // the end comes from the clock alone
		}
		return events.send(e.Kind, fromEvent(e)) == nil
	}
	for _, e := range subscription.Past() {
		if !send(e) {
			return nil
		}
	}
	switch last := follow(ctx, subscription.C(), over, send); {
	case last != "":
		_ = events.send(last, v1.End{})
	case ctx.Err() != nil:
		if err := problem.CauseOf(ctx, errGone); err != errGone {
			events.fail(a.problemOf(ctx, err))
		}
	}
	return nil
}

// follow sends events until it is over, with all that were queued by then, until send wants no
// more, or until ctx ends. It returns the event that is to come last; empty: none.
func follow(
	ctx context.Context, queue <-chan session.Event, over <-chan time.Time, send func(session.Event) bool,
) (last string) {
	isOver := false
	for {
		var e session.Event
		var ok bool
		if isOver {
			select {
			case e, ok = <-queue:
			default:
				return v1.EventEnd
			}
		} else {
			select {
			case e, ok = <-queue:
			case <-over:
				isOver = true
				continue
			case <-ctx.Done():
				return ""
			}
		}
		if !ok {
			return v1.EventOverflow
		}
		if !send(e) {
			return ""
		}
	}
}
