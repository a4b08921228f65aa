package httpapi

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"

	v1 "github.com/octobot-run/octobot/api/v1"
	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/front"
	"github.com/octobot-run/octobot/internal/problem"
	"github.com/octobot-run/octobot/internal/session"
)

func (a *API) processRoutes() {
	problemBody := &huma.Response{Description: "Error", Content: body[v1.Problem](a, problem.ContentType)}
	output := map[string]reflect.Type{
		v1.EventStdout: reflect.TypeFor[v1.Output](), v1.EventStderr: reflect.TypeFor[v1.Output](),
		v1.EventError: reflect.TypeFor[v1.Problem](),
	}
	with := func(name string, t reflect.Type) map[string]reflect.Type {
		kinds := map[string]reflect.Type{name: t}
		for k, v := range output {
			kinds[k] = v
		}
		return kinds
	}

	ran := body[v1.ExecResponse](a, "application/json")
	ran[eventStream] = a.events(with(v1.EventExit, reflect.TypeFor[v1.ExitStatus]()))
	stream(a, front.Work, huma.Operation{
		OperationID: "exec", Method: http.MethodPost, Path: "/v1/sessions/{id}/exec", Tags: []string{"Processes"},
		Summary: "Run a command",
		Description: "Waits for the command; an exit code other than 0 is no error. With Accept: text/event-stream, stdout and stderr come as " +
			"events while it runs, a client that reads slowly slows it, and the stream ends with exit or error. A client that goes away kills the " +
			"command and its children.",
		Responses: map[string]*huma.Response{"200": {Description: "The command ended", Content: ran},
			"default": problemBody},
	}, a.exec)
	stream(a, front.Work, huma.Operation{
		OperationID: "exec-socket", Method: http.MethodGet, Path: "/v1/sessions/{id}/exec", Tags: []string{"Processes"},
		Summary: "Run a command with its streams connected (WebSocket)",
		Description: "Text frames are control: an object with one member. The client first sends {\"start\": ExecRequest}, without stdin in it. Then " +
			"binary frames carry bytes, the first of which is the channel: 0 stdin (up), 1 stdout, 2 stderr (down). {\"eof\": true} up closes stdin. " +
			"{\"exit\": {\"code\": 0}} or {\"error\": Problem} comes down last. Both directions wait for a slow reader. Frames are 1 MiB at most.",
		Responses: map[string]*huma.Response{"101": {Description: "Switching to the WebSocket protocol"},
			"default": problemBody},
	}, a.execSocket)
	stream(a, front.Work, huma.Operation{
		OperationID: "attach", Method: http.MethodGet, Path: "/v1/sessions/{id}/attach", Tags: []string{"Processes"},
		Summary: "Connect a terminal (WebSocket)",
		Description: "Binary frames are the terminal's bytes. Text frames are control: {\"resize\": {\"rows\": 24, \"cols\": 80}} up, the latest wins; " +
			"{\"exit\": {\"code\": 0}} or {\"error\": Problem} down, before the close. Without cmd it is the session's main process where that has a terminal, " +
			"else the user's shell on a new one. A viewer that does not read for 30 seconds is disconnected. What goes wrong before the terminal " +
			"is connected is answered as a problem. " +
			"With terminal it is the terminal of that name, which lives on when its viewers leave: see the schema Control for what is said then.",
		Responses: map[string]*huma.Response{"101": {Description: "Switching to the WebSocket protocol"},
			"default": problemBody},
	}, a.attach)
	logs := map[string]*huma.MediaType{
		"text/plain": {Schema: &huma.Schema{Type: huma.TypeString,
			Description: "Both streams as they come, merged. An answer that is broken off was not all."}},
		eventStream: a.events(with(v1.EventEnd, reflect.TypeFor[v1.End]())),
	}
	stream(a, front.Work, huma.Operation{
		OperationID: "logs", Method: http.MethodGet, Path: "/v1/sessions/{id}/logs", Tags: []string{"Processes"},
		Summary:   "Read what the main process has written",
		Responses: map[string]*huma.Response{"200": {Description: "The log", Content: logs}, "default": problemBody},
	}, a.logs)
}

