package docker

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/moby/moby/client"

	"github.com/octobot-run/octobot/internal/container"
)

// What is asked of a process. Docker runs its host's ps, Podman looks itself and takes the names
// without options.
const (
	topDocker  = "-eo pid,ppid,uid,rss,etimes,time,args"
	topPodman  = "pid,ppid,user,rss,etime,time,args"
	topColumns = 7
)

// Top lists the container's processes.
func (p *DockerProvider) Top(ctx context.Context, sessionID string) (*container.Top, error) {
	c, err := p.beginCall(ctx, "top", sessionID, nil)
	if err != nil {
		return nil, err
	}
	defer c.Done()
	var top *container.Top
	err = c.withContainer(func(id string) error {
		top, err = c.top(id)
		return err
	})
	if err != nil {
		return nil, c.toError(err)
	}
	return top, nil
}

func (c *call) top(id string) (*container.Top, error) {
	arguments, podman := topDocker, c.p.podman()
	if podman {
		arguments = topPodman
	}
	res, err := c.p.client.ContainerTop(c.Ctx, id, client.ContainerTopOptions{Arguments: []string{arguments}})
	if err != nil {
		if isNoContainer(err) || c.Ctx.Err() != nil {
			return nil, err
		}
		// Podman answers about what does not run, or is paused, with an empty body.
		state, inspectErr := c.inspectState(id)
		switch {
		case inspectErr != nil:
			return nil, inspectErr
		case status(state.Status) != container.StatusRunning:
			return nil, container.Errorf("", "", container.ErrContainerStopped, "it is %s", state.Status)
		case state.Paused && c.p.podman():
			return nil, container.Errorf("", "", container.ErrContainerPaused, "")
		case errorSays(err, saysNoPs):
			return nil, container.Errorf("", "", container.ErrUnsupported,
				"the engine's host has no ps that can tell: %s", engineText(err))
		}
		return nil, err
	}
	top := &container.Top{HostPIDs: !podman}
	for _, row := range res.Processes {
		if len(row) != topColumns {
			return nil, container.Errorf("", "", container.ErrUnavailable, "the engine told %d columns of a process",
				len(row))
		}
		top.Processes = append(top.Processes, container.RunningProcess{
			PID: wholeNumber(row[0]), Parent: wholeNumber(row[1]), User: row[2],
			Memory: int64(wholeNumber(row[3])) << 10, Elapsed: psTime(row[4]), CPUTime: psTime(row[5]), Cmd: row[6],
		})
	}
	slices.SortFunc(top.Processes, func(a, b container.RunningProcess) int { return cmp.Compare(a.PID, b.PID) })
	return top, nil
}

// wholeNumber reads a number; 0 where it is none.
func wholeNumber(s string) int {
	n, _ := strconv.Atoi(s)
	return n
}

// psTime reads a time as ps writes it: seconds, [days-]hours:minutes:seconds, or as Podman does,
// "1m2.5s"; 0 where it is none.
func psTime(s string) time.Duration {
	if d, err := time.ParseDuration(s); err == nil {
		return d
	}
	days, clock, ok := strings.Cut(s, "-")
	if !ok {
		days, clock = "0", s
	}
	d, err := strconv.ParseInt(days, 10, 32)
	if err != nil {
		return 0
	}
	var seconds int64
	for part := range strings.SplitSeq(clock, ":") {
		n, err := strconv.ParseInt(part, 10, 32)
		if err != nil {
			return 0
		}
		seconds = 60*seconds + n
	}
	return time.Duration(24*3600*d+seconds) * time.Second
}
