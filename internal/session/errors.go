package session

import (
	"errors"
	"fmt"
)

// Code is the class of a session error: stable, and what the API shows.
type Code string

const (
	CodeInvalidArgument   Code = "invalid_argument"
	CodeForbidden         Code = "forbidden"      // a bind outside the configured roots; what admins may
	CodePolicyDenied      Code = "policy_denied"  // the operator does not let projects have it
	CodeQuotaExceeded     Code = "quota_exceeded" // the project has as much of it as it may
	CodeSessionNotFound   Code = "session_not_found"
	CodeSessionExists     Code = "session_exists"
	CodeSessionNotRunning Code = "session_not_running"
	CodeSessionClosed     Code = "session_closed"
	CodeContainerLost     Code = "container_lost" // its container vanished from the engine
	CodeImageNotFound     Code = "image_not_found"
	CodeExecFailed        Code = "exec_failed"
	CodePortTaken         Code = "port_taken"
	CodePathNotFound      Code = "path_not_found"
	CodePathExists        Code = "path_exists"
	CodePathChanged       Code = "path_changed"      // a file is not the one that it had to be
	CodePermissionDenied  Code = "permission_denied" // the session's user may not
	CodeNoSpace           Code = "no_space"          // the session's file system is full
	CodeTerminalNotFound  Code = "terminal_not_found"
	CodeTerminalExists    Code = "terminal_exists"
	CodeProcessNotFound   Code = "process_not_found"
	CodeRecordingNotFound Code = "recording_not_found"
	CodeLimitReached      Code = "limit_reached" // the session has as many of them as there may be
	CodePortClosed        Code = "port_closed"   // nothing in the session takes connections there
	CodeUnsupported       Code = "unsupported"
	CodeEngineRefused     Code = "engine_refused" // the engine answered that it won't or can't
	CodeEngineUnavailable Code = "engine_unavailable"
	CodeStoreUnavailable  Code = "store_unavailable"
	CodeBusy              Code = "busy" // too much at once; try again
	CodeTimeout           Code = "timeout"
	CodeCancelled         Code = "cancelled"
	CodeTokenExists       Code = "token_exists"
	CodeTokenNotFound     Code = "token_not_found"
	CodeProjectNotFound   Code = "project_not_found"
	CodeUnauthenticated   Code = "unauthenticated"
	CodeReconcileRefused  Code = "reconcile_refused" // the pass would have removed too much
	CodeInternal          Code = "internal"
)

// Codes lists every code.
func Codes() []Code {
	return []Code{CodeInvalidArgument, CodeForbidden, CodePolicyDenied, CodeQuotaExceeded, CodeSessionNotFound,
		CodeSessionExists,
		CodeSessionNotRunning,
		CodeSessionClosed, CodeContainerLost, CodeImageNotFound, CodeExecFailed, CodePortTaken, CodePathNotFound,
		CodePathExists, CodePathChanged, CodePermissionDenied, CodeNoSpace,
		CodeTerminalNotFound, CodeTerminalExists, CodeProcessNotFound, CodeRecordingNotFound, CodeLimitReached,
		CodePortClosed,
		CodeUnsupported, CodeEngineRefused, CodeEngineUnavailable, CodeStoreUnavailable, CodeBusy, CodeTimeout,
		CodeCancelled,
		CodeTokenExists, CodeTokenNotFound, CodeProjectNotFound, CodeUnauthenticated, CodeReconcileRefused,
		CodeInternal}
}

// Error is what every method of this package fails with.
type Error struct {
	Code      Code
	Op        string // "create", "exec", …
	SessionID string // may be empty
	Detail    string // what happened, in words for the user; never an internal
	Hint      string // what to do about it; may be empty
	cause     error  // for logs
}

// Error gives the operation, the session, and what happened.
func (e *Error) Error() string {
	s := e.Op
	if e.SessionID != "" {
		s += fmt.Sprintf(" %q", e.SessionID)
	}
	return s + ": " + e.Detail
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.cause }

// CodeOf returns the code of an error of this package, CodeInternal for any other, and "" for nil.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return CodeInternal
}
