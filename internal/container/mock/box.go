package mock

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/container/mock/toybox"
)

// box is a container on the engine. The engine's mutex guards it, apart from what has a
// mutex of its own.
type box struct {
	engine    *Engine
	name      string
	serial    int    // order of creation
	instance  string // that owns it; empty for a foreign one
	c         container.Container
	opts      container.Options
	system    *toybox.System // nil unless the main process runs
	kept      *terminals     // the same
	processes *processes     // the same
	log       log
	files     toybox.FileSystem
}

// add makes a container. The caller holds the engine's mutex and has checked the name.
func (e *Engine) add(name string, opts container.Options) *box {
	e.serial++
	b := &box{engine: e, name: name, serial: e.serial, opts: opts}
	b.files.ReadOnly = opts.ReadOnly
	b.files.Tmpfs = make(map[string]int64, len(opts.Tmpfs))
	for dir, options := range opts.Tmpfs {
		b.files.Tmpfs[dir] = tmpfsSize(options)
	}
	b.c = container.Container{
		ID:        fmt.Sprintf("%064x", e.serial),
		Status:    container.StatusCreated,
		CreatedAt: time.Now(),
		Image:     opts.Image,
		Tty:       opts.Tty,
		Detailed:  true,
	}
	e.boxes[name] = b
	return b
}

// label gives the container its labels, and to whom those say that it belongs.
func (b *box) label(labels map[string]string) {
	b.c.Labels = labels
	if labels[container.LabelOctobot] == "true" {
		b.instance = labels[container.LabelInstance]
		b.c.SessionID = labels[container.LabelSession]
	}
}

func (b *box) carries(labels map[string]string) bool {
	for k, v := range labels {
		if got, ok := b.c.Labels[k]; !ok || got != v {
			return false
		}
	}
	return true
}

// report is a copy of what the engine knows of the container.
func (b *box) report() container.Container {
	c := b.c
	c.Labels = maps.Clone(b.c.Labels)
	c.Ports = slices.Clone(b.c.Ports)
	return c
}

// start runs the container's main process. The caller holds the engine's mutex.
func (b *box) start() error {
	args := b.opts.Cmd
	if len(args) == 0 {
		args = []string{"sh"}
	}
	system := toybox.NewSystem(toybox.Config{
		Files: &b.files, Commands: b.engine.commands, Hostname: b.c.ID[52:],
		Env: b.opts.Env, Dir: b.opts.WorkingDir, User: b.opts.User,
		MaxProcesses: int(b.opts.Resources.PIDs),
		Ended:        b.end,
	})
	spec := toybox.Spec{Args: args}
	if b.opts.Tty {
		spec.Terminal = system.NewTerminal(b.log.writer(stdout))
	} else {
		spec.Stdout, spec.Stderr = b.log.writer(stdout), b.log.writer(stderr)
	}
	if err := b.engine.publishPorts(b); err != nil {
		return err
	}
	startedAt := time.Now()
	if err := system.Start(spec); err != nil {
		b.engine.unpublishPorts(b)
		return refuse(container.ErrExecFailed, "%s", err)
	}
	b.system, b.kept = system, newTerminals(system)
	b.processes = &processes{
		system: system, keep: b.engine.keepTimes, disk: !b.opts.ReadOnly || len(b.opts.Tmpfs) > 0,
	}
	b.log.begin()
	b.c.Status = container.StatusRunning
	b.c.StartedAt, b.c.FinishedAt = startedAt, time.Time{}
	b.c.ExitCode, b.c.OOMKilled, b.c.Reason = 0, false, ""
	b.engine.publish(b, container.EventStarted)
	return nil
}

// end stops the container after its last process.
func (b *box) end(code int) {
	e := b.engine
	e.mu.Lock()
	kept, processes := b.kept, b.processes
	b.system, b.kept, b.processes = nil, nil, nil
	b.c.Status = container.StatusStopped
	b.c.FinishedAt = time.Now()
	b.c.ExitCode = code
	b.c.Paused = false
	e.unpublishPorts(b)
	if e.boxes[b.name] == b {
		e.publish(b, container.EventStopped)
	}
	e.mu.Unlock()
	kept.close()
	processes.close()
	b.log.end()
}

// kill kills the container, and waits until all of its processes have ended. The caller does not
// hold the engine's mutex.
func (b *box) kill() {
	b.engine.mu.Lock()
	system := b.system
	b.engine.mu.Unlock()
	if system != nil {
		system.Main().Signal(toybox.SIGKILL)
		<-system.Done()
	}
}
