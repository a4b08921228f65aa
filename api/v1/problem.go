package v1

// Code is the stable class of an error.
type Code string

// What the session service says.
const (
	CodeInvalidArgument   Code = "invalid_argument"
	CodeForbidden         Code = "forbidden"
	CodePolicyDenied      Code = "policy_denied"  // the server's operator does not let projects have it
	CodeQuotaExceeded     Code = "quota_exceeded" // the project has as much of it as it may
	CodeSessionNotFound   Code = "session_not_found"
	CodeSessionExists     Code = "session_exists"
	CodeSessionNotRunning Code = "session_not_running"
	CodeSessionClosed     Code = "session_closed"
	CodeContainerLost     Code = "container_lost"
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
	CodeReconcileRefused  Code = "reconcile_refused"
	CodeInternal          Code = "internal"
)

// What HTTP itself says.
const (
	CodeNotFound             Code = "not_found" // no such path
	CodeMethodNotAllowed     Code = "method_not_allowed"
	CodeBodyTooLarge         Code = "body_too_large"
	CodeHeadersTooLarge      Code = "headers_too_large"
	CodeUnsupportedMediaType Code = "unsupported_media_type"
	CodeRequestTimeout       Code = "request_timeout" // the body took too long to arrive
	CodeRangeNotSatisfiable  Code = "range_not_satisfiable"
	CodeUpgradeRequired      Code = "upgrade_required" // the path is a WebSocket's
	CodeHostNotAllowed       Code = "host_not_allowed" // Host or Origin: see the server's allowed hosts
)

// Codes lists every code, the service's first.
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
		CodeInternal,
		CodeNotFound, CodeMethodNotAllowed, CodeBodyTooLarge, CodeHeadersTooLarge, CodeUnsupportedMediaType,
		CodeRequestTimeout, CodeRangeNotSatisfiable, CodeUpgradeRequired, CodeHostNotAllowed}
}

// Problem is every error's body (RFC 9457, application/problem+json).
type Problem struct {
	Type      string `json:"type" doc:"urn:octobot:problem: and the code."`
	Title     string `json:"title" doc:"The HTTP status in words."`
	Status    int    `json:"status"`
	Detail    string `json:"detail,omitempty" doc:"What happened, in words for a person."`
	Instance  string `json:"instance,omitempty" doc:"Where the code is internal: what to look for in the server's log."`
	Code      Code   `json:"code" doc:"Stable class of the error, for programs."`
	SessionID string `json:"session_id,omitempty"`
	Hint      string `json:"hint,omitempty" doc:"What to do about it."`
	// Output is of a command that was not answered as events.
	Output *ExecOutput `json:"output,omitempty" doc:"What a command had written that was cut short, as by its timeout."`
}
