package docker

import (
	"cmp"
	"context"
	"encoding/json"
	"strings"
	"time"

	dockercontainer "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/octobot-run/octobot/internal/container"
)

// Stats takes one sample.
func (p *DockerProvider) Stats(ctx context.Context, sessionID string) (*container.Stats, error) {
	c, err := p.beginCall(ctx, "stats", sessionID, nil)
	if err != nil {
		return nil, err
	}
	defer c.Done()
	var sample dockercontainer.StatsResponse
	err = c.withContainer(func(id string) error {
		res, err := p.client.ContainerStats(c.Ctx, id, client.ContainerStatsOptions{})
		if err != nil {
			return err
		}
		defer res.Body.Close()
		decodeErr := json.NewDecoder(res.Body).Decode(&sample)
		if decodeErr == nil && sample.PidsStats.Current > 0 {
			return nil
		}
		// Of what does not run, Docker gives zeros and Podman nothing.
		state, err := c.inspectState(id)
		if err == nil && status(state.Status) != container.StatusRunning {
			return container.Errorf("", "", container.ErrContainerStopped, "")
		}
		return cmp.Or(decodeErr, err)
	})
	if err != nil {
		return nil, c.toError(err)
	}
	out := &container.Stats{
		Time:        sample.Read,
		CPUTotal:    time.Duration(sample.CPUStats.CPUUsage.TotalUsage),
		MemoryUsed:  int64(sample.MemoryStats.Usage - min(cache(sample.MemoryStats.Stats), sample.MemoryStats.Usage)),
		MemoryLimit: int64(min(sample.MemoryStats.Limit, 1<<63-1)),
		PIDs:        int64(sample.PidsStats.Current),
	}
	if out.Time.IsZero() {
		out.Time = time.Now()
	}
	for _, n := range sample.Networks {
		out.NetworkReceived += int64(n.RxBytes)
		out.NetworkSent += int64(n.TxBytes)
	}
	// One entry for each device and direction; cgroup v1 writes them "Read", v2 "read".
	for _, e := range sample.BlkioStats.IoServiceBytesRecursive {
		switch strings.ToLower(e.Op) {
		case "read":
			out.BlockRead += int64(e.Value)
		case "write":
			out.BlockWritten += int64(e.Value)
		}
	}
	return out, nil
}

// cache is the page cache that the kernel drops first: of cgroup v1, then of v2.
func cache(stats map[string]uint64) uint64 {
	if n, ok := stats["total_inactive_file"]; ok {
		return n
	}
	return stats["inactive_file"]
}
