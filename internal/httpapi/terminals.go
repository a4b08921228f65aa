package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/coder/websocket"
	"github.com/danielgtaylor/huma/v2"

	v1 "github.com/octobot-run/octobot/api/v1"
	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/front"
	"github.com/octobot-run/octobot/internal/problem"
)

// Between two positions that a viewer is told there are no more bytes and no more time than this.
const (
	positionBytes = 256 << 10
	positionTime  = 10 * time.Second
)

func (a *API) terminalRoutes() {
	route(a, huma.Operation{
		OperationID: "list-terminals", Method: http.MethodGet, Path: "/v1/sessions/{id}/terminals",
		Tags: []string{"Terminals"}, Summary: "List a session's terminals",
		Description: "Those that have names: the ones that run, and those that have ended within the last minutes.",
	}, a.listTerminals)
	route(a, huma.Operation{
		OperationID: "create-terminal", Method: http.MethodPost, Path: "/v1/sessions/{id}/terminals",
		Tags: []string{"Terminals"}, Summary: "Make a terminal",
		Description:   "It runs without viewers, which attach to it by its name.",
		DefaultStatus: http.StatusCreated,
	}, a.createTerminal)
	route(a, huma.Operation{
		OperationID: "end-terminal", Method: http.MethodDelete, Path: "/v1/sessions/{id}/terminals/{name}",
		Tags: []string{"Terminals"}, Summary: "End a terminal",
		Description:   "Its processes are hung up, as by the closing of a window.",
		DefaultStatus: http.StatusNoContent,
	}, a.endTerminal)
}

type terminalsInput struct {
	ID string `path:"id"`
}

type terminalsOutput struct{ Body v1.TerminalList }

func (a *API) listTerminals(ctx context.Context, in *terminalsInput) (*terminalsOutput, error) {
	list, err := a.service.ListTerminals(ctx, front.PrincipalOf(ctx), in.ID)
	if err != nil {
		return nil, err
	}
	out := &terminalsOutput{Body: v1.TerminalList{Terminals: make([]v1.Terminal, len(list))}}
	for i, t := range list {
		out.Body.Terminals[i] = terminalOf(t, false)
	}
	return out, nil
}

type createTerminalInput struct {
	ID   string `path:"id"`
	Body v1.CreateTerminalRequest
}

type terminalOutput struct{ Body v1.Terminal }

func (a *API) createTerminal(ctx context.Context, in *createTerminalInput) (*terminalOutput, error) {
	b := in.Body
	terminal, err := a.service.OpenTerminal(ctx, front.PrincipalOf(ctx), in.ID, container.TerminalOptions{
		AttachOptions: container.AttachOptions{
			Cmd: b.Cmd, Env: b.Env, WorkingDir: b.WorkingDir, User: b.User, Rows: uint(b.Rows), Cols: uint(b.Cols),
		},
		Name: b.Name, New: true,
	})
	if err != nil {
		return nil, err
	}
	defer func() { _ = terminal.Close() }()
	info, made := terminal.Opened()
	info.Viewers = 0
	return &terminalOutput{Body: terminalOf(info, made)}, nil
}

type endTerminalInput struct {
	ID   string `path:"id"`
	Name string `path:"name"`
}

func (a *API) endTerminal(ctx context.Context, in *endTerminalInput) (*struct{}, error) {
	return nil, a.service.EndTerminal(ctx, front.PrincipalOf(ctx), in.ID, in.Name)
}

func terminalOf(t container.TerminalInfo, made bool) v1.Terminal {
	out := v1.Terminal{
		Name: t.Name, ID: t.ID, Cmd: t.Cmd, PID: t.PID, Rows: t.Rows, Cols: t.Cols, Viewers: t.Viewers,
		Position: t.Position, Created: t.Created.UTC(), Active: t.Active.UTC(), Running: t.Running, Made: made,
	}
	if !t.Running {
		out.ExitCode = &t.ExitCode
	}
	return out
}

