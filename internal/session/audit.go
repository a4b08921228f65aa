package session

import (
	"context"
	"slices"
	"time"
)

// AuditEntry is one change that somebody asked for, or something that was refused.
type AuditEntry struct {
	Time      time.Time
	By        Principal
	Operation string
	SessionID string // empty where it is about none
	Code      Code   // how it ended: "" where it succeeded
	Detail    string // why it did not, in words; holds no secrets
}

// changes are the operations that are always recorded; others are where they were refused. To read
// a recording is one of them, as to look at a terminal is, and so is what reads files.
var changes = []string{
	"create", "start", "stop", "restart", "pause", "unpause", "signal", "update", "delete", "exec", "attach",
	"end terminal", "start process",
	"signal process",
	"reconcile",
	"create token", "delete token", "set project", "delete project", "read recording",
	"read file", "write file", "make directory", "move file", "remove file", "change file", "search files",
	"pack files", "unpack files",
}

// refusals are what is recorded of operations that change nothing.
var refusals = []Code{CodeForbidden, CodePolicyDenied, CodeQuotaExceeded, CodeUnauthenticated, CodeSessionNotFound}

// audit records what came of an operation, before its caller hears of it.
func (s *ContainerService) audit(who Principal, op, id string, err error) {
	code := CodeOf(err)
	if s.cfg.Audit == nil || !slices.Contains(changes, op) && !slices.Contains(refusals, code) {
		return
	}
	e := AuditEntry{Time: time.Now().UTC(), By: who, Operation: op, SessionID: id, Code: code}
	if known, ok := err.(*Error); ok {
		e.Detail = known.Detail
	}
	s.cfg.Audit(e)
}

// AuditRefusal records that a door let somebody not in.
func (s *ContainerService) AuditRefusal(ctx context.Context, who Principal, err error) {
	s.audit(who, "authenticate", "", toError(ctx, "authenticate", "", err))
}
