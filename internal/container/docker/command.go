package docker

import (
	"slices"
	"strings"
	"sync"
	"time"

	dockercontainer "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/container/provider"
)

// With an init, the engine reports a start as soon as the init runs; whether that
// could execute the container's command, it does not know. The init ends within milliseconds where
// it could not, but an engine may answer faster. So the first start of a command is watched
// until the command is seen to run, and later ones cost one look.

const (
	// unseenWait bounds the watching where no init is seen: the engine can't see the processes
	// of the OCI runtime.
	unseenWait = 3 * time.Second
	// commandWait bounds it where the init is seen, and nothing else.
	commandWait = 15 * time.Second
	// logWait is how long the init's last words may take to be in the log, which with Podman is
	// written by another process.
	logWait   = time.Second / 2
	maxProven = 1024
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

// checkCommand gives ErrExecFailed for a container, just started, whose init could not execute its
// command. What can't be found out is no failure: the start has succeeded.
func (c *call) checkCommand(id string) error {
	started := time.Now()
	look := func() (done bool, err error) {
		found, err := c.p.client.ContainerInspect(c.Ctx, id, client.ContainerInspectOptions{})
		if err != nil {
			return true, nil
		}
		info := found.Container
		if info.State == nil || info.HostConfig == nil || info.HostConfig.Init == nil || !*info.HostConfig.Init {
			return true, nil
		}
		if status(info.State.Status) != container.StatusRunning {
			return true, c.initFailure(info)
		}
		key := provenKey{image: info.Image, path: command(info)}
		if c.p.proven.has(key) {
			return true, nil
		}
		runs, seen := c.commandRuns(id)
		watched := time.Since(started)
		if runs || !seen && watched > unseenWait {
			c.p.proven.add(key)
			return true, nil
		}
		return watched > commandWait, nil
	}
	return provider.Poll(c.Ctx, "the init to execute the command", time.Millisecond, 100*time.Millisecond, look)
}

// commandRuns reports whether the container has a process that is neither its init, nor the init's
// child before it becomes the command, and whether its init was seen. Before the init is there,
// the only process is the OCI runtime's own, which is about to become it.
func (c *call) commandRuns(id string) (runs, seen bool) {
	top, err := c.p.client.ContainerTop(c.Ctx, id, client.ContainerTopOptions{Arguments: []string{"-eo", "pid,args"}})
	if err != nil {
		return false, false
	}
	for _, process := range top.Processes {
		// Docker splits a line into columns, Podman does not.
		fields := strings.Fields(strings.Join(process, " "))
		switch {
		case len(fields) < 2 || strings.HasPrefix(fields[1], "["): // a name in brackets: it has ended already
		case isInit(fields[1]):
			seen = true
		default:
			runs = true
		}
	}
	return runs && seen, seen
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
func (c *call) initFailure(info dockercontainer.InspectResponse) error {
	if !slices.Contains([]int{1, 126, 127}, info.State.ExitCode) { // catatonit's, and tini's
		return nil
	}
	started := time.Now()
	look := func() (done bool, err error) {
		log, err := c.logEnd(info)
		if err != nil {
			return true, nil
		}
		reason, whole := execFailure(log)
		if reason != "" {
			return true, container.Errorf("", "", container.ErrExecFailed, "exec %s", reason)
		}
		return whole || time.Since(started) > logWait, nil
	}
	return provider.Poll(c.Ctx, "the init's last words in the log", 10*time.Millisecond, logWait, look)
}

// logEnd is the end of the container's log.
func (c *call) logEnd(info dockercontainer.InspectResponse) (string, error) {
	ask := client.ContainerLogsOptions{ShowStdout: true, ShowStderr: true}
	// catatonit writes its line in pieces, of which Podman 4.3 leaves some out when it looks for
	// the last lines.
	if !c.p.podman() {
		ask.Tail = "3"
	}
	log, err := c.p.client.ContainerLogs(c.Ctx, info.ID, ask)
	if err != nil {
		return "", err
	}
	defer log.Close()
	var end logTail
	_ = copyOutput(info.Config != nil && info.Config.Tty, log, &end, &end) // what can be read of it has to do
	return string(end), nil
}

// execFailure is why an init, whose log's end this is, could not execute the command; empty where
// that is not what it says. Where the log is not whole, there is more to come.
func execFailure(log string) (reason string, whole bool) {
	text, whole := strings.CutSuffix(strings.ReplaceAll(log, "\r\n", "\n"), "\n")
	if !whole {
		return "", false
	}
	line := text[strings.LastIndexByte(text, '\n')+1:]
	if strings.HasPrefix(line, "[FATAL tini ") || strings.HasPrefix(line, "ERROR (catatonit:") {
		_, reason, _ = strings.Cut(line, " exec ")
	}
	return reason, true
}

// logTail keeps at least the last 4 KiB of what is written to it, and at most 64.
type logTail []byte

func (t *logTail) Write(b []byte) (int, error) {
	*t = append(*t, b...)
	if len(*t) > 64<<10 {
		*t = append((*t)[:0], (*t)[len(*t)-4<<10:]...)
	}
	return len(b), nil
}
