package mock

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/octobot-run/octobot/internal/container"
)

// Engine is a container engine in memory. Its containers outlive the providers that use
// it, as those of a real engine outlive a daemon: make a second [Engine.Provider] of the same
// instance to see a restart, or of another to see neighbours.
//
// The zero value is not usable; see [NewEngine]. An Engine is safe for concurrent use.
type Engine struct {
	mu       sync.Mutex
	boxes    map[string]*box // by the engine's name of the container
	serial   int
	lastPort int               // given out
	bound    map[hostPort]bool // by running containers
	images   map[string]bool   // nil: it has every image
	commands map[string]Command
	down     bool
	faults   []*Fault
	calls    map[string]int
	watchers map[*watcher]bool
}

// NewEngine makes an engine without containers, which has every image and the built-in
// commands.
func NewEngine() *Engine {
	return &Engine{
		boxes:    make(map[string]*box),
		lastPort: minPort,
		bound:    make(map[hostPort]bool),
		commands: maps.Clone(builtin),
		calls:    make(map[string]int),
		watchers: make(map[*watcher]bool),
	}
}

// Provider makes a provider of an instance, "default" where empty, on this engine.
func (e *Engine) Provider(instance string) *MockProvider {
	return newProvider(e, cmp.Or(instance, "default"))
}

// SetImages lets the engine have those images, and no others.
func (e *Engine) SetImages(images ...string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.images = make(map[string]bool, len(images))
	for _, image := range images {
		e.images[image] = true
	}
}

// Handle makes name a command of every container: what Exec, Attach and a main process run
// when their first argument is name, or a path that ends in /name. It replaces a built-in one.
func (e *Engine) Handle(name string, c Command) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.commands[name] = c
}

// AddForeign makes a container, not running, that no provider made, and removes it when the
// returned function is called.
func (e *Engine) AddForeign(name string, labels map[string]string) (remove func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	b := e.add(name, container.Options{})
	b.label(maps.Clone(labels))
	return func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		if e.boxes[name] == b {
			delete(e.boxes, name)
		}
	}
}

// Count tells how many containers carry all of the labels, whoever made them.
func (e *Engine) Count(labels map[string]string) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := 0
	for _, b := range e.boxes {
		if b.carries(labels) {
			n++
		}
	}
	return n
}

// Lose makes the session's container vanish without an event, as if somebody had removed it
// while nobody looked. It tells whether there was one.
func (e *Engine) Lose(sessionID string) bool {
	e.mu.Lock()
	b, ok := e.boxes[container.Name(sessionID)]
	delete(e.boxes, container.Name(sessionID))
	e.mu.Unlock()
	if ok {
		b.kill(sigKill)
	}
	return ok
}

// Exit ends the main process of the session's container with that exit code, as if by itself,
// and returns when it has ended. With oom, the kernel did it for want of memory, and the code is
// 137 whatever was asked for. It tells whether there was a running one.
func (e *Engine) Exit(sessionID string, code int, oom bool) bool {
	e.mu.Lock()
	b, ok := e.boxes[container.Name(sessionID)]
	if !ok || b.run == nil {
		e.mu.Unlock()
		return false
	}
	r := b.run
	if oom {
		code = sigKill.exitCode()
		b.c.OOMKilled = true
		e.publish(b, container.EventOOM)
	}
	e.mu.Unlock()
	r.main.exit(code)
	<-r.ended
	return true
}

// Close ends every process on the engine and waits for them; the containers remain, stopped.
// A test whose containers run commands calls it last, so that no goroutine is left.
func (e *Engine) Close() {
	e.mu.Lock()
	boxes := slices.Collect(maps.Values(e.boxes))
	e.mu.Unlock()
	for _, b := range boxes {
		b.kill(sigKill)
	}
}

// box is a container on the engine. The engine's mutex guards it, apart from what has a
// mutex of its own.
type box struct {
	engine   *Engine
	name     string
	serial   int    // order of creation
	instance string // that owns it; empty for a foreign one
	c        container.Container
	opts     container.Options
	run      *run // nil unless the main process runs
	log      log
	disk     disk
}

// add makes a container. The caller holds the engine's mutex and has checked the name.
func (e *Engine) add(name string, opts container.Options) *box {
	e.serial++
	b := &box{engine: e, name: name, serial: e.serial, opts: opts}
	b.disk.readOnly = opts.ReadOnly
	for dir := range opts.Tmpfs {
		b.disk.writable = append(b.disk.writable, dir)
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

// kill sends a signal to every process of the container, and with SIGKILL waits until
// all have ended. The caller does not hold the engine's mutex.
func (b *box) kill(s signal) {
	b.engine.mu.Lock()
	r := b.run
	b.engine.mu.Unlock()
	if r == nil {
		return
	}
	r.main.signal(s)
	if s == sigKill {
		<-r.ended
	}
}

// Host ports are given out in turn, so that a container has a new one at each start.
const minPort, maxPort = 32768, 60999

// publishPorts gives the container its host ports. The caller holds the engine's mutex.
func (e *Engine) publishPorts(b *box) error {
	wanted, err := b.opts.Ports()
	if err != nil {
		return err
	}
	var ports []container.Port
	for _, port := range slices.Sorted(maps.Keys(wanted)) {
		p := container.Port{Container: port, HostIP: "127.0.0.1", HostPort: wanted[port]}
		if p.HostPort == 0 {
			p.HostPort = e.freePort(port)
		}
		if e.bound[hostPortOf(p)] {
			e.release(ports)
			return refuse(container.ErrPortTaken, "port %d of %s is in use", p.HostPort, p.HostIP)
		}
		e.bound[hostPortOf(p)] = true
		ports = append(ports, p)
		if port == container.SessionPort {
			b.c.Address = fmt.Sprintf("http://%s:%d", p.HostIP, p.HostPort)
		}
	}
	b.c.Ports = ports
	return nil
}

func (e *Engine) release(ports []container.Port) {
	for _, p := range ports {
		delete(e.bound, hostPortOf(p))
	}
}

// hostPort is a port of the host: "32769/tcp".
type hostPort string

func hostPortOf(p container.Port) hostPort {
	_, protocol, _ := strings.Cut(p.Container, "/")
	return hostPort(fmt.Sprint(p.HostPort, "/", protocol))
}

func (e *Engine) freePort(port string) int {
	for {
		e.lastPort++
		if e.lastPort > maxPort {
			e.lastPort = minPort
		}
		if !e.bound[hostPortOf(container.Port{Container: port, HostPort: e.lastPort})] {
			return e.lastPort
		}
	}
}
