package docker_test

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/container/agented"
)

// TestExecsAreWhole runs commands whose output ends without a newline right at their exit, of which
// nothing is lost, by the engine's exec and by the agent's. OCTOBOT_TEST_SOAK says how many; make
// soak has 1,000.
func TestExecsAreWhole(t *testing.T) {
	count := soak(t, 20)
	onEngines(t, agented.Config{}, container.Options{}, func(t *testing.T, k agentedKit) {
		for path, rt := range map[string]container.Runtime{"engine": k.below, "agent": k.rt} {
			var next, lost atomic.Int64
			var callers sync.WaitGroup
			for range 4 {
				callers.Go(func() {
					for i := next.Add(1); i <= int64(count) && !t.Failed(); i = next.Add(1) {
						lost.Add(int64(execToTheEnd(t, rt, k.id, int(i))))
					}
				})
			}
			callers.Wait()
			t.Logf("%d commands by the %s; %d bytes lost", count, path, lost.Load())
		}
	})
}

// execToTheEnd gives how many bytes are missing.
func execToTheEnd(t *testing.T, rt container.Runtime, id string, i int) (lost int) {
	size := i * 997 % 70_000 // below and above what pipes and buffers hold
	script := fmt.Sprintf("head -c %d /dev/zero | tr '\\0' x; printf err%d >&2; printf end%d", size, i, i)
	r, err := rt.Exec(t.Context(), id, []string{"sh", "-c", script}, container.ExecOptions{})
	want := strings.Repeat("x", size) + fmt.Sprint("end", i)
	switch {
	case err != nil:
		t.Error(err)
	case r.ExitCode != 0 || r.Stdout != want || r.Stderr != fmt.Sprint("err", i):
		t.Errorf("exit code %d, %d bytes that end in %q, stderr %q; want %d, in %q", r.ExitCode, len(r.Stdout),
			r.Stdout[max(0, len(r.Stdout)-10):], r.Stderr, len(want), want[max(0, len(want)-10):])
		return max(1, len(want)-len(r.Stdout))
	}
	return 0
}
