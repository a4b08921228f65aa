package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	v1 "github.com/octobot-run/octobot/api/v1"
)

// Error is what the server refused or could not do.
type Error struct {
	Status    int     // of HTTP; 0 where the error came in the middle of a stream
	Code      v1.Code // stable
	Detail    string  // in words for a person
	Hint      string  // what to do about it; may be empty
	SessionID string  // may be empty
	// Instance is what to look for in the server's log; only with v1.CodeInternal.
	Instance string
	// Stdout and Stderr are what a command of Client.Exec had written that was cut short: raw
	// bytes.
	Stdout, Stderr string
}

// Error gives what happened, without the hint.
func (e *Error) Error() string {
	switch {
	case e.Detail != "" && e.Instance != "":
		return e.Detail + " (" + e.Instance + ")"
	case e.Detail != "":
		return e.Detail
	default:
		return string(e.Code)
	}
}

// CodeOf returns the code of an [*Error], and "" for any other error and nil.
func CodeOf(err error) v1.Code {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return ""
}

// UnreachableError: no server answers at the address.
type UnreachableError struct {
	Address string
	Err     error
}

// Error says so, and what to do.
func (e *UnreachableError) Error() string {
	return fmt.Sprintf("no server answers at %s (%v): is the daemon running? start it with \"octobot serve\"",
		e.Address, e.Err)
}

// Unwrap gives the cause.
func (e *UnreachableError) Unwrap() error { return e.Err }

// maxProblem bounds what is read of an error's body, which may hold a command's output.
const maxProblem = 48 << 20

// readProblem makes an error of a refusal. What is not a problem comes from something
// in between, a proxy for instance.
func readProblem(resp *http.Response) error {
	var p v1.Problem
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxProblem))
	if err == nil {
		err = json.Unmarshal(b, &p)
	}
	if err != nil || p.Code == "" {
		return &Error{Status: resp.StatusCode, Code: v1.CodeInternal,
			Detail: fmt.Sprintf("the answer was %s, and not from Octobot", resp.Status)}
	}
	return fromProblem(p)
}

func fromProblem(p v1.Problem) error {
	e := &Error{Status: p.Status, Code: p.Code, Detail: p.Detail, Hint: p.Hint, SessionID: p.SessionID,
		Instance: p.Instance}
	if p.Output != nil {
		stdout, stderr, err := p.Output.Bytes()
		if err != nil {
			return err
		}
		e.Stdout, e.Stderr = string(stdout), string(stderr)
	}
	return e
}
