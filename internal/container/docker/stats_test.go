package docker_test

import (
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/octobot-run/octobot/internal/container"
)

// TestStats has an engine give what Docker gives on cgroup v2, and what it gives on v1.
func TestStats(t *testing.T) {
	name := container.Name("x")
	var sample string
	var engine *fakeEngine
	engine = newFakeEngine(t, map[string]http.HandlerFunc{
		"GET /containers/" + name + "/json": func(w http.ResponseWriter, r *http.Request) {
			engine.inspect(name)(w, r)
		},
		"GET /containers/" + name + "/stats": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, sample)
		},
	})
	p := engine.open(t)
	if _, err := p.Create(t.Context(), "x", container.Options{Image: "here:latest"}); err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	for _, tt := range []struct {
		name, sample string
		want         container.Stats
	}{
		{"cgroup v2", `{"read":"2026-01-02T03:04:05.000000006Z","pids_stats":{"current":3},
			"cpu_stats":{"cpu_usage":{"total_usage":1500000000}},
			"memory_stats":{"usage":3000,"limit":8000,"stats":{"inactive_file":1000}},
			"networks":{"eth0":{"rx_bytes":10,"tx_bytes":20},"eth1":{"rx_bytes":1,"tx_bytes":2}},
			"blkio_stats":{"io_service_bytes_recursive":[{"op":"read","value":5},{"op":"write","value":6},
				{"op":"read","value":50},{"op":"discard","value":7}]}}`,
			container.Stats{Time: at, CPUTotal: 1500 * time.Millisecond, MemoryUsed: 2000, MemoryLimit: 8000, PIDs: 3,
				NetworkReceived: 11, NetworkSent: 22, BlockRead: 55, BlockWritten: 6}},
		{"cgroup v1", `{"read":"2026-01-02T03:04:05.000000006Z","pids_stats":{"current":1},
			"memory_stats":{"usage":3000,"limit":18446744073709551615,
				"stats":{"total_inactive_file":500,"inactive_file":1}},
			"blkio_stats":{"io_service_bytes_recursive":[{"op":"Read","value":5},{"op":"Write","value":6},
				{"op":"Sync","value":11},{"op":"Total","value":11}]}}`,
			container.Stats{Time: at, MemoryUsed: 2500, MemoryLimit: 1<<63 - 1, PIDs: 1, BlockRead: 5,
				BlockWritten: 6}},
		{"nothing to count", `{"read":"2026-01-02T03:04:05.000000006Z","pids_stats":{"current":1},
			"blkio_stats":{"io_service_bytes_recursive":null}}`,
			container.Stats{Time: at, PIDs: 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sample = tt.sample
			got, err := p.Stats(t.Context(), "x")
			if err != nil || *got != tt.want {
				t.Errorf("got %+v, %v; want %+v", got, err, tt.want)
			}
		})
	}
}
