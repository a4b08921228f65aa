// Package daemon puts an installation of Octobot together, from the store to the
// listeners, runs it, and takes it apart again in the reverse order.
package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"

	v1 "github.com/octobot-run/octobot/api/v1"
	"github.com/octobot-run/octobot/internal/audit"
	"github.com/octobot-run/octobot/internal/config"
	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/front"
	"github.com/octobot-run/octobot/internal/httpapi"
	"github.com/octobot-run/octobot/internal/session"
	"github.com/octobot-run/octobot/internal/store/postgres"
	"github.com/octobot-run/octobot/internal/store/sqlite"
)

// Options are what a daemon is given beside its configuration.
type Options struct {
	Version string
	Log     io.Writer
	// Ready is called once, when the daemon takes connections; nil: nobody is told. Whether the
	// engine answers by then, /readyz tells.
	Ready func(Addresses)
}

// Addresses are where a daemon serves.
type Addresses struct {
	Socket string // path of the Unix socket
	URL    string // of the TCP listener, "http://127.0.0.1:7080"; empty where there is none
}

// String gives them for people.
func (a Addresses) String() string {
	return strings.TrimSuffix("unix://"+a.Socket+" and "+a.URL, " and ")
}

// Run runs a daemon until ctx ends, and then shuts it down in good order, within the time
// that cfg gives for that: it stops accepting, lets requests end, ends streams and
// terminals, stops the reconciler, and closes the runtime and the store. Containers are
// not touched. The error joins what went wrong on the way; ctx's end is none.
//
// The data directory is locked meanwhile: a second daemon on it fails at once.
func Run(ctx context.Context, cfg config.Config, opts Options) error {
	d := &daemon{cfg: cfg, log: newLogger(cfg, opts.Log)}
	if err := d.open(ctx, opts); err != nil {
		return errors.Join(err, d.closeAll())
	}
	return d.run(ctx, opts.Ready)
}

// daemon is what has been put together so far.
type daemon struct {
	cfg     config.Config
	log     *slog.Logger
	closers []func() error // in the order of opening

	store     session.Store
	service   *session.ContainerService
	front     *front.Front
	listeners []listener
}

func (d *daemon) open(ctx context.Context, opts Options) error {
	dir, err := openDataDir(d.cfg.DataDir, d.log)
	if err != nil {
		return err
	}
	d.onClose(dir.Close)
	tracer, err := startTracing(ctx, opts.Version)
	if err != nil {
		return err
	}
	store, err := openStore(ctx, d.cfg, d.log)
	if err != nil {
		return err
	}
	d.onClose(store.Close)
	d.store = store
	if d.cfg.Instance, err = store.Instance(ctx); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	metrics := newMetrics(opts.Version)
	rt, closeRuntime, err := runtimeKinds[cmp.Or(d.cfg.Runtime, config.Runtimes[0])].open(d.cfg, d.log, metrics)
	if err != nil {
		return err
	}
	d.onClose(closeRuntime)
	policy, err := policyOf(d.cfg.Policy)
	if err != nil {
		return err
	}
	service := serviceConfig(d.cfg, policy, d.log, metrics)
	if d.cfg.AuditLog != "" {
		auditLog, err := audit.Open(d.cfg.AuditLog, d.log)
		if err != nil {
			return err
		}
		d.onClose(auditLog.Close)
		service.Audit = auditLog.Record
	}
	d.openMounts(ctx, rt, &service)
	recorder, err := openRecorder(d.cfg, d.log)
	if err != nil {
		return err
	}
	d.onClose(recorder.Close)
	service.Recorder = recorder
	d.service = session.NewContainerService(rt, store, service)
	metrics.watch(d.service.StatusCounts)
	passing := front.Config{MaxBody: d.cfg.Limits.MaxBody, AllowedHosts: d.cfg.AllowedHosts,
		Logger: d.log, Register: metrics.registry}
	if tracer != nil {
		passing.Tracer = tracer
		d.onClose(func() error { return endTracing(tracer) })
	}
	d.front = front.New(d.service, passing)
	httpapi.New(d.service, d.front, httpapi.Config{
		Version: opts.Version, Instance: d.cfg.Instance, Capabilities: container.CapabilitiesOf(rt),
		Diagnose:    func(ctx context.Context) []v1.Finding { return d.diagnose(ctx, rt) },
		MaxExecTime: d.cfg.Limits.MaxExecTime, SpoolDir: d.cfg.DataDir, Logger: d.log, Metrics: metrics.handler(),
	})
	return d.listen(ctx)
}

