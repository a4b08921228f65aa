package docker

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	dockercontainer "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/octobot-run/octobot/internal/container"
)

// With an init, the engine reports a start as soon as the init runs; whether that
// could execute the container's command, it does not know. The init ends within milliseconds where
// it could not, but an engine may answer faster. So the first start of a command is watched
// until the command is seen to run, and later ones cost one look.

const (
	// commandWait bounds the watching: of a runtime whose processes the engine can't see.
	commandWait = time.Second
	maxProven   = 1024
)

// proven are commands that have run.
type proven struct {
	mu   sync.Mutex
	runs map[provenKey]struct{}
}

type provenKey struct{ image, path string }

func (s *proven) has(k provenKey) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.runs[k]
	return ok
}

func (s *proven) add(k provenKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.runs == nil || len(s.runs) >= maxProven {
		s.runs = make(map[provenKey]struct{})
	}
	s.runs[k] = struct{}{}
}

// checkCommand gives ErrExecFailed for a container, just started, whose init could not execute its command.
// What can't be found out is no failure: the start has succeeded.
func (c *call) checkCommand(id string) error {
	deadline := time.Now().Add(commandWait)
	for wait := time.Millisecond; ; wait *= 2 {
		found, err := c.p.client.ContainerInspect(c.ctx, id, client.ContainerInspectOptions{})
		if err != nil {
			return nil
		}
		info := found.Container
		if info.State == nil || info.HostConfig == nil || info.HostConfig.Init == nil || !*info.HostConfig.Init {
			return nil
		}
		if status(info.State.Status) != container.StatusRunning {
			return c.initFailure(id, info.State)
		}
		key := provenKey{image: info.Image, path: command(info)}
		if c.p.proven.has(key) {
			return nil
		}
		if time.Now().After(deadline) || c.commandRuns(id) {
			c.p.proven.add(key)
			return nil
		}
		select {
		case <-time.After(wait):
		case <-c.ctx.Done():
			return c.ctx.Err()
		}
	}
}

// commandRuns tells whether the container has a process that is not its init, nor the
// init's child before it becomes the command.
func (c *call) commandRuns(id string) bool {
	top, err := c.p.client.ContainerTop(c.ctx, id, client.ContainerTopOptions{Arguments: []string{"-eo", "pid,args"}})
	if err != nil {
		return false
	}
	return slices.ContainsFunc(top.Processes, func(process []string) bool {
		// Docker splits a line into columns, Podman does not.
		fields := strings.Fields(strings.Join(process, " "))
		// A name in brackets is that of a process which has ended already.
		return len(fields) > 1 && !isInit(fields[1]) && !strings.HasPrefix(fields[1], "[")
	})
}

// command is the program that the container runs; Podman puts the init before it.
func command(info dockercontainer.InspectResponse) string {
	if isInit(info.Path) && len(info.Args) > 1 {
		return info.Args[1]
	}
	return info.Path
}

// isInit recognises Docker's and Podman's inits.
func isInit(program string) bool {
	return slices.Contains([]string{"/sbin/docker-init", "/dev/init", "/run/podman-init", "/catatonit"}, program)
}

// initFailure finds the init's last words.
func (c *call) initFailure(id string, state *dockercontainer.State) error {
	if !slices.Contains([]int{1, 126, 127}, state.ExitCode) { // catatonit's, and tini's
		return nil
	}
	var text []byte
	// Podman's log is written by another process, which may not have come to it yet.
	for wait := 10 * time.Millisecond; len(text) == 0 && wait < 200*time.Millisecond; wait *= 2 {
		logs, err := c.p.client.ContainerLogs(c.ctx, id, client.ContainerLogsOptions{ShowStdout: true, ShowStderr: true, Tail: "3"})
		if err != nil {
			return nil
		}
		text, _ = io.ReadAll(io.LimitReader(logs, 4096)) // what can be read of it has to do
		logs.Close()
		if len(text) == 0 {
			time.Sleep(wait)
		}
	}
	for _, sign := range []string{"[FATAL tini ", "ERROR (catatonit:"} {
		if i := bytes.Index(text, []byte(sign)); i >= 0 && bytes.Contains(text[i:], []byte("exec")) {
			line, _, _ := strings.Cut(string(text[i:]), "\n")
			_, reason, _ := strings.Cut(line, " exec ")
			return container.Errorf("", "", container.ErrExecFailed, "exec %s", strings.TrimSpace(reason))
		}
	}
	return nil
}
