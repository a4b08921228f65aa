package httpapi

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"time"

	v1 "github.com/octobot-run/octobot/api/v1"
	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/front"
	"github.com/octobot-run/octobot/internal/problem"
)

type attachInput struct {
	ID         string   `path:"id"`
	Cmd        []string `query:"cmd,explode" doc:"A program and its arguments, for a new terminal; one parameter each."`
	Env        []string `query:"env,explode" doc:"NAME=value, for a new terminal; may be repeated."`
	WorkingDir string   `query:"working_dir" doc:"Absolute path, for a new terminal."`
	User       string   `query:"user" doc:"For a new terminal."`
	Rows       uint     `query:"rows" maximum:"65535" doc:"Both rows and cols, or neither."`
	Cols       uint     `query:"cols" maximum:"65535"`
	NoInput    bool     `query:"no_input" doc:"With cmd: nothing is going to be typed; the command sees the end of its input."`

	Terminal   string `query:"terminal" doc:"Name of a terminal that lives on when its viewers leave; made where there is none."`
	New        bool   `query:"new" doc:"There must be no running terminal of that name."`
	TerminalID string `query:"terminal_id" doc:"Comes back to this one only, from the position since on."`
	Since      int64  `query:"since" minimum:"-1" doc:"Position of the first byte that is wanted, with terminal_id; -1 to be shown what is kept once more."`
	ReadOnly   bool   `query:"read_only" doc:"What is typed is refused, and no terminal is made."`
}

// named reports whether the terminal is one that has a name.
func (in *attachInput) named() (bool, error) {
	if in.NoInput && (in.Terminal != "" || len(in.Cmd) == 0) {
		return false, problem.New(v1.CodeInvalidArgument, "no_input is for a command on a terminal without a name")
	}
	if in.Terminal != "" {
		return true, nil
	}
	if in.New || in.TerminalID != "" || in.Since != 0 || in.ReadOnly {
		return false, problem.New(v1.CodeInvalidArgument,
			"new, terminal_id, since and read_only are for a terminal that has a name, which is missing")
	}
	return false, nil
}

// terminalChunk is how much is read of a terminal at a time.
const terminalChunk = 32 << 10

func (a *API) attach(w *front.ResponseWriter, r *http.Request, in *attachInput) error {
	if err := checkUpgrade(r); err != nil {
		return err
	}
	opts := container.AttachOptions{
		Cmd: in.Cmd, Env: in.Env, WorkingDir: in.WorkingDir, User: in.User, Rows: in.Rows, Cols: in.Cols,
		NoInput: in.NoInput,
	}
	switch named, err := in.named(); {
	case err != nil:
		return err
	case named:
		return a.view(w, r, in, opts)
	}
	terminal, err := a.service.Attach(r.Context(), front.PrincipalOf(r.Context()), in.ID, opts)
	if err != nil {
		return err
	}
	defer func() { _ = terminal.Close() }()
	s, err := a.accept(w, r)
	if err != nil {
		return nil // it was answered
	}
	// Closing releases whoever reads or writes the terminal.
	release := context.AfterFunc(s.ctx, func() { _ = terminal.Close() })
	defer release()
	defer a.limitTerminal(s, terminal)()
	a.typeFrom(s, in.ID, terminal, false)
	if err := a.sendOutput(s, terminal); err != nil {
		s.closeWith(v1.Control{Error: &a.problemOf(s.ctx, problem.CauseOf(s.ctx, err)).Problem})
		return nil
	}
	s.closeWith(a.lastWords(s, terminal))
	return nil
}

// typist is what somebody types at.
type typist interface {
	io.Writer
	Resize(height, width uint) error
}

// typeFrom passes on what the client types, unless it only reads, and its size.
func (a *API) typeFrom(s *socket, id string, terminal typist, readOnly bool) {
	typed := func(frame io.Reader) error {
		if readOnly {
			return problem.New(v1.CodeInvalidArgument, "this viewer only reads: it was opened with read_only")
		}
		defer s.watchUntaken()()
		return typeInto(terminal, frame)
	}
	s.read(typed, func(c v1.Control) error {
		if c.Resize == nil {
			return problem.New(v1.CodeInvalidArgument, "control frame: only resize is for a terminal")
		}
		if err := terminal.Resize(uint(c.Resize.Rows), uint(c.Resize.Cols)); err != nil {
			a.log.LogAttrs(s.ctx, slog.LevelDebug, "resize terminal", slog.String("session", id),
				slog.Any("error", err))
		}
		return nil
	})
}

// limitTerminal ends a terminal as a command is ended that runs for too long; the session's main
// process is none. The caller calls stop in the end.
func (a *API) limitTerminal(s *socket, terminal container.PTY) (stop func()) {
	on, ok := terminal.(interface{ IsMain() bool })
	if most := a.cfg.MaxExecTime; most > 0 && !(ok && on.IsMain()) {
		timer := time.AfterFunc(most, func() {
			s.cancel(problem.New(v1.CodeTimeout, "%s", errOutOfTime(most).Error()).
				WithHint("run it in the background, or in the session's main process"))
		})
		return func() { timer.Stop() }
	}
	return func() {}
}

func typeInto(terminal io.Writer, frame io.Reader) error {
	_, err := io.Copy(struct{ io.Writer }{terminal}, frame)
	if err != nil && !errors.Is(err, context.Canceled) {
		return errGone
	}
	return err
}

// errGone: one of the ends went away, which is nobody's mistake.
var errGone = problem.New(v1.CodeCancelled, "the terminal was disconnected")

// sendOutput sends what the terminal writes to its viewer, until the process ends: nil. A viewer
// that does not read for a while is disconnected, so that nobody waits for it for ever.
func (a *API) sendOutput(s *socket, terminal io.Reader) error {
	buf := make([]byte, terminalChunk)
	for {
		n, err := terminal.Read(buf)
		if n > 0 {
			ctx, cancel := context.WithTimeout(s.life, a.timing.write)
			writeErr := s.write(ctx, buf[:n])
			cancel()
			if writeErr != nil {
				return errGone
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil && s.ctx.Err() != nil:
			return errGone
		case err != nil:
			return err
		}
	}
}

// lastWords tells how the process ended. A code is never made up.
func (a *API) lastWords(s *socket, terminal any) v1.Control {
	ctx, cancel := context.WithTimeout(s.ctx, front.Farewell)
	defer cancel()
	coder, ok := terminal.(container.ExitCoder)
	if !ok {
		return v1.Control{Error: &problem.New(v1.CodeUnsupported, "the engine does not tell the exit code").Problem}
	}
	code, err := coder.ExitCode(ctx)
	if errors.Is(err, container.ErrContainerStopped) {
		return v1.Control{Error: &problem.New(v1.CodeSessionNotRunning,
			"the session has stopped, and its terminals with it").WithHint("octobot start").Problem}
	}
	if err != nil {
		a.log.LogAttrs(ctx, slog.LevelWarn, "exit code of a terminal", slog.Any("error", err))
		return v1.Control{Error: &problem.New(v1.CodeEngineUnavailable,
			"the engine did not tell the exit code").Problem}
	}
	return v1.Control{Exit: &v1.ExitStatus{Code: code}}
}
