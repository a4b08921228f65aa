package httpapi

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"time"

	v1 "github.com/octobot-run/octobot/api/v1"
	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/problem"
	"github.com/octobot-run/octobot/internal/session"
)

func toSpec(s v1.Spec) session.Spec {
	return session.Spec{
		Image: s.Image, Cmd: s.Cmd, Env: s.Env, Binds: s.Binds, NetworkMode: s.NetworkMode, Labels: s.Labels,
		PortBindings: s.PortBindings, Tty: s.Tty, WorkingDir: s.WorkingDir, User: s.User,
		CPUs: limitOf(s.Resources.CPUs), Memory: limitOf(s.Resources.Memory), PIDs: limitOf(s.Resources.PIDs),
		Runtime: s.Runtime, ReadOnly: s.ReadOnly, Tmpfs: s.Tmpfs, Platform: s.Platform,
		Agent: session.Agent(s.Agent), Record: s.Record,
		IdleTimeout: time.Duration(limitOf(s.IdleTimeout)), MaxAge: time.Duration(limitOf(s.MaxAge)),
		OnExpire: session.Expiry(s.OnExpire),
	}
}

func fromSpec(s session.Spec) v1.Spec {
	return v1.Spec{
		Image: s.Image, Cmd: s.Cmd, Env: s.Env, Binds: s.Binds, NetworkMode: s.NetworkMode, Labels: s.Labels,
		PortBindings: s.PortBindings, Tty: s.Tty, WorkingDir: s.WorkingDir, User: s.User,
		Resources: v1.Resources{CPUs: valueOrNil(s.CPUs), Memory: valueOrNil(s.Memory), PIDs: valueOrNil(s.PIDs)},
		Runtime:   s.Runtime, ReadOnly: s.ReadOnly, Tmpfs: s.Tmpfs, Platform: s.Platform,
		Agent: string(s.Agent), Record: s.Record,
		IdleTimeout: valueOrNil(v1.Duration(s.IdleTimeout)), MaxAge: valueOrNil(v1.Duration(s.MaxAge)),
		OnExpire: string(s.OnExpire),
	}
}

// limitOf gives a limit that a request names: 0 where it is absent.
func limitOf[T int | int64 | float64 | v1.Duration](v *T) T {
	switch {
	case v == nil:
		return 0
	case *v == 0:
		return session.NoLimit
	}
	return *v
}

func toQuota(q v1.Quota) session.Quota {
	return session.Quota{
		Sessions: limitOf(q.MaxSessions), Running: limitOf(q.MaxRunning), CPUs: limitOf(q.MaxCPUs),
		Memory: limitOf(q.MaxMemory), Execs: limitOf(q.MaxExecs), Streams: limitOf(q.MaxStreams),
	}
}

func fromQuota(q session.Quota) v1.Quota {
	return v1.Quota{
		MaxSessions: fromLimit(q.Sessions), MaxRunning: fromLimit(q.Running), MaxCPUs: fromLimit(q.CPUs),
		MaxMemory: fromLimit(q.Memory), MaxExecs: fromLimit(q.Execs), MaxStreams: fromLimit(q.Streams),
	}
}

// fromLimit undoes limitOf.
func fromLimit[T int | int64 | float64](v T) *T {
	switch v {
	case 0:
		return nil
	case session.NoLimit:
		v = 0
	}
	return &v
}

func fromProject(p session.ProjectView) v1.Project {
	return v1.Project{
		Project: p.ID, Quota: fromQuota(p.Quota), Limits: fromQuota(p.Limits),
		Use: v1.ProjectUse{Sessions: p.Use.Sessions, Running: p.Use.Running, CPUs: p.Use.CPUs, Memory: p.Use.Memory,
			Execs: p.Use.Execs},
	}
}