// openMounts gives sessions what mounts their binds, where the configuration allows any.
func (d *daemon) openMounts(ctx context.Context, rt container.Runtime, cfg *session.Config) {
	if len(cfg.BindRoots) == 0 {
		return
	}
	mounts, err := runtimeKinds[cmp.Or(d.cfg.Runtime, config.Runtimes[0])].mounts(d.cfg, rt)
	if err != nil {
		cfg.NoMounts = err.Error()
		d.log.WarnContext(ctx, "Sessions can have no bind mounts", "reason", cfg.NoMounts)
		return
	}
	cfg.Mounts = mounts
	if c, ok := mounts.(io.Closer); ok {
		d.onClose(c.Close)
	}
}

func (d *daemon) onClose(f func() error) { d.closers = append(d.closers, f) }

// closeAll closes what was opened, last first.
func (d *daemon) closeAll() error {
	var errs []error
	for _, f := range slices.Backward(d.closers) {
		errs = append(errs, f())
	}
	d.closers = nil
	return errors.Join(errs...)
}

func openStore(ctx context.Context, cfg config.Config, log *slog.Logger) (session.Store, error) {
	if cfg.DatabaseURL != "" {
		return postgres.Open(ctx, cfg.DatabaseURL, log)
	}
	return sqlite.Open(ctx, cfg.Database())
}

func policyOf(p config.Policy) (session.Policy, error) {
	policy := session.Policy{
		Networks: p.Networks, Runtimes: p.Runtimes, Images: p.Images,
		MaxCPUs: p.MaxCPUs, MaxMemory: p.MaxMemory, MaxPIDs: p.MaxPIDs,
		MaxIdleTimeout: p.MaxIdleTimeout, MaxAge: p.MaxAge, MaxSpec: int(p.MaxSpec),
		Quota: session.Quota{
			Sessions: p.ProjectSessions, Running: p.ProjectRunning, CPUs: p.ProjectCPUs, Memory: p.ProjectMemory,
			Execs: p.ProjectExecs, Streams: p.ProjectStreams,
		},
	}
	for _, text := range p.HostPorts {
		ports, err := session.ParsePortRange(text)
		if err != nil {
			return session.Policy{}, fmt.Errorf("policy.host_ports: %w", err)
		}
		policy.HostPorts = append(policy.HostPorts, ports)
	}
	return policy, nil
}

func serviceConfig(
	cfg config.Config, policy session.Policy, log *slog.Logger, observer session.Observer,
) session.Config {
	return session.Config{
		Policy:       policy,
		DefaultImage: cfg.Defaults.Image, CPUs: cfg.Defaults.CPUs, Memory: cfg.Defaults.Memory, PIDs: cfg.Defaults.PIDs,
		Runtime: cfg.Defaults.Runtime, IdleTimeout: cfg.Defaults.IdleTimeout, MaxAge: cfg.Defaults.MaxAge,
		OnExpire: session.Expiry(cfg.Defaults.OnExpire), BindRoots: cfg.BindRoots,
		ReconcileInterval: cfg.Reconcile.Interval, Grace: cfg.Reconcile.Grace, Retention: cfg.Reconcile.Retention,
		Creates: cfg.Limits.Creates, CallTimeout: cfg.Limits.CallTimeout,
		TerminalLinger: cfg.Limits.TerminalLinger, SpoolDir: cfg.DataDir,
		Logger: log, Observer: observer,
	}
}

func newLogger(cfg config.Config, w io.Writer) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(cfg.LogLevel)); err != nil {
		level = slog.LevelInfo // an unset one; the configuration was checked
	}
	opts := &slog.HandlerOptions{Level: level}
	if cfg.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}

// bounded waits for f, but no longer than ctx: what hangs in a shutdown must not keep
// the process from ending.
func bounded(ctx context.Context, f func() error) error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("shutdown: not all was closed in time: %w", context.Cause(ctx))
	}
}
