package session

import (
	"context"
	"errors"
	"fmt"

	"github.com/octobot-run/octobot/internal/container"
)

// refuse makes an error that the service itself found.
func refuse(code Code, hint, format string, args ...any) *Error {
	return &Error{Code: code, Detail: fmt.Sprintf(format, args...), Hint: hint}
}

// invalid makes an error about an argument that the caller can correct.
func invalid(format string, args ...any) *Error {
	return refuse(CodeInvalidArgument, "", format, args...)
}

// toError turns any error met during op into an [*Error]. ctx is the caller's: it tells a caller's
// own deadline from a bound of the service.
func toError(ctx context.Context, op, id string, err error) *Error {
	var e Error
	if known, ok := errors.AsType[*Error](err); ok {
		e = *known
	} else {
		e = classify(ctx, err)
		e.cause = err
	}
	if e.Op == "" {
		e.Op = op
	}
	if e.SessionID == "" {
		e.SessionID = id
	}
	return &e
}

func classify(ctx context.Context, err error) Error {
	switch {
	case errors.Is(err, ErrNotFound):
		return Error{Code: CodeSessionNotFound, Detail: "there is no such session",
			Hint: "octobot ls shows those that there are"}
	case errors.Is(err, ErrExists):
		return Error{Code: CodeSessionExists, Detail: "there is a session of that ID already",
			Hint: "choose another ID, or remove it first: octobot rm"}
	case errors.Is(err, ErrConflict):
		return Error{Code: CodeBusy, Detail: "it was changed by somebody else at the same time", Hint: "try again"}
	}
	if field, ok := errors.AsType[*container.FieldError](err); ok {
		return Error{Code: CodeInvalidArgument, Detail: field.Error()}
	}
	switch class := container.ClassOf(err); class {
	case container.ErrContainerNotFound:
		return Error{Code: CodeContainerLost, Detail: "its container is gone from the engine", Hint: lostHint}
	case container.ErrContainerStopped:
		return Error{Code: CodeSessionNotRunning, Detail: "it does not run", Hint: "octobot start"}
	case container.ErrContainerPaused:
		return Error{Code: CodeSessionNotRunning, Detail: "it is paused", Hint: "octobot unpause"}
	case container.ErrContainerExists:
		detail := "the ID is taken"
		if e, ok := errors.AsType[*container.Error](err); ok && e.Detail != "" {
			detail += ": " + e.Detail
		}
		return Error{Code: CodeSessionExists, Detail: detail,
			Hint: "choose another ID; octobot reconcile --dry-run shows what has it, and octobot doctor says what to do about it"}
	case container.ErrInvalidArgument:
		return Error{Code: CodeInvalidArgument, Detail: userDetail(err, class)}
	case container.ErrImageNotFound:
		return Error{Code: CodeImageNotFound, Detail: userDetail(err, class),
			Hint: "check the image's name, the credentials where it is private, and that the engine reaches its registry"}
	case container.ErrPortTaken:
		return Error{Code: CodePortTaken, Detail: userDetail(err, class),
			Hint: "choose another host port, or none for a random one"}
	case container.ErrExecFailed:
		return Error{Code: CodeExecFailed, Detail: userDetail(err, class),
			Hint: "check that the program exists in the image and can be executed"}
	case container.ErrPathNotFound:
		return Error{Code: CodePathNotFound, Detail: userDetail(err, class)}
	case container.ErrPathExists:
		return Error{Code: CodePathExists, Detail: userDetail(err, class)}
	case container.ErrPathChanged:
		return Error{Code: CodePathChanged, Detail: userDetail(err, class),
			Hint: "read it again, and decide what to do about the change"}
	case container.ErrPermission:
		return Error{Code: CodePermissionDenied, Detail: userDetail(err, class),
			Hint: "another user of the session may be allowed to, such as root"}
	case container.ErrNoSpace:
		return Error{Code: CodeNoSpace, Detail: userDetail(err, class)}
	case container.ErrTerminalNotFound:
		return Error{Code: CodeTerminalNotFound, Detail: userDetail(err, class),
			Hint: "octobot ls --terminals shows those that there are"}
	case container.ErrTerminalExists:
		return Error{Code: CodeTerminalExists, Detail: userDetail(err, class),
			Hint: "choose another name, or attach to that one"}
	case container.ErrProcessNotFound:
		return Error{Code: CodeProcessNotFound, Detail: userDetail(err, class),
			Hint: "octobot ps shows those that there are"}
	case container.ErrLimitReached:
		return Error{Code: CodeLimitReached, Detail: userDetail(err, class)}
	case container.ErrPortClosed:
		return Error{Code: CodePortClosed, Detail: userDetail(err, class),
			Hint: "octobot ports shows what listens in the session"}
	case container.ErrUnsupported:
		return Error{Code: CodeUnsupported, Detail: userDetail(err, class)}
	case container.ErrRefused:
		return Error{Code: CodeEngineRefused, Detail: userDetail(err, class),
			Hint: "where that says too little, the engine's log may say more"}
	case container.ErrUnavailable, container.ErrClosed:
		return Error{Code: CodeEngineUnavailable, Detail: "the engine does not answer",
			Hint: "octobot doctor says whether it does now, and if not, what to do"}
	case context.Canceled:
		return Error{Code: CodeCancelled, Detail: "it was cancelled"}
	case context.DeadlineExceeded:
		if ctx.Err() == nil {
			return Error{Code: CodeTimeout, Detail: "the engine did not finish it in time",
				Hint: "octobot doctor says whether it answers at all"}
		}
		return Error{Code: CodeTimeout, Detail: "it did not end within the time that was given"}
	}
	return Error{Code: CodeInternal, Detail: "something went wrong inside octobot", Hint: "see the daemon's log"}
}

