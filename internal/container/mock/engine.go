package mock

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/container/mock/toybox"
)

// Command is a scripted program, see [Engine.Handle].
type Command = toybox.Command

// Conn is an end of a connection within a container.
type Conn = toybox.Conn

// Process is what a [Command] knows of itself.
type Process = toybox.Process

// Engine is a container engine in memory. Its containers outlive the providers that use
// it, as those of a real engine outlive a daemon: make a second [Engine.Provider] of the same
// instance to see a restart, or of another to see neighbours.
//
// The zero value is not usable; see [NewEngine]. An Engine is safe for concurrent use.
type Engine struct {
	mu        sync.Mutex
	boxes     map[string]*box // by the engine's name of the container
	serial    int
	lastPort  int               // given out
	bound     map[hostPort]bool // by running containers
	images    map[string]bool   // nil: it has every image
	commands  *toybox.Commands
	down      bool
	faults    []*Fault
	calls     map[string]int
	watchers  map[*watcher]bool
	keepTimes keepTimes
}

// NewEngine makes an engine without containers, which has every image and the built-in
// commands.
func NewEngine() *Engine {
	return &Engine{
		boxes:     make(map[string]*box),
		lastPort:  minPort,
		bound:     make(map[hostPort]bool),
		commands:  toybox.NewCommands(),
		calls:     make(map[string]int),
		watchers:  make(map[*watcher]bool),
		keepTimes: keepTimes{ended: keepEnded, waited: 10 * time.Second},
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
	e.commands.Handle(name, c)
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

// Rename gives a container another name, as a person may do. It reports whether there was one of
// the first name, and none of the second.
func (e *Engine) Rename(name, to string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	b, ok := e.boxes[name]
	if _, taken := e.boxes[to]; !ok || taken {
		return false
	}
	delete(e.boxes, name)
	b.name, e.boxes[to] = to, b
	return true
}

// Lose makes the session's container vanish without an event, as if somebody had removed it
// while nobody looked. It reports whether there was one.
func (e *Engine) Lose(sessionID string) bool {
	e.mu.Lock()
	b, ok := e.boxes[container.Name(sessionID)]
	delete(e.boxes, container.Name(sessionID))
	e.mu.Unlock()
	if ok {
		b.kill()
	}
	return ok
}

// Exit ends the main process of the session's container with that exit code, as if by itself,
// and returns when it has ended. With oom, the kernel did it for want of memory, and the code is
// 137 whatever was asked for. It reports whether there was a running one.
func (e *Engine) Exit(sessionID string, code int, oom bool) bool {
	e.mu.Lock()
	b, ok := e.boxes[container.Name(sessionID)]
	if !ok || b.system == nil {
		e.mu.Unlock()
		return false
	}
	system := b.system
	if oom {
		code = 128 + int(toybox.SIGKILL)
		b.c.OOMKilled = true
		e.publish(b, container.EventOOM)
	}
	e.mu.Unlock()
	system.Main().Exit(code)
	<-system.Done()
	return true
}

// Close ends every process on the engine and waits for them; the containers remain, stopped.
// A test whose containers run commands calls it last, so that no goroutine is left.
func (e *Engine) Close() {
	e.mu.Lock()
	boxes := slices.Collect(maps.Values(e.boxes))
	e.mu.Unlock()
	for _, b := range boxes {
		b.kill()
	}
}