type execInput struct {
	ID   string `path:"id"`
	Body v1.ExecRequest
}

func (a *API) exec(w *front.ResponseWriter, r *http.Request, in *execInput) error {
	opts, err := execOptions(in.Body)
	if err != nil {
		return err
	}
	if wantsEvents(r) {
		return a.execEvents(w, r, in.ID, in.Body, opts)
	}
	ctx, cancel, err := a.execTime(r.Context(), in.Body)
	if err != nil {
		return err
	}
	defer cancel()
	stdout, stderr := a.spools.open(front.OwnerOf(ctx)), a.spools.open(front.OwnerOf(ctx))
	defer stdout.close()
	defer stderr.close()
	code, err := a.service.ExecStream(ctx, front.PrincipalOf(ctx), in.ID, in.Body.Cmd, opts, stdout, stderr)
	if err != nil {
		err = execError(ctx, in.ID, err)
		if stdout.size+stderr.size == 0 {
			return err
		}
		if err := writeCutShort(w, a.problemOf(ctx, problem.CauseOf(r.Context(), err)), stdout, stderr); err != nil {
			panic(http.ErrAbortHandler)
		}
		return nil
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	buffered := bufio.NewWriterSize(w, encodeChunk)
	if err := cmp.Or(writeExecResponse(buffered, code, stdout, stderr), buffered.Flush()); err != nil {
		panic(http.ErrAbortHandler) // JSON has no other way to say that it is not all
	}
	return nil
}

func execOptions(req v1.ExecRequest) (container.ExecOptions, error) {
	opts := container.ExecOptions{Env: req.Env, WorkingDir: req.WorkingDir, Tty: req.Tty, User: req.User}
	stdin, err := req.StdinBytes()
	if err != nil {
		return opts, problem.New(v1.CodeInvalidArgument, "%s", err)
	}
	if len(stdin) > 0 {
		opts.Stdin = bytes.NewReader(stdin)
	}
	return opts, nil
}

// errOutOfTime is the cause of a ctx that ended with a command's own time.
type errOutOfTime time.Duration

func (e errOutOfTime) Error() string {
	return fmt.Sprintf("the command ran longer than %s", v1.Duration(e))
}

// mayStillRun is what to do about a command that was not seen to end.
const mayStillRun = "see with ps in the session; stopping the session ends it"

// execTime bounds a command as its request and the server want.
func (a *API) execTime(ctx context.Context, req v1.ExecRequest) (context.Context, context.CancelFunc, error) {
	limit, most := time.Duration(req.Timeout), a.cfg.MaxExecTime
	switch {
	case limit < 0:
		return nil, nil, problem.New(v1.CodeInvalidArgument, "timeout: %s is negative", req.Timeout)
	case most > 0 && limit > most:
		return nil, nil, problem.New(v1.CodeInvalidArgument, "timeout: %s is more than the %s that this server allows",
			req.Timeout, v1.Duration(most))
	case limit == 0:
		limit = most
	}
	if limit == 0 {
		return ctx, func() {}, nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errOutOfTime(limit))
	return ctx, cancel, nil
}

// execError says in the user's words why a command was killed, or that it may not have been.
func execError(ctx context.Context, id string, err error) error {
	if err == nil {
		return nil
	}
	if late, ok := errors.AsType[errOutOfTime](context.Cause(ctx)); ok && session.CodeOf(err) == session.CodeTimeout {
		told := &session.Error{Code: session.CodeTimeout, Op: "exec", SessionID: id,
			Detail: late.Error() + " and was killed", Hint: "give it more time (timeout)"}
		if errors.Is(err, container.ErrMayStillRun) {
			told.Detail, told.Hint = late.Error()+", could not be killed, and may still run", mayStillRun
		}
		return told
	}
	if e, ok := errors.AsType[*session.Error](err); ok {
		told := *e
		if told.Code == session.CodeTimeout { // which says of a command that its own time was up
			told.Code = session.CodeEngineUnavailable
		}
		if errors.Is(err, container.ErrMayStillRun) {
			told.Detail, told.Hint = e.Detail+"; "+container.ErrMayStillRun.Error(), mayStillRun
		}
		err = &told
	}
	return problem.CauseOf(ctx, err)
}

func (a *API) execEvents(
	w *front.ResponseWriter, r *http.Request, id string, req v1.ExecRequest, opts container.ExecOptions,
) error {
	ctx, cancel := a.streams.Until(r.Context())
	defer cancel(nil)
	ctx, stop, err := a.execTime(ctx, req)
	if err != nil {
		return err
	}
	defer stop()
	defer w.Patient(ctx)()
	events := newEventWriter(w, a.timing.keepalive)
	code, err := a.service.ExecStream(ctx, front.PrincipalOf(ctx), id, req.Cmd, opts,
		outputEvents{events, v1.EventStdout}, outputEvents{events, v1.EventStderr})
	return a.finish(ctx, events, execError(ctx, id, err), func() error {
		return events.send(v1.EventExit, v1.ExitStatus{Code: code})
	})
}

// finish ends a stream of events, with an error or what last sends. An error is returned
// where nothing was sent yet.
func (a *API) finish(ctx context.Context, events *eventWriter, err error, last func() error) error {
	events.stopKeepalive()
	switch {
	case err == nil:
		_ = last() // a client that is gone misses it
	case !events.opened():
		return err
	default:
		events.fail(a.problemOf(ctx, err))
	}
	return nil
}

type logsInput struct {
	ID         string `path:"id"`
	Follow     bool   `query:"follow" doc:"Go on until the main process ends."`
	Tail       int    `query:"tail" default:"-1" minimum:"-1" doc:"Only the last so many lines; -1 for all."`
	Since      string `query:"since" doc:"Only what was written since: an RFC 3339 time, or so long ago: 10m."`
	Timestamps bool   `query:"timestamps" doc:"Put an RFC 3339 time and a space before every line."`
}

func (a *API) logs(w *front.ResponseWriter, r *http.Request, in *logsInput) error {
	since, err := parseMoment("since", in.Since, time.Now())
	if err != nil {
		return err
	}
	opts := container.LogOptions{Follow: in.Follow, Tail: in.Tail, Since: since, Timestamps: in.Timestamps}
	ctx, cancel := a.streams.Until(r.Context())
	defer cancel(nil)
	defer w.Patient(ctx)()
	if wantsEvents(r) {
		events := newEventWriter(w, a.timing.keepalive)
		err := a.service.Logs(ctx, front.PrincipalOf(ctx), in.ID, opts, outputEvents{events, v1.EventStdout},
			outputEvents{events, v1.EventStderr})
		return a.finish(ctx, events, problem.CauseOf(ctx, err),
			func() error { return events.send(v1.EventEnd, v1.End{}) })
	}
	w.Streaming()
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	err = a.service.Logs(ctx, front.PrincipalOf(ctx), in.ID, opts, flushed{w}, flushed{w})
	switch {
	case err != nil && w.Status() == 0:
		return problem.CauseOf(ctx, err)
	case err != nil:
		panic(http.ErrAbortHandler) // text has no other way to say that it is not all
	case w.Status() == 0:
		w.WriteHeader(http.StatusOK)
	}
	return nil
}

// flushed sends what is written at once.
type flushed struct{ w *front.ResponseWriter }

func (f flushed) Write(b []byte) (int, error) {
	n, err := f.w.Write(b)
	if err != nil {
		return n, err
	}
	return n, f.w.FlushError()
}

// parseMoment reads a point in time, or how long ago it was; zero where there is none.
func parseMoment(field, s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
		return t, nil
	}
	ago, err := v1.ParseDuration(s)
	if err != nil || ago < 0 {
		return time.Time{}, problem.New(v1.CodeInvalidArgument,
			"%s: %.64q is neither an RFC 3339 time nor a duration such as \"10m\"", field, s)
	}
	return now.Add(-ago), nil
}