const lostHint = "its files are gone with it; remove the session (octobot rm) and create it again"

// userDetail gives what a provider says to the user of an error of that class.
func userDetail(err, class error) string {
	if e, ok := errors.AsType[*container.Error](err); ok && e.Detail != "" {
		return class.Error() + ": " + e.Detail
	}
	return class.Error()
}

// settledError is a refusal of the engine's, after which it was seen to have done nothing.
type settledError struct{ error }

func (e *settledError) Unwrap() error { return e.error }

// settle looks what came of a change that the engine refused for a reason of its own: it may have
// come half way. The error is a settledError where the container, nil where there is none, is
// seen to be as before, and err where it is not, or can't be seen.
func (s *ContainerService) settle(
	ctx context.Context, id string, err error, asBefore func(*container.Container) bool,
) error {
	if container.ClassOf(err) != container.ErrRefused {
		return err
	}
	c, lookErr := s.inspectContainer(ctx, id)
	if lookErr != nil || !asBefore(c) {
		return err
	}
	return &settledError{err}
}

// isRefusal reports whether the engine answered err as a refusal, so that nothing happened. After
// every other error it may have done what it was asked to, or do it yet; of
// [container.ErrRefused], only settle knows.
func isRefusal(err error) bool {
	if _, settled := errors.AsType[*settledError](err); settled {
		return true
	}
	switch container.ClassOf(err) {
	case container.ErrContainerNotFound, container.ErrContainerStopped, container.ErrContainerPaused,
		container.ErrContainerExists,
		container.ErrExecFailed, container.ErrInvalidArgument, container.ErrImageNotFound,
		container.ErrPortTaken, container.ErrPathNotFound, container.ErrPathExists, container.ErrPathChanged,
		container.ErrPermission, container.ErrNoSpace, container.ErrUnsupported,
		container.ErrTerminalNotFound, container.ErrTerminalExists, container.ErrProcessNotFound,
		container.ErrLimitReached,
		container.ErrPortClosed:
		return true
	}
	return false
}
