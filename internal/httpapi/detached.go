package httpapi

import (
	"cmp"
	"context"
	"net/http"
	"reflect"

	"github.com/danielgtaylor/huma/v2"

	v1 "github.com/octobot-run/octobot/api/v1"
	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/front"
	"github.com/octobot-run/octobot/internal/problem"
)

// detachedRoutes are about commands that nobody waits for.
func (a *API) detachedRoutes() {
	const path = "/v1/sessions/{id}/processes"
	tags := []string{"Processes"}
	route(a, huma.Operation{
		OperationID: "list-processes", Method: http.MethodGet, Path: path, Tags: tags,
		Summary:     "List the processes that nobody waits for",
		Description: "Those that run, and those that have ended within the last minutes.",
	}, a.listProcesses)
	route(a, huma.Operation{
		OperationID: "start-process", Method: http.MethodPost, Path: path, Tags: tags,
		Summary:       "Start a command and don't wait for it",
		Description:   "It has no input, and outlives the caller and the server. The last of its output is kept.",
		DefaultStatus: http.StatusCreated,
	}, a.startProcess)
	route(a, huma.Operation{
		OperationID: "signal-process", Method: http.MethodPost, Path: path + "/{process}/signal", Tags: tags,
		Summary:       "Send a process a signal",
		Description:   "It goes to the command's process group; KILL to all its descendants. One that has ended: nothing.",
		DefaultStatus: http.StatusNoContent,
	}, a.signalProcess)
	problemBody := &huma.Response{Description: "Error", Content: body[v1.Problem](a, problem.ContentType)}
	stream(a, front.Work, huma.Operation{
		OperationID: "wait-process", Method: http.MethodPost, Path: path + "/{process}/wait", Tags: tags,
		Summary:     "Wait for a process to end",
		Description: "A process that was waited for is forgotten a few seconds later, with its output.",
		Responses: map[string]*huma.Response{
			"200":     {Description: "It has ended", Content: body[v1.Process](a, "application/json")},
			"default": problemBody},
	}, a.waitProcess)
	stream(a, front.Work, huma.Operation{
		OperationID: "process-output", Method: http.MethodGet, Path: path + "/{process}/output", Tags: tags,
		Summary:     "Read what a process has written",
		Description: "From a position on, as far as it is kept. A client that reads slowly does not hold up the process.",
		Responses: map[string]*huma.Response{"200": {Description: "Its output", Content: map[string]*huma.MediaType{
			eventStream: a.events(map[string]reflect.Type{
				v1.EventStdout: reflect.TypeFor[v1.Output](), v1.EventStderr: reflect.TypeFor[v1.Output](),
				v1.EventError: reflect.TypeFor[v1.Problem](), v1.EventProcess: reflect.TypeFor[v1.ProcessOutput](),
			})}}, "default": problemBody},
	}, a.processOutput)
}

type processesInput struct {
	ID string `path:"id"`
}

type processesBody struct{ Body v1.ProcessList }

func (a *API) listProcesses(ctx context.Context, in *processesInput) (*processesBody, error) {
	list, err := a.service.ListProcesses(ctx, front.PrincipalOf(ctx), in.ID)
	if err != nil {
		return nil, err
	}
	out := &processesBody{Body: v1.ProcessList{Processes: make([]v1.Process, len(list))}}
	for i, p := range list {
		out.Body.Processes[i] = processOf(p)
	}
	return out, nil
}

type startProcessInput struct {
	ID   string `path:"id"`
	Body v1.StartProcessRequest
}

type processBody struct{ Body v1.Process }

func (a *API) startProcess(ctx context.Context, in *startProcessInput) (*processBody, error) {
	b := in.Body
	info, err := a.service.StartProcess(ctx, front.PrincipalOf(ctx), in.ID, b.Cmd, container.ProcessOptions{
		Env: b.Env, WorkingDir: b.WorkingDir, User: b.User, Keep: b.Keep})
	if err != nil {
		return nil, err
	}
	return &processBody{Body: processOf(info)}, nil
}

type signalInput struct {
	ID      string `path:"id"`
	Process string `path:"process"`
	Body    v1.SignalRequest
}

func (a *API) signalProcess(ctx context.Context, in *signalInput) (*struct{}, error) {
	signal, err := container.ParseSignal(cmp.Or(in.Body.Signal, "TERM"))
	if err != nil {
		return nil, problem.New(v1.CodeInvalidArgument, "%s", err)
	}
	return nil, a.service.SignalProcess(ctx, front.PrincipalOf(ctx), in.ID, in.Process, signal)
}

type processInput struct {
	ID      string `path:"id"`
	Process string `path:"process"`
}

func (a *API) waitProcess(w *front.ResponseWriter, r *http.Request, in *processInput) error {
	ctx, cancel := a.streams.Until(r.Context())
	defer cancel(nil)
	info, err := a.service.WaitProcess(ctx, front.PrincipalOf(ctx), in.ID, in.Process)
	if err != nil {
		return problem.CauseOf(ctx, err)
	}
	writeJSON(w, http.StatusOK, processOf(info))
	return nil
}

type outputInput struct {
	ID      string `path:"id"`
	Process string `path:"process"`
	Since   int64  `query:"since" minimum:"0" doc:"Position of the first byte that is wanted."`
	Follow  bool   `query:"follow" doc:"Go on until the process ends."`
}

func (a *API) processOutput(w *front.ResponseWriter, r *http.Request, in *outputInput) error {
	ctx, cancel := a.streams.Until(r.Context())
	defer cancel(nil)
	defer w.Patient(ctx)()
	events := newEventWriter(w, a.timing.keepalive)
	info, missed, err := a.service.ReadProcess(ctx, front.PrincipalOf(ctx), in.ID, in.Process,
		container.OutputOptions{Since: in.Since, Follow: in.Follow}, outputEvents{events, v1.EventStdout},
		outputEvents{events, v1.EventStderr})
	return a.finish(ctx, events, problem.CauseOf(ctx, err), func() error {
		return events.send(v1.EventProcess, v1.ProcessOutput{Process: processOf(info), Missed: missed})
	})
}

func processOf(p container.ProcessInfo) v1.Process {
	out := v1.Process{ID: p.ID, Cmd: p.Cmd, PID: p.PID, Started: p.Started.UTC(), Running: p.Running,
		Position: p.Position, Kept: p.Kept}
	if !p.Running {
		ended := p.Ended.UTC()
		out.Ended, out.ExitCode = &ended, &p.ExitCode
	}
	return out
}