func valueOrNil[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

func fromView(v session.View) v1.Session {
	s := v1.Session{
		ID: v.ID, Project: v.ProjectID, Status: v1.Status(v.Status), Reason: v.Reason, Paused: v.Paused,
		Address: v.Address, Spec: fromSpec(v.Spec), ContainerID: v.ContainerID,
		CreatedAt: v.CreatedAt, StartedAt: timeOrNil(v.StartedAt), ActiveAt: timeOrNil(v.ActiveAt),
		ClosedAt: timeOrNil(v.ClosedAt), Warnings: v.Warnings,
	}
	for _, p := range v.Ports {
		s.Ports = append(s.Ports, v1.Port{Container: p.Container, HostIP: p.HostIP, HostPort: p.HostPort})
	}
	if v.Status == session.StatusRunning {
		s.Exec = fromExecPath(v.Exec)
	}
	s.Exit = fromExit(v.Exit)
	if f := v.Failure; f != nil {
		s.Failure = &v1.Failure{Code: v1.Code(f.Code), Detail: f.Detail, At: f.At}
	}
	return s
}

func fromExit(e *session.Exit) *v1.Exit {
	if e == nil {
		return nil
	}
	return &v1.Exit{Code: e.Code, OOMKilled: e.OOMKilled, Reason: e.Reason, At: e.At}
}

func fromExecPath(p container.ExecPath) *v1.Exec {
	if p.Agent {
		return &v1.Exec{Path: v1.ExecAgent, Reason: p.Reason}
	}
	return &v1.Exec{Path: v1.ExecEngine, Reason: p.Reason}
}

func fromStats(id string, s *container.Stats) v1.SessionStats {
	return v1.SessionStats{
		SessionID: id, Time: s.Time.UTC(), CPUTime: v1.Duration(s.CPUTotal),
		MemoryUsed: s.MemoryUsed, MemoryLimit: s.MemoryLimit, PIDs: s.PIDs,
		NetworkReceived: s.NetworkReceived, NetworkSent: s.NetworkSent,
		BlockRead: s.BlockRead, BlockWritten: s.BlockWritten,
	}
}

func fromEvent(e session.Event) v1.Event {
	return v1.Event{Time: e.Time, Kind: e.Kind, SessionID: e.SessionID, Project: e.ProjectID,
		Status: v1.Status(e.Status), Reason: e.Reason, Exit: fromExit(e.Exit)}
}

func fromToken(t session.Token) v1.Token {
	return v1.Token{Name: t.Name, Project: t.ProjectID, CreatedAt: t.CreatedAt, ExpiresAt: timeOrNil(t.ExpiresAt)}
}

func fromReport(r session.Report, dryRun bool) v1.ReconcileReport {
	report := v1.ReconcileReport{
		DryRun: dryRun, Sessions: r.Sessions, Containers: r.Containers, Changed: r.Changed, Removed: r.Removed,
		Held: r.Held, Failed: r.Failed, Refused: r.Refused, Fates: make([]v1.Fate, 0, len(r.Fates)),
	}
	for _, f := range r.Fates {
		report.Fates = append(report.Fates,
			v1.Fate{SessionID: f.SessionID, ContainerID: f.ContainerID, Instance: f.Instance, Action: string(f.Action),
				Reason: f.Reason, Closed: f.Closed})
	}
	return report
}

func fromEngine(e container.EngineInfo) *v1.Engine {
	return &v1.Engine{
		Name: e.Name, Version: e.Version, APIVersion: e.APIVersion, Host: e.Host, OS: e.OS, Arch: e.Arch,
		Rootless: e.Rootless, CgroupV2: e.CgroupV2, Runtimes: e.Runtimes, Warnings: e.Warnings,
	}
}

func fromCapabilities(c container.Capabilities) v1.Capabilities {
	return v1.Capabilities{
		Ports: c.Ports, KeepsFilesOnStop: c.KeepsFilesOnStop, ReportsOOM: c.ReportsOOM,
		EnforcesResources: c.EnforcesResources, KillsExec: c.KillsExec, RealProcesses: c.RealProcesses,
	}
}

func timeOrNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// formatCursor makes the opaque word for a place in the list.
func formatCursor(c *session.Cursor) string {
	if c == nil {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "%d:%s", c.CreatedAt.UnixMicro(), c.ID))
}

func parseCursor(s string) (session.Cursor, error) {
	if s == "" {
		return session.Cursor{}, nil
	}
	b, err := base64.RawURLEncoding.DecodeString(s)
	micros, id, ok := strings.Cut(string(b), ":")
	at, numErr := strconv.ParseInt(micros, 10, 64)
	if err != nil || !ok || numErr != nil || container.ValidateSessionID(id) != nil {
		return session.Cursor{}, problem.New(v1.CodeInvalidArgument, "after: is not what a list gave as next")
	}
	return session.Cursor{CreatedAt: time.UnixMicro(at).UTC(), ID: id}, nil
}