// view connects a client with a terminal that has a name.
func (a *API) view(w *front.ResponseWriter, r *http.Request, in *attachInput, opts container.AttachOptions) error {
	terminal, err := a.service.OpenTerminal(r.Context(), front.PrincipalOf(r.Context()), in.ID,
		container.TerminalOptions{AttachOptions: opts, Name: in.Terminal, New: in.New, ID: in.TerminalID,
			Since: in.Since, ReadOnly: in.ReadOnly})
	if err != nil {
		return err
	}
	defer func() { _ = terminal.Close() }()
	s, err := a.accept(w, r)
	if err != nil {
		return nil // it was answered
	}
	// Closing releases whoever waits for the terminal.
	release := context.AfterFunc(s.ctx, func() { _ = terminal.Close() })
	defer release()
	a.typeFrom(s, in.ID, terminal, in.ReadOnly)
	v := &view{s: s, terminal: terminal, patience: a.timing.write, numbered: in.TerminalID != "" && in.Since >= 0,
		told: in.Since}
	if err := v.run(); err != nil {
		s.closeWith(v1.Control{Error: &a.problemOf(s.ctx, problem.CauseOf(s.ctx, err)).Problem})
		return nil
	}
	s.closeWith(a.lastWords(s, terminal))
	return nil
}

// view sends a terminal's viewer what there is to see. A viewer that takes nothing for a while is
// disconnected, so that nobody waits for it for ever.
type view struct {
	s        *socket
	terminal container.Terminal
	patience time.Duration

	numbered bool // bytes count from the last position on
	told     int64
	toldAt   time.Time
}

// run returns when the command has ended: nil.
func (v *view) run() error {
	info, made := v.terminal.Opened()
	opened := terminalOf(info, made)
	if err := v.control(v1.Control{Terminal: &opened}); err != nil {
		return err
	}
	if v.numbered { // from what was asked for on; what of that is missed comes next
		v.toldAt = time.Now()
		if err := v.control(v1.Control{Position: &v.told}); err != nil {
			return err
		}
	}
	for {
		e, err := v.terminal.Next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil && v.s.ctx.Err() != nil:
			return errGone
		case err != nil:
			return err
		}
		if err := v.pass(e); err != nil {
			return err
		}
	}
}

func (v *view) pass(e container.TerminalEvent) error {
	if e.Missed > 0 {
		v.numbered = false
		if err := v.control(v1.Control{Missed: &e.Missed}); err != nil {
			return err
		}
	}
	if e.Viewers > 0 {
		if err := v.control(v1.Control{Viewers: &e.Viewers}); err != nil {
			return err
		}
	}
	if e.Rows > 0 && e.Cols > 0 {
		if err := v.control(v1.Control{Resize: &v1.Size{Rows: uint16(e.Rows), Cols: uint16(e.Cols)}}); err != nil {
			return err
		}
	}
	if len(e.Data) == 0 && (v.numbered || e.Missed > 0 || e.Viewers > 0) {
		return nil
	}
	switch at := e.Position - int64(len(e.Data)); {
	case e.Replayed:
		v.numbered = false
	case !v.numbered || at-v.told >= positionBytes || time.Since(v.toldAt) > positionTime:
		if err := v.control(v1.Control{Position: &at}); err != nil {
			return err
		}
		v.numbered, v.told, v.toldAt = true, at, time.Now()
	}
	if len(e.Data) == 0 {
		return nil
	}
	return v.send(func(ctx context.Context) error { return v.s.write(ctx, e.Data) })
}

func (v *view) control(c v1.Control) error {
	b, err := json.Marshal(c)
	if err != nil {
		return err
	}
	return v.send(func(ctx context.Context) error { return v.s.conn.Write(ctx, websocket.MessageText, b) })
}

func (v *view) send(write func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(v.s.life, v.patience)
	defer cancel()
	if write(ctx) != nil {
		return errGone
	}
	return nil
}
